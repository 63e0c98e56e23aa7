// Many tabs of one browser, with nginx and its default buffers in front: node nginx.mjs PATH_OF_THE_QUICKSTART
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { app, choose, decide, issuer, picture, signedIn, signIn, text, useProxy, visit } from './chromium.mjs';

const folder = mkdtempSync(join(tmpdir(), 'nginx-'));
process.on('exit', () => rmSync(folder, { recursive: true }));

// Everything that is not set here has its default.
useProxy((address, application) => {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'scgi', 'uwsgi'];
  writeFileSync(join(folder, 'nginx.conf'), `
    daemon off; master_process off; pid nginx.pid; error_log stderr crit;
    events {}
    http {
      access_log off;
      ${temporary.map((name) => `${name}_temp_path ${name};`).join(' ')}
      server {
        listen ${address};
        location / { proxy_pass http://${application}; proxy_set_header Host $http_host; }
      }
    }`);
  return spawn('/usr/sbin/nginx', ['-p', folder, '-c', 'nginx.conf', '-e', 'stderr'], { stdio: ['ignore', 'ignore', 'inherit'] });
});

const tabs = 45;

// The bytes of the cookies that a browser sends to the application.
const cookieBytes = async (context) => {
  const cookies = await context.cookies(app);
  return cookies.reduce((sum, { name, value }) => sum + name.length + value.length + 3, 0);
};

// Opens pages that require a session in many tabs at once, as a browser does that restores its tabs.
const openTabs = async (first) => {
  const pages = [first];
  while (pages.length < tabs) pages.push(await first.context().newPage());
  await Promise.all(pages.map((page, number) => page.goto(`${app}/account?tab=${number}`, { timeout: 30_000 })));
  await Promise.all(pages.map((page) => choose(page)));
  for (const page of pages) assert(page.url().startsWith(issuer), `${page.url()}: ${await text(page)}`);
  return pages;
};

visit(`${tabs} tabs at once leave small cookies, and every path responds`, {}, async (first) => {
  await openTabs(first);
  const bytes = await cookieBytes(first.context());
  assert(bytes < 2048, `${bytes} bytes of cookies`);
  for (const path of ['/', '/account', '/flow', '/api/notes', '/auth/session', '/auth/login']) {
    const response = await first.context().request.get(app + path, { maxRedirects: 0 });
    assert(![400, 431, 502].includes(response.status()), `${path}: ${response.status()}`);
  }
});

visit(`of ${tabs} tabs the one in front signs in after at most one click`, {}, async (first) => {
  const pages = await openTabs(first);
  const front = pages.at(-1);
  await front.bringToFront();
  await signIn(front, 'alice', 'wonderland');
  await decide(front, 'allow');
  await front.waitForURL((url) => url.href.startsWith(app));
  if (!front.url().includes('/account')) {
    await picture(front, '1-started-again');
    await front.locator('a[href*="/auth/login"]').first().click();
    await choose(front);
    await front.waitForURL((url) => url.href.startsWith(app));
  }
  assert.equal(front.url(), `${app}/account?tab=${tabs - 1}`);
  assert.match(await text(front), /alice/i);
  // The other tabs have a session now: a reload of their page needs no password.
  const other = pages[3];
  await other.goto(`${app}/account?tab=3`);
  assert.match(await text(other), /alice/i);
});

visit('sign in, call the API and sign out behind nginx', {}, async (page) => {
  await signedIn(page, 'alice', 'wonderland');
  await page.getByRole('button', { name: 'Read my notes' }).click();
  assert.match(await page.locator('#response').innerText(), /GET \/api\/notes → 200/);
  await page.goto(app);
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.waitForURL((url) => url.href.startsWith(app));
  assert.match(await text(page), /Hello, stranger/);
});
