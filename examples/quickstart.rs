//! A whole OAuth 2.0 world in one process: an authorization server, an application that people sign in
//! to, and an API that the application calls with their access token.
//!
//! ```sh
//! cargo run --example quickstart
//! ```
//!
//! Open <http://127.0.0.1:3000> and sign in as `alice` / `wonderland` or `bob` / `builder`. `/flow` then
//! shows the flow that just happened, step by step. The access token lives two minutes: the account page
//! shows it being renewed, and the home page after a sign-out what was revoked. Programs use the API
//! directly:
//!
//! ```sh
//! curl -i http://127.0.0.1:3000/api/notes
//! # 401, WWW-Authenticate: Bearer realm="notes"
//! TOKEN=$(curl -s -u cli:cli-secret -d grant_type=client_credentials -d scope='notes:read notes:write' \
//!     http://127.0.0.1:9000/token | sed 's/.*"access_token":"\([^"]*\)".*/\1/')
//! curl -H "Authorization: Bearer $TOKEN" http://127.0.0.1:3000/api/notes
//! # {"notes":["Buy milk","Read RFC 6749"],"of":"cli"}
//! curl -X POST -H "Authorization: Bearer $TOKEN" -d 'Call Bob' http://127.0.0.1:3000/api/notes
//! # {"notes":["Buy milk","Read RFC 6749","Call Bob"],"of":"cli"}
//! ```
//!
//! Other ports: `ISSUER_ADDR=127.0.0.1:9100 APP_ADDR=127.0.0.1:3100`. In an application of your own, the
//! function `demo_server` goes away and the issuer is your authorization server's.
#![allow(clippy::print_stdout)]

#[path = "quickstart/pages.rs"]
mod pages;
#[path = "quickstart/picture.rs"]
mod picture;
#[path = "quickstart/tokens.rs"]
mod tokens;

use std::env;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Form, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::json;
use tower_oauth::testing::{GrantType, ManualClock, TestClient, TestServer, TestUser};
use tower_oauth::{
    AuthorizationServer, BearerLayer, Client, ConfigError, CookieKey, LoginLayer, ScopeLayer,
    Session, VerifiedToken,
};

/// How this API is called in `aud`: an identifier, not an address.
const API: &str = "https://notes.example";

/// What the handlers share.
#[derive(Clone)]
struct App {
    url: String,
    issuer: TestServer,
    notes: Arc<Mutex<Vec<String>>>,
    witness: picture::Witness,
    http: reqwest::Client,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let issuer_addr = env::var("ISSUER_ADDR").unwrap_or_else(|_| "127.0.0.1:9000".to_owned());
    let app_addr = env::var("APP_ADDR").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let (issuer_url, app_url) = (
        format!("http://{issuer_addr}"),
        format!("http://{app_addr}"),
    );

    let issuer = demo_server(&issuer_url, &app_url)?;
    let _listening = issuer.listen(&issuer_addr).await?;
    let listener = tokio::net::TcpListener::bind(&app_addr).await?;
    println!("application:           {app_url}   (alice / wonderland, bob / builder)");
    println!("authorization server:  {issuer_url}");
    axum::serve(listener, application(&issuer_url, &app_url, issuer)?).await?;
    Ok(())
}

fn application(issuer_url: &str, app_url: &str, issuer: TestServer) -> Result<Router, ConfigError> {
    let server = AuthorizationServer::new(issuer_url)?;

    // The API: a token of this issuer for this audience, and a scope for each method.
    let read = get(list_notes).layer(ScopeLayer::all("notes:read")?);
    let write = post(add_note).layer(ScopeLayer::all("notes:write")?);
    let api = Router::new()
        .route("/api/notes", read.merge(write))
        .route_layer(BearerLayer::jwt(&server, API)?.with_realm("notes")?);

    // The pages: the code flow. A new key at every start signs everybody out; a real application
    // keeps one in its environment: `CookieKey::from_env("COOKIE_KEY")?`.
    let client = Client::confidential("notes-app", "notes-app-secret");
    let redirect_uri = format!("{app_url}/auth/callback");
    let login = LoginLayer::new(&server, client, &redirect_uri, CookieKey::generate()?)?
        .with_scopes("openid profile notes:read")?
        .with_post_logout_redirect_uri(&format!("{app_url}/auth/logout"))?;
    let pages = Router::new()
        .route("/account", get(account).post(call_api))
        .route("/flow", get(flow))
        .route_layer(login.required())
        .route("/", get(home));

    let app = App {
        url: app_url.to_owned(),
        issuer,
        notes: Arc::new(Mutex::new(vec![
            "Buy milk".to_owned(),
            "Read RFC 6749".to_owned(),
        ])),
        witness: picture::Witness::default(),
        http: reqwest::Client::new(),
    };
    // The login layer stands outermost: it serves the routes under /auth/ itself.
    Ok(pages
        .merge(api)
        .layer(login)
        .layer(from_fn_with_state(app.clone(), witness_callback))
        .with_state(app))
}

async fn list_notes(State(app): State<App>, token: VerifiedToken) -> impl IntoResponse {
    let notes = app
        .notes
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    Json(json!({ "notes": notes, "of": token.subject() }))
}

async fn add_note(State(app): State<App>, token: VerifiedToken, note: String) -> Response {
    if note.is_empty() || note.len() > 200 {
        return (StatusCode::BAD_REQUEST, "a note has 1 to 200 bytes").into_response();
    }
    let mut notes = app.notes.lock().unwrap_or_else(PoisonError::into_inner);
    if notes.len() >= 20 {
        notes.remove(0);
    }
    notes.push(note);
    Json(json!({ "notes": *notes, "of": token.subject() })).into_response()
}

async fn home(State(app): State<App>, session: Option<Session>) -> Html<String> {
    let ended = tokens::last_sign_out(&app.issuer);
    Html(pages::home(session.as_ref(), &ended))
}

async fn account(session: Session) -> Html<String> {
    Html(account_page(&session, None, None).await)
}

async fn account_page(
    session: &Session,
    call: Option<&picture::ApiCall>,
    renewed: Option<&tokens::Shown>,
) -> String {
    // The ID token says who signed in; the profile is asked for at the authorization server.
    let profile = session.userinfo().await;
    let name = profile
        .ok()
        .and_then(|profile| Some(profile.get("name")?.as_str()?.to_owned()));
    let token = tokens::section(tokens::Shown::of(session).await.as_ref(), renewed);
    pages::account(session, name.as_deref(), call, &token)
}

#[derive(serde::Deserialize)]
struct Call {
    call: String,
}

/// Calls the API over HTTP with the session's access token, as it would call anybody's.
async fn call_api(State(app): State<App>, session: Session, Form(form): Form<Call>) -> Response {
    if form.call == "renew" {
        let before = tokens::Shown::of(&session).await;
        // Only an API that refuses a token is a reason to ask for another before its time.
        return match session.refresh().await {
            Ok(()) => Html(account_page(&session, None, before.as_ref()).await).into_response(),
            Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
        };
    }
    let Ok(token) = session.access_token().await else {
        // It has run out: signing in again brings a new one.
        return Redirect::to("/auth/login?return_to=/account").into_response();
    };
    let url = format!("{}/api/notes", app.url);
    let request = match form.call.as_str() {
        "write" => app.http.post(&url).body("A note from the browser"),
        _ => app.http.get(&url),
    };
    let method = if form.call == "write" { "POST" } else { "GET" };
    let answer = match request.bearer_auth(token.expose()).send().await {
        Ok(answer) => answer,
        Err(error) => return (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    };
    let call = picture::ApiCall::new(method, token.expose(), answer).await;
    app.witness.called(&session, call.clone());
    Html(account_page(&session, Some(&call), None).await).into_response()
}

async fn flow(State(app): State<App>, session: Session) -> Html<String> {
    let flow = app.witness.flow_of(&session, &app.issuer);
    Html(pages::page(
        "The flow",
        Some(&session),
        &picture::draw(&session, &flow),
    ))
}

/// Only for the picture: notes what the browser brings back to the callback.
async fn witness_callback(State(app): State<App>, request: Request, next: Next) -> Response {
    if request.uri().path() == "/auth/callback" {
        app.witness
            .called_back(request.uri().query().unwrap_or_default());
    }
    next.run(request).await
}

/// The authorization server, with the clients and users it knows. Not for production.
fn demo_server(issuer: &str, app: &str) -> Result<TestServer, ConfigError> {
    let browser_client = TestClient::confidential("notes-app", "notes-app-secret")
        .add_redirect_uri(&format!("{app}/auth/callback"))?
        .add_post_logout_redirect_uri(&format!("{app}/auth/logout"))?
        .with_scopes("openid profile notes:read")?
        .with_audience(API)
        .with_access_token_lifetime(Duration::from_secs(120));
    let program = TestClient::confidential("cli", "cli-secret")
        .with_grant_types([GrantType::ClientCredentials])
        .with_scopes("notes:read notes:write")?
        .with_audience(API);
    Ok(TestServer::new(issuer)?
        .with_clock(ManualClock::ticking())
        .add_client(browser_client)
        .add_client(program)
        .add_user(TestUser::new("alice", "wonderland").with_claim("name", "Alice Liddell"))
        .add_user(TestUser::new("bob", "builder").with_claim("name", "Bob Builder")))
}
