import { html, useState } from '../vendor/preact.js';
import { configureFlow, get, pauseFlow, resumeFlow, withQuery } from '../api.js';
import { ago, dateTime, duration, number, plural, seconds } from '../format.js';
import { usePages, useResource } from '../resource.js';
import { go, link } from '../router.js';
import { LIVE, STATES } from '../states.js';
import { Action } from '../components/action.js';
import { confirm } from '../components/dialog.js';
import { Field } from '../components/field.js';
import { FormFields, FormFoot, asCount, asSpanBetween, asSwitch, asText, useForm } from '../components/form.js';
import { Panel, Table } from '../components/panel.js';
import { Empty, Loaded, Pager } from '../components/problem.js';
import { State } from '../components/state.js';
import { Ago, useNow } from '../components/time.js';
import { say } from '../components/toast.js';

// What a new flow has until it says otherwise: as evq_configure_flow().
const DEFAULTS = { delivery: 'push', ordered: false, max_dispatched: 1000, max_processing: null, dispatch_timeout: '00:00:30', channel: null, notify_payload: false };
const FIELDS = [
  { name: 'delivery', label: 'Delivery', hint: 'push: each event is notified; pull: workers ask for the next', ...asText, options: ['push', 'pull'] },
  { name: 'ordered', label: 'Ordered', hint: 'One live attempt per flow id, in publish order; for events published from now on', ...asSwitch },
  { name: 'max_dispatched', label: 'Dispatch window', hint: 'Most events offered and not yet acquired', ...asCount(1, 1000000), required: true },
  { name: 'max_processing', label: 'Most in processing', hint: 'Offered or in processing; empty: no limit', ...asCount(1, 1000000), placeholder: 'no limit', empty: 0 },
  { name: 'dispatch_timeout', label: 'Offered again after', hint: 'Where nobody acquired it', ...asSpanBetween(0.01, 30 * 86400), required: true },
  { name: 'channel', label: 'Channel', hint: 'Workers LISTEN to it; those that run keep the old one', ...asText, check: (text) => (/^[a-z][a-z0-9_]{0,62}$/.test(text) ? null : 'A small letter, then small letters, digits and _'), placeholder: 'evq_ and the name' },
  { name: 'notify_payload', label: 'Payload in notifications', hint: 'Any role may listen', ...asSwitch },
];

// The API has pages of flows by name: the one that begins right before this name.
const pathOfFlow = (name) => withQuery('/api/flows', { after: name.slice(0, -1), limit: 500 });
const flowIn = (answer, name) => answer?.flows.find(({ flow_type }) => flow_type === name);

// How full a window is; a number as well as a bar.
function Meter({ name, value, most, css }) {
  const share = most ? Math.min(1, value / most) : 0;
  return html`<div class="meter ${css}"><p><span>${name}</span><span class="number">${number(value)}${most ? ` of ${number(most)}` : ', no limit'}</span></p>
    <svg viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true"><rect class="meter-ground" width="100" height="4" /><rect class="meter-fill" width=${share * 100} height="4" /></svg></div>`;
}

function Workers({ flow }) {
  const now = useNow();
  const busy = useResource(withQuery('/api/events', { flow_type: flow, status: 'BEING_PROCESSED', limit: 200 }), ({ flow_type }) => flow_type === flow);
  const byWorker = new Map();
  for (const event of busy.data?.events ?? []) {
    const name = event.worker ?? 'without a name';
    byWorker.set(name, [...(byWorker.get(name) ?? []), event]);
  }
  if (byWorker.size === 0) return html`<p class="dim">No worker has an event of it now.</p>`;
  return html`<ul class="lines">${[...byWorker].sort().map(([name, events]) => html`<li key=${name}><strong>${name}</strong>
    <span class="dim">${plural(events.length, 'event')}</span><span class="ellipsis">${events.slice(0, 3).map((event, n) => html`${n > 0 && ', '}<a key=${event.event_id} href=${link('events', event.event_id)}>${event.event_type}</a> <span class="dim">${ago(event.state_since, now)}</span>`)}</span></li>`)}</ul>`;
}

function Pause({ flow: { flow_type, is_paused }, reload }) {
  async function turn() {
    if (!is_paused && !await confirm({ title: `Pause ${flow_type}?`, text: 'None of its events is offered or acquired until it is resumed. Work in hand goes on, and lifespans run.', verb: 'Pause it' })) return;
    await (is_paused ? resumeFlow : pauseFlow)(flow_type);
    reload();
  }
  return html`<${Action} kind="button-small" does=${is_paused ? 'resumeFlow' : 'pauseFlow'} run=${turn}>${is_paused ? 'Resume' : 'Pause'}<span class="unseen"> ${flow_type}</span></${Action}>`;
}

function Paused({ flow: { paused_at, paused_until, pause_reason } }) {
  return html`<p class="trouble">Paused <${Ago} time=${paused_at} />${paused_until ? html`, goes on by itself <${Ago} time=${paused_until} />` : ', until it is resumed'}${pause_reason && `: ${pause_reason}`}</p>`;
}

function Flow({ flow, counts, reload }) {
  const mine = counts.filter(({ flow_type }) => flow_type === flow.flow_type);
  const count = (status) => mine.filter((one) => one.status === status).reduce((sum, { events }) => sum + events, 0);
  const pending = useResource(`/api/events/pending/${encodeURIComponent(flow.flow_type)}?limit=1`, ({ flow_type }) => flow_type === flow.flow_type);
  const now = useNow();
  const oldest = pending.data?.events[0];
  const types = [...new Set(mine.map(({ event_type }) => event_type))].sort();
  return html`<${Panel} title=${flow.flow_type} tools=${html`<span class="badge">${flow.delivery}</span>${flow.ordered && html`<span class="badge">ordered</span>`}${flow.is_paused && html`<span class="badge badge-suspended">paused</span>`}<a href=${link('events', null, { q: `flow:${flow.flow_type}` })}>Events</a><a href=${link('flows', flow.flow_type)}>Edit<span class="unseen"> ${flow.flow_type}</span></a><${Pause} flow=${flow} reload=${reload} />`}>
    ${flow.is_paused && html`<${Paused} flow=${flow} />`}
    <div class="flow">
      <div class="flow-meters">
        <${Meter} css="s-awaiting" name="Backlog" value=${count('AWAITING_PROCESSING')} most=${null} />
        <${Meter} css="s-dispatched" name="Offered" value=${count('DISPATCHED')} most=${flow.max_dispatched} />
        <${Meter} css="s-processing" name="In processing" value=${count('BEING_PROCESSED')} most=${flow.max_processing} />
        ${count('SUSPENDED') > 0 && html`<${Meter} css="s-suspended" name="Suspended" value=${count('SUSPENDED')} most=${null} />`}
      </div>
      <div>
        <dl class="pairs"><dt>Longest due</dt><dd>${oldest ? html`<a href=${link('events', oldest.event_id)}>${duration(Math.max(0, (now - Date.parse(oldest.attempt_scheduled_at)) / 1000))}</a> <span class="dim">${oldest.event_type}</span>` : 'nothing waits'}</dd>
          <dt>Channel</dt><dd><code>${flow.channel}</code></dd>
          <dt>Offered again after</dt><dd>${duration(seconds(flow.dispatch_timeout))}</dd></dl>
      </div>
      <div><h3>Workers</h3><${Workers} flow=${flow.flow_type} /></div>
    </div>
    ${types.length > 0 && html`<details><summary>By event type</summary><${Table} caption=${`Live events of ${flow.flow_type} by type`} heads=${['Event type', ...LIVE.map((status) => [STATES[status].short, 'number'])]}>
      ${types.map((type) => html`<tr key=${type}><th scope="row">${type}</th>${LIVE.map((status) => html`<td key=${status} class="number">${number(mine.find((one) => one.event_type === type && one.status === status)?.events)}</td>`)}</tr>`)}</${Table}></details>`}
  </${Panel}>`;
}

function Editor({ flow, isNew, done }) {
  const [name, setName] = useState(flow.flow_type ?? '');
  const [taken, setTaken] = useState(null);
  const form = useForm(isNew ? FIELDS : FIELDS.map((field) => (field.name === 'channel' ? { ...field, required: true } : field)), flow);
  const wrong = /^[A-Za-z][A-Za-z0-9_]{0,58}$/.test(name) ? name === taken && 'There is one of this name' : name === '' ? 'Needed' : 'A letter, then letters, digits and _; 59 at most';

  const save = () => form.send(async () => {
    // The API would change the one that is there.
    if (isNew && flowIn(await get(pathOfFlow(name)), name)) { setTaken(name); return; }
    await configureFlow(name, form.body());
    say(`${name} is ${isNew ? 'made' : 'changed'}.`);
    done();
  });
  return html`<${Panel} title=${isNew ? 'New flow' : `Settings of ${name}`} tools=${html`<a href=${link('flows')}>Close</a>`}>
    <form class="form" onSubmit=${(submit) => submit.preventDefault()}>
      ${isNew && html`<${Field} label="Name" error=${wrong}>${(id, marks) => html`<input id=${id} ...${marks} value=${name} required onInput=${(input) => setName(input.target.value)} />`}</${Field}>`}
      <${FormFields} form=${form} />
      <${FormFoot} form=${form} does="configureFlow" isNew=${isNew} disabled=${Boolean(wrong)} save=${save} />
    </form>
  </${Panel}>`;
}

function OneFlow({ part, done }) {
  const resource = useResource(pathOfFlow(part));
  const flow = flowIn(resource.data, part);
  return html`<${Loaded} resource=${resource}>${flow ? html`<${Editor} key=${part} flow=${flow} done=${done} />`
    : html`<${Empty} title=${`${part} is not configured`}><p><a href=${link('flows', null, { new: 'yes' })}>Make a flow</a></p></${Empty}>`}</${Loaded}>`;
}

function FindCase({ flowId }) {
  const [text, setText] = useState(flowId ?? '');
  return html`<form class="search-case" role="search" onSubmit=${(submit) => { submit.preventDefault(); go(link('flows', null, { flow_id: text.trim() })); }}>
    <label class="unseen" for="flow-id">Flow id</label>
    <input id="flow-id" data-search type="search" placeholder="A flow id: shows its chain of events" value=${text} onInput=${(input) => setText(input.target.value)} />
    <button class="button">Show</button></form>`;
}

function Branch({ event, childrenOf, first }) {
  const wait = first === undefined ? null : (Date.parse(event.published_at) - Date.parse(first.published_at)) / 1000;
  const children = childrenOf.get(event.event_id) ?? [];
  return html`<li><div class="branch"><a href=${link('events', event.event_id)}><strong>${event.event_type}</strong></a><${State} status=${event.status} />
      <span class="dim">${event.attempts_used > 0 && `${event.attempts_used} of ${event.max_attempts} attempts · `}${wait === null ? dateTime(event.published_at) : `+ ${duration(wait)}`}</span></div>
    ${children.length > 0 && html`<ol>${children.map((child) => html`<${Branch} key=${child.event_id} event=${child} childrenOf=${childrenOf} first=${first ?? event} />`)}</ol>`}</li>`;
}

function Case({ flowId }) {
  const list = usePages('/api/events', { flow_id: flowId, limit: 200 }, 'events', ({ flow_id }) => flow_id === flowId || flow_id === undefined);
  const events = [...list.items].reverse();
  const ids = new Set(events.map(({ event_id }) => event_id));
  const childrenOf = new Map();
  for (const event of events) if (ids.has(event.parent_id)) childrenOf.set(event.parent_id, [...(childrenOf.get(event.parent_id) ?? []), event]);
  const roots = events.filter(({ parent_id }) => !ids.has(parent_id));
  return html`<${Panel} title=${flowId} tools=${html`<a href=${link('flows')}>All flows</a>`}><${Loaded} resource=${list}>
    ${roots.length === 0 && list.next ? html`<${Pager} list=${list} noun="event" />` : roots.length === 0 ? html`<${Empty} title="No event has this flow id"><p>The <a href=${link('events', null, { q: `${flowId}*` })}>events whose flow id begins so</a></p></${Empty}>`
    : html`<ol class="tree">${roots.map((event) => html`<${Branch} key=${event.event_id} event=${event} childrenOf=${childrenOf} />`)}</ol><${Pager} list=${list} noun="event" />`}
  </${Loaded}></${Panel}>`;
}

export function Flows({ part, query }) {
  const flows = usePages('/api/flows', { limit: 20 }, 'flows');
  const counts = useResource('/api/counts', () => true);
  if (query.flow_id) return html`<${FindCase} key=${query.flow_id} flowId=${query.flow_id} /><${Case} key=${`${query.flow_id} case`} flowId=${query.flow_id} />`;
  const done = () => { flows.reload(); go(link('flows')); };
  return html`<div class="bar"><${FindCase} /><a class="button" href=${link('flows', null, { new: 'yes' })}>New flow</a></div>
    ${part && html`<${OneFlow} key=${part} part=${part} done=${done} />`}
    ${query.new && html`<${Editor} flow=${DEFAULTS} isNew=${true} done=${done} />`}
    <${Loaded} resource=${flows}>${flows.items.length === 0
    ? html`<${Empty} title="No flow is configured"><p>A flow is made here, or with its first <a href=${link('event-types', null, { new: 'yes' })}>event type</a>.</p></${Empty}>`
    : html`${flows.items.map((flow) => html`<${Flow} key=${flow.flow_type} flow=${flow} counts=${counts.data?.counts ?? []} reload=${flows.reload} />`)}<${Pager} list=${flows} noun="flow" />`}</${Loaded}>`;
}
