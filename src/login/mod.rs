//! The login of a browser: the authorization code flow as a tower layer (RFC 6749 §4.1, RFC 7636,
//! OpenID Connect Core §3.1).
//!
//! [`LoginLayer`] stands around all routes of an application and does this with a request:
//!
//! 1. A path of its own, in the folder of the redirect URI, is answered by the layer:
//!    `login` sends the browser to the authorization server (`return_to` says where it goes afterwards;
//!    `login_hint`, `prompt`, `ui_locales`, `acr_values` and `max_age` are passed on), `callback` takes
//!    the answer and begins a session, `logout` ends it here and at the authorization server, `session`
//!    tells the application's scripts who is signed in.
//! 2. Any other request with a session gets a [`Session`](crate::Session) in its extensions, which axum
//!    handlers take as an argument: `Session`, or `Option<Session>`.
//! 3. A request with a session that could change something and does not come from a page of this
//!    application gets 403; [`Csrf`] has a table of what is stopped where.
//! 4. [`LoginLayer::required`] makes a layer for the routes that need a session: without one, a person
//!    who goes to a page is sent to `login` and comes back to that page; everything else (scripts,
//!    images, forms, prefetches) gets 401 with the address of the login route in a problem document, and
//!    `HX-Redirect` for htmx.
//!
//! # Where the session is
//!
//! In a sealed cookie, `__Host-Http-<app>-session`: there is nothing to run, and every replica with the
//! same [`CookieKey`](crate::CookieKey) knows it. It ends 8 hours after the login or after an hour
//! without a request. Signing out ends it in this process at once, even for a copy of the cookie; another
//! replica knows the copy until it ends by itself. A session that does not fit into 5 KiB of cookies is
//! refused with an error page.
//!
//! With [`LoginLayer::with_session_store`] it is in a store, and with [`LoginLayer::with_shared_store`] a
//! store knows what was ended: a sign-out then counts everywhere, and there is a route for the authorization
//! server to tell of its own. The [guide](crate::session::guide) compares.
//!
//! # Deployment notes
//!
//! * The layer stands outermost. Inside `axum::Router::nest` it would see paths without their prefix and
//!   would not be asked about paths that no route matches; its own routes would not be found.
//! * Behind a proxy that ends TLS nothing has to be set: the redirect URI alone says what the outside
//!   world sees. `Host` and `X-Forwarded-*` are not read.
//! * On http, which is for loopback only, cookies are neither Secure nor prefixed. Cookies do not know
//!   ports: the authorization server on another port of the same host needs other cookie names.
//! * Two applications on one host whose client ids differ only in punctuation (`shop.a`, `shop-a`) need
//!   different cookie names too: [`LoginLayer::with_cookie_name`].
//! * A layer that overrides the method (`X-HTTP-Method-Override`, `_method`) belongs outside of this one,
//!   which otherwise judges a request by a method that it does not end up with.
//! * A response gets `Cache-Control: no-store` and `Vary: Cookie` when it sets a cookie of ours, and,
//!   unless it says `private` itself, when its handler took a `Session`, read a [`Session`](crate::Session) from the
//!   extensions, or stood behind `required()`. Any other response to a request with a session gets
//!   `Cache-Control: private` and `Vary: Cookie` if it has no `Cache-Control`. A service that looks only at
//!   whether there is a session, and lets caches share the response all the same, must add `Vary: Cookie` itself.
//! * A request may carry a session and an access token. The two layers do not know each other: a handler
//!   gets a [`Session`](crate::Session) or a [`VerifiedToken`](crate::VerifiedToken) as it asks, or
//!   whichever of them speaks with [`Principal`](crate::extract::Principal), never a mixture, and a
//!   session still needs the evidence of [`Csrf`].
//!
//! # Not checked here
//!
//! What a script in a page of the application does: it can do all that the person can. No route of the layer
//! gives it a token, so there is none to take away; APIs are called through a relay (feature `relay`).
//!
//! Whether the person may do what they ask for; whether `email` is theirs (see
//! [`Session::email`](crate::Session::email)); the access token, which is for the API it was issued for.
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
//! assert!(page.url().starts_with("https://id.example.test/")); // nobody is signed in yet
//! let page = page.sign_in("alice", "wonderland").await?;
//! assert_eq!(page.text(), "the account of alice");
//! # Ok(())
//! # }
//! ```

mod body;
mod chunks;
mod context;
mod cookie_cipher;
mod cookies;
mod csrf;
mod events;
mod future;
mod hooks;
mod layer;
mod navigation;
mod pages;
mod presented;
mod redeemed;
mod redemption_limit;
mod redemptions;
mod refusal;
#[cfg(feature = "relay")]
mod relayed;
mod required;
mod response;
mod routes;
mod service;
mod session_cookie;
mod settings;
mod tickets;
mod transactions;

pub use crate::flow::{FlowError, FlowErrorKind};
pub(crate) use context::LoginContext;
pub use csrf::Csrf;
pub use future::ResponseFuture;
pub use layer::LoginLayer;
pub use pages::ErrorPage;
pub use required::{Required, RequiredFuture, RequiredLayer};
pub use service::Login;

use response::Answer;

/// When a browser sends the session cookie along with a request that another site caused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SameSite {
    /// With navigations: who follows a link to the application is signed in there.
    #[default]
    Lax,
    /// Never. A link from elsewhere then shows the application as to a stranger; the way back from the
    /// authorization server goes over a page of our own, so that signing in works all the same.
    ///
    /// A new login ends the session before it, as with `Lax`, except where a link from elsewhere led
    /// to the login route, by itself or over a page that needs a session: the old cookie is replaced
    /// then, but a copy of it is good until its own limits end it.
    Strict,
}

impl SameSite {
    fn as_str(self) -> &'static str {
        match self {
            Self::Lax => "Lax",
            Self::Strict => "Strict",
        }
    }
}

/// The application is put together wrongly: told in the log and in words, and nothing is let through.
pub(crate) fn missing(message: &'static str) -> Answer {
    events::misconfigured(message);
    response::text(http::StatusCode::INTERNAL_SERVER_ERROR, message)
}

#[cfg(test)]
mod tests;
