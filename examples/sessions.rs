//! An application whose sessions last: access tokens are renewed before they end, signing out ends the session
//! everywhere, and any number of its processes stand behind one address.
//!
//! ```sh
//! cargo run --example sessions       # http://127.0.0.1:3000, alice / wonderland
//! ```
//!
//! Without `ISSUER` the process brings a demo authorization server along, at `http://127.0.0.1:9000`. One line says
//! where the sessions are, chosen here by `MODE`:
//!
//! | `MODE` | the session is | for |
//! | --- | --- | --- |
//! | `cookie` (default) | in a sealed cookie | one process, or many whose authorization server does not rotate refresh tokens |
//! | `shared` | in a sealed cookie; Redis keeps what the processes must know together | many processes, little in Redis |
//! | `store` | in Redis; the cookie is a ticket | many processes, large sessions, ending sessions from elsewhere |
//!
//! # Two processes behind one address
//!
//! They share the cookie key, the Redis, and the address that people see, `BASE`:
//!
//! ```sh
//! redis-server --port 6379 --appendonly yes &
//! export COOKIE_KEY=$(openssl rand -base64 32) MODE=store REDIS_URL=redis://127.0.0.1:6379
//! export BASE=http://127.0.0.1:3000
//! PORT=3001 cargo run --example sessions &
//! PORT=3002 ISSUER=http://127.0.0.1:9000 cargo run --example sessions &
//! ```
//!
//! and any proxy in front hands each request to either, without sessions of its own. With nginx:
//!
//! ```text
//! upstream sessions { server 127.0.0.1:3001; server 127.0.0.1:3002; }
//! server { listen 127.0.0.1:3000; location / { proxy_pass http://sessions; proxy_set_header Host $http_host; } }
//! ```
//!
//! Kill the second process, or stop Redis for a while, in the middle of whatever: `/` says who is signed in, or 503
//! as long as nobody can know, and `/token` has a token that is good. With an authorization server of your own, set `ISSUER`, `CLIENT_ID` and `CLIENT_SECRET`,
//! and register `$BASE/auth/callback` and, as post-logout redirect URI, `$BASE/auth/logout` there, and as
//! back-channel logout URI `$BASE/auth/backchannel-logout`.
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
        "Listening on {}, people come to {}",
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
        // Added after the layer, so outside of it: whoever asks for the health of a process has no session.
        .route("/health", get(async || "good")))
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
    // The second is how one asks for a refresh token; some servers give one in any case, others need more.
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
        // A subject may be anything.
        Some(session) => format!(
            "<p>Hello, {}.</p><p><a href=/token>access token</a></p>\
             <form method=post action=/auth/logout><button>Sign out</button></form>",
            escape(session.subject())
        ),
        None => "<p>Hello, stranger.</p><a href=/auth/login>Sign in</a>".to_owned(),
    })
}

/// Which access token the session has, without showing it: a token never goes to the browser.
async fn token(session: Session) -> Response {
    // Fresh, whatever that takes: a refresh here, or the one that another request or process has just made.
    match session.access_token().await {
        Ok(token) => {
            let mut digest = DefaultHasher::new();
            token.expose().hash(&mut digest);
            Json(json!({ "subject": session.subject(), "token": digest.finish() })).into_response()
        }
        // It is worth trying again; nobody is signed out.
        Err(SessionError::Unavailable {
            reason,
            retry_after,
        }) => {
            tracing::warn!(%reason, "no access token");
            let retry_after = [(header::RETRY_AFTER, retry_after.as_secs().to_string())];
            (StatusCode::SERVICE_UNAVAILABLE, retry_after).into_response()
        }
        // The session has ended, or there is nothing to renew the token with: signing in again brings another.
        Err(_) => StatusCode::UNAUTHORIZED.into_response(),
    }
}

/// An answer that takes its time. What ends while it is under way stays ended: it writes nothing back.
async fn slow(session: Session) -> String {
    tokio::time::sleep(Duration::from_secs(2)).await;
    format!("this was for {:?}\n", session.subject())
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('"', "&quot;")
}
