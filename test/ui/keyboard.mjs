// Keys, themes and the read-only mode.
import { close, is, ok, open, sees, until } from './browser.mjs';

const hash = (page) => page.evaluate(() => location.hash);

async function keys(browser) {
  const page = await open(browser);
  for (const [typed, wanted] of [['e', '#/events'], ['f', '#/flows'], ['d', '#/'], ['gt', '#/event-types'], ['gx', '#/errors'], ['gs', '#/schedules'], ['gr', '#/ride'], ['gd', '#/']]) {
    for (const key of typed) await page.keyboard.press(key);
    await until(async () => await hash(page) === wanted, `key ${typed}`);
    is(await hash(page), wanted, `key ${typed}`);
  }
  await page.keyboard.press('/');
  await page.waitForFunction(() => document.activeElement?.id === 'search');
  await page.keyboard.type('red');
  ok(await page.getByRole('searchbox').inputValue() === 'red', 'key / leads to the search, where keys are letters');
  await page.keyboard.press('Escape');
  await page.locator('main').focus();
  const read = page.waitForResponse((response) => response.url().includes('/api/events'));
  await page.keyboard.press('r');
  ok(await read, 'key r reads again');
  await page.keyboard.press('?');
  await sees(page.getByRole('dialog', { name: 'Keys' }), 'key ? shows the keys');
  await page.keyboard.press('Escape');
  await page.getByRole('dialog').waitFor({ state: 'detached' });
  ok(true, '... and Escape hides them');

  const theme = () => page.evaluate(() => [document.documentElement.dataset.theme ?? 'system', getComputedStyle(document.documentElement).backgroundColor]);
  const seen = [await theme()];
  for (let n = 0; n < 3; n++) {
    await page.keyboard.press('t');
    seen.push(await theme());
  }
  is(seen.map(([name]) => name), ['system', 'light', 'dark', 'system'], 'key t goes through the themes');
  ok(seen[1][1] !== seen[2][1], '... and they differ');
  await page.keyboard.press('t');
  await page.keyboard.press('t');
  await page.reload();
  is((await theme())[0], 'dark', 'the theme is remembered');

  // Everything is reached by Tab, and seen to be.
  await page.locator('body').focus();
  await page.keyboard.press('Tab');
  is(await page.evaluate(() => document.activeElement.textContent), 'Skip to the content', 'Tab begins with the way to the content');
  const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
  is(outline, 'solid', '... and what has the focus is seen');
  await page.keyboard.press('Enter');
  is(await page.evaluate(() => document.activeElement.id), 'main', '... which leads there');
  await close(page, 'keys');
}

async function readOnly(browser) {
  const page = await open(browser);
  await page.getByLabel('Read-only').check();
  const publish = page.getByRole('button', { name: 'Publish', exact: true });
  await publish.waitFor();
  ok(await publish.isDisabled(), 'in read-only mode nothing is published');
  await page.getByRole('link', { name: 'Event types' }).click();
  await page.locator('tbody tr').first().waitFor();
  ok(await page.locator('tbody').getByRole('button', { name: 'Suspend' }).first().isDisabled(), '... nor suspended');
  await page.reload();
  ok(await page.getByLabel('Read-only').isChecked(), '... and that is remembered');
  await close(page, 'read-only');
}

export async function keyboard(browser) {
  await keys(browser);
  await readOnly(browser);
}
