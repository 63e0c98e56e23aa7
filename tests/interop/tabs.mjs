// Several tabs of one browser, and its back button: node tabs.mjs PATH_OF_THE_QUICKSTART
import assert from 'node:assert/strict';
import { app, decide, issuer, picture, signedIn, signIn, text, visit } from './chromium.mjs';

// Where the back button may lead: to any page, only not to one that says that something went wrong.
const allIsWell = async (page) => {
  assert.doesNotMatch(await text(page), /went wrong|error|expired|cannot|try again/i, page.url());
  assert(page.url().startsWith(app) || page.url().startsWith(issuer), page.url());
};

visit('two tabs sign in at once, and both arrive where they wanted to go', {}, async (first) => {
  const second = await first.context().newPage();
  await Promise.all([first.goto(`${app}/account`), second.goto(`${app}/flow`)]);
  for (const page of [first, second]) assert(page.url().startsWith(issuer), page.url());
  assert.notEqual(first.url(), second.url(), 'each has a transaction of its own');
  await Promise.all([first, second].map((page) => signIn(page, 'alice', 'wonderland')));
  await Promise.all([first, second].map((page) => decide(page, 'allow')));
  await Promise.all([first.waitForURL(`${app}/account`), second.waitForURL(`${app}/flow`)]);
  for (const page of [first, second]) {
    await page.reload();
    assert(page.url().startsWith(app), page.url());
    await page.goto(app);
    assert.match(await text(page), /Hello, alice/);
  }
});

visit('a tab that began to sign in before another one did finishes afterwards', {}, async (first) => {
  const second = await first.context().newPage();
  await first.goto(`${app}/flow`);
  await signedIn(second, 'alice', 'wonderland');
  await signIn(first, 'alice', 'wonderland');
  await first.waitForURL(`${app}/flow`);
  await second.reload();
  assert.equal(second.url(), `${app}/account`);
});

visit('the back button after signing in leads to no error, and forward again', {}, async (page) => {
  await page.goto(app);
  await page.goto(`${app}/account`);
  await signIn(page, 'alice', 'wonderland');
  await decide(page, 'allow');
  await page.waitForURL(`${app}/account`);
  await page.goBack();
  await allIsWell(page);
  await picture(page, '1-back');
  await page.goBack();
  await allIsWell(page);
  await page.goBack();
  await allIsWell(page);
  await page.goForward();
  await allIsWell(page);
  await page.goto(`${app}/account`);
  assert.equal(page.url(), `${app}/account`);
  assert.match(await text(page), /alice/i);
});

visit('the address of the callback, opened again, leads into the application', {}, async (page) => {
  let callback;
  page.on('request', (request) => {
    if (request.url().startsWith(`${app}/auth/callback`)) callback = request.url();
  });
  await signedIn(page, 'alice', 'wonderland');
  await page.goto(callback);
  await allIsWell(page);
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
  assert(second.url().startsWith(issuer), second.url());
  // The page of before, out of the browser's own memory, is no way back in.
  await first.goBack();
  await first.reload();
  assert.doesNotMatch(await text(first), /Hello, alice/);
});
