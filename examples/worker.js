#!/usr/bin/env node
// A worker in Node: waits for events of FLOW_PARCELS, ships each and reports it, in one transaction.
//
// npm install pg. PGHOST, PGDATABASE, PGUSER ... say where. The role is a member of evq_worker and may insert into the
// table; shipments.sql makes both.
const { Client } = require('pg');

async function main() {
  const db = new Client();
  let heard = false;
  let wake = () => {};

  db.on('notification', () => { heard = true; wake(); });
  await db.connect();
  await db.query('LISTEN evq_flow_parcels');

  for (;;) {
    heard = false;
    const { rows: [event] } = await db.query("SELECT * FROM evq_acquire_next('FLOW_PARCELS', worker => 'node')");
    if (!event) {
      if (!heard) {             // until a notification, 5 seconds at most: it may be lost
        await new Promise((resolve) => {
          const timer = setTimeout(resolve, 5000);
          wake = () => { clearTimeout(timer); resolve(); };
        });
      }
      continue;
    }
    try {                       // one transaction: the work and its report, or neither
      await db.query('BEGIN');
      await db.query("INSERT INTO shipment VALUES ($1, 'node')", [event.flow_id]);
      await db.query('SELECT evq_succeed($1, $2)', [event.event_id, event.permit]);
      await db.query('COMMIT');
      console.log(event.event_type, event.flow_id, 'done');
    } catch (error) {
      await db.query('ROLLBACK');
      if (error.code === 'EQ004') continue;     // the permit is lost: the event is another worker's now
      await db.query('SELECT evq_fail($1, $2, $3)', [event.event_id, error.message, event.permit]);
    }
  }
}

main().catch((error) => { console.error(error); process.exit(1); });
