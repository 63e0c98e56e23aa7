//! The settings of an [`IntrospectionVerifier`].

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::verifier::IntrospectionVerifier;
use crate::ConfigError;
use crate::crypto::{Algorithm, DEFAULT_ALGORITHMS};
use crate::issuer::{AuthorizationServer, Client};
use crate::token::audience::Audience;
use crate::token::scope_mapping::{ScopeClaim, ScopeMapping};

const DEFAULT_LEEWAY: i64 = 30;
const MAX_LEEWAY: Duration = Duration::from_secs(300);

/// A revoked token is accepted for at most this time.
const DEFAULT_CACHE_TTL: Duration = Duration::from_secs(60);
const MAX_CACHE_TTL: Duration = Duration::from_secs(60);
const MAX_INSECURE_CACHE_TTL: Duration = Duration::from_secs(3600);
const DEFAULT_NEGATIVE_CACHE_TTL: Duration = Duration::from_secs(10);
const MAX_NEGATIVE_CACHE_TTL: Duration = Duration::from_secs(60);

const DEFAULT_CACHE_SIZE: u64 = 16 * 1024 * 1024;
const DEFAULT_CONCURRENCY: usize = 64;
const MAX_CONCURRENCY: usize = 4096;

#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) server: AuthorizationServer,
    pub(super) client: Client,
    pub(super) audience: Audience,
    /// Overrides the `introspection_endpoint` of the metadata.
    pub(super) endpoint: Option<String>,
    pub(super) signed: bool,
    pub(super) scopes: Option<ScopeMapping>,
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) leeway: i64,
    pub(super) cache_ttl: Duration,
    pub(super) negative_cache_ttl: Duration,
    /// In bytes.
    pub(super) cache_size: u64,
    pub(super) concurrency: usize,
    /// Whether the missing audience was logged: it is logged once per verifier.
    pub(super) audience_warning_logged: Arc<AtomicBool>,
}

impl Settings {
    pub(super) fn new(
        server: &AuthorizationServer,
        client: Client,
        audience: Audience,
    ) -> Result<Self, ConfigError> {
        client.check()?;
        // RFC 7662 §2.1: the endpoint requires authorization, so that tokens cannot be guessed by scanning.
        if client.is_public() {
            return Err(ConfigError::Setting {
                setting: "client",
                value: client.id().to_owned(),
                reason: "introspection requires a client with a secret, a key or a certificate",
            });
        }
        Ok(Self {
            server: server.clone(),
            client,
            audience: audience.checked()?,
            endpoint: None,
            signed: false,
            scopes: None,
            algorithms: DEFAULT_ALGORITHMS.to_vec(),
            leeway: DEFAULT_LEEWAY,
            cache_ttl: DEFAULT_CACHE_TTL,
            negative_cache_ttl: DEFAULT_NEGATIVE_CACHE_TTL,
            cache_size: DEFAULT_CACHE_SIZE,
            concurrency: DEFAULT_CONCURRENCY,
            audience_warning_logged: Arc::default(),
        })
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
    /// with a key of its key set, issued to this client (`aud`) within the last minute, and at most 16 KiB long.
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
        check_max("leeway", leeway, MAX_LEEWAY, "it must be at most 5 minutes")?;
        let leeway = i64::try_from(leeway.as_secs()).unwrap_or(DEFAULT_LEEWAY);
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
        check_max("cache TTL", ttl, MAX_CACHE_TTL, reason)?;
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
        check_max("cache TTL", ttl, MAX_INSECURE_CACHE_TTL, reason)?;
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
        check_max("negative cache TTL", ttl, MAX_NEGATIVE_CACHE_TTL, reason)?;
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

fn check_max(
    name: &'static str,
    value: Duration,
    max: Duration,
    reason: &'static str,
) -> Result<(), ConfigError> {
    if value > max {
        return Err(setting(name, &format!("{value:?}"), reason));
    }
    Ok(())
}

fn setting(name: &'static str, value: &str, reason: &'static str) -> ConfigError {
    ConfigError::Setting {
        setting: name,
        value: value.to_owned(),
        reason,
    }
}
