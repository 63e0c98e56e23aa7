// A client built on oauth4webapi: requests access tokens and calls an API with them.
//
//   node client.mjs ISSUER
//
// Each line of standard input is a JSON command; the result is one line of JSON:
//   {"token": {"resource": …, "dpop": KEY, "certificate": NAME, "client": …}}
//       requests an access token by client credentials, bound to a key or to a certificate
//   {"call": {"url": …, "method": …, "token": …, "dpop": KEY, "certificate": NAME, "once": …, "hold": …}}
//       calls an API with that token, with a new proof if there is a key; `once` does not retry with a nonce,
//       and `hold` creates the request without sending it
//   {"send": {"url": …, "method": …, "headers": …, "certificate": NAME}}
//       sends exactly these headers
// The result of the last two has status, headers and body of the response and the headers that were sent. A KEY
// is generated at first use; its name starts with the algorithm. Certificates are PEM in the environment:
// CERTIFICATE_NAME with KEY_NAME, and the trusted TLS_CERTIFICATE. The program ends with its standard input.
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
    const response = await fetch(url, { ...init, headers: sent, dispatcher: agent(certificate) });
    const body = await response.text();
    last = { status: response.status, headers: Object.fromEntries(response.headers), body, sent };
    // The library accepts only the platform's Response.
    return new Response(body || null, { status: response.status, headers: last.headers });
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

// A server may require a nonce; the library stores it for the next proof.
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
    const tokens = await withNonce(async () => {
      const response = await oauth.clientCredentialsGrantRequest(
        server,
        client,
        oauth.ClientSecretBasic(SECRET),
        new URLSearchParams({ scope, resource }),
        { ...options(certificate), DPoP },
      );
      return oauth.processClientCredentialsResponse(server, client, response);
    }, DPoP);
    return { token: tokens.access_token, type: tokens.token_type };
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
  const [[operation, parameters]] = Object.entries(JSON.parse(line));
  try {
    console.log(JSON.stringify(await operations[operation](parameters)));
  } catch (error) {
    console.log(JSON.stringify({ failed: `${error.stack} ${JSON.stringify(error.cause)}` }));
  }
}
process.exit();
