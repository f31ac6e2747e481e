// Schedules: what they show, run now, pause.
import { api, close, is, open, sees, stateOf } from './browser.mjs';

export async function schedules(browser) {
  const page = await open(browser, '#/schedules');
  const row = page.getByRole('row', { name: /^yearly/ });
  await sees(row.getByText('@yearly'), 'a schedule with its times');
  await sees(row.getByText('one event for all'), '... what becomes of missed ones');
  await sees(row.locator('time', { hasText: /^in / }), '... and the next one');
  await sees(page.getByRole('row', { name: /^broken/ }).getByText('EQ001: unknown event type "GONE"'), 'what went wrong is told');

  await row.getByRole('button', { name: 'Run now' }).click();
  await sees(page.getByText('Published BY_HAND for yearly, besides its schedule.'), 'run now publishes');
  await sees(row.getByRole('link', { name: 'dispatched' }), '... and the row shows how that event is');
  const { last_event_id: id, published } = (await api('GET', '/api/schedules')).schedules.find(({ name }) => name === 'yearly');
  is(published, 1, '... once');
  await api('POST', `/api/events/${id}/cancel`, {});
  await sees(row.getByRole('link', { name: 'canceled' }), '... as it changes');
  is(await stateOf(id), 'CANCELED', '... in truth');

  await row.getByRole('button', { name: 'Pause' }).click();
  await sees(row.getByText('paused'), 'pause');
  is(await row.locator('time', { hasText: /^in / }).count(), 0, '... there is no next time');
  await row.getByRole('button', { name: 'Resume' }).click();
  await sees(row.locator('time', { hasText: /^in / }), 'resume');
  await close(page, 'schedules');
}
