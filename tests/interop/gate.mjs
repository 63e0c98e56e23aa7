// In front of the provider: counts what comes, and holds token requests back on demand.
//
// Whoever tests asks by HTTP:
//   POST /interop/hold/before   token requests wait here, and the provider has not seen them
//   POST /interop/hold/after    the provider answers them, and the answers wait here
//   POST /interop/release       lets go what waits; what its client has given up is thrown away
//   GET  /interop/requests      how many requests each path got
//   GET  /interop/seen          `{ held, events, refresh_tokens }`: how many requests wait, what happened how
//                               often, and the refresh tokens in the order in which they were issued

const EVENTS = ['backchannel.success', 'backchannel.error', 'grant.revoked', 'end_session.success', 'revocation.error'];

export class Gate {
  requests = {};
  #events = {};
  #refreshTokens = [];
  #holds = {};
  #held = 0;

  // Answers a request of the test, or says that it is none.
  control(pathname, response) {
    if (!pathname.startsWith('/interop/')) {
      this.#count(this.requests, pathname);
      return false;
    }
    const [, , verb, when] = pathname.split('/');
    if (verb === 'hold') this.#holds[when] = withResolvers();
    if (verb === 'release') this.#release();
    const { requests } = this;
    const seen = { held: this.#held, events: this.#events, refresh_tokens: this.#refreshTokens };
    response.end(JSON.stringify(verb === 'requests' ? requests : seen));
    return true;
  }

  // Waits as long as a request has to; false when its client went away meanwhile.
  async pass(when, pathname, socket) {
    const hold = pathname === '/token' && this.#holds[when];
    if (!hold) return true;
    this.#held += 1;
    await hold.promise;
    this.#held -= 1;
    return !socket.destroyed;
  }

  watch(provider) {
    provider.use(async (ctx, next) => {
      await next();
      await this.pass('after', ctx.path, ctx.req.socket);
    });
    for (const event of EVENTS) provider.on(event, () => this.#count(this.#events, event));
    provider.on('grant.success', (ctx) => {
      this.#count(this.#events, `${ctx.oidc.params.grant_type} granted`);
      if (ctx.body.refresh_token) this.#refreshTokens.push(ctx.body.refresh_token);
    });
    provider.on('grant.error', (ctx) => this.#count(this.#events, `${ctx.oidc?.params?.grant_type} refused`));
  }

  #count(where, what) {
    where[what] = (where[what] ?? 0) + 1;
  }

  #release() {
    for (const hold of Object.values(this.#holds)) hold.resolve();
    this.#holds = {};
  }
}

// Node.js 20 has no Promise.withResolvers.
const withResolvers = () => {
  let resolve;
  const promise = new Promise((done) => { resolve = done; });
  return { promise, resolve };
};
