//! Sessions: cookies, stores, limits, refreshes, sign-outs and hooks.
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

mod app_data;
mod backchannel_logout;
mod cookie_figures;
mod cookie_renewal;
mod cookies;
mod denylist;
mod dpop;
mod hooks;
mod index;
mod kept_session;
mod limits;
mod logout;
mod logout_everywhere;
mod memory_store;
mod memory_store_usage;
mod model;
mod redis_store;
mod refresh;
mod resources;
mod sign_out;
mod store_failures;
mod stored;
mod two_layers;
