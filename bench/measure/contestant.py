"""What evq is measured beside, and evq: how each is set up, published to, worked, and counted."""
import contextlib
import os

import database
from database import value
from pgbench import Pgbench
from settings import DURATION, HERE, PAYLOAD, WORKERS, Wrong


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

    def script(self, name, batch):
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

    def work(self, batch, workers=WORKERS, marked=True, until=None, turn="", **variables):
        """Workers, who end when there has been nothing to do for a second and all is published, or as turn_UNTIL.sql
        says; marked: their first turn begins the run; turn: added to the name of the script of a turn."""
        script = read("turn_begin.sql") * marked + self.script(self.turn + turn, batch) + read("turn_end.sql")
        if until:
            script += read(f"turn_{until}.sql")
        return Pgbench(script, workers, ["-T", "3600"], ends_itself=True, batch=batch, **self.variables, **variables)

    def expect(self, batch):
        """Before publishing: workers will ask for so many events at once."""

    def preload(self, events, batch):
        """Publishes a backlog, by 1,000; returns how many events it is."""
        return self.publish_thousands(events, "publishN")[0]

    def preload_singly(self, events, batch):
        """A backlog of events each of which was published by itself; unlike preload() only where that is stored in another way."""
        return self.preload(events, batch)

    def preload_by_calls(self, events, size):
        """A backlog, by calls of so many events each."""
        for _ in range(events // size):
            value(self.publish_call.format(size=size, payload=PAYLOAD))
        self.check_published(events)

    def expect_failures(self):
        """Before publishing: what fails at its first attempt is to be attempted again at once."""

    def retries(self):
        """What must run beside workers some of whose attempts fail."""
        return contextlib.nullcontext()

    def schedule(self, events):
        """Publishes events that are due in the next three days, by 1,000; returns how many it is, and how many a second."""
        return self.publish_thousands(events, "publishN_scheduled")

    def publish_thousands(self, events, script):
        step, clients, before = min(1000, events), 1 if events <= 1_000_000 else 2, self.published()
        run = Pgbench(self.script(script, step), clients, ["-t", str(events // step // clients)], batch=step, **self.variables)
        done, rate = run.result()
        self.check_published(before + done * step)
        return done * step, rate * step

    def remember(self, events):
        """Makes so many finished events, as they are after their lives."""
        raise NotImplementedError

    def first_dispatch(self):
        """Milliseconds from the server's restart until an event that came due meanwhile is dispatched, if that is done."""

    def tidy(self):
        """What gives back the space of finished events."""
        value("VACUUM")

    def settle(self):
        """After preloading: statistics, no vacuum left to do or being done, and the tables in the system's cache."""
        value("VACUUM ANALYZE")
        database.wait_until("SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'autovacuum worker')",
                            "autovacuum does not end", 300)
        database.read_files()

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
