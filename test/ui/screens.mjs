// Every screen, in both themes and at phone width: it comes, axe finds nothing, and a picture is kept. At no width
// does the page itself scroll sideways; a table that is wider scrolls in its own frame.
import { close, is, isAccessible, open, shoot } from './browser.mjs';

const LOOKS = {
  light: { colorScheme: 'light' },
  dark: { colorScheme: 'dark' },
  phone: { colorScheme: 'light', viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true },
};
// On both sides of each width at which the layout changes.
const WIDTHS = [320, 420, 421, 640, 641, 860, 861, 980, 981, 1100, 1360, 1920];

// By how much the page is wider than its window. innerWidth would not do: on a phone it grows with the page.
const excess = (page) => page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);

async function fits(page, name) {
  const { height } = page.viewportSize();
  const tooWide = [];
  for (const width of WIDTHS) {
    await page.setViewportSize({ width, height });
    const by = await excess(page);
    if (by > 0) tooWide.push(`${width} by ${by}`);
  }
  is(tooWide, [], `${name}: fits every width`);
}

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
      is(await excess(page), 0, `${name}, ${look}: fits the width`);
      await shoot(page, `${name}-${look}`);
    }
    await close(page, look);
  }

  const page = await open(browser);
  for (const [name, [address, sign]] of Object.entries(list)) {
    await page.setViewportSize({ width: 1360, height: 900 });
    await page.evaluate((hash) => { location.hash = hash; }, address);
    await page.locator(`main ${sign}`).first().waitFor();
    await fits(page, name);
  }
  await close(page, 'all widths');
}
