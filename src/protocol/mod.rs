//! The words on the wire: pure values, parsed and printed.
//!
//! Nothing here does I/O, reads a clock, draws randomness or computes a signature. Parsers are total:
//! any input gives a value or an error.

pub(crate) mod json;
pub(crate) mod return_to;
mod secret;

pub use secret::{
    AccessToken, AuthorizationCode, ClientSecret, CodeVerifier, IdToken, Nonce, RefreshToken, State,
};
