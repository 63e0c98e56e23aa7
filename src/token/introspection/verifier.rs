//! [`IntrospectionVerifier`]: the cached result of a token, or an introspection request.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::circuit::IntrospectionHealth;
use super::introspector::{IntrospectionResult, Introspector};
use super::settings::{Settings, check_syntax};
use crate::ConfigError;
use crate::clock::{Now, SharedClock};
use crate::crypto::Algorithm;
use crate::issuer::{AuthorizationServer, Client};
use crate::protocol::AccessToken;
use crate::token::audience::Audience;
use crate::token::error::VerifyError;
use crate::token::fapi2;
use crate::token::scope_mapping::{ScopeClaim, ScopeMapping};
use crate::token::verified::VerifiedToken;
use crate::verification::Verification;

const MAX_LEEWAY: Duration = Duration::from_secs(300);
const MAX_CACHE_TTL: Duration = Duration::from_secs(60);
const MAX_INSECURE_CACHE_TTL: Duration = Duration::from_secs(3600);
const MAX_NEGATIVE_CACHE_TTL: Duration = Duration::from_secs(60);
const MAX_CONCURRENCY: usize = 4096;

/// Validates access tokens by introspection ([RFC 7662]): opaque tokens, or JWTs whose revocation must take effect
/// within a minute.
///
/// The client is the registration of this API at the authorization server, with its secret, key or certificate. A
/// token is accepted if
///
/// 1. `active` in the response is the JSON value `true`;
/// 2. `aud` contains the audience of this API, and `iss`, if present, is this server;
/// 3. the current time is within `nbf` and `exp`, if present;
/// 4. it is an access token;
/// 5. its confirmation (`cnf`), if any, is of a kind that the layer can check.
///
/// Active results are cached for [60 seconds](Self::with_cache_ttl), negative ones for
/// [10](Self::with_negative_cache_ttl), failures never. Concurrent requests with one token share one introspection
/// request. If it fails, the response is 503 with `Retry-After`, because the token was not validated.
///
/// # Failures
///
/// Some servers respond to malformed tokens with 401, 429 or 5xx, close the connection or hang, and every caller
/// can send such tokens. A failure therefore affects only the token of that request; other tokens are still
/// introspected:
///
/// - After five consecutive requests that could not be *sent* (name resolution, connection, TLS), introspection
///   pauses for 1, 2, 4 … 30 seconds, except for one previously active token each second.
/// - If no request succeeds for 5 seconds, callers with tokens that were not active before wait 2 seconds instead
///   of 5 for the response.
/// - Previously active tokens have reserved permits; see [`with_concurrency`](Self::with_concurrency).
///
/// Tokens for which the endpoint hangs can still delay *new* tokens if they arrive faster than permits become
/// free: about 250 a second with the default settings and an endpoint that responds to active tokens within 60
/// milliseconds. If that matters, put a rate limit per client in front of the layer.
///
/// # Example
///
/// ```
/// use tower_oauth::token::IntrospectionVerifier;
/// use tower_oauth::{AuthorizationServer, BearerLayer, Client};
///
/// let server = AuthorizationServer::new("https://id.example.com")?;
/// let client = Client::confidential("orders-api", "a secret from the environment");
/// let verifier = IntrospectionVerifier::new(&server, client, "https://api.example.com")?
///     .with_signed_responses();
/// let layer = BearerLayer::new(verifier.clone());
/// # Ok::<(), tower_oauth::ConfigError>(())
/// ```
///
/// # Not checked
///
/// Whether the account of the subject still exists, and anything that only the application knows. A revoked token
/// is accepted until its cached result expires, unless [`invalidate`](Self::invalidate) is called.
///
/// Cloning is cheap; clones share one cache. It must be used within a Tokio runtime.
///
/// [RFC 7662]: https://www.rfc-editor.org/rfc/rfc7662
#[derive(Clone)]
pub struct IntrospectionVerifier {
    introspector: Arc<Introspector>,
}

impl IntrospectionVerifier {
    /// Creates a verifier that introspects tokens at `server`, authenticating as `client`, and accepts tokens for
    /// `audience`: the identifier of *this* API, as the server sets it in `aud`.
    ///
    /// # Errors
    ///
    /// - [`ConfigError::Audience`] if the audience is empty.
    /// - [`ConfigError::Setting`] if the client id is invalid or the client is public.
    /// - [`ConfigError::Secret`] if the client secret is invalid.
    pub fn new(
        server: &AuthorizationServer,
        client: Client,
        audience: impl Into<Audience>,
    ) -> Result<Self, ConfigError> {
        Settings::new(server, client, audience.into()).map(Self::from_settings)
    }

    fn from_settings(settings: Settings) -> Self {
        Self {
            introspector: Arc::new(Introspector::new(settings)),
        }
    }

    pub(crate) fn restricted_to_fapi2(self) -> Result<Self, ConfigError> {
        let mut settings = self.introspector.settings.clone();
        let (server, audience) = (&settings.server, &settings.audience);
        fapi2::restrict(server, audience, settings.leeway, &mut settings.algorithms)?;
        if let Some(url) = settings.endpoint {
            return Err(ConfigError::Setting {
                setting: "introspection endpoint",
                value: url,
                reason: "the FAPI 2.0 Security Profile requires that of the metadata: no `with_endpoint`",
            });
        }
        Ok(Self::from_settings(settings))
    }

    fn settings(&self) -> &Settings {
        &self.introspector.settings
    }

    /// Results are valid only for the settings they were validated with, so a change begins with an empty cache.
    fn change(self, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = self.introspector.settings.clone();
        change(&mut settings);
        Self::from_settings(settings)
    }

    /// Validates a token that did not arrive in a request, such as one in a message of a queue or a WebSocket.
    ///
    /// Uses the cache of this verifier. Waits at most 5 seconds for an introspection request.
    ///
    /// # Not checked
    ///
    /// As for [`JwtVerifier::verify`](crate::token::JwtVerifier::verify), except that a revoked token is rejected once
    /// its cached result expires.
    ///
    /// # Errors
    ///
    /// [`VerifyErrorKind::Unavailable`](crate::token::VerifyErrorKind::Unavailable) if the token could not be
    /// introspected, [`VerifyErrorKind::Bound`](crate::token::VerifyErrorKind::Bound) if it is sender-constrained, and
    /// the other kinds if it is not valid.
    pub async fn verify(&self, token: &str) -> Result<VerifiedToken, VerifyError> {
        let verification = self.verify_at(token, &Now::new(self.clock()));
        VerifiedToken::without_request(verification.outcome().await?, token, &**self.clock())
    }

    /// Removes the cached result of a token: for an application that learns of a revocation.
    ///
    /// The result of an introspection request in flight is not used for later requests.
    pub fn invalidate(&self, token: &str) {
        self.introspector
            .invalidate(&self.settings().cache_key(token));
    }

    /// Returns the current state of introspection, for a readiness probe. Performs no I/O.
    pub fn health(&self) -> IntrospectionHealth {
        self.introspector.health()
    }

    pub(crate) fn clock(&self) -> &SharedClock {
        self.settings().server.clock()
    }

    pub(crate) fn audience(&self) -> &Audience {
        &self.settings().audience
    }

    /// Returns the result for a token: the cached one, or that of an introspection request.
    pub(crate) fn verify_at(
        &self,
        token: &str,
        now: &Now<'_>,
    ) -> Verification<IntrospectionResult> {
        if let Err(kind) = check_syntax(token) {
            return Verification::Ready(Err(kind.into()));
        }
        let key = self.settings().cache_key(token);
        if let Some(result) = self.introspector.cached(&key, now) {
            return Verification::Ready(result);
        }
        let (introspector, token) = (Arc::clone(&self.introspector), AccessToken::new(token));
        Verification::pending(async move { introspector.introspect(key, token).await })
    }
}

/// Each of these methods returns a verifier with an empty cache. Call them before creating layers.
impl IntrospectionVerifier {
    /// Sends introspection requests to `url` instead of the `introspection_endpoint` of the metadata
    /// ([RFC 8414 §2](https://www.rfc-editor.org/rfc/rfc8414#section-2)).
    ///
    /// # Errors
    ///
    /// [`ConfigError::Url`] unless the URL is https (or http, if the issuer is on loopback) and has no user name
    /// and no fragment.
    pub fn with_endpoint(self, url: &str) -> Result<Self, ConfigError> {
        if !self.settings().server.allows(url) {
            return Err(ConfigError::Url {
                setting: "introspection endpoint",
                value: url.to_owned(),
                reason: "it must be https, without a user name or a fragment",
            });
        }
        Ok(self.change(|settings| settings.endpoint = Some(url.to_owned())))
    }

    /// Requires signed introspection responses ([RFC 9701]). A plain response fails as a downgrade.
    ///
    /// A response is accepted if it is a JWT of type `token-introspection+jwt`, signed by the authorization server
    /// with a key of its key set, issued within the last minute to this client or the configured audience (`aud`), and at most 256 KiB long.
    /// Only its `token_introspection` claim is used. Encrypted responses are not supported.
    ///
    /// [RFC 9701]: https://www.rfc-editor.org/rfc/rfc9701
    #[must_use]
    pub fn with_signed_responses(self) -> Self {
        self.change(|settings| settings.signed = true)
    }

    /// Sets the algorithms that are allowed for signed responses. Default: RS256, PS256, ES256, ES384 and EdDSA.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] for an empty list.
    pub fn with_algorithms(
        self,
        algorithms: impl IntoIterator<Item = Algorithm>,
    ) -> Result<Self, ConfigError> {
        let algorithms: Vec<_> = algorithms.into_iter().collect();
        if algorithms.is_empty() {
            return Err(setting("algorithms", "[]", "there must be at least one"));
        }
        Ok(self.change(|settings| settings.algorithms = algorithms))
    }

    /// Reads scopes from these members of the response instead of `scope`; see [`ScopeClaim`].
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] for an empty list, and for a claim without a name.
    pub fn with_scopes_from<S: Into<ScopeClaim>>(
        self,
        claims: impl IntoIterator<Item = S>,
    ) -> Result<Self, ConfigError> {
        let mapping = ScopeMapping::new(claims)?;
        Ok(self.change(|settings| settings.scopes = Some(mapping)))
    }

    /// Sets the clock skew that is tolerated for `exp`, `nbf` and `iat`: 30 seconds by default, at most 5 minutes.
    ///
    /// Fractions of a second are truncated. A cached result is never used after `exp`, whatever the leeway.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] above 5 minutes.
    pub fn with_leeway(self, leeway: Duration) -> Result<Self, ConfigError> {
        let (allowed, reason) = (Duration::ZERO..=MAX_LEEWAY, "it must be at most 5 minutes");
        let leeway = ConfigError::check_duration("leeway", leeway, allowed, reason)?;
        Ok(self.change(|settings| settings.leeway = leeway))
    }

    /// Sets how long an active result is cached: 60 seconds by default and at most. Zero disables caching.
    ///
    /// A result is never used after `exp` ([RFC 7662 §4]). A token that is revoked is accepted until its result
    /// expires; see [`invalidate`](Self::invalidate).
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] above 60 seconds; see
    /// [`with_insecure_cache_ttl`](Self::with_insecure_cache_ttl).
    ///
    /// [RFC 7662 §4]: https://www.rfc-editor.org/rfc/rfc7662#section-4
    pub fn with_cache_ttl(self, ttl: Duration) -> Result<Self, ConfigError> {
        let reason = "it must be at most 60 seconds; `with_insecure_cache_ttl` allows more";
        ConfigError::check_duration("cache TTL", ttl, Duration::ZERO..=MAX_CACHE_TTL, reason)?;
        Ok(self.change(|settings| settings.cache_ttl = ttl))
    }

    /// Caches active results for longer than a minute, up to an hour. **A revoked token is accepted for that
    /// long.** Use it only for tokens that are never revoked.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] above one hour.
    pub fn with_insecure_cache_ttl(self, ttl: Duration) -> Result<Self, ConfigError> {
        let reason = "it must be at most one hour";
        ConfigError::check_duration(
            "cache TTL",
            ttl,
            Duration::ZERO..=MAX_INSECURE_CACHE_TTL,
            reason,
        )?;
        Ok(self.change(|settings| settings.cache_ttl = ttl))
    }

    /// Sets how long a negative result is cached: 10 seconds by default, at most 60. Zero disables negative
    /// caching.
    ///
    /// At most 16 384 negative results are cached, separately from active ones.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] above 60 seconds.
    pub fn with_negative_cache_ttl(self, ttl: Duration) -> Result<Self, ConfigError> {
        let reason = "it must be at most 60 seconds";
        ConfigError::check_duration(
            "negative cache TTL",
            ttl,
            Duration::ZERO..=MAX_NEGATIVE_CACHE_TTL,
            reason,
        )?;
        Ok(self.change(|settings| settings.negative_cache_ttl = ttl))
    }

    /// Sets the size of the cache of active results in bytes: 16 MiB by default, about 10 000 results of common
    /// size. When the cache is full, it keeps the results that are used most often.
    #[must_use]
    pub fn with_cache_size(self, bytes: u64) -> Self {
        self.change(|settings| settings.cache_size = bytes)
    }

    /// Sets the maximum number of concurrent introspection requests: 64 by default. Further ones wait at most 5
    /// seconds for a permit. If 1024 wait already, requests are rejected with 503 immediately.
    ///
    /// Two kinds of requests have additional permits:
    ///
    /// - *Slow* requests, which take four times as long as the average request about an active token (at least 250
    ///   milliseconds; one second until an active token was seen), move to half as many separate slots. If these
    ///   are occupied and others wait for a permit, a slow request is abandoned with 503.
    /// - Tokens that were active at their last introspection have a quarter as many reserved permits and a queue
    ///   of their own.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] for zero, and above 4096.
    pub fn with_concurrency(self, limit: usize) -> Result<Self, ConfigError> {
        if !(1..=MAX_CONCURRENCY).contains(&limit) {
            let reason = "it must be between 1 and 4096";
            return Err(setting("concurrency", &limit.to_string(), reason));
        }
        Ok(self.change(|settings| settings.concurrency = limit))
    }
}

fn setting(name: &'static str, value: &str, reason: &'static str) -> ConfigError {
    ConfigError::Setting {
        setting: name,
        value: value.to_owned(),
        reason,
    }
}

impl fmt::Debug for IntrospectionVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings = self.settings();
        f.debug_struct("IntrospectionVerifier")
            .field("issuer", &settings.server.issuer())
            .field("client_id", &settings.client.id())
            .field("signed", &settings.signed)
            .finish_non_exhaustive()
    }
}
