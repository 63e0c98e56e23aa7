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
mod authorization_requests;
mod authorization_servers;
mod callback;
mod certification;
mod client_authentication;
mod client_metadata;
mod cross_site;
mod error_pages;
mod extractors;
mod fapi2;
mod flow;
mod guard;
mod id_token;
mod key_rotation;
mod log;
mod login_request;
mod malformed_requests;
mod members;
mod paths;
mod presets;
mod principal;
mod providers;
mod providers_example;
mod raw_wire;
mod redemption_cache;
mod relay;
mod requested_access;
mod response_modes;
mod return_targets;
mod session_policies;
mod settings;
mod sign_in;
mod sign_in_loop;
mod silent_login;
mod start;
mod step_up;
mod third_party_login;
