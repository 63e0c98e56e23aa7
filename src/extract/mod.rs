//! Extractors for axum handlers, and [`Principal`], which is either an access token or a session.
//!
//! | extractor | layer | without credentials |
//! | --- | --- | --- |
//! | [`VerifiedToken`](crate::VerifiedToken) | [`BearerLayer`](crate::BearerLayer) | [`TokenRejection`]: 401 |
//! | [`Session`](crate::Session) | [`LoginLayer`](crate::LoginLayer) | [`SessionRejection`]: redirect to the login, or 401 |
//! | [`Principal`] | both | [`PrincipalRejection`]: redirect to the login, or 401 |
//!
//! Each can be optional (`Option<VerifiedToken>`, …). [`LoginLayer`](crate::LoginLayer) is an extractor too, for the
//! URLs of its routes. Extractors only read what a layer inserted into the request
//! extensions. If the layer is missing, the response is 500 with a message that names it; the request never counts as
//! anonymous.

#[cfg(feature = "axum")]
mod extractors;
mod principal;
mod rejection;

#[cfg(feature = "axum")]
#[cfg_attr(docsrs, doc(cfg(feature = "axum")))]
pub use extractors::{SessionRejection, TokenRejection};
pub use principal::Principal;
pub use rejection::PrincipalRejection;
