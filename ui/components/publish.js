import { html, useState } from '../vendor/preact.js';
import { publish, publishMany } from '../api.js';
import { useResource } from '../resource.js';
import { link } from '../router.js';
import { Action } from './action.js';
import { Field } from './field.js';
import { parseJson } from './json.js';
import { Empty, Loaded } from './problem.js';
import { say } from './toast.js';

const FIVE = 5;

function newFlowId() {
  return `case-${Math.random().toString(36).slice(2, 8)}`;
}

export function PublishForm() {
  const types = useResource('/api/event-types?limit=500');
  const [chosen, choose] = useState('');
  const [flowId, setFlowId] = useState(newFlowId);
  const [payload, setPayload] = useState('{}');
  const [runAt, setRunAt] = useState('');
  const [priority, setPriority] = useState('');
  const parsed = parseJson(payload);
  const list = types.data?.event_types ?? [];
  const type = list.find(({ event_type }) => event_type === chosen) ?? list[0];

  const event = (flow_id) => ({
    event_type: type.event_type, flow_type: type.flow_type, flow_id, payload: parsed.value,
    ...(runAt && { run_at: new Date(runAt).toISOString() }), ...(priority !== '' && { priority: Number(priority) }),
  });
  async function publishOne() {
    const { event_id } = await publish(event(flowId));
    say(`Published ${type.event_type} for ${flowId}.`, link('events', event_id));
    setFlowId(newFlowId());
  }
  async function publishFive() {
    await publishMany(Array.from({ length: FIVE }, (_, n) => event(`${flowId}-${n + 1}`)));
    say(`Published five of ${type.event_type}, ${flowId}-1 to -5.`, link('events', null, { q: `${flowId}*` }));
    setFlowId(newFlowId());
  }

  return html`<${Loaded} resource=${types}>${list.length === 0
    ? html`<${Empty} title="No event type is configured"><p><a href=${link('event-types')}>Make one</a>, or let the <a href=${link('ride')}>ride demo</a> make its six.</p></${Empty}>`
    : html`<form class="form" onSubmit=${(submit) => submit.preventDefault()}>
      <${Field} label="Event type">${(id) => html`<select id=${id} value=${type.event_type} onChange=${(change) => choose(change.target.value)}>
        ${list.map(({ event_type, flow_type }) => html`<option key=${event_type} value=${event_type}>${event_type} · ${flow_type}</option>`)}</select>`}</${Field}>
      <${Field} label="Flow id">${(id) => html`<input id=${id} value=${flowId} required onInput=${(input) => setFlowId(input.target.value)} />`}</${Field}>
      <${Field} label="Payload" error=${parsed.error && `Not JSON: ${parsed.error}`}>${(id) => html`<textarea id=${id} class="mono" rows="3" spellcheck=${false} value=${payload} onInput=${(input) => setPayload(input.target.value)}></textarea>`}</${Field}>
      <details><summary>Time and priority</summary>
        <div class="form-row">
          <${Field} label="Not before">${(id) => html`<input id=${id} type="datetime-local" step="1" value=${runAt} onInput=${(input) => setRunAt(input.target.value)} />`}</${Field}>
          <${Field} label="Priority">${(id) => html`<input id=${id} type="number" min="-32768" max="32767" placeholder=${type.priority} value=${priority} onInput=${(input) => setPriority(input.target.value)} />`}</${Field}>
        </div>
      </details>
      <div class="form-foot">
        <${Action} kind="button-primary" does="publish" flow=${type.flow_type} disabled=${parsed.error || flowId === ''} run=${publishOne}>Publish</${Action}>
        <${Action} does="publishBatch" flow=${type.flow_type} disabled=${parsed.error || flowId === ''} run=${publishFive}>Publish five</${Action}>
      </div>
    </form>`}</${Loaded}>`;
}
