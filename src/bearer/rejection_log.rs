//! A warning if a layer rejects every token for the same reason, so that a wrong setting is visible at the default log
//! level.

use std::sync::atomic::{AtomicBool, Ordering};

use super::refusal::Refusal;
use crate::clock::Now;
use crate::clock::SharedClock;
use crate::sync::Mutex;
use crate::telemetry::LogLimits;
use crate::token::{Explanation, VerifyErrorKind};

/// After how many rejections the warning is logged, if a token was accepted before.
const MANY: u64 = 10;

/// Counts the rejections since a token was last accepted. Tokens from the cache of verified JWTs do not count: they
/// cost nothing here, and what changed since they were verified does not concern them.
#[derive(Debug)]
pub(super) struct RejectionLog {
    has_accepted: AtomicBool,
    /// Whether a token was rejected since one was accepted.
    has_rejected: AtomicBool,
    rejected: Mutex<Option<Rejected>>,
    limits: LogLimits,
}

#[derive(Debug)]
struct Rejected {
    kind: &'static str,
    count: u64,
}

impl Default for RejectionLog {
    fn default() -> Self {
        Self {
            has_accepted: AtomicBool::new(false),
            has_rejected: AtomicBool::new(false),
            rejected: Mutex::default(),
            limits: LogLimits::per_minute(),
        }
    }
}

impl RejectionLog {
    /// Records that a token was accepted after its verification.
    pub(super) fn record_accepted(&self) {
        // Written once: tokens from the introspection cache come here too.
        if !self.has_accepted.load(Ordering::Relaxed) {
            self.has_accepted.store(true, Ordering::Relaxed);
        }
        if self.has_rejected.load(Ordering::Relaxed) {
            self.has_rejected.store(false, Ordering::Relaxed);
            *self.rejected.lock() = None;
        }
    }

    /// Records that a request was rejected, and warns if all tokens since the last accepted one were rejected for the same
    /// reason: at the first of them if none was ever accepted, else at the tenth.
    #[cold]
    pub(super) fn record_rejected(&self, refusal: &Refusal, clock: &SharedClock) {
        let kind = match refusal {
            // An outage has log events of its own.
            Refusal::Token(error) if is_outage(error.kind()) => return,
            Refusal::Token(error) => error.kind().counter().label(),
            Refusal::UnsupportedCredentials { .. } => "unsupported_credentials",
            _ => return,
        };
        self.has_rejected.store(true, Ordering::Relaxed);
        let count = {
            let mut rejected = self.rejected.lock();
            let before = rejected.take().filter(|one| one.kind == kind);
            let count = before.map_or(0, |one| one.count) + 1;
            *rejected = Some(Rejected { kind, count });
            count
        };
        if count < MANY && self.has_accepted.load(Ordering::Relaxed) {
            return;
        }
        let explanation = match refusal {
            Refusal::Token(error) => error.explanation().unwrap_or_default(),
            Refusal::UnsupportedCredentials { found } => Explanation::new(
                *found,
                "one token with the scheme Bearer, or DPoP if the layer checks it",
                "BearerLayer::with_dpop, BearerLayer::add_token_source, or the client",
            ),
            _ => return,
        };
        let now = || Now::new(clock).monotonic(clock);
        if explanation.is_reported || !self.limits.allows("every_token_rejected", kind, now()) {
            return;
        }
        tracing::warn!(
            name: "every_token_rejected",
            target: "tower_oauth::bearer",
            kind,
            count,
            found = %explanation.found,
            expected = %explanation.expected,
            setting = %explanation.setting,
            "rejected every new access token for the same reason"
        );
    }
}

/// Returns whether the token was not validated, or a nonce is only part of the protocol.
fn is_outage(kind: VerifyErrorKind) -> bool {
    matches!(
        kind,
        VerifyErrorKind::Unavailable
            | VerifyErrorKind::Configuration
            | VerifyErrorKind::StoreUnavailable
            | VerifyErrorKind::DpopNonce
    )
}
