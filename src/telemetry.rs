//! Metrics through the `metrics` facade (feature `metrics`; no-ops without it), and limits on log events.
//!
//! `docs/observability.md` documents both. Labels are enums, so that callers cannot create time series.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use crate::sync::Mutex;

/// Whether a lasting condition was logged. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct LogOnce(Arc<AtomicBool>);

impl LogOnce {
    /// Returns `true` once.
    pub(crate) fn is_first(&self) -> bool {
        !self.0.load(Ordering::Relaxed) && !self.0.swap(true, Ordering::Relaxed)
    }
}

/// Defines an enum whose values increment a counter under one label. The keys are static, so counting does not allocate.
macro_rules! counted {
    ($(#[$about:meta])* $name:ident, $metric:literal, $label:literal, { $($(#[$meaning:meta])* $value:ident => $text:literal,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum $name {
            $($(#[$meaning])* $value,)+
        }

        impl $name {
            /// Returns the value of the label.
            // Log events have the labels of some counters only.
            #[allow(dead_code)]
            pub(crate) fn label(self) -> &'static str {
                match self {
                    $(Self::$value => $text,)+
                }
            }

            #[inline]
            pub(crate) fn count(self) {
                #[cfg(feature = "metrics")]
                match self {
                    $(Self::$value => metrics::counter!($metric, $label => $text).increment(1),)+
                }
            }
        }
    };
}

counted! {
    /// The result of a request at a `BearerLayer`.
    Request, "tower_oauth_requests_total", "outcome", {
        Accepted => "accepted",
        /// Without credentials, forwarded by an optional layer.
        Anonymous => "anonymous",
        Refused => "refused",
    }
}

counted! {
    /// Why a layer or an extractor rejected a request.
    Reason, "tower_oauth_refusals_total", "reason", {
        NoCredentials => "no_credentials",
        UnsupportedCredentials => "unsupported_credentials",
        InvalidRequest => "invalid_request",
        InvalidToken => "invalid_token",
        InvalidDpopProof => "invalid_dpop_proof",
        /// A proof without a fresh nonce: with nonces enabled, the first request of every client.
        UseDpopNonce => "use_dpop_nonce",
        InsufficientScope => "insufficient_scope",
        Policy => "policy",
        StepUp => "insufficient_user_authentication",
        UnlistedMethod => "unlisted_method",
        Unavailable => "unavailable",
        Misconfigured => "misconfigured",
    }
}

counted! {
    /// Why a token was rejected, or could not be validated.
    RejectedToken, "tower_oauth_rejected_tokens_total", "kind", {
        TooLong => "too_long",
        Malformed => "malformed",
        Algorithm => "algorithm",
        Extension => "extension",
        Type => "type",
        Issuer => "issuer",
        UnknownKey => "unknown_key",
        UnfitKey => "unfit_key",
        AmbiguousKey => "ambiguous_key",
        Signature => "signature",
        Claims => "claims",
        Expired => "expired",
        TooOld => "too_old",
        NotYetValid => "not_yet_valid",
        Audience => "audience",
        NotAnAccessToken => "not_an_access_token",
        Bound => "bound",
        NotBound => "not_bound",
        DpopProof => "dpop_proof",
        DpopKey => "dpop_key",
        DpopNonce => "dpop_nonce",
        StrayDpopProof => "stray_dpop_proof",
        DpopRequired => "dpop_required",
        CustomClaims => "custom_claims",
        Inactive => "inactive",
        Unavailable => "unavailable",
        Configuration => "configuration",
        StoreUnavailable => "store_unavailable",
    }
}

counted! {
    /// How an accepted token was validated.
    TokenOrigin, "tower_oauth_tokens_total", "source", {
        Verified => "verified",
        Introspected => "introspected",
        IntrospectionCached => "introspection_cached",
        /// Verified before, and still valid.
        Cached => "cached",
    }
}

counted! {
    /// The result of a key set fetch.
    KeyFetch, "tower_oauth_key_fetches_total", "outcome", {
        Success => "success",
        Failure => "failure",
    }
}

counted! {
    /// The result of an introspection request.
    Introspection, "tower_oauth_introspections_total", "outcome", {
        Active => "active",
        Inactive => "inactive",
        Failure => "failure",
    }
}

counted! {
    /// The result of a refresh request of a session.
    Refresh, "tower_oauth_refreshes_total", "outcome", {
        Success => "success",
        /// The authorization server rejected the refresh token.
        Refused => "refused",
        /// The tokens are forged, of another identity or of another type.
        NotForSession => "not_for_session",
        Misconfigured => "misconfigured",
        Unavailable => "unavailable",
        /// The response was lost: the refresh token may have been used.
        Unclear => "unclear",
    }
}

counted! {
    /// Why a `LoginLayer` or a layer inside of it rejected a request.
    RefusedSession, "tower_oauth_session_refusals_total", "code", {
        /// A request with a session that did not come from a page of the application.
        CrossSite => "cross_site_request",
        /// A request without a session.
        LoginRequired => "login_required",
        /// A session that does not meet a policy.
        Forbidden => "forbidden",
        AuthenticationTooWeak => "authentication_too_weak",
    }
}

counted! {
    /// Why a session ended.
    SessionEnd, "tower_oauth_session_ends_total", "reason", {
        SignedOut => "signed_out",
        Replaced => "replaced",
        BackChannel => "back_channel",
        FrontChannel => "front_channel",
        Administrator => "administrator",
        Hook => "hook",
        RefreshRejected => "refresh_rejected",
    }
}

/// Counts the end of a login by `success` or the code of its error page, which is a constant of the crate.
pub(crate) fn count_login(code: &'static str) {
    #[cfg(feature = "metrics")]
    metrics::counter!("tower_oauth_logins_total", "code" => code).increment(1);
    #[cfg(not(feature = "metrics"))]
    let _ = code;
}

counted! {
    /// Why a store operation failed.
    // Some reasons are known for Redis only.
    #[allow(dead_code)]
    StoreFailure, "tower_oauth_store_failures_total", "reason", {
        Full => "full",
        /// The server refused the connection.
        Refused => "refused",
        TimedOut => "timed_out",
        /// The user name or password is wrong or missing, or the user lacks a permission.
        Authentication => "authentication",
        /// The server is a replica.
        ReadOnly => "read_only",
        Tls => "tls",
        /// Any other reason; the log has it.
        Unavailable => "unavailable",
        Panicked => "panicked",
    }
}

/// Measures a duration for a histogram; empty without the feature `metrics`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch(#[cfg(feature = "metrics")] Duration);

impl Stopwatch {
    #[inline]
    pub(crate) fn start(clock: impl Fn() -> Duration) -> Self {
        #[cfg(not(feature = "metrics"))]
        let _ = clock;
        Self(
            #[cfg(feature = "metrics")]
            clock(),
        )
    }

    /// Records the verification of a token that was not cached.
    #[inline]
    pub(crate) fn verification(self, clock: impl Fn() -> Duration) {
        #[cfg(feature = "metrics")]
        metrics::histogram!("tower_oauth_verification_seconds").record(self.seconds(clock()));
        #[cfg(not(feature = "metrics"))]
        let _ = clock;
    }

    /// Records an introspection request.
    #[inline]
    pub(crate) fn introspection(self, clock: impl Fn() -> Duration) {
        #[cfg(feature = "metrics")]
        metrics::histogram!("tower_oauth_introspection_seconds").record(self.seconds(clock()));
        #[cfg(not(feature = "metrics"))]
        let _ = clock;
    }

    #[cfg(feature = "metrics")]
    fn seconds(self, now: Duration) -> f64 {
        now.saturating_sub(self.0).as_secs_f64()
    }
}

/// The burst of events of one kind, and the interval after which another event is allowed.
#[derive(Clone, Copy, Debug)]
struct LogRate {
    burst: u32,
    interval: Duration,
}

/// For lasting conditions: one event, and a reminder every minute.
const PER_MINUTE: LogRate = LogRate {
    burst: 1,
    interval: Duration::from_secs(60),
};

/// For outages, so that the log shows that they continue.
const PER_TEN_SECONDS: LogRate = LogRate {
    burst: 1,
    interval: Duration::from_secs(10),
};

/// For events that a caller can cause with every request.
const PER_SECOND: LogRate = LogRate {
    burst: 100,
    interval: Duration::from_secs(1),
};

/// Limits the rate of log events that callers can cause, separately for each kind of event, so that a flood of one kind
/// does not suppress another.
///
/// A kind is the name of the event and a detail. Both are constants of the crate and never text of a caller, so their
/// number is limited.
#[derive(Debug)]
pub(crate) struct LogLimits {
    rate: LogRate,
    kinds: Mutex<BTreeMap<(&'static str, &'static str), LogBucket>>,
}

#[derive(Debug)]
struct LogBucket {
    left: u32,
    refilled_at: Duration,
    suppressed: u64,
}

impl LogLimits {
    /// Allows one event of a kind per minute.
    pub(crate) fn per_minute() -> Self {
        Self::new(PER_MINUTE)
    }

    /// Allows one event of a kind per ten seconds.
    pub(crate) fn per_ten_seconds() -> Self {
        Self::new(PER_TEN_SECONDS)
    }

    /// Allows a burst of 100 events of a kind, then one per second.
    pub(crate) fn per_second() -> Self {
        Self::new(PER_SECOND)
    }

    fn new(rate: LogRate) -> Self {
        Self {
            rate,
            kinds: Mutex::default(),
        }
    }

    /// Returns whether an event of this kind may be logged at the monotonic time `now`. Logs how many events of the kind
    /// were suppressed before it.
    pub(crate) fn allows(&self, event: &'static str, detail: &'static str, now: Duration) -> bool {
        let LogRate { burst, interval } = self.rate;
        let mut kinds = self.kinds.lock();
        let bucket = kinds.entry((event, detail)).or_insert(LogBucket {
            left: burst,
            refilled_at: now,
            suppressed: 0,
        });
        while bucket.left < burst && now.saturating_sub(bucket.refilled_at) >= interval {
            bucket.left += 1;
            bucket.refilled_at += interval;
        }
        if bucket.left == burst {
            bucket.refilled_at = now;
        }
        if bucket.left == 0 {
            bucket.suppressed = bucket.suppressed.saturating_add(1);
            return false;
        }
        bucket.left -= 1;
        let suppressed = std::mem::take(&mut bucket.suppressed);
        drop(kinds);
        if suppressed > 0 {
            tracing::warn!(
                name: "log_events_suppressed",
                target: "tower_oauth::log",
                event,
                detail,
                suppressed,
                "suppressed log events of one kind that exceeded the rate limit"
            );
        }
        true
    }
}

/// Returns whether an event that a caller can cause with every request may be logged, for code that has no clock or
/// [`LogLimits`]. Each `detail` is limited separately.
pub(crate) fn may_log(event: &'static str, detail: &'static str) -> bool {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    static LIMITS: LazyLock<LogLimits> = LazyLock::new(LogLimits::per_second);
    // What no subscriber receives takes no lock, and does not use up the limit of a subscriber of another thread.
    !is_observed() || LIMITS.allows(event, detail, START.elapsed())
}

/// Returns whether a subscriber receives events of any target that uses [`may_log`].
fn is_observed() -> bool {
    use tracing::{Level, enabled};
    enabled!(target: "tower_oauth::login", Level::ERROR)
        || enabled!(target: "tower_oauth::bearer", Level::ERROR)
        || enabled!(target: "tower_oauth::session", Level::ERROR)
        || enabled!(target: "tower_oauth::relay", Level::ERROR)
        || enabled!(target: "tower_oauth::issuer", Level::ERROR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_one_kind_of_event_is_limited_and_suppresses_no_other_kind() {
        let limits = LogLimits::per_second();
        let mut events = 0;
        for step in 0..60_000_u64 {
            let now = Duration::from_millis(step * 10);
            events += u32::from(limits.allows("flood", "a", now));
            if step % 6_000 == 0 {
                assert!(limits.allows("flood", "b", now) && limits.allows("rare", "a", now));
            }
        }
        // Ten minutes.
        assert!((690..=700).contains(&events), "{events}");
    }
}
