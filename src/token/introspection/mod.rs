//! An access token that only the authorization server can judge: it is asked (RFC 7662), plainly or for
//! a signed answer (RFC 9701).
//!
//! One question for all who bring the same token at once, in a task of its own; good answers are
//! remembered for a minute at most, refusals apart and for less, failures never.

mod cache;
mod cache_key;
mod calls;
mod circuit;
mod failure;
mod health;
mod introspector;
mod request;
mod response;
mod settings;
mod signed;
mod turns;
mod validate;
mod verifier;

pub use health::IntrospectionHealth;
pub use verifier::IntrospectionVerifier;
