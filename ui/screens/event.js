import { html, useState } from '../vendor/preact.js';
import { actOnEvent } from '../api.js';
import { ago, dateTime, duration } from '../format.js';
import { acquireEvent, held } from '../permits.js';
import { useResource } from '../resource.js';
import { link } from '../router.js';
import { canAcquire, canCancel, canRetry, STATES } from '../states.js';
import { useStore } from '../store.js';
import { Action } from '../components/action.js';
import { confirm } from '../components/dialog.js';
import { Json, parseJson } from '../components/json.js';
import { Panel } from '../components/panel.js';
import { Permit } from '../components/permit.js';
import { Empty, Loaded } from '../components/problem.js';
import { State, StateShape } from '../components/state.js';
import { Ago, useNow } from '../components/time.js';
import { say } from '../components/toast.js';
import { Field } from '../components/field.js';

const OUTCOMES = { retry: 'tried again later', failed: 'the last one', expired: 'its time was over' };

// What is known of how it went, oldest first: {at, css, title, text, trace}.
function timeline(event) {
  const steps = [{ at: event.published_at, status: 'AWAITING_PROCESSING', title: 'Published', text: event.parent_id ? 'by another event' : null }];
  for (const error of event.errors) {
    steps.push({ at: error.failed_at, status: 'FAILED', title: `Attempt ${error.attempt} ${error.outcome === 'expired' ? 'expired' : 'failed'}`, text: error.error_message, trace: error.stack_trace, by: error.worker, note: OUTCOMES[error.outcome] ?? error.outcome });
  }
  if (event.attempt_started_at) steps.push({ at: event.attempt_started_at, status: 'BEING_PROCESSED', title: STATES[event.status].final ? 'Last acquired' : 'Acquired', by: event.worker });
  if (event.status !== 'BEING_PROCESSED' && !(event.status === 'AWAITING_PROCESSING' && event.attempts_used === 0 && event.errors.length === 0)) {
    steps.push({ at: event.finished_at ?? event.state_since, status: event.status, title: STATES[event.status].name.replace(/^./, (c) => c.toUpperCase()), text: event.reason, now: !STATES[event.status].final });
  }
  return steps.sort((a, b) => Date.parse(a.at) - Date.parse(b.at));
}

function Timeline({ event }) {
  const steps = timeline(event);
  return html`<ol class="timeline">${steps.map((step, n) => html`<li key=${n} class=${STATES[step.status].css}>
    <span class="timeline-mark"><${StateShape} status=${step.status} /></span>
    <div><p><strong>${step.title}</strong>${step.by && html` <span class="dim">by ${step.by}</span>`} ${step.note && html`<span class="badge">${step.note}</span>`}</p>
      ${step.text && html`<p class="timeline-text">${step.text}</p>`}
      ${step.trace && html`<details><summary>Stack trace</summary><pre class="json" tabindex="0">${step.trace}</pre></details>`}</div>
    <p class="dim timeline-time"><time datetime=${step.at}>${dateTime(step.at)}</time>${n > 0 && html`<br />+ ${duration((Date.parse(step.at) - Date.parse(steps[n - 1].at)) / 1000)}`}</p>
  </li>`)}</ol>`;
}

function Activate({ event, reload }) {
  const [text, setText] = useState('');
  const [patch, setPatch] = useState('');
  const answer = text.trim() === '' ? {} : parseJson(text);
  const parsed = patch.trim() === '' ? {} : parseJson(patch);
  async function activate() {
    await actOnEvent(event.event_id, 'activate', { answer: answer.value, payload_patch: parsed.value, permit: event.permit });
    say('Activated.');
    reload();
  }
  return html`<form class="form" onSubmit=${(submit) => submit.preventDefault()}>
    <${Field} label="Answer, as JSON" error=${answer.error && `Not JSON: ${answer.error}`}>${(id) => html`<textarea id=${id} class="mono" rows="2" spellcheck=${false} value=${text} onInput=${(input) => setText(input.target.value)}></textarea>`}</${Field}>
    <${Field} label="Merge into the payload" error=${parsed.error && `Not JSON: ${parsed.error}`}>${(id) => html`<textarea id=${id} class="mono" rows="2" spellcheck=${false} value=${patch} onInput=${(input) => setPatch(input.target.value)}></textarea>`}</${Field}>
    <div class="form-foot"><${Action} kind="button-primary" does="activate" disabled=${answer.error || parsed.error} run=${activate}>Activate</${Action}></div>
  </form>`;
}

function Actions({ event, reload }) {
  const mine = useStore(held).find(({ event_id }) => event_id === event.event_id);
  const id = event.event_id;
  async function acquire() {
    if (!await acquireEvent(id)) say('Not granted: somebody else has it, or it is not due.');
    reload();
  }
  async function cancel() {
    if (!await confirm({ title: 'Cancel this event?', text: 'A worker that has it is told to stop. A canceled event can be retried later.', verb: 'Cancel 1', danger: true })) return;
    await actOnEvent(id, 'cancel', { reason: 'canceled in the web UI' });
    reload();
  }
  async function retry() {
    await actOnEvent(id, 'retry');
    say('It gets fresh attempts and a fresh lifespan.');
    reload();
  }
  const any = canAcquire(event.status) || canCancel(event.status) || canRetry(event.status);
  if (mine) return html`<${Permit} event=${mine} />`;
  if (!any) return html`<p class="dim">It has come to its end; there is nothing left to do.</p>`;
  return html`<div class="form">
    <div class="form-foot">
      ${canAcquire(event.status) && html`<${Action} kind="button-primary" does="acquire" flow=${event.flow_type} run=${acquire} title="Be its worker">Acquire</${Action}>`}
      ${canRetry(event.status) && html`<${Action} kind="button-primary" does="retry" run=${retry}>Retry</${Action}>`}
      ${canCancel(event.status) && html`<${Action} kind="button-danger" does="cancel" run=${cancel}>Cancel …</${Action}>`}
    </div>
    ${event.status === 'BEING_PROCESSED' && html`<p class="dim">${event.worker ?? 'A worker'} has the permit. Fail, snooze or suspend it from there; from here it can be canceled.</p>`}
    ${event.status === 'SUSPENDED' && html`<${Activate} event=${event} reload=${reload} />`}
  </div>`;
}

function Related({ event }) {
  if (!event.parent_id && event.children.length === 0) return html`<p class="dim">Neither parent nor children. <a href=${link('flows', null, { flow_id: event.flow_id })}>All events of ${event.flow_id}</a></p>`;
  return html`<ul class="lines">
    ${event.parent_id && html`<li><span class="dim">Parent</span><a class="mono" href=${link('events', event.parent_id)}>${event.parent_id}</a></li>`}
    ${event.children.map((child) => html`<li key=${child.event_id}><span class="dim">Child</span><a href=${link('events', child.event_id)}>${child.event_type}</a><${State} status=${child.status} /></li>`)}
    <li><a href=${link('flows', null, { flow_id: event.flow_id })}>All events of ${event.flow_id}</a></li>
  </ul>`;
}

function Facts({ event }) {
  const now = useNow();
  const facts = [
    ['Event id', html`<code>${event.event_id}</code>`],
    ['Flow', html`${event.flow_type} · <a href=${link('flows', null, { flow_id: event.flow_id })}>${event.flow_id}</a>`],
    ['Attempts', `${event.attempts_used} of ${event.max_attempts} used`],
    ['Priority', event.priority],
    ['Published', html`${dateTime(event.published_at)} <span class="dim">${ago(event.published_at, now)}</span>`],
    !STATES[event.status].final && event.status === 'AWAITING_PROCESSING' && ['Next attempt', html`${dateTime(event.attempt_scheduled_at)} <span class="dim">${ago(event.attempt_scheduled_at, now)}</span>`],
    event.state_due_at && [event.status === 'BEING_PROCESSED' ? 'Permit until' : event.status === 'SUSPENDED' ? 'Suspended until' : 'Offered until', html`${dateTime(event.state_due_at)} <span class="dim">${ago(event.state_due_at, now)}</span>`],
    !STATES[event.status].final && ['Lifespan until', html`${dateTime(event.due_at)} <span class="dim">${ago(event.due_at, now)}</span>`],
    event.worker && ['Worker', event.worker],
    event.on_fail_event_type && ['On failure', event.on_fail_event_type],
    event.idempotency_key && ['Idempotency key', html`<code>${event.idempotency_key}</code>`],
    event.chain_depth > 0 && ['Depth of chain', event.chain_depth],
  ];
  return html`<dl class="pairs">${facts.filter(Boolean).map(([name, value]) => html`<dt key=${name}>${name}</dt><dd key=${`${name}=`}>${value}</dd>`)}</dl>`;
}

export function Event({ part }) {
  const resource = useResource(`/api/events/${encodeURIComponent(part)}`, ({ event_id }) => event_id === part);
  const event = resource.data;
  if (resource.problem?.status === 404) {
    return html`<${Empty} title="There is no such event"><p>Finished events are kept for their type's retention. <a href=${link('events')}>Show all events</a></p></${Empty}>`;
  }
  return html`<${Loaded} resource=${resource}>${event && html`
    <div class="event-head"><p class="event-type">${event.event_type}</p><${State} status=${event.status} /><span class="dim">since <${Ago} time=${event.state_since} /></span></div>
    <div class="columns columns-event">
      <div><${Panel} title="Timeline"><${Timeline} event=${event} /></${Panel}>
        <${Panel} title="Payload"><${Json} value=${event.payload} label="Payload" /></${Panel}>
        ${event.headers && html`<${Panel} title="Headers"><${Json} value=${event.headers} label="Headers" /></${Panel}>`}
        ${(event.answer ?? null) !== null && html`<${Panel} title="Answer"><${Json} value=${event.answer} label="Answer" /></${Panel}>`}
        ${event.result !== null && html`<${Panel} title="Result"><${Json} value=${event.result} label="Result" /></${Panel}>`}</div>
      <div><${Panel} title="Actions"><${Actions} event=${event} reload=${resource.reload} /></${Panel}>
        <${Panel} title="Parent and children"><${Related} event=${event} /></${Panel}>
        <${Panel} title="Facts"><${Facts} event=${event} /></${Panel}></div>
    </div>`}</${Loaded}>`;
}
