#!/usr/bin/python3
"""Sessions that call every verb at random, for the attack tests; Evq::Attack starts it and reads its journal.

Each turn of a session is a transaction: of one call or of several, at any isolation level, with savepoints some of which are
rolled back, ended by COMMIT, ROLLBACK or PREPARE TRANSACTION. Who decides about a prepared one is any session, later. What
sessions do with is in pools that all of them share: so reports come from others than those who acquired, and twice, and with
permits that were rolled back.

The journal has a line of JSON for each turn, written before its end is asked for, and one for what the server answered; see
attack_check.py, which reads it. A turn that is not a single call writes its name into the table attack_mark: so what
became of it, where the answer was lost, is told by the server's tables and WAL.

Standard input tells the program what to do: "drain" has sessions do nothing but work off what is there; its end ends them.
"""
import argparse
import collections
import json
import os
import random
import re
import sys
import threading
import time
import traceback

import psycopg2
from psycopg2.extras import Json

from attack_world import FLOWS, TYPES
from load_connection import is_lost

# What may happen to any call: the event is elsewhere by now, somebody else was first, the server goes or is not there.
BORN = {"EQ002", "EQ003", "EQ004", "EQ008", "40001", "40P01", "55P03", "53200"}
ISOLATION = ("READ COMMITTED", "READ COMMITTED", "READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE")
MOST_LIVE = 400
POOL = 200

stopping, draining = threading.Event(), threading.Event()
options = journal = pools = None
failed = False


class Journal:
    """Lines of JSON, one a call of write(); each is in the file before that returns."""

    def __init__(self, name):
        self.file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, **line):
        os.write(self.file, (json.dumps(line | {"at": time.monotonic()}) + "\n").encode())


class Pool:
    """Things to act on; the oldest are forgotten."""

    def __init__(self):
        self.lock = threading.Lock()
        self.things = collections.deque(maxlen=POOL)

    def add(self, thing):
        with self.lock:
            self.things.append(thing)

    def take(self, chance, keep=0.0):
        """Any one, or None. keep: chance that it stays in the pool."""
        with self.lock:
            if not self.things:
                return None
            index = chance.randrange(len(self.things))
            thing = self.things[index]
            if chance.random() >= keep:
                del self.things[index]
            return thing


class Pools:
    def __init__(self):
        self.known = Pool()         # ids of events
        self.held = Pool()          # (event_id, permit, flow) acquired
        self.asleep = Pool()        # (event_id, permit) suspended, or soon to be
        self.ended = Pool()         # (event_id, permit) whose attempt is over, or never was
        self.badly = Pool()         # ids of events that failed, expired or were canceled
        self.keyed = Pool()         # events published with a key
        self.prepared = Pool()      # (gid, decision)
        self.batches = Pool()       # (token, [(event_id, permit)]) acquired, kept or rolled back
        self.live = 0               # events, when last counted


class Undone(Exception):
    """An error inside a transaction, which undoes it."""


class Session(threading.Thread):
    def __init__(self, number):
        super().__init__(daemon=True)
        self.name = f"{options.name}.{number}"
        self.chance = random.Random(f"{options.seed}/{self.name}")
        self.connection = self.cursor = None
        self.serial = 0
        self.effects = []

    # ---------- connecting ----------

    def run(self):
        global failed
        try:
            while not stopping.is_set():
                try:
                    if self.connect():
                        while not stopping.is_set():
                            self.turn()
                except psycopg2.Error as error:
                    if not is_lost(self.connection, error):
                        raise
                finally:
                    if self.connection is not None:
                        self.connection.close()
        except Exception:
            sys.stderr.write(f"{self.name}: {traceback.format_exc()}")
            failed = True
            stopping.set()

    def connect(self):
        try:
            with open(options.where) as file:
                self.connection = psycopg2.connect(file.read() + " user=attack_client", application_name=self.name,
                                                   connect_timeout=10)
        except (psycopg2.OperationalError, FileNotFoundError):
            stopping.wait(0.2)
            return False
        self.connection.autocommit = True
        self.cursor = self.connection.cursor()
        # Some wait for locks for as long as it takes.
        self.sql("SELECT set_config('lock_timeout', %s, false)", self.chance.choice(("0", "100ms", "1s")))
        return True

    def sql(self, statement, *parameters):
        self.cursor.execute(statement, parameters)
        return self.cursor.fetchall() if self.cursor.description else []

    # ---------- a turn ----------

    def turn(self):
        self.serial += 1
        self.txn = f"{self.name}/{self.serial}"
        self.effects = []
        self.taken = []
        if not draining.is_set() and self.chance.random() < 0.1:
            self.decide()
            return
        if self.serial % 20 == 0:
            self.count_live()
        if self.chance.random() < 0.3:
            self.turn_of_one_call()
        else:
            self.turn_of_transaction()
        stopping.wait(self.chance.random() * options.pause)

    def happened(self):
        for effect in self.effects:
            effect()

    def count_live(self):
        try:
            pools.live = self.sql("SELECT coalesce(sum(events), 0)::int FROM evq_counts()")[0][0]
        except psycopg2.Error as error:
            if is_lost(self.connection, error):
                raise
            self.check_error(error)

    def turn_of_one_call(self):
        step = self.choose_step(alone=True)
        call = {"sent": time.monotonic()}
        try:
            step(call)
        except psycopg2.Error as error:
            lost = is_lost(self.connection, error)
            journal.write(txn=self.txn, kind="one", call=call, outcome="unknown" if lost else "failed", sqlstate=error.pgcode,
                          message=str(error))
            if lost:
                raise
            if error.pgcode in ("40001", "40P01", "55P03"):
                self.put_back()
            self.check_error(error)
            return
        if self.forget_answer():
            journal.write(txn=self.txn, kind="one", call=call, outcome="unknown")
            return
        journal.write(txn=self.txn, kind="one", call=call, outcome="committed")
        self.happened()

    def forget_answer(self):
        """A commit that gave up waiting for a standby is acknowledged, but not as one that lasts."""
        local = any("synchronous replication" in notice for notice in self.connection.notices)
        del self.connection.notices[:]
        return local

    def turn_of_transaction(self):
        isolation = self.chance.choice(ISOLATION)
        end = self.chance.choices(("COMMIT", "ROLLBACK", "PREPARE"), (89, 6, 0 if draining.is_set() else 5))[0]
        calls = []
        try:
            self.sql(f"BEGIN ISOLATION LEVEL {isolation}")
            self.sql("INSERT INTO attack_mark VALUES (%s)", self.txn)
            for _ in range(self.chance.choice((1, 1, 1, 2, 3))):
                self.do_step(calls, self.choose_step(alone=False, prepared=end == "PREPARE"))
        except psycopg2.Error as error:
            lost = is_lost(self.connection, error)
            journal.write(txn=self.txn, kind="many", calls=calls, outcome="lost" if lost else "failed", sqlstate=error.pgcode,
                          message=str(error))
            if lost:
                raise
            self.sql("ROLLBACK")
            self.put_back()
            self.check_error(error)
            return
        if end == "PREPARE":
            self.prepare(calls)
            return
        if draining.is_set():
            stopping.wait(0.05)
        journal.write(txn=self.txn, kind="many", calls=calls, end=end, isolation=isolation)
        try:
            self.sql(end)
        except psycopg2.Error as error:
            lost = is_lost(self.connection, error)
            journal.write(txn=self.txn, outcome="unknown" if lost else "failed", sqlstate=error.pgcode, message=str(error))
            if lost:
                raise
            self.put_back()
            self.check_error(error)
            return
        if end == "ROLLBACK":
            journal.write(txn=self.txn, outcome="rolled back")
            self.put_back(calls)
        elif self.forget_answer():
            journal.write(txn=self.txn, outcome="unknown")
        else:
            journal.write(txn=self.txn, outcome="committed")
            self.happened()

    def put_back(self, calls=()):
        """After a transaction that was undone: with what it acquired every report must be refused; what it had at hand is still held."""
        for call in calls:
            for event_id, permit, _ in call.get("acquired", ()):
                pools.ended.add((event_id, permit))
        for thing in self.taken:
            pools.held.add(thing)

    def do_step(self, calls, step):
        """One step of a transaction, now and then in a savepoint; some of those are rolled back."""
        call = {"sent": time.monotonic()}
        inside = self.chance.random() < 0.3
        undo = inside and self.chance.random() < 0.4
        effects = len(self.effects)
        if inside:
            self.sql("SAVEPOINT s")
        calls.append(call)
        try:
            step(call)
        except psycopg2.Error as error:
            call["undone"] = True
            call["sqlstate"] = error.pgcode
            if not inside or is_lost(self.connection, error):
                raise
            self.check_error(error)
            undo = True
        if undo:
            call["undone"] = True
            del self.effects[effects:]
            self.sql("ROLLBACK TO s")
        elif inside:
            self.sql("RELEASE s")

    def check_error(self, error):
        if error.pgcode not in BORN | {"25006"}:
            journal.write(unexpected=str(error), sqlstate=error.pgcode, txn=self.txn)

    # ---------- two phases ----------

    def prepare(self, calls):
        journal.write(txn=self.txn, kind="many", calls=calls, end="PREPARE")
        try:
            self.sql(f"PREPARE TRANSACTION '{self.txn}'")
        except psycopg2.Error as error:
            lost = is_lost(self.connection, error)
            journal.write(txn=self.txn, outcome="prepare unknown" if lost else "failed", sqlstate=error.pgcode, message=str(error))
            if lost:
                raise
            self.put_back()
            # Not where it gave turns to events of its own.
            if error.pgcode != "0A000":
                self.check_error(error)
            return
        journal.write(txn=self.txn, outcome="prepared" if not self.forget_answer() else "prepare unknown")
        pools.prepared.add((self.txn, "COMMIT" if self.chance.random() < 0.7 else "ROLLBACK"))

    def decide(self):
        thing = pools.prepared.take(self.chance)
        if thing is None:
            return
        gid, decision = thing
        journal.write(gid=gid, decision=decision)
        try:
            self.sql(f"{decision} PREPARED '{gid}'")
        except psycopg2.Error as error:
            lost = is_lost(self.connection, error)
            journal.write(gid=gid, outcome="unknown" if lost else "failed", sqlstate=error.pgcode, message=str(error))
            if lost or error.pgcode != "42704":
                pools.prepared.add(thing)
            if lost:
                raise
            if error.pgcode not in ("42704", "55000", "55006"):     # gone, busy
                journal.write(unexpected=str(error), sqlstate=error.pgcode, txn=gid)
            return
        journal.write(gid=gid, outcome="unknown" if self.forget_answer() else "done")

    # ---------- steps: each calls one verb; what it asked for and what it got is in "call" ----------

    def choose_step(self, alone, prepared=False):
        if draining.is_set():
            return self.chance.choices((self.acquire_next, self.succeed, self.acquire_batch, self.succeed_batch), (2, 4, 1, 1))[0]
        steps = [(self.acquire_next, 12), (self.acquire, 4), (self.succeed, 8), (self.succeed_many, 3), (self.succeed_and_acquire, 3),
                 (self.fail, 5), (self.fail_many, 2), (self.snooze, 2), (self.release, 2), (self.suspend, 4), (self.activate, 6),
                 (self.heartbeat, 3), (self.cancel, 2), (self.retry, 2), (self.redrive, 0.3), (self.report_void, 2),
                 (self.acquire_batch, 5), (self.succeed_batch, 5), (self.fail_batch, 1), (self.heartbeat_batch, 1), (self.release_batch, 0.5)]
        if pools.live < MOST_LIVE:
            steps += [(self.publish, 10), (self.publish_many, 3), (self.publish_fast, 2), (self.publish_batch, 6)]
            if not alone:
                steps.append((self.publish_and_work, 4))
        if not prepared:
            steps.append((self.tick, 0.7))
        return self.chance.choices([step for step, _ in steps], [weight for _, weight in steps])[0]

    def is_one_in(self, number):
        return self.chance.random() < 1 / number

    def after(self, effect, *arguments):
        self.effects.append(lambda: effect(*arguments))

    # ---------- publishing ----------

    def make_event(self):
        name = self.chance.choice([name for name, given in TYPES.items() if given.get("published", True)])
        flow = TYPES[name]["flow"]
        self.serial += 1
        event = {"event_type": name, "flow_id": f"{flow}-{self.chance.randrange(5)}" if FLOWS[flow].get("few")
                 else f"{self.name}-{self.serial}", "payload": {"n": f"{self.name}-{self.serial}"}}
        if self.is_one_in(30):
            event["payload"]["text"] = "x" * 3000
        if self.is_one_in(20):
            event["headers"] = {"trace": self.name}
        if self.is_one_in(6):
            event["priority"] = self.chance.choice((-1, 1, 5))
        if self.is_one_in(4):
            event["idempotency_key"] = f"key {self.name}-{self.serial}"
        return event

    def pick_event(self):
        """A new event, or one that was published before, to be published again with its key."""
        again = pools.keyed.take(self.chance, keep=0.9) if self.is_one_in(8) else None
        if again is None:
            return self.make_event()
        if self.is_one_in(8):
            return again | {"payload": {"other": self.serial}}
        return again

    def published(self, events, ids):
        for event, event_id in zip(events, ids, strict=True):
            self.after(pools.known.add, event_id)
            if "idempotency_key" in event:
                self.after(pools.keyed.add, event)

    def publish(self, call):
        event = self.pick_event()
        delay = self.chance.choice((None, None, None, None, "300 ms", "2 s"))
        call |= {"verb": "publish", "events": [event]}
        rows = self.sql("SELECT evq_publish(%s, NULL, %s, %s, run_at => clock_timestamp() + %s::interval, priority => %s,"
                        " idempotency_key => %s, headers => %s)",
                        event["event_type"], event["flow_id"], Json(event["payload"]), delay, event.get("priority"),
                        event.get("idempotency_key"), Json(event["headers"]) if "headers" in event else None)
        call["ids"] = [row[0] for row in rows]
        self.published([event], call["ids"])

    def publish_many(self, call):
        events = [self.pick_event() for _ in range(self.chance.randint(2, 8))]
        call |= {"verb": "publish", "events": events}
        call["ids"] = [row[0] for row in self.sql("SELECT evq_publish_many(%s)", Json(events))]
        self.published(events, call["ids"])

    def publish_batch(self, call):
        """Of those that are stored as one."""
        self.publish_fast(call, self.make_event() | {"event_type": self.chance.choice(("PULL.plain", "PULL.plain", "PULL.hasty"))}, 40)

    def publish_fast(self, call, first=None, most=20):
        first = first or self.make_event()
        count = self.chance.randint(1, most)
        events = [{"event_type": first["event_type"], "flow_id": first["flow_id"], "payload": {"n": f"{self.txn}-{n}"}} for n in range(count)]
        call |= {"verb": "publish", "events": events}
        call["ids"] = [row[0] for row in self.sql("SELECT evq_publish_many(%s, NULL, %s, %s::jsonb[])", first["event_type"],
                                                  [event["flow_id"] for event in events], [json.dumps(event["payload"]) for event in events])]
        self.published(events, call["ids"])

    def publish_and_work(self, call):
        """What a transaction has published it may itself acquire, and end."""
        event = self.make_event()
        event.pop("idempotency_key", None)
        call |= {"verb": "publish", "events": [event]}
        call["ids"] = [row[0] for row in self.sql("SELECT evq_publish(%s, NULL, %s, %s)", event["event_type"], event["flow_id"], Json(event["payload"]))]
        self.published([event], call["ids"])
        call["acquired"] = self.query_acquired("SELECT * FROM evq_acquire_next(%s, %s, worker => %s)", TYPES[event["event_type"]]["flow"],
                                               self.chance.randint(1, 3), self.txn)
        if call["acquired"] and self.is_one_in(2):
            event_id, permit, _ = call["acquired"].pop()
            call["extra"] = {"verb": "succeed", "event": event_id, "permit": permit, "acquired": [[event_id, permit, None]],
                             "spinoffs": self.sql("SELECT evq_succeed(%s, %s)::text[]", event_id, permit)[0][0]}
        self.acquired(call["acquired"])

    # ---------- acquiring ----------

    def query_acquired(self, statement, *parameters):
        """Event, permit, and answer of each."""
        return [[row[0], row[1], row[2]] for row in self.sql(statement.replace("*", "event_id, permit, answer", 1), *parameters)]

    def acquired(self, rows):
        for event_id, permit, _ in rows:
            self.after(pools.held.add, (event_id, permit))

    def permit_for(self):
        return self.chance.choice((None, None, None, "100 ms", "1 s", "5 s"))

    def acquire_next(self, call):
        flow = self.chance.choice(list(FLOWS))
        types = [name for name, given in TYPES.items() if given["flow"] == flow] if self.is_one_in(5) else None
        call |= {"verb": "acquire"}
        call["acquired"] = self.query_acquired("SELECT * FROM evq_acquire_next(%s, %s, %s, %s, %s)", flow, self.chance.choice((1, 1, 2, 5)),
                                               types, self.txn, self.permit_for())
        self.acquired(call["acquired"])

    def acquire(self, call):
        event_id = pools.known.take(self.chance, keep=0.3)
        call |= {"verb": "acquire", "acquired": []}
        if event_id is not None:
            call["acquired"] = self.query_acquired("SELECT * FROM evq_acquire(%s, %s, %s)", event_id, self.txn, self.permit_for())
            self.acquired(call["acquired"])

    def acquire_batch(self, call):
        flow = self.chance.choice(list(FLOWS) + ["PULL"] * 5)
        call |= {"verb": "acquire"}
        rows = self.sql("SELECT e.event_id, p.permit, e.answer, b.token FROM evq_acquire_batch(%s, %s, NULL, %s, %s) b"
                        " CROSS JOIN unnest(b.event_ids, b.answers) e (event_id, answer) JOIN evq_batch_permits(b.token) p USING (event_id)",
                        flow, self.chance.choice((1, 3, 10, 30)), self.txn, self.permit_for())
        call["acquired"] = [list(row[:3]) for row in rows]
        self.acquired(call["acquired"])
        if rows:
            pools.batches.add((rows[0][3], [row[:2] for row in rows]))

    # ---------- reporting ----------

    def take_held(self, keep=0.05):
        thing = pools.held.take(self.chance, keep)
        if thing is None:
            return (None, None)
        self.taken.append(thing)
        return thing

    def over(self, event_id, permit, badly=False):
        self.after(pools.ended.add, (event_id, permit))
        if badly:
            self.after(pools.badly.add, event_id)

    def spinoffs(self):
        return self.chance.choice((0, 0, 0, 0, 0, 1, 2))

    def succeed(self, call):
        event_id, permit = self.take_held()
        if event_id is None:
            call["verb"] = "nothing"
            return
        if self.is_one_in(30):
            call["blind"] = True
        call |= {"verb": "succeed", "event": event_id, "permit": permit}
        # Spinoffs are of the event's own flow, which we ask for.
        spinoffs = [] if draining.is_set() else self.spinoff_types(event_id)
        ids = self.sql("SELECT evq_succeed(%s, %s, result => %s, spinoffs => %s)::text[]", event_id, None if call.get("blind") else permit,
                       Json({"by": self.txn}), Json([{"event_type": name, "payload": {"of": self.txn}} for name in spinoffs]))[0][0]
        call["spinoffs"] = ids
        self.over(event_id, permit)

    def spinoff_types(self, event_id):
        count = self.spinoffs()
        if count == 0:
            return []
        rows = self.sql("SELECT flow_type FROM evq.events_by_id(ARRAY[%s]::uuid[])", event_id)
        if not rows:
            return []
        return [self.chance.choice([name for name, given in TYPES.items() if given["flow"] == rows[0][0]]) for _ in range(count)]

    def take_many_held(self):
        things = [self.take_held() for _ in range(self.chance.randint(1, 5))]
        # Deadlocks of batches are PostgreSQL's to resolve; an order makes them rare.
        return sorted({thing for thing in things if thing[0] is not None})

    def succeed_many(self, call):
        things = self.take_many_held()
        call |= {"verb": "succeed_many", "things": things}
        call["accepted"] = [row[1] for row in self.sql("SELECT * FROM evq_succeed_many(%s::uuid[], %s::bigint[])",
                                                       [thing[0] for thing in things], [thing[1] for thing in things])]
        for thing, accepted in zip(things, call["accepted"], strict=True):
            if accepted:
                self.over(*thing)

    def succeed_and_acquire(self, call):
        things = self.take_many_held()
        call |= {"verb": "succeed_and_acquire", "things": things}
        call["acquired"] = self.query_acquired("SELECT * FROM evq_succeed_and_acquire(%s, %s::uuid[], %s::bigint[], %s, worker => %s)",
                                               self.chance.choice(list(FLOWS)), [thing[0] for thing in things], [thing[1] for thing in things],
                                               self.chance.randint(1, 3), self.txn)
        # A warning says how many were refused, not which.
        lost = [re.search(r"(\d+) of \d+ permits were lost", notice) for notice in self.connection.notices]
        call["lost"] = sum(int(found[1]) for found in lost if found)
        del self.connection.notices[:]
        if call["lost"] == 0:
            for thing in things:
                self.over(*thing)
        self.acquired(call["acquired"])

    def take_batch(self, call, verb, keep=0.1):
        """A token, and its events but those that are passed over, if any."""
        batch = pools.batches.take(self.chance, keep)
        if batch is None:
            call["verb"] = "nothing"
            return None, [], []
        token, things = batch
        excepted = [thing for thing in things if self.is_one_in(8)] if self.is_one_in(2) else []
        call |= {"verb": verb, "things": [thing for thing in things if thing not in excepted]}
        return token, call["things"], [event_id for event_id, _ in excepted]

    def succeed_batch(self, call):
        token, things, excepted = self.take_batch(call, "succeed_many")
        if token is not None:
            lost = {row[0] for row in self.sql("SELECT lost FROM evq_succeed_batch(%s, %s::uuid[]) lost", token, excepted)}
            call["accepted"] = [event_id not in lost for event_id, _ in things]
            for thing, accepted in zip(things, call["accepted"], strict=True):
                if accepted:
                    self.over(*thing)

    def fail_batch(self, call):
        token, things, _ = self.take_batch(call, "fail_many", keep=0.5)
        if token is not None:
            call["error"] = self.txn
            rows = {row[0]: row for row in self.sql("SELECT * FROM evq_fail_batch(%s, %s, %s::uuid[])", token, self.txn, [event_id for event_id, _ in things])}
            call["accepted"] = [rows[event_id][1] for event_id, _ in things]
            call["states"] = [rows[event_id][2] for event_id, _ in things]
            for thing, accepted, state in zip(things, call["accepted"], call["states"], strict=True):
                if accepted and state == "failed":
                    self.over(*thing, badly=True)

    def heartbeat_batch(self, call):
        token, _, _ = self.take_batch(call, "heartbeat", keep=1)
        if token is not None:
            self.sql("SELECT * FROM evq_heartbeat_batch(%s, %s)", token, self.chance.choice((None, "500 ms", "3 s")))

    def release_batch(self, call):
        batch = pools.batches.take(self.chance)
        if batch is None:
            call["verb"] = "nothing"
            return
        token, things = batch
        call |= {"verb": "release_batch", "things": things}
        lost = {row[0] for row in self.sql("SELECT lost FROM evq_release_batch(%s) lost", token)}
        call["accepted"] = [event_id not in lost for event_id, _ in things]
        for thing, accepted in zip(things, call["accepted"], strict=True):
            if accepted:
                self.after(pools.ended.add, thing)
                self.after(pools.known.add, thing[0])

    def fail(self, call):
        event_id, permit = self.take_held()
        if event_id is None:
            call["verb"] = "nothing"
            return
        call |= {"verb": "fail", "event": event_id, "permit": permit, "error": self.txn}
        call["state"] = self.sql("SELECT evq_fail(%s, %s, %s, retryable => %s, retry_in => %s)", event_id, self.txn, permit,
                                 not self.is_one_in(6), self.chance.choice((None, None, "0 s", "500 ms")))[0][0]
        self.after(pools.known.add, event_id)
        self.after(pools.ended.add, (event_id, permit))
        if call["state"] == "failed":
            self.over(event_id, permit, badly=True)

    def fail_many(self, call):
        things = self.take_many_held()
        call |= {"verb": "fail_many", "things": things, "error": self.txn}
        rows = self.sql("SELECT * FROM evq_fail_many(%s::uuid[], %s::bigint[], %s)", [thing[0] for thing in things], [thing[1] for thing in things], self.txn)
        call["accepted"], call["states"] = [row[1] for row in rows], [row[2] for row in rows]
        for thing, accepted, state in zip(things, call["accepted"], call["states"], strict=True):
            if accepted and state == "failed":
                self.over(*thing, badly=True)

    def snooze(self, call):
        event_id, permit = self.take_held()
        if event_id is None:
            call["verb"] = "nothing"
            return
        call |= {"verb": "snooze", "event": event_id, "permit": permit}
        self.sql("SELECT evq_snooze(%s, %s, clock_timestamp() + %s::interval)", event_id, permit, self.chance.choice(("1 s", "2 s", "3 s")))
        self.after(pools.ended.add, (event_id, permit))

    def release(self, call):
        event_id, permit = self.take_held()
        if event_id is None:
            call["verb"] = "nothing"
            return
        call |= {"verb": "release", "event": event_id, "permit": permit}
        self.sql("SELECT evq_release(%s, %s)", event_id, permit)
        self.after(pools.ended.add, (event_id, permit))
        self.after(pools.known.add, event_id)

    def suspend(self, call):
        event_id, permit = self.take_held(keep=0.3)
        if event_id is None:
            call["verb"] = "nothing"
            return
        call |= {"verb": "suspend", "event": event_id, "permit": permit}
        if self.is_one_in(3):
            pools.asleep.add((event_id, permit))        # the answer may come first
        until = self.sql("SELECT evq_suspend(%s, %s, %s)::text", event_id, permit, self.chance.choice(("1 s", "3 s", "1 min")))[0][0]
        call["until"] = until
        self.after(pools.asleep.add, (event_id, permit))

    def activate(self, call):
        thing = pools.asleep.take(self.chance, keep=0.5) or pools.held.take(self.chance, keep=1)
        if thing is None:
            call["verb"] = "nothing"
            return
        event_id, permit = thing
        call |= {"verb": "activate", "event": event_id, "permit": permit}
        if self.is_one_in(15):
            call["patched"] = True
            call["state"] = self.sql("SELECT evq_activate(%s, payload_patch => %s, permit => %s)", event_id, Json({"patch": self.txn}), permit)[0][0]
        else:
            # Few answers, so that some come again.
            call["answer"] = {"answer": self.chance.randrange(3), "to": permit}
            call["state"] = self.sql("SELECT evq_activate(%s, answer => %s, permit => %s)", event_id, Json(call["answer"]), permit)[0][0]

    def heartbeat(self, call):
        thing = pools.held.take(self.chance, keep=1) if self.is_one_in(2) else pools.asleep.take(self.chance, keep=1)
        call |= {"verb": "heartbeat", "things": [] if thing is None else [thing]}
        if thing is not None:
            call["held"] = [row[1] for row in self.sql("SELECT * FROM evq_heartbeat(%s::uuid[], %s::bigint[], %s)", [thing[0]], [thing[1]],
                                                       self.chance.choice((None, "500 ms", "3 s")))]

    def report_void(self, call):
        """A report once more, or with a permit that was rolled back."""
        thing = pools.ended.take(self.chance, keep=0.5)
        if thing is None:
            call["verb"] = "nothing"
            return
        event_id, permit = thing
        if self.is_one_in(2):
            call |= {"verb": "succeed", "event": event_id, "permit": permit}
            call["spinoffs"] = self.sql("SELECT evq_succeed(%s, %s)::text[]", event_id, permit)[0][0]
        else:
            call |= {"verb": "release", "event": event_id, "permit": permit}
            self.sql("SELECT evq_release(%s, %s)", event_id, permit)

    # ---------- operating ----------

    def cancel(self, call):
        event_id = pools.known.take(self.chance, keep=0.2)
        if event_id is None:
            call["verb"] = "nothing"
            return
        call |= {"verb": "cancel", "event": event_id}
        self.sql("SELECT evq_cancel(%s, %s)", event_id, self.txn)
        self.after(pools.badly.add, event_id)

    def retry(self, call):
        event_id = pools.badly.take(self.chance)
        if event_id is None:
            call["verb"] = "nothing"
            return
        call |= {"verb": "retry", "event": event_id}
        self.sql("SELECT evq_retry(%s)", event_id)
        self.after(pools.known.add, event_id)

    def redrive(self, call):
        name = self.chance.choice(list(TYPES))
        call |= {"verb": "redrive", "event_type": name}
        call["count"] = self.sql("SELECT evq_redrive(%s, clock_timestamp() - interval '10 s', 5)", name)[0][0]

    def tick(self, call):
        call["verb"] = "tick"
        self.sql("SELECT evq_tick()")


def obey():
    """What standard input says; returns when it ends."""
    for line in sys.stdin:
        if line.strip() == "drain":
            draining.set()
        if stopping.is_set():
            break


def main():
    global options, journal, pools
    parser = argparse.ArgumentParser()
    parser.add_argument("--where", required=True, help="file with the connection string")
    parser.add_argument("--name", required=True)
    parser.add_argument("--log", required=True)
    parser.add_argument("--sessions", type=int, default=6)
    parser.add_argument("--seed", required=True)
    parser.add_argument("--pause", type=float, default=0.02, help="longest pause between two turns, in seconds")
    options = parser.parse_args()
    journal = Journal(options.log)
    pools = Pools()
    sessions = [Session(number) for number in range(options.sessions)]
    for session in sessions:
        session.start()
    obey()
    stopping.set()
    for session in sessions:
        session.join(60)
        if session.is_alive():
            sys.stderr.write(f"{session.name}: does not end\n")
            os._exit(1)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
