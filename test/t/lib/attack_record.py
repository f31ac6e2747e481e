#!/usr/bin/python3
"""Writes down, for attack_check.py, what a server's WAL and tables say of the events. Evq::Attack runs it.

    begin DSN FILE [SINCE]          makes the replication slot from which the history is read later, and writes the state that it begins with;
                                    SINCE: since when, by the monotonic clock, changes may have been missed
    history DSN LSN FILE            writes all changes since then that were committed up to LSN (or "all"), in the order of the commits
    prepared DSN FILE JOURNAL...    ends the prepared transactions that are left, as the journals say, and says so in the file
    tables DSN FILE                 writes what the tables hold in the end
"""
import json
import os
import random
import re
import sys
import time

import psycopg2
from psycopg2.extras import LogicalReplicationConnection, RealDictCursor

SLOT = "attack"
# What is left out is of no interest, and much.
TABLES = re.compile(r"table (?:evq\.(?:event|event_history\w*|event_error|flow|event_type|(?:log|batch|run|exception)(?:_\w+)?)|public\.attack_mark): ")

STATE = {
    "events": "SELECT event_id, state, permit, attempts_used, flow_no, event_type_no, flow_id, ordered, answered_permit, answer, parent_id FROM evq.event"
              " UNION ALL SELECT event_id, state, permit, 0, flow_no, event_type_no, flow_id, false, NULL, NULL, NULL FROM evq.batch_event WHERE state <> 's'",
    "finished": "SELECT event_id, state, permit, attempts_used, flow_no, event_type_no, flow_id, ordered, spinoff_ids::text[], parent_id FROM evq.event_history"
                " UNION ALL SELECT event_id, state, permit, 1, flow_no, event_type_no, flow_id, false, NULL, NULL FROM evq.batch_event WHERE state = 's'",
    "in_batches": "SELECT event_id FROM evq.batch_event",
    "flows": "SELECT flow_no, flow_type, ordered, max_processing FROM evq.flow",
    "types": "SELECT event_type_no, event_type FROM evq.event_type",
    "marks": "SELECT txn FROM attack_mark",
}


def read_state(cursor, more=()):
    state = {}
    for name, query in (STATE | dict(more)).items():
        cursor.execute(query)
        state[name] = [dict(row) for row in cursor.fetchall()]
    return state


def write(name, state):
    with open(name, "w") as file:
        json.dump(state, file, default=str)


def begin(dsn, name, since=None):
    maker = psycopg2.connect(dsn, connection_factory=LogicalReplicationConnection)
    cursor = maker.cursor()
    cursor.execute(f"CREATE_REPLICATION_SLOT {SLOT} LOGICAL test_decoding EXPORT_SNAPSHOT")
    snapshot = cursor.fetchone()[2]
    reader = psycopg2.connect(dsn, cursor_factory=RealDictCursor)
    reader.set_session(isolation_level="REPEATABLE READ", readonly=True)
    cursor = reader.cursor()
    cursor.execute("SET TRANSACTION SNAPSHOT %s", (snapshot,))
    write(name, read_state(cursor) | {"since": since and float(since), "at": time.monotonic()})
    reader.close()
    maker.close()


def history(dsn, until, name):
    connection = psycopg2.connect(dsn)
    cursor = connection.cursor("history")
    cursor.itersize = 20000
    cursor.execute(f"SELECT lsn - '0/0', xid, data FROM pg_logical_slot_peek_changes('{SLOT}', NULL, NULL, 'skip-empty-xacts', '1')")
    end = None
    if until != "all":
        high, low = until.split("/")
        end = int(high, 16) << 32 | int(low, 16)
    lines = []
    with open(name, "w") as file:
        for lsn, xid, data in cursor:
            if data.startswith("BEGIN"):
                lines = []
            elif data.startswith("COMMIT"):
                # A transaction is there as far as its COMMIT is.
                if lines and (end is None or lsn <= end):
                    file.write(json.dumps([int(lsn), str(xid), lines]) + "\n")
            elif TABLES.match(data):
                lines.append(data)


def prepared(dsn, name, *journals):
    connection = psycopg2.connect(dsn)
    connection.autocommit = True
    cursor = connection.cursor()
    chance = random.Random(name)
    decisions = {}
    for journal in (name, *journals):
        if os.path.exists(journal):
            with open(journal) as file:
                # A program may be writing the last line.
                lines = [json.loads(line) for line in file.read().split("\n")[:-1]]
            decisions |= {line["gid"]: line["decision"] for line in lines if "decision" in line}
    cursor.execute("SELECT gid FROM pg_prepared_xacts WHERE database = current_database()")
    for (gid,) in cursor.fetchall():
        decision = decisions.get(gid) or chance.choice(("COMMIT", "ROLLBACK"))
        tell(name, gid=gid, decision=decision)
        try:
            cursor.execute(f"{decision} PREPARED '{gid}'")
        except psycopg2.Error as error:     # somebody else has ended it, or does
            tell(name, gid=gid, outcome="failed", sqlstate=error.pgcode)
        else:
            tell(name, gid=gid, outcome="done")


def tell(name, **line):
    with open(name, "a") as file:
        file.write(json.dumps(line | {"at": time.monotonic()}) + "\n")


def tables(dsn, name):
    connection = psycopg2.connect(dsn, cursor_factory=RealDictCursor)
    connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
    cursor = connection.cursor()
    write(name, read_state(cursor, {
        "keys": "SELECT t.event_type, i.idempotency_key, i.event_id FROM evq.idempotency i JOIN evq.event_type t USING (event_type_no)",
        "payloads": "SELECT event_id FROM evq.payloads",
        "transitions": "SELECT from_state, verb, to_state FROM evq.transition",
        "errors": "SELECT event_id, attempt, outcome, error_message FROM evq.event_error",
        "timelines": """
            SELECT e.event_id, e.told ->> 'state' AS state, e.told -> 'timeline' AS timeline, jsonb_array_length(e.told -> 'errors') AS errors,
                (SELECT count(*) FROM evq.event_error r WHERE r.event_id = e.event_id) AS recorded
            FROM (SELECT event_id, evq_event(event_id) AS told
                  FROM (SELECT event_id FROM evq.event_history UNION ALL SELECT event_id FROM evq.batch_event) i ORDER BY md5(event_id::text) LIMIT 300) e""",
        "prepared": "SELECT gid FROM pg_prepared_xacts WHERE gid LIKE 'client%'",
    }))


if __name__ == "__main__":
    {"begin": begin, "history": history, "prepared": prepared, "tables": tables}[sys.argv[1]](*sys.argv[2:])
