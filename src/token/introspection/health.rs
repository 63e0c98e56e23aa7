//! What a readiness probe wants to know of introspection.

use std::time::Duration;

/// How introspection fares; see
/// [`IntrospectionVerifier::health`](super::IntrospectionVerifier::health).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct IntrospectionHealth {
    /// Time since the last answer; `None` where there was none yet.
    pub last_success: Option<Duration>,
    /// Questions that brought no answer since the last that did.
    pub failures: u32,
    /// What the last of them failed with; it may hold text of the network stack, so it is for operators.
    pub last_error: Option<String>,
    /// Whether no token is asked about for a while, because several requests in a row could not be sent.
    /// Tokens that are not remembered get 503 meanwhile, without delay. Other failures, which a caller's
    /// token may cause, never set this.
    pub is_paused: bool,
}

impl IntrospectionHealth {
    /// Whether tokens can be judged now, as far as is known: nothing is asked for this. False only while the
    /// authorization server cannot be reached, so that no caller can have this process taken out of service.
    pub fn is_ready(&self) -> bool {
        !self.is_paused
    }
}
