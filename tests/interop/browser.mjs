// The quickstart in Chromium, as a person uses it: node browser.mjs PATH_OF_THE_QUICKSTART PATH_OF_THE_README
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { promisify } from 'node:util';
import { chromium } from 'playwright-core';

const screenshots = new URL('screenshots/', import.meta.url).pathname;
const desktop = { width: 1280, height: 800 };
const phone = { width: 390, height: 844 };

let app, issuer, quickstart, browser;

const freeAddress = () =>
  new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(`127.0.0.1:${port}`));
    });
  });

const answers = async (url) => {
  const until = Date.now() + 15_000;
  while (Date.now() < until) {
    assert.equal(quickstart.exitCode, null, 'the quickstart ended');
    if (await fetch(url).then((answer) => answer.ok, () => false)) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  assert.fail(`no answer from ${url}`);
};

before(async () => {
  rmSync(screenshots, { recursive: true, force: true });
  mkdirSync(screenshots, { recursive: true });
  process.on('exit', () => quickstart?.kill('SIGKILL'));
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));
  browser = await chromium.launch({
    executablePath: '/usr/bin/chromium',
    chromiumSandbox: false,
    args: [
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
});

after(() => browser?.close());

// A quickstart for each test: nobody has signed in or agreed to anything yet.
beforeEach(async () => {
  const [ISSUER_ADDR, APP_ADDR] = [await freeAddress(), await freeAddress()];
  [issuer, app] = [`http://${ISSUER_ADDR}`, `http://${APP_ADDR}`];
  quickstart = spawn(process.argv[2], {
    env: { ...process.env, ISSUER_ADDR, APP_ADDR },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  await answers(app);
  await answers(`${issuer}/.well-known/openid-configuration`);
});

afterEach(() => quickstart.kill('SIGKILL'));

// A person with a browser of their own. What the browser complains about fails the test.
const visit = (name, options, steps) =>
  test(name, { timeout: 60_000 }, async () => {
    const context = await browser.newContext({ viewport: desktop, ...options });
    context.setDefaultTimeout(5_000);
    const page = await context.newPage();
    const complaints = [];
    page.on('pageerror', (error) => complaints.push(String(error)));
    page.on('console', (message) => {
      if (message.type() === 'error') complaints.push(`${message.text()} (${message.location().url})`);
    });
    try {
      await steps(page);
      const refusals = /status of 4(0[0-3]|22)/; // what is refused on purpose
      assert.deepEqual(complaints.filter((complaint) => !refusals.test(complaint)), []);
    } catch (error) {
      const file = `FAILED-${name.replaceAll(/\W+/g, '-')}.png`;
      await page.screenshot({ path: screenshots + file, fullPage: true }).catch(() => {});
      throw error;
    } finally {
      await context.close();
    }
  });

const text = (page) => page.locator('body').innerText();

const background = (page) =>
  page.evaluate(() => {
    const colours = [document.body, document.documentElement].map((one) => getComputedStyle(one).backgroundColor);
    return colours.find((colour) => colour !== 'rgba(0, 0, 0, 0)') ?? 'none';
  });

// Light and dark, wide and narrow: each is a picture to look at, and what a machine can tell is checked.
const picture = async (page, name) => {
  const colours = {};
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme });
    for (const [size, viewport] of Object.entries({ desktop, phone })) {
      await page.setViewportSize(viewport);
      const width = await page.evaluate(() => document.documentElement.scrollWidth);
      assert(width <= viewport.width, `${name} is ${width} wide at ${viewport.width}`);
      await page.screenshot({ path: `${screenshots}${name}-${colorScheme}-${size}.png`, fullPage: true });
    }
    colours[colorScheme] = await background(page);
  }
  assert.notEqual(colours.dark, colours.light, `${name} has no dark mode`);
  await page.emulateMedia({ colorScheme: 'light' });
  await page.setViewportSize(desktop);
};

const signIn = async (page, username, password) => {
  assert(page.url().startsWith(issuer), `the sign-in page is the authorization server's: ${page.url()}`);
  await page.fill('input[name=username]', username);
  await page.fill('input[name=password]', password);
  await page.click('button[type=submit], button:not([type])');
};

const decide = (page, decision) => page.click(`button[name=decision][value=${decision}]`);

const signedIn = async (page, username, password) => {
  await page.goto(`${app}/account`);
  await signIn(page, username, password);
  await decide(page, 'allow');
  await page.waitForURL(`${app}/account`);
};

visit('sign in, consent, account, flow, API call, refused scope, sign out', {}, async (page) => {
  await page.goto(app);
  await picture(page, '01-home');
  await page.goto(`${app}/account`);
  await picture(page, '02-sign-in');
  await signIn(page, 'alice', 'wrong');
  assert(page.url().startsWith(issuer), 'a wrong password leads nowhere');
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

  const answer = page.locator('#answer');
  await page.getByRole('button', { name: 'Read my notes' }).click();
  assert.match(await answer.innerText(), /GET \/api\/notes → 200/);
  assert.match(await answer.innerText(), /Buy milk/);
  await picture(page, '06-api-allowed');
  await page.getByRole('button', { name: 'Add a note' }).click();
  assert.match(await answer.innerText(), /POST \/api\/notes → 403/);
  assert.match(await answer.innerText(), /error="insufficient_scope".*scope="notes:write"/);
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
  assert(page.url().startsWith(issuer), 'signed out: the account page asks to sign in again');
  assert.equal(await page.locator('input[name=password]').count(), 1, 'and so does the authorization server');
});

visit('deny at consent: the application explains it, and offers to try again', {}, async (page) => {
  await page.goto(`${app}/account`);
  await signIn(page, 'bob', 'builder');
  await decide(page, 'deny');
  await page.waitForURL((url) => url.href.startsWith(app));
  assert.match(await text(page), /access_denied|denied|declined/i);
  await picture(page, '11-denied');
  await page.locator('a[href*="/auth/login"]').first().click();
  await decide(page, 'allow');
  await page.waitForURL((url) => url.href.startsWith(app));
  await page.goto(app);
  assert.match(await text(page), /bob/i);
});

visit('sign in with JavaScript switched off, and out again', { javaScriptEnabled: false }, async (page) => {
  await signedIn(page, 'bob', 'builder');
  assert.match(await text(page), /bob/i);
  await page.goto(app);
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.waitForURL((url) => url.href.startsWith(app));
  assert.match(await text(page), /Hello, stranger/);
});

visit('a callback nobody began is explained, and leads nowhere by itself', {}, async (page) => {
  await page.goto(`${app}/auth/callback?code=abc&state=def&iss=${encodeURIComponent(issuer)}`);
  assert(page.url().startsWith(`${app}/auth/callback`));
  await picture(page, '12-unknown-callback');
  await page.locator('a[href*="/auth/login"]').first().click();
  assert(page.url().startsWith(issuer), page.url());
});

visit('the address of the logout route asks before it signs out', {}, async (page) => {
  await signedIn(page, 'alice', 'wonderland');
  await page.goto(`${app}/auth/logout`);
  await picture(page, '13-sign-out');
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.waitForURL((url) => url.href.startsWith(app));
  await page.goto(app);
  assert.match(await text(page), /Hello, stranger/);
});

visit('the authorization server redirects no one for a client it does not know', {}, async (page) => {
  await page.goto(`${issuer}/authorize?response_type=code&client_id=nobody&redirect_uri=https://evil.example`);
  assert(page.url().startsWith(issuer), page.url());
  await picture(page, '14-unknown-client');
});

visit('a person at phone width signs in with the keyboard alone', { viewport: phone }, async (page) => {
  await page.goto(`${app}/account`);
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

visit('the session cookie is out of reach of scripts', {}, async (page) => {
  await signedIn(page, 'alice', 'wonderland');
  const cookies = await page.context().cookies(app);
  assert(cookies.length > 0);
  for (const cookie of cookies) assert(cookie.httpOnly, `${cookie.name} is HttpOnly`);
  assert.equal(await page.evaluate(() => document.cookie), '');
});

test("the README's curl lines work as pasted", { timeout: 30_000 }, async () => {
  const readme = readFileSync(process.argv[3], 'utf8');
  const lines = [...readme.matchAll(/^```sh\n(.*?)^```$/gms)].map(([, block]) => block).find((block) => block.includes('curl'));
  const script = lines.replaceAll('http://127.0.0.1:3000', app).replaceAll('http://127.0.0.1:9000', issuer);
  const { stdout } = await promisify(execFile)('bash', ['-euo', 'pipefail', '-c', script]);
  assert.match(stdout, /^HTTP\/1.1 401 /);
  assert.match(stdout, /www-authenticate: Bearer realm="notes"/i);
  assert.match(stdout, /"notes":\["Buy milk"/);
});
