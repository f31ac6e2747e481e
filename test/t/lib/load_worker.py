#!/usr/bin/python3
"""Worker sessions for the load tests; Evq::Load starts it and reads its log.

Each session acquires events, works as the plan says, and reports with its permit. What the work did is a row of
load_success, written in the transaction of the report; load_success has no unique constraint, so that work done twice
shows. A session that loses its connection connects again; the report it was about to make it repeats, or forgets.

The log has a line for each thing that the server acknowledged, or refused: see record(). The program ends when its
standard input does. An error that no worker should meet ends it with exit code 1.
"""
import argparse
import json
import os
import random
import select
import sys
import threading
import time
import traceback

import psycopg2
from psycopg2.extras import Json, NamedTupleCursor

from load_connection import connect, is_lost, must_bear

WRONG_STATE, PERMIT_LOST = "EQ003", "EQ004"

stopping = threading.Event()
log_lock = threading.Lock()
options = plan = log = None
failed = False


def record(what, worker, event, note=""):
    """One line: what was acknowledged, by whom it was asked, event, permit, attempt, note."""
    with log_lock:
        log.write("\t".join(map(str, (what, worker, event.event_id, event.permit, event.attempt, note))) + "\n")
        log.flush()


def place_of_effect(event):
    """Transactions with several effects have them in one order, or they would wait for each other."""
    return event.payload.get("number", 0) % plan["accounts"] if "accounts" in plan else 0


class Session(threading.Thread):
    def __init__(self, name):
        super().__init__(daemon=True)
        self.name = name
        self.random = random.Random(name + str(options.seed))
        self.connection = None
        self.unanswered = None          # a report of success that may or may not have been committed

    def run(self):
        global failed
        try:
            while not stopping.is_set():
                self.connection = connect(options.dsn, self.name, self.pause, cursor_factory=NamedTupleCursor)
                self.connection.autocommit = True
                try:
                    self.serve()
                except psycopg2.Error as error:
                    if must_bear(error, plan.get("bear", ())):
                        self.pause(0.1)
                    elif not is_lost(self.connection, error):
                        raise
                finally:
                    self.connection.close()
        except SystemExit:
            pass
        except Exception:
            sys.stderr.write(f"{self.name}: {traceback.format_exc()}")
            failed = True
            stopping.set()

    def pause(self, seconds):
        if stopping.wait(seconds * (0.5 + self.random.random())):
            sys.exit()          # ends this thread only

    def query(self, sql, parameters):
        with self.connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            return cursor.fetchall()

    # ---------- getting work ----------

    def serve(self):
        if self.unanswered is not None:
            event, self.unanswered = self.unanswered, None
            if self.random.random() < 0.5:
                if options.by in ("many", "token"):
                    self.succeed_together(*event, repeated=True)
                else:
                    self.succeed(event, repeated=True)
        if options.by == "notify":
            self.serve_notifications()
        elif options.by in ("many", "token"):
            self.serve_together()
        else:
            self.serve_by_polling()

    def serve_by_polling(self):
        while not stopping.is_set():
            events = self.query("SELECT * FROM evq_acquire_next(%s, %s, worker => %s, permit_for => %s)",
                                (options.flow or plan["flow"], options.batch, self.name, self.permit_for()))
            for event in events:
                record("acquired", self.name, event)
            for event in events:
                self.work(event)
            if not events:
                stopping.wait(0.03 + 0.05 * self.random.random())

    def serve_notifications(self):
        with self.connection.cursor() as cursor:
            cursor.execute(f"LISTEN {plan['channel']}")
        while not stopping.is_set():
            if not self.connection.notifies:
                readable, _, _ = select.select([self.connection], [], [], 0.2)
                if readable:
                    self.connection.poll()
            while self.connection.notifies and not stopping.is_set():
                heard = json.loads(self.connection.notifies.pop(0).payload)
                for event in self.query("SELECT * FROM evq_acquire(%s, worker => %s, permit_for => %s)",
                                        (heard["event_id"], self.name, self.permit_for())):
                    record("acquired", self.name, event)
                    self.work(event)

    def serve_together(self):
        """Acquires many and reports them together: with their permits, or by the token of the batch."""
        while not stopping.is_set():
            if options.by == "many":
                events = self.query("SELECT NULL AS token, * FROM evq_acquire_next(%s, %s, worker => %s, permit_for => %s)",
                                    (options.flow or plan["flow"], options.batch, self.name, self.permit_for()))
            else:
                events = self.query("SELECT b.token, e.*, p.permit FROM evq_acquire_batch(%s, %s, worker => %s, permit_for => %s) b"
                                    " CROSS JOIN unnest(b.event_ids, b.event_types, b.attempts, b.payloads) e (event_id, event_type, attempt, payload)"
                                    " JOIN evq_batch_permits(b.token) p USING (event_id)",
                                    (options.flow or plan["flow"], options.batch, self.name, self.permit_for()))
            for event in events:
                record("acquired", self.name, event)
            if events:
                self.work_together(events)
            else:
                stopping.wait(0.03 + 0.05 * self.random.random())

    def permit_for(self):
        """Now and then a permit that will run out before the work is done."""
        self.dawdles = self.random.random() < plan.get("dawdle", 0)
        return "50 ms" if self.dawdles else None

    # ---------- working ----------

    def work(self, event):
        began_at = time.monotonic()
        if plan.get("exclusive"):
            self.enter(event)
        time.sleep((0.2 if self.dawdles else 0) + plan.get("work_seconds", 0.002) * self.random.random())
        if plan.get("holds"):
            record("held", self.name, event, f"{began_at:.6f} {time.monotonic():.6f}")
        try:
            if self.random.random() < plan.get("fail", {}).get(event.event_type, 0):
                self.fail(event)
            else:
                self.succeed(event)
        except psycopg2.Error as error:
            if error.pgcode not in (WRONG_STATE, PERMIT_LOST):
                raise
            record("refused", self.name, event, error.pgcode)

    def work_together(self, events):
        for event in events if plan.get("exclusive") else ():
            self.enter(event)
        time.sleep((0.2 if self.dawdles else 0) + plan.get("work_seconds", 0.002) * self.random.random())
        token = events[0].token
        if token is not None and self.random.random() < 0.05:
            self.query("SELECT * FROM evq_heartbeat_batch(%s)", (token,))
        failed = {event.event_id for event in events if self.random.random() < plan.get("fail", {}).get(event.event_type, 0)}
        if failed:
            self.fail_together([event for event in events if event.event_id in failed], token)
        self.succeed_together([event for event in events if event.event_id not in failed], token, list(failed))

    def enter(self, event):
        """Whoever works on an event is alone with it: a lock outside evq says so."""
        [(alone,)] = self.query("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", (event.event_id,))
        if not alone:
            record("not_alone", self.name, event)

    def leave(self, cursor, event):
        if plan.get("exclusive"):
            cursor.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", (event.event_id,))

    def succeed(self, event, repeated=False):
        spinoffs = [{"event_type": next_type, "payload": event.payload}
                    for next_type in plan.get("next", {}).get(event.event_type, [])]
        self.unanswered = event
        try:
            with self.connection, self.connection.cursor() as cursor:
                self.leave(cursor, event)
                done = False
                if repeated:
                    cursor.execute("SELECT FROM load_success WHERE event_id = %s AND permit = %s",
                                   (event.event_id, event.permit))
                    done = cursor.rowcount > 0
                if not done:
                    cursor.execute("INSERT INTO load_success (event_id, permit, worker) VALUES (%s, %s, %s)",
                                   (event.event_id, event.permit, self.name))
                    if "effect" in plan:
                        cursor.execute(plan["effect"], event._asdict() | {"payload": Json(event.payload)})
                cursor.execute("SELECT evq_succeed(%s, %s, spinoffs => %s)::text[]",
                               (event.event_id, event.permit, Json(spinoffs)))
                [(ids,)] = cursor.fetchall()
        except psycopg2.Error as error:
            if not is_lost(self.connection, error):
                self.unanswered = None
            if repeated and error.pgcode in (WRONG_STATE, PERMIT_LOST):
                record("refused", self.name, event, error.pgcode)
                return
            raise
        self.unanswered = None
        record("succeeded", self.name, event, "{" + ",".join(ids) + "}")

    def refused_together(self, events, error):
        """Was the token itself refused, one of a server that is another one's by now? Then all of it is lost."""
        if error.pgcode != PERMIT_LOST:
            return False
        for event in events:
            record("refused", self.name, event, PERMIT_LOST)
        return True

    def succeed_together(self, events, token, excepted, repeated=False):
        if not events:
            return
        self.unanswered = (events, token, excepted)
        try:
            lost = self.report_together(events, token, excepted, repeated)
        except psycopg2.Error as error:
            if not self.refused_together(events, error):
                raise
            self.unanswered = None
            return
        self.unanswered = None
        for event in events:
            if event.event_id in lost:
                record("refused", self.name, event, PERMIT_LOST)
            else:
                record("succeeded", self.name, event, "{}")

    def report_together(self, events, token, excepted, repeated):
        """Reports success, with its effects, in a transaction. Returns the ids of events that were lost."""
        with self.connection, self.connection.cursor() as cursor:
            if token is None:
                cursor.execute("SELECT event_id FROM evq_succeed_many(%s::uuid[], %s::bigint[]) WHERE NOT accepted",
                               ([event.event_id for event in events], [event.permit for event in events]))
            else:
                cursor.execute("SELECT lost FROM evq_succeed_batch(%s, %s::uuid[]) lost", (token, excepted))
            lost = {row[0] for row in cursor.fetchall()}
            for event in sorted(events, key=place_of_effect):
                self.leave(cursor, event)
                if event.event_id in lost:
                    continue
                if repeated:
                    cursor.execute("SELECT FROM load_success WHERE event_id = %s AND permit = %s", (event.event_id, event.permit))
                    if cursor.rowcount > 0:
                        continue
                cursor.execute("INSERT INTO load_success (event_id, permit, worker) VALUES (%s, %s, %s)",
                               (event.event_id, event.permit, self.name))
                if "effect" in plan:
                    cursor.execute(plan["effect"], event._asdict() | {"payload": Json(event.payload)})
        return lost

    def fail_together(self, events, token):
        ids = [event.event_id for event in events]
        with self.connection, self.connection.cursor() as cursor:
            for event in events:
                self.leave(cursor, event)
            if token is None:
                cursor.execute("SELECT event_id FROM evq_fail_many(%s::uuid[], %s::bigint[], 'bad luck') WHERE NOT accepted",
                               (ids, [event.permit for event in events]))
            else:
                cursor.execute("SELECT event_id FROM evq_fail_batch(%s, 'bad luck', %s::uuid[]) WHERE NOT accepted", (token, ids))
            lost = {row[0] for row in cursor.fetchall()}
        for event in events:
            record("refused" if event.event_id in lost else "failed", self.name, event, PERMIT_LOST if event.event_id in lost else "")

    def fail(self, event):
        with self.connection, self.connection.cursor() as cursor:
            self.leave(cursor, event)
            cursor.execute("SELECT evq_fail(%s, %s, %s)", (event.event_id, "bad luck", event.permit))
        record("failed", self.name, event)


def main():
    global options, plan, log
    parser = argparse.ArgumentParser()
    parser.add_argument("--dsn", required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--log", required=True)
    parser.add_argument("--plan", required=True, help="JSON file; see Evq::Load")
    parser.add_argument("--sessions", type=int, default=1)
    parser.add_argument("--by", choices=("next", "notify", "many", "token"), default="next")
    parser.add_argument("--flow", help="another than that of the plan")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with open(options.plan) as file:
        plan = json.load(file)
    log = open(options.log, "a")

    sessions = [Session(f"{options.name}.{n}") for n in range(options.sessions)]
    for session in sessions:
        session.start()
    while not stopping.is_set():
        readable, _, _ = select.select([sys.stdin], [], [], 0.2)
        if readable and not os.read(sys.stdin.fileno(), 1024):
            stopping.set()
    for session in sessions:
        session.join(60)
        if session.is_alive():
            sys.stderr.write(f"{session.name}: does not end\n")
            os._exit(1)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
