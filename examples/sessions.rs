//! Long-lived sessions: access tokens are refreshed before they expire, sign-out ends the session in all
//! processes, and any number of processes can run behind one address.
//!
//! ```sh
//! cargo run --example sessions       # http://127.0.0.1:3000, alice / wonderland
//! ```
//!
//! Without `ISSUER` the process starts a demo authorization server at `http://127.0.0.1:9000`. `MODE` selects
//! where sessions are stored:
//!
//! | `MODE` | the session is | use it for |
//! | --- | --- | --- |
//! | `cookie` (default) | in an encrypted cookie | one process, or several if the authorization server does not rotate refresh tokens |
//! | `shared` | in an encrypted cookie; Redis has only shared state such as revoked sessions | several processes, little data in Redis |
//! | `store` | in Redis; the cookie has a random secret | several processes, large sessions, session administration |
//!
//! # Two processes behind one address
//!
//! They share the cookie key, Redis, and the public address `BASE`:
//!
//! ```sh
//! redis-server --port 6379 --appendonly yes &
//! export COOKIE_KEY=$(openssl rand -base64 32) MODE=store REDIS_URL=redis://127.0.0.1:6379
//! export BASE=http://127.0.0.1:3000
//! PORT=3001 cargo run --example sessions &
//! PORT=3002 ISSUER=http://127.0.0.1:9000 cargo run --example sessions &
//! ```
//!
//! A proxy without sticky sessions distributes the requests. With nginx:
//!
//! ```text
//! upstream sessions { server 127.0.0.1:3001; server 127.0.0.1:3002; }
//! server { listen 127.0.0.1:3000; location / { proxy_pass http://sessions; proxy_set_header Host $http_host; } }
//! ```
//!
//! Kill the second process, or stop Redis for a while, at any time: users stay signed in. While Redis is down,
//! responses are 503; afterwards `/` and `/token` work as before. To use your authorization server, set `ISSUER`,
//! `CLIENT_ID` and `CLIENT_SECRET`, and register the redirect URI `$BASE/auth/callback`, the post-logout redirect URI
//! `$BASE/auth/logout` and the back-channel logout URI `$BASE/auth/backchannel-logout`.
#![allow(clippy::print_stdout)]

#[path = "sessions/demo.rs"]
mod demo;
#[path = "sessions/settings.rs"]
mod settings;

use std::error::Error;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;
use tower_oauth::session::SessionError;
use tower_oauth::store::RedisStore;
use tower_oauth::{AuthorizationServer, Client, ConfigError, LoginLayer, Session};

use settings::{Mode, Settings};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let settings = Settings::from_env()?;
    let _demo = match settings.issuer {
        Some(_) => None,
        None => Some(demo::listen(&settings).await?),
    };
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", settings.port)).await?;
    println!(
        "Listening on {}, public address {}",
        listener.local_addr()?,
        settings.base
    );
    axum::serve(listener, application(settings)?).await?;
    Ok(())
}

fn application(settings: Settings) -> Result<Router, ConfigError> {
    let login = login(settings)?;
    Ok(Router::new()
        .route("/token", get(token))
        .route("/slow", get(slow))
        .route_layer(login.required())
        .route("/", get(home))
        .layer(login)
        // Added after the layer and therefore not covered by it: health checks have no session.
        .route("/health", get(async || "ok")))
}

fn login(settings: Settings) -> Result<LoginLayer, ConfigError> {
    let server = AuthorizationServer::new(&settings.issuer())?;
    let client = Client::confidential(settings.client_id, settings.client_secret);
    let base = settings.base;
    let login = LoginLayer::new(
        &server,
        client,
        &format!("{base}/auth/callback"),
        settings.cookie_key,
    )?
    // `offline_access` requests a refresh token. Some servers also require `prompt=consent`.
    .with_scopes("openid offline_access")?
    .with_authorization_parameter("prompt", "consent")?
    .with_post_logout_redirect_uri(&format!("{base}/auth/logout"))?;
    let redis = || RedisStore::new(&settings.redis_url);
    Ok(match settings.mode {
        Mode::Cookie => login,
        Mode::Shared => login.with_shared_store(redis()?),
        Mode::Store => login.with_session_store(redis()?),
    })
}

async fn home(session: Option<Session>) -> Html<String> {
    Html(match session {
        // A subject can be any text, so it is escaped.
        Some(session) => format!(
            "<p>Hello, {}.</p><p><a href=/token>access token</a></p>\
             <form method=post action=/auth/logout><button>Sign out</button></form>",
            escape(session.subject())
        ),
        None => "<p>Hello, stranger.</p><a href=/auth/login>Sign in</a>".to_owned(),
    })
}

/// Returns a hash of the session's access token. Tokens themselves must not be sent to the browser.
async fn token(session: Session) -> Response {
    // Returns a valid token, after a refresh if necessary: by this request, or by another request or process.
    match session.access_token().await {
        Ok(token) => {
            let mut hasher = DefaultHasher::new();
            token.expose().hash(&mut hasher);
            Json(json!({ "subject": session.subject(), "token": hasher.finish() })).into_response()
        }
        // Temporary: the session continues.
        Err(SessionError::Unavailable {
            reason,
            retry_after,
        }) => {
            tracing::warn!(%reason, "no access token");
            let retry_after = [(header::RETRY_AFTER, retry_after.as_secs().to_string())];
            (StatusCode::SERVICE_UNAVAILABLE, retry_after).into_response()
        }
        // The session has ended, or the token has expired without a refresh token: sign in again.
        Err(_) => StatusCode::UNAUTHORIZED.into_response(),
    }
}

/// A slow response. It does not restore a session that ends in the meantime.
async fn slow(session: Session) -> String {
    tokio::time::sleep(Duration::from_secs(2)).await;
    format!("this was for {:?}\n", session.subject())
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('"', "&quot;")
}
