// The live stream and what stands in for it.
import { api, close, ok, open, publish, sees } from './browser.mjs';

const later = { event_type: 'BY_HAND', run_at: '2999-01-01T00:00:00Z' };

async function showsChange(page, how) {
  const flow_id = `live-${how}`;
  const id = await publish({ ...later, flow_id });
  await page.evaluate((hash) => { location.hash = hash; }, `#/events/${id}`);
  await page.locator('.event-head', { hasText: 'awaiting' }).waitFor();
  await api('POST', `/api/events/${id}/cancel`);
  await sees(page.locator('.event-head', { hasText: 'canceled' }), `${how}: a change is seen`);
}

export async function live(browser) {
  const page = await open(browser, '#/', { expected: /ERR_|WebSocket/ });
  await sees(page.locator('[data-live="sse"]'), 'live by server-sent events');
  await showsChange(page, 'server-sent events');

  const hide = (hidden) => page.evaluate((value) => {
    Object.defineProperty(document, 'hidden', { value, configurable: true });
    document.dispatchEvent(new Event('visibilitychange'));
  }, hidden);
  const ended = page.waitForEvent('requestfailed', (request) => request.url().endsWith('/api/stream'));
  await hide(true);
  await sees(page.locator('[data-live="paused"]'), 'paused while it is hidden');
  ok(await ended, '... and the stream is closed');
  await hide(false);
  await sees(page.locator('[data-live="sse"]'), 'live again when it is seen');

  await page.route('**/api/stream', (route) => route.abort());
  await hide(true);
  await hide(false);
  await sees(page.locator('[data-live="websocket"]'), 'live by WebSocket where there are no server-sent events');
  await showsChange(page, 'WebSocket');

  await page.routeWebSocket('**/ws', (socket) => socket.close());
  await hide(true);
  await hide(false);
  await sees(page.locator('[data-live="polling"]'), 'polling where there is no stream');
  await showsChange(page, 'polling');
  await close(page, 'live');
}
