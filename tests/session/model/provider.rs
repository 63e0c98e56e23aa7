//! The authorization server: it rotates refresh tokens, and observes how they are sent.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use serde_json::{Value, json};
use tower_oauth::Algorithm;
use tower_oauth::clock::Clock as _;
use tower_oauth::testing::{ManualClock, TestServer, TestSigningKey};

use super::gates::Gates;
use super::steps::Fate;
use super::unreliable::Troubles;

pub const ISSUER: &str = "https://id.example.test";
pub const USERS: [&str; 2] = ["alice", "bob"];
/// The lifetime of access tokens, in seconds.
pub const TOKEN_LIFETIME: u64 = 300;

/// One key for all runs, since generating it takes the longest.
static KEY: LazyLock<TestSigningKey> = LazyLock::new(|| TestSigningKey::generate(Algorithm::EdDsa));
static MINT: LazyLock<TestServer> = LazyLock::new(|| crate::support::still_server(ISSUER).unwrap());

#[derive(Clone)]
pub struct Provider {
    inner: Arc<Mutex<Inner>>,
    gates: Gates,
    clock: ManualClock,
}

struct Inner {
    rules: Rules,
    /// By code, until it is redeemed: the grant and the nonce.
    codes: HashMap<String, (usize, String)>,
    grants: Vec<Grant>,
    sent: Vec<Sent>,
    fates: VecDeque<Fate>,
    violation: Option<String>,
}

/// The behavior of the server.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// A refresh token is accepted once.
    pub rotates: bool,
    /// A refresh token that is sent twice ends the grant.
    pub detects_reuse: bool,
    /// Whether the nodes share leases.
    pub leases: bool,
}

#[derive(Debug)]
struct Grant {
    user: usize,
    /// The number of its refresh token and of its access token.
    refresh: u64,
    access: u64,
    /// When each access token was issued.
    issued: Vec<Duration>,
    revoked: bool,
}

/// A refresh token in a request in progress.
#[derive(Debug)]
struct Sent {
    grant: usize,
    number: u64,
    from: Arc<Troubles>,
    at: Duration,
    end: Option<(Duration, End)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// A response was sent and the token was used.
    Used,
    /// A response was sent and the token was not used.
    Unused,
    /// The sender received no response.
    Unclear,
}

/// The connection broke.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the connection broke")]
pub struct Broken;

impl Provider {
    pub fn new(rules: Rules, gates: &Gates, clock: &ManualClock) -> Self {
        let inner = Inner {
            rules,
            codes: HashMap::new(),
            grants: Vec::new(),
            sent: Vec::new(),
            fates: VecDeque::new(),
            violation: None,
        };
        Self {
            inner: Arc::new(Mutex::new(inner)),
            gates: gates.clone(),
            clock: clock.clone(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    pub fn violation(&self) -> Option<String> {
        self.lock().violation.clone()
    }

    pub fn meet(&self, fate: Fate) {
        self.lock().fates.push_back(fate);
    }

    pub fn forget_fates(&self) {
        self.lock().fates.clear();
    }

    /// Approves a login: returns the number of the grant and the code.
    pub fn approve(&self, user: usize, nonce: &str) -> (usize, String) {
        let mut inner = self.lock();
        inner.grants.push(Grant {
            user,
            refresh: 0,
            access: 0,
            issued: Vec::new(),
            revoked: false,
        });
        let grant = inner.grants.len() - 1;
        let code = format!("code-{grant}");
        inner.codes.insert(code.clone(), (grant, nonce.to_owned()));
        (grant, code)
    }

    pub fn is_revoked(&self, grant: usize) -> bool {
        self.lock().grants[grant].revoked
    }

    /// Reports whether a refresh request is in progress.
    pub fn is_asked(&self) -> bool {
        self.lock().sent.iter().any(|sent| sent.end.is_none())
    }

    /// Returns how long ago an access token was issued.
    pub fn age(&self, grant: usize, number: u64) -> Duration {
        let issued = self.lock().grants[grant].issued[usize::try_from(number).unwrap()];
        self.clock.monotonic().saturating_sub(issued)
    }

    /// Returns a token that ends the sessions of this grant, or all of its user (Back-Channel Logout §2.4).
    pub fn logout_token(&self, grant: usize, everywhere: bool) -> String {
        let now = self.clock.unix_seconds();
        let user = USERS[self.lock().grants[grant].user];
        let mint = MINT
            .access_token()
            .with_key(&KEY)
            .without_claim("client_id");
        let mint = mint
            .with_header("typ", "logout+jwt")
            .with_audience("shop")
            .with_subject(user)
            .with_claim("iat", now)
            .with_claim("exp", now + 60)
            .with_claim(
                "events",
                json!({ "http://schemas.openid.net/event/backchannel-logout": {} }),
            );
        match everywhere {
            true => mint.sign(),
            false => mint.with_claim("sid", sid(grant)).sign(),
        }
    }

    /// Responds to a request of a node.
    pub async fn answer(
        self,
        from: Arc<Troubles>,
        request: Request<Bytes>,
    ) -> Result<Response<Bytes>, Broken> {
        match request.uri().path() {
            "/token" => self.token(from, request.body()).await,
            "/revoke" => Ok(Response::new(Bytes::new())),
            "/keys" => Ok(json_answer(200, &json!({ "keys": [KEY.public_jwk()] }))),
            _ => Ok(json_answer(200, &metadata())),
        }
    }

    async fn token(self, from: Arc<Troubles>, body: &Bytes) -> Result<Response<Bytes>, Broken> {
        let form: HashMap<String, String> =
            url::form_urlencoded::parse(body).into_owned().collect();
        let fate = self.lock().fates.pop_front().unwrap_or(Fate::Passes);
        let watched = form
            .get("refresh_token")
            .map(|token| Watched::begin(&self, from, token));
        match fate {
            Fate::LostBefore => return Err(Broken),
            Fate::Unavailable => {
                end(watched, End::Unused);
                return Ok(json_answer(503, &json!({})));
            }
            Fate::HeldBefore => self.gates.pass().await,
            _ => {}
        }
        let answer = self.lock().redeem(&form, &self.clock);
        match fate {
            Fate::LostAfter => return Err(Broken),
            Fate::HeldAfter => self.gates.pass().await,
            _ => {}
        }
        end(watched, End::Used);
        Ok(answer)
    }
}

/// A refresh token in a request in progress. Dropped without an end, its sender received no response.
struct Watched {
    provider: Provider,
    number: usize,
}

impl Watched {
    fn begin(provider: &Provider, from: Arc<Troubles>, token: &str) -> Self {
        let (grant, number) = read(token);
        let at = provider.clock.monotonic();
        let mut inner = provider.lock();
        let sent = Sent {
            grant,
            number,
            from,
            at,
            end: None,
        };
        inner.watch(&sent);
        inner.sent.push(sent);
        Self {
            provider: provider.clone(),
            number: inner.sent.len() - 1,
        }
    }

    fn end(&self, end: End) {
        let now = self.provider.clock.monotonic();
        let mut inner = self.provider.lock();
        inner.sent[self.number].end.get_or_insert((now, end));
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.end(End::Unclear);
    }
}

fn end(watched: Option<Watched>, end: End) {
    if let Some(watched) = watched {
        watched.end(end);
    }
}

impl Inner {
    /// A refresh token is sent by one process at a time, and again only after an unknown outcome, when the
    /// previous sender cannot hold the lease any more. A node that could not reach its store is excused.
    fn watch(&mut self, new: &Sent) {
        let before = self.sent.iter().filter(|sent| {
            sent.grant == new.grant && sent.number == new.number && !sent.from.since(sent.at)
        });
        for sent in before {
            let same_node = Arc::ptr_eq(&sent.from, &new.from);
            let violation = match sent.end {
                _ if !self.rules.leases && !same_node => None,
                None => Some("while it is on its way already"),
                Some((end, End::Unclear)) if new.at < end + LEASE_LEFT => {
                    Some("although the previous sender may still have the lease")
                }
                // A node that crashed meanwhile could not save the tokens that it received.
                Some((_, End::Used)) if self.rules.rotates && sent.from.is_dead() => None,
                Some((_, End::Used)) if self.rules.rotates => Some("though it was used"),
                Some(_) => None,
            };
            if let Some(violation) = violation {
                let text = format!(
                    "refresh token {} of s{} is sent {violation}",
                    new.number, new.grant
                );
                self.violation.get_or_insert(text);
                return;
            }
        }
    }

    fn redeem(&mut self, form: &HashMap<String, String>, clock: &ManualClock) -> Response<Bytes> {
        let refused = || json_answer(400, &json!({ "error": "invalid_grant" }));
        if let Some(token) = form.get("refresh_token") {
            let (number, rules) = (read(token), self.rules);
            let (grant, number) = number;
            let held = &mut self.grants[grant];
            if rules.rotates && number != held.refresh && rules.detects_reuse {
                held.revoked = true;
            }
            if held.revoked {
                return refused();
            }
            held.refresh += u64::from(rules.rotates);
            held.access += 1;
            return json_answer(200, &self.issue(grant, clock));
        }
        let code = form.get("code").and_then(|code| self.codes.remove(code));
        let Some((grant, nonce)) = code else {
            return refused();
        };
        let mut answer = self.issue(grant, clock);
        answer["id_token"] = self.id_token(grant, &nonce, clock).into();
        json_answer(200, &answer)
    }

    fn issue(&mut self, number: usize, clock: &ManualClock) -> Value {
        let grant = &mut self.grants[number];
        grant.issued.push(clock.monotonic());
        json!({
            "access_token": format!("at-{number}-{}", grant.access),
            "refresh_token": format!("rt-{number}-{}", grant.refresh),
            "token_type": "Bearer",
            "expires_in": TOKEN_LIFETIME,
        })
    }

    fn id_token(&self, grant: usize, nonce: &str, clock: &ManualClock) -> String {
        let now = clock.unix_seconds();
        let mint = MINT.id_token("shop").with_key(&KEY);
        mint.with_subject(USERS[self.grants[grant].user])
            .with_claim("iat", now)
            .with_claim("exp", now + 60)
            .with_claim("nonce", nonce)
            .with_claim("sid", sid(grant))
            .sign()
    }
}

/// Returns the `sid` of a grant.
pub fn sid(grant: usize) -> String {
    format!("s{grant}")
}

/// Returns the grant and the number of a token.
pub fn read(token: &str) -> (usize, u64) {
    let mut parts = token.split('-').skip(1);
    let grant = parts.next().unwrap().parse().unwrap();
    (grant, parts.next().unwrap().parse().unwrap())
}

fn json_answer(status: u16, body: &Value) -> Response<Bytes> {
    let answer = Response::builder().status(status);
    let answer = answer.header("content-type", "application/json");
    answer.body(body.to_string().into()).unwrap()
}

fn metadata() -> Value {
    json!({
        "issuer": ISSUER,
        "authorization_endpoint": format!("{ISSUER}/authorize"),
        "token_endpoint": format!("{ISSUER}/token"),
        "revocation_endpoint": format!("{ISSUER}/revoke"),
        "jwks_uri": format!("{ISSUER}/keys"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["EdDSA"],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": true,
    })
}

/// A lease of 10 s is renewed every 3 s while a request runs: this much is left when the request ends with an
/// unknown outcome, less the time of two store operations.
const LEASE_LEFT: Duration = Duration::from_secs(6);
