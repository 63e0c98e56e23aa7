//! Extractors for axum handlers, and [`Principal`], which is either an access token or a session.
//!
//! | extractor | layer | without credentials |
//! | --- | --- | --- |
//! | [`VerifiedToken`](crate::VerifiedToken) | [`BearerLayer`](crate::BearerLayer) | [`TokenRejection`]: 401 |
//! | [`Session`](crate::Session) | [`LoginLayer`](crate::LoginLayer) | [`SessionRejection`]: redirect to the login, or 401 |
//! | [`Principal`] | both | [`PrincipalRejection`]: redirect to the login, or 401 |
//!
//! [`PrincipalLayer`] requires roles of a [`Principal`]. Each extractor can be optional (`Option<VerifiedToken>`, …).
//! [`LoginLayer`](crate::LoginLayer) is an extractor too, for the URLs of its routes. Extractors only read what a layer
//! inserted into the request extensions. If the layer is missing, the response is 500 with a message that names it; the
//! request never counts as anonymous.
//!
//! # OpenAPI
//!
//! The extractors describe nothing by themselves. With `aide`, whose handlers take only arguments that are described,
//! wrap them in its `NoApi` (`async fn orders(NoApi(token): NoApi<VerifiedToken>)`); `utoipa` leaves them out. In the
//! document, state what the route requires as a security scheme, with the scopes of its [`Policy`](crate::bearer::Policy):
//!
//! ```json
//! {
//!   "components": { "securitySchemes": {
//!     "token": { "type": "openIdConnect", "openIdConnectUrl": "https://id.example.com/.well-known/openid-configuration" },
//!     "session": { "type": "apiKey", "in": "cookie", "name": "__Host-Http-shop-session" }
//!   } },
//!   "paths": { "/orders": { "get": { "security": [{ "token": ["orders:read"] }, { "session": [] }] } } }
//! }
//! ```

#[cfg(feature = "axum")]
mod extractors;
mod principal;
mod principal_layer;
mod rejection;

#[cfg(feature = "axum")]
#[cfg_attr(docsrs, doc(cfg(feature = "axum")))]
pub use extractors::{SessionRejection, TokenRejection};
pub use principal::Principal;
pub use principal_layer::PrincipalLayer;
pub use rejection::PrincipalRejection;
