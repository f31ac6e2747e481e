import { html } from '../vendor/preact.js';
import { publish } from '../api.js';
import { useResource } from '../resource.js';
import { link } from '../router.js';
import { Action } from '../components/action.js';
import { Panel, Table } from '../components/panel.js';
import { Empty, Loaded } from '../components/problem.js';
import { Ago } from '../components/time.js';
import { say } from '../components/toast.js';

function Schedule({ schedule }) {
  const { name, cron, event_type, flow_type, flow_id, payload } = schedule;
  async function runNow() {
    const { event_id } = await publish({ event_type, flow_type, flow_id, payload });
    say(`Published ${event_type} for ${flow_id}, besides its schedule.`, link('events', event_id));
  }
  return html`<tr><th scope="row">${name}</th><td><code>${cron}</code></td><td>${event_type}</td>
    <td><a href=${link('flows', null, { flow_id })}>${flow_id}</a></td>
    <td class="number nowrap"><${Ago} time=${schedule.next_run_at} /></td><td class="number nowrap"><${Ago} time=${schedule.last_run_at} /></td>
    <td class="number"><${Action} kind="button-small" run=${runNow}>Run now</${Action}></td></tr>`;
}

function NoSchedules() {
  return html`<${Empty} title="No schedule"><p>A schedule publishes an event at each of its times: <code>SELECT evq_schedule('nightly', '0 3 * * *', 'REPORT_WANTED', 'FLOW_A', 'nightly');</code></p></${Empty}>`;
}

export function Schedules() {
  const resource = useResource('/api/schedules');
  const schedules = resource.data?.schedules ?? [];
  if ([404, 501].includes(resource.problem?.status)) {
    return html`<${Panel} title="Schedules"><${Empty} title="This database has no schedules"><p>They need the extension pg_cron and a version of evq that has <code>evq_schedule()</code>. Until then, <code>run_at</code> of a publish puts one event off to a time.</p></${Empty}></${Panel}>`;
  }
  return html`<${Panel} title="Schedules"><${Loaded} resource=${resource}>${schedules.length === 0 ? html`<${NoSchedules} />`
    : html`<${Table} caption="Schedules by name" heads=${['Name', 'Times', 'Event type', 'Flow id', ['Next run', 'number'], ['Last run', 'number'], [html`<span class="unseen">Actions</span>`, 'number']]}>
      ${schedules.map((schedule) => html`<${Schedule} key=${schedule.name} schedule=${schedule} />`)}</${Table}>`}</${Loaded}></${Panel}>`;
}
