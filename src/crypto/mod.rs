//! Keys, digests and seals.

pub(crate) mod base64url;
mod cookie_key;
pub(crate) mod digest;
pub(crate) mod seal;

pub use cookie_key::CookieKey;
