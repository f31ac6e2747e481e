// A gateway that wants tokens.
import { close, ok, open, sees } from './browser.mjs';

export async function token(browser, gateway) {
  const page = await open(browser, '#/', { gateway, expected: /401|403|WebSocket/ });
  const dialog = page.getByRole('dialog', { name: 'Sign in' });
  await sees(dialog, 'a gateway that wants a token is given one');
  await dialog.getByLabel('Token').fill(process.env.UI_TOKEN);
  await dialog.getByRole('button', { name: 'Sign in' }).click();
  await sees(page.locator('[data-live="sse"]'), '... and then streams');
  await sees(page.locator('.node-count', { hasText: /\d/ }), '... and answers');
  await page.getByRole('link', { name: 'Events', exact: true }).click();
  await sees(page.getByRole('heading', { level: 1, name: 'Events' }), 'the page of events opens');
  await sees(page.getByRole('alert').filter({ hasText: '42501' }), '... and tells what the role may not see, with its SQLSTATE');
  await close(page, 'token');
}
