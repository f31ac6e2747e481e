import { html, useState } from '../vendor/preact.js';
import { configure, suspendType, withQuery } from '../api.js';
import { duration, number, seconds, typedSeconds } from '../format.js';
import { usePages, useResource } from '../resource.js';
import { go, link } from '../router.js';
import { Action } from '../components/action.js';
import { confirm } from '../components/dialog.js';
import { Field } from '../components/field.js';
import { FormFields, FormFoot, asNumber, asSpan, asText, span, useForm } from '../components/form.js';
import { Panel, Table } from '../components/panel.js';
import { Empty, Loaded, Pager } from '../components/problem.js';
import { RetryPreview } from '../components/retry-preview.js';
import { say } from '../components/toast.js';

// What a new type has until it says otherwise: as evq_configure().
const DEFAULTS = {
  flow_type: '', max_attempts: 3, lifespan: '01:00:00', attempt_delays: ['00:00:00', '00:00:10'], backoff_factor: 1, max_delay: '1 day', jitter: 0,
  attempt_timeout: '00:20:00', on_suspend_timeout: 'expire', on_fail_event_type: null, priority: 0, max_payload_bytes: null, retention: '7 days',
};
const FIELDS = [
  { name: 'flow_type', label: 'Flow', hint: 'Made with defaults if it is new', ...asText, required: true },
  { name: 'max_attempts', label: 'Attempts', ...asNumber, type: 'number', min: 1, required: true },
  { name: 'lifespan', label: 'Lifespan', hint: 'For all attempts together', ...asSpan, required: true },
  { name: 'attempt_delays', label: 'Delays', hint: 'Before attempt 1, 2, …; the last one repeats', show: (list) => list.map(span).join(', '), send: (text) => text.split(',').map(typedSeconds), check: (text) => (text.split(',').some((one) => Number.isNaN(typedSeconds(one))) ? 'Lengths of time with commas: 0 s, 10 s, 1 min' : null), required: true },
  { name: 'backoff_factor', label: 'Back-off factor', hint: 'Beyond the list, each delay is the one before times this', ...asNumber, type: 'number', min: 1, step: 'any' },
  { name: 'max_delay', label: 'Longest delay', ...asSpan },
  { name: 'jitter', label: 'Jitter', hint: '0 to 1, of delays beyond the list', ...asNumber, type: 'number', min: 0, max: 1, step: 'any' },
  { name: 'attempt_timeout', label: 'Permit holds', hint: 'Unless a heartbeat prolongs it', ...asSpan },
  { name: 'on_suspend_timeout', label: 'Suspended for too long', ...asText, options: ['expire', 'retry'] },
  { name: 'on_fail_event_type', label: 'On-fail event', hint: 'Published when it fails for good or expires', ...asText, empty: '' },
  { name: 'priority', label: 'Priority', hint: 'Higher is offered earlier', ...asNumber, type: 'number', min: -32768, max: 32767 },
  { name: 'max_payload_bytes', label: 'Largest payload, bytes', ...asNumber, type: 'number', min: 1, placeholder: 'evq.max_payload' },
  { name: 'retention', label: 'Retention', hint: 'How long a finished event is kept; with 0 a success leaves nothing', ...asSpan },
];

function ruleOf(texts) {
  const rule = {
    maxAttempts: Number(texts.max_attempts), lifespan: typedSeconds(texts.lifespan), attemptDelays: texts.attempt_delays.split(',').map(typedSeconds),
    backoffFactor: Number(texts.backoff_factor), maxDelay: typedSeconds(texts.max_delay), jitter: Number(texts.jitter),
  };
  return [rule.maxAttempts, rule.lifespan, rule.backoffFactor, rule.maxDelay, rule.jitter, ...rule.attemptDelays].some(Number.isNaN) || rule.maxAttempts < 1 ? null : rule;
}

function Editor({ type, isNew, done }) {
  const [name, setName] = useState(type.event_type ?? '');
  const form = useForm(FIELDS, type);
  const rule = ruleOf(form.texts);

  const save = () => form.send(async () => {
    await configure(name, form.body());
    say(`${name} is ${isNew ? 'made' : 'changed'}, for events already published too.`);
    done();
  });
  return html`<${Panel} title=${isNew ? 'New event type' : name} tools=${html`<a href=${link('event-types')}>Close</a>`}>
    <div class="columns columns-editor">
      <form class="form" onSubmit=${(submit) => submit.preventDefault()}>
        ${isNew && html`<${Field} label="Name" error=${name === '' ? 'Needed' : null}>${(id, marks) => html`<input id=${id} ...${marks} value=${name} required onInput=${(input) => setName(input.target.value)} />`}</${Field}>`}
        <${FormFields} form=${form} />
        <${FormFoot} form=${form} does="configure" isNew=${isNew} disabled=${name === ''} save=${save} />
      </form>
      <div><h3>Attempts, if each failed at once</h3>${rule ? html`<${RetryPreview} rule=${rule} />` : html`<p class="dim">Shown when attempts, lifespan and delays make sense.</p>`}</div>
    </div>
  </${Panel}>`;
}

function OneType({ part, done }) {
  // The API has pages of types by name: the one that begins right before this name.
  const resource = useResource(withQuery('/api/event-types', { after: part.slice(0, -1), limit: 50 }));
  const type = resource.data?.event_types.find(({ event_type }) => event_type === part);
  return html`<${Loaded} resource=${resource}>${type ? html`<${Editor} key=${part} type=${type} done=${done} />`
    : html`<${Empty} title=${`${part} is not configured`}><p><a href=${link('event-types', null, { new: 'yes' })}>Make an event type</a></p></${Empty}>`}</${Loaded}>`;
}

function TypeRow({ type, isChosen, reload }) {
  const { event_type, is_suspended } = type;
  async function turn() {
    if (!is_suspended && !await confirm({ title: `Suspend ${event_type}?`, text: 'Its events are neither offered nor acquired until it is unsuspended. Work in hand goes on.', verb: 'Suspend it' })) return;
    await suspendType(event_type, !is_suspended);
    reload();
  }
  return html`<tr aria-selected=${isChosen}>
    <th scope="row"><a href=${link('event-types', event_type)}>${event_type}</a> ${is_suspended && html`<span class="badge badge-suspended">suspended</span>`}</th>
    <td>${type.flow_type}</td>
    <td class="number">${number(type.max_attempts)}</td>
    <td class="number nowrap">${duration(seconds(type.lifespan))}</td>
    <td class="nowrap">${type.attempt_delays.map((delay) => duration(seconds(delay))).join(', ')}${type.backoff_factor > 1 ? ` × ${type.backoff_factor}` : ''}</td>
    <td>${type.on_fail_event_type ?? html`<span class="dim">–</span>`}</td>
    <td class="number"><a href=${link('events', null, { q: `type:${event_type}` })}>events</a></td>
    <td class="number"><${Action} kind="button-small" does=${is_suspended ? 'unsuspendEventType' : 'suspendEventType'} run=${turn}>${is_suspended ? 'Unsuspend' : 'Suspend'}</${Action}></td>
  </tr>`;
}

export function EventTypes({ part, query }) {
  const list = usePages('/api/event-types', { limit: 100 }, 'event_types');
  const done = () => { list.reload(); go(link('event-types')); };
  return html`
    ${part && html`<${OneType} part=${part} done=${done} />`}
    ${query.new && html`<${Editor} type=${DEFAULTS} isNew=${true} done=${done} />`}
    <${Panel} title="Configured" tools=${html`<a class="button button-small" href=${link('event-types', null, { new: 'yes' })}>New event type</a>`}>
      <${Loaded} resource=${list}>${list.items.length === 0
    ? html`<${Empty} title="No event type is configured"><p>An event type says how often and when its events are tried. <a href=${link('event-types', null, { new: 'yes' })}>Make the first one</a>, or let the <a href=${link('ride')}>ride demo</a> make its six.</p></${Empty}>`
    : html`<${Table} caption="Event types by name" heads=${['Event type', 'Flow', ['Attempts', 'number'], ['Lifespan', 'number'], 'Delays', 'On-fail event', ['', 'number'], ['', 'number']].map((head) => (head[0] === '' ? [html`<span class="unseen">Actions</span>`, 'number'] : head))}>
        ${list.items.map((type) => html`<${TypeRow} key=${type.event_type} type=${type} isChosen=${type.event_type === part} reload=${list.reload} />`)}
      </${Table}><${Pager} list=${list} noun="type" />`}</${Loaded}>
    </${Panel}>`;
}
