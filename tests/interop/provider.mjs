// A certified authorization server for tests, on loopback: oidc-provider by Filip Skokan.
//
// Environment:
//   PORT  the port on 127.0.0.1; 0 for a free port
//   APP   origin of the application: redirect URI $APP/auth/callback
//   API   prefix of the audiences: $API/rs256 and so on
//   ISSUER   the issuer, if a proxy in front of the provider terminates TLS
//   DPOP_NONCE   1 to require nonces in DPoP proofs
//   LOGIN_TTL, REFRESH_TTL   lifetime in seconds of access tokens without audience, after a login and a refresh
//   TLS_CERTIFICATE, TLS_KEY   PEM; enable endpoints for clients with certificates
//   TLS_CLIENT_CA              PEM; the CA of these certificates
//
// When it listens it prints one line, `READY {"issuer": …, "address": …, "client_keys": {…}}`: the issuer, its address, and the private
// keys of the clients with `private_key_jwt`. All keys are generated at start, so a restart on the same port is a
// rotation without overlap. It ends with its standard input, so that it does not outlive its test. `gate.mjs`
// has further controls for tests.
import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  randomBytes,
  randomUUID,
  X509Certificate,
} from 'node:crypto';
import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import Provider, { errors } from 'oidc-provider';
import { Gate } from './gate.mjs';

const { PORT = '0', APP = 'http://127.0.0.1:3000', API = 'https://api.example' } = process.env;
const { TLS_CERTIFICATE, TLS_KEY, TLS_CLIENT_CA, LOGIN_TTL = '600', REFRESH_TTL = '600', DPOP_NONCE = '0' } = process.env;
const SECRET = 'interop-secret-0123456789abcdef-0123456789';

// By way of text: Node.js 20 can stop for ever when it exports a key as JWK that it has just made, if the
// garbage collector comes in between.
const privateKey = (type, options) => {
  const privateKeyEncoding = { type: 'pkcs8', format: 'pem' };
  const publicKeyEncoding = { type: 'spki', format: 'pem' };
  return generateKeyPairSync(type, { ...options, privateKeyEncoding, publicKeyEncoding }).privateKey;
};
const signingKey = (alg, type, options) => ({
  ...createPrivateKey(privateKey(type, options)).export({ format: 'jwk' }),
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

// The keys of the clients with `private_key_jwt`, by algorithm. RSA keys take long to generate.
const rsaClientKey = privateKey('rsa', { modulusLength: 2048 });
const clientKeys = {
  RS256: rsaClientKey,
  PS256: rsaClientKey,
  ES256: privateKey('ec', { namedCurve: 'P-256' }),
  ES384: privateKey('ec', { namedCurve: 'P-384' }),
  EdDSA: privateKey('ed25519'),
};
const jwksOf = (alg) => ({
  keys: [{ ...createPublicKey(clientKeys[alg]).export({ format: 'jwk' }), alg, use: 'sig', kid: 'client' }],
});
const clientJwks = jwksOf('ES256');
const byKey = (client_id, alg, more) => ({
  client_id,
  token_endpoint_auth_method: 'private_key_jwt',
  token_endpoint_auth_signing_alg: alg,
  jwks: jwksOf(alg),
  ...more,
});

const signIn = {
  redirect_uris: [`${APP}/auth/callback`],
  post_logout_redirect_uris: [`${APP}/auth/logout`],
  grant_types: ['authorization_code', 'refresh_token'],
  response_types: ['code'],
};
const fapi = {
  id_token_signed_response_alg: 'PS256',
  require_pushed_authorization_requests: true,
  dpop_bound_access_tokens: true,
};
// A client with refresh tokens (scope `offline_access`) and back-channel logout.
const lasting = {
  ...signIn,
  backchannel_logout_uri: `${APP}/auth/backchannel-logout`,
  backchannel_logout_session_required: true,
};
const service = { grant_types: ['client_credentials'], redirect_uris: [], response_types: [] };
const confidential = (client_id, token_endpoint_auth_method, more) => ({
  client_id,
  client_secret: SECRET,
  token_endpoint_auth_method,
  ...more,
});
const clients = [
  confidential('web-basic', 'client_secret_basic', signIn),
  confidential('web-post', 'client_secret_post', signIn),
  confidential('web-lasting', 'client_secret_basic', lasting),
  // Clients whose authorization requests must be pushed, or signed.
  confidential('web-pushed', 'client_secret_basic', { ...signIn, require_pushed_authorization_requests: true }),
  confidential('web-signed', 'client_secret_basic', {
    ...signIn,
    jwks: clientJwks,
    request_object_signing_alg: 'ES256',
    require_signed_request_object: true,
  }),
  // FAPI 2.0 Security Profile and Message Signing.
  byKey('web-fapi', 'ES256', { ...signIn, ...fapi }),
  byKey('web-fapi-signed', 'ES256', {
    ...signIn,
    ...fapi,
    request_object_signing_alg: 'ES256',
    require_signed_request_object: true,
    authorization_signed_response_alg: 'PS256',
  }),
  confidential('web-dpop', 'client_secret_basic', { ...signIn, dpop_bound_access_tokens: true }),
  { client_id: 'web-dpop-public', token_endpoint_auth_method: 'none', dpop_bound_access_tokens: true, ...signIn },
  { client_id: 'web-public', token_endpoint_auth_method: 'none', ...signIn },
  confidential('web-csjwt', 'client_secret_jwt', signIn),
  ...algorithms.map((alg) => byKey(`web-key-${alg.toLowerCase()}`, alg, signIn)),
  ...(TLS_KEY
    ? [
        {
          client_id: 'web-mtls',
          token_endpoint_auth_method: 'tls_client_auth',
          tls_client_auth_subject_dn: 'CN=application',
          ...signIn,
        },
      ]
    : []),
  ...algorithms.map((alg) =>
    confidential(`web-${alg.toLowerCase()}`, 'client_secret_basic', {
      ...signIn,
      id_token_signed_response_alg: alg,
    }),
  ),
  confidential('svc', 'client_secret_basic', service),
  confidential('svc-mtls', 'client_secret_basic', {
    ...service,
    tls_client_certificate_bound_access_tokens: Boolean(TLS_KEY),
  }),
  // Resource servers that introspect; the last two can receive signed responses.
  confidential('rs-basic', 'client_secret_basic', { ...service, grant_types: [] }),
  confidential('rs-post', 'client_secret_post', { ...service, grant_types: [] }),
  confidential('rs-csjwt', 'client_secret_jwt', { ...service, grant_types: [] }),
  { client_id: 'rs-key', token_endpoint_auth_method: 'private_key_jwt', jwks: clientJwks, ...service, grant_types: [] },
  confidential('rs-signed', 'client_secret_basic', {
    ...service,
    grant_types: [],
    introspection_signed_response_alg: 'ES256',
  }),
  {
    client_id: 'rs-key-signed',
    token_endpoint_auth_method: 'private_key_jwt',
    jwks: clientJwks,
    introspection_signed_response_alg: 'PS256',
    ...service,
    grant_types: [],
  },
];

const users = {
  alice: { name: 'Alice Example', email: 'alice@example.com', email_verified: true },
  bob: { name: 'Bob Example', email: 'bob@example.com', email_verified: false },
};

// The audiences $API/rs256 … $API/eddsa select JWTs with that algorithm, $API/opaque opaque tokens.
const resourceServer = (indicator) => {
  const name = indicator.startsWith(`${API}/`) ? indicator.slice(API.length + 1) : '';
  const server = { scope: 'api:read api:write', audience: indicator, accessTokenTTL: 600 };
  const alg = algorithms.find((algorithm) => algorithm.toLowerCase() === name);
  if (alg) return { ...server, accessTokenFormat: 'jwt', jwt: { sign: { alg } } };
  if (name === 'opaque') return { ...server, accessTokenFormat: 'opaque' };
  throw new errors.InvalidTarget();
};

// The issuer contains the port, which is known only when the server listens.
let handle = (request, response) => response.writeHead(503).end();
const gate = new Gate();
const receive = async (request, response) => {
  const { pathname } = new URL(request.url, 'http://127.0.0.1');
  if (gate.control(pathname, response)) return;
  if (await gate.pass('before', pathname, request.socket)) handle(request, response);
};
const listen = (server, port) =>
  new Promise((resolve, reject) => {
    server.once('error', reject).listen(port, '127.0.0.1', () => resolve(server.address().port));
  });
const address = `http://127.0.0.1:${await listen(createServer(receive), Number(PORT))}`;
const { ISSUER: issuer = address } = process.env;

let forCertificates;
if (TLS_KEY) {
  const options = {
    cert: TLS_CERTIFICATE,
    key: TLS_KEY,
    ca: TLS_CLIENT_CA,
    requestCert: true,
    rejectUnauthorized: false,
  };
  forCertificates = `https://127.0.0.1:${await listen(createTlsServer(options, receive), 0)}`;
}

const accessTokenTtl = (ctx) => Number(ctx.oidc?.params.grant_type === 'refresh_token' ? REFRESH_TTL : LOGIN_TTL);

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
  clientAuthMethods: [
    'client_secret_basic',
    'client_secret_post',
    'client_secret_jwt',
    'private_key_jwt',
    'none',
    ...(forCertificates ? ['tls_client_auth'] : []),
  ],
  enabledJWA: {
    clientAuthSigningAlgValues: ['HS256', ...algorithms],
    idTokenSigningAlgValues: algorithms,
    introspectionSigningAlgValues: algorithms,
    requestObjectSigningAlgValues: algorithms,
    authorizationSigningAlgValues: algorithms,
    dPoPSigningAlgValues: [...algorithms, 'Ed25519'],
  },
  ...(forCertificates && {
    discovery: {
      mtls_endpoint_aliases: {
        pushed_authorization_request_endpoint: `${forCertificates}/request`,
        token_endpoint: `${forCertificates}/token`,
        introspection_endpoint: `${forCertificates}/token/introspection`,
        revocation_endpoint: `${forCertificates}/token/revocation`,
        userinfo_endpoint: `${forCertificates}/me`,
      },
    },
  }),
  features: {
    devInteractions: { enabled: true },
    clientCredentials: { enabled: true },
    introspection: { enabled: true, allowedPolicy: (_, client) => client.clientId.startsWith('rs-') },
    jwtIntrospection: { enabled: true },
    revocation: { enabled: true },
    fapi: {
      enabled: true,
      profile: (_, client) => (client?.clientId.startsWith('web-fapi') ? '2.0' : undefined),
    },
    pushedAuthorizationRequests: { enabled: true },
    requestObjects: { enabled: true },
    jwtResponseModes: { enabled: true },
    backchannelLogout: { enabled: true },
    dPoP: { enabled: true, nonceSecret: randomBytes(32), requireNonce: () => DPOP_NONCE === '1' },
    mTLS: {
      enabled: Boolean(forCertificates),
      certificateBoundAccessTokens: true,
      tlsClientAuth: true,
      certificateAuthorized: ({ socket }) => socket.authorized,
      certificateSubjectMatches: ({ socket }, property, expected) =>
        property === 'tls_client_auth_subject_dn' && `CN=${socket.getPeerCertificate().subject.CN}` === expected,
      getCertificate: ({ socket }) => {
        const certificate = socket.getPeerX509Certificate?.();
        return certificate && new X509Certificate(certificate.raw);
      },
    },
    rpInitiatedLogout: {
      enabled: true,
      // The buttons of the default page are outside of the form.
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
  // Refresh tokens rotate; reuse revokes the grant.
  rotateRefreshToken: true,
  // The default fetch rejects loopback addresses, which the applications of the tests have.
  fetch: (url, { dispatcher, ...options }) => fetch(url, options),
  ttl: { AccessToken: accessTokenTtl, ClientCredentials: 600, IdToken: 600, Interaction: 600, Session: 86400, Grant: 86400, RefreshToken: 86400 },
});
for (const event of ['server_error', 'authorization.error', 'pushed_authorization_request.error', 'grant.error', 'userinfo.error', 'end_session.error', 'introspection.error', 'revocation.error']) {
  provider.on(event, (...values) => {
    const error = values.find((value) => value instanceof Error);
    console.error(event, error?.message, error?.error_description ?? '', error?.error_detail ?? '');
  });
}
gate.watch(provider);
provider.proxy = issuer !== address;
handle = provider.callback();

process.stdin.resume().on('end', () => process.exit());
console.log(`READY ${JSON.stringify({ issuer, address, client_keys: clientKeys })}`);
