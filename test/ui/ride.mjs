// The ride demo: real workers take rides through their six events.
import { api, close, is, ok, open, sees, shoot } from './browser.mjs';

// Returns the flow_id of the ride.
export async function ride(browser) {
  const page = await open(browser, '#/ride');
  await page.getByLabel('Passenger').fill('Hedy');
  await page.getByLabel('From', { exact: true }).selectOption('Airport');
  await page.getByLabel('To', { exact: true }).selectOption('Harbour');
  await page.getByRole('button', { name: 'Request ride' }).click();
  await sees(page.locator('.car-followed'), 'a car drives');
  await shoot(page, 'ride-under-way');
  await sees(page.locator('.ride-clock', { hasText: 'completed in' }), 'the ride is completed');
  is(await page.locator('.chain-succeeded').count(), 6, 'with six events that succeeded');
  await sees(page.locator('.ride-log li', { hasText: 'Trip started acquired' }), 'the log tells of work');
  await sees(page.locator('.ride-log li', { hasText: 'Payment processed succeeded' }), '... and of its end');
  const flowId = new URLSearchParams(new URL(page.url()).hash.split('?')[1]).get('ride');
  const { events } = await api('GET', `/api/events?flow_id=${flowId}`);
  is(events.map(({ status }) => status), Array(6).fill('SUCCEEDED'), 'as the engine says too');
  const { payload } = await api('GET', `/api/events/${events[0].event_id}`);
  is([payload.passenger, payload.from, payload.to], ['Hedy', 'Airport', 'Harbour'], 'with what was asked for');
  await page.getByRole('button', { name: 'Five at random' }).click();
  await page.waitForFunction(() => Number([...document.querySelectorAll('.ride-totals .figure')].find((one) => one.textContent.startsWith('rides'))?.querySelector('.figure-value').textContent) >= 6);
  ok(true, 'five more are counted');
  await close(page, 'ride');
  return { flowId, id: events[0].event_id };
}

// A second gateway's database has neither types nor workers: the page makes the types and works.
export async function rideAlone(browser, gateway) {
  const page = await open(browser, '#/ride', { gateway });
  await page.getByRole('button', { name: 'Make the six event types' }).click();
  await page.getByRole('button', { name: 'Make the six event types' }).waitFor({ state: 'detached' });
  await page.getByRole('button', { name: 'Request ride' }).click();
  await page.getByRole('button', { name: 'Work in this page' }).click();
  await sees(page.locator('.ride-clock', { hasText: /completed in|ended after/ }), 'without workers the page takes the ride to its end itself');
  await close(page, 'ride without workers');
}
