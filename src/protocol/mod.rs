//! Protocol messages and values: parsing and serialization.
//!
//! This module performs no I/O, reads no clock, generates no random values and computes no signatures. Parsers
//! are total: any input yields a value or an error.

pub(crate) mod authorization_details;
pub(crate) mod authorization_request;
pub(crate) mod authorization_response;
pub(crate) mod cache;
pub(crate) mod challenge;
pub(crate) mod claims;
pub(crate) mod confirmation;
pub(crate) mod cookie;
pub(crate) mod credentials;
pub(crate) mod dpop;
pub(crate) mod endpoint;
pub(crate) mod field_name;
pub(crate) mod form;
pub(crate) mod json;
pub(crate) mod limits;
pub(crate) mod media_type;
pub(crate) mod members;
pub(crate) mod metadata;
mod oauth_error;
pub(crate) mod pkce;
pub(crate) mod received_challenge;
pub(crate) mod request_target;
pub(crate) mod requested_claims;
pub(crate) mod return_to;
pub(crate) mod sanitize;
mod scope;
mod secret;
pub(crate) mod shared_text;
pub(crate) mod token_request;
pub(crate) mod token_response;

pub use authorization_details::{AuthorizationDetail, AuthorizationDetails};
pub use challenge::BearerErrorCode;
pub use claims::Claims;
pub use metadata::{InvalidMetadata, Metadata};
pub use oauth_error::OAuthErrorCode;
pub use request_target::AmbiguousPath;
pub use scope::{InvalidScope, ScopeSet, Scopes};
pub use secret::{
    AccessToken, AuthorizationCode, ClientSecret, CodeVerifier, IdToken, Nonce, RefreshToken, State,
};
