//! Layers from configuration files.
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

mod bearer;
mod errors;
mod example;
mod files;
mod login;
mod presets;
