// An example of this repository in Chromium: node SCRIPT PATH_OF_THE_EXAMPLE …
//
// Each test gets a process of its own: nobody has signed in or agreed to anything yet. Screenshots go to
// screenshots/SCRIPT/ beside this file.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { basename } from 'node:path';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { chromium } from 'playwright-core';

// The origins of the example and of the authorization server that it brings along.
export let app, issuer;

const screenshots = new URL(`screenshots/${basename(process.argv[1], '.mjs')}/`, import.meta.url).pathname;
const desktop = { width: 1280, height: 800 };
export const phone = { width: 390, height: 844 };

let example, browser;

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
    assert.equal(example.exitCode, null, 'the example ended');
    if (await fetch(url).then((answer) => answer.ok, () => false)) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  assert.fail(`no answer from ${url}`);
};

before(async () => {
  rmSync(screenshots, { recursive: true, force: true });
  mkdirSync(screenshots, { recursive: true });
  process.on('exit', () => example?.kill('SIGKILL'));
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
  const [ISSUER_ADDR, APP_ADDR, API_ADDR] = [await freeAddress(), await freeAddress(), await freeAddress()];
  [issuer, app] = [`http://${ISSUER_ADDR}`, `http://${APP_ADDR}`];
  example = spawn(process.argv[2], {
    env: { ...process.env, ISSUER_ADDR, APP_ADDR, API_ADDR },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  await answers(app);
  await answers(`${issuer}/.well-known/openid-configuration`);
});

afterEach(() => example.kill('SIGKILL'));

// A person with a browser of their own. What the browser complains about fails the test.
export const visit = (name, options, steps) =>
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

export const text = (page) => page.locator('body').innerText();

// The colour behind the text; where none is set, the text's own, which follows the scheme as well.
const background = (page) =>
  page.evaluate(() => {
    const styles = [document.body, document.documentElement].map((one) => getComputedStyle(one));
    const set = styles.map((style) => style.backgroundColor).find((colour) => colour !== 'rgba(0, 0, 0, 0)');
    return set ?? styles[0].color;
  });

// Light and dark, wide and narrow: each is a picture to look at, and what a machine can tell is checked.
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

export const signIn = async (page, username, password) => {
  assert(page.url().startsWith(issuer), `the sign-in page is the authorization server's: ${page.url()}`);
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
