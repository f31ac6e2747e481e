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

    def work(self, batch, workers=WORKERS, marked=True, windows=None):
        """Workers, who end when there has been nothing to do for a second and all is published, or after (how many, of how many seconds)
        windows; marked: their first turn begins the run."""
        script = read("turn_begin.sql") * marked + self.script(self.turn, batch) + read("turn_end.sql")
        variables = {"batch": batch, **self.variables}
        if windows:
            script += read("turn_window.sql")
            variables |= {"windows": windows[0], "window": windows[1] * 1_000_000}
        return Pgbench(script, workers, ["-T", "3600"], ends_itself=True, **variables)

    def expect(self, batch):
        """Before publishing: workers will ask for so many events at once."""

    def preload(self, events, batch):   # pylint: disable=unused-argument
        """Publishes a backlog, by 1,000; returns how many events it is."""
        step = min(1000, events)
        events = self.publish(1, step, ["-t", str(events // step)]).result()[0] * step
        self.check_published(events)
        return events

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

    def check_finished(self, expected):
        """All that were published are finished, each once, as the workers say and as the tables say."""
        self.check_left(0)
        done = value("SELECT sum(done) FROM mark WHERE what = 'end'")
        if done != expected:
            raise Wrong(f"{self.name}: {expected} events were published and {done} finished")


class Evq(Contestant):
    def __init__(self, name, turn="turn", delivery="push"):
        super().__init__(name, "evq", turn)
        self.variables = {"delivery": delivery}

    def install(self, workers):
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

    def check_finished(self, expected):
        super().check_finished(expected)
        self.check_succeeded(expected)

    def check_succeeded(self, expected):
        found = database.row("SELECT (SELECT count(*) FROM evq.events), (SELECT count(*) FROM evq.events WHERE state = 'succeeded'),"
                             " (SELECT count(*) FROM evq.event_error)")
        if found != (expected, expected, 0):
            raise Wrong(f"{self.name}: of {expected} events (all, succeeded, errors) are {found}")


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
        # An estimate; check_finished() knows better, from the workers.
        return value("SELECT sum(pending_events)::bigint FROM pgq.get_consumer_info()")


def node(script, *arguments, **environment):
    """What a script of bench/node says."""
    run = subprocess.run([os.path.join(NODE, "node_modules/.bin/node"), script, *arguments], cwd=NODE,
                         env={**os.environ, "PGDATABASE": "bench", **environment}, stdout=subprocess.PIPE, check=False)
    if run.returncode != 0:
        raise Wrong(f"{script} {arguments[0]} failed")
    return json.loads(run.stdout)


class Library(Contestant):
    """A library on Node.  It installs itself, and its own statements are sent by pgbench."""

    def __init__(self, name):
        super().__init__(name, None)

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
        if name == "publishN":
            return ("\\if :made = 0\nSELECT json_agg(:element::json)::text AS jobs FROM generate_series(1, :batch) \\gset\n"
                    f"\\set made 1\n\\endif\n{statement[name]};\n")
        return (f"{statement['claim' + one_or_many]} \\gset\n"
                f"\\if :n > 0\n{statement['finish' + one_or_many]} \\gset\n\\endif\n")


    def latencies(self):
        return node("latency.mjs", self.name, PAYLOAD, str(SAMPLES))


class GraphileWorker(Library):
    def __init__(self):
        super().__init__("graphile-worker")

    def published(self):
        return value("SELECT count(*) FROM graphile_worker._private_jobs")


class PgBoss(Library):
    def __init__(self):
        super().__init__("pg-boss")

    def published(self):
        return value("SELECT count(*) FROM pgboss.job")

    def left(self):
        return value("SELECT count(*) FROM pgboss.job WHERE state <> 'completed'")
