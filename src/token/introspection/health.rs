//! The state of introspection, for a readiness probe.

use std::time::Duration;

/// The state of an introspection endpoint; see
/// [`IntrospectionVerifier::health`](super::IntrospectionVerifier::health).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct IntrospectionHealth {
    /// Time since the last valid response; `None` before the first one.
    pub last_success: Option<Duration>,
    /// The number of requests that failed since the last valid response.
    pub failures: u32,
    /// The error of the last failed request. It can contain text of the network stack, so show it to
    /// operators only.
    pub last_error: Option<String>,
    /// Whether introspection is paused because several consecutive requests could not be sent.
    ///
    /// Requests with tokens that are not cached are then rejected with 503 immediately. Other failures, which
    /// the token of a caller can cause, never set this.
    pub is_paused: bool,
}

impl IntrospectionHealth {
    /// Returns whether tokens can be introspected now, without sending a request.
    ///
    /// False only while the authorization server is unreachable, so that no caller can make a load balancer
    /// take this process out of service.
    pub fn is_ready(&self) -> bool {
        !self.is_paused
    }
}
