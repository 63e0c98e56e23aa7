//! [`Dpop`]: the settings for DPoP.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

use super::nonce::{DpopNonceKey, NONCE_LIFETIME};
use super::target::BaseUrl;
use crate::ConfigError;
use crate::clock::{Clock, SharedClock, system_clock, unix_seconds};
use crate::crypto::{Algorithm, DEFAULT_ALGORITHMS, keep_fapi2_algorithms};
use crate::store::{MemoryStore, SharedStore, Store};
use crate::token::{VerifyErrorKind, fapi2};

/// In seconds.
const DEFAULT_MAX_AGE: i64 = 60;
/// In seconds.
const DEFAULT_LEEWAY: i64 = 10;
const MAX_MAX_AGE: Duration = Duration::from_secs(300);
const MAX_LEEWAY: Duration = Duration::from_secs(60);

/// In seconds: how far the wall clock can be set back before recorded proofs become valid again.
const CLOCK_ROLLBACK_ALLOWANCE: i64 = 60;

/// Verifies the DPoP proofs of sender-constrained access tokens ([RFC 9449]), for
/// [`BearerLayer::with_dpop`](crate::BearerLayer::with_dpop).
///
/// A token that is bound to a key (`cnf.jkt`) is accepted with the `DPoP` scheme if the request has a proof that
///
/// 1. is a single JWT of type `dpop+jwt` in a single `DPoP` field, signed with an allowed algorithm;
/// 2. has the public key of its signature in its header, and this is the key that the token is bound to;
/// 3. matches the method (`htm`), the URL (`htu`) and the access token (`ath`);
/// 4. was created within the last minute (`iat`), and has a nonce of this server if [nonces](Self::with_nonces) are
///    enabled;
/// 5. was not used before (`jti`).
///
/// A bound token with the `Bearer` scheme, an unbound token with the `DPoP` scheme, and a `DPoP` field with a bearer
/// token are rejected. Unbound bearer tokens are still accepted, unless DPoP is [`required`](Self::required).
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
/// **Replay store.** Used proofs are recorded in a [`MemoryStore`] of 262 144 entries, or in the store of
/// [`with_store`](Self::with_store). Several processes must share a store, because otherwise a proof can be replayed
/// once to each. If the store is full or unavailable, requests with DPoP are rejected with 503. A client with a valid
/// token can fill the store, so add a rate limit in front of the layer. The contents of a memory store are lost on a
/// restart, and if the wall clock is set back by more than a minute, expired entries no longer prevent a replay.
///
/// **Paths.** A proof is compared with the path that the layer receives, so place layers that rewrite paths (trim a
/// slash, change a prefix) inside of it. A request whose path has a dot segment (`..`, `%2e%2e`), a backslash or a
/// control character is rejected with `invalid_dpop_proof`: URLs are compared without dot segments, so a proof for `/x`
/// would also match `/admin/../x`. `%2F` and `;` are allowed;
/// [`RejectAmbiguousPathsLayer`](crate::bearer::RejectAmbiguousPathsLayer) rejects them too.
///
/// **Nested layers.** Clones of a `Dpop` share the replay store. Use it in only one of the layers around a handler: a
/// second one would reject every proof as a replay.
///
/// **CORS.** Scripts of another origin can read `WWW-Authenticate` and `DPoP-Nonce` only if an outer CORS layer exposes
/// them (`Access-Control-Expose-Headers`).
///
/// # Not checked
///
/// The query, the body and the header fields of a request: a proof does not cover them.
///
/// [RFC 9449]: https://www.rfc-editor.org/rfc/rfc9449
#[derive(Clone)]
pub struct Dpop {
    settings: Arc<Settings>,
}

#[derive(Clone)]
pub(super) struct Settings {
    pub(super) bases: Vec<BaseUrl>,
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) max_age: i64,
    pub(super) leeway: i64,
    pub(super) nonces: Option<DpopNonceKey>,
    /// Whether the nonce alone decides whether a proof is recent.
    pub(super) ignores_iat: bool,
    /// In seconds: how far `iat` may be in the future even then.
    pub(super) max_ahead: Option<i64>,
    pub(super) clock: SharedClock,
    default_store: SharedStore,
    /// The configured store, used instead of the default one.
    custom_store: Option<SharedStore>,
    required: bool,
}

impl Dpop {
    /// Accepts proofs for the server that clients reach at this URL, usually an origin such as
    /// `https://api.example.com`.
    ///
    /// If a proxy removes a prefix from the path, include the prefix in the URL, as in `https://example.com/api`.
    /// Prefixes that axum removes (`Router::nest`) are handled. The `Host` header and forwarding headers are not used.
    ///
    /// The defaults are the algorithms RS256, PS256, ES256, ES384 and EdDSA, a maximum age of 60 seconds, a leeway of 10
    /// seconds, and no nonces.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Url`] unless the URL is https (or http on loopback) without query, fragment and user name.
    pub fn new(external_base_url: &str) -> Result<Self, ConfigError> {
        let clock = system_clock();
        let settings = Settings {
            bases: vec![BaseUrl::new(external_base_url)?],
            algorithms: DEFAULT_ALGORITHMS.to_vec(),
            max_age: DEFAULT_MAX_AGE,
            leeway: DEFAULT_LEEWAY,
            nonces: None,
            ignores_iat: false,
            max_ahead: None,
            clock,
            default_store: SharedStore::new(MemoryStore::new()),
            custom_store: None,
            required: false,
        };
        Ok(Self {
            settings: Arc::new(settings),
        })
    }

    /// Adds another base URL of this server. A proof may match any of them.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Url`] as for [`new`](Self::new).
    pub fn add_base_url(mut self, external_base_url: &str) -> Result<Self, ConfigError> {
        let base = BaseUrl::new(external_base_url)?;
        self.settings_mut().bases.push(base);
        Ok(self)
    }

    /// Records used proofs in this store. Processes that share the store detect replays across all of them.
    #[must_use]
    pub fn with_store(mut self, store: impl Store) -> Self {
        let clock = Arc::clone(&self.settings.clock);
        self.settings_mut().custom_store = Some(SharedStore::new(store).with_clock(clock));
        self
    }

    /// Requires a nonce of this server in every proof, so that proofs cannot be created in advance ([RFC 9449 §9]).
    ///
    /// A proof without a current nonce is rejected with 401 `use_dpop_nonce` and the nonce in `DPoP-Nonce`. Before the
    /// nonce of a client expires, a successful response has the next one, and `Cache-Control: no-store`.
    ///
    /// [RFC 9449 §9]: https://www.rfc-editor.org/rfc/rfc9449#section-9
    #[must_use]
    pub fn with_nonces(mut self, key: DpopNonceKey) -> Self {
        let settings = self.settings_mut();
        (settings.nonces, settings.ignores_iat) = (Some(key), false);
        self
    }

    /// Requires a nonce as [`with_nonces`](Self::with_nonces) does, and lets it alone decide whether a proof is recent
    /// ([RFC 9449 §4.3] (11)): for clients whose clock is wrong, such as devices.
    ///
    /// `iat` must still be a number. Its value is not compared, except with the FAPI 2.0 Security Profile, which permits at
    /// most 1 minute in the future. A proof is accepted as long as its nonce, at most 4 minutes. Each `jti` is kept in the
    /// replay store until then, so the store holds more entries. Replaces `with_nonces`; the last of both calls counts.
    ///
    /// [RFC 9449 §4.3]: https://www.rfc-editor.org/rfc/rfc9449#section-4.3
    #[must_use]
    pub fn with_nonces_instead_of_iat(mut self, key: DpopNonceKey) -> Self {
        let settings = self.settings_mut();
        (settings.nonces, settings.ignores_iat) = (Some(key), true);
        self
    }

    /// Rejects all tokens with the `Bearer` scheme, and offers only `DPoP` in challenges.
    #[must_use]
    pub fn required(mut self) -> Self {
        self.settings_mut().required = true;
        self
    }

    /// Replaces the allowed signature algorithms of proofs.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] if the list is empty.
    pub fn with_algorithms(
        mut self,
        algorithms: impl IntoIterator<Item = Algorithm>,
    ) -> Result<Self, ConfigError> {
        let algorithms: Vec<_> = algorithms.into_iter().collect();
        if algorithms.is_empty() {
            return Err(ConfigError::Setting {
                setting: "DPoP algorithms",
                value: "[]".to_owned(),
                reason: "at least one is required",
            });
        }
        self.settings_mut().algorithms = algorithms;
        Ok(self)
    }

    /// Sets the maximum age of a proof: from 1 second to 5 minutes. The default is 60 seconds. Fractions of a second are
    /// truncated.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] if it is out of range.
    pub fn with_max_age(mut self, max_age: Duration) -> Result<Self, ConfigError> {
        let allowed = Duration::from_secs(1)..=MAX_MAX_AGE;
        let reason = "it must be from 1 second to 5 minutes";
        let seconds = ConfigError::check_duration("DPoP max age", max_age, allowed, reason)?;
        self.settings_mut().max_age = seconds;
        Ok(self)
    }

    /// Sets how far the clock of a client may be ahead. The default is 10 seconds, the maximum 1 minute.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] if it is longer than 1 minute.
    pub fn with_leeway(mut self, leeway: Duration) -> Result<Self, ConfigError> {
        let (allowed, reason) = (Duration::ZERO..=MAX_LEEWAY, "it must be at most 1 minute");
        let seconds = ConfigError::check_duration("DPoP leeway", leeway, allowed, reason)?;
        self.settings_mut().leeway = seconds;
        Ok(self)
    }

    /// Uses this clock for proofs, nonces and the replay store. The default replay store is replaced by an empty one.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        let clock: SharedClock = Arc::new(clock);
        let settings = self.settings_mut();
        let memory = MemoryStore::new().with_shared_clock(Arc::clone(&clock));
        settings.default_store = SharedStore::new(memory).with_clock(Arc::clone(&clock));
        let custom_store = settings.custom_store.take();
        settings.custom_store = custom_store.map(|store| store.with_clock(Arc::clone(&clock)));
        settings.clock = clock;
        self
    }

    /// Returns whether all tokens with the `Bearer` scheme are rejected (RFC 9728 §2, `dpop_bound_access_tokens_required`).
    pub(crate) fn is_required(&self) -> bool {
        self.settings.required
    }

    /// Removes the algorithms that the FAPI 2.0 Security Profile does not permit, which may be all, and rejects proofs of
    /// the future even if a nonce decides whether a proof is recent.
    pub(crate) fn restrict_to_fapi2(&mut self) {
        let settings = self.settings_mut();
        keep_fapi2_algorithms(&mut settings.algorithms);
        settings.max_ahead = Some(fapi2::MAX_LEEWAY);
    }

    /// Returns the value of `algs` in a challenge (RFC 9449 §7.1).
    pub(crate) fn algorithms(&self) -> String {
        let names: Vec<_> = self
            .settings
            .algorithms
            .iter()
            .map(|one| one.name())
            .collect();
        names.join(" ")
    }

    /// Returns the nonce for the response to a request rejected for this reason (RFC 9449 §9).
    pub(crate) fn nonce_for(&self, kind: VerifyErrorKind) -> Option<HeaderValue> {
        let nonces = self.settings.nonces.as_ref();
        let nonces = nonces.filter(|_| kind == VerifyErrorKind::DpopNonce)?;
        nonces.issue(unix_seconds(&*self.settings.clock))
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Layers share the settings, so they are copied on write.
    fn settings_mut(&mut self) -> &mut Settings {
        Arc::make_mut(&mut self.settings)
    }
}

impl Settings {
    pub(super) fn store(&self) -> &SharedStore {
        self.custom_store.as_ref().unwrap_or(&self.default_store)
    }

    /// Returns how long a proof is kept in the replay store: at least as long as it is accepted (RFC 9449 §11.1).
    pub(super) fn retention(&self) -> Duration {
        let accepted_for = match self.ignores_iat {
            true => NONCE_LIFETIME,
            false => self.max_age,
        };
        let seconds = accepted_for + self.leeway + CLOCK_ROLLBACK_ALLOWANCE;
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
