"""What is measured: each metric is a function (contestant, what the variant stands for) -> figure.

Where one run gives the figures of all variants, they stand for nothing, and it returns a list.
"""
import time

from database import value, wal_position
from settings import DURATION, IDLE, WORKERS


def publish(contestant, clients, batch):
    contestant.create()
    return contestant.publish_rate(clients, batch)


def seconds_marked():
    return value("SELECT ((max(at) FILTER (WHERE what = 'end') - min(at) FILTER (WHERE what = 'begin')) / 1e6)::float8 FROM mark")


def all_published():
    """Workers may end when they find nothing more."""
    value("INSERT INTO mark (what) VALUES ('published')")


def drain(contestant, events, batch, workers=WORKERS):
    """A backlog of events is published and settled, then worked off."""
    contestant.create(workers)
    contestant.expect(batch)
    events = contestant.preload(events, batch)
    contestant.settle()
    all_published()
    contestant.work(batch, workers).result()
    contestant.check_finished(events)
    return events / seconds_marked()


def mixed(contestant, batch):
    contestant.create()
    with contestant.busy():
        workers = contestant.work(batch, marked=False)
        publishers = contestant.publish(8, batch, ["-T", str(DURATION)], marked=True)
        events = publishers.result()[0] * batch
        all_published()
        workers.result()
    contestant.check_finished(events)
    return events / seconds_marked()


def latency(contestant, _):
    contestant.create()
    found = contestant.latencies()
    contestant.check_left(0)
    return [sorted(found[since])[int(share * len(found[since]))]
            for since in ("acknowledged", "called") for share in (0.5, 0.99)]


def wal(contestant, batch):
    contestant.create()
    turns = 5000 if batch == 1 else 200
    before = wal_position()
    with contestant.busy():
        events = contestant.publish(1, batch, ["-t", str(turns)]).result()[0] * batch
        contestant.check_published(events)
        all_published()
        contestant.work(batch).result()
    after = wal_position()
    contestant.check_finished(events)
    return (after - before) / events


def idle(contestant, _):
    contestant.create()
    pid = value("SELECT dispatcher_pid FROM evq_status()")
    time.sleep(1)

    def used():
        with open(f"/proc/{pid}/schedstat", encoding="ascii") as stat:
            return int(stat.read().split()[0]) / 1e6
    before = used(), wal_position()
    time.sleep(IDLE)
    after = used(), wal_position()
    return [float(end - start) * 60 / IDLE for start, end in zip(before, after)]
