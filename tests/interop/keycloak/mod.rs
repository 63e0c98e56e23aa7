//! Keycloak as the authorization server, with RSA and with elliptic-curve keys.
//!
//! One server runs for all tests. They share a realm for each kind of keys; a test that changes users, clients or the realm
//! has its own, so that tests run in parallel.

mod access_tokens;
mod api;
mod channel;
mod definitions;
mod dpop;
mod fapi2;
mod introspection;
mod logins;
mod logout;
mod mtls;
mod providers;
mod realm;
mod refresh;
mod rotation;
mod server;
mod world;
