#!/usr/bin/python3
"""What people do to a database at work: DDL on evq's tables, changed configuration, pauses. Evq::Attack starts it.

One session does DDL, another configures; each statement has its chance to meet a lock that it does not get. Standard input
says "drain" when all is to be put back as it was, which is done when the line "drained" is printed; its end ends the program.
"""
import argparse
import collections
import json
import random
import sys
import threading
import time

import psycopg2

from attack_world import FLOWS, MOST_ATTEMPTS, TYPES
from load_connection import is_lost

TABLES = ("event", "event", "event", "event_history", "event_payload", "event_error", "idempotency", "log", "batch", "backlog", "run", "exception")
INDEXED = {"event": ("worker", "state", "attempts_used", "state_due_at", "permit", "event_id, state", "(payload ->> 'n')"),
           "event_history_default": ("finished_at", "state", "worker"), "event_error": ("attempt",), "idempotency": ("content_hash",),
           "event_payload": ("(payload ->> 'n')",), "run": ("state", "permit, worker"), "exception": ("state",),
           "backlog": ("batch_id",)}

# What may have been left undone.
UNDO = ["SELECT evq_resume()", "SELECT evq_configure_flow('PULL', delivery => 'pull')"] + [f"SELECT evq_unsuspend_event_type('{name}')" for name in TYPES]

stopping, draining = threading.Event(), threading.Event()
options = None
counts = collections.Counter()
counts_lock = threading.Lock()


class Operator(threading.Thread):
    def __init__(self, name):
        super().__init__(daemon=True)
        self.name = name
        self.chance = random.Random(f"{options.seed}/{name}")
        self.connection = None
        self.number = 0

    def run(self):
        while not stopping.is_set():
            if draining.is_set() and self.put_back():
                return
            if not draining.is_set():
                what, statements = self.choose()
                self.attempt(what, statements)
                stopping.wait(self.chance.random() * options.pause)

    def connect(self):
        with open(options.where) as file:
            self.connection = psycopg2.connect(file.read(), application_name=self.name, connect_timeout=10)
        self.connection.autocommit = True

    def attempt(self, what, statements):
        """Runs statements; counts whether they went through. True = they did."""
        try:
            if self.connection is None or self.connection.closed:
                self.connect()
            with self.connection.cursor() as cursor:
                cursor.execute("SELECT set_config('lock_timeout', %s, false)", (self.chance.choice(("20ms", "500ms", "5s")),))
                for statement in statements:
                    cursor.execute(statement)
        except FileNotFoundError:
            stopping.wait(0.2)
            return False
        except psycopg2.Error as error:
            if self.connection is None or is_lost(self.connection, error):
                if self.connection is not None:
                    self.connection.close()
                    self.connection = None
                stopping.wait(0.2)
                return False
            code = error.pgcode
            try:
                with self.connection.cursor() as cursor:
                    cursor.execute("ROLLBACK")
            except psycopg2.Error:
                self.connection.close()
            with counts_lock:
                counts[f"{what}: {code}"] += 1
            # Locks, deadlocks, what a lost try left behind, and what is not there any more.
            if code not in ("55P03", "40P01", "40001", "42701", "42P07", "42703", "42704", "42710", "57014", "25006", "23505", "0A000", "55006"):
                print("unexpected: " + json.dumps([what, statements, str(error)]), flush=True)
            return False
        with counts_lock:
            counts[what] += 1
        return True

    def name_of_new(self):
        self.number += 1
        return f"attack_{self.number % 6}"


class Ddl(Operator):
    def choose(self):
        chance = self.chance
        table = chance.choice(TABLES)
        new = self.name_of_new()
        indexed = chance.choice(list(INDEXED))
        choices = (
            (6, "ADD COLUMN", [f"ALTER TABLE evq.{table} ADD COLUMN {new} {chance.choice(('int', 'int NOT NULL DEFAULT 7', 'text DEFAULT md5(random()::text)'))}"]),
            (6, "DROP COLUMN", [f"ALTER TABLE evq.{table} DROP COLUMN {new}"]),
            (5, "CREATE INDEX", [f"CREATE INDEX {new}_idx ON evq.{indexed} ({chance.choice(INDEXED[indexed])})"]),
            (5, "CREATE INDEX CONCURRENTLY", [f"CREATE INDEX CONCURRENTLY {new}_idx ON evq.{indexed} ({chance.choice(INDEXED[indexed])})"]),
            (5, "DROP INDEX", [f"DROP INDEX evq.{new}_idx"]),
            (3, "DROP INDEX CONCURRENTLY", [f"DROP INDEX CONCURRENTLY evq.{new}_idx"]),
            (4, "VACUUM FULL", [f"VACUUM FULL evq.{chance.choice(('event', 'event', 'event_payload', 'event_error', 'idempotency', 'event_history', 'log', 'log', 'batch', 'backlog', 'run', 'exception'))}"]),
            (3, "VACUUM FREEZE", [f"VACUUM (FREEZE, ANALYZE) evq.{table}"]),
            (3, "REINDEX", [f"REINDEX TABLE evq.{chance.choice(('event', 'event_payload', 'idempotency', 'event_history', 'log', 'batch', 'backlog', 'run', 'exception'))}"]),
            (3, "REINDEX CONCURRENTLY", [f"REINDEX TABLE CONCURRENTLY evq.{chance.choice(('event', 'event_payload', 'idempotency', 'batch', 'run', 'exception'))}"]),
            (2, "CLUSTER", ["CLUSTER evq.event USING event_pkey"]),
            (2, "SET fillfactor", [f"ALTER TABLE evq.event SET (fillfactor = {chance.choice((45, 70, 100))})"]),
            (2, "CHECK", ["ALTER TABLE evq.event DROP CONSTRAINT IF EXISTS attack_check",
                          "ALTER TABLE evq.event ADD CONSTRAINT attack_check CHECK (attempts_used >= 0)"]),
            (3, "LOCK TABLE", ["BEGIN", f"LOCK TABLE evq.{table} IN {chance.choice(('ACCESS EXCLUSIVE', 'SHARE', 'EXCLUSIVE'))} MODE",
                               f"SELECT pg_sleep({chance.random()})", "COMMIT"]),
            (1, "DDL rolled back", ["BEGIN", f"ALTER TABLE evq.event ADD COLUMN {new} int", "ROLLBACK"]),
            (1, "CREATE PUBLICATION", ["CREATE PUBLICATION attack FOR ALL TABLES"]),
            (2, "DROP PUBLICATION", ["DROP PUBLICATION attack"]),
            (3, "look", ["SELECT * FROM evq_check()", "SELECT evq_metrics()", "SELECT * FROM evq_status()", "SELECT * FROM evq.blocked_flows",
                         "SELECT * FROM evq.queue"]),
            (1, "evq_purge", ["SELECT evq_purge()"]),
            (1, "held snapshot", ["BEGIN ISOLATION LEVEL REPEATABLE READ", "SELECT count(*) FROM evq.event", f"SELECT pg_sleep({3 * chance.random()})", "COMMIT"]),
        )
        _, what, statements = chance.choices(choices, [choice[0] for choice in choices])[0]
        return what, statements

    def put_back(self):
        """Drops what is left."""
        done = self.attempt("put back", [r"""
            SET lock_timeout = '10s';
            DO $$
            DECLARE
                what text;
            BEGIN
                FOR what IN
                    SELECT format('DROP INDEX evq.%I', relname) FROM pg_class WHERE relkind = 'i' AND relname ~ '^attack|_cc(new|old)\d*$' AND relnamespace = 'evq'::regnamespace
                    UNION ALL
                    SELECT format('ALTER TABLE %s DROP COLUMN %I', attrelid::regclass, attname) FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid
                    WHERE relkind IN ('r', 'p') AND attname LIKE 'attack%' AND attinhcount = 0 AND NOT attisdropped AND relnamespace = 'evq'::regnamespace
                LOOP
                    EXECUTE what;
                END LOOP;
            END
            $$;
            DROP PUBLICATION IF EXISTS attack;
            ALTER TABLE evq.event DROP CONSTRAINT IF EXISTS attack_check;
            ALTER TABLE evq.event SET (fillfactor = 45)"""])
        stopping.wait(0.2)
        return done


class Configure(Operator):
    def choose(self):
        chance = self.chance
        name = chance.choice(list(TYPES))
        flow = chance.choice(list(FLOWS))
        statement = chance.choices((
            f"SELECT evq_configure('{name}', lifespan => '{chance.choice((TYPES[name]['lifespan'], '20 s', '2 hours'))}')",
            f"SELECT evq_configure('{name}', max_attempts => {chance.randint(2, MOST_ATTEMPTS)})",
            f"SELECT evq_configure('{name}', attempt_timeout => '{chance.choice(('1 s', '3 s'))}', jitter => {chance.random()})",
            f"SELECT evq_configure('{name}', on_suspend_timeout => '{chance.choice(('retry', 'expire'))}')",
            f"SELECT evq_configure('{name}', priority => {chance.randint(-1, 2)}, attempt_delays => '{{0 s, {chance.choice((0, 300, 1500))} ms}}', backoff_factor => 2)",
            f"SELECT evq_configure_flow('{chance.choice([name for name in FLOWS if name != 'PULL'])}', delivery => '{chance.choice(('push', 'pull'))}')",
            f"SELECT evq_configure_flow('{flow}', max_dispatched => {chance.choice((2, 50, 1000))}, dispatch_timeout => '{chance.choice((1, 2, 5))} s')",
            f"SELECT evq_configure_flow('{chance.choice(('LIMIT', 'BOTH'))}', max_processing => {chance.randint(1, 6)})",
            f"SELECT evq_configure_flow('{flow}', notify_payload => {chance.choice(('true', 'false'))})",
        ))[0]
        kind = chance.random()
        if kind < 0.1:
            return "pause", ["SELECT evq_pause('attack')", f"SELECT pg_sleep({1.5 * chance.random()})", "SELECT evq_resume()"]
        if kind < 0.2:
            return "suspend type", [f"SELECT evq_suspend_event_type('{name}')", f"SELECT pg_sleep({1.5 * chance.random()})",
                                    f"SELECT evq_unsuspend_event_type('{name}')"]
        if kind < 0.3:
            return "configuration rolled back", ["BEGIN", statement, f"SELECT pg_sleep({0.3 * chance.random()})", "ROLLBACK"]
        if kind < 0.4:
            return "configuration prepared", ["BEGIN", statement, "PREPARE TRANSACTION 'configuration'", f"SELECT pg_sleep({0.5 * chance.random()})",
                                              f"{chance.choice(('COMMIT', 'ROLLBACK'))} PREPARED 'configuration'"]
        # Only pull flows have batches.
        if kind < 0.5:
            return "push for a while", ["SELECT evq_configure_flow('PULL', delivery => 'push')", f"SELECT pg_sleep({1.5 * chance.random()})", UNDO[1]]
        if kind < 0.55:
            return "pause rolled back", ["BEGIN", "SELECT evq_pause('attack')", f"SELECT pg_sleep({0.3 * chance.random()})", "ROLLBACK"]
        return "configuration", [statement]

    def attempt(self, what, statements):
        done = super().attempt(what, statements)
        # What a lost connection left behind.
        if not done and not stopping.is_set() and what != "undo":
            self.attempt("undo", UNDO)
            self.end_prepared()
        return done

    def end_prepared(self):
        try:
            with self.connection.cursor() as cursor:
                cursor.execute("ROLLBACK PREPARED 'configuration'")
        except (psycopg2.Error, AttributeError):
            pass

    def put_back(self):
        self.end_prepared()
        done = self.attempt("undo", UNDO)
        stopping.wait(0.2)
        return done


def main():
    global options
    parser = argparse.ArgumentParser()
    parser.add_argument("--where", required=True, help="file with the connection string")
    parser.add_argument("--seed", required=True)
    parser.add_argument("--log", required=True)
    parser.add_argument("--pause", type=float, default=0.5, help="longest pause between two deeds of a session, in seconds")
    options = parser.parse_args()
    sys.stdout = open(options.log, "a")
    operators = [Ddl("ddl"), Configure("configure")]
    for operator in operators:
        operator.start()
    for line in sys.stdin:
        if line.strip() == "drain":
            draining.set()
            for operator in operators:
                operator.join(60)
                if operator.is_alive():
                    print("unexpected: " + json.dumps([operator.name, "does not end"]), flush=True)
            print("counts: " + json.dumps(counts), flush=True)
            print("drained", flush=True)
    stopping.set()
    time.sleep(0)


if __name__ == "__main__":
    main()
