//! The login layer: its routes, cookies, pages and return targets, cross-site requests and the relay.
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

mod abandoned;
mod attacks;
mod attacks_edge;
mod callback;
mod cross_site;
mod error_pages;
mod extractors;
mod flow;
mod guard;
mod hostile_callback;
mod hostile_id_token;
mod hostile_start;
mod hostile_wire;
mod key_rotation;
mod log;
mod odd_servers;
mod principal;
mod raw_wire;
mod redemption_cache;
mod relay;
mod return_targets;
mod settings;
mod sign_in;
mod start;
