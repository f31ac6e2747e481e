// The dashboard: publish, watch the states light up, work by hand.
import { api, close, is, isAccessible, ok, open, sees, stateOf } from './browser.mjs';

export async function dashboard(browser) {
  const page = await open(browser);
  const count = (name) => page.locator(`.node:has(.node-name:text-is("${name}")) .node-count`);

  await sees(page.locator('[data-live="sse"]'), 'the page is live by server-sent events');
  await page.getByLabel('Event type').selectOption('BY_HAND');
  await page.getByLabel('Flow id').fill('hand');
  await page.getByLabel('Payload').fill('{"n":');
  await sees(page.getByText(/^Not JSON/), 'a payload that is not JSON is told');
  ok(await page.getByRole('button', { name: 'Publish', exact: true }).isDisabled(), '... and cannot be published');
  await page.getByLabel('Payload').fill('{"n": 1}');
  await page.getByRole('button', { name: 'Publish five' }).click();
  await sees(page.locator('.toast', { hasText: 'Published five of BY_HAND' }), 'five are published');
  await sees(count('dispatched').getByText('5', { exact: true }), 'and offered: the picture counts them');
  await sees(page.locator('.feed li', { hasText: 'hand-5' }), 'and told in the list of changes');
  await sees(page.locator('[data-way="AWAITING_PROCESSING>DISPATCHED"].way-used'), 'the way that they went is lit', 'attached');

  const byHand = page.getByRole('region', { name: 'Work by hand' });
  await byHand.getByLabel('Flow').selectOption('FLOW_HAND');
  await byHand.getByRole('button', { name: 'Acquire next' }).click();
  const permit = byHand.getByRole('article');
  await sees(permit.getByText('hand-1'), 'the first is acquired');
  await sees(count('being processed').getByText('1', { exact: true }), '... and counted');
  await permit.getByRole('button', { name: 'Succeed …' }).click();
  await permit.getByLabel('Spinoffs').fill('[{"event_type": "BY_HAND", "payload": {"n": 2}}]');
  await isAccessible(page, 'dashboard with a permit');
  await permit.getByRole('button', { name: 'Succeed', exact: true }).click();
  await sees(count('succeeded').getByText('1', { exact: true }), 'and succeeds, with a spinoff');
  const events = (await api('GET', '/api/events?flow_id=hand-1')).events;
  is(events.map(({ status }) => status).sort(), ['DISPATCHED', 'SUCCEEDED'], '... as the engine says too');

  await byHand.getByRole('button', { name: 'Acquire next' }).click();
  await permit.getByRole('button', { name: 'Fail …' }).click();
  await permit.getByLabel('may be tried again').uncheck();
  await permit.getByRole('button', { name: 'Fail', exact: true }).click();
  await sees(count('failed').getByText('1', { exact: true }), 'the second fails for good');
  await byHand.getByRole('button', { name: 'Acquire next' }).click();
  await permit.getByRole('button', { name: 'Snooze …' }).click();
  await permit.getByLabel('Again in, seconds').fill('600');
  await permit.getByRole('button', { name: 'Snooze', exact: true }).click();
  await sees(count('awaiting processing').getByText('1', { exact: true }), 'the third is put off');
  await byHand.getByRole('button', { name: 'Acquire next' }).click();
  await permit.getByRole('button', { name: 'Suspend …' }).click();
  await permit.getByRole('button', { name: 'Suspend', exact: true }).click();
  await sees(count('suspended').getByText('1', { exact: true }), 'the fourth is suspended');

  // An event that is canceled elsewhere takes its permit along.
  await byHand.getByRole('button', { name: 'Acquire next' }).click();
  const id = (await permit.getByRole('link').getAttribute('href')).split('/').at(-1);
  await api('POST', `/api/events/${id}/cancel`);
  await permit.waitFor({ state: 'detached' });
  is(await stateOf(id), 'CANCELED', 'a permit goes when its event is canceled elsewhere');
  await close(page, 'dashboard');
}
