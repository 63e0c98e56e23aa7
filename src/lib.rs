//! Tower layers and axum extractors that protect services with OAuth 2.0 and OpenID Connect.
//!
//! [`BearerLayer`] validates access tokens on API routes. [`LoginLayer`] signs users in with the authorization code
//! flow. Both are configured from the issuer URL alone: metadata and keys are discovered when the first request needs
//! them.
//!
#![doc = include_str!("../docs/images/overview.svg")]
//!
//! | Caller | Credential | Layer | Extractor |
//! | --- | --- | --- | --- |
//! | a program | access token in `Authorization` | [`BearerLayer`] | [`VerifiedToken`] |
//! | a browser | session cookie | [`LoginLayer`] | [`Session`] |
//! | either of them, on one route | either of them | both layers | [`Principal`](extract::Principal) |
//!
//! # Example: an API
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use axum::{Router, routing::get};
//! use tower_oauth::{AuthorizationServer, BearerLayer, ScopeLayer, VerifiedToken};
//!
//! let server = AuthorizationServer::new("https://id.example.com")?;
//! let api: Router = Router::new()
//!     .route("/orders", get(orders).layer(ScopeLayer::all("orders:read")?))
//!     .layer(BearerLayer::jwt(&server, "https://api.example.com")?);
//!
//! async fn orders(token: VerifiedToken) -> String {
//!     format!("orders of {:?}", token.subject())
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Example: browser routes
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use axum::{Router, routing::get};
//! use tower_oauth::{AuthorizationServer, Client, CookieKey, LoginLayer, Session};
//!
//! # let (secret, key) = ("a secret", CookieKey::generate()?);
//! let server = AuthorizationServer::new("https://id.example.com")?;
//! let client = Client::confidential("shop", secret);
//! let login = LoginLayer::new(&server, client, "https://shop.example.com/auth/callback", key)?
//!     .with_scopes("openid profile email")?;
//!
//! let pages: Router = Router::new()
//!     .route("/", get(home))
//!     .route("/account", get(account).layer(login.required())) // redirects to the login if there is no session
//!     .layer(login); // outermost: it serves /auth/login, /auth/callback, /auth/logout, /auth/session
//!
//! async fn home(session: Option<Session>) -> String {
//!     session.map_or("hello".into(), |session| format!("hello {}", session.subject()))
//! }
//! async fn account(session: Session) -> String {
//!     format!("account of {}", session.subject())
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Index by task
//!
//! | To | Use |
//! | --- | --- |
//! | **APIs** | guide: [`bearer`] |
//! | accept tokens of Keycloak, Entra, Okta, Auth0, Cognito or any server that does not send `at+jwt` | [`JwtVerifier::with_profile`], [`TokenProfile`](token::TokenProfile) |
//! | accept opaque tokens | [`BearerLayer::introspect`] |
//! | accept several issuers, tenants, or JWTs and opaque tokens | [`Verifier`](token::Verifier) |
//! | read scopes from another claim | [`JwtVerifier::with_scopes_from`] |
//! | require different scopes by HTTP method | `get(list).layer(read).merge(post(create).layer(write))` with a [`ScopeLayer`] each |
//! | reject every route that is not listed | `bearer::RouteScopesLayer` (feature `axum`) |
//! | require roles, or conditions on claims | [`Policy`](bearer::Policy), [`ScopeLayer::new`] |
//! | require a recent or stronger login | [`Policy::and_max_age`](bearer::Policy::and_max_age), [`Policy::and_acr`](bearer::Policy::and_acr) |
//! | check a policy or reject a request inside of a service | [`Policy::check`](bearer::Policy::check), [`Refusal::respond_to`](bearer::Refusal::respond_to) |
//! | validate a token that did not come in a header (queue, WebSocket message) | [`Verifier::verify`](token::Verifier::verify) |
//! | accept sender-constrained tokens | [`BearerLayer::with_dpop`], [`BearerLayer::with_mtls`] |
//! | comply with the FAPI 2.0 Security Profile | [`BearerLayer::with_fapi2_security_profile`]; for logins [`LoginLayer::with_fapi2_security_profile`], [`LoginLayer::with_fapi2_message_signing`] |
//! | publish where tokens come from | [`ResourceMetadataLayer`](bearer::ResourceMetadataLayer), outside of [`BearerLayer`] |
//! | reject paths that two readers understand differently | [`RejectAmbiguousPathsLayer`](bearer::RejectAmbiguousPathsLayer) |
//! | protect gRPC methods | [`MethodScopesLayer`](bearer::MethodScopesLayer), module `grpc` (feature `tonic`) |
//! | find out why a request was rejected | [`BearerLayer::on_refusal`], `response.extensions().get::<Refusal>()` ([`Refusal`](bearer::Refusal)), [`observability`] |
//! | **Browser routes** | guide: [`login`] |
//! | sign users in with Google, GitHub, Microsoft, Apple and others | [`Provider`]: [`Provider::google`], [`Provider::github`], … |
//! | sign users in where there is no OpenID Connect | [`Provider::without_id_token`] |
//! | routers, proxies and where the routes of the layer are | guide: [`login::guide`] |
//! | keep sessions in Redis, end them everywhere at once | [`LoginLayer::with_session_store`]; guide: [`session::guide`] |
//! | call an API on behalf of the user | [`Session::authorize`], [`Session::access_token`] |
//! | serve a single-page application that never sees a token | module `relay` (feature `relay`) |
//! | require roles of signed-in users | [`RequiredLayer::with_policy`](login::RequiredLayer::with_policy), [`PrincipalLayer`](extract::PrincipalLayer), [`Session::meets`] |
//! | decide who may sign in, keep roles with the session | [`LoginLayer::with_on_login`] |
//! | list and end sessions of a user | [`LoginLayer::sessions`] |
//! | ask a signed-in user to authenticate again | [`RequiredLayer::with_step_up`](login::RequiredLayer::with_step_up), [`LoginLayer::step_up`] |
//! | start a login from a handler | [`LoginLayer::start`] |
//! | sign users in without a page if they can be | [`LoginLayer::silent_login`] |
//! | **Operation** | |
//! | read settings of layers from a file | [`settings`] |
//! | test your routes | module `testing` (feature `testing`) |
//! | watch logs, spans and metrics | [`observability`] |
//! | run behind a proxy, below a prefix, in a closed network | [`deployment`] |
//! | find out why something does not work | [`troubleshooting`] |
//! | keep state elsewhere | [`store`] |
//! | understand a decision | [`design`] |
//!
//! # What the authorization server asks for
//!
//! | It asks for | Set |
//! | --- | --- |
//! | a client secret, a signed assertion, a certificate, a workload identity, nothing | a constructor of [`Client`], which has the table |
//! | a credential that changes | [`CredentialSource`]; for keys [`RemoteSigner`](issuer::RemoteSigner) |
//! | pushed authorization requests (RFC 9126) | nothing: they are sent if the metadata has the endpoint; [`with_pushed_requests`](LoginLayer::with_pushed_requests) |
//! | signed authorization requests (RFC 9101) | [`with_signed_requests`](LoginLayer::with_signed_requests) |
//! | `response_mode` `form_post`, `jwt` (JARM) or `form_post.jwt` | [`with_response_mode`](LoginLayer::with_response_mode) |
//! | DPoP (RFC 9449) | [`with_dpop`](LoginLayer::with_dpop) |
//! | `resource` (RFC 8707) | [`add_resource`](LoginLayer::add_resource); [`Session::access_token_for`] |
//! | `authorization_details` (RFC 9396), `claims` (OpenID Connect Core §5.5) | [`with_authorization_details`](LoginLayer::with_authorization_details), [`with_requested_claims`](LoginLayer::with_requested_claims) |
//! | `acr_values`, `max_age`, `prompt`, `audience` and others | [`with_authorization_parameter`](LoginLayer::with_authorization_parameter); for one login [`LoginRequest`] |
//! | client ID metadata documents, `jwks_uri` of the client | [`with_client_metadata`](LoginLayer::with_client_metadata) |
//! | an `initiate_login_uri` | [`with_third_party_login`](LoginLayer::with_third_party_login) |
//! | FAPI 2.0 | [`with_fapi2_security_profile`](LoginLayer::with_fapi2_security_profile), [`with_fapi2_message_signing`](LoginLayer::with_fapi2_message_signing) |
//!
//! # Features
//!
//! | feature | default | adds |
//! | --- | --- | --- |
//! | `axum` | yes | extractors for axum handlers |
//! | `reqwest` | yes | requests to the authorization server over reqwest and rustls |
//! | `aws-lc-rs` | yes | cryptography and TLS by aws-lc-rs |
//! | `rust-crypto` | no | cryptography by RustCrypto and TLS by ring, where aws-lc-rs does not build; slower |
//! | `tonic` | no | module `grpc`: tokens and rejections inside gRPC methods |
//! | `metrics` | no | counters and histograms through the `metrics` facade; see [`observability`] |
//! | `redis` | no | `store::RedisStore` for Redis and Valkey |
//! | `relay` | no | module `relay`: calls an API with the access token of the session |
//! | `testing` | no | module `testing`: an authorization server, browser and token mint for tests |
//!
//! At least one of the two cryptography backends is required; if both are enabled, aws-lc-rs is used.
//!
//! **Applications that use `jsonwebtoken`.** The default build does not depend on it. Feature `rust-crypto` does, with
//! its feature `rust_crypto`, and cargo unifies features: an application that enables `aws_lc_rs` of `jsonwebtoken` then
//! has both, and `jsonwebtoken` panics at its first token unless the application chooses one at its start:
//! `jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default()`.
//!
//! # Not included
//!
//! The crate is not an authorization server (outside of tests), does not map users to your database, and does not decide
//! what a user may do beyond scopes and policies. It does not terminate TLS.
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(not(any(feature = "aws-lc-rs", feature = "rust-crypto")))]
compile_error!(
    "tower-oauth needs a cryptography backend: enable feature `aws-lc-rs` or `rust-crypto`"
);

pub mod bearer;
pub mod clock;
mod config_error;
mod crypto;
mod expiring_map;
pub mod extract;
mod flow;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(feature = "tonic")]
#[cfg_attr(docsrs, doc(cfg(feature = "tonic")))]
pub mod grpc;
pub mod issuer;
pub mod login;
pub mod protocol;
mod random;
mod record;
#[cfg(feature = "relay")]
#[cfg_attr(docsrs, doc(cfg(feature = "relay")))]
pub mod relay;
mod request_permits;
mod response_future;
pub mod session;
pub mod settings;
mod single_flight;
pub mod store;
mod sync;
mod telemetry;
#[cfg(feature = "testing")]
#[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
pub mod testing;
#[cfg(any(feature = "reqwest", feature = "redis", feature = "relay"))]
mod tls;
pub mod token;
mod verification;

pub use bearer::{BearerLayer, ScopeLayer};
pub use config_error::ConfigError;
pub use crypto::{Algorithm, CookieKey, SigningKey};
pub use issuer::{AuthorizationServer, Client, CredentialSource};
pub use login::{LoginLayer, LoginRequest, Provider};
pub use protocol::Claims;
pub use session::Session;
pub use token::{JwtVerifier, VerifiedToken};

/// Explains how the crate is built, and why.
///
// The pictures are part of this page here, and files beside it in the repository.
#[doc = "<style>.in-repository { display: none }</style>\n"]
#[doc = include_str!("../docs/images/modules.svg")]
#[doc = include_str!("../docs/images/requests.svg")]
#[doc = "\n"]
#[doc = include_str!("../docs/design.md")]
pub mod design {}

/// Lists what to register at each provider, the code for logins and for API tokens, and what differs.
///
#[doc = include_str!("../docs/providers.md")]
pub mod providers {}

/// Lists the log events, spans and metrics of the crate.
///
#[doc = include_str!("../docs/observability.md")]
pub mod observability {}

/// Explains what proxies, networks and browsers do to tokens, cookies and redirects.
///
#[doc = include_str!("../docs/deployment.md")]
pub mod deployment {}

/// Lists what operators, callers and users see when something is set up wrongly, and what to do.
///
#[doc = include_str!("../docs/troubleshooting.md")]
pub mod troubleshooting {}

// Its examples use these features.
#[cfg(all(doctest, feature = "redis", feature = "testing"))]
#[doc = include_str!("../README.md")]
struct Readme;
