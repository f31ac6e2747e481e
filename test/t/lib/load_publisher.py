#!/usr/bin/python3
"""Publishes events for the load tests; Evq::Load starts it and reads its log.

Events come in all the ways of publishing: one or many a call, now or later, with an idempotency key or without; or, with
--together, up to so many alike a call, as arrays, without a key. What has a key is published again until the server acknowledges it; without a key a lost acknowledgement is left at that.

The log has a line for each event whose commit the server acknowledged, and for each that was asked for and not
acknowledged: see record(). The program ends when all is published, or when its standard input ends.
"""
import argparse
import json
import random
import select
import sys
import time

import psycopg2
from psycopg2.extras import Json

from load_connection import connect, is_lost, must_bear

options = log = None


def record(what, key, flow_id, event_id=""):
    log.write("\t".join((what, key or "", flow_id, event_id)) + "\n")
    log.flush()


def publish_one(cursor, event):
    cursor.execute("SELECT evq_publish(%s, %s, %s, %s, run_at => clock_timestamp() + %s::interval, idempotency_key => %s)",
                   (options.type, options.flow, event["flow_id"], Json(event["payload"]),
                    event.get("delay"), event.get("idempotency_key")))
    return [row[0] for row in cursor.fetchall()]


def publish_many(cursor, events):
    cursor.execute("SELECT evq_publish_many(%s)", (Json([e | {"event_type": options.type} for e in events]),))
    return [row[0] for row in cursor.fetchall()]


def publish_alike(cursor, events):
    cursor.execute("SELECT evq_publish_many(%s, %s, %s, %s::jsonb[])",
                   (options.type, options.flow, [e["flow_id"] for e in events], [json.dumps(e["payload"]) for e in events]))
    return [row[0] for row in cursor.fetchall()]


def publish_with_savepoint(cursor, batch):
    """What is rolled back to a savepoint must not exist; only the second one counts."""
    void = [{"flow_id": "rolled back", "payload": {}}] * len(batch)
    cursor.execute("SAVEPOINT s")
    publish_in_its_way(cursor, void)
    cursor.execute("ROLLBACK TO s")
    return publish_in_its_way(cursor, batch)


def publish_in_its_way(cursor, batch):
    if options.together:
        return publish_alike(cursor, batch)
    return publish_many(cursor, batch) if len(batch) > 1 else publish_one(cursor, batch[0])


def batches():
    """What to publish, one transaction after the other: lists of events."""
    chance = random.Random(options.seed)
    number = 0
    while number < options.count:
        count = min(options.count - number, chance.choice((1, 1, 1, 1, 5)) if not options.together else chance.randint(1, options.together))
        batch = []
        for _ in range(count):
            number += 1
            event = {"flow_id": f"{options.prefix}-{number}", "payload": {"number": number, "amount": number % 97 + 1}}
            if not options.together and (count > 1 or chance.random() < 0.8):
                event["idempotency_key"] = event["flow_id"]
            if not options.together and count == 1 and chance.random() < 0.1:
                event["delay"] = f"{chance.random()} s"
            batch.append(event)
        yield batch


def pause(seconds):
    """Waits, and ends the program when the test has ended."""
    readable, _, _ = select.select([sys.stdin], [], [], seconds)
    if readable:
        sys.exit(1)


def publish(connection, batch, chance):
    with connection, connection.cursor() as cursor:
        if chance.random() < 0.05 and (options.together or len(batch) == 1):
            return publish_with_savepoint(cursor, batch)
        return publish_in_its_way(cursor, batch)


def main():
    global options, log
    parser = argparse.ArgumentParser()
    parser.add_argument("--dsn", required=True)
    parser.add_argument("--log", required=True)
    parser.add_argument("--prefix", required=True)
    parser.add_argument("--type", required=True)
    parser.add_argument("--flow", required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--together", type=int, default=0, help="up to so many a call, as arrays")
    parser.add_argument("--rate", type=float, default=1e9, help="events a second, at most")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bear", default="", help="SQLSTATEs that are met as a lost connection is")
    options = parser.parse_args()
    log = open(options.log, "a")

    chance = random.Random(options.seed)
    connection = connect(options.dsn, options.prefix, pause)
    began_at = time.monotonic()
    published = 0
    for batch in batches():
        keyed = "idempotency_key" in batch[0]
        again = keyed and chance.random() < 0.02        # as a client does that did not see the answer
        while True:
            try:
                ids = publish(connection, batch, chance)
            except psycopg2.Error as error:
                bear = must_bear(error, options.bear.split(","))
                if not bear and not is_lost(connection, error):
                    raise
                for event in batch:
                    record("unanswered", event.get("idempotency_key"), event["flow_id"])
                connection.close()
                if bear:
                    pause(0.1)
                connection = connect(options.dsn, options.prefix, pause)
                if not keyed:
                    break
                continue
            for event, event_id in zip(batch, ids, strict=True):
                record("published", event.get("idempotency_key"), event["flow_id"], event_id)
            if not again:
                break
            again = False
        published += len(batch)
        ahead = published / options.rate - (time.monotonic() - began_at)
        if ahead > 0:
            pause(ahead)
    connection.close()


if __name__ == "__main__":
    main()
