//! [`IssuerLookup`]: looks up the verifier of an issuer at run time, for example one issuer per tenant.

mod cache;

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use self::cache::{LookupCache, LookupOutcome, WAIT_TIMEOUT};
use super::error::{VerifyError, VerifyErrorKind};
use super::issuers::claimed_issuer;
use super::jwt::JwtVerifier;
use super::jwt::settings::JwtSettings;
use crate::clock::{BothClocks, Clock, Now, SharedClock, system_clock, within};
use crate::issuer::Unavailable;
use crate::protocol::sanitize::log_safe;
use crate::single_flight::SingleFlight;
use crate::sync::Mutex;
use crate::telemetry::LogLimits;
use crate::token::explanation::Explanation;
use crate::verification::Verification;

/// How long a lookup may take.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);

/// Looks up the verifier of an issuer when its first token arrives: for tenants that are added and removed while
/// the application runs.
///
/// `allow` is called for every token. If it returns `false`, the token is rejected before anything else happens.
/// Otherwise `lookup` is called; concurrent requests share one lookup. It returns a [`JwtVerifier`] for this
/// issuer, or `None` if there is no such tenant. The result is cached:
///
/// - a verifier for 10 minutes; then the next request looks it up again. While lookups fail, the cached verifier
///   is used for another hour;
/// - `None` for one minute; tokens are rejected with 401;
/// - a failure for a quarter of a second; requests are rejected with 503 and `Retry-After`.
///
/// A request waits at most 2 seconds for a lookup, and a lookup may take 10 seconds. At most 1000 verifiers are
/// cached (the least recently used one is evicted first), and at most 256 issuers without a verifier. If as many
/// lookups began within the last 2 seconds, requests for further issuers are rejected with 503.
///
/// # Security
///
/// The `iss` claim is chosen by the caller until the signature is verified. `allow` must therefore compare whole
/// issuers, or a prefix that ends in a slash: `https://id.example.com` is also a prefix of
/// `https://id.example.com.evil.test`. `lookup` must not send requests to an issuer that it does not know.
///
/// The lookup may create an [`AuthorizationServer`](crate::AuthorizationServer) each time: when a tenant is looked up
/// again, the new one takes over the cached metadata and keys if issuer, metadata address and back channel are the same.
/// A configured back channel (`with_back_channel`, `with_http_client`) is the same only in clones of one handle.
///
/// # Example
///
/// ```
/// use std::convert::Infallible;
/// use tower_oauth::token::{JwtVerifier, Verifier};
/// use tower_oauth::{AuthorizationServer, BearerLayer, ConfigError};
///
/// async fn tenant(issuer: String) -> Result<Option<JwtVerifier>, ConfigError> {
///     // Query the database for the tenant and its audience here.
///     if issuer != "https://id.example.com/acme" {
///         return Ok(None);
///     }
///     let server = AuthorizationServer::new(&issuer)?;
///     JwtVerifier::new(&server, "https://api.example.com").map(Some)
/// }
///
/// let allow = |issuer: &str| issuer.starts_with("https://id.example.com/");
/// let layer = BearerLayer::new(Verifier::lookup(allow, tenant));
/// ```
#[derive(Clone)]
pub struct IssuerLookup {
    shared: Arc<LookupState>,
}

struct LookupState {
    allow: AllowFn,
    lookup: LookupFn,
    clock: SharedClock,
    flights: SingleFlight<Box<str>, LookupOutcome>,
    cache: Mutex<LookupCache>,
    logs: LogLimits,
}

type AllowFn = Arc<dyn Fn(&str) -> bool + Send + Sync>;

type LookupFn =
    Arc<dyn Fn(String) -> Pin<Box<dyn Future<Output = LookupResult> + Send>> + Send + Sync>;

type LookupResult = Result<Option<JwtVerifier>, Box<dyn Error + Send + Sync>>;

impl IssuerLookup {
    /// Creates a lookup that calls `lookup` for the issuers that `allow` accepts.
    pub fn new<F, E>(
        allow: impl Fn(&str) -> bool + Send + Sync + 'static,
        lookup: impl Fn(String) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<Option<JwtVerifier>, E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let lookup: LookupFn = Arc::new(move |issuer| {
            let result = lookup(issuer);
            Box::pin(async move { result.await.map_err(Into::into) })
        });
        Self::from_parts(Arc::new(allow), lookup, system_clock())
    }

    fn from_parts(allow: AllowFn, lookup: LookupFn, clock: SharedClock) -> Self {
        Self {
            shared: Arc::new(LookupState {
                allow,
                lookup,
                clock,
                flights: SingleFlight::default(),
                cache: Mutex::default(),
                logs: LogLimits::per_second(),
            }),
        }
    }

    /// Sets the clock. The returned lookup has an empty cache.
    #[must_use]
    pub fn with_clock(self, clock: impl Clock) -> Self {
        let (allow, lookup) = (
            Arc::clone(&self.shared.allow),
            Arc::clone(&self.shared.lookup),
        );
        Self::from_parts(allow, lookup, Arc::new(clock))
    }

    /// A verifier that the FAPI 2.0 Security Profile does not permit is a failed lookup.
    pub(super) fn restricted_to_fapi2(self) -> Self {
        let shared = &self.shared;
        let (allow, lookup) = (Arc::clone(&shared.allow), Arc::clone(&shared.lookup));
        let lookup: LookupFn = Arc::new(move |issuer| {
            let result = lookup(issuer);
            Box::pin(async move {
                let verifier = result.await?;
                Ok(verifier.map(JwtVerifier::restricted_to_fapi2).transpose()?)
            })
        });
        Self::from_parts(allow, lookup, Arc::clone(&shared.clock))
    }

    pub(super) fn clock(&self) -> &SharedClock {
        &self.shared.clock
    }

    /// Returns the verifier for a token: immediately if it is cached or the token is rejected, else after a lookup.
    pub(super) fn verifier_for(
        &self,
        compact: &str,
        now: &Now<'_>,
    ) -> Verification<Result<JwtVerifier, VerifyError>> {
        let issuer = match self.shared.claimed(compact) {
            Ok(issuer) => issuer,
            Err(error) => return Verification::Ready(Err(error)),
        };
        let now = now.both(&self.shared.clock);
        if let Some(outcome) = self.shared.cache.lock().get(&issuer, now) {
            return Verification::Ready(into_result(outcome));
        }
        let state = Arc::clone(&self.shared);
        Verification::pending(async move { into_result(state.lookup(issuer).await) })
    }

    /// Returns whether the cached verifier of an issuer still has these settings, without waiting.
    pub(super) fn is_current(&self, verifier: &Arc<JwtSettings>, now: &Now<'_>) -> bool {
        let now = now.both(&self.shared.clock);
        let issuer = verifier.server.issuer();
        // `allow` may have changed since the token was validated.
        if !(self.shared.allow)(issuer) {
            return false;
        }
        let outcome = self.shared.cache.lock().get(issuer, now);
        matches!(outcome, Some(LookupOutcome::Found(found)) if found.has_settings(verifier))
    }
}

impl LookupState {
    /// Returns the issuer of a token if `allow` accepts it. This check comes before any I/O: otherwise a caller could
    /// make this process send requests to any host.
    fn claimed(&self, compact: &str) -> Result<Box<str>, VerifyError> {
        let issuer = claimed_issuer(compact)?;
        if (self.allow)(&issuer) {
            Ok(issuer)
        } else {
            let explanation = Explanation::new(
                "an iss that `allow` rejects",
                "an issuer that it accepts",
                "`allow` of IssuerLookup::new",
            );
            Err(VerifyError::explained(VerifyErrorKind::Issuer, explanation))
        }
    }

    /// Waits for the lookup of an issuer that is not cached.
    async fn lookup(self: Arc<Self>, issuer: Box<str>) -> LookupOutcome {
        let start = |_| {
            let now = self.now();
            let mut cache = self.cache.lock();
            // A lookup may have completed since the caller looked at the cache.
            if let Some(outcome) = cache.get(&issuer, now) {
                return Err(outcome);
            }
            if !cache.begin(&issuer, now) {
                return Err(LookupOutcome::Failed);
            }
            let attempt = Attempt {
                state: Arc::clone(&self),
                issuer: issuer.clone(),
                outcome: LookupOutcome::Failed,
            };
            Ok(attempt.run())
        };
        let waiter = match self.flights.join(issuer.clone(), start) {
            Ok(waiter) => waiter,
            Err(outcome) => return outcome,
        };
        let fallback = self.cache.lock().fallback(&issuer, self.now());
        let outcome = within(&*self.clock, WAIT_TIMEOUT, waiter.outcome()).await;
        match (outcome.flatten(), fallback) {
            (None | Some(LookupOutcome::Failed), Some(verifier)) => LookupOutcome::Found(verifier),
            (outcome, _) => outcome.unwrap_or(LookupOutcome::Failed),
        }
    }

    /// Calls the application's lookup.
    async fn call(&self, issuer: &str) -> LookupOutcome {
        let lookup = (self.lookup)(issuer.to_owned());
        match within(&*self.clock, LOOKUP_TIMEOUT, lookup).await {
            Some(Ok(Some(verifier))) if verifier.server().issuer() == issuer => {
                LookupOutcome::Found(verifier)
            }
            Some(Ok(Some(_))) => {
                let error = "the lookup returned the verifier of another issuer";
                self.log_failure("other_issuer", issuer, error);
                LookupOutcome::Failed
            }
            Some(Ok(None)) => LookupOutcome::NotFound,
            Some(Err(error)) => {
                self.log_failure("failed", issuer, &error.to_string());
                LookupOutcome::Failed
            }
            None => {
                self.log_failure("timeout", issuer, "no result within 10 seconds");
                LookupOutcome::Failed
            }
        }
    }

    fn now(&self) -> BothClocks {
        BothClocks::now(&*self.clock)
    }

    /// Logs a failure. The issuer is chosen by the caller, so it is escaped and shortened.
    fn log_failure(&self, kind: &'static str, issuer: &str, error: &str) {
        let now = self.clock.monotonic();
        if self.logs.allows("issuer_lookup_failed", kind, now) {
            tracing::warn!(
                name: "issuer_lookup_failed",
                target: "tower_oauth::bearer",
                issuer = log_safe(issuer),
                error,
                "failed to look up an issuer"
            );
        }
    }
}

/// A lookup in progress. Its outcome is cached when it is dropped: it counts as failed if the lookup panicked or its
/// runtime has shut down.
struct Attempt {
    state: Arc<LookupState>,
    issuer: Box<str>,
    outcome: LookupOutcome,
}

impl Attempt {
    async fn run(mut self) -> LookupOutcome {
        self.outcome = self.state.call(&self.issuer).await;
        if let LookupOutcome::Found(verifier) = &mut self.outcome {
            self.state
                .cache
                .lock()
                .hand_over_keys(&self.issuer, verifier);
        }
        self.outcome.clone()
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let (outcome, now) = (self.outcome.clone(), self.state.now());
        self.state.cache.lock().end(&self.issuer, outcome, now);
    }
}

fn into_result(outcome: LookupOutcome) -> Result<JwtVerifier, VerifyError> {
    match outcome {
        LookupOutcome::Found(verifier) => Ok(verifier),
        LookupOutcome::NotFound => {
            let explanation = Explanation::new(
                "an iss without a verifier",
                "an issuer that the lookup finds",
                "`lookup` of IssuerLookup::new",
            );
            Err(VerifyError::explained(VerifyErrorKind::Issuer, explanation))
        }
        LookupOutcome::Failed => {
            Err(Unavailable::new("the issuer lookup failed", Duration::from_secs(1)).into())
        }
    }
}

impl fmt::Debug for IssuerLookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuerLookup").finish_non_exhaustive()
    }
}
