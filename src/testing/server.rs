//! The server's handle: who is registered, which keys sign, what was asked, what shall fail.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use url::{Origin, Url};

use super::browser::{Browser, Transport};
use super::clock::ManualClock;
use super::fault::Faults;
use super::grants::Grants;
use super::introspected::Introspected;
use super::key_ring::KeyRing;
use super::logout::SentLogout;
use super::mint::TokenMint;
use super::record::Record;
use super::registry::{TestClient, TestUser};
use super::service::BackChannel;
use super::sessions::{Sessions, SignIn};
use crate::crypto::Algorithm;
use crate::protocol::ScopeSet;
use crate::{AuthorizationServer, ConfigError};

/// An authorization server in the process of a test or a demo.
///
/// It is strict: exact redirect URIs, PKCE by S256 for every client, single-use codes, rotating refresh
/// tokens whose replay ends the grant, `iss` in every authorization response. Clones share everything.
///
/// It is a tower service for requests with any body, to be put behind a
/// [`Browser`](super::Browser), into a router or on a socket ([`listen`](Self::listen)); the
/// [module](super) shows it at work. State lives in memory and is never thrown away.
#[derive(Clone)]
pub struct TestServer {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    handle: AuthorizationServer,
    pub(super) issuer: Url,
    clock: Mutex<ManualClock>,
    pub(super) keys: KeyRing,
    pub(super) record: Record,
    pub(super) faults: Faults,
    pub(super) introspected: Introspected,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) clients: Vec<TestClient>,
    pub(super) users: Vec<TestUser>,
    pub(super) sessions: Sessions,
    pub(super) grants: Grants,
    /// Client assertions that were used.
    pub(super) assertions: HashSet<String>,
    /// Tokens that were ended before their time.
    pub(super) revoked: Vec<String>,
    /// Sign-ins that ended, of which no client was told yet.
    pub(super) ended: Vec<SignIn>,
    pub(super) sent_logouts: Vec<SentLogout>,
    /// Where logout tokens go in this process.
    pub(super) relying_parties: Vec<(Origin, Transport)>,
    /// What a subject has already allowed a client.
    pub(super) consents: Vec<(String, String, ScopeSet)>,
}

impl State {
    pub(super) fn client(&self, id: &str) -> Option<&TestClient> {
        self.clients.iter().find(|client| client.id == id)
    }

    pub(super) fn user(&self, subject: &str) -> Option<&TestUser> {
        self.users.iter().find(|user| user.subject == subject)
    }
}

impl TestServer {
    /// A server with this issuer identifier, no client, no user, one RS256 key and a [`ManualClock`].
    ///
    /// # Errors
    ///
    /// [`ConfigError::Issuer`] for what [`AuthorizationServer::new`] refuses.
    pub fn new(issuer: &str) -> Result<Self, ConfigError> {
        let handle = AuthorizationServer::new(issuer)?;
        let url = Url::parse(issuer).map_err(|_| ConfigError::Issuer {
            value: issuer.to_owned(),
            reason: "not a URL",
        })?;
        Ok(Self {
            shared: Arc::new(Shared {
                handle,
                issuer: url,
                clock: Mutex::new(ManualClock::new(1_800_000_000)),
                keys: KeyRing::new(),
                record: Record::default(),
                faults: Faults::default(),
                introspected: Introspected::default(),
                state: Mutex::default(),
            }),
        })
    }

    /// Reads time from this clock: one shared with another server, or a
    /// [ticking](ManualClock::ticking) one for a demo. Call it first.
    #[must_use]
    pub fn with_clock(self, clock: ManualClock) -> Self {
        *self
            .shared
            .clock
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = clock;
        self
    }

    /// Signs by this algorithm unless told otherwise; RS256 by default.
    #[must_use]
    pub fn with_algorithm(self, algorithm: Algorithm) -> Self {
        self.shared.keys.sign_by_default(algorithm);
        self
    }

    /// Registers a client, in the place of one with the same id.
    #[must_use]
    pub fn add_client(self, client: TestClient) -> Self {
        {
            let mut state = self.state();
            state.clients.retain(|other| other.id != client.id);
            state.clients.push(client);
        }
        self
    }

    /// Lets somebody sign in, in the place of a user with the same name.
    #[must_use]
    pub fn add_user(self, user: TestUser) -> Self {
        {
            let mut state = self.state();
            state.users.retain(|other| other.name != user.name);
            state.users.push(user);
        }
        self
    }

    /// The issuer identifier.
    pub fn issuer(&self) -> &str {
        self.shared.handle.issuer()
    }

    /// The clock of this server, to be turned.
    pub fn clock(&self) -> ManualClock {
        self.shared
            .clock
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// What an application under test needs to know this server: in process, by the server's clock.
    #[must_use]
    pub fn authorization_server(&self) -> AuthorizationServer {
        self.shared
            .handle
            .clone()
            .with_clock(self.clock())
            .with_back_channel(self.back_channel())
    }

    /// The way from an application to this server without a network.
    pub fn back_channel(&self) -> BackChannel {
        BackChannel::new(self.clone())
    }

    /// A new browser that can reach this server and goes by its clock.
    pub fn browser(&self) -> Browser {
        Browser::new()
            .with_clock(self.clock())
            .with_service(self.shared.issuer.origin(), self.clone())
    }

    /// An access token by RFC 9068 that needs only its audience: for the issuer itself, of subject
    /// `alice`, got by `test-client`, without scopes, good for five minutes.
    pub fn access_token(&self) -> TokenMint {
        self.mint("at+jwt")
            .with_issuer(self.issuer())
            .with_subject("alice")
            .with_audience(self.issuer())
            .with_client("test-client")
    }

    /// An ID token of subject `alice` for this client, without `nonce` (OpenID Connect Core §2).
    pub fn id_token(&self, client_id: &str) -> TokenMint {
        self.mint("JWT")
            .without_claim("jti")
            .with_issuer(self.issuer())
            .with_subject("alice")
            .with_audience(client_id)
    }

    /// A token of this `typ` with times and `jti`, and nothing else yet.
    pub(super) fn mint(&self, typ: &str) -> TokenMint {
        let shared = &self.shared;
        TokenMint::new(
            &shared.keys,
            &shared.introspected,
            typ,
            self.clock().unix_seconds(),
        )
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for TestServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestServer")
            .field("issuer", &self.issuer())
            .finish_non_exhaustive()
    }
}
