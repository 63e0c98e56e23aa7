//! The resource server: access tokens of requests to an API ([RFC 6750], [RFC 9068]).
//!
//! [`BearerLayer`] lets a request through when
//!
//! 1. it has exactly one `Authorization` field, of the scheme `Bearer`, with one token in it;
//! 2. the token is a JWT in compact serialization with strict JSON, no longer than 16 KiB;
//! 3. its algorithm is allowed and its `typ` is one of the [`TokenProfile`](crate::token::TokenProfile);
//! 4. its issuer is the configured one, and its times fit;
//! 5. the key it names is in the issuer's key set, may verify this algorithm, and made the signature;
//! 6. its audience is the configured one, and nothing about it says that it is another kind of token.
//!
//! Then a [`VerifiedToken`](crate::VerifiedToken) is in the request's extensions. [`ScopeLayer`]
//! demands scopes of it, for one route or many.
//!
//! # Refusals
//!
//! | what | status | challenge |
//! | --- | --- | --- |
//! | no credentials, or another scheme | 401 | without `error` |
//! | unreadable or repeated credentials | 400 | `invalid_request` |
//! | a token judged bad | 401 | `invalid_token` |
//! | too little scope | 403 | `insufficient_scope`, with the scopes that would do |
//! | keys not to be had | 503 | none; `Retry-After` |
//! | a layer missing | 500 | none |
//!
//! The body is `R::default()`, which is empty for every body in use. gRPC callers (by their content
//! type and the method POST) get a Trailers-Only answer instead: `grpc-status` 16 for 400 and 401, 7, 14 and 13. The reason
//! is left in the response's extensions as a [`Refusal`], for layers further out.
//!
//! # Deployment notes
//!
//! Serve over TLS: whoever reads a bearer token can use it. A CORS layer goes *outside* this one, so
//! that preflight requests, which carry no token, are answered; let it expose `WWW-Authenticate`.
//!
//! A proxy that asks an API whether a request may pass (nginx `auth_request`, Traefik `forwardAuth`) must
//! ask by GET and without the caller's `Content-Type`: to a gRPC caller a refusal is a 200 with a
//! `grpc-status`.
//!
//! # Not checked here
//!
//! Whether the token was revoked since it was issued: a JWT is good until it expires. What the subject
//! may do with a certain object is the application's to know.
//!
//! # Example
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use axum::{Router, routing::get};
//! use http::{Request, StatusCode};
//! use tower::ServiceExt;
//! use tower_oauth::{AuthorizationServer, BearerLayer, ScopeLayer, VerifiedToken};
//!
//! let server = AuthorizationServer::new("https://id.example.com")?;
//! let api = Router::new()
//!     .route("/orders", get(orders).layer(ScopeLayer::all("orders:read")?))
//!     .layer(BearerLayer::jwt(&server, "https://api.example.com")?);
//!
//! async fn orders(token: VerifiedToken) -> String {
//!     format!("orders of {:?}", token.subject())
//! }
//!
//! let answer = api.oneshot(Request::get("/orders").body(axum::body::Body::empty())?).await?;
//! assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
//! assert_eq!(answer.headers()["www-authenticate"], "Bearer realm=\"api\"");
//! # Ok(())
//! # }
//! ```
//!
//! [RFC 6750]: https://www.rfc-editor.org/rfc/rfc6750
//! [RFC 9068]: https://www.rfc-editor.org/rfc/rfc9068

mod future;
mod hook;
mod layer;
mod methods;
mod protection;
mod refusal;
mod response;
mod scope;
mod service;

pub use future::ResponseFuture;
pub use hook::RefusedRequest;
pub use layer::BearerLayer;
pub use methods::{MethodScopes, RequireMethodScope};
#[cfg(any(feature = "axum", feature = "tonic"))]
pub(crate) use protection::Judged;
#[cfg(feature = "axum")]
pub(crate) use protection::Protection;
#[cfg(any(feature = "axum", feature = "tonic"))]
pub(crate) use refusal::Demand;
pub use refusal::Refusal;
#[cfg(any(feature = "axum", feature = "tonic"))]
pub(crate) use response::{Speech, refuse};
pub use scope::{RequireScope, ScopeFuture, ScopeLayer};
pub use service::Bearer;
