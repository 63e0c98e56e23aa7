// Several tabs of one browser, and its back button: node tabs.mjs PATH_OF_THE_QUICKSTART
import assert from 'node:assert/strict';
import { app, choose, decide, issuer, picture, signedIn, signIn, text, visit } from './chromium.mjs';

// Checks pages of the application; pages of the authorization server are not checked.
const assertNoError = async (page) => {
  if (page.url().startsWith(issuer)) return;
  assert(page.url().startsWith(app), page.url());
  const status = await page.evaluate(() => performance.getEntriesByType('navigation')[0].responseStatus);
  assert.equal(status, 200, `${page.url()}: ${await text(page)}`);
};

visit('two tabs sign in at once, and both return to their page', {}, async (first) => {
  const second = await first.context().newPage();
  await first.goto(`${app}/account`);
  await second.goto(`${app}/flow`);
  for (const page of [first, second]) {
    await choose(page);
    assert(page.url().startsWith(issuer), page.url());
  }
  assert.notEqual(first.url(), second.url(), 'each has its own transaction');
  await signIn(first, 'alice', 'wonderland');
  await decide(first, 'allow');
  await first.waitForURL(`${app}/account`);
  await signIn(second, 'alice', 'wonderland');
  await second.waitForURL(`${app}/flow`);
  for (const page of [first, second]) {
    await page.reload();
    assert(page.url().startsWith(app), page.url());
  }

  // With a session at the authorization server only, both tabs sign in without a page, concurrently.
  const cookies = await first.context().cookies(app);
  const ours = cookies.filter(({ name }) => name.endsWith('-session'));
  assert.equal(ours.length, 1, cookies.map(({ name }) => name).join());
  await first.context().clearCookies({ name: ours[0].name });
  await Promise.all([first.goto(`${app}/account`), second.goto(`${app}/flow`)]);
  await Promise.all([first, second].map((page) => choose(page)));
  assert.deepEqual([first.url(), second.url()], [`${app}/account`, `${app}/flow`]);
  for (const page of [first, second]) {
    await page.goto(app);
    assert.match(await text(page), /Hello, alice/);
  }
});

visit('a login started before another one can be finished after it', {}, async (first) => {
  const second = await first.context().newPage();
  await first.goto(`${app}/flow`);
  await choose(first);
  await signedIn(second, 'alice', 'wonderland');
  await signIn(first, 'alice', 'wonderland');
  await first.waitForURL(`${app}/flow`);
  await second.reload();
  assert.equal(second.url(), `${app}/account`);
});

visit('the back button after sign-in shows no error and keeps the session', {}, async (page) => {
  await page.goto(app);
  await page.goto(`${app}/account`);
  await signIn(page, 'alice', 'wonderland');
  await decide(page, 'allow');
  await page.waitForURL(`${app}/account`);
  const back = [];
  while (back.at(-1) !== `${app}/` && back.length < 5) {
    await page.goBack();
    await assertNoError(page);
    back.push(page.url());
  }
  assert.equal(back.at(-1), `${app}/`);
  await page.reload();
  assert.match(await text(page), /Hello, alice/);
  await picture(page, '1-back');
});

visit('opening the callback URL again redirects into the application', {}, async (page) => {
  let callback;
  page.on('request', (request) => {
    if (request.url().startsWith(`${app}/auth/callback`)) callback = request.url();
  });
  await signedIn(page, 'alice', 'wonderland');
  await page.goto(callback);
  await assertNoError(page);
  assert(page.url().startsWith(app) && !page.url().includes('code='), page.url());
  await page.goto(app);
  assert.match(await text(page), /Hello, alice/);
});

visit('signing out in one tab ends the other', {}, async (first) => {
  await signedIn(first, 'alice', 'wonderland');
  const second = await first.context().newPage();
  await second.goto(`${app}/account`);
  assert.match(await text(second), /alice/i);
  await first.goto(app);
  await first.getByRole('button', { name: 'Sign out' }).click();
  await first.waitForURL((url) => url.href.startsWith(app));

  await second.getByRole('button', { name: 'Read my notes' }).click();
  await second.waitForLoadState();
  assert.doesNotMatch(await text(second), /Buy milk/);
  await picture(second, '2-signed-out-in-the-other-tab');
  await second.goto(`${app}/account`);
  await choose(second);
  assert(second.url().startsWith(issuer), second.url());
  // A page from the browser's cache does not restore the session.
  await first.goBack();
  await first.reload();
  assert.doesNotMatch(await text(first), /Hello, alice/);
});
