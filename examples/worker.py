#!/usr/bin/python3
"""A worker in Python: waits for events of FLOW_PARCELS, ships each and reports it, in one transaction.

Debian: python3-psycopg2. PGHOST, PGDATABASE, PGUSER ... say where. The role is a member of evq_worker and may insert
into the table; shipments.sql makes both.
"""
import select

import psycopg2
from psycopg2.extras import NamedTupleCursor

db = psycopg2.connect("", cursor_factory=NamedTupleCursor)
db.autocommit = True
sql = db.cursor()
sql.execute("LISTEN evq_flow_parcels")

while True:
    db.notifies.clear()
    sql.execute("SELECT * FROM evq_acquire_next('FLOW_PARCELS', worker => 'python')")
    event = sql.fetchone()
    if event is None:
        if not db.notifies:
            select.select([db], [], [], 5)  # until a notification, 5 seconds at most: it may be lost
            db.poll()
        continue
    try:
        with db:  # one transaction: the work and its report, or neither
            sql.execute("INSERT INTO shipment VALUES (%s, 'python')", (event.flow_id,))
            sql.execute("SELECT evq_succeed(%s, %s)", (event.event_id, event.permit))
        print(event.event_type, event.flow_id, "done", flush=True)
    except psycopg2.Error as error:
        if error.pgcode == "EQ004":  # the permit is lost: the event is another worker's now
            continue
        sql.execute("SELECT evq_fail(%s, %s, %s)", (event.event_id, str(error), event.permit))
