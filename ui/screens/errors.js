import { html, useState } from '../vendor/preact.js';
import { actOnEvent } from '../api.js';
import { withEach } from '../each.js';
import { dateTime, number, plural, shortId } from '../format.js';
import { usePages } from '../resource.js';
import { link } from '../router.js';
import { canRetry } from '../states.js';
import { Action } from '../components/action.js';
import { confirm } from '../components/dialog.js';
import { Panel, Table } from '../components/panel.js';
import { Empty, Loaded, Pager } from '../components/problem.js';
import { State } from '../components/state.js';
import { Ago } from '../components/time.js';
import { say, sayProblem } from '../components/toast.js';

const SHOWN = 20;

// Messages that differ in numbers and ids only are one.
const kindOf = (message) => message.replace(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/gi, '…').replace(/\d+/g, '…');

function grouped(errors) {
  const groups = new Map();
  for (const error of errors) {
    const kind = kindOf(error.error_message);
    const key = `${error.event_type}\n${kind}`;
    if (!groups.has(key)) groups.set(key, { key, event_type: error.event_type, kind, errors: [] });
    groups.get(key).errors.push(error);
  }
  return [...groups.values()].sort((a, b) => b.errors.length - a.errors.length);
}

function Group({ group, reload }) {
  const [open, setOpen] = useState(false);
  const [newest] = group.errors;
  const ended = [...new Set(group.errors.filter(({ status }) => canRetry(status)).map(({ event_id }) => event_id))];
  async function retry() {
    if (!await confirm({ title: `Retry ${plural(ended.length, 'event')}?`, text: `Of ${group.event_type}, which ended after “${newest.error_message}”. Each gets fresh attempts and a fresh lifespan.`, verb: `Retry ${ended.length}` })) return;
    const { refused, problem } = await withEach(ended, (id) => actOnEvent(id, 'retry'));
    if (problem) sayProblem(problem);
    say(`${plural(ended.length - refused, 'event')} will be tried again.`);
    reload();
  }
  return html`<tbody>
    <tr><th scope="row" class="cell-message"><button class="disclosure" aria-expanded=${open} onClick=${() => setOpen(!open)}>${newest.error_message}</button></th>
      <td class="nowrap"><a href=${link('event-types', group.event_type)}>${group.event_type}</a></td>
      <td class="number">${number(group.errors.length)}</td>
      <td class="number">${number(new Set(group.errors.map(({ event_id }) => event_id)).size)}</td>
      <td class="number nowrap"><${Ago} time=${newest.failed_at} /></td>
      <td class="number">${ended.length > 0 && html`<${Action} kind="button-small" does="retry" run=${retry}>Retry ${ended.length}</${Action}>`}</td></tr>
    ${open && html`<tr class="group-open"><td colspan="6"><ul class="lines">${group.errors.slice(0, SHOWN).map((error) => html`<li key=${error.event_id + error.attempt}>
      <a class="mono" href=${link('events', error.event_id)}>${shortId(error.event_id)}</a><span>${error.flow_id}</span><span class="dim">attempt ${error.attempt} · ${error.worker ?? 'no name'} · ${dateTime(error.failed_at)}</span><${State} status=${error.status} />
      ${kindOf(error.error_message) !== error.error_message && html`<span class="line-more">${error.error_message}</span>`}
      ${error.stack_trace && html`<details class="line-more"><summary>Stack trace</summary><pre class="json" tabindex="0">${error.stack_trace}</pre></details>`}</li>`)}</ul>
      ${group.errors.length > SHOWN && html`<p class="dim">and ${number(group.errors.length - SHOWN)} more</p>`}</td></tr>`}
  </tbody>`;
}

export function Errors({ query }) {
  const list = usePages('/api/errors', { limit: 500, event_type: query.type, flow_type: query.flow }, 'errors',
    ({ status, attempts_used }) => status === 'FAILED' || (status === 'AWAITING_PROCESSING' && attempts_used > 0));
  const groups = grouped(list.items);
  return html`<${Panel} title=${query.type ? `Failed attempts of ${query.type}` : 'Failed attempts by message'} tools=${query.type && html`<a href=${link('errors')}>Of all types</a>`}>
    <${Loaded} resource=${list}>${groups.length === 0 && list.next ? html`<${Pager} list=${list} noun="failed attempt" />` : groups.length === 0
    ? html`<${Empty} title="No attempt has failed"><p>Failed attempts are kept here with their message, stack trace and worker, as long as their events are.</p></${Empty}>`
    : html`<${Table} caption="Failed attempts, by event type and message" grouped=${true} heads=${['Message', 'Event type', ['Attempts', 'number'], ['Events', 'number'], ['Last', 'number'], [html`<span class="unseen">Actions</span>`, 'number']]}>
        ${groups.map((group) => html`<${Group} key=${group.key} group=${group} reload=${list.reload} />`)}
      </${Table}><${Pager} list=${list} noun="failed attempt" />`}</${Loaded}>
  </${Panel}>`;
}
