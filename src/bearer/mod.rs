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
//! That is [`BearerLayer::jwt`]. Opaque tokens are asked about instead ([`BearerLayer::introspect`], [RFC 7662]); a
//! [`Verifier`](crate::token::Verifier) combines both, and several issuers. A token that is bound to a key or a
//! certificate passes only with a proof that the caller holds it; see [`Dpop`](crate::token::Dpop) and [`Mtls`].
//!
//! Then a [`VerifiedToken`](crate::VerifiedToken) is in the request's extensions. [`ScopeLayer`]
//! demands scopes of it, for one route or many.
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
//! # What else stands around it
//!
//! From the outside in, each where it is wanted:
//!
//! | layer | what it does |
//! | --- | --- |
//! | [`RejectAmbiguousPathsLayer`] | rejects paths that a service behind can read as other paths |
//! | [`RefusalBodyLayer`] | gives refusals a body, such as problem details |
//! | [`ResourceMetadataLayer`] | accepts_resource the document that tells clients where tokens come from ([RFC 9728]), outside of the [`BearerLayer`] that requires them; challenges name it by [`BearerLayer::with_resource_metadata`] |
//! | [`FormTokenLayer`] | finds the token of a form ([RFC 6750 §2.2]) |
//! | [`BearerLayer`] | verifies the token, and what it is bound to: a key by [`with_dpop`](BearerLayer::with_dpop), a certificate by [`with_mtls`](BearerLayer::with_mtls) |
//! | [`ScopeLayer`] | demands scopes, roles or conditions on claims (a [`Policy`]), for one route or many |
//! | [`MethodScopesLayer`] | demands scopes by gRPC method, and refuses methods that are not listed |
//! | [`StepUpLayer`] | demands a recent or stronger sign-in ([RFC 9470]) |
//! | [`ClaimHeadersLayer`] | tells a service behind, in headers, whose token it was |
//! | [`StripTrailersLayer`] | removes trailers of requests, which the layers that remove header fields do not see; outermost |
//!
//! A token is looked for in `Authorization` alone, unless a [`TokenSource`] names a cookie or another place.
//! Responses to tokens from other places are kept out of shared caches, see
//! [`add_token_source`](BearerLayer::add_token_source).
//!
//! No request passes a [`BearerLayer`] without a token, except behind [`optional`](BearerLayer::optional): not for
//! the resource metadata, not for a CORS preflight, not for a health check, and with no method. An optional layer
//! passes requests that present nothing; the log warns if the layers stand in the wrong order.
//!
//! # Refusals
//!
//! | what | status | challenge |
//! | --- | --- | --- |
//! | no credentials, or a scheme that another layer may own (`Basic`, `Negotiate`) | 401; an optional layer lets it pass | without `error` |
//! | an access token by a scheme that is not accepted (`DPoP` without [`with_dpop`](BearerLayer::with_dpop), `GNAP`, a misspelt `Bearer`, no scheme), or a `DPoP` proof without a token | 401, by optional layers too | without `error` |
//! | unreadable or repeated credentials | 400 | `invalid_request` |
//! | `Trailer` or `TE` names a header field that a layer removes | 400 | `invalid_request` |
//! | a token judged bad | 401 | `invalid_token` |
//! | a proof of possession judged bad, or without a fresh nonce | 401 | `invalid_dpop_proof`, `use_dpop_nonce` |
//! | a sign-in too old or too weak | 401 | `insufficient_user_authentication`, with what would do |
//! | too little scope | 403 | `insufficient_scope`, with the scopes that would do |
//! | a condition on the claims not met | 403 | `insufficient_scope`, in the words of the condition |
//! | a method that [`MethodScopesLayer`] do not list, or a path that is not a gRPC method | 403 | none |
//! | keys or a store not to be had | 503 | none; `Retry-After` |
//! | a layer missing | 500 | none |
//!
//! The body is `R::default()`, which is empty for every body in use; a [`RefusalBodyLayer`] puts another in its
//! place. The reason is left in the response's extensions as a [`Refusal`], for layers further out.
//!
//! gRPC callers (by their content type and the method POST) find `grpc-status` (16 for 400 and 401, 7, 14 and 13) and
//! `grpc-message` in the header fields, beside the HTTP status of the table. Clients take `grpc-status`, or derive
//! the code from the HTTP status ([gRPC]). The caller chooses its content type, so a refusal has the HTTP status 200 of
//! a Trailers-Only response only behind a layer that was told that it protects gRPC
//! ([`BearerLayer::with_grpc`]).
//!
//! # Deployment notes
//!
//! Serve over TLS: whoever reads a bearer token can use it. A CORS layer goes *outside* this one, so
//! that preflight requests, which carry no token, are answered; let it expose `WWW-Authenticate`
//! and `DPoP-Nonce`.
//!
//! A proxy that ends TLS in front of this server forwards the client certificate in a header field: see
//! [`Mtls::from_header_in`] and [`CertificateFormat`] for its configuration.
//!
//! A proxy that asks an API whether a request may pass (nginx `auth_request`, Traefik `forwardAuth`, Envoy
//! `ext_authz`) takes every 2xx for a yes. Do not set [`with_grpc`](BearerLayer::with_grpc) on a layer that such a
//! proxy asks.
//!
//! # Not checked here
//!
//! Whether the token was revoked since it was issued: a JWT is good until it expires, and the answer of an
//! introspection for a minute. What the subject
//! may do with a certain object is the application's to know.
//!
//! # Log lines
//!
//! Every line of `tracing` has a name and a target that stay as they are:
//!
//! | name | target | level | fields | when |
//! | --- | --- | --- | --- | --- |
//! | `refused` | `tower_oauth::bearer` | debug | `status`, `reason` | a request was refused |
//! | `not_a_grpc_method` | `tower_oauth::bearer` | debug | `found`, `path` | the path at [`MethodScopesLayer`] has more in it than two names |
//! | `ambiguous_path` | `tower_oauth::bearer` | warn | `found`, `path` | [`RejectAmbiguousPathsLayer`] rejected a request, the first in 10 seconds |
//! | `ambiguous_path_again` | `tower_oauth::bearer` | debug | `found`, `path` | and each one until then |
//! | `misconfigured` | `tower_oauth::bearer` | error | `reason` | a 500: the application forgot a layer |
//! | `resource_metadata_behind_bearer_layer` | `tower_oauth::bearer` | warn | `path` | the document needs a token, because the layers stand in the wrong order; once |
//! | `response_made_private` | `tower_oauth::bearer` | debug | none | a handler let shared caches keep a response to a token outside of `Authorization` |
//! | `form_not_read` | `tower_oauth::bearer` | debug | `status` | a form was too long, broke off or took too long |
//! | `other_claims` | `tower_oauth::bearer` | error | `wanted` | a handler wants claims of another type than its layer reads |
//! | `claims_misfit` | `tower_oauth::bearer` | debug | `column` | the claims do not fit the application's type |
//! | `cookie_name_conflict` | `tower_oauth::bearer` | debug | `cookie`, `found` | a cookie could be taken for the token's cookie, so the request was refused |
//! | `certificate_header_malformed` | `tower_oauth::bearer` | warn | `header`, `format`, `reason` | a trusted proxy sent a certificate that cannot be read, the first time |
//! | `certificate_header_malformed_again` | `tower_oauth::bearer` | debug | `header`, `format`, `reason` | and each time after that |
//! | `verdict_remembered` | `tower_oauth::token` | trace | none | a token was verified before |
//! | `other_profile` | `tower_oauth::bearer` | warn | `issuer` | another profile would take the tokens that are refused; once |
//! | `introspection_forbidden` | `tower_oauth::bearer` | error | `issuer`, `client_id` | the introspection endpoint refused our own credentials |
//! | `introspection_failed` | `tower_oauth::bearer` | warn | `issuer`, `other_tokens_work` | it failed; one line a minute for each kind of failure |
//! | `introspection_failed_again` | `tower_oauth::bearer` | debug | `issuer` | it failed, and that was logged less than a minute ago |
//! | `introspection_mended` | `tower_oauth::bearer` | info | `issuer` | it answers again |
//! | `answers_without_audience` | `tower_oauth::bearer` | warn | `issuer` | its answers name no audience, so tokens are refused; once |
//! | `issuer_lookup_failed` | `tower_oauth::bearer` | warn | `issuer`, `error` | an issuer could not be looked up |
//! | `key_set_fetched` | `tower_oauth::issuer` | debug | `issuer`, `keys` | a key set is there |
//! | `key_set_failed` | `tower_oauth::issuer` | warn | `issuer`, `error` | it could not be fetched; one line a minute for each kind of failure |
//! | `key_set_failed_again` | `tower_oauth::issuer` | debug | `issuer`, `error` | each time until then |
//! | `key_left_out` | `tower_oauth::issuer` | debug | `reason` | a key of a set is of no use |
//! | `metadata_failed` | `tower_oauth::issuer` | warn | `issuer`, `error` | the metadata could not be read; one line a minute for each kind of failure |
//! | `metadata_failed_again` | `tower_oauth::issuer` | debug | `issuer`, `error` | each time until then |
//! | `store_failed` | `tower_oauth::store` | warn | `reason` | a verb of a store failed, the first in 10 seconds |
//! | `store_failed_again` | `tower_oauth::store` | debug | `reason` | and each time until then |
//! | `log_lines_omitted` | `tower_oauth::log` | warn | `line`, `detail`, `omitted` | so many lines named `line` were left out: a caller caused them too fast |
//!
//! Spans say what took long: `verify` (`tower_oauth::bearer`) around a verification that has to wait,
//! `introspect` (`tower_oauth::bearer`, field `issuer`) around a question about a token, `fetch_key_set`
//! (`tower_oauth::issuer`, field `issuer`) around a fetch of keys. Tokens, proofs, secrets and
//! what claims say of a person are in none of them.
//!
//! # Metrics
//!
//! With feature `metrics`, through the facade of that name; whoever installs a recorder decides where they
//! go. Labels have the values of this table and no others, so a caller cannot make a time series.
//!
//! | name | kind | label | values | what |
//! | --- | --- | --- | --- | --- |
//! | `tower_oauth_requests_total` | counter | `outcome` | `accepted`, `anonymous`, `refused` | requests that a [`BearerLayer`] judged, each once |
//! | `tower_oauth_refusals_total` | counter | `reason` | `no_credentials`, `unsupported_credentials`, `invalid_request`, `invalid_token`, `invalid_dpop_proof`, `use_dpop_nonce`, `insufficient_scope`, `policy`, `insufficient_user_authentication`, `unlisted_method`, `unavailable`, `misconfigured` | refusals of all layers and extractors |
//! | `tower_oauth_verdicts_total` | counter | `source` | `verified`, `remembered`, `introspected`, `introspection_remembered` | good tokens, by where the token_info came from |
//! | `tower_oauth_verification_seconds` | histogram | none | none | verifying a JWT with a key that is at hand |
//! | `tower_oauth_key_fetches_total` | counter | `outcome` | `success`, `failure` | attempts to fetch a key set |
//! | `tower_oauth_introspections_total` | counter | `outcome` | `active`, `inactive`, `failure` | questions to an introspection endpoint |
//! | `tower_oauth_introspection_seconds` | histogram | none | none | how long it took to answer, or to fail |
//! | `tower_oauth_refreshes_total` | counter | `outcome` | `success`, `refused`, `other_person`, `misconfigured`, `unavailable`, `unclear` | refresh tokens sent, for the sessions of all layers |
//! | `tower_oauth_store_failures_total` | counter | `reason` | `full`, `unavailable`, `timed_out`, `panicked` | verbs of a [`Store`](crate::store::Store) that failed, of all layers |
//!
//! [gRPC]: https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md
//! [RFC 6750]: https://www.rfc-editor.org/rfc/rfc6750
//! [RFC 6750 §2.2]: https://www.rfc-editor.org/rfc/rfc6750#section-2.2
//! [RFC 9728]: https://www.rfc-editor.org/rfc/rfc9728
//! [RFC 7662]: https://www.rfc-editor.org/rfc/rfc7662
//! [RFC 9068]: https://www.rfc-editor.org/rfc/rfc9068
//! [RFC 9470]: https://www.rfc-editor.org/rfc/rfc9470

mod ambiguous_paths;
mod challenge_params;
mod claim_headers;
mod condition;
mod form_token;
mod future;
mod hook;
mod layer;
mod metadata;
mod method_scopes;
mod options;
mod policy;
mod refusal;
mod refusal_body;
mod require;
mod response;
mod scope;
mod service;
mod step_up;
mod strip_trailers;
mod token_source;

pub use ambiguous_paths::{RejectAmbiguousPaths, RejectAmbiguousPathsLayer};
pub(crate) use challenge_params::AuthState;
#[cfg(feature = "axum")]
pub(crate) use challenge_params::ChallengeParams;
pub use claim_headers::{ClaimHeadersLayer, ForwardClaims};
pub use form_token::{FormTokenFuture, FormTokenLayer, ReadFormToken};
pub use future::ResponseFuture;
pub use hook::RefusedRequest;
pub use layer::BearerLayer;
pub use metadata::{
    BearerMethod, ResourceMetadata, ResourceMetadataFuture, ResourceMetadataLayer,
    ServeResourceMetadata,
};
pub use method_scopes::{MethodScopesLayer, RequireMethodScope};
pub use policy::Policy;
pub(crate) use refusal::ChallengeHints;
pub use refusal::Refusal;
pub use refusal_body::{RefusalBodyFuture, RefusalBodyLayer, RenderRefusal};
pub use require::ScopeFuture;
pub(crate) use response::{WireFormat, refuse};
pub use scope::{RequireScope, ScopeLayer};
pub use service::Bearer;
pub use token_source::TokenSource;

pub use crate::token::{CertificateFormat, ClientCertificate, Mtls};
pub use step_up::{RequireStepUp, StepUpLayer};
pub use strip_trailers::{StripTrailers, StripTrailersLayer, StrippedBody};
#[cfg(feature = "relay")]
pub(crate) use strip_trailers::{TrailerFilter, field_name_setting};
