import { html, useEffect, useRef, useState } from '../vendor/preact.js';
import { actOnEvent } from '../api.js';
import { withEach } from '../each.js';
import { plural, shortId } from '../format.js';
import { on as onLive } from '../live.js';
import { usePages } from '../resource.js';
import { link, replaceQuery } from '../router.js';
import { canCancel, canRetry, STATES } from '../states.js';
import { Action } from '../components/action.js';
import { confirm } from '../components/dialog.js';
import { Table } from '../components/panel.js';
import { Empty, Loaded, Pager } from '../components/problem.js';
import { State } from '../components/state.js';
import { Ago } from '../components/time.js';
import { say, sayProblem } from '../components/toast.js';

const EXAMPLES = ['flow:FLOW_B', 'type:DRIVER_MATCHED', 'status:FAILED', 'payload.passenger:Ada', 'ride-00*'];

// The search's words without those about a status, and the status that they ask for.
function splitStatus(q) {
  const words = q.split(/\s+/).filter(Boolean);
  const status = words.find((word) => word.startsWith('status:'))?.slice(7).toUpperCase();
  return { rest: words.filter((word) => !word.startsWith('status:')).join(' '), status };
}

function Search({ q, focus }) {
  const [text, setText] = useState(q);
  const input = useRef();
  useEffect(() => setText(q), [q]);
  useEffect(() => {
    if (!focus) return;
    input.current.focus();
    replaceQuery({ q });
  }, [focus]);
  const search = (value) => replaceQuery({ q: value.trim() });
  const { rest, status } = splitStatus(q);

  return html`<div class="search">
    <form role="search" onSubmit=${(submit) => { submit.preventDefault(); search(text); }}>
      <label class="unseen" for="search">Search events</label>
      <input id="search" ref=${input} data-search type="search" class="mono" autocomplete="off" spellcheck=${false} placeholder="flow: type: status: id: payload.path:value, a flow id or its beginning*"
        value=${text} onInput=${(typed) => setText(typed.target.value)} aria-describedby="search-help" />
      <button class="button">Search</button>
    </form>
    <p id="search-help" class="dim">Words narrow each other down: ${EXAMPLES.map((example, n) => html`${n > 0 && ' · '}<a key=${example} href=${link('events', null, { q: example })}><code>${example}</code></a>`)}</p>
    <div class="segments" role="group" aria-label="Status">
      <a class="button button-small" aria-current=${!status ? 'true' : undefined} href=${link('events', null, { q: rest })}>all</a>
      ${Object.entries(STATES).map(([name, { short }]) => html`<a key=${name} class="button button-small" aria-current=${status === name ? 'true' : undefined}
        href=${link('events', null, { q: `${rest} status:${name}`.trim() })}>${short}</a>`)}
    </div>
  </div>`;
}

// Rows follow the live stream in place; what is new is only counted.
function useFresh(items) {
  const [fresh, setFresh] = useState(new Map());
  const [others, setOthers] = useState(0);
  const shown = useRef();
  shown.current = new Set(items.map(({ event_id }) => event_id));
  useEffect(() => onLive('change', (event) => {
    if (shown.current.has(event.event_id)) setFresh((was) => new Map(was).set(event.event_id, event));
    else if (event.status === 'AWAITING_PROCESSING' && event.attempts_used === 0) setOthers((count) => count + 1);
  }), []);
  return { fresh, others, seen: () => { setFresh(new Map()); setOthers(0); } };
}

function BulkActions({ chosen, rows, clear, reload }) {
  const [progress, setProgress] = useState(null);
  const picked = rows.filter(({ event_id }) => chosen.has(event_id));
  const retryable = picked.filter(({ status }) => canRetry(status)).map(({ event_id }) => event_id);
  const cancelable = picked.filter(({ status }) => canCancel(status)).map(({ event_id }) => event_id);

  async function all(ids, verb, question) {
    if (!await confirm(question)) return;
    const { refused, problem } = await withEach(ids, (id) => actOnEvent(id, verb), (done) => setProgress(`${done} of ${ids.length}`));
    setProgress(null);
    if (problem) sayProblem(problem);
    say(`${plural(ids.length - refused, 'event')} done${refused ? `, ${refused} refused: they had moved on` : ''}.`);
    clear();
    reload();
  }
  return html`<div class="bulk" role="group" aria-label="Chosen events">
    <strong>${plural(picked.length, 'event')} chosen</strong>
    <${Action} does="retry" disabled=${retryable.length === 0} run=${() => all(retryable, 'retry', { title: `Retry ${plural(retryable.length, 'event')}?`, text: 'Each gets fresh attempts and a fresh lifespan.', verb: `Retry ${retryable.length}` })}>Retry ${retryable.length}</${Action}>
    <${Action} kind="button-danger" does="cancel" disabled=${cancelable.length === 0} run=${() => all(cancelable, 'cancel', { title: `Cancel ${plural(cancelable.length, 'event')}?`, text: 'Workers that have them are told to stop. Canceled events can be retried later.', verb: `Cancel ${cancelable.length}`, danger: true })}>Cancel ${cancelable.length}</${Action}>
    <button class="button button-quiet" onClick=${clear}>Choose none</button>
    ${progress && html`<span role="status" class="dim">${progress}</span>`}
  </div>`;
}

export function Events({ query }) {
  const q = query.q ?? '';
  const list = usePages('/api/events', { q, limit: 50 }, 'events');
  const { fresh, others, seen } = useFresh(list.items);
  const [chosen, setChosen] = useState(new Set());
  const rows = list.items.map((row) => ({ ...row, ...fresh.get(row.event_id) }));
  const allChosen = rows.length > 0 && rows.every(({ event_id }) => chosen.has(event_id));

  useEffect(() => { seen(); setChosen(new Set()); }, [q]);
  const reload = () => { seen(); list.reload(); };
  const choose = (id) => setChosen((was) => { const next = new Set(was); if (!next.delete(id)) next.add(id); return next; });
  const clear = () => setChosen(new Set());

  return html`
    <${Search} q=${q} focus=${query.focus === 'search'} />
    <section class="panel" aria-label="Events">
      <div class="list-head">
        ${chosen.size > 0 ? html`<${BulkActions} chosen=${chosen} rows=${rows} clear=${clear} reload=${reload} />`
    : others > 0 ? html`<button class="button button-small" onClick=${reload}>${plural(others, 'new event')} · show <kbd>r</kbd></button>` : html`<span class="dim">Newest first</span>`}
      </div>
      <${Loaded} resource=${list}>${rows.length === 0 && list.next ? html`<${Pager} list=${list} noun="event" />` : rows.length === 0
    ? html`<${Empty} title=${q ? 'No event is like that' : 'There is no event yet'}><p>${q ? html`<a href=${link('events')}>Show all events</a>` : html`Publish one on the <a href="#/">dashboard</a>, or watch the <a href=${link('ride')}>ride demo</a>.`}</p></${Empty}>`
    : html`<${Table} caption="Events, newest first" heads=${[html`<input type="checkbox" aria-label="Choose all that are shown" checked=${allChosen} onChange=${() => setChosen(new Set(allChosen ? [] : rows.map(({ event_id }) => event_id)))} />`,
        'Event', 'Type', 'Flow id', 'Status', ['Attempts', 'number'], ['Since', 'number'], ['Published', 'number']]}>
        ${rows.map((row) => html`<tr key=${row.event_id} aria-selected=${chosen.has(row.event_id)} class=${fresh.has(row.event_id) ? 'changed' : ''}>
          <td><input type="checkbox" aria-label=${`Choose ${row.event_type} ${row.flow_id} ${shortId(row.event_id)}`} checked=${chosen.has(row.event_id)} onChange=${() => choose(row.event_id)} /></td>
          <td class="nowrap"><a class="mono" href=${link('events', row.event_id)} title=${row.event_id}>${shortId(row.event_id)}</a></td>
          <td class="nowrap">${row.event_type}</td>
          <td class="cell-wide ellipsis"><a href=${link('flows', null, { flow_id: row.flow_id })}>${row.flow_id}</a></td>
          <td><${State} status=${row.status} /></td>
          <td class="number nowrap">${row.attempts_used} of ${row.max_attempts}</td>
          <td class="number nowrap"><${Ago} time=${row.state_since} /></td>
          <td class="number nowrap"><${Ago} time=${row.published_at} /></td>
        </tr>`)}
      </${Table}><${Pager} list=${list} noun="event" />`}</${Loaded}>
    </section>`;
}
