"""From a publish, one at a time at random gaps, to whoever waits for it."""
import random
import select
import time

from database import connect
from settings import PAYLOAD, SAMPLES, Wrong

COLD = 20           # the first ones are colder than the rest


def sample(publish, wait, finish):
    """Seconds from the call of publish, and from its end, to the end of wait; finish is not counted."""
    called, acknowledged = [], []
    for n in range(-COLD, SAMPLES):
        time.sleep(random.uniform(0.005, 0.025))
        called_at = time.perf_counter()
        publish()
        acknowledged_at = time.perf_counter()
        wait()
        at = time.perf_counter()
        finish()
        if n >= 0:
            called.append(1000 * (at - called_at))
            acknowledged.append(1000 * (at - acknowledged_at))
    return {"called": called, "acknowledged": acknowledged, "published": SAMPLES + COLD}


def notified(publish_statement, finish_statement="SELECT"):
    """What LISTEN on evq_bench hears: one notification an event."""
    publisher, listener = connect(), connect()
    publish, listen = publisher.cursor(), listener.cursor()
    listen.execute("LISTEN evq_bench")

    def wait():
        while not listener.notifies:
            if not select.select([listener], [], [], 10)[0]:
                raise Wrong("an event was not notified")
            listener.poll()

    def finish():
        if len(listener.notifies) != 1:
            raise Wrong(f"{len(listener.notifies)} notifications of one event")
        listener.notifies.clear()
        listen.execute(finish_statement)

    try:
        return sample(lambda: publish.execute(publish_statement, (PAYLOAD,)), wait, finish)
    finally:
        publisher.close()
        listener.close()
