// A certified authorization server on loopback, to test against: oidc-provider by Filip Skokan.
//
// Environment:
//   PORT  where to listen on 127.0.0.1; 0 for any free port
//   APP   origin of the application that signs people in: redirect URI $APP/auth/callback
//   API   what every audience starts with: $API/rs256 and so on
//
// When it listens it prints one line, `READY {"issuer": …}`. Its keys are new at every start, so a
// restart on the same port is a rotation without overlap. It ends with its standard input, so that it
// never outlives the test that started it.
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import Provider, { errors } from 'oidc-provider';

const { PORT = '0', APP = 'http://127.0.0.1:3000', API = 'https://api.example' } = process.env;
const SECRET = 'interop-secret-0123456789abcdef-0123456789';

const signingKey = (alg, type, options) => ({
  ...generateKeyPairSync(type, options).privateKey.export({ format: 'jwk' }),
  alg,
  use: 'sig',
  kid: `${alg.toLowerCase()}-${randomUUID().slice(0, 8)}`,
});
const keys = [
  signingKey('RS256', 'rsa', { modulusLength: 2048 }),
  signingKey('PS256', 'rsa', { modulusLength: 2048 }),
  signingKey('ES256', 'ec', { namedCurve: 'P-256' }),
  signingKey('ES384', 'ec', { namedCurve: 'P-384' }),
  signingKey('EdDSA', 'ed25519'),
];
const algorithms = keys.map(({ alg }) => alg);

const signIn = {
  redirect_uris: [`${APP}/auth/callback`],
  post_logout_redirect_uris: [`${APP}/auth/logout`],
  grant_types: ['authorization_code', 'refresh_token'],
  response_types: ['code'],
};
const confidential = (client_id, token_endpoint_auth_method, more) => ({
  client_id,
  client_secret: SECRET,
  token_endpoint_auth_method,
  ...more,
});
const clients = [
  confidential('web-basic', 'client_secret_basic', signIn),
  confidential('web-post', 'client_secret_post', signIn),
  { client_id: 'web-public', token_endpoint_auth_method: 'none', ...signIn },
  ...algorithms.map((alg) =>
    confidential(`web-${alg.toLowerCase()}`, 'client_secret_basic', {
      ...signIn,
      id_token_signed_response_alg: alg,
    }),
  ),
  confidential('svc', 'client_secret_basic', {
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: [],
  }),
];

const users = {
  alice: { name: 'Alice Example', email: 'alice@example.com', email_verified: true },
  bob: { name: 'Bob Example', email: 'bob@example.com', email_verified: false },
};

// $API/rs256 … $API/eddsa give JWTs signed so; $API/opaque gives tokens that are no JWTs.
const resourceServer = (indicator) => {
  const name = indicator.startsWith(`${API}/`) ? indicator.slice(API.length + 1) : '';
  const server = { scope: 'api:read api:write', audience: indicator, accessTokenTTL: 600 };
  const alg = algorithms.find((one) => one.toLowerCase() === name);
  if (alg) return { ...server, accessTokenFormat: 'jwt', jwt: { sign: { alg } } };
  if (name === 'opaque') return { ...server, accessTokenFormat: 'opaque' };
  throw new errors.InvalidTarget();
};

// The port is known only once it listens, and the issuer's name holds the port.
let answer = (request, response) => response.writeHead(503).end();
const requests = {};
const server = createServer((request, response) => {
  const { pathname } = new URL(request.url, 'http://127.0.0.1');
  if (pathname === '/interop/requests') return response.end(JSON.stringify(requests));
  requests[pathname] = (requests[pathname] ?? 0) + 1;
  return answer(request, response);
});
await new Promise((resolve, reject) => {
  server.once('error', reject).listen(Number(PORT), '127.0.0.1', resolve);
});
const issuer = `http://127.0.0.1:${server.address().port}`;

const provider = new Provider(issuer, {
  clients,
  jwks: { keys },
  scopes: ['openid', 'offline_access', 'profile', 'email'],
  claims: {
    openid: ['sub'],
    profile: ['name', 'preferred_username'],
    email: ['email', 'email_verified'],
  },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, preferred_username: id, ...users[id] }),
  }),
  cookies: { keys: [randomUUID()] },
  pkce: { required: () => true },
  enabledJWA: { idTokenSigningAlgValues: algorithms },
  features: {
    devInteractions: { enabled: true },
    clientCredentials: { enabled: true },
    rpInitiatedLogout: {
      enabled: true,
      // The default page's buttons stand outside of their form.
      logoutSource: (ctx, form) => {
        ctx.body = form.replace('</form>', '<button name="logout" value="yes">Sign out</button></form>');
      },
    },
    resourceIndicators: {
      enabled: true,
      useGrantedResource: () => true,
      getResourceServerInfo: (_, indicator) => resourceServer(indicator),
    },
  },
  ttl: { AccessToken: 600, ClientCredentials: 600, IdToken: 600, Interaction: 600, Session: 86400, Grant: 86400, RefreshToken: 86400 },
});
for (const event of ['server_error', 'authorization.error', 'grant.error', 'userinfo.error', 'end_session.error']) {
  provider.on(event, (...values) => {
    const error = values.find((value) => value instanceof Error);
    console.error(event, error?.message, error?.error_description ?? '', error?.error_detail ?? '');
  });
}
answer = provider.callback();

process.stdin.resume().on('end', () => process.exit());
console.log(`READY ${JSON.stringify({ issuer })}`);
