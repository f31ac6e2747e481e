"""graphile-worker and pg-boss."""
import functools

import database
from contestant import Contestant, read
from database import value
from node import node
from settings import PAYLOAD, SAMPLES, WORKERS


class Library(Contestant):
    """A library on Node.  It installs itself, and its own statements are sent by pgbench."""

    def __init__(self, name, run_at):
        super().__init__(name, None)
        self.run_at = run_at        # what its publishers call the time at which an event is due

    @functools.cached_property
    def statements(self):
        """Of the first run: installs into a database that becomes the template of all others."""
        database.create(self.template)
        value(read("schema.sql"), database=self.template)
        return node("statements.mjs", self.name, PAYLOAD, PGDATABASE=self.template)

    @property
    def template(self):
        return "bench_" + self.name.replace("-", "_")

    def create(self, workers=WORKERS):
        self.variables = {name: self.statements[name] for name in ("job", "element") if name in self.statements}
        database.create(template=self.template)
        self.check_published(0)

    def script(self, name, batch):
        def statement(what):
            return self.statements[what].replace(str(self.statements["batch"]), str(batch))

        if name == "publish1":
            return statement(name) + ";\n"
        if name.startswith("publishN"):
            element = ":element::jsonb"
            if name == "publishN_scheduled":
                element += f" || jsonb_build_object('{self.run_at}', now() + interval '1 hour' + random() * interval '3 days')"
            return (f"\\if :made = 0\nSELECT jsonb_agg({element})::text AS jobs FROM generate_series(1, :batch) \\gset\n"
                    f"\\set made 1\n\\endif\n{statement('publishN')};\n")
        one_or_many = "1" if batch == 1 else "N"
        return (f"{statement('claim' + one_or_many)} \\gset\n"
                f"\\if :n > 0\n{statement('finish' + one_or_many)} \\gset\n\\endif\n")

    def latencies(self):
        return node("latency.mjs", self.name, PAYLOAD, str(SAMPLES))


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
