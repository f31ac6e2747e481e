// Every screen, in both themes and at phone width: it comes, axe finds nothing, and a picture is kept.
import { close, is, isAccessible, open, shoot } from './browser.mjs';

const LOOKS = {
  light: { colorScheme: 'light' },
  dark: { colorScheme: 'dark' },
  phone: { colorScheme: 'light', viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true },
};

export async function screens(browser, { id, flowId, ride }) {
  const list = {
    dashboard: ['#/', '.node'],
    flows: ['#/flows', '.flow'],
    flow: ['#/flows/FLOW_B', '.form-fields'],
    case: [`#/flows?flow_id=${flowId}`, '.branch'],
    events: ['#/events', 'tbody tr'],
    event: [`#/events/${id}`, '.timeline li'],
    'event-types': ['#/event-types/PAYMENT_PROCESSED', '.preview'],
    errors: ['#/errors', '.disclosure'],
    schedules: ['#/schedules', '.panel tbody tr'],
    ride: [`#/ride?ride=${ride}`, '.chain'],
  };
  for (const [look, options] of Object.entries(LOOKS)) {
    const page = await open(browser, '#/', { reducedMotion: 'reduce', ...options });
    for (const [name, [address, sign]] of Object.entries(list)) {
      await page.evaluate((hash) => { location.hash = hash; }, address);
      await page.locator(`main ${sign}`).first().waitFor();
      await isAccessible(page, `${name}, ${look}`);
      is(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), true, `${name}, ${look}: fits the width`);
      await shoot(page, `${name}-${look}`);
    }
    await close(page, look);
  }
}
