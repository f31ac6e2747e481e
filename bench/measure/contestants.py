"""evq and what it is measured beside: how each is set up, published to, worked, and counted."""
import contextlib
import functools
import json
import os
import subprocess
import threading
import time

import database
import latency
import server
from database import value
from pgbench import Pgbench
from settings import DURATION, HERE, NODE, PAYLOAD, SAMPLES, WORKERS, Wrong


def read(*path):
    with open(os.path.join(HERE, "contestants", *path), encoding="utf-8") as file:
        return file.read()


class Contestant:
    """A column of the tables.  Its scripts are in the folder of the same name: schema.sql, publish1.sql, publishN.sql
    and turn.sql, a worker's turn, which says in n what it acquired and in finished what it finished."""

    def __init__(self, name, folder, turn="turn"):
        self.name, self.folder, self.turn = name, folder, turn
        self.variables = {}

    def create(self, workers=WORKERS):
        """A database of its own, with nothing in it."""
        database.create()
        database.psql("schema.sql")
        self.install(workers)

    def install(self, workers):
        database.psql(f"{self.folder}/schema.sql", **self.variables, workers=workers)

    def script(self, name, batch):      # pylint: disable=unused-argument
        return read(self.folder, name + ".sql")

    def publish(self, clients, batch, limit, marked=False):
        """Publishers; marked: their first publish begins the run."""
        script = self.script("publish1" if batch == 1 else "publishN", batch)
        return Pgbench(read("turn_begin.sql") * marked + script, clients, limit, batch=batch, **self.variables)

    def publish_rate(self, clients, batch):
        """Events published in a second."""
        done, rate = self.publish(clients, batch, ["-T", str(DURATION)]).result()
        self.check_published(done * batch)
        return rate * batch

    def work(self, batch, workers=WORKERS, marked=True, until=None, **variables):
        """Workers, who end when there has been nothing to do for a second and all is published, or as turn_UNTIL.sql
        says; marked: their first turn begins the run."""
        script = read("turn_begin.sql") * marked + self.script(self.turn, batch) + read("turn_end.sql")
        if until:
            script += read(f"turn_{until}.sql")
        return Pgbench(script, workers, ["-T", "3600"], ends_itself=True, batch=batch, **self.variables, **variables)

    def expect(self, batch):
        """Before publishing: workers will ask for so many events at once."""

    def preload(self, events, batch):   # pylint: disable=unused-argument
        """Publishes a backlog, by 1,000; returns how many events it is."""
        return self.publish_thousands(events, "publishN")

    def publish_thousands(self, events, script):
        step, clients, before = min(1000, events), 1 if events <= 1_000_000 else 2, self.published()
        run = Pgbench(self.script(script, step), clients, ["-t", str(events // step // clients)], batch=step, **self.variables)
        events = run.result()[0] * step
        self.check_published(before + events)
        return events

    def schedule(self, events):
        """Publishes events that are due in the next three days, by 1,000; returns how many it is."""
        raise NotImplementedError

    def remember(self, events):
        """Makes so many finished events, as they are after their lives."""
        raise NotImplementedError

    def first_dispatch(self):
        """Milliseconds from the server's restart until an event that came due meanwhile is dispatched, if that is done."""

    def tidy(self):
        """What gives back the space of finished events."""
        value("VACUUM")

    def settle(self):
        """After preloading: statistics, and no vacuum left to do."""
        value("VACUUM ANALYZE")

    def busy(self):
        """What must run beside publishers and workers."""
        return contextlib.nullcontext()

    def published(self):
        """How many events are there, of those that were published and not yet finished."""
        raise NotImplementedError

    def latencies(self):
        """Milliseconds from publishes, called and acknowledged, until the event is where it is wanted."""
        raise NotImplementedError

    def left(self):
        return self.published()

    def check_published(self, expected):
        found = self.published()
        if found != expected:
            raise Wrong(f"{self.name}: {expected} events were published and {found} are there")

    def check_left(self, expected):
        left = self.left()
        if left != expected:
            raise Wrong(f"{self.name}: {left} events are left, not {expected}")

    def check_worked(self, published, left=None):
        """Each published event is finished, by what the workers say, or left, by what the tables say."""
        done = value("SELECT coalesce(sum(done), 0)::bigint FROM mark WHERE what = 'end'")
        found = self.left()
        if done + found != published or left not in (None, found):
            raise Wrong(f"{self.name}: of {published} events {done} were finished and {found} are left")
        return done

    def check_finished(self, published):
        self.check_worked(published, 0)


class Evq(Contestant):
    def __init__(self, name, turn="turn", delivery="push"):
        super().__init__(name, "evq", turn)
        self.delivery = delivery

    def install(self, workers):
        self.variables = {"delivery": self.delivery}
        self.remembered = 0
        super().install(workers)
        database.wait_until("SELECT running FROM evq_status()", "the dispatcher does not run")

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

    def check_worked(self, published, left=None):
        done = super().check_worked(published, left)
        found = database.row("SELECT (SELECT count(*) FROM evq.event_history), (SELECT count(*) FROM evq.events WHERE state = 'succeeded'),"
                             " (SELECT count(*) FROM evq.event_error)")
        if found != (done + self.remembered, done + self.remembered, 0):
            raise Wrong(f"{self.name}: of {done + self.remembered} events (finished, succeeded, errors) are {found}")
        return done

    def remember(self, events):
        event_id = value("SELECT evq_publish('BENCH', 'BENCH', 'case', %s)", PAYLOAD)
        database.wait_until("SELECT evq_succeed(event_id, permit) FROM evq_acquire_next('BENCH')", "an event was not dispatched")
        for table in database.tables_with("event_id", "evq"):
            database.multiply(table, "event_id", event_id, events - 1)
        self.remembered = events
        self.check_published(events)

    def schedule(self, events):
        return self.publish_thousands(events, "publishN_scheduled")

    def first_dispatch(self):
        event_id = value("SELECT evq_publish('BENCH', 'BENCH', 'case', %s, run_at => clock_timestamp() + '1 second')", PAYLOAD)
        accepting = server.restart()
        while value("SELECT state FROM evq.events WHERE event_id = %s", event_id) == "awaiting_processing":
            if time.perf_counter() > accepting + 60:
                raise Wrong(f"{self.name}: nothing was dispatched after the restart")
            time.sleep(0.002)
        return 1000 * (time.perf_counter() - accepting)

    def spread(self, flows):
        """From now on publishers and workers take turns with so many flows."""
        for n in range(flows):
            value("SELECT evq_configure_flow('BENCH' || %s, delivery => %s), evq_configure('BENCH' || %s, 'BENCH' || %s)",
                  n, self.delivery, n, n)
        self.variables["flows"] = flows

    def script(self, name, batch):
        script = super().script(name, batch)
        if "flows" in self.variables:
            script = "\\set turns :turns + 1\n\\set flow (:client_id + :turns) % :flows\n" + script.replace("'BENCH'", "'BENCH' || :flow")
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


class EvqOnNode(Evq):
    """Its worker is a program on Node, like those of the libraries."""

    def latencies(self):
        return node("latency.mjs", "evq", PAYLOAD, str(SAMPLES))


class Textbook(Contestant):
    def __init__(self):
        super().__init__("textbook", "textbook")

    def published(self):
        return value("SELECT count(*) FROM job")


class Notify(Contestant):
    def __init__(self):
        super().__init__("LISTEN/NOTIFY", "notify")

    def latencies(self):
        return latency.notified("SELECT pg_notify('evq_bench', %s)")

    def left(self):
        return 0


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

    @contextlib.contextmanager
    def busy(self):
        """A ticker, and publishers who feed all queues."""
        self.variables["queues"] = self.workers
        db, done = database.connect(), threading.Event()
        sql = db.cursor()

        def tick():
            while not done.wait(0.02):
                sql.execute("SELECT pgq.ticker()")

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
            value("SELECT pgq.force_tick('q' || n), pgq.ticker('q' || n) FROM generate_series(0, %s) AS n", self.workers - 1)
            self.left()
            value("SELECT pgq.maint_rotate_tables_step1('q' || n) FROM generate_series(0, %s) AS n", self.workers - 1)
            value("SELECT pgq.maint_rotate_tables_step2()")
        super().tidy()


def node(script, *arguments, **environment):
    """What a script of bench/node says."""
    run = subprocess.run([os.path.join(NODE, "node_modules/.bin/node"), script, *arguments], cwd=NODE,
                         env={**os.environ, "PGDATABASE": "bench", **environment}, stdout=subprocess.PIPE, check=False)
    if run.returncode != 0:
        raise Wrong(f"{script} {arguments[0]} failed")
    return json.loads(run.stdout)


class Library(Contestant):
    """A library on Node.  It installs itself, and its own statements are sent by pgbench."""

    def __init__(self, name, run_at):
        super().__init__(name, None)
        self.run_at = run_at        # what its publishers call the time at which an event is due

    @functools.cached_property
    def statements(self):
        """Of the first run: installs into a database that becomes the template of all others."""
        database.create(self.template)
        with open(os.path.join(HERE, "contestants", "schema.sql"), encoding="utf-8") as file:
            value(file.read(), database=self.template)
        return node("statements.mjs", self.name, PAYLOAD, PGDATABASE=self.template)

    @property
    def template(self):
        return "bench_" + self.name.replace("-", "_")

    def create(self, workers=WORKERS):
        self.variables = {name: self.statements[name] for name in ("job", "element") if name in self.statements}
        database.create(template=self.template)
        self.check_published(0)

    def script(self, name, batch):
        one_or_many = "1" if batch == 1 else "N"
        statement = {name: text.replace(str(self.statements["batch"]), str(batch)) if isinstance(text, str) else text
                     for name, text in self.statements.items()}
        if name == "publish1":
            return statement[name] + ";\n"
        if name.startswith("publishN"):
            element = ":element::jsonb"
            if name == "publishN_scheduled":
                element += f" || jsonb_build_object('{self.run_at}', now() + random() * interval '3 days')"
            return (f"\\if :made = 0\nSELECT jsonb_agg({element})::text AS jobs FROM generate_series(1, :batch) \\gset\n"
                    f"\\set made 1\n\\endif\n{statement['publishN']};\n")
        return (f"{statement['claim' + one_or_many]} \\gset\n"
                f"\\if :n > 0\n{statement['finish' + one_or_many]} \\gset\n\\endif\n")


    def latencies(self):
        return node("latency.mjs", self.name, PAYLOAD, str(SAMPLES))

    def schedule(self, events):
        return self.publish_thousands(events, "publishN_scheduled")


class GraphileWorker(Library):
    def __init__(self):
        super().__init__("graphile-worker", "run_at")

    def published(self):
        return value("SELECT count(*) FROM graphile_worker._private_jobs")


class PgBoss(Library):
    def __init__(self):
        super().__init__("pg-boss", "startAfter")

    def published(self):
        return value("SELECT count(*) FROM pgboss.job")

    def left(self):
        return value("SELECT count(*) FROM pgboss.job WHERE state <> 'completed'")

    def remember(self, events):
        self.preload(1, 1)
        value("UPDATE pgboss.job SET state = 'completed', started_on = now(), completed_on = now()")
        database.multiply("pgboss.job_common", "id", value("SELECT id FROM pgboss.job"), events - 1)
        self.check_published(events)
