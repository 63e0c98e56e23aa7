//! Shared by all test binaries; none of them uses all of it.
#![allow(dead_code, unused_imports, unused_macros)]

use tower_oauth::ConfigError;
use tower_oauth::testing::{ManualClock, TestServer};

pub mod api;
pub mod authorization_server;
pub mod challenge;
pub mod der;
pub mod dpop;
pub mod keys;
pub mod logs;
pub mod modes;
pub mod nodes;
pub mod proofs;
pub mod redis;
pub mod refresh;
pub mod shop;

/// Creates a test server with a clock on which time passes only if a test advances it, however slow the machine is.
pub fn still_server(issuer: &str) -> Result<TestServer, ConfigError> {
    Ok(TestServer::new(issuer)?.with_clock(ManualClock::new(1_800_000_000)))
}
