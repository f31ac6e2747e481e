// latency.mjs WORKER PAYLOAD SAMPLES
//
// Publishes one event at a time at random gaps, in the process of the worker that takes them, and prints as JSON the
// milliseconds until the worker's handler has the payload: from the publish's acknowledgement, and from its call.
import pg from 'pg';

const COLD = 20;        // the first ones are colder than the rest
const [name, payload, samples] = process.argv.slice(2);
const event = JSON.parse(payload);
const wait = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
let handle = () => {};

// Each starts its worker, which calls handle() with the payload, and returns how to publish and how to stop.
const workers = {
	async evq() {
		const publisher = new pg.Client();
		const worker = new pg.Client();
		await Promise.all([publisher.connect(), worker.connect()]);
		worker.on('notification', async () => {
			const { rows: [acquired] } = await worker.query("SELECT * FROM evq_acquire_next('BENCH')");
			handle(acquired.payload);
			await worker.query('SELECT evq_succeed($1, $2)', [acquired.event_id, acquired.permit]);
		});
		await worker.query('LISTEN evq_bench');
		return {
			publish: () => publisher.query("SELECT evq_publish('BENCH', 'BENCH', 'case', $1)", [event]),
			stop: () => Promise.all([publisher.end(), worker.end()]),
		};
	},

	async 'graphile-worker'() {
		const { Logger, run } = await import('graphile-worker');
		const pool = new pg.Pool();
		for (const event of ['error', 'connect']) pool.on(event, () => {});
		const runner = await run({ pgPool: pool, noHandleSignals: true, logger: new Logger(() => () => {}),
			taskList: { bench: async (given) => { handle(given); } } });
		return {
			publish: () => runner.addJob('bench', event),
			stop: async () => { await runner.stop(); await pool.end(); },
		};
	},

	async 'pg-boss'() {
		const { PgBoss } = await import('pg-boss');
		const boss = new PgBoss({ host: process.env.PGHOST, user: process.env.PGUSER, database: process.env.PGDATABASE,
			useListenNotify: true });
		boss.on('error', (error) => { throw error; });
		await boss.start();
		await boss.updateQueue('bench', { notify: true });
		await boss.work('bench', { pollingIntervalSeconds: 0.5 }, async ([job]) => { handle(job.data); });
		return {
			publish: () => boss.send('bench', event),
			stop: () => boss.stop(),
		};
	},
};

const { publish, stop } = await workers[name]();
const called = [], acknowledged = [];
for (let n = -COLD; n < Number(samples); n++) {
	await wait(5 + 20 * Math.random());
	const handled = new Promise((resolve) => { handle = (given) => resolve({ given, at: performance.now() }); });
	const calledAt = performance.now();
	await publish();
	const acknowledgedAt = performance.now();
	const { given, at } = await handled;
	if (given.order !== event.order) throw new Error(`the worker got ${JSON.stringify(given)}`);
	if (n >= 0) {
		called.push(at - calledAt);
		acknowledged.push(Math.max(0, at - acknowledgedAt));
	}
}
await wait(1000);       // the last one is to be finished too
await stop();
console.log(JSON.stringify({ called, acknowledged, published: called.length + COLD }));
