//! What a readiness probe wants to know.

use std::time::Duration;

/// The state of what is known of an authorization server; see
/// [`AuthorizationServer::health`](super::AuthorizationServer::health).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Health {
    /// The key set.
    pub keys: KeySetHealth,
    /// Attempts to fetch the key set that failed since the last that succeeded.
    pub failures: u32,
    /// What the last of them failed with.
    pub last_error: Option<String>,
}

/// How good the key set at hand is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeySetHealth {
    /// None was fetched yet: requests with a well-formed token get 503.
    Empty,
    /// Given by hand, and never fetched: see [`StaticKeys`](super::StaticKeys).
    Given,
    /// Within its lifetime.
    Fresh {
        /// Time since it was fetched.
        age: Duration,
    },
    /// Past its lifetime and still used, because the server cannot be reached.
    Stale {
        /// Time since it was fetched.
        age: Duration,
    },
    /// Past what an outage may last: no longer used.
    Expired {
        /// Time since it was fetched.
        age: Duration,
    },
}

impl Health {
    /// Whether tokens can be judged now.
    pub fn is_ready(&self) -> bool {
        matches!(
            self.keys,
            KeySetHealth::Given | KeySetHealth::Fresh { .. } | KeySetHealth::Stale { .. }
        )
    }
}
