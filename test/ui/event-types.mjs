// Event types: made and changed, with a preview of the retry times that the engine then keeps to.
import { api, close, is, ok, open, publish, sees, until } from './browser.mjs';

// The delays that the engine gives an event whose attempts fail, in milliseconds.
async function delaysOf(event_type) {
  const id = await publish({ event_type, flow_id: 'delays' });
  const delays = [];
  for (;;) {
    const { permit } = await until(async () => { const answer = await api('POST', `/api/events/${id}/acquire`); return answer.acquired && answer; }, 'a permit');
    const { status } = await api('POST', `/api/events/${id}/failure`, { permit, error_message: 'no' });
    if (status === 'FAILED') return delays;
    const event = await api('GET', `/api/events/${id}`);
    delays.push(Date.parse(event.attempt_scheduled_at) - Date.parse(event.errors.at(-1).failed_at));
  }
}

export async function eventTypes(browser) {
  const page = await open(browser, '#/event-types');
  await page.getByRole('link', { name: 'New event type' }).click();
  await page.getByLabel('Name', { exact: true }).fill('PREVIEWED');
  await page.getByLabel('Flow', { exact: true }).fill('FLOW_HAND');
  await page.getByLabel('Attempts', { exact: true }).fill('5');
  await page.getByLabel('Delays').fill('0 s, soon');
  await sees(page.getByText(/^Lengths of time with commas/), 'delays that are none are told');
  await page.getByLabel('Delays').fill('0 s, 20 ms');
  await page.getByLabel('Back-off factor').fill('2');
  await page.getByLabel('Longest delay').fill('100 ms');
  const preview = page.locator('.preview tbody tr td:nth-child(2)');
  const shown = (await preview.allTextContents()).slice(1).map((text) => Number(text.replace(' ms', '')));
  is(shown, [20, 40, 80, 100], 'the preview');
  await page.getByRole('button', { name: 'Make it' }).click();
  await sees(page.locator('tbody tr', { hasText: 'PREVIEWED' }), 'a type is made');
  const delays = await delaysOf('PREVIEWED');
  ok(delays.length === 4 && delays.every((delay, n) => Math.abs(delay - shown[n]) <= 5), 'the engine keeps to what the preview says', JSON.stringify(delays));

  await page.getByRole('link', { name: 'PREVIEWED' }).click();
  await page.getByLabel('Lifespan', { exact: true }).fill('50 ms');
  await sees(page.getByText('The lifespan ends before the last 3 attempts.'), 'a lifespan that is too short is told');
  await page.getByLabel('Lifespan', { exact: true }).fill('2 h');
  await page.getByLabel('Jitter').fill('2');
  await page.getByRole('button', { name: 'Save 2 changes' }).click();
  await sees(page.getByRole('alert'), 'what the engine refuses is told');
  await page.getByLabel('Jitter').fill('0.5');
  await page.getByRole('button', { name: 'Save 2 changes' }).click();
  await sees(page.locator('tbody tr', { hasText: 'PREVIEWED' }).getByText('2 h'), 'a type is changed');
  const type = (await api('GET', '/api/event-types?limit=500')).event_types.find(({ event_type }) => event_type === 'PREVIEWED');
  is([type.lifespan, type.jitter, type.max_attempts], ['02:00:00', 0.5, 5], '... in what was changed only');

  const row = page.locator('tbody tr', { hasText: 'PREVIEWED' });
  await row.getByRole('button', { name: 'Suspend' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Suspend it' }).click();
  await sees(row.getByText('suspended'), 'a type is suspended');
  await row.getByRole('button', { name: 'Unsuspend' }).click();
  await sees(row.getByRole('button', { name: 'Suspend' }), 'and unsuspended');
  page.faults.splice(0);
  await close(page, 'event types');
}
