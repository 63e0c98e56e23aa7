// A single-page application and its relay, in Chromium: node spa.mjs PATH_OF_THE_EXAMPLE
import assert from 'node:assert/strict';
import { app, decide, issuer, picture, signIn, text, visit } from './chromium.mjs';

// Words as long as a token, and everything that begins as a JWT does.
const TOKEN = /[\w-]{40,}|\beyJ[\w-]+/;

// What a script of the application can read: each answer's header fields, without the cookies, and its body.
const listen = (page) => {
  const read = [];
  const hear = (response) => {
    if (!response.url().startsWith(app) || response.status() === 303) return;
    read.push(
      Promise.all([response.text(), response.headersArray()]).then(([body, headers]) => {
        const visible = headers.filter(({ name }) => name.toLowerCase() !== 'set-cookie');
        return { url: response.url(), text: JSON.stringify(visible) + body };
      }),
    );
  };
  page.on('response', hear);
  return () => {
    page.off('response', hear);
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
  page.evaluate(([path, options]) => fetch(path, options).then((answer) => answer.status), [path, options]);

visit('sign in, read and add a note through the relay, sign out', {}, async (page) => {
  await page.goto(app);
  await picture(page, '1-stranger');
  await enter(page);
  await picture(page, '2-notes');
  const heard = listen(page);
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
  const answers = await heard();
  for (const path of ['/', '/app.js', '/auth/session', '/api/notes']) {
    assert(answers.some(({ url }) => url === `${app}${path}`), `${path} was looked at`);
  }
  for (const { url, text } of answers) assert.doesNotMatch(text, TOKEN, url);
  const cookies = await page.context().cookies(app);
  const ours = cookies.filter(({ name }) => name.startsWith('notes-spa'));
  assert(ours.length > 0);
  for (const { name, httpOnly } of ours) assert(httpOnly, name);

  await page.getByRole('link', { name: 'Sign out' }).click();
  await page.waitForURL((url) => url.href.startsWith(app));
  assert.match(await text(page), /Hello, stranger/);
  assert.equal(await status(page, '/api/notes', { headers: { 'X-CSRF': '1' } }), 401);
});

visit('the relay wants the header that no other site can send', {}, async (page) => {
  await enter(page);
  assert.equal(await status(page, '/api/notes', { headers: { 'X-CSRF': '1' } }), 200);
  assert.equal(await status(page, '/api/notes', { method: 'POST', body: 'by hand' }), 403);
  assert.equal(await status(page, '/api/notes', {}), 403);
  // Another origin, even with the header: the browser asks first, and nobody allows it.
  const elsewhere = await page.context().newPage();
  await elsewhere.goto(`${issuer}/.well-known/openid-configuration`);
  const foreign = await elsewhere.evaluate(
    (url) => fetch(url, { headers: { 'X-CSRF': '1' }, credentials: 'include' }).then(() => 'read', () => 'refused'),
    `${app}/api/notes`,
  );
  assert.equal(foreign, 'refused');
});

visit('two tabs: signing out in one shows in the other with its next request', {}, async (first) => {
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
