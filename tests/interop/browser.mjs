// The quickstart in Chromium: node browser.mjs PATH_OF_THE_QUICKSTART PATH_OF_THE_README
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { app, choose, decide, issuer, partner, phone, picture, signedIn, signIn, text, visit } from './chromium.mjs';

visit('sign in, consent, account, flow, API call, refused scope, sign out', {}, async (page) => {
  await page.goto(app);
  await picture(page, '01-home');
  await page.goto(`${app}/account`);
  await picture(page, '02-choice');
  await choose(page);
  await picture(page, '02-sign-in');
  await signIn(page, 'alice', 'wrong');
  assert(page.url().startsWith(issuer), 'a wrong password shows the form again');
  await picture(page, '03-wrong-password');
  await signIn(page, 'alice', 'wonderland');
  await page.waitForSelector('button[name=decision]');
  assert.match(await text(page), /notes:read/);
  assert.doesNotMatch(await text(page), /notes:write/);
  await picture(page, '04-consent');
  await decide(page, 'allow');
  await page.waitForURL(`${app}/account`);
  assert.match(await text(page), /alice/i);
  await picture(page, '05-account');

  const response = page.locator('#response');
  await page.getByRole('button', { name: 'Read my notes' }).click();
  assert.match(await response.innerText(), /GET \/api\/notes → 200/);
  assert.match(await response.innerText(), /Buy milk/);
  await picture(page, '06-api-allowed');
  await page.getByRole('button', { name: 'Add a note' }).click();
  assert.match(await response.innerText(), /POST \/api\/notes → 403/);
  assert.match(await response.innerText(), /error="insufficient_scope".*scope="notes:write"/);
  await picture(page, '07-api-refused');

  await page.goto(`${app}/flow`);
  const flow = await text(page);
  const parameters = [
    'response_type', 'client_id', 'redirect_uri', 'scope', 'state', 'nonce', 'code_challenge', 'S256',
    'code', 'iss', 'grant_type', 'authorization_code', 'code_verifier', 'Bearer', 'notes:read',
  ];
  for (const parameter of parameters) assert(flow.includes(parameter), `the flow shows ${parameter}`);
  assert.doesNotMatch(await page.content(), /[\w-]{40,}/, 'secrets are shortened');
  await picture(page, '08-flow');
  await page.goto(app);
  assert.match(await text(page), /Hello, alice/);
  await picture(page, '09-home-signed-in');

  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.waitForURL((url) => url.href.startsWith(app));
  assert.match(await text(page), /Hello, stranger/);
  await picture(page, '10-signed-out');
  await page.goto(`${app}/account`);
  await choose(page);
  assert(page.url().startsWith(issuer), 'signed out: the account page requires a sign-in');
  assert.equal(await page.locator('input[name=password]').count(), 1, 'also at the authorization server');
});

visit('denied consent shows an error page with a link to sign in again', {}, async (page) => {
  await page.goto(`${app}/account`);
  await signIn(page, 'bob', 'builder');
  await decide(page, 'deny');
  await page.waitForURL((url) => url.href.startsWith(app));
  assert.match(await text(page), /access_denied|denied|declined/i);
  await picture(page, '11-denied');
  await page.locator('a[href*="/auth/login"]').first().click();
  await choose(page);
  await decide(page, 'allow');
  await page.waitForURL((url) => url.href.startsWith(app));
  await page.goto(app);
  assert.match(await text(page), /bob/i);
});

visit('users of another provider choose it, and sign out there', {}, async (page) => {
  await page.goto(`${app}/account`);
  await choose(page, 'Partner Inc.');
  assert(page.url().startsWith(partner), page.url());
  await signIn(page, 'carol', 'keys');
  await decide(page, 'allow');
  await page.waitForURL(`${app}/account`);
  assert.match(await text(page), /Carol/);
  await picture(page, '15-account-of-a-partner');
  await page.getByRole('button', { name: 'Read my notes' }).click();
  assert.match(await page.locator('#response').innerText(), /GET \/api\/notes → 200/);
  await page.goto(`${app}/flow`);
  assert.match(await text(page), /auth\/callback\/partner/);
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.waitForURL((url) => url.href.startsWith(app));
  assert.match(await text(page), /Hello, stranger/);
  await picture(page, '16-signed-out-of-a-partner');
  await page.goto(`${app}/account`);
  await choose(page, 'Partner Inc.');
  assert.equal(await page.locator('input[name=password]').count(), 1, 'also signed out at the provider');
});

visit('sign in with JavaScript switched off, and out again', { javaScriptEnabled: false }, async (page) => {
  await signedIn(page, 'bob', 'builder');
  assert.match(await text(page), /bob/i);
  await page.goto(app);
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.waitForURL((url) => url.href.startsWith(app));
  assert.match(await text(page), /Hello, stranger/);
});

visit('a callback without a login shows an error page', {}, async (page) => {
  await page.goto(`${app}/auth/callback?code=abc&state=def&iss=${encodeURIComponent(issuer)}`);
  assert(page.url().startsWith(`${app}/auth/callback`));
  await picture(page, '12-unknown-callback');
  await page.locator('a[href*="/auth/login"]').first().click();
  await choose(page);
  assert(page.url().startsWith(issuer), page.url());
});

visit('GET of the logout route asks for confirmation', {}, async (page) => {
  await signedIn(page, 'alice', 'wonderland');
  await page.goto(`${app}/auth/logout`);
  await picture(page, '13-sign-out');
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.waitForURL((url) => url.href.startsWith(app));
  await page.goto(app);
  assert.match(await text(page), /Hello, stranger/);
});

visit('the authorization server does not redirect for an unknown client', {}, async (page) => {
  await page.goto(`${issuer}/authorize?response_type=code&client_id=unknown&redirect_uri=https://evil.example`);
  assert(page.url().startsWith(issuer), page.url());
  await picture(page, '14-unknown-client');
});

visit('sign-in works at phone width and with the keyboard alone', { viewport: phone }, async (page) => {
  await page.goto(`${app}/account`);
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  await page.waitForURL((url) => url.href.startsWith(issuer));
  await page.focus('input[name=username]');
  await page.keyboard.type('alice');
  await page.keyboard.press('Tab');
  await page.keyboard.type('wonderland');
  await page.keyboard.press('Enter');
  await page.waitForSelector('button[name=decision]');
  await page.focus('button[name=decision][value=allow]');
  await page.keyboard.press('Enter');
  await page.waitForURL(`${app}/account`);
});

visit('scripts cannot read the session cookie', {}, async (page) => {
  await signedIn(page, 'alice', 'wonderland');
  const cookies = await page.context().cookies(app);
  assert(cookies.length > 0);
  for (const cookie of cookies) assert(cookie.httpOnly, `${cookie.name} is HttpOnly`);
  assert.equal(await page.evaluate(() => document.cookie), '');
});

test("the curl commands of the README work", { timeout: 30_000 }, async () => {
  const readme = readFileSync(process.argv[3], 'utf8');
  const lines = [...readme.matchAll(/^```sh\n(.*?)^```$/gms)].map(([, block]) => block).find((block) => block.includes('curl'));
  const script = lines.replaceAll('http://127.0.0.1:3000', app).replaceAll('http://127.0.0.1:9000', issuer);
  const { stdout } = await promisify(execFile)('bash', ['-euo', 'pipefail', '-c', script]);
  assert.match(stdout, /^HTTP\/1.1 401 /);
  assert.match(stdout, /www-authenticate: Bearer realm="notes"/i);
  assert.match(stdout, /"notes":\["Buy milk"/);
});
