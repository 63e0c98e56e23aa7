//! Token introspection ([RFC 7662], and signed responses by [RFC 9701]): validates access tokens, opaque ones
//! in particular, by a request to the authorization server.
//!
//! Concurrent requests with one token share one introspection request. Active results are cached for at most
//! a minute by default, negative results separately and for less time, failures never.
//!
//! [RFC 7662]: https://www.rfc-editor.org/rfc/rfc7662
//! [RFC 9701]: https://www.rfc-editor.org/rfc/rfc9701

mod cache;
mod circuit;
mod concurrency;
mod failure;
mod introspector;
mod request;
mod response;
mod settings;
mod verifier;

pub use circuit::IntrospectionHealth;
pub use verifier::IntrospectionVerifier;
