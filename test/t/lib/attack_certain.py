#!/usr/bin/python3
"""A short story for the attack tests, told after the random one: in it each plant of attack_plants.py finds a place.

    attack_certain.py --where=FILE --log=FILE

One session that nobody disturbs, when all events are final: what it does it does always, and an error ends it. Its journal is as
those of attack_client.py. In the end all its events are final, too.
"""
import argparse
import json
import sys
import time

import psycopg2
from psycopg2.extras import Json

import attack_client
from attack_world import FLOWS

LONGEST_WAIT = 60


class Story:
    def __init__(self, dsn, journal):
        self.connection = psycopg2.connect(dsn + " user=attack_client", application_name="certain")
        self.connection.autocommit = True
        self.cursor = self.connection.cursor()
        self.journal = journal
        self.serial = 0
        self.txn = None

    def sql(self, statement, *parameters):
        self.cursor.execute(statement, parameters)
        return self.cursor.fetchall() if self.cursor.description else []

    def many(self, verb, *arguments, end="COMMIT"):
        """A transaction of one call."""
        self.serial += 1
        self.txn = f"certain/{self.serial}"
        call = {"sent": time.monotonic()}
        self.sql("BEGIN")
        self.sql("INSERT INTO attack_mark VALUES (%s)", self.txn)
        result = verb(call, *arguments)
        self.journal.write(txn=self.txn, kind="many", calls=[call], end=end)
        self.sql(f"PREPARE TRANSACTION '{self.txn}'" if end == "PREPARE" else end)
        self.journal.write(txn=self.txn, outcome={"COMMIT": "committed", "ROLLBACK": "rolled back", "PREPARE": "prepared"}[end])
        return result

    def one(self, verb, *arguments):
        """A call outside of a transaction."""
        self.serial += 1
        self.txn = f"certain/{self.serial}"
        call = {"sent": time.monotonic()}
        result = verb(call, *arguments)
        self.journal.write(txn=self.txn, kind="one", call=call, outcome="committed")
        return result

    # ---------- calls ----------

    def publish(self, call, event_type, flow_ids, key=None):
        events = [{"event_type": event_type, "flow_id": flow_id, "payload": {"of": flow_id}} | ({"idempotency_key": key} if key else {})
                  for flow_id in flow_ids]
        call |= {"verb": "publish", "events": events}
        call["ids"] = [row[0] for row in self.sql("SELECT evq_publish_many(%s)", Json(events))]
        return call["ids"]

    def publish_batch(self, call, count):
        events = [{"event_type": "PULL.plain", "flow_id": "certain", "payload": {"n": n}} for n in range(count)]
        call |= {"verb": "publish", "events": events}
        call["ids"] = [row[0] for row in self.sql("SELECT evq_publish_many('PULL.plain', NULL, %s, %s::jsonb[])", [event["flow_id"] for event in events],
                                                  [json.dumps(event["payload"]) for event in events])]
        return call["ids"]

    def try_acquire(self, call, event_id):
        """Its permit, if it is its turn."""
        rows = self.sql("SELECT event_id, permit, answer FROM evq_acquire(%s, %s, '1 min')", event_id, self.txn)
        call |= {"verb": "acquire", "acquired": [list(row) for row in rows]}
        return rows[0][1] if rows else None

    def acquire_next(self, call, flow):
        rows = self.sql("SELECT event_id, permit, answer FROM evq_acquire_next(%s, 20, NULL, %s, '1 min')", flow, self.txn)
        call |= {"verb": "acquire", "acquired": [list(row) for row in rows]}
        return [row[:2] for row in rows]

    def acquire_batch(self, call):
        """A token, and what it is for; None = there is nothing."""
        rows = self.sql("SELECT p.event_id, p.permit, b.token FROM evq_acquire_batch('PULL', 20, NULL, %s, '1 min') b CROSS JOIN evq_batch_permits(b.token) p",
                        self.txn)
        call |= {"verb": "acquire", "acquired": [[event_id, permit, None] for event_id, permit, _ in rows]}
        return (rows[0][2], [row[:2] for row in rows]) if rows else None

    def succeed_batch(self, call, token, things, excepted):
        call |= {"verb": "succeed_many", "things": [thing for thing in things if thing[0] not in excepted]}
        lost = {row[0] for row in self.sql("SELECT lost FROM evq_succeed_batch(%s, %s::uuid[]) lost", token, excepted)}
        call["accepted"] = [event_id not in lost for event_id, _ in call["things"]]

    def succeed(self, call, event_id, permit, *spinoffs):
        call |= {"verb": "succeed", "event": event_id, "permit": permit}
        call["spinoffs"] = self.sql("SELECT evq_succeed(%s, %s, spinoffs => %s)::text[]", event_id, permit,
                                    Json([{"event_type": name, "payload": {"of": self.txn}} for name in spinoffs]))[0][0]

    def fail(self, call, event_id, permit):
        call |= {"verb": "fail", "event": event_id, "permit": permit, "error": self.txn}
        call["state"] = self.sql("SELECT evq_fail(%s, %s, %s, retryable => false)", event_id, self.txn, permit)[0][0]

    def release(self, call, event_id, permit):
        call |= {"verb": "release", "event": event_id, "permit": permit}
        self.sql("SELECT evq_release(%s, %s)", event_id, permit)

    def suspend(self, call, event_id, permit):
        call |= {"verb": "suspend", "event": event_id, "permit": permit}
        call["until"] = self.sql("SELECT evq_suspend(%s, %s, '1 min')::text", event_id, permit)[0][0]

    def activate(self, call, event_id, permit):
        call |= {"verb": "activate", "event": event_id, "permit": permit, "answer": {"answer": self.txn}}
        call["state"] = self.sql("SELECT evq_activate(%s, answer => %s, permit => %s)", event_id, Json(call["answer"]), permit)[0][0]

    def cancel(self, call, event_id):
        call |= {"verb": "cancel", "event": event_id}
        self.sql("SELECT evq_cancel(%s, %s)", event_id, self.txn)

    # ---------- the story ----------

    @staticmethod
    def wait_for(look, what):
        """What it sees, as soon as that is something."""
        until = time.monotonic() + LONGEST_WAIT
        while not (seen := look()):
            if time.monotonic() > until:
                sys.exit(f"in vain: {what}")
            time.sleep(0.05)
        return seen

    def wait_until(self, query):
        self.wait_for(lambda: self.sql(query)[0][0], query)

    def acquire(self, event_id):
        # A dispatcher may not have heard yet how the flow is configured.
        return self.wait_for(lambda: self.many(self.try_acquire, event_id), f"a permit for {event_id}")

    def tell(self):
        self.attempts()
        self.two_phases()
        self.flows()
        self.batches()
        for flow in FLOWS:
            self.drain(flow)

    def attempts(self):
        one, two, three, four = self.many(self.publish, "PULL.plain", ["certain-1", "certain-2", "certain-3", "certain-4"])
        self.many(self.release, one, self.acquire(one))
        self.many(self.succeed, one, self.acquire(one), "PULL.plain")
        self.many(self.fail, two, self.acquire(two))

        # One that is answered, and handed out with its answer.
        permit = self.acquire(three)
        self.many(self.suspend, three, permit)
        self.many(self.activate, three, permit)
        self.one(self.succeed, three, self.acquire(three))

        self.many(self.cancel, four)
        for _ in range(2):
            self.many(self.publish, "PULL.plain", ["certain-5"], "certain")

    def two_phases(self):
        self.many(self.publish, "PULL.plain", ["certain-6"], end="ROLLBACK")
        self.many(self.publish, "PULL.plain", ["certain-7"], end="PREPARE")
        self.journal.write(gid=self.txn, decision="COMMIT")
        self.sql(f"COMMIT PREPARED '{self.txn}'")
        self.journal.write(gid=self.txn, outcome="done")

    def flows(self):
        """Some of one flow_id wait, the first once more; and more of a limited flow than it lets go."""
        first = self.many(self.publish, "BOTH.plain", ["BOTH-certain"] * 5)[0]
        self.many(self.release, first, self.acquire(first))
        self.many(self.publish, "LIMIT.plain", [f"certain-{n}" for n in range(12)])
        self.wait_until("SELECT count(*) > 0 FROM evq.events WHERE flow_type = 'LIMIT' AND state = 'dispatched'")

    def batches(self):
        """One run that succeeds as a whole, and one of which an event goes another way."""
        self.drain("PULL")
        for is_whole in (True, False):
            self.many(self.publish_batch, 8)
            token, things = self.wait_for(lambda: self.many(self.acquire_batch), "a batch")
            self.many(self.succeed_batch, token, things, [] if is_whole else [things[-1][0]])
            if not is_whole:
                self.many(self.release, *things[-1])

    def drain(self, flow):
        """Has all events of a flow succeed."""
        def is_empty():
            for event_id, permit in self.many(self.acquire_next, flow):
                self.many(self.succeed, event_id, permit)
            return self.sql("SELECT coalesce(sum(events), 0) = 0 FROM evq_counts() WHERE flow_type = %s", flow)[0][0]

        self.wait_for(is_empty, f"the end of flow {flow}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--where", required=True, help="file with the connection string")
    parser.add_argument("--log", required=True)
    options = parser.parse_args()
    with open(options.where) as file:
        Story(file.read(), attack_client.Journal(options.log)).tell()


if __name__ == "__main__":
    main()
