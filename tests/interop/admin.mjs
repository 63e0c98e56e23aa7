// The admin example in Chromium: node admin.mjs PATH_OF_THE_EXAMPLE
import assert from 'node:assert/strict';
import { app, issuer, picture, signIn, text, visit } from './chromium.mjs';

const enter = async (page, username, password) => {
  await page.goto(`${app}/auth/login?return_to=/`);
  await signIn(page, username, password);
  await page.waitForURL(`${app}/`);
  assert.match(await text(page), new RegExp(`Hello, ${username}`));
};

// Signs a user in with a new browser context.
const newUser = async (page, username, password) => {
  const context = await page.context().browser().newContext();
  const own = await context.newPage();
  await enter(own, username, password);
  return own;
};

visit('an administrator ends one session, then all sessions of a user', {}, async (carol) => {
  const [desk, phone, bob] = [
    await newUser(carol, 'alice', 'wonderland'),
    await newUser(carol, 'alice', 'wonderland'),
    await newUser(carol, 'bob', 'builder'),
  ];
  const id = await phone.locator('dd code').innerText();
  await enter(carol, 'carol', 'keys');
  await carol.goto(`${app}/admin?user=alice`);
  assert.match(await text(carol), /alice is signed in twice/);
  await picture(carol, '1-sessions');

  await carol.getByRole('button', { name: `End session ${id}` }).click();
  assert.match(await text(carol), /Ended: 1/);
  assert.match(await text(carol), /alice is signed in once/);
  await phone.reload();
  assert.match(await text(phone), /Hello, stranger/);
  await picture(phone, '2-ended');
  for (const [page, name] of [[desk, 'alice'], [bob, 'bob'], [carol, 'carol']]) {
    await page.goto(app);
    assert.match(await text(page), new RegExp(`Hello, ${name}`));
  }

  // The user is still signed in at the authorization server, so one link signs in again.
  await phone.goto(`${app}/auth/login?return_to=/`);
  assert.match(await text(phone), /Hello, alice/);
  await carol.goto(`${app}/admin?user=alice`);
  await carol.getByRole('button', { name: 'End all' }).click();
  assert.match(await text(carol), /alice is not signed in anywhere/);
  for (const page of [desk, phone]) {
    await page.goto(app);
    assert.match(await text(page), /Hello, stranger/);
  }
  await bob.reload();
  assert.match(await text(bob), /Hello, bob/);
  for (const page of [desk, phone, bob]) await page.context().close();
});

visit('the page is for administrators only', {}, async (bob) => {
  await bob.goto(`${app}/admin`);
  assert(bob.url().startsWith(issuer), bob.url());
  await enter(bob, 'bob', 'builder');
  await bob.goto(`${app}/admin?user=alice`);
  assert.match(await text(bob), /No access/);
  await picture(bob, '3-forbidden');
});

visit('signing out at the authorization server ends the session by back-channel logout', {}, async (page) => {
  await enter(page, 'alice', 'wonderland');
  const elsewhere = await page.context().newPage();
  await elsewhere.goto(`${issuer}/end-session`);
  await elsewhere.getByRole('button', { name: 'Sign out' }).click();
  await elsewhere.waitForLoadState();
  await page.goto(app);
  assert.match(await text(page), /Hello, stranger/);
});
