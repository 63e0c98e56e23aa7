//! Sends introspection requests: one per token at a time, each in its own task, and caches their results.

use std::sync::Arc;
use std::time::Duration;

use tracing::Instrument as _;

use super::cache::IntrospectionCache;
use super::cache_key::CacheKey;
use super::circuit::Circuit;
use super::concurrency::ConcurrencyLimit;
use super::failure::IntrospectionFailure;
use super::in_flight::{InFlight, InFlightGuard, IntrospectionResult, Joined};
use super::response::IntrospectionResponse;
use super::settings::Settings;
use super::{request, validate};
use crate::clock::{Now, unix_seconds, within};
use crate::issuer::Unavailable;
use crate::protocol::AccessToken;
use crate::telemetry::{self, LogLimits, Stopwatch};
use crate::token::TokenInfo;
use crate::token::error::{VerifyError, VerifyErrorKind};

/// How long a caller waits for a response, and an introspection request for its permit.
const WAIT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a caller with a token that was not active before waits while the endpoint is failing, so that an
/// outage does not delay every request. The introspection request itself continues.
const FAILING_WAIT_TIMEOUT: Duration = Duration::from_secs(2);

/// The upper limit on the `Retry-After` that is passed on to a caller.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(30);

/// The `Retry-After` if the authorization server sends none.
const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(1);

pub(super) struct Introspector {
    pub(super) settings: Settings,
    pub(super) cache: IntrospectionCache,
    pub(super) in_flight: Arc<InFlight>,
    pub(super) circuit: Circuit,
    concurrency: ConcurrencyLimit,
    logs: LogLimits,
}

impl Introspector {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            cache: IntrospectionCache::new(&settings),
            in_flight: Arc::new(InFlight::new(&settings)),
            circuit: Circuit::default(),
            concurrency: ConcurrencyLimit::new(settings.concurrency),
            logs: LogLimits::per_minute(),
            settings,
        }
    }

    /// Returns the cached result of a token.
    pub(super) fn cached(&self, key: &CacheKey, now: &Now<'_>) -> Option<IntrospectionResult> {
        let cached = self.cache.get(key, &self.settings, now)?;
        Some(
            cached
                .map_err(VerifyError::from)
                .inspect(|_| telemetry::TokenOrigin::IntrospectionCached.count()),
        )
    }

    /// Introspects a token that is not cached, or joins the request in flight for it.
    pub(super) async fn introspect(
        self: &Arc<Self>,
        key: &CacheKey,
        token: AccessToken,
    ) -> IntrospectionResult {
        let now = self.monotonic();
        let was_active = self.cache.was_active(key, now);
        self.circuit.admit(was_active, now).map_err(paused)?;
        let mut receiver = match self.join(key, token, was_active) {
            Joined::Completed(result) => return result,
            Joined::Waiting(receiver) => receiver,
            Joined::Full => {
                let reason = "too many introspection requests are waiting";
                return Err(unavailable(reason, DEFAULT_RETRY_AFTER));
            }
        };
        let clock = &**self.settings.server.clock();
        let received = within(
            clock,
            self.wait_timeout(was_active),
            receiver.wait_for(Option::is_some),
        )
        .await;
        match received {
            Some(Ok(result)) => result
                .clone()
                .unwrap_or_else(|| Err(unavailable("no response", DEFAULT_RETRY_AFTER)))
                .inspect(|_| telemetry::TokenOrigin::Introspected.count()),
            Some(Err(_)) => {
                let reason = "the introspection request was canceled";
                Err(unavailable(reason, DEFAULT_RETRY_AFTER))
            }
            None => Err(unavailable("no response in time", DEFAULT_RETRY_AFTER)),
        }
    }

    /// Returns how long a caller waits for the response about its token.
    fn wait_timeout(&self, was_active: bool) -> Duration {
        match self.circuit.is_failing(self.monotonic()) && !was_active {
            true => self.concurrency.slow_after().max(FAILING_WAIT_TIMEOUT),
            false => WAIT_TIMEOUT,
        }
    }

    /// Joins the request in flight for this token or begins one, in a task that continues if the caller leaves.
    fn join(self: &Arc<Self>, key: &CacheKey, token: AccessToken, was_active: bool) -> Joined {
        let start = |guard: InFlightGuard| {
            let introspector = Arc::clone(self);
            tokio::spawn(async move { introspector.run(guard, &token, was_active).await });
        };
        let cached = || self.cached(key, &Now::new(self.settings.server.clock()));
        self.in_flight.join(key, was_active, cached, start)
    }

    async fn run(&self, guard: InFlightGuard, token: &AccessToken, was_active: bool) {
        let settings = &self.settings;
        let clock = &**settings.server.clock();
        let permit = self.concurrency.acquire(clock, was_active, WAIT_TIMEOUT);
        let Some(permit) = permit.await else {
            let reason = "too many introspection requests are in flight";
            return guard.complete(Err(unavailable(reason, DEFAULT_RETRY_AFTER)), |_| {});
        };
        // The circuit may have opened while this request waited for its permit.
        if let Some(pause) = self.circuit.pause(self.monotonic()).filter(|_| !was_active) {
            return guard.complete(Err(paused(pause)), |_| {});
        }
        let requested_at = self.monotonic();
        let watch = Stopwatch::start(|| requested_at);
        let issuer = settings.server.issuer();
        let span = tracing::debug_span!(target: "tower_oauth::bearer", "introspect", issuer);
        let request = request::introspect(settings, token).instrument(span);
        let Some(response) = self.concurrency.run(clock, permit, request).await else {
            telemetry::Introspection::Failure.count();
            let reason = "the introspection request was abandoned for others that wait";
            return guard.complete(Err(unavailable(reason, DEFAULT_RETRY_AFTER)), |_| {});
        };
        watch.introspection(|| self.monotonic());
        match &response {
            Ok(IntrospectionResponse::Active(_)) => telemetry::Introspection::Active.count(),
            Ok(IntrospectionResponse::Inactive) => telemetry::Introspection::Inactive.count(),
            Err(_) => telemetry::Introspection::Failure.count(),
        }
        let result = match response {
            Ok(response) => {
                let now = self.monotonic();
                if matches!(response, IntrospectionResponse::Active(_)) {
                    self.concurrency
                        .record_response_time(now.saturating_sub(requested_at));
                }
                if self.circuit.succeeded(now)
                    && self.logs.allows("introspection_recovered", "", now)
                {
                    tracing::info!(
                        name: "introspection_recovered",
                        target: "tower_oauth::bearer",
                        issuer,
                        "introspection succeeded after failures"
                    );
                }
                self.validate(response).map_err(VerifyError::from)
            }
            Err(failure) => Err(self.record_failure(&failure)),
        };
        let key = *guard.key();
        guard.complete(result, |result| match result {
            Ok(token_info) => self
                .cache
                .insert_active(key, token_info, settings, requested_at),
            // A failure says nothing about the token, so it is not cached.
            Err(error) if error.unavailable().is_some() => {}
            Err(error) => {
                self.cache
                    .insert_negative(key, error.kind(), settings, requested_at);
            }
        });
    }

    fn validate(&self, response: IntrospectionResponse) -> Result<Arc<TokenInfo>, VerifyErrorKind> {
        match response {
            IntrospectionResponse::Inactive => Err(VerifyErrorKind::Inactive),
            IntrospectionResponse::Active(active) => {
                let now = unix_seconds(&**self.settings.server.clock());
                validate::validate(&self.settings, *active, now).map(Arc::new)
            }
        }
    }

    /// Counts a failure and logs it, once a minute per kind. Rejected client credentials are logged as an error,
    /// since only an operator can correct them.
    fn record_failure(&self, failure: &IntrospectionFailure) -> VerifyError {
        let now = self.monotonic();
        let other_tokens_work = self.circuit.succeeded_recently(now);
        self.circuit.failed(failure, now);
        let issuer = self.settings.server.issuer();
        let is_misconfigured =
            matches!(failure, IntrospectionFailure::Credentials(_)) && !other_tokens_work;
        let name = match is_misconfigured {
            true => "introspection_credentials_rejected",
            false => "introspection_failed",
        };
        match self.logs.allows(name, failure.kind(), now) {
            true if is_misconfigured => tracing::error!(
                name: "introspection_credentials_rejected",
                target: "tower_oauth::bearer",
                issuer,
                client_id = self.settings.client.id(),
                error = %failure,
                "the introspection endpoint rejected the client credentials; requests get 503 until they \
                 are corrected"
            ),
            true => tracing::warn!(
                name: "introspection_failed",
                target: "tower_oauth::bearer",
                issuer,
                error = %failure,
                other_tokens_work,
                "failed to introspect a token"
            ),
            false => tracing::debug!(
                name: "introspection_failed_again",
                target: "tower_oauth::bearer",
                issuer,
                error = %failure,
                "failed to introspect a token"
            ),
        }
        let requested = failure.retry_after().unwrap_or(DEFAULT_RETRY_AFTER);
        let retry_after = self
            .circuit
            .pause(now)
            .unwrap_or_else(|| requested.clamp(DEFAULT_RETRY_AFTER, MAX_RETRY_AFTER));
        unavailable(&failure.to_string(), retry_after)
    }

    pub(super) fn monotonic(&self) -> Duration {
        self.settings.server.clock().monotonic()
    }
}

fn paused(pause: Duration) -> VerifyError {
    unavailable("introspection is paused after failures", pause)
}

fn unavailable(reason: &str, retry_after: Duration) -> VerifyError {
    Unavailable::new(reason, retry_after).into()
}
