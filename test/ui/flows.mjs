// Flows: made and changed; what is wrong is told beside its field, and changes nothing.
import { api, close, is, isAccessible, open, sees } from './browser.mjs';

const settings = async (name) => (await api('GET', '/api/flows?limit=500')).flows.find(({ flow_type }) => flow_type === name);
const noteOf = (field) => field.evaluate((control) => document.getElementById(control.getAttribute('aria-describedby'))?.textContent);

export async function flows(browser) {
  const page = await open(browser, '#/flows');
  const field = (label) => page.getByLabel(label, { exact: true });
  const button = (name) => page.getByRole('button', { name, exact: true });

  // A new one, by keyboard alone.
  await page.getByRole('link', { name: 'New flow' }).focus();
  await page.keyboard.press('Enter');
  await field('Name').focus();
  await page.keyboard.type('FLOW_EDIT');
  await page.keyboard.press('Tab');
  is(await field('Delivery').evaluate((control) => control === document.activeElement), true, 'Tab leads from field to field');
  await page.keyboard.press('p');
  await page.keyboard.type('ull');
  await field('Most in processing').focus();
  await page.keyboard.type('7');
  await page.keyboard.press('Enter');
  const panel = page.getByRole('region', { name: 'FLOW_EDIT', exact: true });
  await sees(panel, 'a flow is made');
  const made = { channel: 'evq_flow_edit', delivery: 'pull', ordered: false, flow_type: 'FLOW_EDIT', max_dispatched: 1000, max_processing: 7, notify_payload: false, dispatch_timeout: '00:00:30', is_paused: false, paused_at: null, paused_until: null, pause_reason: null,
    group_by: null, max_processing_per_group: null, rate: null, per: null, burst: null, rate_per_group: null, per_per_group: null, burst_per_group: null, fair: false, priority_step: null };
  is(Object.entries(await settings('FLOW_EDIT')).sort(), Object.entries(made).sort(), '... as it was filled in');

  // One of the same name, and names that are none.
  await page.getByRole('link', { name: 'New flow' }).click();
  await field('Name').fill('FLOW EDIT');
  is(await noteOf(field('Name')), 'A letter, then letters, digits and _; 59 at most', 'a name that is none is told beside it');
  is(await button('Make it').isDisabled(), true, '... and cannot be sent');
  await field('Name').fill('FLOW_EDIT');
  await field('Dispatch window').fill('5');
  await button('Make it').click();
  await sees(page.getByText('There is one of this name'), 'a flow that is there is not made again');
  is((await settings('FLOW_EDIT')).max_dispatched, 1000, '... nor changed');

  // What is wrong in the page's eyes.
  await panel.getByRole('link', { name: 'Edit FLOW_EDIT' }).click();
  await field('Dispatch window').waitFor();
  is(await button('Nothing changed').isDisabled(), true, 'nothing to save yet');
  for (const [label, text, note] of [
    ['Dispatch window', '0', 'A whole number from 1 to 1,000,000'], ['Dispatch window', '1.5', 'A whole number from 1 to 1,000,000'], ['Dispatch window', '', 'Needed'],
    ['Most in processing', '1000001', 'A whole number from 1 to 1,000,000'], ['Offered again after', 'soon', 'Not a length of time: 90 s, 5 min, 1 h 30 min'],
    ['Offered again after', '31 d', 'From 10 ms to 30 d'], ['Offered again after', '0', 'From 10 ms to 30 d'], ['Channel', 'Loud', 'A small letter, then small letters, digits and _'], ['Channel', '', 'Needed'],
  ]) {
    await field(label).fill(text);
    is([await noteOf(field(label)), await field(label).getAttribute('aria-invalid')], [note, 'true'], `${label} "${text}": told beside it`);
    is(await button('Save 1 change').isDisabled(), true, '... and cannot be saved');
    await button('Undo').click();
  }
  await field('Channel').fill('Loud');
  await isAccessible(page, 'a flow with what is wrong');
  await button('Undo').click();

  // What the engine refuses.
  await field('Channel').fill('evq_flow_hand');
  await field('Dispatch window').fill('20');
  await button('Save 2 changes').click();
  await sees(page.getByText('channel "evq_flow_hand" of flow "FLOW_EDIT" is taken'), 'what the engine refuses is told');
  is(await field('Channel').getAttribute('aria-invalid'), 'true', '... beside the field that it names');
  is(Object.entries(await settings('FLOW_EDIT')).sort(), Object.entries(made).sort(), 'nothing of all this changed it');

  await field('Channel').fill('evq_flow_edited');
  await field('Ordered').selectOption('yes');
  await field('Most in processing').fill('');
  await field('Offered again after').fill('1 min 30 s');
  await button('Save 5 changes').click();
  await sees(panel.getByText('ordered', { exact: true }), 'a flow is changed');
  const changed = { ...made, channel: 'evq_flow_edited', ordered: true, max_dispatched: 20, max_processing: null, dispatch_timeout: '00:01:30' };
  is(Object.entries(await settings('FLOW_EDIT')).sort(), Object.entries(changed).sort(), '... in what was changed only');
  await sees(panel.getByText('1 min 30 s'), '... and shown so');

  // Paused, and resumed.
  await button('Pause FLOW_EDIT').click();
  await button('Keep as it is').click();
  is((await settings('FLOW_EDIT')).is_paused, false, 'a pause is asked about');
  await button('Pause FLOW_EDIT').click();
  await button('Pause it').click();
  await sees(panel.getByText('paused', { exact: true }), 'a flow is paused');
  await sees(panel.getByText(/until it is resumed/), '... until when');
  is((await settings('FLOW_EDIT')).is_paused, true, '... in truth');
  await isAccessible(page, 'a paused flow');
  await button('Resume FLOW_EDIT').click();
  await sees(button('Pause FLOW_EDIT'), 'a flow is resumed');
  is((await settings('FLOW_EDIT')).is_paused, false, '... in truth');
  await api('POST', '/api/flows/FLOW_EDIT/pause', { until: new Date(Date.now() + 3600000).toISOString(), reason: 'the API is down' });
  await page.reload();
  await sees(panel.getByText(/goes on by itself in .*: the API is down/), 'until when, and why, is told');
  await api('POST', '/api/flows/FLOW_EDIT/resume', {});

  await page.evaluate(() => { location.hash = '#/flows/NONE_SUCH'; });
  await sees(page.getByText('NONE_SUCH is not configured'), 'a flow that is not there');
  // The browser tells of the answer 400 too.
  page.faults.splice(0);
  await close(page, 'flows');
}
