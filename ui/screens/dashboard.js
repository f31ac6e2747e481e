import { html, useEffect, useState } from '../vendor/preact.js';
import { get } from '../api.js';
import { clockTime, duration, number, plural, titleOfType } from '../format.js';
import { acquireFromFlow, held } from '../permits.js';
import { useResource } from '../resource.js';
import { link } from '../router.js';
import { FINAL, LIVE } from '../states.js';
import { ended, feed, openedAt, rateOf, rates, skipped, waitTimes, workTimes } from '../stats.js';
import { useStore } from '../store.js';
import { Action } from '../components/action.js';
import { Chart } from '../components/chart.js';
import { Machine } from '../components/machine.js';
import { Panel } from '../components/panel.js';
import { Permit } from '../components/permit.js';
import { Empty, Loaded, ProblemNote } from '../components/problem.js';
import { PublishForm } from '../components/publish.js';
import { State } from '../components/state.js';
import { Ago, useNow } from '../components/time.js';
import { say } from '../components/toast.js';

const SERIES = [
  { name: 'published', css: '--c-dispatched' },
  { name: 'succeeded', css: '--c-succeeded', dash: [6, 3] },
  { name: 'failed, expired, canceled', css: '--c-failed', dash: [2, 3] },
];
const ANY = () => true;

function Figure({ name, value, note, href }) {
  const inside = html`<span class="figure-name">${name}</span><span class="figure-value">${value}</span>${note && html`<span class="figure-note">${note}</span>`}`;
  return href ? html`<a class="figure" href=${href}>${inside}</a>` : html`<div class="figure">${inside}</div>`;
}

// The event that has been due the longest, of all flows.
function useOldestDue(flows) {
  const [oldest, setOldest] = useState(null);
  const names = flows?.map(({ flow_type }) => flow_type).join(' ');
  useEffect(() => {
    if (!flows) return undefined;
    const controller = new AbortController();
    const look = () => Promise.all(flows.slice(0, 20).map(({ flow_type }) => get(`/api/events/pending/${encodeURIComponent(flow_type)}?limit=1`, { signal: controller.signal })))
      .then((answers) => setOldest(answers.flatMap(({ events }) => events).sort((a, b) => Date.parse(a.attempt_scheduled_at) - Date.parse(b.attempt_scheduled_at))[0] ?? null), () => {});
    look();
    const timer = setInterval(() => document.hidden || look(), 3000);
    return () => { clearInterval(timer); controller.abort(); };
  }, [names]);
  return oldest;
}

function Figures({ flows }) {
  const now = useNow();
  const oldest = useOldestDue(flows);
  const [wait, work] = [waitTimes(), workTimes()];
  const rate = (name) => `${number(Math.round(rateOf(name) * 10) / 10)}/s`;
  return html`<div class="figures">
    <${Figure} name="published" value=${rate('published')} note="last 10 seconds" />
    <${Figure} name="succeeded" value=${rate('succeeded')} note="last 10 seconds" />
    <${Figure} name="wait p50 · p95" value=${`${duration(wait.p50)} · ${duration(wait.p95)}`} note="offered until acquired" />
    <${Figure} name="work p50 · p95" value=${`${duration(work.p50)} · ${duration(work.p95)}`} note="acquired until reported" />
    <${Figure} name="oldest due" value=${oldest ? duration((now - Date.parse(oldest.attempt_scheduled_at)) / 1000) : 'none'} note=${oldest ? titleOfType(oldest.event_type) : 'nothing waits for a worker'} href=${oldest && link('events', oldest.event_id)} />
  </div>`;
}

// Types that are suspended, or whose attempts failed lately.
function ProblemTypes() {
  const errors = useResource('/api/errors?limit=100', ({ status, attempts_used }) => status === 'FAILED' || (status === 'AWAITING_PROCESSING' && attempts_used > 0));
  const types = useResource('/api/event-types?limit=500');
  const flows = useResource('/api/flows?limit=500');
  const failed = new Map();
  for (const { event_type, failed_at, error_message } of errors.data?.errors ?? []) {
    const seen = failed.get(event_type);
    if (seen) seen.count++;
    else failed.set(event_type, { count: 1, failed_at, error_message });
  }
  const suspended = (types.data?.event_types ?? []).filter(({ is_suspended }) => is_suspended);
  const paused = (flows.data?.flows ?? []).filter(({ is_paused }) => is_paused);
  return html`<${Panel} title="Problem types" tools=${html`<a href=${link('errors')}>All errors</a>`}><${Loaded} resource=${errors}>
    ${failed.size + suspended.length + paused.length === 0 ? html`<${Empty} title="None"><p>No attempt has failed, no type is suspended and no flow is paused.</p></${Empty}>` : html`<ul class="lines">
      ${paused.map(({ flow_type }) => html`<li key=${`p-${flow_type}`}><a href=${link('flows')}>${flow_type}</a><span class="badge badge-suspended">paused</span></li>`)}
      ${suspended.map(({ event_type }) => html`<li key=${`s-${event_type}`}><a href=${link('event-types', event_type)}>${event_type}</a><span class="badge badge-suspended">suspended</span></li>`)}
      ${[...failed].map(([type, { count, failed_at, error_message }]) => html`<li key=${type}>
        <a href=${link('errors', null, { type })}>${type}</a><span class="dim">${plural(count, 'failed attempt')}</span>
        <span class="line-more"><span class="ellipsis">${error_message}</span> <span class="dim"><${Ago} time=${failed_at} /></span></span></li>`)}
    </ul>`}</${Loaded}></${Panel}>`;
}

function Feed() {
  useNow();
  const missed = skipped();
  return html`<${Panel} title="Changes" css="feed-panel" tools=${html`<a href=${link('events')}>All events</a>`}>
    ${feed.length === 0 ? html`<${Empty} title="Nothing has changed since the page was opened"><p>Publish an event and watch it move.</p></${Empty}>` : html`<ol class="feed">
      ${feed.map((event) => html`<li key=${event.event_id + event.status + event.state_since}>
        <time class="mono dim" datetime=${event.state_since}>${clockTime(event.state_since)}</time>
        <a class="feed-name" href=${link('events', event.event_id)}>${event.event_type}</a>
        <span class="dim ellipsis">${event.flow_id}</span>
        ${event.retried && html`<span class="badge">retry</span>`}
        <${State} status=${event.status} /></li>`)}
    </ol>`}
    ${missed > 0 && html`<p class="dim">${plural(missed, 'change')} came faster than can be told one by one.</p>`}
  </${Panel}>`;
}

function ByHand({ flows }) {
  const events = useStore(held);
  const [chosen, choose] = useState('');
  const flow = chosen || flows?.[0]?.flow_type;
  async function acquire() {
    if (!await acquireFromFlow(flow)) say(`Nothing in ${flow} is due now.`);
  }
  return html`<${Panel} title="Work by hand">
    <p class="dim">Be a worker: acquire an event, look at it, report how it went.</p>
    <div class="form-row form-row-end">
      <label class="field"><span>Flow</span><select value=${flow} onChange=${(change) => choose(change.target.value)}>${flows?.map(({ flow_type }) => html`<option key=${flow_type} value=${flow_type}>${flow_type}</option>`)}</select></label>
      <${Action} does="acquireNext" flow=${flow} disabled=${!flow} run=${acquire}>Acquire next</${Action}>
    </div>
    ${events.map((event) => html`<${Permit} key=${event.event_id} event=${event} />`)}
  </${Panel}>`;
}

export function Dashboard() {
  const counts = useResource('/api/counts', ANY);
  const flows = useResource('/api/flows?limit=500');
  useNow();
  const now = Object.fromEntries(LIVE.map((status) => [status, counts.data && 0]));
  for (const { status, events } of counts.data?.counts ?? []) now[status] += events;
  const since = `since ${clockTime(openedAt).slice(0, 5)}`;

  return html`
    <${ProblemNote} problem=${counts.problem ?? flows.problem} again=${counts.reload} />
    <${Figures} flows=${flows.data?.flows} />
    <section class="panel machine-panel" aria-label="States">
      <${Machine} counts=${{ ...now, ...ended }} notes=${Object.fromEntries(FINAL.map((status) => [status, since]))} />
    </section>
    <div class="columns columns-dashboard">
      <div><${Panel} title="Events a second"><${Chart} title="Events published, succeeded and ended otherwise, each second of the last five minutes" series=${SERIES} read=${rates} /></${Panel}>
        <${Feed} /></div>
      <div><${Panel} title="Publish"><${PublishForm} /></${Panel}>
        <${ByHand} flows=${flows.data?.flows} />
        <${ProblemTypes} /></div>
    </div>`;
}
