// A client that is not ours: oauth4webapi gets access tokens and calls an API with them.
//
//   node client.mjs ISSUER
//
// Each line of standard input is a request as JSON and is answered by a line:
//   {"token": {"resource": …, "dpop": KEY, "certificate": NAME, "client": …}}
//       an access token by client credentials, bound to a key or to a certificate
//   {"call": {"url": …, "method": …, "token": …, "dpop": KEY, "certificate": NAME, "once": …, "hold": …}}
//       that token in a request to an API, with a fresh proof where there is a key; `once` does not try again
//       with a nonce, and `hold` makes the request and does not send it
//   {"send": {"url": …, "method": …, "headers": …, "certificate": NAME}}
//       exactly these header fields
// The last two are answered by status, header fields and body, and by what was sent. A KEY is made, of the
// algorithm that its name begins with, when it is first named. Certificates are PEM in the environment:
// CERTIFICATE_NAME with KEY_NAME, and TLS_CERTIFICATE to trust. It ends with its standard input.
import { createInterface } from 'node:readline';
import * as oauth from 'oauth4webapi';
import { Agent, fetch } from 'undici';

const SECRET = 'interop-secret-0123456789abcdef-0123456789';
const { env } = process;

const agents = new Map();
const agent = (certificate) => {
  if (!agents.has(certificate)) {
    const connect = { ca: env.TLS_CERTIFICATE };
    if (certificate) {
      Object.assign(connect, { cert: env[`CERTIFICATE_${certificate}`], key: env[`KEY_${certificate}`] });
    }
    agents.set(certificate, new Agent({ connect }));
  }
  return agents.get(certificate);
};

let last;
const options = (certificate, hold = false) => ({
  [oauth.allowInsecureRequests]: true,
  [oauth.customFetch]: async (url, init) => {
    const sent = Object.fromEntries(new Headers(init.headers));
    if (hold) {
      last = { status: 0, headers: {}, body: '', sent };
      return new Response();
    }
    const answer = await fetch(url, { ...init, headers: sent, dispatcher: agent(certificate) });
    const body = await answer.text();
    last = { status: answer.status, headers: Object.fromEntries(answer.headers), body, sent };
    // The library knows the platform's own Response only.
    return new Response(body || null, { status: answer.status, headers: last.headers });
  },
});

const issuer = new URL(process.argv[2]);
const discovery = await oauth.discoveryRequest(issuer, options());
const server = await oauth.processDiscoveryResponse(issuer, discovery);

const provers = new Map();
const prover = async (name, client) => {
  if (name && !provers.has(name)) {
    const algorithm = name.split(' ')[0];
    provers.set(name, oauth.DPoP(client, await oauth.generateKeyPair(algorithm)));
  }
  return provers.get(name);
};

// A server may ask for a nonce once; the library keeps it for the proof that follows.
const withNonce = async (request, DPoP) => {
  try {
    return await request();
  } catch (error) {
    if (!DPoP || !oauth.isDPoPNonceError(error)) throw error;
    return await request();
  }
};

const operations = {
  async token({ resource, scope = 'api:read', dpop, certificate, client: client_id = 'svc' }) {
    const client = { client_id, use_mtls_endpoint_aliases: Boolean(certificate) };
    const DPoP = await prover(dpop, client);
    const answer = await withNonce(async () => {
      const response = await oauth.clientCredentialsGrantRequest(
        server,
        client,
        oauth.ClientSecretBasic(SECRET),
        new URLSearchParams({ scope, resource }),
        { ...options(certificate), DPoP },
      );
      return oauth.processClientCredentialsResponse(server, client, response);
    }, DPoP);
    return { token: answer.access_token, type: answer.token_type };
  },

  async call({ url, method = 'GET', token, dpop, certificate, once, hold }) {
    const DPoP = await prover(dpop, { client_id: 'svc' });
    const request = () =>
      oauth.protectedResourceRequest(token, method, new URL(url), undefined, undefined, {
        ...options(certificate, hold),
        DPoP,
      });
    try {
      await (once ? request() : withNonce(request, DPoP));
    } catch (error) {
      if (!(error instanceof oauth.WWWAuthenticateChallengeError)) throw error;
      return { ...last, challenges: error.cause };
    }
    return last;
  },

  async send({ url, method = 'GET', headers, certificate }) {
    await options(certificate)[oauth.customFetch](url, { method, headers });
    return last;
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const [[operation, what]] = Object.entries(JSON.parse(line));
  try {
    console.log(JSON.stringify(await operations[operation](what)));
  } catch (error) {
    console.log(JSON.stringify({ failed: `${error.stack} ${JSON.stringify(error.cause)}` }));
  }
}
process.exit();
