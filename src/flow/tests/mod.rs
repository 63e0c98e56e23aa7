//! Tests of the flow against a scripted authorization server, by step.

mod callback;
mod client_authentication;
mod complete;
mod logout;
mod redeem;
mod refresh;
mod revoke;
mod start;
pub(crate) mod support;
mod userinfo;
