// A gate in front of the provider: counts requests, and holds token requests on demand.
//
// Tests control it by HTTP:
//   POST /interop/hold/before   holds token requests before the provider receives them
//   POST /interop/hold/after    holds the responses to token requests
//   POST /interop/release       releases what is held; requests whose client is gone are dropped
//   GET  /interop/requests      the number of requests by path
//   GET  /interop/state         `{ held, events, refresh_tokens }`: the number of held requests, the number of
//                               events by name, and the refresh tokens in the order of issue

const EVENTS = ['backchannel.success', 'backchannel.error', 'grant.revoked', 'end_session.success', 'revocation.error'];

export class Gate {
  requests = {};
  #events = {};
  #refreshTokens = [];
  #holds = {};
  #held = 0;

  // Handles a request of the test; returns false for other requests.
  control(pathname, response) {
    if (!pathname.startsWith('/interop/')) {
      this.#count(this.requests, pathname);
      return false;
    }
    const [, , verb, when] = pathname.split('/');
    if (verb === 'hold') this.#holds[when] = withResolvers();
    if (verb === 'release') this.#release();
    const { requests } = this;
    const state = { held: this.#held, events: this.#events, refresh_tokens: this.#refreshTokens };
    response.end(JSON.stringify(verb === 'requests' ? requests : state));
    return true;
  }

  // Waits while the request is held; returns false if its client is gone.
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

  #count(counts, name) {
    counts[name] = (counts[name] ?? 0) + 1;
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
