// A gateway that wants tokens.
import { close, is, isAccessible, open, sees } from './browser.mjs';

export async function token(browser, gateway) {
  const page = await open(browser, '#/', { gateway, expected: /401|403|WebSocket/ });
  const dialog = page.getByRole('dialog', { name: 'Sign in' });
  await sees(dialog, 'a gateway that wants a token is given one');
  await dialog.getByLabel('Token').fill(process.env.UI_TOKEN);
  await dialog.getByRole('button', { name: 'Sign in' }).click();
  await sees(page.locator('[data-live="sse"]'), '... and then streams');
  await sees(page.locator('.node-count', { hasText: /\d/ }), '... and answers');
  const isOff = async (name) => { const button = page.getByRole('button', { name, exact: true }).first(); return [await button.isDisabled(), await button.getAttribute('title')]; };
  const refused = [true, 'The role evq_monitor may not do this'];
  await sees(page.locator('button[title="The role evq_monitor may not do this"]', { hasText: 'Acquire next' }), 'a monitor cannot acquire, and is told why');
  is(await isOff('Publish five'), refused, '... nor publish');
  await page.getByRole('link', { name: 'Schedules', exact: true }).click();
  await page.getByRole('button', { name: 'Run now' }).first().waitFor();
  is([await isOff('Run now'), await isOff('Pause')], [refused, refused], '... nor run or pause a schedule');
  await page.getByRole('link', { name: 'Event types', exact: true }).click();
  await page.getByRole('button', { name: 'Suspend', exact: true }).first().waitFor();
  is(await isOff('Suspend'), refused, '... nor suspend a type');
  await page.getByRole('link', { name: 'New event type' }).first().click();
  await page.getByLabel('Name', { exact: true }).fill('MINE');
  await page.getByLabel('Flow', { exact: true }).fill('FLOW_HAND');
  is(await isOff('Make it'), refused, '... nor make one');
  await isAccessible(page, 'buttons that are off');
  await page.getByRole('link', { name: 'Events', exact: true }).click();
  await sees(page.getByRole('heading', { level: 1, name: 'Events' }), 'the page of events opens');
  await sees(page.getByRole('alert').filter({ hasText: '42501' }), '... and tells what the role may not see, with its SQLSTATE');
  await close(page, 'token');
}
