"""evq."""
import time

import database
import latency
import server
from contestant import Contestant
from database import value
from node import node
from settings import PAYLOAD, SAMPLES, Wrong


class Evq(Contestant):
    """Each event has a row, also where it would be in a batch by default."""
    batches_from = 0

    def __init__(self, name, turn="turn", delivery="push", retention="7 days"):
        super().__init__(name, "evq", turn)
        self.delivery, self.retention = delivery, retention

    publish_call = ("SELECT count(*) FROM evq_publish_many('BENCH', 'BENCH', ARRAY(SELECT n::text FROM generate_series(1, {size}) AS n),"
                    " array_fill('{payload}'::jsonb, ARRAY[{size}]))")

    def install(self, workers):
        self.variables = {"delivery": self.delivery, "retention": self.retention}
        self.remembered, self.fails = 0, False
        value(f"ALTER DATABASE bench SET evq.store_batches_from = {self.batches_from}")
        super().install(workers)
        database.wait_until("SELECT running FROM evq_status()", "the dispatcher does not run")
        self.begin_epoch()
        # while there are none, which takes no time
        database.wait_until("SELECT count(*) > 0 FROM evq.counters()", "the live events were not counted")

    def begin_epoch(self):
        """The first acquire in a database begins an epoch, which has the live events counted anew: that is a restore's cost."""
        event_id = self.live_one()
        for table in database.tables_with("event_id", "evq"):
            value(f"DELETE FROM {table} WHERE event_id = %s", event_id)

    def live_one(self):
        """The id of an event that was published and succeeded."""
        event_id = value("SELECT evq_publish('BENCH', 'BENCH', 'case', %s)", PAYLOAD)
        database.wait_until("SELECT evq_succeed(event_id, permit) FROM evq_acquire_next('BENCH')", "an event was not dispatched")
        return event_id

    def expect(self, batch):
        if batch >= 1000:           # a window of more than the 1,000 events of the default
            value("SELECT evq_configure_flow('BENCH', max_dispatched => 10000)")

    def settle(self):
        super().settle()
        before, now = None, -1
        while before != now:        # the dispatcher is at rest
            time.sleep(0.2)
            before, now = now, value("SELECT events_dispatched FROM evq_status()")

    def published(self):
        return value("SELECT (SELECT count(*) FROM evq.event) + (SELECT count(*) FROM evq.event_history)")

    def left(self):
        return value("SELECT count(*) FROM evq.event")

    def latencies(self):
        return latency.notified("SELECT evq_publish('BENCH', 'BENCH', 'case', %s)",
                                "SELECT evq_succeed(event_id, permit) FROM evq_acquire_next('BENCH')")

    def finished(self):
        return value("SELECT count(*) FROM evq.event_history")

    def check_worked(self, published, left=None):
        done = super().check_worked(published, left)
        found = (self.finished(), *database.row("SELECT (SELECT count(*) FROM evq.events WHERE state = 'succeeded'), (SELECT count(*) FROM evq.event_error)"))
        kept = 0 if self.retention == "0" else done + self.remembered
        if found != (kept, kept, published // 10 if self.fails else 0):
            raise Wrong(f"{self.name}: of {kept} events that are kept (finished, succeeded, errors) are {found}")
        return done

    def remember(self, events):
        event_id = self.live_one()
        for table in database.tables_with("event_id", "evq"):
            database.multiply(table, "event_id", event_id, events - 1)
        self.remembered = events
        self.check_published(events)

    def first_dispatch(self):
        event_id = value("SELECT evq_publish('BENCH', 'BENCH', 'case', %s, run_at => clock_timestamp() + '1 second')", PAYLOAD)
        server.stop()
        time.sleep(1)
        accepting = server.start()
        while value("SELECT state FROM evq.events_by_id(ARRAY[%s]::uuid[])", event_id) == "awaiting_processing":
            if time.perf_counter() > accepting + 60:
                raise Wrong(f"{self.name}: nothing was dispatched after the restart")
            time.sleep(0.002)
        return 1000 * (time.perf_counter() - accepting)

    def preload_singly(self, events, batch):
        return self.publish_thousands(events, "publish_singles")[0]

    def expect_failures(self):
        """Each tenth of a call's events fails once."""
        value("SELECT evq_configure('BENCH', attempt_delays => '{0 s}')")
        self.fails = True

    def spread(self, flows, types=None):
        """From now on publishers and workers take turns with so many flows, and event types of these."""
        types = types or flows
        value("SELECT count(evq_configure_flow('BENCH' || n, delivery => %s)) FROM generate_series(0, %s) AS n", self.delivery, flows - 1)
        value("SELECT count(evq_configure('BENCH' || n, 'BENCH' || n %% %s)) FROM generate_series(0, %s) AS n", flows, types - 1)
        self.variables |= {"flows": flows, "types": types}

    def script(self, name, batch):
        if "mixes" in self.variables and name == "publishN":
            name = "publishN_mixed"
        script = super().script(name, batch)
        if "flows" in self.variables:
            script = ("\\set turns :turns + 1\n\\set flow (:client_id + :turns) % :flows\n\\set type (:client_id + :turns) % :types\n"
                      + script.replace("'BENCH', 'BENCH'", "'BENCH' || :type, NULL").replace("'BENCH'", "'BENCH' || :flow"))
        return script

    def preload_ordered(self, events, flow_ids):
        """A backlog in an ordered flow, spread over so many flow_ids."""
        value("SELECT evq_configure_flow('BENCH', ordered => true)")
        for n in range(0, events, 1000):
            value("SELECT count(*) FROM evq_publish_many('BENCH', 'BENCH',"
                  " ARRAY(SELECT (n %% %s)::text FROM generate_series(%s, %s) AS n), array_fill(%s::jsonb, ARRAY[1000]))",
                  flow_ids, n, n + 999, PAYLOAD)
        self.check_published(-(-events // 1000) * 1000)
        return -(-events // 1000) * 1000


class EvqBatches(Evq):
    """Events that are published together are stored in batches."""
    batches_from = 8

    def published(self):
        return value("SELECT count(*) FROM evq.events")

    def left(self):
        return value("SELECT (SELECT count(*) FROM evq.event) + (SELECT coalesce(sum(events), 0)::bigint FROM evq.batch_count)")

    def finished(self):
        return super().finished() + value("SELECT count(*) FROM evq.batch_event WHERE state = 's'")


class EvqOnNode(Evq):
    """Its worker is a program on Node, like those of the libraries."""

    def latencies(self):
        return node("latency.mjs", "evq", PAYLOAD, str(SAMPLES))
