//! How an [`IntrospectionVerifier`] asks, what it believes, and for how long.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::verifier::IntrospectionVerifier;
use crate::ConfigError;
use crate::crypto::{Algorithm, DEFAULT_ALGORITHMS};
use crate::issuer::{AuthorizationServer, Client};
use crate::token::audience::Audience;
use crate::token::scope_mapping::{ScopeClaim, ScopeMapping};

const LEEWAY: i64 = 30;
const MAX_LEEWAY: Duration = Duration::from_secs(300);

/// How long a token that was revoked may still be taken.
const REMEMBERED_FOR: Duration = Duration::from_secs(60);
const MAX_REMEMBERED_FOR: Duration = Duration::from_secs(60);
const MAX_INSECURELY_REMEMBERED_FOR: Duration = Duration::from_secs(3600);
const REFUSALS_FOR: Duration = Duration::from_secs(10);
const MAX_REFUSALS_FOR: Duration = Duration::from_secs(60);

const MEMORY: u64 = 16 * 1024 * 1024;
const CONCURRENCY: usize = 64;
const MAX_CONCURRENCY: usize = 4096;

#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) server: AuthorizationServer,
    pub(super) client: Client,
    pub(super) audience: Audience,
    /// By hand, instead of that of the metadata.
    pub(super) endpoint: Option<String>,
    pub(super) signed: bool,
    pub(super) scopes: Option<ScopeMapping>,
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) leeway: i64,
    pub(super) remembered_for: Duration,
    pub(super) refusals_for: Duration,
    /// In bytes.
    pub(super) memory: u64,
    pub(super) concurrency: usize,
    /// Whether the word about a missing audience was said; once is enough.
    pub(super) hinted: Arc<AtomicBool>,
}

impl Settings {
    pub(super) fn new(
        server: &AuthorizationServer,
        client: Client,
        audience: Audience,
    ) -> Result<Self, ConfigError> {
        client.check()?;
        // RFC 7662 §2.1: who cannot prove who they are is told nothing.
        if client.is_public() {
            return Err(ConfigError::Setting {
                setting: "client",
                value: client.id().to_owned(),
                reason: "introspection needs a client with a secret, a key or a certificate",
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
            leeway: LEEWAY,
            remembered_for: REMEMBERED_FOR,
            refusals_for: REFUSALS_FOR,
            memory: MEMORY,
            concurrency: CONCURRENCY,
            hinted: Arc::default(),
        })
    }
}

/// Like every setting of a server, each of these forgets what was remembered so far: call them before
/// layers are made.
impl IntrospectionVerifier {
    /// Asks at this URL instead of the `introspection_endpoint` of the metadata (RFC 8414 §2).
    ///
    /// # Errors
    ///
    /// [`ConfigError::Url`] unless it is https, or http where the issuer itself is on loopback, without
    /// user name and fragment.
    pub fn with_endpoint(self, url: &str) -> Result<Self, ConfigError> {
        if !self.settings().server.allows(url) {
            return Err(ConfigError::Url {
                setting: "introspection endpoint",
                value: url.to_owned(),
                reason: "it must be https, without user name and fragment",
            });
        }
        Ok(self.change(|settings| settings.endpoint = Some(url.to_owned())))
    }

    /// Asks for signed answers ([RFC 9701]) and takes nothing else: a plain answer is refused as a
    /// downgrade.
    ///
    /// An answer counts if it is a JWT of type `token-introspection+jwt`, signed by the authorization
    /// server with a key of its key set, for this client (`aud`), not older than a minute, and not longer
    /// than 16 KiB; only what stands in its `token_introspection` is read. Encrypted answers are not
    /// supported.
    ///
    /// [RFC 9701]: https://www.rfc-editor.org/rfc/rfc9701
    #[must_use]
    pub fn with_signed_answers(self) -> Self {
        self.change(|settings| settings.signed = true)
    }

    /// The algorithms that signed answers may have: RS256, PS256, ES256, ES384 and EdDSA unless said
    /// otherwise.
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

    /// The members whose values count as scopes, instead of `scope`; see [`ScopeClaim`].
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

    /// How far the clocks of both servers may be apart: 30 seconds unless said otherwise, 5 minutes at
    /// most. Fractions of a second are cut off. What is remembered is not used past `exp` in any case.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] above 5 minutes.
    pub fn with_leeway(self, leeway: Duration) -> Result<Self, ConfigError> {
        check_longest("leeway", leeway, MAX_LEEWAY, "it must be at most 5 minutes")?;
        let leeway = i64::try_from(leeway.as_secs()).unwrap_or(LEEWAY);
        Ok(self.change(|settings| settings.leeway = leeway))
    }

    /// How long a good answer is used again: 60 seconds unless said otherwise, and at most; zero asks
    /// for every request. Never past `exp` ([RFC 7662 §4]).
    ///
    /// A token that is revoked may be taken for so long; see [`invalidate`](Self::invalidate).
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] above 60 seconds; see
    /// [`with_insecure_cache_ttl`](Self::with_insecure_cache_ttl).
    ///
    /// [RFC 7662 §4]: https://www.rfc-editor.org/rfc/rfc7662#section-4
    pub fn with_cache_ttl(self, time: Duration) -> Result<Self, ConfigError> {
        let reason = "it must be at most 60 seconds, or be set by `with_insecure_cache_ttl`";
        check_longest("remembered for", time, MAX_REMEMBERED_FOR, reason)?;
        Ok(self.change(|settings| settings.remembered_for = time))
    }

    /// Uses a good answer again for longer than a minute, up to an hour: **so long a revoked token keeps
    /// working here**. Only for tokens that nobody revokes.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] above one hour.
    pub fn with_insecure_cache_ttl(self, time: Duration) -> Result<Self, ConfigError> {
        let reason = "it must be at most one hour";
        check_longest(
            "remembered for",
            time,
            MAX_INSECURELY_REMEMBERED_FOR,
            reason,
        )?;
        Ok(self.change(|settings| settings.remembered_for = time))
    }

    /// How long a refusal is used again: 10 seconds unless said otherwise, 60 at most; zero asks for
    /// every request. They are kept apart from good answers, and 16 384 at most.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] above 60 seconds.
    pub fn with_negative_cache_ttl(self, time: Duration) -> Result<Self, ConfigError> {
        let reason = "it must be at most 60 seconds";
        check_longest("refusals remembered for", time, MAX_REFUSALS_FOR, reason)?;
        Ok(self.change(|settings| settings.refusals_for = time))
    }

    /// How many bytes good answers may take up: 16 MiB unless said otherwise, about 10 000 answers of
    /// common size. When it is full, what is used often stays.
    #[must_use]
    pub fn with_memory(self, bytes: u64) -> Self {
        self.change(|settings| settings.memory = bytes)
    }

    /// Sets how many questions may be under way at once: 64 by default. More wait for their turn, 5 seconds at
    /// most; beyond 1024 that wait, requests get 503 at once.
    ///
    /// Two kinds of questions have places beside these. A question that takes four times as long as answers
    /// about active tokens took (at least 250 milliseconds; one second as long as none is known) moves to one
    /// of half as many places for slow questions. If these are taken and others wait for a turn, it is given
    /// up with 503. And tokens that were active at their last answer have a quarter as many turns of their
    /// own, and a waiting line of their own.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] for zero, and above 4096.
    pub fn with_concurrency(self, calls: usize) -> Result<Self, ConfigError> {
        if !(1..=MAX_CONCURRENCY).contains(&calls) {
            let reason = "it must be 1 to 4096";
            return Err(setting("concurrency", &calls.to_string(), reason));
        }
        Ok(self.change(|settings| settings.concurrency = calls))
    }
}

fn check_longest(
    name: &'static str,
    time: Duration,
    longest: Duration,
    reason: &'static str,
) -> Result<(), ConfigError> {
    if time > longest {
        return Err(setting(name, &format!("{time:?}"), reason));
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
