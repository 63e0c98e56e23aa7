//! The state of an authorization server, for a readiness probe.

use std::time::Duration;

/// The state of the cached data of an authorization server; see
/// [`AuthorizationServer::health`](super::AuthorizationServer::health).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Health {
    /// The state of the key set.
    pub keys: KeySetHealth,
    /// The number of failed key set fetches since the last successful one.
    pub failures: u32,
    /// The error of the last failed fetch.
    pub last_error: Option<String>,
}

/// The state of the cached key set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeySetHealth {
    /// No key set was fetched yet. Requests with a well-formed token are rejected with 503.
    Empty,
    /// The keys are configured and never fetched; see [`StaticKeys`](super::StaticKeys).
    Static,
    /// The key set is within its lifetime.
    Fresh {
        /// The time since it was fetched.
        age: Duration,
    },
    /// The key set is past its lifetime and still used, because the server is unreachable.
    Stale {
        /// The time since it was fetched.
        age: Duration,
    },
    /// The key set is past the [outage limit](super::AuthorizationServer::with_outage_limit) and no longer used.
    Expired {
        /// The time since it was fetched.
        age: Duration,
    },
}

impl Health {
    /// Returns whether signatures can be verified now.
    pub fn is_ready(&self) -> bool {
        matches!(
            self.keys,
            KeySetHealth::Static | KeySetHealth::Fresh { .. } | KeySetHealth::Stale { .. }
        )
    }
}
