//! An access token that only the authorization server can judge: it is asked (RFC 7662), plainly or for
//! a signed answer (RFC 9701).
//!
//! One question for all who bring the same token at once, in a task of its own; good answers are
//! remembered for a minute at most, refusals apart and for less, failures never.

mod answer;
mod cache;
mod calls;
mod circuit;
mod failure;
mod health;
mod inquiries;
mod judge;
mod key;
mod request;
mod settings;
mod signed;
mod turns;
mod verifier;

pub use health::IntrospectionHealth;
pub use verifier::IntrospectionVerifier;
