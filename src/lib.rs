//! Tower layers and extractors that protect an application with OAuth 2.0 and OpenID Connect.
//!
//! # Which layer do I need?
//!
//! | who calls | what they bring | layer | what a handler gets |
//! | --- | --- | --- | --- |
//! | other programs, an API | an access token in `Authorization` | [`BearerLayer`] | [`VerifiedToken`] |
//! | people with a browser | a cookie, after they signed in | [`LoginLayer`] | [`Session`] |
//! | both, on one route | either of the two | both layers | [`Principal`](extract::Principal) |
//!
//! Both are made from one [`AuthorizationServer`]: its issuer identifier is all they need, the rest is
//! discovered when the first request comes. [`ScopeLayer`] demands scopes of a token, route by route.
//!
//! # An API
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
//! What else an API may need:
//!
//! | you have | you say |
//! | --- | --- |
//! | a server that does not send `at+jwt` | [`JwtVerifier::with_profile`] with a [`TokenProfile`](token::TokenProfile) |
//! | opaque tokens | [`BearerLayer::introspect`] |
//! | both, several issuers, or tenants | a [`Verifier`](token::Verifier) |
//! | scopes in another claim | [`JwtVerifier::with_scopes_from`] |
//! | roles, or conditions on claims | a [`Policy`](bearer::Policy) in [`ScopeLayer::new`] |
//! | a recent or stronger sign-in to ask for | [`StepUpLayer`](bearer::StepUpLayer) |
//! | tokens bound to a key or a certificate | [`BearerLayer::with_dpop`], [`BearerLayer::with_mtls`] |
//! | clients that ask where tokens come from | [`ResourceMetadataLayer`](bearer::ResourceMetadataLayer), outside of [`BearerLayer`] |
//! | decisions by path, here or in a service behind | [`RejectAmbiguousPathsLayer`](bearer::RejectAmbiguousPathsLayer) |
//! | gRPC methods | [`MethodScopes`](bearer::MethodScopes), and module `grpc` with feature `tonic` |
//!
//! # Browser routes
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
//!     .route("/account", get(account).layer(login.required())) // sends an anonymous browser to sign in
//!     .layer(login); // outermost: it serves /auth/login, /auth/callback, /auth/logout, /auth/session
//!
//! async fn home(session: Option<Session>) -> String {
//!     session.map_or("hello".into(), |session| format!("hello {}", session.subject()))
//! }
//! async fn account(session: Session) -> String {
//!     format!("the account of {}", session.subject())
//! }
//! # Ok(())
//! # }
//! ```
//!
//! What else browser routes may need:
//!
//! | you have | you say |
//! | --- | --- |
//! | several processes, sessions of any size, sign-outs that count everywhere | [`LoginLayer::with_session_store`]; the [guide](session::guide) compares |
//! | an API to call on the person's behalf | [`Session::access_token`], always fresh |
//! | a single-page application that must not see a token | module `relay`, with feature `relay` |
//! | a route for browsers and programs alike | `extract::Principal` |
//! | a word in who may sign in, and roles to keep with a session | [`LoginLayer::with_on_login`] |
//! | an administrator who ends sessions | [`LoginLayer::sessions`] |
//!
//! # Tests of your own routes
//!
//! Feature `testing` brings an authorization server that runs inside a test, a browser with a cookie
//! jar, and tokens of any shape; see the module `testing`.
//!
//! # Features
//!
//! | feature | default | what it adds |
//! | --- | --- | --- |
//! | `axum` | yes | extractors for axum handlers; the layers fit any tower service without it |
//! | `reqwest` | yes | the back channel over reqwest and rustls; without it, hand one in |
//! | `aws-lc-rs` | yes | cryptography by aws-lc-rs |
//! | `rust-crypto` | no | cryptography by RustCrypto, for where aws-lc-rs does not build; slower |
//! | `tonic` | no | `grpc`: the token inside a method, demands there, refusals as `tonic::Status` |
//! | `metrics` | no | counters and histograms through the `metrics` facade; [`bearer`] lists them |
//! | `redis` | no | `store::RedisStore`: sessions and all other state in Redis or Valkey |
//! | `relay` | no | `relay`: APIs called with the session's access token, for scripts that have none |
//! | `testing` | no | the authorization server, browser and token mint for tests and demos |
//!
//! One of the two backends must be there; with both, aws-lc-rs is used.
//!
//! **Beside `jsonwebtoken`.** The default build does not touch it: an application that uses it, with
//! whatever backend, goes on as before. With `rust-crypto` it is a dependency with its feature
//! `rust_crypto` on, and cargo gives that feature to the application's copy too. One that has it with
//! `aws_lc_rs` then has both, and `jsonwebtoken` panics at the first token unless the application said
//! which it wants, at its start:
//! `jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default()`.
//!
//! # What it does not do
//!
//! It is no authorization server, outside of tests. It does not call APIs for you, map users to your
//! database, or decide what a user may do beyond scopes. It does not terminate TLS.
//!
//! Decisions and their reasons are in [`design`].
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(not(any(feature = "aws-lc-rs", feature = "rust-crypto")))]
compile_error!(
    "tower-oauth needs a cryptography backend: enable feature `aws-lc-rs` or `rust-crypto`"
);

pub mod bearer;
pub mod clock;
mod config_error;
mod crypto;
pub mod extract;
pub mod flow;
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
#[cfg(feature = "relay")]
#[cfg_attr(docsrs, doc(cfg(feature = "relay")))]
pub mod relay;
pub mod session;
pub mod store;
mod telemetry;
#[cfg(feature = "testing")]
#[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
pub mod testing;
pub mod token;

pub use bearer::{BearerLayer, ScopeLayer};
pub use config_error::ConfigError;
pub use crypto::{Algorithm, CookieKey, SigningKey};

pub use issuer::{AuthorizationServer, Client};
pub use login::LoginLayer;
pub use protocol::Claims;
pub use session::Session;
pub use token::{JwtVerifier, VerifiedToken};

#[doc = include_str!("../docs/design.md")]
pub mod design {}

// Its examples use these features.
#[cfg(all(doctest, feature = "redis", feature = "testing"))]
#[doc = include_str!("../README.md")]
struct Readme;
