import { html } from '../vendor/preact.js';
import { actOnSchedule } from '../api.js';
import { usePages } from '../resource.js';
import { link } from '../router.js';
import { Action } from '../components/action.js';
import { Panel, Table } from '../components/panel.js';
import { Empty, Loaded, Pager } from '../components/problem.js';
import { State } from '../components/state.js';
import { Ago } from '../components/time.js';
import { say } from '../components/toast.js';

// What becomes of a time that comes while the last event is live.
const OVERLAPPING = { skip: 'skipped while the last is live', queue: 'waits while the last is live' };
const MISSED = { skip: 'skipped', once: 'one event for all', all: 'an event for each' };

// What went wrong last: a try of evq's, or pg_cron's, if that is later than the last run.
function Trouble({ schedule: { last_error, last_error_at, cron_message, cron_failed_at, last_run_at } }) {
  if (last_error) return html`<p class="trouble">Failed <${Ago} time=${last_error_at} />: ${last_error}</p>`;
  if (cron_message && !(Date.parse(cron_failed_at) < Date.parse(last_run_at))) return html`<p class="trouble">pg_cron <${Ago} time=${cron_failed_at} />: ${cron_message}</p>`;
  return null;
}

function Schedule({ schedule, reload }) {
  const { name, cron, time_zone, overlap, event_type, flow_id, misfire, is_paused, last_event_id, last_status } = schedule;
  async function runNow() {
    const { event_id } = await actOnSchedule(name, 'run');
    say(`Published ${event_type} for ${flow_id}, besides its schedule.`, link('events', event_id));
    reload();
  }
  async function turn() {
    await actOnSchedule(name, is_paused ? 'resume' : 'pause');
    reload();
  }
  return html`<tr>
    <th scope="row">${name} ${is_paused && html`<span class="badge badge-suspended">paused</span>`}<${Trouble} schedule=${schedule} /></th>
    <td class="nowrap"><code>${cron}</code>${time_zone !== 'UTC' && html`<br /><span class="dim">${time_zone}</span>`}</td>
    <td>${event_type}</td>
    <td><a href=${link('flows', null, { flow_id })}>${flow_id}</a></td>
    <td>${MISSED[misfire]}${overlap !== 'allow' && html`<br /><span class="dim">${OVERLAPPING[overlap]}</span>`}</td>
    <td class="number nowrap"><${Ago} time=${schedule.next_run_at} /></td>
    <td class="number nowrap"><${Ago} time=${schedule.last_run_at} />${last_event_id && html`<br /><a href=${link('events', last_event_id)}>${last_status ? html`<${State} status=${last_status} />` : 'its event is gone'}</a>`}</td>
    <td class="number nowrap"><${Action} kind="button-small" does="runSchedule" run=${runNow} title=${`Publish ${event_type} now`}>Run now</${Action}>
      ${' '}<${Action} kind="button-small" does=${is_paused ? 'resumeSchedule' : 'pauseSchedule'} run=${turn}>${is_paused ? 'Resume' : 'Pause'}</${Action}></td>
  </tr>`;
}

function NoSchedules() {
  return html`<${Empty} title="No schedule"><p>A schedule publishes an event at each of its times: <code>SELECT evq_schedule('nightly', '0 3 * * *', 'REPORT_WANTED', 'FLOW_A', 'nightly');</code></p></${Empty}>`;
}

export function Schedules() {
  const list = usePages('/api/schedules', { limit: 100 }, 'schedules', ({ event_type }) => list.items.some((schedule) => schedule.event_type === event_type));
  return html`<${Panel} title="Schedules"><${Loaded} resource=${list}>${list.items.length === 0 ? html`<${NoSchedules} />`
    : html`<${Table} caption="Schedules by name" heads=${['Name', 'Times', 'Event type', 'Flow id', 'Missed times', ['Next run', 'number'], ['Last run', 'number'], [html`<span class="unseen">Actions</span>`, 'number']]}>
      ${list.items.map((schedule) => html`<${Schedule} key=${schedule.name} schedule=${schedule} reload=${list.reload} />`)}</${Table}><${Pager} list=${list} noun="schedule" />`}</${Loaded}></${Panel}>`;
}
