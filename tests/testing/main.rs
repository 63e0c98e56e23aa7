//! The `testing` module: the test server, its browser and its tools.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::as_conversions,
    clippy::print_stdout,
    missing_docs,
    missing_debug_implementations,
    unreachable_pub
)]

#[path = "../support/mod.rs"]
mod support;

mod authorization_requests;
mod browser;
mod dpop;
mod fapi2;
mod logout;
mod refresh_tokens;
mod server;
mod several_servers;
mod tokens;
mod tools;
