// A browser, pages in it, and what is noted about them: "ok NAME" or "not ok NAME" with "# WHY" below it.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const require = createRequire(`${process.env.UI_PACKAGES}/`);
const { chromium } = require('playwright-core');
const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
const ARGUMENTS = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];

export const url = process.env.UI_URL;
export const LONGEST = 60000;

export function ok(condition, name, why = '') {
  console.log(`${condition ? '' : 'not '}ok ${name}`);
  if (!condition) console.log(`# ${String(why).replaceAll('\n', ' ')}`);
}

export const is = (has, wanted, name) => ok(JSON.stringify(has) === JSON.stringify(wanted), name, `${JSON.stringify(has)} is not ${JSON.stringify(wanted)}`);

// Is it seen, sooner or later?
export async function sees(locator, name, state = 'visible') {
  try {
    await locator.first().waitFor({ state, timeout: LONGEST });
    ok(true, name);
  } catch (error) {
    ok(false, name, error.message);
  }
}

export const gone = (locator, name) => sees(locator, name, 'detached');

export async function until(condition, what) {
  const end = Date.now() + LONGEST;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > end) throw new Error(`waited too long for ${what}`);
    await new Promise(setImmediate);
  }
}

export const launch = () => chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ARGUMENTS });

// A page that notes what goes wrong in it. expected: of what the console may complain.
export async function open(browser, address = '#/', { expected = /^$/, gateway = url, ...options } = {}) {
  const context = await browser.newContext({ viewport: { width: 1360, height: 900 }, locale: 'en-GB', ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(LONGEST);
  page.faults = [];
  page.on('pageerror', (error) => page.faults.push(String(error)));
  page.on('console', (message) => message.type() === 'error' && !expected.test(message.text()) && page.faults.push(message.text()));
  await page.goto(`${gateway}/${address}`);
  await page.locator('h1').waitFor();
  return page;
}

export async function close(page, name) {
  is(page.faults, [], `${name}: no error in the console`);
  await page.context().close();
}

export async function isAccessible(page, name) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }));
  is(violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html, failureSummary }) => `${html.slice(0, 200)} ${failureSummary}`).join(' | ')}`), [], `${name}: axe finds nothing`);
}

export const shoot = (page, name) => page.screenshot({ path: `${process.env.UI_SCREENSHOTS}/${name}.png` });

// The API, without the page.
export async function api(method, path, body) {
  const response = await fetch(url + path, { method, headers: { 'Content-Type': 'application/json' }, body: body && JSON.stringify(body) });
  const answer = await response.json();
  if (!response.ok) throw new Error(`${method} ${path}: ${JSON.stringify(answer)}`);
  return answer;
}

export const publish = async (event) => (await api('POST', '/api/events', event)).event_id;
export const stateOf = async (id) => (await api('GET', `/api/events/${id}`)).status;
