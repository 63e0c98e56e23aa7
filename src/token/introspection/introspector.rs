//! Sends introspection requests: one per token at a time, each in its own task, and caches their results.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tracing::Instrument as _;

use super::cache::IntrospectionCache;
use super::circuit::{Circuit, IntrospectionHealth};
use super::concurrency::ConcurrencyLimit;
use super::failure::IntrospectionFailure;
use super::request;
use super::response::{IntrospectionResponse, validate};
use super::settings::{CacheKey, Settings};
use crate::clock::{BothClocks, Now, unix_seconds, within};
use crate::issuer::Unavailable;
use crate::protocol::AccessToken;
use crate::single_flight::{SingleFlight, Waiter};
use crate::telemetry::{self, LogLimits, Stopwatch};
use crate::token::error::{VerifyError, VerifyErrorKind};
use crate::token::token_info::TokenInfo;

/// How long a caller waits for a response, and an introspection request for its permit.
const WAIT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a caller with a token that was not active before waits while the endpoint is failing, so that an
/// outage does not delay every request. The introspection request itself continues.
const FAILING_WAIT_TIMEOUT: Duration = Duration::from_secs(2);

/// The upper limit on the `Retry-After` that is passed on to a caller.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(30);

/// The `Retry-After` if the authorization server sends none.
const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(1);

/// The number of tokens whose introspection may wait for a permit. Each costs memory. Previously active tokens
/// are counted separately.
const MAX_WAITING: usize = 1024;

pub(super) type IntrospectionResult = Result<Arc<TokenInfo>, VerifyError>;

pub(super) struct Introspector {
    pub(super) settings: Settings,
    cache: IntrospectionCache,
    flights: SingleFlight<CacheKey, IntrospectionOutcome>,
    /// The requests in progress about tokens that were not active before, and about those that were.
    in_progress: [Arc<AtomicUsize>; 2],
    circuit: Circuit,
    concurrency: ConcurrencyLimit,
    logs: LogLimits,
}

/// The outcome of an introspection request.
#[derive(Clone)]
struct IntrospectionOutcome {
    result: IntrospectionResult,
    requested_at: BothClocks,
}

/// Why no introspection request began.
enum NotStarted {
    /// The result was cached in the meantime.
    Cached(IntrospectionResult),
    /// Too many requests are in progress.
    Full,
}

impl Introspector {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            cache: IntrospectionCache::new(&settings),
            flights: SingleFlight::default(),
            in_progress: Default::default(),
            circuit: Circuit::default(),
            concurrency: ConcurrencyLimit::new(settings.concurrency),
            logs: LogLimits::per_minute(),
            settings,
        }
    }

    /// Returns the cached result of a token.
    pub(super) fn cached(&self, key: &CacheKey, now: &Now<'_>) -> Option<IntrospectionResult> {
        let cached = self.cache.get(key, &self.settings, now)?;
        Some(cached.inspect(|_| telemetry::TokenOrigin::IntrospectionCached.count()))
    }

    /// Removes the cached result of a token. The request in progress is detached, so that its result is not cached.
    pub(super) fn invalidate(&self, key: &CacheKey) {
        self.flights.detach(key, || self.cache.remove(key));
    }

    pub(super) fn health(&self) -> IntrospectionHealth {
        self.circuit.health(self.monotonic())
    }

    /// Introspects a token that is not cached, or joins the request in progress for it.
    pub(super) async fn introspect(
        self: &Arc<Self>,
        key: CacheKey,
        token: AccessToken,
    ) -> IntrospectionResult {
        let now = self.monotonic();
        let was_active = self.cache.was_active(&key, now);
        self.circuit.admit(was_active, now).map_err(paused)?;
        let waiter = match self.join(key, token, was_active) {
            Ok(waiter) => waiter,
            Err(NotStarted::Cached(result)) => return result,
            Err(NotStarted::Full) => {
                let reason = "too many introspection requests are waiting";
                return Err(unavailable(reason, DEFAULT_RETRY_AFTER));
            }
        };
        let clock = &**self.settings.server.clock();
        match within(clock, self.wait_timeout(was_active), waiter.outcome()).await {
            Some(Some(introspected)) => introspected
                .result
                .inspect(|_| telemetry::TokenOrigin::Introspected.count()),
            Some(None) => {
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

    /// Joins the request in progress for this token or begins one, in a task that continues if the caller leaves.
    fn join(
        self: &Arc<Self>,
        key: CacheKey,
        token: AccessToken,
        was_active: bool,
    ) -> Result<Waiter<IntrospectionOutcome>, NotStarted> {
        let start = |_| {
            // A request that has just completed left its result in the cache.
            let now = Now::new(self.settings.server.clock());
            if let Some(result) = self.cached(&key, &now) {
                return Err(NotStarted::Cached(result));
            }
            let limit = MAX_WAITING + self.settings.concurrency;
            let counted = Counted::new(&self.in_progress[usize::from(was_active)], limit)
                .ok_or(NotStarted::Full)?;
            let introspector = Arc::clone(self);
            Ok(async move {
                let _counted = counted;
                introspector.run(&token, was_active).await
            })
        };
        let introspector = Arc::clone(self);
        let store =
            move |introspected: &IntrospectionOutcome| introspector.store(key, introspected);
        self.flights.join_and_store(key, start, store)
    }

    async fn run(&self, token: &AccessToken, was_active: bool) -> IntrospectionOutcome {
        let clock = &**self.settings.server.clock();
        let not_sent = |error| IntrospectionOutcome {
            result: Err(error),
            requested_at: self.now(),
        };
        let permit = self.concurrency.acquire(clock, was_active, WAIT_TIMEOUT);
        let Some(permit) = permit.await else {
            let reason = "too many introspection requests are in flight";
            return not_sent(unavailable(reason, DEFAULT_RETRY_AFTER));
        };
        // The circuit may have opened while this request waited for its permit.
        if let Some(pause) = self.circuit.pause(self.monotonic()).filter(|_| !was_active) {
            return not_sent(paused(pause));
        }
        let requested_at = self.now();
        let watch = Stopwatch::start(|| requested_at.monotonic);
        let issuer = self.settings.server.issuer();
        let span = tracing::debug_span!(target: "tower_oauth::bearer", "introspect", issuer);
        let request = request::introspect(&self.settings, token).instrument(span);
        let result = match self.concurrency.run(clock, permit, request).await {
            Some(response) => {
                watch.introspection(|| self.monotonic());
                self.record(response, requested_at.monotonic)
            }
            None => {
                telemetry::Introspection::Failure.count();
                let reason = "the introspection request was abandoned for others that wait";
                Err(unavailable(reason, DEFAULT_RETRY_AFTER))
            }
        };
        IntrospectionOutcome {
            result,
            requested_at,
        }
    }

    /// Records the response for the circuit and the metrics, and validates the token.
    fn record(
        &self,
        response: Result<IntrospectionResponse, IntrospectionFailure>,
        requested_at: Duration,
    ) -> IntrospectionResult {
        let now = self.monotonic();
        let response = response.map_err(|failure| {
            telemetry::Introspection::Failure.count();
            self.record_failure(&failure, now)
        })?;
        if self.circuit.succeeded(now) && self.logs.allows("introspection_recovered", "", now) {
            tracing::info!(
                name: "introspection_recovered",
                target: "tower_oauth::bearer",
                issuer = self.settings.server.issuer(),
                "introspection succeeded after failures"
            );
        }
        match response {
            IntrospectionResponse::Inactive => {
                telemetry::Introspection::Inactive.count();
                Err(VerifyErrorKind::Inactive.into())
            }
            IntrospectionResponse::Active(active) => {
                telemetry::Introspection::Active.count();
                self.concurrency
                    .record_response_time(now.saturating_sub(requested_at));
                let now = unix_seconds(&**self.settings.server.clock());
                let token_info = validate(&self.settings, *active, now)?;
                Ok(Arc::new(token_info))
            }
        }
    }

    /// Caches a result, unless it is a failure, which says nothing about the token.
    fn store(&self, key: CacheKey, introspected: &IntrospectionOutcome) {
        let (settings, requested_at) = (&self.settings, introspected.requested_at);
        match &introspected.result {
            Ok(token_info) => self
                .cache
                .insert_active(key, token_info, settings, requested_at),
            Err(error) if error.unavailable().is_some() => {}
            Err(error) => {
                self.cache
                    .insert_negative(key, error.clone(), settings, requested_at);
            }
        }
    }

    /// Counts a failure and logs it, once a minute per kind.
    fn record_failure(&self, failure: &IntrospectionFailure, now: Duration) -> VerifyError {
        let other_tokens_work = self.circuit.succeeded_recently(now);
        self.circuit.failed(failure, now);
        failure.log(&self.settings, other_tokens_work, &self.logs, now);
        if failure.is_misconfigured(other_tokens_work) {
            return Unavailable::configuration(&failure.to_string()).into();
        }
        let requested = failure.retry_after().unwrap_or(DEFAULT_RETRY_AFTER);
        let retry_after = self
            .circuit
            .pause(now)
            .unwrap_or_else(|| requested.clamp(DEFAULT_RETRY_AFTER, MAX_RETRY_AFTER));
        unavailable(&failure.to_string(), retry_after)
    }

    fn now(&self) -> BothClocks {
        BothClocks::now(&**self.settings.server.clock())
    }

    fn monotonic(&self) -> Duration {
        self.settings.server.clock().monotonic()
    }
}

/// Counts a request while it is in progress, also if it is detached.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    /// Returns `None` if `limit` requests are in progress.
    fn new(count: &Arc<AtomicUsize>, limit: usize) -> Option<Self> {
        let counted = Self(Arc::clone(count));
        (count.fetch_add(1, Ordering::Relaxed) < limit).then_some(counted)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn paused(pause: Duration) -> VerifyError {
    unavailable("introspection is paused after failures", pause)
}

fn unavailable(reason: &str, retry_after: Duration) -> VerifyError {
    Unavailable::new(reason, retry_after).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::issuer::{AuthorizationServer, Client};

    fn introspector() -> Arc<Introspector> {
        let server = AuthorizationServer::new("https://id.example.test").unwrap();
        let client = Client::confidential("api", "secret");
        let settings = Settings::new(&server, client, "api".into()).unwrap();
        Arc::new(Introspector::new(settings))
    }

    #[tokio::test]
    async fn a_caller_that_joins_just_after_completion_starts_no_second_request() {
        let introspector = introspector();
        let completed = IntrospectionOutcome {
            result: Err(VerifyErrorKind::Inactive.into()),
            requested_at: introspector.now(),
        };
        introspector.store([0; 32], &completed);
        let joined = introspector.join([0; 32], AccessToken::new("t"), false);
        assert!(matches!(joined, Err(NotStarted::Cached(Err(_)))));
    }

    #[test]
    fn requests_in_progress_are_counted_until_they_end() {
        let count = Arc::default();
        let first = Counted::new(&count, 2);
        let second = Counted::new(&count, 2);
        assert!(second.is_some() && Counted::new(&count, 2).is_none());
        drop(first);
        assert!(Counted::new(&count, 2).is_some());
        drop(second);
        assert_eq!(count.load(Ordering::Relaxed), 0);
    }
}
