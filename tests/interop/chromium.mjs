// An example of this repository in Chromium: node SCRIPT PATH_OF_THE_EXAMPLE …
//
// Each test starts a new process without sign-ins and consents. Screenshots are saved in screenshots/SCRIPT/
// beside this file.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { basename } from 'node:path';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { chromium } from 'playwright-core';

// The origins of the example, of its authorization server, and of another one if the example has two.
export let app, issuer, partner;

const screenshots = new URL(`screenshots/${basename(process.argv[1], '.mjs')}/`, import.meta.url).pathname;
const desktop = { width: 1280, height: 800 };
export const phone = { width: 390, height: 844 };

let example, browser, proxy, startProxy;

// Puts a proxy in front of the application: `start` gets the public address and that of the application.
export const useProxy = (start) => { startProxy = start; };

const freeAddress = () =>
  new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(`127.0.0.1:${port}`));
    });
  });

const responds = async (url) => {
  const until = Date.now() + 15_000;
  while (Date.now() < until) {
    assert.equal(example.exitCode, null, 'the example ended');
    if (await fetch(url).then((response) => response.ok, () => false)) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  assert.fail(`no response from ${url}`);
};

before(async () => {
  rmSync(screenshots, { recursive: true, force: true });
  mkdirSync(screenshots, { recursive: true });
  process.on('exit', () => { for (const child of [example, proxy]) child?.kill('SIGKILL'); });
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

beforeEach(async () => {
  const [ISSUER_ADDR, PARTNER_ADDR] = [await freeAddress(), await freeAddress()];
  const [APP_ADDR, API_ADDR] = [await freeAddress(), await freeAddress()];
  const address = startProxy ? await freeAddress() : APP_ADDR;
  proxy = startProxy?.(address, APP_ADDR);
  [issuer, partner, app] = [`http://${ISSUER_ADDR}`, `http://${PARTNER_ADDR}`, `http://${address}`];
  example = spawn(process.argv[2], {
    env: { ...process.env, ISSUER_ADDR, PARTNER_ADDR, APP_ADDR, API_ADDR, APP_URL: app },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  await responds(app);
  await responds(`${issuer}/.well-known/openid-configuration`);
});

afterEach(() => {
  for (const child of [example, proxy]) child?.kill('SIGKILL');
});

// Runs steps in a new browser context. Errors in the browser's console fail the test.
export const visit = (name, options, steps) =>
  test(name, { timeout: 60_000 }, async () => {
    const context = await browser.newContext({ viewport: desktop, ...options });
    context.setDefaultTimeout(5_000);
    const page = await context.newPage();
    const errors = [];
    page.on('pageerror', (error) => errors.push(String(error)));
    page.on('console', (message) => {
      if (message.type() === 'error') errors.push(`${message.text()} (${message.location().url})`);
    });
    try {
      await steps(page);
      const expected = /status of 4(0[0-3]|22)/; // rejected on purpose
      assert.deepEqual(errors.filter((message) => !expected.test(message)), []);
    } catch (error) {
      const file = `FAILED-${name.replaceAll(/\W+/g, '-')}.png`;
      await page.screenshot({ path: screenshots + file, fullPage: true }).catch(() => {});
      throw error;
    } finally {
      await context.close();
    }
  });

export const text = (page) => page.locator('body').innerText();

// The background color, or the text color if no background is set; both depend on the color scheme.
const background = (page) =>
  page.evaluate(() => {
    const styles = [document.body, document.documentElement].map((element) => getComputedStyle(element));
    const set = styles.map((style) => style.backgroundColor).find((colour) => colour !== 'rgba(0, 0, 0, 0)');
    return set ?? styles[0].color;
  });

// Saves screenshots in light and dark, wide and narrow, and checks the width and the dark mode.
export const picture = async (page, name) => {
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

// Chooses a provider where the example has several. Without a session there, its sign-in page is next.
export const choose = async (page, provider = 'Notes ID') => {
  const choice = page.getByRole('link', { name: `Sign in with ${provider}` });
  if (!page.url().startsWith(app) || (await choice.count()) === 0) return;
  const chooser = page.url();
  await choice.click();
  await page.waitForURL((url) => url.href !== chooser);
};

export const signIn = async (page, username, password) => {
  await choose(page);
  const isServer = [issuer, partner].some((origin) => page.url().startsWith(origin));
  assert(isServer, `the sign-in page is the authorization server's: ${page.url()}`);
  await page.fill('input[name=username]', username);
  await page.fill('input[name=password]', password);
  await page.click('button[type=submit], button:not([type])');
};

export const decide = (page, decision) => page.click(`button[name=decision][value=${decision}]`);

export const signedIn = async (page, username, password) => {
  await page.goto(`${app}/account`);
  await signIn(page, username, password);
  await decide(page, 'allow');
  await page.waitForURL(`${app}/account`);
};
