//! Login: signs users in with the authorization code flow and keeps them signed in with a session
//! cookie ([RFC 6749 §4.1], [RFC 7636], [OpenID Connect Core §3.1]).
//!
//! [`LoginLayer`] goes around all routes of an application. It
//!
//! 1. serves the routes in the folder of the redirect URI: `login` redirects the browser to the
//!    authorization server (`return_to` is the path to return to afterwards; `login_hint`,
//!    `prompt`, `ui_locales`, `acr_values` and `max_age` are forwarded), `callback` handles the
//!    authorization response and creates a session, `logout` ends the session here and at the
//!    authorization server, and `session` returns the signed-in user as JSON for scripts;
//! 2. inserts a [`Session`](crate::Session) into the extensions of any other request with a valid
//!    session cookie; axum handlers take it as `Session` or `Option<Session>`;
//! 3. rejects a request with a session with 403 if it could change state and did not come from a
//!    page of this application; [`Csrf`] has the table;
//! 4. creates a layer for routes that need a session, [`LoginLayer::required`]. Without a session,
//!    that layer redirects a navigation to `login` and, after sign-in, back to the page. All other
//!    requests (scripts, images, forms, prefetches) get 401 with the URL of the login route in a
//!    problem document ([RFC 9457]), and `HX-Redirect` for htmx.
//!
//! # Where sessions are kept
//!
//! By default in an encrypted cookie, `__Host-Http-<app>-session`. No store is needed, and every
//! replica with the same [`CookieKey`](crate::CookieKey) accepts the cookie. A session ends 8 hours
//! after the login or after one hour without a request. A sign-out ends it in this process
//! immediately, even for a copy of the cookie; other replicas accept a copy until the session
//! expires. A session that does not fit into 5 KiB of cookies is rejected with an error page.
//!
//! With [`LoginLayer::with_session_store`], sessions are kept in a store. With
//! [`LoginLayer::with_shared_store`], they stay in cookies, and a store records which sessions have
//! ended. Both make a sign-out take effect on all replicas, and enable the route for back-channel
//! logout. The [guide](crate::session::guide) compares the three.
//!
//! # Several providers
//!
//! [`LoginLayer::add_provider`] lets users choose where to sign in: the login route then shows a page with the
//! [`Provider`]s, or a list to programs that ask for JSON. `login/{name}` is the login route of each of them. Each
//! further provider has a redirect URI of its own, `callback/{name}`; the first one keeps that of the layer.
//!
#![cfg_attr(feature = "axum", doc = "```")]
#![cfg_attr(not(feature = "axum"), doc = "```ignore")]
//! use axum::{Router, routing::get};
//! use tower_oauth::{LoginLayer, Provider, Session};
//! # use tower_oauth::{AuthorizationServer, Client, CookieKey};
//!
//! # fn main() -> Result<(), tower_oauth::ConfigError> {
//! # let own_server = AuthorizationServer::new("https://id.example.com")?;
//! # let partner_server = AuthorizationServer::new("https://id.partner.example")?;
//! # let (client, partner_client) = (Client::public("shop"), Client::public("shop"));
//! # let key = CookieKey::generate()?;
//! let redirect_uri = "https://shop.example.com/auth/callback";
//! let partner = Provider::new("partner", &partner_server, partner_client)?
//!     .with_display_name("Partner Inc.")
//!     .with_scopes("openid email")?;
//! let login = LoginLayer::new(&own_server, client, redirect_uri, key)?
//!     .with_provider_name("own", "Example")?
//!     .add_provider(partner)?;
//!
//! async fn account(session: Session) -> String {
//!     format!("{} at {}", session.subject(), session.provider())
//! }
//! let app: Router = Router::new()
//!     .route("/account", get(account).layer(login.required()))
//!     .layer(login.clone());
//! # assert_eq!(login.login_url("/account"), "/auth/login?return_to=%2Faccount");
//! # assert_eq!(
//! #     login.redirect_uri_of("partner"),
//! #     Some("https://shop.example.com/auth/callback/partner")
//! # );
//! # Ok(())
//! # }
//! ```
//!
//! A session belongs to its provider: refreshes, revocations, userinfo requests, step-up and sign-out are there, and
//! logout tokens end the sessions of their issuer. [Silent logins](LoginLayer::silent_login) are at the first
//! provider. The same subject at two providers is two users; identify them by
//! [`user_key`](crate::Session::user_key). The layer never joins two users, not even with one e-mail address, which
//! the user of another provider may have set: see
//! [`NewLogin::previous_user`](crate::session::NewLogin::previous_user). The [guide](guide) has the routes.
//!
//! # Two layers in one application
//!
//! Customers and staff may sign in at different authorization servers, with sessions beside each other. Each layer
//! needs a redirect URI in a folder of its own, and handles the routes there:
//!
#![cfg_attr(feature = "axum", doc = "```")]
#![cfg_attr(not(feature = "axum"), doc = "```ignore")]
//! use axum::{Router, routing::get};
//! use tower_oauth::{LoginLayer, Session};
//! # use tower_oauth::{AuthorizationServer, Client, CookieKey};
//!
//! # fn main() -> Result<(), tower_oauth::ConfigError> {
//! # let customer_server = AuthorizationServer::new("https://id.example.com")?;
//! # let staff_server = AuthorizationServer::new("https://staff-id.example.com")?;
//! # let (shop, desk) = (Client::public("shop"), Client::public("desk"));
//! # let (key, staff_key) = (CookieKey::generate()?, CookieKey::generate()?);
//! let customers = "https://shop.example.com/auth/callback";
//! let customers = LoginLayer::new(&customer_server, shop, customers, key)?;
//! let staff = "https://shop.example.com/staff/auth/callback";
//! let staff = LoginLayer::new(&staff_server, desk, staff, staff_key)?;
//!
//! async fn name(session: Session) -> String {
//!     session.subject().to_owned()
//! }
//! let app: Router = Router::new()
//!     .route("/account", get(name).layer(customers.required())) // the session of a customer
//!     .route("/desk", get(name).layer(staff.required())) // the session of an employee
//!     .layer(customers)
//!     .layer(staff);
//! # Ok(())
//! # }
//! ```
//!
//! The session of a request is that of the innermost `required()` around the handler, otherwise that
//! of the innermost layer. It is the one that [`Session`](crate::Session) and
//! [`Principal`](crate::extract::Principal) extract and whose token a relay sends; the extractor
//! [`LoginLayer`] returns its layer. A session of one layer never counts at the other. Cookie names
//! contain the client id, and a digest of the layer unless the folder is `/auth`. If two layers have
//! a route or, on one host, the cookie names in common, users of neither can sign in: they get 500, and
//! the log names the setting. A layer with [`Csrf::StaticHeader`] belongs inside: an outer one asks for
//! the header on the routes of the inner layer too, if the request has its session.
//!
//! # Deployment notes
//!
//! * Add the layer last, so that it is outermost, in axum with a `.layer(login)` of its own: it
//!   needs `R: From<Bytes>` of the response body, which axum's `Body` is, while those of
//!   compression and tracing layers are not. `.layer((TraceLayer::new_for_http(),
//!   CompressionLayer::new())).layer(login)` compiles, one tuple of all three does not (E0277).
//!   Inside `axum::Router::nest` it would see paths
//!   without their prefix and would not be called for unmatched paths; its own routes would not be
//!   found.
//! * No setting is needed behind a proxy that terminates TLS: the redirect URI alone defines the
//!   external origin. `Host` and `X-Forwarded-*` are not read.
//! * What logs URIs outside of this layer logs `?code=…&state=…` of the callback, for example
//!   `tower_http::trace::TraceLayer` with its default span. Let the span have the path only
//!   (`make_span_with(|request: &Request<_>| info_span!("request", path = request.uri().path()))`),
//!   likewise the access log of a proxy (nginx: `$uri`, not `$request`). The layer itself logs no
//!   query.
//! * With http, which is allowed on loopback only, cookies have neither the `Secure` attribute nor
//!   a name prefix. Cookies do not distinguish ports: an authorization server on another port of
//!   the same host needs other cookie names.
//! * Two applications on one host whose client ids differ only in punctuation (`shop.a`, `shop-a`)
//!   need different cookie names: [`LoginLayer::with_cookie_name`].
//! * A layer that overrides the method (`X-HTTP-Method-Override`, `_method`) belongs outside of
//!   this layer, which otherwise checks the original method.
//! * A response gets `Cache-Control: no-store` and `Vary: Cookie` if it sets a cookie of this
//!   layer. It also gets them if it depends on the session (its handler extracted or read a
//!   [`Session`](crate::Session), or is behind `required()`), unless it is `private` already. Any
//!   other response to a request with a session gets `Cache-Control: private` and `Vary: Cookie` if
//!   it has no `Cache-Control`. A service that only checks whether there is a session, and still
//!   allows shared caching, must add `Vary: Cookie` itself.
//! * A request may have a session and an access token. The two layers are independent: a handler
//!   extracts a [`Session`](crate::Session), a [`VerifiedToken`](crate::VerifiedToken), or either
//!   of them with [`Principal`](crate::extract::Principal), never a mixture. Requests that use the
//!   session are still subject to [`Csrf`].
//!
//! # Not checked
//!
//! * Authorization, beyond [`RequiredLayer::with_policy`]: whether the user may do what the request
//!   asks for.
//! * Whether the e-mail address belongs to the user; see [`Session::email`](crate::Session::email).
//! * The access token, which is meant for the API it was issued for.
//! * Scripts in pages of the application: they can do all that the user can do. No route of the
//!   layer returns a token to them; to call APIs from scripts, use a relay (feature `relay`).
//!
//! # Example
//!
#![cfg_attr(feature = "testing", doc = "```")]
#![cfg_attr(not(feature = "testing"), doc = "```ignore")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use axum::{Router, routing::get};
//! use tower_oauth::testing::{TestClient, TestServer, TestUser};
//! use tower_oauth::{Client, CookieKey, LoginLayer, Session};
//!
//! let redirect_uri = "https://shop.example.com/auth/callback";
//! let client = TestClient::confidential("shop", "secret").add_redirect_uri(redirect_uri)?;
//! let server = TestServer::new("https://id.example.test")?
//!     .add_client(client)
//!     .add_user(TestUser::new("alice", "wonderland"));
//!
//! let (client, key) = (Client::confidential("shop", "secret"), CookieKey::generate()?);
//! let login = LoginLayer::new(&server.authorization_server(), client, redirect_uri, key)?;
//! let pages = Router::new()
//!     .route("/account", get(account).layer(login.required()))
//!     .layer(login);
//! async fn account(session: Session) -> String {
//!     format!("the account of {}", session.subject())
//! }
//!
//! let browser = server.browser().with_origin("https://shop.example.com", pages)?;
//! let page = browser.navigate("https://shop.example.com/account").await?;
//! assert!(page.url().starts_with("https://id.example.test/")); // not signed in yet
//! let page = page.sign_in("alice", "wonderland").await?;
//! assert_eq!(page.text(), "the account of alice");
//! # Ok(())
//! # }
//! ```
//!
//! [RFC 6749 §4.1]: https://www.rfc-editor.org/rfc/rfc6749#section-4.1
//! [RFC 7636]: https://www.rfc-editor.org/rfc/rfc7636
//! [RFC 9457]: https://www.rfc-editor.org/rfc/rfc9457
//! [OpenID Connect Core §3.1]: https://openid.net/specs/openid-connect-core-1_0.html#CodeFlowAuth

mod access_options;
mod asked_login;
mod chooser;
mod chooser_page;
mod chunks;
mod client_metadata;
mod context;
mod cookies;
mod csrf;
mod events;
mod extracted_from;
mod fapi2;
mod form;
mod future;
mod hooks;
mod id_token_options;
mod jar;
mod layer;
mod login_request;
mod login_route_watch;
mod login_state;
mod navigation;
mod options;
mod pages;
mod presented_cookies;
mod provider;
mod redemptions;
mod refusal;
mod reject;
mod request_options;
mod required;
mod response;
mod returning_login;
mod route;
mod route_options;
mod route_paths;
#[cfg(feature = "axum")]
mod router;
mod routes;
mod sealed_request;
mod service;
mod session_cookie;
mod settings;
mod sign_in_loop;
mod silent_login;
mod slots;
mod started_login;
mod step_up;
mod target_cookie;
mod third_party;
mod transactions;

pub use crate::flow::{
    FlowError, FlowErrorKind, Identity, IdentityError, IdentitySource, PushedRequests,
    ResponseMode, UserApi,
};
pub use crate::response_future::ResponseFuture;
pub use chooser_page::{ChooserPage, ProviderChoice};
pub use client_metadata::ClientMetadata;
pub(crate) use context::LoginContext;
pub use cookies::SameSite;
pub use csrf::Csrf;
pub use future::LoginFuture;
pub use layer::LoginLayer;
pub use login_request::LoginRequest;
pub use pages::ErrorPage;
pub use provider::Provider;
pub(crate) use required::SessionRequirement;
pub use required::{Required, RequiredLayer};
pub(crate) use response::misconfigured;
#[cfg(feature = "relay")]
pub(crate) use response::set_retry_after;
pub use route_paths::RouteNames;
pub use service::Login;
pub use silent_login::SilentLoginLayer;

#[doc = include_str!("../../docs/login.md")]
pub mod guide {}
