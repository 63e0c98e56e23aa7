//! The resource server: tokens, keys, introspection, sender-constrained tokens, policies and challenges.
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

mod access_token;
mod allocations;
mod authorization_details;
mod challenge;
mod claim_headers;
mod claims;
mod client_authentication;
mod credentials;
mod discovery;
mod dpop;
mod fapi2;
mod grpc;
mod introspection;
mod issuer_setup;
mod issuers;
mod key_refresh;
mod key_set;
mod layer;
mod members;
mod mtls;
mod observability;
mod optional;
mod policies;
mod profiles;
mod refusal_body;
mod rejections;
mod replaced_keys;
mod resource_metadata;
mod route_scopes;
mod static_keys;
mod step_up;
mod token_cache;
mod token_sources;
