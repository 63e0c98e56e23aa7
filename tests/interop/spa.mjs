// The single-page application and its relay in Chromium: node spa.mjs PATH_OF_THE_EXAMPLE
import assert from 'node:assert/strict';
import { app, decide, issuer, picture, signIn, text, visit } from './chromium.mjs';

// Text as long as a token, or with the prefix of a JWT.
const TOKEN = /[\w-]{40,}|\beyJ[\w-]+/;

// Collects what a script can read: headers (without cookies) and body of each response.
const listen = (page) => {
  const read = [];
  const collect = (response) => {
    if (!response.url().startsWith(app) || response.status() === 303) return;
    read.push(
      Promise.all([response.text(), response.headersArray()]).then(([body, headers]) => {
        const visible = headers.filter(({ name }) => name.toLowerCase() !== 'set-cookie');
        return { url: response.url(), text: JSON.stringify(visible) + body };
      }),
    );
  };
  page.on('response', collect);
  return () => {
    page.off('response', collect);
    return Promise.all(read);
  };
};

const enter = async (page) => {
  await page.goto(app);
  await page.getByRole('link', { name: 'Sign in' }).click();
  await signIn(page, 'alice', 'wonderland');
  await decide(page, 'allow');
  await page.waitForURL(`${app}/`);
  await page.getByText('Buy milk', { exact: true }).waitFor();
};

const status = (page, path, options) =>
  page.evaluate(([path, options]) => fetch(path, options).then((response) => response.status), [path, options]);

visit('sign in, read and add a note through the relay, sign out', {}, async (page) => {
  await page.goto(app);
  await picture(page, '1-stranger');
  await enter(page);
  await picture(page, '2-notes');
  const collected = listen(page);
  await page.reload({ waitUntil: 'networkidle' });
  await page.fill('#note', 'Call Bob');
  await page.getByRole('button', { name: 'Add' }).click();
  await page.getByRole('listitem').filter({ hasText: 'Call Bob' }).waitFor();

  const visible = await page.evaluate(async () => ({
    cookie: document.cookie,
    local: { ...localStorage },
    session: { ...sessionStorage },
    databases: await indexedDB.databases(),
    caches: await caches.keys(),
    name: window.name,
    page: document.documentElement.outerHTML,
  }));
  assert.equal(visible.cookie, '');
  assert.deepEqual([visible.local, visible.session, visible.databases, visible.caches], [{}, {}, [], []]);
  assert.doesNotMatch(JSON.stringify(visible), TOKEN);
  const responses = await collected();
  for (const path of ['/', '/app.js', '/auth/session', '/api/notes']) {
    assert(responses.some(({ url }) => url === `${app}${path}`), `${path} was checked`);
  }
  for (const { url, text } of responses) assert.doesNotMatch(text, TOKEN, url);
  const cookies = await page.context().cookies(app);
  const ours = cookies.filter(({ name }) => name.startsWith('notes-spa'));
  assert(ours.length > 0);
  for (const { name, httpOnly } of ours) assert(httpOnly, name);

  await page.getByRole('link', { name: 'Sign out' }).click();
  await page.waitForURL((url) => url.href.startsWith(app));
  assert.match(await text(page), /Hello, stranger/);
  assert.equal(await status(page, '/api/notes', { headers: { 'X-CSRF': '1' } }), 401);
});

visit('the relay requires the header that other sites cannot send', {}, async (page) => {
  await enter(page);
  assert.equal(await status(page, '/api/notes', { headers: { 'X-CSRF': '1' } }), 200);
  assert.equal(await status(page, '/api/notes', { method: 'POST', body: 'by hand' }), 403);
  assert.equal(await status(page, '/api/notes', {}), 403);
  // From another origin the header causes a preflight, which is rejected.
  const elsewhere = await page.context().newPage();
  await elsewhere.goto(`${issuer}/.well-known/openid-configuration`);
  const foreign = await elsewhere.evaluate(
    (url) => fetch(url, { headers: { 'X-CSRF': '1' }, credentials: 'include' }).then(() => 'read', () => 'blocked'),
    `${app}/api/notes`,
  );
  assert.equal(foreign, 'blocked');
});

visit('sign-out in one tab ends the session in the other at its next request', {}, async (first) => {
  await enter(first);
  const second = await first.context().newPage();
  await second.goto(app);
  await second.getByText('Buy milk', { exact: true }).waitFor();
  await first.getByRole('link', { name: 'Sign out' }).click();
  await first.waitForURL((url) => url.href.startsWith(app));
  await second.fill('#note', 'Too late');
  await second.getByRole('button', { name: 'Add' }).click();
  await second.getByText('Hello, stranger').waitFor();
  assert.doesNotMatch(await text(second), /Buy milk/);
  await picture(second, '3-signed-out-in-the-other-tab');
});
