//! Tests of the flow against a scripted authorization server.

mod complete;
mod id_token;
mod refresh;
mod revoke;
mod signed_in;
mod start;
pub(crate) mod support;
