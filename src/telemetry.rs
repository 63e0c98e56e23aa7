//! What is counted and timed, through the facade of the feature `metrics`; without it nothing is left of
//! this but names. The documentation of `bearer` has the table of all of them.
//!
//! Labels are enums, so that no caller can make a time series.

use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// An enum whose values count one metric under one label. The keys are statics: counting allocates nothing.
macro_rules! counted {
    ($(#[$about:meta])* $name:ident, $metric:literal, $label:literal, { $($(#[$meaning:meta])* $value:ident => $text:literal,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum $name {
            $($(#[$meaning])* $value,)+
        }

        impl $name {
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
    /// What a `BearerLayer` made of a request.
    Request, "tower_oauth_requests_total", "outcome", {
        Accepted => "accepted",
        /// Without credentials, let through by an optional layer.
        Anonymous => "anonymous",
        Refused => "refused",
    }
}

counted! {
    /// What a layer or an extractor refused a request for.
    Reason, "tower_oauth_refusals_total", "reason", {
        NoCredentials => "no_credentials",
        UnsupportedCredentials => "unsupported_credentials",
        InvalidRequest => "invalid_request",
        InvalidToken => "invalid_token",
        InvalidDpopProof => "invalid_dpop_proof",
        /// A proof without a fresh nonce: the first request of every client, where nonces are on.
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
    /// Where the token_info on a good token came from.
    Source, "tower_oauth_verdicts_total", "source", {
        Verified => "verified",
        Introspected => "introspected",
        IntrospectionRemembered => "introspection_remembered",
        /// Verified before, and still good.
        Remembered => "remembered",
    }
}

counted! {
    /// How an attempt to fetch a key set ended.
    KeyFetch, "tower_oauth_key_fetches_total", "outcome", {
        Success => "success",
        Failure => "failure",
    }
}

counted! {
    /// How a question to an introspection endpoint ended.
    Introspection, "tower_oauth_introspections_total", "outcome", {
        Active => "active",
        Inactive => "inactive",
        Failure => "failure",
    }
}

counted! {
    /// How a request for new tokens of a session ended.
    Refresh, "tower_oauth_refreshes_total", "outcome", {
        Success => "success",
        /// The refresh token is no longer good.
        Refused => "refused",
        OtherPerson => "other_person",
        Misconfigured => "misconfigured",
        Unavailable => "unavailable",
        /// Nobody knows whether it was carried out.
        Unclear => "unclear",
    }
}

counted! {
    /// Why a verb of a store failed.
    StoreFailure, "tower_oauth_store_failures_total", "reason", {
        Full => "full",
        Unavailable => "unavailable",
        TimedOut => "timed_out",
        Panicked => "panicked",
    }
}

/// Takes the time that something takes, where somebody listens.
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

    /// A token was verified that was not remembered.
    #[inline]
    pub(crate) fn verification(self, clock: impl Fn() -> Duration) {
        #[cfg(feature = "metrics")]
        metrics::histogram!("tower_oauth_verification_seconds").record(self.seconds(clock()));
        #[cfg(not(feature = "metrics"))]
        let _ = clock;
    }

    /// An introspection endpoint was asked.
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

/// How many lines of one kind are logged at once, and how long it takes until there may be one more.
#[derive(Clone, Copy, Debug)]
struct LogRate {
    burst: u32,
    interval: Duration,
}

/// For states that last: one line, and a reminder each minute.
const BY_MINUTE: LogRate = LogRate {
    burst: 1,
    interval: Duration::from_secs(60),
};

/// For outages: whoever looks at the log sees that they last.
const BY_TEN_SECONDS: LogRate = LogRate {
    burst: 1,
    interval: Duration::from_secs(10),
};

/// For events that a caller can cause with each request.
const BY_SECOND: LogRate = LogRate {
    burst: 100,
    interval: Duration::from_secs(1),
};

/// Bounds the log lines that a caller can cause, for each kind of line apart: a flood of one kind hides no
/// line of another.
///
/// A kind is the name of the line and a detail that the crate chooses, never text of a caller, so there are
/// only so many.
#[derive(Debug)]
pub(crate) struct LogLimits {
    rate: LogRate,
    kinds: Mutex<BTreeMap<(&'static str, &'static str), LogBucket>>,
}

#[derive(Debug)]
struct LogBucket {
    left: u32,
    refilled_at: Duration,
    omitted: u64,
}

impl LogLimits {
    /// One line of a kind each minute.
    pub(crate) fn by_minute() -> Self {
        Self::new(BY_MINUTE)
    }

    /// One line of a kind each ten seconds.
    pub(crate) fn by_ten_seconds() -> Self {
        Self::new(BY_TEN_SECONDS)
    }

    /// A hundred lines of a kind at once, then one each second.
    pub(crate) fn by_second() -> Self {
        Self::new(BY_SECOND)
    }

    fn new(rate: LogRate) -> Self {
        Self {
            rate,
            kinds: Mutex::default(),
        }
    }

    /// Whether a line of this kind may be logged at this monotonic time. Says how many were left out since
    /// the last one that was.
    pub(crate) fn admit(&self, line: &'static str, detail: &'static str, now: Duration) -> bool {
        let LogRate { burst, interval } = self.rate;
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = kinds.entry((line, detail)).or_insert(LogBucket {
            left: burst,
            refilled_at: now,
            omitted: 0,
        });
        while bucket.left < burst && now.saturating_sub(bucket.refilled_at) >= interval {
            bucket.left += 1;
            bucket.refilled_at += interval;
        }
        if bucket.left == burst {
            bucket.refilled_at = now;
        }
        if bucket.left == 0 {
            bucket.omitted = bucket.omitted.saturating_add(1);
            return false;
        }
        bucket.left -= 1;
        let omitted = std::mem::take(&mut bucket.omitted);
        drop(kinds);
        if omitted > 0 {
            tracing::warn!(
                name: "log_lines_omitted",
                target: "tower_oauth::log",
                line,
                detail,
                omitted,
                "log lines of one kind came too fast and were left out"
            );
        }
        true
    }
}

/// Whether a line may be logged that a caller can cause with each request, for places without a clock or a
/// state of their own. A detail that differs makes another kind.
pub(crate) fn may_log(line: &'static str, detail: &'static str) -> bool {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    static LIMITS: LazyLock<LogLimits> = LazyLock::new(LogLimits::by_second);
    LIMITS.admit(line, detail, START.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_one_kind_of_line_is_bounded_and_hides_no_other_kind() {
        let limits = LogLimits::by_second();
        let mut lines = 0;
        for step in 0..60_000_u64 {
            let now = Duration::from_millis(step * 10);
            lines += u32::from(limits.admit("flood", "a", now));
            if step % 6_000 == 0 {
                assert!(limits.admit("flood", "b", now) && limits.admit("rare", "a", now));
            }
        }
        // Ten minutes.
        assert!((690..=700).contains(&lines), "{lines}");
    }
}
