// The list of events, one event, and many at once.
import { api, close, gone, is, isAccessible, ok, open, publish, sees, stateOf, until } from './browser.mjs';

async function failed(flow_id) {
  const id = await publish({ event_type: 'BY_HAND', flow_id, payload: { colour: 'red' } });
  const { permit } = await until(async () => { const answer = await api('POST', `/api/events/${id}/acquire`); return answer.acquired && answer; }, 'a permit');
  await api('POST', `/api/events/${id}/failure`, { permit, error_message: 'it burnt', retryable: false });
  return id;
}

async function search(browser) {
  await api('POST', '/api/events/batch', Array.from({ length: 60 }, (_, n) => ({ event_type: 'BY_HAND', flow_id: `many-${n}`, run_at: '2999-01-01T00:00:00Z' })));
  const page = await open(browser, '#/events');
  await page.getByRole('searchbox').fill('many-*');
  await page.keyboard.press('Enter');
  await until(() => page.evaluate(() => location.hash.includes('many-')), 'the address');
  await until(async () => await page.locator('tbody tr', { hasText: 'many-' }).count() === 50, 'the first page');
  await page.getByRole('button', { name: 'Load more' }).click();
  await until(async () => await page.locator('tbody tr').count() === 60, 'the second page');
  ok(await page.getByRole('button', { name: 'Load more' }).count() === 0, 'a search comes in pages, the last one says so');
  await page.reload();
  await sees(page.locator('tbody tr', { hasText: 'many-59' }), 'the address has the search');
  await page.getByRole('link', { name: 'failed', exact: true }).click();
  await sees(page.getByText('No event is like that'), 'a status narrows it down, and nothing is said to be nothing');
  const onward = JSON.stringify({ events: [], next: '00000000-0000-7000-8000-000000000000', searched: { events: 2000, back_to: '2020-01-02T03:04:05Z' } });
  await page.route(/\/api\/events\?/, (route) => route.fulfill({ contentType: 'application/json', body: onward }));
  await page.getByRole('searchbox').fill('payload.none:3');
  await page.keyboard.press('Enter');
  await sees(page.getByText(/0 events so far, searched back to .*2020/), 'a search that has found nothing yet says how far it looked');
  await sees(page.getByRole('button', { name: 'Load more' }), '... and can go on');
  await page.unroute(/\/api\/events\?/);
  await page.getByRole('searchbox').fill('status:NONSENSE');
  await page.keyboard.press('Enter');
  await sees(page.getByRole('alert').getByText(/Known are: AWAITING_PROCESSING/), 'what the API refuses is shown with its hint');
  page.faults.splice(0);      // the refused request
  await close(page, 'search');
}

async function many(browser) {
  const ids = [await failed('bulk-1'), await failed('bulk-2')];
  const page = await open(browser, '#/events?q=bulk-*');
  await page.getByLabel('Choose all that are shown').check();
  await page.getByRole('button', { name: 'Retry 2' }).click();
  const question = page.getByRole('dialog');
  await sees(question.getByText('Retry 2 events?'), 'many are retried after a question that says how many');
  await question.getByRole('button', { name: 'Keep as it is' }).click();
  await gone(question, '... which can be denied');
  is(await stateOf(ids[0]), 'FAILED', '... and then nothing happens');
  await page.getByRole('button', { name: 'Retry 2' }).click();
  await question.getByRole('button', { name: 'Retry 2' }).click();
  await sees(page.locator('.toast', { hasText: '2 events done' }), '... or granted');
  await until(async () => (await Promise.all(ids.map(stateOf))).every((status) => status !== 'FAILED'), 'the retries');
  await page.getByLabel('Choose all that are shown').check();
  await page.getByRole('button', { name: 'Cancel 2' }).click();
  await isAccessible(page, 'a question');
  await question.getByRole('button', { name: 'Cancel 2' }).click();
  await until(async () => (await Promise.all(ids.map(stateOf))).every((status) => status === 'CANCELED'), 'the cancels');
  await sees(page.locator('tbody tr', { hasText: 'canceled' }), 'rows follow what happens to their events');
  await close(page, 'many');
}

async function one(browser) {
  const id = await failed('one');
  const page = await open(browser, `#/events/${id}`);
  await sees(page.locator('.timeline', { hasText: 'it burnt' }), 'an event shows what failed');
  await sees(page.locator('.json', { hasText: '"red"' }), '... and its payload');
  await page.getByRole('button', { name: 'Retry' }).click();
  await page.getByRole('button', { name: 'Acquire' }).click();
  await page.getByRole('button', { name: 'Suspend …' }).click();
  await page.getByRole('button', { name: 'Suspend', exact: true }).click();
  await page.getByLabel('Answer, as JSON').fill('{"approved_by": "Ada"}');
  await page.getByLabel('Merge into the payload').fill('{"colour": "green"}');
  await page.getByRole('button', { name: 'Activate' }).click();
  await sees(page.locator('.json', { hasText: '"green"' }), 'it is retried, acquired, suspended and activated with a patch');
  await sees(page.locator('.json', { hasText: '"Ada"' }), '... and an answer');
  await page.getByRole('button', { name: 'Cancel …' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Cancel 1' }).click();
  await sees(page.locator('.event-head', { hasText: 'canceled' }), '... and canceled');
  await page.goto(page.url().replace(id, '00000000-0000-7000-8000-000000000000'));
  await sees(page.getByText('There is no such event'), 'an event that is not there');
  page.faults.splice(0);
  await close(page, 'one event');
}

export async function events(browser) {
  await search(browser);
  await many(browser);
  await one(browser);
}
