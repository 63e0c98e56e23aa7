//! [`Dpop`]: what a layer needs to know to check proofs of possession.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::nonce::DpopNonceKey;
use super::target::Base;
use crate::ConfigError;
use crate::clock::{Clock, SharedClock, SystemClock};
use crate::crypto::{Algorithm, DEFAULT_ALGORITHMS};
use crate::store::{MemoryStore, SharedStore, Store};

const DEFAULT_MAX_AGE: i64 = 60;
const DEFAULT_LEEWAY: i64 = 10;
const MAX_MAX_AGE: Duration = Duration::from_secs(300);
const MAX_LEEWAY: Duration = Duration::from_secs(60);

/// A wall clock may be set back by this much, and what was shown before is still remembered.
const SET_BACK: i64 = 60;

/// Sender-constrained access tokens by DPoP ([RFC 9449]), for
/// [`BearerLayer::with_dpop`](crate::BearerLayer::with_dpop).
///
/// A token that is bound to a key (`cnf.jkt`) passes when it comes by the scheme `DPoP` with a proof that
///
/// 1. is one JWT of type `dpop+jwt` in one `DPoP` field, signed by an allowed algorithm;
/// 2. brings the public key that made its signature, and that is the key the token is bound to;
/// 3. names this method (`htm`), this URL (`htu`) and this token (`ath`);
/// 4. was made within the last minute (`iat`), and holds a nonce of ours where
///    [nonces](Self::with_nonces) are on;
/// 5. was not shown before (`jti`).
///
/// A bound token as `Bearer`, a token that is not bound as `DPoP`, and a `DPoP` field beside `Bearer` are
/// refused. Bearer tokens that are not bound pass as before, unless [`required`](Self::required).
///
/// ```
/// use tower_oauth::token::Dpop;
/// use tower_oauth::{AuthorizationServer, BearerLayer};
///
/// let server = AuthorizationServer::new("https://id.example.com")?;
/// let layer = BearerLayer::jwt(&server, "https://api.example.com")?
///     .with_dpop(Dpop::new("https://api.example.com")?);
/// # Ok::<(), tower_oauth::ConfigError>(())
/// ```
///
/// # Deployment notes
///
/// Proofs are remembered in a [`MemoryStore`] of 262 144 entries unless [`with_store`](Self::with_store)
/// brings another. Memory is one process's: behind several of them a proof can be shown once to each, so
/// bring a store that they share. When the store is full or away, requests with DPoP get 503 and no proof
/// is taken; a client with a good token could fill it, so put a limit of requests in front. What memory
/// held is gone with a restart, and a wall clock that is set back by more than a minute makes proofs fit
/// again that are forgotten.
///
/// A proof is compared with the path as the layer sees it: what rewrites paths (a trimmed slash, another
/// prefix) stands further in.
///
/// A request whose path has a dot segment (`..`, `%2e%2e`), a backslash or a control character is refused
/// with `invalid_dpop_proof`: URLs are compared without dot segments, so a proof for `/x` would also fit
/// `/admin/../x`. `%2F` and `;` are allowed;
/// [`RejectAmbiguousPathsLayer`](crate::bearer::RejectAmbiguousPathsLayer) refuses them too.
///
/// One `Dpop` that is cloned into several layers has one memory. So of two layers around one handler only
/// one may have it: to the second, every proof was shown before.
///
/// Scripts in browsers read `WWW-Authenticate` and `DPoP-Nonce` of another origin only where the CORS
/// layer, outside of this one, exposes them (`Access-Control-Expose-Headers`).
///
/// # Not checked here
///
/// Query, body and header fields of a request: a proof does not cover them.
///
/// [RFC 9449]: https://www.rfc-editor.org/rfc/rfc9449
#[derive(Clone)]
pub struct Dpop {
    settings: Arc<Settings>,
}

#[derive(Clone)]
pub(super) struct Settings {
    pub(super) bases: Vec<Base>,
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) max_age: i64,
    pub(super) leeway: i64,
    pub(super) nonces: Option<DpopNonceKey>,
    pub(super) clock: SharedClock,
    memory: SharedStore,
    /// What was brought instead of memory.
    brought: Option<SharedStore>,
    required: bool,
}

impl Dpop {
    /// Takes proofs for the server that clients reach at this URL: its origin, as in
    /// `https://api.example.com`.
    ///
    /// Where a proxy in front takes a prefix off the path, the prefix belongs to the URL, as in
    /// `https://example.com/api`. Prefixes that axum takes off (`Router::nest`) are known. The `Host` of a
    /// request and what proxies add to it are never looked at.
    ///
    /// Unless set otherwise: RS256, PS256, ES256, ES384 and EdDSA; proofs of the last 60 seconds, and 10
    /// seconds ahead; no nonces.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Url`] unless it is https (or http on loopback) without query, fragment and user name.
    pub fn new(external_base_url: &str) -> Result<Self, ConfigError> {
        let clock: SharedClock = Arc::new(SystemClock);
        let settings = Settings {
            bases: vec![Base::new(external_base_url)?],
            algorithms: DEFAULT_ALGORITHMS.to_vec(),
            max_age: DEFAULT_MAX_AGE,
            leeway: DEFAULT_LEEWAY,
            nonces: None,
            clock,
            memory: SharedStore::new(MemoryStore::new()),
            brought: None,
            required: false,
        };
        Ok(Self {
            settings: Arc::new(settings),
        })
    }

    /// Adds another URL that clients reach this server at. A proof is good if it names any of them.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn add_base_url(mut self, external_base_url: &str) -> Result<Self, ConfigError> {
        let base = Base::new(external_base_url)?;
        self.change().bases.push(base);
        Ok(self)
    }

    /// Remembers proofs in this store.
    #[must_use]
    pub fn with_store(mut self, store: impl Store) -> Self {
        let clock = Arc::clone(&self.settings.clock);
        self.change().brought = Some(SharedStore::new(store).with_clock(clock));
        self
    }

    /// Demands a nonce of ours in every proof, so that none can be made ahead of time ([RFC 9449 §9]).
    ///
    /// A client without one is answered 401 `use_dpop_nonce` with the nonce in `DPoP-Nonce`; when its own
    /// grows old, the answer to a good request brings the next, and is then not to be stored.
    ///
    /// [RFC 9449 §9]: https://www.rfc-editor.org/rfc/rfc9449#section-9
    #[must_use]
    pub fn with_nonces(mut self, key: DpopNonceKey) -> Self {
        self.change().nonces = Some(key);
        self
    }

    /// Refuses every token by the scheme `Bearer`, and offers only `DPoP`.
    #[must_use]
    pub fn required(mut self) -> Self {
        self.change().required = true;
        self
    }

    /// The signature algorithms of proofs that are allowed, instead of the default ones.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] for an empty list.
    pub fn with_algorithms(
        mut self,
        algorithms: impl IntoIterator<Item = Algorithm>,
    ) -> Result<Self, ConfigError> {
        let algorithms: Vec<_> = algorithms.into_iter().collect();
        if algorithms.is_empty() {
            return Err(ConfigError::Setting {
                setting: "DPoP algorithms",
                value: "[]".to_owned(),
                reason: "there must be at least one",
            });
        }
        self.change().algorithms = algorithms;
        Ok(self)
    }

    /// How long ago a proof may have been made: 60 seconds unless said otherwise, a second at least and 5
    /// minutes at most. Fractions of a second are cut off.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] for anything else.
    pub fn with_max_age(mut self, max_age: Duration) -> Result<Self, ConfigError> {
        if max_age.as_secs() == 0 || max_age > MAX_MAX_AGE {
            return Err(ConfigError::Setting {
                setting: "DPoP max age",
                value: format!("{max_age:?}"),
                reason: "it must be at least a second and at most 5 minutes",
            });
        }
        self.change().max_age = i64::try_from(max_age.as_secs()).unwrap_or(DEFAULT_MAX_AGE);
        Ok(self)
    }

    /// How far ahead of ours a client's clock may be: 10 seconds unless said otherwise, a minute at most.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] above a minute.
    pub fn with_leeway(mut self, leeway: Duration) -> Result<Self, ConfigError> {
        if leeway > MAX_LEEWAY {
            return Err(ConfigError::Setting {
                setting: "DPoP leeway",
                value: format!("{leeway:?}"),
                reason: "it must be at most a minute",
            });
        }
        self.change().leeway = i64::try_from(leeway.as_secs()).unwrap_or(DEFAULT_LEEWAY);
        Ok(self)
    }

    /// Reads time from this clock, for proofs and nonces, and for what the memory of its own forgets.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        let clock: SharedClock = Arc::new(clock);
        let settings = self.change();
        let memory = MemoryStore::new().with_shared_clock(Arc::clone(&clock));
        settings.memory = SharedStore::new(memory).with_clock(Arc::clone(&clock));
        let brought = settings.brought.take();
        settings.brought = brought.map(|store| store.with_clock(Arc::clone(&clock)));
        settings.clock = clock;
        self
    }

    /// Whether a token by the scheme `Bearer` is refused whatever it is (`D27`).
    pub(crate) fn is_required(&self) -> bool {
        self.settings.required
    }

    /// The algorithms as a challenge lists them (RFC 9449 §7.1).
    pub(crate) fn algorithms(&self) -> String {
        let names: Vec<_> = self
            .settings
            .algorithms
            .iter()
            .map(|one| one.name())
            .collect();
        names.join(" ")
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Settings are shared by the layers made from them, so a change makes its own copy.
    fn change(&mut self) -> &mut Settings {
        Arc::make_mut(&mut self.settings)
    }
}

impl Settings {
    pub(super) fn store(&self) -> &SharedStore {
        self.brought.as_ref().unwrap_or(&self.memory)
    }

    /// From the earliest moment a proof can be shown to the last, and what a clock may be off (`D18`).
    pub(super) fn keep(&self) -> Duration {
        let seconds = self.max_age + self.leeway + SET_BACK;
        Duration::from_secs(seconds.unsigned_abs())
    }
}

impl fmt::Debug for Dpop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dpop")
            .field("bases", &self.settings.bases)
            .field("nonces", &self.settings.nonces.is_some())
            .field("required", &self.settings.required)
            .finish_non_exhaustive()
    }
}
