// All tests of the web UI, in one browser. The environment says where: UI_URL (with workers for rides), UI_ALONE_URL
// (without), UI_TOKEN_URL with UI_TOKEN; UI_PACKAGES has playwright-core and axe-core, UI_SCREENSHOTS takes pictures.
import { launch, ok } from './browser.mjs';
import { dashboard } from './dashboard.mjs';
import { eventTypes } from './event-types.mjs';
import { events } from './events.mjs';
import { flows } from './flows.mjs';
import { keyboard } from './keyboard.mjs';
import { live } from './live.mjs';
import { ride, rideAlone } from './ride.mjs';
import { schedules } from './schedules.mjs';
import { screens } from './screens.mjs';
import { token } from './token.mjs';

const browser = await launch();
const only = process.argv.slice(2);

async function test(name, run) {
  if (only.length && !only.includes(name)) return undefined;
  const began = Date.now();
  try { return await run(); } catch (error) { ok(false, `${name} comes to its end`, error.stack); return undefined; } finally { console.log(`# ${name}: ${((Date.now() - began) / 1000).toFixed(1)} s`); }
}

await test('dashboard', () => dashboard(browser));
const seen = await test('ride', () => ride(browser));
await test('ride-alone', () => rideAlone(browser, process.env.UI_ALONE_URL));
await test('events', () => events(browser));
await test('event-types', () => eventTypes(browser));
await test('flows', () => flows(browser));
await test('schedules', () => schedules(browser));
await test('live', () => live(browser));
await test('keyboard', () => keyboard(browser));
await test('token', () => token(browser, process.env.UI_TOKEN_URL));
if (seen) await test('screens', () => screens(browser, { id: seen.id, flowId: seen.flowId, ride: seen.flowId }));
await browser.close();
console.log('done');
