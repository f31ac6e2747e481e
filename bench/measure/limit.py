"""The limit of a publish: the same rows into the same tables, without the engine."""
import io
import threading
import time

import psycopg2

import database
from contestant import Contestant
from database import value
from settings import DURATION, PAYLOAD, Wrong

GIVEN = {
    "publish1": "SELECT limit_id(now(), :client_id, 1) AS event_id, :case::text AS flow_id, :payload::jsonb AS payload",
    "publishN": "SELECT limit_id(now(), :client_id, row_no) AS event_id, flow_id, payload"
                " FROM unnest(:cases::text[], :payloads::jsonb[]) WITH ORDINALITY AS given (flow_id, payload, row_no)",
}


class Limit(Contestant):
    """Its tables are copies of those that evq_publish() writes to, its rows copies of what evq_publish() wrote."""

    def __init__(self, name):
        super().__init__(name, "limit")

    def install(self, workers):
        super().install(workers)
        self.tables = {}            # {name: [(column, what was written, what to write)]}
        db = database.connect()
        db.autocommit = False
        sql = db.cursor()
        sql.execute("SELECT evq_publish('BENCH', 'BENCH', 'case', %s)", (PAYLOAD,))
        event_id = sql.fetchone()[0]
        for table in database.tables_with("event_id", "evq"):
            columns = self.columns_of(sql, table, event_id)
            if columns:
                name = table.replace("evq.", "limit_")
                self.tables[name] = columns
                value(f"CREATE TABLE {name} (LIKE {table} INCLUDING ALL)")
                options = value("SELECT array_to_string(reloptions, ', ') FROM pg_class WHERE oid = %s::regclass", table)
                if options:
                    value(f"ALTER TABLE {name} SET ({options})")
        db.rollback()
        db.close()
        if not self.tables:
            raise Wrong("limit: evq_publish() wrote nothing")

    @staticmethod
    def columns_of(sql, table, event_id):
        """The columns of the event's row, if it has one there."""
        sql.execute("SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
                    " WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum", (table,))
        columns = sql.fetchall()
        sql.execute(f"SELECT now()::text, {', '.join(name + '::text' for name, _ in columns)} FROM {table} WHERE event_id = %s",
                    (event_id,))
        found = sql.fetchone()
        if found is None:
            return None
        result = []
        for (name, kind), text in zip(columns, found[1:]):
            expression = "NULL" if text is None else f"{kind} '{text}'"
            if name in ("event_id", "flow_id"):
                expression = name
            elif kind == "jsonb" and text is not None:
                expression = "payload"
            elif kind.startswith("timestamp") and text not in (None, "infinity", "-infinity"):
                expression = f"now() + (timestamptz '{text}' - timestamptz '{found[0]}')"     # as far from the transaction's start
            result.append((name, text, expression))
        return result

    def script(self, name, batch):
        inserts = [f"INSERT INTO {table} ({', '.join(column for column, _, _ in columns)})"
                   f" SELECT {', '.join(expression for _, _, expression in columns)} FROM given"
                   for table, columns in self.tables.items()]
        others = "".join(f",\n{table}_ AS ({insert})" for table, insert in zip(self.tables, inserts[1:]))
        prepare = ("\\set case random(1, 1000000)\n" if name == "publish1" else
                   "\\if :made = 0\nSELECT array_agg(n)::text AS cases, array_fill(:payload::jsonb, ARRAY[:batch::int])::text AS payloads"
                   "\nFROM generate_series(1, :batch) AS n \\gset\n\\set made 1\n\\endif\n")
        return f"{prepare}WITH given AS MATERIALIZED ({GIVEN[name]}){others}\n{inserts[0]};\n"

    def published(self):
        counts = {value(f"SELECT count(*) FROM {table}") for table in self.tables}
        if len(counts) > 1:
            raise Wrong(f"{self.name}: the tables have different numbers of rows")
        return counts.pop()


class Copy(Limit):
    """By COPY of batches of 1,000 rows, made beforehand."""

    def publish_rate(self, clients, batch):
        batches = 50 * DURATION // clients * clients
        # The clients' batches alternate, so that ids come in the order of time.
        work = [[list(self.copies(number, batch)) for number in range(client, batches, clients)] for client in range(clients)]
        connections = [psycopg2.connect(dbname="bench") for _ in work]
        threads = [threading.Thread(target=self.send, args=pair) for pair in zip(connections, work)]
        start = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.perf_counter() - start
        for db in connections:
            db.close()
        self.check_published(batches * batch)
        return batches * batch / seconds

    def copies(self, number, batch):
        """COPY statements for a batch, with their rows; ids are in the order of the numbers."""
        for table, columns in self.tables.items():
            def line(n):
                given = {"event_id": f"{number * batch + n:032x}", "flow_id": str(n), "payload": PAYLOAD}
                return "\t".join(given.get(expression, "\\N" if text is None else text) for _, text, expression in columns) + "\n"
            yield (f"COPY {table} ({', '.join(column for column, _, _ in columns)}) FROM STDIN",
                   io.StringIO("".join(map(line, range(batch)))))

    @staticmethod
    def send(db, batches):
        for batch in batches:
            with db, db.cursor() as sql:
                for statement, rows in batch:
                    sql.copy_expert(statement, rows)
