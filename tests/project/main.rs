//! The project itself: module levels, conformance pages, language, wire format of rejections and settings.
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

mod circles;
mod configuration;
mod fuzz_seeds;
mod golden;
mod house;
mod language;
mod mistakes;
mod troubleshooting;
