// Several tabs of one browser, and its back button: node tabs.mjs PATH_OF_THE_QUICKSTART
import assert from 'node:assert/strict';
import { app, decide, issuer, picture, signedIn, signIn, text, visit } from './chromium.mjs';

// Pages of the application. What the authorization server says of its own old pages is its business.
const isNoErrorOfOurs = async (page) => {
  if (page.url().startsWith(issuer)) return;
  assert(page.url().startsWith(app), page.url());
  const status = await page.evaluate(() => performance.getEntriesByType('navigation')[0].responseStatus);
  assert.equal(status, 200, `${page.url()}: ${await text(page)}`);
};

visit('two tabs sign in at once, and both arrive where they wanted to go', {}, async (first) => {
  const second = await first.context().newPage();
  await first.goto(`${app}/account`);
  await second.goto(`${app}/flow`);
  for (const page of [first, second]) assert(page.url().startsWith(issuer), page.url());
  assert.notEqual(first.url(), second.url(), 'each has a transaction of its own');
  await signIn(first, 'alice', 'wonderland');
  await decide(first, 'allow');
  await first.waitForURL(`${app}/account`);
  await signIn(second, 'alice', 'wonderland');
  await second.waitForURL(`${app}/flow`);
  for (const page of [first, second]) {
    await page.reload();
    assert(page.url().startsWith(app), page.url());
  }

  // Signed in there and not here, all of it happens by itself, in both tabs at the same moment.
  const cookies = await first.context().cookies(app);
  const ours = cookies.filter(({ name }) => name.endsWith('-session'));
  assert.equal(ours.length, 1, cookies.map(({ name }) => name).join());
  await first.context().clearCookies({ name: ours[0].name });
  await Promise.all([first.goto(`${app}/account`), second.goto(`${app}/flow`)]);
  assert.deepEqual([first.url(), second.url()], [`${app}/account`, `${app}/flow`]);
  for (const page of [first, second]) {
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

visit('the back button after signing in leads to no error of the application, and the person stays', {}, async (page) => {
  await page.goto(app);
  await page.goto(`${app}/account`);
  await signIn(page, 'alice', 'wonderland');
  await decide(page, 'allow');
  await page.waitForURL(`${app}/account`);
  const back = [];
  while (back.at(-1) !== `${app}/` && back.length < 5) {
    await page.goBack();
    await isNoErrorOfOurs(page);
    back.push(page.url());
  }
  assert.equal(back.at(-1), `${app}/`);
  await page.reload();
  assert.match(await text(page), /Hello, alice/);
  await picture(page, '1-back');
});

visit('the address of the callback, opened again, leads into the application', {}, async (page) => {
  let callback;
  page.on('request', (request) => {
    if (request.url().startsWith(`${app}/auth/callback`)) callback = request.url();
  });
  await signedIn(page, 'alice', 'wonderland');
  await page.goto(callback);
  await isNoErrorOfOurs(page);
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
