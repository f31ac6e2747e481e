"""PgQ."""
import contextlib
import threading
import time

import database
import latency
from contestant import Contestant
from database import value
from settings import PAYLOAD, Wrong


class Pgq(Contestant):
    """A batch is what lies between two ticks, so ticks are made every so many events."""

    def __init__(self):
        super().__init__("PgQ", "pgq")

    def install(self, workers):
        self.workers = workers
        self.variables = {"queues": 1}
        super().install(workers)

    def preload(self, events, batch):
        db = database.connect()
        sql = db.cursor()
        ticks = max(1, events // self.workers // batch)
        for _ in range(ticks):
            sql.execute("SELECT count(pgq.insert_event('q' || q, 'case', %s))"
                        " FROM generate_series(0, %s) AS q, generate_series(1, %s)", (PAYLOAD, self.workers - 1, batch))
            sql.execute("SELECT pgq.ticker()")
        db.close()
        events = ticks * self.workers * batch
        self.check_published(events)
        return events

    def busy(self):
        """A ticker, and publishers who feed all queues."""
        self.variables["queues"] = self.workers
        return self.ticking()

    def retries(self):
        """A ticker, which puts what is to be retried into the queue again, too."""
        return self.ticking("WHILE pgq.maint_retry_events() > 0 LOOP END LOOP;")

    @contextlib.contextmanager
    def ticking(self, before=""):
        db, done = database.connect(), threading.Event()
        sql = db.cursor()

        def tick():
            while not done.wait(0.02):
                sql.execute(f"DO $$ BEGIN {before} PERFORM pgq.ticker(); END $$" if before else "SELECT pgq.ticker()")

        thread = threading.Thread(target=tick)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            db.close()

    def latencies(self):
        """The consumer makes a tick before each look, every millisecond."""
        publisher, worker = database.connect().cursor(), database.connect().cursor()
        batch = None

        def wait():
            nonlocal batch
            end = time.monotonic() + 10
            while True:
                time.sleep(0.001)
                worker.execute("SELECT pgq.ticker('q0')")
                worker.execute("SELECT pgq.next_batch('q0', 'worker')")
                batch = worker.fetchone()[0]
                if batch:
                    worker.execute("SELECT * FROM pgq.get_batch_events(%s)", (batch,))
                    if worker.rowcount == 1:
                        return
                    finish()        # the time between two ticks without an event
                if time.monotonic() > end:
                    raise Wrong("PgQ: an event did not come")

        def finish():
            worker.execute("SELECT pgq.finish_batch(%s)", (batch,))

        return latency.sample(lambda: publisher.execute("SELECT pgq.insert_event('q0', 'case', %s)", (PAYLOAD,)), wait, finish)

    def published(self):
        return value("SELECT count(*) FROM pgq.event_template")

    def left(self):
        """Reads what is left, for PgQ itself only estimates it."""
        value("SELECT pgq.force_tick('q' || n), pgq.ticker('q' || n) FROM generate_series(0, %s) AS n", self.workers - 1)
        left = 0
        for queue in range(self.workers):
            while batch := value("SELECT pgq.next_batch('q' || %s, 'worker')", queue):
                left += value("SELECT count(*) FROM pgq.get_batch_events(%s)", batch)
                value("SELECT pgq.finish_batch(%s)", batch)
        return left

    def tidy(self):
        """Rotates each queue's three tables, of which the oldest is emptied."""
        value("SELECT pgq.set_queue_config('q' || n, 'rotation_period', '0') FROM generate_series(0, %s) AS n", self.workers - 1)
        for _ in range(3):
            self.left()
            value("SELECT pgq.maint_rotate_tables_step1('q' || n) FROM generate_series(0, %s) AS n", self.workers - 1)
            value("SELECT pgq.maint_rotate_tables_step2()")
        super().tidy()
