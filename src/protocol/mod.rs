//! The words on the wire: pure values, parsed and printed.
//!
//! Nothing here does I/O, reads a clock, draws randomness or computes a signature. Parsers are total:
//! any input gives a value or an error.

pub(crate) mod challenge;
pub(crate) mod claims;
pub(crate) mod credentials;
mod error_code;
pub(crate) mod json;
mod metadata;
mod scope;
mod secret;

pub use claims::Claims;
pub use error_code::BearerErrorCode;
pub use metadata::{InvalidMetadata, Metadata};
pub use scope::{InvalidScope, ScopeSet};
pub use secret::{
    AccessToken, AuthorizationCode, ClientSecret, CodeVerifier, IdToken, Nonce, RefreshToken, State,
};
