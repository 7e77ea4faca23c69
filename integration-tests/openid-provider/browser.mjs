// Does what a person does at the provider's pages: types a name, consents, and for a device types its code.
//
//   node browser.mjs CHROMIUM CERTIFICATE NAME URL [CODE]
//
// CERTIFICATE is the one that the provider shows: its key is trusted in addition to what the machine trusts, and no other.
// Prints the text of the page that the person is left with.
import { X509Certificate, createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { chromium } from 'playwright-core';

const [executablePath, certificate, name, url, code] = process.argv.slice(2);
const key = new X509Certificate(readFileSync(certificate)).publicKey.export({ type: 'spki', format: 'der' });
const trusted = createHash('sha256').update(key).digest('base64');

const browser = await chromium.launch({
  executablePath,
  // The tests run as root, in a machine that is made for them.
  chromiumSandbox: false,
  args: [`--ignore-certificate-errors-spki-list=${trusted}`],
});
try {
  const context = await browser.newContext();
  context.setDefaultTimeout(20_000);
  const page = await context.newPage();
  await page.goto(url);
  if (code !== undefined) {
    const field = page.locator('input[name=user_code]');
    if (await field.isVisible()) {
      await field.fill(code);
      await page.locator('button[type=submit]').first().click();
    }
    await page.getByRole('button', { name: 'Continue' }).click();
  }
  await page.locator('input[name=login]').fill(name);
  await page.locator('input[name=password]').fill('any');
  await page.locator('button[type=submit]').click();
  await page.getByRole('button', { name: 'Continue' }).click();
  await page.waitForFunction(() => !document.querySelector('form'));
  console.log(await page.locator('body').innerText());
} finally {
  await browser.close();
}
