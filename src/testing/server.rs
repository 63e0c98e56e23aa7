//! The test server: configuration, shared state, and the handles derived from it.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use url::{Origin, Url};

use super::browser::Transport;
use super::browser_sessions::{BrowserSessions, SignIn};
use super::clock::ManualClock;
use super::endpoint::NonceKeys;
use super::fault::Faults;
use super::granted_access::DetailRules;
use super::grants::Grants;
use super::introspected::Introspected;
use super::key_ring::KeyRing;
use super::logout::SentLogoutToken;
use super::mint::TokenMint;
use super::registry::TestClient;
use super::request_features::RequestFeatures;
use super::request_log::RequestLog;
use super::service::TestBackChannel;
use super::user::TestUser;
use crate::crypto::Algorithm;
use crate::protocol::ScopeSet;
use crate::store::Key;
use crate::{AuthorizationServer, ConfigError};

/// An in-process authorization server for tests and demos.
///
/// The server is strict: it compares redirect URIs exactly, requires PKCE with S256 from every client,
/// issues single-use codes, rotates refresh tokens and revokes the grant on reuse, and sends `iss` in
/// every authorization response. Clones share all state.
///
/// It is a tower service for requests with any body. Connect it to a [`Browser`](super::Browser), nest
/// it in a router, or serve it on a socket with [`listen`](Self::listen). See the [module](super) for
/// examples. State is kept in memory without limits.
#[derive(Clone)]
pub struct TestServer {
    pub(super) shared: Arc<ServerInner>,
}

pub(super) struct ServerInner {
    handle: AuthorizationServer,
    /// The identity of the back channels to this server.
    back_channel: Arc<()>,
    pub(super) issuer: Url,
    clock: Mutex<ManualClock>,
    pub(super) keys: KeyRing,
    pub(super) request_log: RequestLog,
    pub(super) faults: Faults,
    pub(super) introspected: Introspected,
    /// The keys of DPoP nonces, if proofs must have one.
    pub(super) nonces: OnceLock<NonceKeys>,
    state: Mutex<ServerState>,
}

#[derive(Debug, Default)]
pub(super) struct ServerState {
    pub(super) clients: Vec<TestClient>,
    pub(super) users: Vec<TestUser>,
    pub(super) sessions: BrowserSessions,
    pub(super) grants: Grants,
    /// Client assertions that have been used, as `iss` and `jti`.
    pub(super) assertions: HashSet<String>,
    /// DPoP proofs that have been used.
    pub(super) proofs: HashSet<Key>,
    /// Revoked tokens, in order.
    pub(super) revoked: Vec<String>,
    /// Sign-ins that ended and for which no logout token has been sent yet.
    pub(super) ended: Vec<SignIn>,
    pub(super) sent_logout_tokens: Vec<SentLogoutToken>,
    /// Services in this process that receive logout tokens, by origin.
    pub(super) relying_parties: Vec<(Origin, Transport)>,
    pub(super) detail_rules: Option<DetailRules>,
    /// Consents: subject, client and scopes.
    pub(super) consents: Vec<(String, String, ScopeSet)>,
    /// Whether the FAPI 2.0 Security Profile applies.
    pub(super) fapi2: bool,
    pub(super) features: RequestFeatures,
}

impl ServerState {
    pub(super) fn client(&self, id: &str) -> Option<&TestClient> {
        self.clients.iter().find(|client| client.id == id)
    }

    pub(super) fn user(&self, subject: &str) -> Option<&TestUser> {
        self.users.iter().find(|user| user.subject == subject)
    }
}

impl TestServer {
    /// Creates a server with this issuer identifier, one RS256 key, and no clients or users.
    ///
    /// Its clock stands still until a test advances it, except that code that sleeps goes on after that time
    /// ([`ManualClock::with_real_timers`]). Tests of timeouts set a [clock](Self::with_clock) whose sleeps end only by
    /// [`advance`](ManualClock::advance).
    ///
    /// # Errors
    ///
    /// [`ConfigError::Issuer`] if [`AuthorizationServer::new`] rejects the issuer.
    pub fn new(issuer: &str) -> Result<Self, ConfigError> {
        let handle = AuthorizationServer::new(issuer)?;
        let url = Url::parse(issuer).map_err(|_| ConfigError::Issuer {
            value: issuer.to_owned(),
            reason: "not a URL",
        })?;
        Ok(Self {
            shared: Arc::new(ServerInner {
                handle,
                back_channel: Arc::default(),
                issuer: url,
                clock: Mutex::new(ManualClock::with_real_timers(1_800_000_000)),
                keys: KeyRing::new(),
                request_log: RequestLog::default(),
                faults: Faults::default(),
                introspected: Introspected::default(),
                nonces: OnceLock::new(),
                state: Mutex::default(),
            }),
        })
    }

    /// Sets the clock, for example one [without timers](ManualClock::new), one shared with another server, or a
    /// [ticking](ManualClock::ticking) one for a demo. Call this before the other methods.
    #[must_use]
    pub fn with_clock(self, clock: ManualClock) -> Self {
        *self
            .shared
            .clock
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = clock;
        self
    }

    /// Sets the algorithm that signs tokens by default. Default: RS256.
    #[must_use]
    pub fn with_algorithm(self, algorithm: Algorithm) -> Self {
        self.shared.keys.set_default_algorithm(algorithm);
        self
    }

    /// Registers a client. Replaces a client with the same id.
    #[must_use]
    pub fn add_client(self, client: TestClient) -> Self {
        {
            let mut state = self.state();
            state.clients.retain(|other| other.id != client.id);
            state.clients.push(client);
        }
        self
    }

    /// Registers a user. Replaces a user with the same name.
    #[must_use]
    pub fn add_user(self, user: TestUser) -> Self {
        {
            let mut state = self.state();
            state.users.retain(|other| other.name != user.name);
            state.users.push(user);
        }
        self
    }

    /// Returns the issuer identifier.
    pub fn issuer(&self) -> &str {
        self.shared.handle.issuer()
    }

    /// Returns the clock of this server. Clones share the time.
    pub fn clock(&self) -> ManualClock {
        self.shared
            .clock
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Returns the configuration for the application under test. It uses the server's clock and an
    /// in-process back channel.
    #[must_use]
    pub fn authorization_server(&self) -> AuthorizationServer {
        self.shared
            .handle
            .clone()
            .with_clock(self.clock())
            .with_back_channel(self.back_channel())
            .with_back_channel_identity(&self.shared.back_channel)
    }

    /// Returns a back channel to this server that needs no network.
    pub fn back_channel(&self) -> TestBackChannel {
        TestBackChannel::new(self.clone())
    }

    /// Creates an access token ([RFC 9068]) with subject `alice`, client `test-client`, no scopes, the
    /// issuer as audience, and a lifetime of five minutes. Set the audience that the API expects.
    ///
    /// [RFC 9068]: https://www.rfc-editor.org/rfc/rfc9068
    pub fn access_token(&self) -> TokenMint {
        self.mint("at+jwt")
            .with_issuer(self.issuer())
            .with_subject("alice")
            .with_audience(self.issuer())
            .with_client("test-client")
    }

    /// Creates an ID token for this client with subject `alice` and no `nonce` (OpenID Connect Core §2).
    pub fn id_token(&self, client_id: &str) -> TokenMint {
        self.mint("JWT")
            .without_claim("jti")
            .with_issuer(self.issuer())
            .with_subject("alice")
            .with_audience(client_id)
    }

    /// Creates a token with this `typ`, `iat`, `exp` and `jti`.
    pub(super) fn mint(&self, typ: &str) -> TokenMint {
        let shared = &self.shared;
        TokenMint::new(
            &shared.keys,
            &shared.introspected,
            typ,
            self.clock().unix_seconds(),
        )
    }

    pub(super) fn state(&self) -> MutexGuard<'_, ServerState> {
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
