// The gRPC example, called with @grpc/grpc-js: node grpc.mjs PATH_OF_THE_EXAMPLE
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { Client, credentials, Metadata, status } from '@grpc/grpc-js';

let example, client, rejected, accepted;

before(async () => {
  example = spawn(process.argv[2], {
    env: { ...process.env, GRPC_ADDR: '127.0.0.1:0' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  process.on('exit', () => example.kill('SIGKILL'));
  const tokens = [];
  let address;
  for await (const line of createInterface({ input: example.stdout })) {
    address = line.match(/^Listening on ([0-9.:]+)\./)?.[1] ?? address;
    const token = line.match(/authorization: Bearer ([^']+)'/)?.[1];
    if (token && tokens.push(token) === 2) break;
  }
  [rejected, accepted] = tokens;
  client = new Client(address, credentials.createInsecure());
});

after(() => {
  client?.close();
  example?.kill('SIGKILL');
});

// An empty HealthCheckRequest has no bytes; the response is field 1, a number.
const check = (authorization) =>
  new Promise((resolve, reject) => {
    const metadata = new Metadata();
    if (authorization) metadata.set('authorization', authorization);
    client.makeUnaryRequest(
      '/grpc.health.v1.Health/Check',
      () => Buffer.alloc(0),
      (bytes) => [...bytes],
      {},
      metadata,
      { deadline: Date.now() + 10_000 },
      (error, response) => (error ? reject(error) : resolve(response)),
    );
  });

const rejection = (authorization) => check(authorization).then(() => assert.fail('accepted'), (error) => error);

test('a token with the scope is accepted', async () => {
  assert.deepEqual(await check(`Bearer ${accepted}`), [0x08, 1]);
});

test('without a token the caller is unauthenticated, and the challenge is in the metadata', async () => {
  const error = await rejection();
  assert.equal(error.code, status.UNAUTHENTICATED);
  assert.equal(error.details, 'an access token is required');
  assert.deepEqual(error.metadata.get('www-authenticate'), ['Bearer realm="api"']);
});

test('a token without the scope is not permitted, and the challenge names the scope', async () => {
  const error = await rejection(`Bearer ${rejected}`);
  assert.equal(error.code, status.PERMISSION_DENIED);
  assert.match(error.metadata.get('www-authenticate')[0], /error="insufficient_scope".*scope="health:read"/);
});

test('invalid tokens and malformed credentials are unauthenticated', async () => {
  for (const authorization of [`Bearer ${accepted.slice(0, -4)}AAAA`, 'Bearer', 'Bearer a b']) {
    assert.equal((await rejection(authorization)).code, status.UNAUTHENTICATED, authorization);
  }
});
