//! A single-page application with a backend for frontend (RFC 10017): the backend signs users in, keeps the
//! tokens in the session, and relays the script's requests to the API. The script never sees a token.
//!
//! ```sh
//! cargo run --example spa
//! ```
//!
//! Open <http://127.0.0.1:3000> and sign in as `alice` / `wonderland` or `bob` / `builder`. There is no build
//! step: the page is `examples/spa/index.html` with `app.js` and `style.css`. With curl:
//!
//! ```sh
//! curl -i http://127.0.0.1:3000/api/notes
//! # 401, {"code":"login_required","login_url":"/auth/login",…}
//! curl -i -H 'Cookie: notes-spa-session=…' http://127.0.0.1:3000/api/notes     # copied from the browser
//! # 403, {"code":"cross_site_request",…}
//! curl -i -H 'Cookie: notes-spa-session=…' -H 'X-CSRF: 1' http://127.0.0.1:3000/api/notes
//! # 200, {"notes":["Buy milk","Read RFC 10017"],"of":"alice"}
//! curl -i http://127.0.0.1:4000/notes
//! # 401, WWW-Authenticate: Bearer realm="notes": the API does not use cookies
//! ```
//!
//! For other ports, set `ISSUER_ADDR=127.0.0.1:9100 APP_ADDR=127.0.0.1:3100 API_ADDR=127.0.0.1:4100`.
#![allow(clippy::print_stdout)]

#[path = "spa/api.rs"]
pub(crate) mod api;

use std::env;
use std::error::Error;

use axum::Router;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::IntoResponse;
use axum::routing::get;
use tower_oauth::login::Csrf;
use tower_oauth::relay::Relay;
use tower_oauth::testing::{ManualClock, TestClient, TestServer, TestUser};
use tower_oauth::{AuthorizationServer, Client, ConfigError, CookieKey, LoginLayer};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let [issuer_addr, app_addr, api_addr] = [
        ("ISSUER_ADDR", "127.0.0.1:9000"),
        ("APP_ADDR", "127.0.0.1:3000"),
        ("API_ADDR", "127.0.0.1:4000"),
    ]
    .map(|(name, default)| env::var(name).unwrap_or_else(|_| default.to_owned()));
    let (issuer, app) = (
        format!("http://{issuer_addr}"),
        format!("http://{app_addr}"),
    );
    let _handle = demo_server(&issuer, &app)?.listen(&issuer_addr).await?;

    let listener = tokio::net::TcpListener::bind(&api_addr).await?;
    tokio::spawn(axum::serve(listener, api::api(&issuer)?).into_future());
    let listener = tokio::net::TcpListener::bind(&app_addr).await?;
    println!("application: {app}   (alice / wonderland, bob / builder)");
    println!("API:         http://{api_addr}/notes");
    let application = application(&issuer, &app, &format!("http://{api_addr}"))?;
    axum::serve(listener, application).await?;
    Ok(())
}

/// The page, its script, and the relay to the API.
pub(crate) fn application(issuer: &str, app: &str, api: &str) -> Result<Router, ConfigError> {
    let server = AuthorizationServer::new(issuer)?;
    let client = Client::confidential("notes-spa", "notes-spa-secret");
    let redirect_uri = format!("{app}/auth/callback");
    // A generated key ends all sessions at a restart; in production, use `CookieKey::from_env`.
    let login = LoginLayer::new(&server, client, &redirect_uri, CookieKey::generate()?)?
        .with_scopes("openid profile notes:read notes:write")?
        .with_post_logout_redirect_uri(&format!("{app}/auth/logout"))?
        .with_csrf(Csrf::StaticHeader);
    Ok(Router::new()
        .route("/", get(async || file("text/html", HTML)))
        .route("/app.js", get(async || file("text/javascript", SCRIPT)))
        .route("/style.css", get(async || file("text/css", STYLE)))
        .nest_service("/api", Relay::new(api)?)
        .layer(login))
}

const HTML: &str = include_str!("spa/index.html");
const SCRIPT: &str = include_str!("spa/app.js");
const STYLE: &str = include_str!("spa/style.css");

/// Serves a file with a policy that allows scripts of this origin only.
fn file(kind: &'static str, text: &'static str) -> impl IntoResponse {
    let policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                  img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    (
        [(CONTENT_TYPE, kind), (CONTENT_SECURITY_POLICY, policy)],
        text,
    )
}

/// The authorization server with its client and users. Not for production.
pub(crate) fn demo_server(issuer: &str, app: &str) -> Result<TestServer, ConfigError> {
    let client = TestClient::confidential("notes-spa", "notes-spa-secret")
        .add_redirect_uri(&format!("{app}/auth/callback"))?
        .add_post_logout_redirect_uri(&format!("{app}/auth/logout"))?
        .with_scopes("openid profile notes:read notes:write")?
        .with_audience(api::API);
    let alice = TestUser::new("alice", "wonderland").with_claim("name", "Alice Liddell");
    let bob = TestUser::new("bob", "builder").with_claim("name", "Bob Builder");
    let server = TestServer::new(issuer)?.with_clock(ManualClock::ticking());
    Ok(server.add_client(client).add_user(alice).add_user(bob))
}
