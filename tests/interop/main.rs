//! Tests against a certified authorization server, oidc-provider, over TCP and the real back channel.
//!
//! `tests/interop/run` installs their dependencies and runs them; otherwise they are ignored.
#![cfg(all(feature = "axum", feature = "reqwest"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(missing_docs, unreachable_pub)]

mod bearer;
mod caller;
mod cluster;
mod keycloak;
mod login;
mod nginx;
mod process;
mod provider;
mod sessions;
mod tls;
