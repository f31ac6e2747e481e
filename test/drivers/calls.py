"""The plain calls of a worker and a publisher, through psycopg2 or psycopg 3: nothing is cast.

calls.py psycopg2|psycopg DSN
"""
import importlib
import sys
import uuid

driver = importlib.import_module(sys.argv[1])
if sys.argv[1] == "psycopg2":
    from psycopg2.extras import Json
else:
    from psycopg.types.json import Json

db = driver.connect(sys.argv[2])
db.autocommit = True
sql = db.cursor()


def ask(query, *values):
    sql.execute(query, values)
    return sql.fetchall()


def publish(*values):
    return ask(f"SELECT evq_publish({', '.join(['%s'] * len(values))})", *values)


publish("A", None, 42, '{"n": 1}', None, None, 5)
publish("A", "F", "json", Json({"n": 3}), None, None, None, "key-1", Json({"h": 1}))
publish("A", "F", "null", None)
publish("A", None, "text", '{"n": 5}')
ask("SELECT evq_publish('A', NULL, %s, %s, priority => %s)", "object", Json({"n": 4}), -3)
ask("SELECT * FROM evq_publish_many(%s, %s, %s, %s)", "A", None, ["a", "b"], ['{"n": 2}', "{}"])
ask("SELECT * FROM evq_publish_many(%s, %s, %s, %s)", "A", None, [43, 2**40], ['{"n": 6}', "{}"])
assert publish("A", "F", "json", Json({"n": 3}), None, None, None, "key-1")

assert ask("SELECT * FROM evq_acquire_next(%s, %s)", "NONE", 1) == [] and ask("SELECT * FROM evq_acquire_next(%s)", ["NONE", "NEITHER"]) == []
assert ask("SELECT * FROM evq_acquire_next(%s, %s, weights => %s)", ["NONE", "NEITHER"], 5, [3, 1]) == []
events = ask("SELECT event_id, permit, flow_id FROM evq_acquire_next('F', %s, %s)", 100, ["A"])
held = {flow_id: (str(event_id), permit) for event_id, permit, flow_id in events}
event_id, permit = held.pop("42")
ask("SELECT evq_succeed(%s, %s, %s, %s)", uuid.UUID(event_id) if sys.argv[1] == "psycopg" else event_id, permit, Json({"ok": True}), None)
event_id, permit = held.pop("object")
ask("SELECT evq_fail(%s, %s, %s)", event_id, "no", permit)
event_id, permit = held.pop("null")
ask("SELECT evq_succeed(%s, %s, %s, %s)", event_id, permit, Json(None), Json([]))
ids = [event_id for event_id, permit in held.values()]
permits = [permit for event_id, permit in held.values()]
assert all(row[0] for row in ask("SELECT held FROM evq_heartbeat(%s, %s)", ids, permits))
assert ask("SELECT count(*) FROM evq_succeed_and_acquire('F', %s, %s, event_types => %s, max_events => %s)", ids[:1], permits[:1], ["A"], 1) == [(1,)]
sql.execute("SELECT event_id, permit FROM evq.events WHERE state = 'being_processed' AND flow_id = 'object'")
event_id, permit = sql.fetchone()
ask("SELECT evq_release(%s, %s)", event_id, permit)
assert all(row[0] for row in ask("SELECT accepted FROM evq_succeed_many(%s, %s)", ids[1:], permits[1:]))
