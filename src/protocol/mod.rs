//! The words on the wire: pure values, parsed and printed.
//!
//! Nothing here does I/O, reads a clock, draws randomness or computes a signature. Parsers are total:
//! any input gives a value or an error.

pub(crate) mod claims;
pub(crate) mod json;
mod metadata;
pub(crate) mod return_to;
mod scope;
mod secret;

pub use claims::Claims;
pub use metadata::{InvalidMetadata, Metadata};
pub use scope::{InvalidScope, ScopeSet};
pub use secret::{
    AccessToken, AuthorizationCode, ClientSecret, CodeVerifier, IdToken, Nonce, RefreshToken, State,
};
