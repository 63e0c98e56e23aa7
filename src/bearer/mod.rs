//! Validates access tokens on incoming requests (resource server, [RFC 6750], [RFC 9068]).
//!
//! [`BearerLayer`] accepts a request if
//!
//! 1. the request has exactly one `Authorization` header, with the `Bearer` scheme and one token;
//! 2. the token is a compact JWT of at most 16 KiB whose header and claims are strict JSON;
//! 3. its algorithm is allowed, and its `typ` matches the [`TokenProfile`](crate::token::TokenProfile);
//! 4. its issuer matches, and the current time is within `nbf` and `exp`;
//! 5. its signature verifies with a key from the issuer's key set;
//! 6. its audience matches, and no claim marks it as an ID, refresh or logout token.
//!
//! Opaque tokens are validated by introspection instead ([`BearerLayer::introspect`], [RFC 7662]). A
//! [`Verifier`](crate::token::Verifier) combines both, or several issuers. Sender-constrained tokens are accepted only
//! with proof of possession; see [`Dpop`](crate::token::Dpop) and [`Mtls`].
//!
//! On success the layer inserts a [`VerifiedToken`](crate::VerifiedToken) into the request extensions. Use
//! [`ScopeLayer`] to require scopes on one or more routes.
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
//! let response = api.oneshot(Request::get("/orders").body(axum::body::Body::empty())?).await?;
//! assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
//! assert_eq!(response.headers()["www-authenticate"], "Bearer realm=\"api\"");
//! # Ok(())
//! # }
//! ```
//!
//! # Layers
//!
//! From the outermost to the innermost. Only [`BearerLayer`] is required.
//!
//! | layer | purpose |
//! | --- | --- |
//! | [`StripTrailersLayer`] | removes request trailers, because the layers below only check header fields |
//! | [`RejectAmbiguousPathsLayer`] | rejects paths that an inner service can interpret as other paths |
//! | [`RefusalBodyLayer`] | error bodies (`application/problem+json`) |
//! | [`ResourceMetadataLayer`] | serves the protected resource metadata ([RFC 9728]); see [`BearerLayer::with_resource_metadata`] |
//! | [`FormTokenLayer`] | reads the token from a form body ([RFC 6750 §2.2]) |
//! | [`BearerLayer`] | validates the token and proof of possession, with [`with_dpop`](BearerLayer::with_dpop) or [`with_mtls`](BearerLayer::with_mtls) |
//! | [`ScopeLayer`] | requires scopes, roles, conditions on claims, or a recent or stronger authentication ([RFC 9470]; a [`Policy`]) |
//! | [`MethodScopesLayer`] | requires scopes by gRPC method, and rejects unlisted methods |
//! | `RouteScopesLayer` | requires scopes by HTTP method and route of axum, and rejects unlisted routes (feature `axum`) |
//! | [`ClaimHeadersLayer`] | passes claims to the inner service in header fields |
//!
//! Only the `Authorization` header is searched for a token unless a [`TokenSource`] adds a cookie or another header
//! field. Responses to tokens from other sources are kept out of shared caches; see
//! [`add_token_source`](BearerLayer::add_token_source).
//!
//! [`BearerLayer`] rejects every request without a token, including CORS preflight requests, health checks and
//! requests for the resource metadata. With [`optional`](BearerLayer::optional) it forwards requests without
//! credentials as anonymous.
//!
//! # Rejections
//!
//! | cause | status | challenge |
//! | --- | --- | --- |
//! | no credentials, or a scheme that another layer may handle (`Basic`, `Negotiate`) | 401; forwarded by an optional layer | without `error` |
//! | an access token with an unsupported scheme (`DPoP` without [`with_dpop`](BearerLayer::with_dpop), `GNAP`, a misspelt `Bearer`, no scheme), or a `DPoP` proof without a token | 401, by optional layers too | without `error` |
//! | malformed or repeated credentials | 400 | `invalid_request` |
//! | `Trailer` or `TE` names a header field that a layer removes | 400 | `invalid_request` |
//! | an invalid token | 401 | `invalid_token` |
//! | an invalid proof of possession, or one without a fresh nonce | 401 | `invalid_dpop_proof`, `use_dpop_nonce` |
//! | an authentication that is too old or too weak | 401 | `insufficient_user_authentication`, with `acr_values` and `max_age` |
//! | insufficient scope | 403 | `insufficient_scope`, with the required scopes |
//! | an unmet condition on the claims | 403 | `insufficient_scope`, with the description of the condition |
//! | a method that [`MethodScopesLayer`] does not list, a path that is not a gRPC method, or a route that `RouteScopesLayer` does not list | 403 | none |
//! | keys, introspection or a store are unavailable | 503 | none; `Retry-After` |
//! | a missing layer, or settings that contradict each other | 500 | none |
//!
//! The response body is `R::default()`, which is empty for the common body types; [`RefusalBodyLayer`] replaces it. A
//! [`Refusal`] with the reason is inserted into the response extensions for outer layers. To log or count rejections,
//! use [`BearerLayer::on_refusal`] or the events and metrics in [`observability`](crate::observability).
//!
//! Rejected gRPC calls (POST requests with a gRPC content type) also receive `grpc-status` (16 for 400 and 401, 7 for
//! 403, 14 for 503, 13 for 500) and `grpc-message` as header fields. Clients read `grpc-status`, or derive the code from
//! the HTTP status ([gRPC]). Because the caller chooses the content type, the HTTP status of a rejected call is 200, as in
//! a Trailers-Only response, only if [`BearerLayer::with_grpc`] is set.
//!
//! # Deployment notes
//!
//! **TLS.** Serve over TLS: a bearer token that is intercepted can be used by the attacker.
//!
//! **CORS.** Add a CORS layer *outside* of [`BearerLayer`], because preflight requests carry no token. Let it expose
//! `WWW-Authenticate` and `DPoP-Nonce`.
//!
//! **Client certificates.** If a proxy terminates TLS, it forwards the client certificate in a header field. For its
//! configuration see [`Mtls::from_header_in`] and [`CertificateFormat`].
//!
//! **Forward authentication.** nginx `auth_request`, Traefik `forwardAuth` and Envoy `ext_authz` treat every 2xx response
//! as permission. Do not set [`with_grpc`](BearerLayer::with_grpc) on a layer that answers such requests.
//!
//! # Not checked
//!
//! Revocation since the token was issued: a JWT is accepted until it expires, and an introspection response is cached
//! for up to a minute. Permissions on individual objects: those are decided by the application.
//!
//! [gRPC]: https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md
//! [RFC 6750]: https://www.rfc-editor.org/rfc/rfc6750
//! [RFC 6750 §2.2]: https://www.rfc-editor.org/rfc/rfc6750#section-2.2
//! [RFC 9728]: https://www.rfc-editor.org/rfc/rfc9728
//! [RFC 7662]: https://www.rfc-editor.org/rfc/rfc7662
//! [RFC 9068]: https://www.rfc-editor.org/rfc/rfc9068
//! [RFC 9470]: https://www.rfc-editor.org/rfc/rfc9470

mod ambiguous_paths;
mod auth_state;
mod authenticate;
mod challenge;
mod claim_headers;
mod claims_type;
mod condition;
mod fapi2;
mod form_token;
mod guard;
mod layer;
mod metadata;
mod method_scopes;
mod options;
mod policy;
mod refusal;
mod refusal_body;
mod rejection_log;
mod response;
#[cfg(feature = "axum")]
mod route_scopes;
mod scope;
mod scope_rule;
mod service;
mod settings;
mod strip_trailers;
mod token_source;

pub use ambiguous_paths::RejectAmbiguousPathsLayer;
#[cfg(feature = "tonic")]
pub(crate) use auth_state::grpc_response;
pub(crate) use auth_state::{AuthState, refuse};
pub use challenge::RefusedRequest;
pub use claim_headers::ClaimHeadersLayer;
pub(crate) use condition::{RequiredAuthentication, UnmetBySession};
pub use form_token::{FormTokenFuture, FormTokenLayer, ReadFormToken};
pub use guard::Guard;
pub use layer::BearerLayer;
pub use metadata::{BearerMethod, ResourceMetadata, ResourceMetadataLayer, ServeResourceMetadata};
pub use method_scopes::MethodScopesLayer;
pub use policy::Policy;
pub use refusal::Refusal;
pub use refusal_body::{RefusalBodyFuture, RefusalBodyLayer, RenderRefusal};
pub(crate) use response::{RequestHead, WireFormat};
#[cfg(feature = "axum")]
#[cfg_attr(docsrs, doc(cfg(feature = "axum")))]
pub use route_scopes::RouteScopesLayer;
pub use scope::ScopeLayer;
pub use service::{Bearer, BearerFuture};
pub use strip_trailers::{StripTrailers, StripTrailersLayer, StrippedBody};
#[cfg(feature = "relay")]
pub(crate) use strip_trailers::{TrailerFilter, field_name_setting};
pub use token_source::TokenSource;

pub use crate::response_future::ResponseFuture;
pub use crate::token::{CertificateFormat, ClientCertificate, Mtls};

#[cfg(test)]
mod tests;
