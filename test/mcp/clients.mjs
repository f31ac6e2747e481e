// clients.mjs URL READ_ONLY_URL COMMAND...
//
// Lets each client of package.json, run from the folder that MCP_CLIENTS names, use all that the server at URL offers,
// which COMMAND offers by stdio. Prints a line "ok NAME" or "not ok NAME" a check. The database has the event type RIDE
// of flow FLOW_MCP and a dispatcher that does not run.
import { execFile } from 'node:child_process';
import { createRequire } from 'node:module';
import { isDeepStrictEqual, promisify } from 'node:util';
import { pathToFileURL } from 'node:url';

const [url, readOnlyUrl, ...command] = process.argv.slice(2);
const folder = process.env.MCP_CLIENTS;
const { resolve } = createRequire(`${folder}/package.json`);
const load = (name) => import(pathToFileURL(resolve(name)));
const modern = '2026-07-28';
const info = { name: 'evq-test', version: '1' };
const toolNames = ['acquire_processing_permit', 'activate_event', 'cancel_event', 'configure_group', 'get_event', 'list_events', 'pause_flow', 'pause_group', 'publish_event', 'queue_status',
  'report_failure', 'report_success', 'resume_flow', 'resume_group', 'retry_event', 'suspend_event', 'suspend_event_type', 'unsuspend_event_type', 'update_lifecycle_config'];

function is(got, wanted, name) {
  const same = isDeepStrictEqual(got, wanted);
  console.log(`${same ? 'ok' : 'not ok'} ${name}`);
  if (!same) console.log(`# got ${JSON.stringify(got)}, wanted ${JSON.stringify(wanted)}`);
}

// The code of the protocol's error with which a request ends.
async function errorCode(request) {
  try {
    await request;
    return undefined;
  } catch (error) {
    return error.code;
  }
}

// Everything that the server offers. The client checks each structured result against the tool's output schema.
async function useAll(client, label, notFound) {
  const call = async (name, args = {}) => client.callTool({ name, arguments: args });
  const read = async (uri) => JSON.parse((await client.readResource({ uri })).contents[0].text);
  const check = (got, wanted, name) => is(got, wanted, `${label}: ${name}`);
  const { tools } = await client.listTools();

  check(tools.map((tool) => tool.name), toolNames, 'tools/list');
  check(tools.filter((tool) => tool.annotations.readOnlyHint).map((tool) => tool.name),
    ['get_event', 'list_events', 'queue_status'], 'annotations');
  check(client.getServerVersion()?.name, 'evq', 'the server says its name');

  const ids = [];
  for (const attempt of [1, 2, 3]) {
    const published = await call('publish_event', { event_type: 'RIDE', flow_id: label, payload: { attempt } });
    ids.push(published.structuredContent.event_id);
  }
  const [first, second, third] = ids;
  const granted = (await call('acquire_processing_permit', { event_id: first, worker: 'client', permit_for: 'PT5M' })).structuredContent;
  check([granted.acquired, granted.payload], [true, { attempt: 1 }], 'acquire_processing_permit');
  check((await call('acquire_processing_permit', { event_id: first })).structuredContent, { acquired: false }, 'and only once');
  const succeeded = (await call('report_success', { event_id: first, permit: granted.permit, result: [1], spinoffs: [{ event_type: 'RIDE' }] }))
    .structuredContent;
  check([succeeded.acknowledged, succeeded.spinoff_event_ids.length], [true, 1], 'report_success');
  const event = (await call('get_event', { event_id: first })).structuredContent;
  check([event.status, event.result, event.children[0].event_id], ['SUCCEEDED', [1], succeeded.spinoff_event_ids[0]], 'get_event');
  check(await read(`event://${first}`), event, 'event://{eventId} is the same');

  await call('acquire_processing_permit', { event_id: second });
  check((await call('report_failure', { event_id: second, error_message: 'no', retryable: false })).structuredContent,
    { acknowledged: true, status: 'FAILED' }, 'report_failure');
  check((await call('retry_event', { event_id: second })).structuredContent, { acknowledged: true, status: 'AWAITING_PROCESSING' }, 'retry_event');
  check((await call('cancel_event', { event_id: third, reason: 'test' })).structuredContent, { acknowledged: true, status: 'CANCELED' }, 'cancel_event');

  const page = (await call('list_events', { flow_id: label, limit: 3 })).structuredContent;
  const rest = (await call('list_events', { flow_id: label, limit: 3, after: page.next })).structuredContent;
  check([...page.events, ...rest.events].map((e) => e.event_id), [succeeded.spinoff_event_ids[0], third, second, first], 'list_events, by pages');
  check(rest.next, null, 'to the end');

  check((await call('suspend_event_type', { event_type: 'RIDE' })).structuredContent.is_suspended, true, 'suspend_event_type');
  check((await call('unsuspend_event_type', { event_type: 'RIDE' })).structuredContent.is_suspended, false, 'unsuspend_event_type');
  const config = (await call('update_lifecycle_config', { event_type: 'RIDE', attempt_delays: ['PT0S', 'PT1.5S'], lifespan: 'P1DT2H' })).structuredContent;
  check([config.attempt_delays, config.lifespan], [['PT0S', 'PT1.5S'], 'P1DT2H'], 'update_lifecycle_config');
  check(await read('config://RIDE'), config, 'config://{eventType} is the same');
  const status = (await call('queue_status')).structuredContent;
  check((await read('metrics://queues')).queues.map((q) => q.events), status.queues.map((q) => q.events), 'queue_status, metrics://queues');
  check((await read('events://pending/FLOW_MCP')).events.filter((e) => e.flow_id === label).map((e) => e.event_id),
    [succeeded.spinoff_event_ids[0], second], 'events://pending/{flowType}');

  const refused = await call('cancel_event', { event_id: first });
  check([refused.isError, refused.content[0].text.slice(0, 6)], [true, 'EQ003:'], 'an error of evq is a result');
  check((await call('publish_event', { event_type: 'RIDE', flow_id: true })).isError, true, 'so is a bad argument');
  check(await errorCode(call('no_such_tool')), -32602, 'an unknown tool is an error');
  check(await errorCode(read('config://NONE')), notFound, 'an unknown resource is an error');
  check((await client.listResources()).resources.map((r) => r.uri), ['config://RIDE', 'events://pending/FLOW_MCP', 'metrics://queues'],
    'resources/list');
  check((await client.listResourceTemplates()).resourceTemplates.map((t) => t.uriTemplate),
    ['config://{eventType}', 'event://{eventId}', 'events://pending/{flowType}'], 'resources/templates/list');
}

async function clientSecond() {
  const { Client, StreamableHTTPClientTransport } = await load('@modelcontextprotocol/client');
  const { StdioClientTransport } = await load('@modelcontextprotocol/client/stdio');
  const http = (to) => new StreamableHTTPClientTransport(new URL(to));
  const stdio = () => new StdioClientTransport({ command: command[0], args: command.slice(1), env: process.env });

  for (const [mode, version] of [['legacy', '2025-11-25'], ['auto', modern], [{ pin: modern }, modern]]) {
    for (const [transportName, transport] of [['HTTP', http(url)], ['stdio', stdio()]]) {
      const label = `client 2, ${mode.pin ? 'pinned' : mode}, ${transportName}`;
      const client = new Client(info, { versionNegotiation: { mode } });
      await client.connect(transport);
      is(client.getNegotiatedProtocolVersion(), version, `${label}: version`);
      await useAll(client, label, -32602); // which it makes of -32002 too
      await client.close();
    }
    const label = `client 2, ${mode.pin ? 'pinned' : mode}, read-only`;
    const reader = new Client(info, { versionNegotiation: { mode } });
    await reader.connect(http(readOnlyUrl));
    is((await reader.listTools()).tools.map((tool) => tool.name), ['get_event', 'list_events', 'queue_status'], `${label}: tools/list`);
    is(await errorCode(reader.callTool({ name: 'suspend_event_type', arguments: { event_type: 'RIDE' } })), -32602, `${label}: tools/call`);
    await reader.close();
  }
}

async function clientFirst() {
  const { Client } = await load('@modelcontextprotocol/sdk/client/index.js');
  const { StreamableHTTPClientTransport } = await load('@modelcontextprotocol/sdk/client/streamableHttp.js');
  const { StdioClientTransport } = await load('@modelcontextprotocol/sdk/client/stdio.js');

  for (const [transportName, transport] of [['HTTP', new StreamableHTTPClientTransport(new URL(url))],
    ['stdio', new StdioClientTransport({ command: command[0], args: command.slice(1), env: process.env })]]) {
    const client = new Client(info);
    await client.connect(transport);
    await client.ping();
    await useAll(client, `SDK 1, ${transportName}`, -32002);
    await client.close();
  }
}

async function inspector() {
  const run = async (era, target, ...args) => {
    const program = `${folder}/node_modules/.bin/mcp-inspector`;
    const { stdout } = await promisify(execFile)(process.execPath,
      [program, '--cli', ...target, '--protocol-era', era, '--format', 'json', '--quiet', ...args]);
    return JSON.parse(stdout).result;
  };

  const http = ['--transport', 'http', '--server-url', url];

  for (const [era, target] of [['legacy', http], ['auto', http], ['modern', http], ['auto', command]]) {
    const label = `inspector, ${era}, ${target === command ? 'stdio' : 'HTTP'}`;
    const tools = (await run(era, target, '--strict', '--method', 'tools/list')).tools;
    is(tools.map((tool) => tool.name), toolNames, `${label}: tools/list --strict`);
  }
}

await clientSecond();
await clientFirst();
await inspector();
console.log('done');
