//! What a test of an application needs: an authorization server in its process, tokens to order, a
//! browser, and a clock to turn.
//!
//! | tool | for |
//! | --- | --- |
//! | [`TestServer`] | discovery, keys, sign-in and consent pages, tokens, introspection, revocation, userinfo, logout; strict, and every request it got is kept |
//! | [`TokenMint`] | one token, good or hostile, without a flow |
//! | [`DpopKey`] | a client's key, and proofs that it is held |
//! | [`Fault`], [`Gate`] | what goes wrong, and when: delays, outages, lost answers, wrong claims, wrong signatures |
//! | [`Browser`] | the code flow as a person goes through it: links, forms, redirects, cookies |
//! | [`TestSession`] | a handler of somebody who is signed in, without a flow |
//! | [`ManualClock`] | expiry without waiting |
//!
//! # Test a protected route
//!
//! The server's [`authorization_server`](TestServer::authorization_server) takes the place of the real
//! one, and [`access_token`](TestServer::access_token) is what a client would bring:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use axum::{Router, body::Body, routing::get};
//! use http::{Request, StatusCode};
//! use tower::ServiceExt;
//! use tower_oauth::testing::{Endpoint, TestServer};
//! use tower_oauth::{BearerLayer, ScopeLayer};
//!
//! let server = TestServer::new("https://id.example.test")?;
//! let audience = "https://api.example.test";
//! let api = Router::new()
//!     .route("/notes", get(async || "my notes").layer(ScopeLayer::all("notes:read")?))
//!     .layer(BearerLayer::jwt(&server.authorization_server(), audience)?);
//! let status = async |token: String| {
//!     let request = Request::get("/notes").header("authorization", format!("Bearer {token}"));
//!     let answer = api.clone().oneshot(request.body(Body::empty())?).await?;
//!     Ok::<_, Box<dyn std::error::Error>>(answer.status())
//! };
//!
//! let good = server.access_token().with_audience(audience).with_scope("notes:read");
//! assert_eq!(status(good.sign()).await?, StatusCode::OK);
//! assert_eq!(status(good.clone().with_scope("notes:write").sign()).await?, StatusCode::FORBIDDEN);
//! assert_eq!(status(good.clone().with_expires_in(-60).sign()).await?, StatusCode::UNAUTHORIZED);
//! assert_eq!(status(good.clone().with_foreign_key().sign()).await?, StatusCode::UNAUTHORIZED);
//!
//! // The keys were fetched once, for all of them.
//! assert_eq!(server.count(Endpoint::KeySet), 1);
//! # Ok(())
//! # }
//! ```
//!
//! # Test a page that needs a session
//!
//! A [`Browser`] signs in as a person does, and is asked for consent; [`Page::sign_in`] does both:
//!
//! ```
//! # #[cfg(feature = "axum")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//!
//! use axum::{Router, routing::get};
//! use tower_oauth::testing::{Endpoint, TestClient, TestServer, TestUser};
//! use tower_oauth::{Client, CookieKey, LoginLayer, Session};
//!
//! let callback = "https://shop.example.com/auth/callback";
//! let server = TestServer::new("https://id.example.test")?
//!     .add_client(TestClient::confidential("shop", "shop-secret").add_redirect_uri(callback)?)
//!     .add_user(TestUser::new("alice", "wonderland"));
//! let client = Client::confidential("shop", "shop-secret");
//! let key = CookieKey::generate()?;
//! let login = LoginLayer::new(&server.authorization_server(), client, callback, key)?;
//! let account = get(async |session: Session| format!("account of {}", session.subject()));
//! let shop = Router::new().route("/account", account.layer(login.required())).layer(login);
//!
//! let browser = server.browser().with_origin("https://shop.example.com", shop)?;
//! let page = browser.navigate("https://shop.example.com/account").await?;
//! assert_eq!(page.title(), "Sign in");
//! let page = page.sign_in("alice", "wonderland").await?;
//! assert_eq!(page.url(), "https://shop.example.com/account");
//! assert_eq!(page.text(), "account of alice");
//!
//! // Nobody waits for the session to end.
//! server.clock().advance(Duration::from_secs(9 * 3600));
//! let page = browser.navigate("https://shop.example.com/account").await?;
//! assert_eq!(page.text(), "account of alice");
//! assert_eq!(server.count(Endpoint::Authorization), 2, "asked again, and silently answered");
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "axum"))]
//! # fn main() {}
//! ```
//!
//! # Test how a session lasts and ends
//!
//! | what shall happen | how |
//! | --- | --- |
//! | the access token expires, and is refreshed | [`with_access_token_lifetime`](TestClient::with_access_token_lifetime), [`ManualClock::advance`], [`count_grant`](TestServer::count_grant) |
//! | servers differ: rotation, lifetimes, ID tokens and scopes of a refresh | [`without_rotation`](TestClient::without_rotation) and its neighbours |
//! | a refresh fails, and logins do not | [`Fault::only_for`] |
//! | something else happens while a refresh is under way | [`Fault::wait_for`], [`Fault::answer_waits_for`], [`wait_for_grant`](TestServer::wait_for_grant) |
//! | what a sign-out left behind | [`refresh_tokens`](TestServer::refresh_tokens), [`access_tokens`](TestServer::access_tokens), [`revoked_tokens`](TestServer::revoked_tokens) |
//! | the authorization server ends it | [`sign_out`](TestServer::sign_out) at a server that knows the application by [`add_relying_party`](TestServer::add_relying_party) |
//! | a logout token is forged, stale or sent twice | [`logout_token`](TestServer::logout_token), [`send_logout_token`](TestServer::send_logout_token) |
//! | a frame of the signed-out page ends it | [`with_frontchannel_logout_uri`](TestClient::with_frontchannel_logout_uri), [`Page::load_frames`] |
//! | a socket is opened from another site | [`Page::open_web_socket`] |
//!
//! # Not for production
//!
//! Everything lives in memory, passwords as they are, and nothing is ever thrown away.

mod browser;
mod clock;
mod dpop;
mod endpoint;
mod fault;
mod grants;
mod introspected;
mod key_ring;
mod keys;
mod logout;
mod members;
mod mint;
mod mtls;
mod parameters;
mod record;
mod refresh;
mod registry;
mod respond;
mod server;
mod service;
mod session;
mod sessions;
mod tcp;

pub use browser::{Browser, BrowserError, Cookie, Form, Page, SameSite};
pub use clock::ManualClock;
pub use dpop::{DpopKey, DpopProof};
pub use fault::{Fault, Gate};
pub use keys::SigningKey;
pub use logout::SentLogout;
pub use mint::TokenMint;
pub use record::{Endpoint, RecordedRequest};
pub use refresh::RefreshedIdToken;
pub use registry::{ClientAuthentication, Grant, TestClient, TestUser};
pub use server::TestServer;
pub use service::{BackChannel, Disconnected};
pub use session::TestSession;
pub use tcp::Listening;
