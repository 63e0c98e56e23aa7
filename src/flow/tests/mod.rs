//! The flow against an authorization server that is a handful of answers.

mod complete;
mod id_token;
mod refresh;
mod revoke;
mod signed_in;
mod start;
pub(crate) mod support;
