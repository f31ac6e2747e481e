// The same as calls.py, through node-postgres: calls.cjs HOST PORT
const assert = require('node:assert');
const { Client } = require('pg');

async function main() {
  const db = new Client({ host: process.argv[2], port: Number(process.argv[3]), database: 'postgres' });
  await db.connect();
  const ask = async (text, ...values) => (await db.query(text, values)).rows;
  const publish = (...values) => ask(`SELECT evq_publish(${values.map((_, i) => `$${i + 1}`).join(', ')})`, ...values);

  await publish('A', null, 42, { n: 1 }, null, null, 5);
  await publish('A', 'F', 'json', { n: 3 }, null, null, null, 'key-1', { h: 1 });
  await publish('A', 'F', 'null', null);
  await publish('A', null, 'text', '{"n": 5}');
  await ask("SELECT evq_publish('A', NULL, $1, $2, priority => $3)", 'object', { n: 4 }, -3);
  await ask('SELECT * FROM evq_publish_many($1, $2, $3, $4)', 'A', null, ['a', 'b'], [JSON.stringify({ n: 2 }), '{}']);
  await ask('SELECT * FROM evq_publish_many($1, $2, $3, $4)', 'A', null, [43, 2 ** 40], [JSON.stringify({ n: 6 }), '{}']);

  assert.deepStrictEqual(await ask('SELECT * FROM evq_acquire_next($1, $2)', 'NONE', 1), []);
  assert.deepStrictEqual(await ask('SELECT * FROM evq_acquire_next($1)', ['NONE', 'NEITHER']), []);
  assert.deepStrictEqual(await ask('SELECT * FROM evq_acquire_next($1, $2, weights => $3)', ['NONE', 'NEITHER'], 5, [3, 1]), []);
  const events = await ask("SELECT event_id, permit, flow_id FROM evq_acquire_next('F', $1, $2)", 100, ['A']);
  const held = new Map(events.map((e) => [e.flow_id, e]));
  const take = (flowId) => { const e = held.get(flowId); held.delete(flowId); return e; };
  let e = take('42');
  await ask('SELECT evq_succeed($1, $2, $3, $4)', e.event_id, e.permit, { ok: true }, null);
  e = take('object');
  await ask('SELECT evq_fail($1, $2, $3)', e.event_id, 'no', e.permit);
  e = take('null');
  await ask('SELECT evq_succeed($1, $2, $3, $4)', e.event_id, e.permit, 'null', JSON.stringify([]));
  const ids = [...held.values()].map((x) => x.event_id);
  const permits = [...held.values()].map((x) => x.permit);
  assert((await ask('SELECT held FROM evq_heartbeat($1, $2)', ids, permits)).every((row) => row.held));
  [e] = await ask("SELECT * FROM evq_succeed_and_acquire('F', $1, $2, event_types => $3, max_events => $4)",
    ids.slice(0, 1), permits.slice(0, 1), ['A'], 1);
  await ask('SELECT evq_release($1, $2)', e.event_id, e.permit);
  assert((await ask('SELECT accepted FROM evq_succeed_many($1, $2)', ids.slice(1), permits.slice(1))).every((row) => row.accepted));
  await db.end();
}

main().catch((error) => { console.error(error); process.exit(1); });
