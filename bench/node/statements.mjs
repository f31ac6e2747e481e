// statements.mjs PEER PAYLOAD
//
// Installs PEER in the database that the environment names, lets its client take jobs through their life, and prints
// as JSON what the client sent: the statements, for pgbench to send, and an element of the array they publish.
import pg from 'pg';

const BATCH = 4711;         // stands in the statements where the batch's size belongs
const [peer, payload] = process.argv.slice(2);
const sent = [];

class RecordingClient extends pg.Client {
	query(config, values, ...rest) {
		sent.push({ text: config.text ?? config, values: config.values ?? values });
		return super.query(config, values, ...rest);
	}
}

const pool = new pg.Pool({ Client: RecordingClient, max: 2 });
for (const event of ['error', 'connect']) pool.on(event, () => {});      // graphile-worker asks for them

// The last statement sent that matches, with expressions in place of $1, $2, ...
function statement(pattern, ...expressions) {
	const { text } = sent.findLast(({ text }) => pattern.test(text));
	return text.trim().replace(/;$/, '').replace(/\$(\d+)/g, (_, n) => expressions[n - 1]);
}

// The statement as a CTE beside those it has, and what is wanted of its rows, as one row; answer may name its columns.
function summary(text, wanted, answer = 'answer') {
	let depth = 0;
	const main = text.matchAll(/[()]|\b(select|insert|update|delete)\b/gi).find(([token]) => {
		depth += { '(': 1, ')': -1 }[token] ?? 0;
		return depth === 0 && token !== ')';
	}).index;
	const head = text.slice(0, main).trim();
	const rows = /\breturning\b/i.test(text.slice(main)) || /^select/i.test(text.slice(main)) ? '' : '\n  returning 1';
	return `${head ? `${head},` : 'WITH'} ${answer} AS (\n  ${text.slice(main)}${rows})\nSELECT ${wanted} FROM answer`;
}

function element(pattern, parameter) {
	const { values } = sent.findLast(({ text }) => pattern.test(text));
	return JSON.stringify(JSON.parse(values[parameter])[0]);
}

const peers = {
	async 'graphile-worker'() {
		const { Logger, makeWorkerUtils, runOnce } = await import('graphile-worker');
		const logger = new Logger(() => () => {});
		const taskList = { bench: async () => {} };
		const utils = await makeWorkerUtils({ pgPool: pool, logger });
		await utils.migrate();
		const job = { identifier: 'bench', payload: JSON.parse(payload) };
		const claimed = ["'bench'", "'{1}'"];        // worker, tasks

		await utils.addJob(job.identifier, job.payload);
		await runOnce({ pgPool: pool, logger, taskList });
		const publish1 = statement(/add_job\(/, "'bench'", ':payload', ...Array(7).fill('NULL'));
		const claim1 = statement(/for update\s+skip locked/, ...claimed);
		const finish1 = statement(/^delete from .*_private_jobs/, '(:ids::bigint[])[1]');

		await utils.addJobs([job, job, job]);
		await runOnce({ pgPool: pool, taskList,
			preset: { worker: { logger, concurrentJobs: 3, localQueue: { size: BATCH }, completeJobBatchDelay: 0 } } });
		const { rows: [{ task }] } = await pool.query("SELECT '{' || id || '}' AS task FROM graphile_worker._private_tasks");
		if (task !== '{1}') throw new Error(`the task has the id ${task}`);
		const wanted = 'count(*) AS n, array_agg(job_id) AS ids, array_agg(payload) AS payloads';
		const columns = 'answer (job_id)';          // it returns two that are called id
		const done = 'count(*) AS finished, micros() AS last_at';
		await utils.release();
		return {
			publish1,
			publishN: statement(/add_jobs\(/, ':jobs', 'NULL'),
			element: element(/add_jobs\(/, 0),
			claim1: summary(claim1, wanted, columns),
			claimN: summary(statement(new RegExp(`limit ${BATCH}`), ...claimed), wanted, columns),
			finish1: summary(finish1, done),
			finishN: summary(statement(/^delete from .*_private_jobs.*unnest/s, ':ids'), done),
		};
	},

	async 'pg-boss'() {
		const { PgBoss } = await import('pg-boss');
		const db = { executeSql: (text, values) => pool.query(text, values) };
		const boss = new PgBoss({ db, supervise: false, schedule: false });
		boss.on('error', (error) => { throw error; });
		await boss.start();
		await boss.createQueue('bench');
		const insert = /INSERT INTO pgboss\.\w+ \(\s*id,\s*name,\s*data/;
		const claim = /FOR UPDATE OF j SKIP LOCKED/;
		const wanted = 'count(*) AS n, array_agg(id) AS ids, array_agg(data) AS payloads';

		await boss.send('bench', JSON.parse(payload));
		const publish1 = statement(insert, ':job');
		const job = sent.findLast(({ text }) => insert.test(text)).values[0];
		const [fetched] = await boss.fetch('bench');
		const claim1 = statement(claim);
		await boss.complete('bench', fetched.id);
		const finish = summary(statement(/completed_on = /, "'bench'", ':ids', 'NULL'), 'count AS finished, micros() AS last_at');

		await boss.insert('bench', [{ data: JSON.parse(payload) }]);
		const publishN = statement(insert, ':jobs');
		const jobs = element(insert, 0);
		await boss.fetch('bench', { batchSize: BATCH });
		const claimN = statement(claim);
		await boss.deleteAllJobs('bench');
		await boss.stop({ graceful: false, close: false });
		return {
			publish1, job, publishN, element: jobs,
			claim1: summary(claim1, wanted), claimN: summary(claimN, wanted), finish1: finish, finishN: finish,
		};
	},
};

console.log(JSON.stringify({ batch: BATCH, ...await peers[peer]() }));
await pool.end();
