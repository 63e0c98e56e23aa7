//! What is counted and timed, through the facade of the feature `metrics`; without it nothing is left of
//! this but names. The documentation of `bearer` has the table of all of them.
//!
//! Labels are enums, so that no caller can make a time series.

use std::time::Duration;

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
    /// Where the verdict on a good token came from.
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
