//! Tools for testing protected applications: an in-process authorization server, tokens, a browser
//! and a clock.
//!
//! | To … | Use … |
//! | --- | --- |
//! | run an authorization server in the test process | [`TestServer`]: discovery, keys, sign-in and consent pages, tokens, introspection, revocation, userinfo and logout; it is strict and records every request |
//! | issue one access or ID token, valid or invalid, without a flow | [`TokenMint`] |
//! | send sender-constrained tokens | [`DpopKey`]: a client's key and its DPoP proofs |
//! | make the authorization server fail | [`Fault`] and [`Gate`]: delays, outages, lost responses, wrong claims, invalid signatures |
//! | go through the authorization code flow as a user does | [`Browser`]: links, forms, redirects and cookies |
//! | call a handler that takes a [`Session`](crate::Session), without a flow | [`TestSession`] |
//! | test expiry without waiting | [`ManualClock`] |
//! | test your own implementation of [`Store`](crate::store::Store) | [`store_suite`] |
//!
//! # Test a protected route
//!
//! Pass the test server's [`authorization_server`](TestServer::authorization_server) to the layer
//! under test, and send tokens made by [`access_token`](TestServer::access_token):
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
//!     let response = api.clone().oneshot(request.body(Body::empty())?).await?;
//!     Ok::<_, Box<dyn std::error::Error>>(response.status())
//! };
//!
//! let good = server.access_token().with_audience(audience).with_scope("notes:read");
//! assert_eq!(status(good.sign()).await?, StatusCode::OK);
//! assert_eq!(status(good.clone().with_scope("notes:write").sign()).await?, StatusCode::FORBIDDEN);
//! assert_eq!(status(good.clone().with_expires_in(-60).sign()).await?, StatusCode::UNAUTHORIZED);
//! assert_eq!(status(good.clone().with_wrong_key().sign()).await?, StatusCode::UNAUTHORIZED);
//!
//! // One fetch of the key set served all requests.
//! assert_eq!(server.count(Endpoint::KeySet), 1);
//! # Ok(())
//! # }
//! ```
//!
//! # Test a page that needs a session
//!
//! A [`Browser`] follows the redirects to the sign-in page. [`Page::sign_in`] signs in and gives
//! consent:
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
//! // The session expires without waiting.
//! server.clock().advance(Duration::from_secs(9 * 3600));
//! let page = browser.navigate("https://shop.example.com/account").await?;
//! assert_eq!(page.text(), "account of alice");
//! assert_eq!(server.count(Endpoint::Authorization), 2, "the session at the server signs in again without a page");
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "axum"))]
//! # fn main() {}
//! ```
//!
//! # Test several providers
//!
//! Each server has its own users, keys and request log. [`Browser::with_server`] lets one browser sign in at each:
//!
//! ```
//! # #[cfg(feature = "axum")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use axum::{Router, routing::get};
//! use tower_oauth::testing::{TestClient, TestServer, TestUser};
//! use tower_oauth::{Client, CookieKey, LoginLayer, Provider, Session};
//!
//! let callback = "https://shop.example.com/auth/callback";
//! let customers = TestServer::new("https://id.example.test")?
//!     .add_client(TestClient::confidential("shop", "secret").add_redirect_uri(callback)?)
//!     .add_user(TestUser::new("alice", "wonderland"));
//! let callback_of_staff = format!("{callback}/staff");
//! let staff = TestServer::new("https://staff.example.test")?
//!     .with_clock(customers.clock())
//!     .add_client(TestClient::confidential("shop", "secret").add_redirect_uri(&callback_of_staff)?)
//!     .add_user(TestUser::new("alice", "keys").with_groups(["shop"]));
//!
//! let client = Client::confidential("shop", "secret");
//! let provider = Provider::new("staff", &staff.authorization_server(), client.clone())?;
//! let login = LoginLayer::new(&customers.authorization_server(), client, callback, CookieKey::generate()?)?
//!     .add_provider(provider)?;
//! let account = get(async |session: Session| format!("{} of {}", session.subject(), session.provider()));
//! let shop = Router::new().route("/", account.layer(login.required())).layer(login);
//!
//! let browser = customers.browser().with_server(&staff).with_origin("https://shop.example.com", shop)?;
//! let page = browser.navigate("https://shop.example.com/").await?;
//! let page = page.click("Sign in with staff").await?;
//! let page = page.sign_in("alice", "keys").await?;
//! assert_eq!(page.text(), "alice of staff");
//! assert!(customers.requests().is_empty());
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "axum"))]
//! # fn main() {}
//! ```
//!
//! # Test claims, refresh and logout
//!
//! | To test that … | Use … |
//! | --- | --- |
//! | roles and groups are found in ID and access tokens | [`with_groups`](TestUser::with_groups), [`with_roles`](TestUser::with_roles), [`with_realm_roles`](TestUser::with_realm_roles), [`with_id_token_claim`](TestUser::with_id_token_claim), [`with_access_token_claim`](TestUser::with_access_token_claim) |
//! | servers that release claims from the userinfo endpoint alone work | [`without_claims_in_id_token`](TestClient::without_claims_in_id_token) |
//! | an expired access token is refreshed | [`with_access_token_lifetime`](TestClient::with_access_token_lifetime), [`ManualClock::advance`], [`count_grant`](TestServer::count_grant) |
//! | servers without rotation, with expiring refresh tokens or with fewer scopes work | [`without_rotation`](TestClient::without_rotation), [`with_refresh_token_lifetime`](TestClient::with_refresh_token_lifetime), [`with_refreshed_id_token`](TestClient::with_refreshed_id_token), [`with_refreshed_scopes`](TestClient::with_refreshed_scopes) |
//! | a replaced client secret does not fail logins | [`add_secret`](TestClient::add_secret), [`add_client`](TestServer::add_client) |
//! | a failing refresh does not affect logins | [`Fault::only_for`] |
//! | concurrent requests during a refresh are handled | [`Fault::wait_for`], [`Fault::hold_response`], [`wait_for_grant`](TestServer::wait_for_grant) |
//! | access tokens are bound to a key, and nonces are required | [`with_required_dpop`](TestClient::with_required_dpop), [`with_dpop_nonces`](TestServer::with_dpop_nonces) |
//! | logins with pushed and signed requests work | [`with_pushed_requests`](TestServer::with_pushed_requests), [`with_signed_requests`](TestServer::with_signed_requests), [`add_request_key`](TestClient::add_request_key) |
//! | responses as forms and signed JWTs work | [`with_response_modes`](TestServer::with_response_modes), [`Fault::authorization_response`] |
//! | a logout revokes the tokens | [`refresh_tokens`](TestServer::refresh_tokens), [`access_tokens`](TestServer::access_tokens), [`revoked_tokens`](TestServer::revoked_tokens) |
//! | back-channel logout ends the session | [`add_relying_party`](TestServer::add_relying_party), then [`sign_out`](TestServer::sign_out) |
//! | forged, expired and replayed logout tokens are rejected | [`logout_token`](TestServer::logout_token), [`send_logout_token`](TestServer::send_logout_token) |
//! | front-channel logout ends the session | [`with_frontchannel_logout_uri`](TestClient::with_frontchannel_logout_uri), [`Page::load_frames`] |
//! | cross-site WebSocket handshakes are rejected | [`Page::open_web_socket`] |
//!
//! # Not for production
//!
//! All state is kept in memory without limits, passwords in plain text. Keys may be shared between
//! test servers.

mod assertions;
mod browser;
mod browser_sessions;
mod clock;
mod dpop;
mod endpoint;
mod fapi2;
mod fault;
mod granted_access;
mod grants;
mod introspected;
mod key_ring;
mod keys;
mod logout;
mod members;
mod mint;
mod parameters;
mod reachable;
mod refresh;
mod registry;
mod request_features;
mod request_log;
mod respond;
mod server;
mod service;
mod session;
pub mod store_suite;
mod user;

pub use browser::{Browser, BrowserError, Cookie, CookieSameSite, Form, Page};
pub use clock::ManualClock;
pub use dpop::{DpopKey, DpopProof};
pub use fault::{Fault, Gate};
pub use keys::TestSigningKey;
pub use logout::SentLogoutToken;
pub use mint::TokenMint;
pub use refresh::RefreshedIdToken;
pub use registry::{ClientAuthentication, GrantType, TestClient};
pub use request_log::{Endpoint, RecordedRequest};
pub use server::TestServer;
pub use service::ServerHandle;
pub use service::{Disconnected, TestBackChannel};
pub use session::TestSession;
pub use user::TestUser;
