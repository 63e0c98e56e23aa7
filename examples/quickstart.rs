//! Two authorization servers, an application where users of both sign in, and an API that the application calls with
//! the user's access token, all in one process.
//!
//! ```sh
//! cargo run --example quickstart
//! ```
//!
//! Open <http://127.0.0.1:3000> and sign in with Notes ID as `alice` / `wonderland` or `bob` / `builder`, or with
//! Partner Inc. as `carol` / `keys`. `/flow` shows the requests of your sign-in, step by step. Access tokens are valid for
//! two minutes: the account page shows the refresh, and after sign-out the home page shows the revoked tokens. Other
//! clients call the API directly:
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
//! For other ports, set `ISSUER_ADDR=127.0.0.1:9100 PARTNER_ADDR=127.0.0.1:9101 APP_ADDR=127.0.0.1:3100`; behind a proxy,
//! set `APP_URL` to the public origin. In your application, remove `demo_servers` and use the issuer URL of your
//! authorization server; with one of them, there is nothing to choose, and no `add_provider`.
#![allow(clippy::print_stdout)]

#[path = "quickstart/flow_page.rs"]
mod flow_page;
#[path = "quickstart/pages.rs"]
mod pages;
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
use tower_oauth::token::Verifier;
use tower_oauth::{
    AuthorizationServer, BearerLayer, Client, ConfigError, CookieKey, JwtVerifier, LoginLayer,
    Provider, ScopeLayer, Session, VerifiedToken,
};

/// The audience (`aud`) of this API: an identifier, which need not be its address.
const API: &str = "https://notes.example";

/// Shared state of the handlers.
#[derive(Clone)]
struct App {
    url: String,
    servers: [TestServer; 2],
    notes: Arc<Mutex<Vec<String>>>,
    recorder: flow_page::Recorder,
    http: reqwest::Client,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = |name, default: &str| env::var(name).unwrap_or_else(|_| default.to_owned());
    let issuer_addr = address("ISSUER_ADDR", "127.0.0.1:9000");
    let partner_addr = address("PARTNER_ADDR", "127.0.0.1:9001");
    let app_addr = address("APP_ADDR", "127.0.0.1:3000");
    let app_url = env::var("APP_URL").unwrap_or_else(|_| format!("http://{app_addr}"));

    let [notes_id, partner] = demo_servers(&issuer_addr, &partner_addr, &app_url)?;
    let _notes_id = notes_id.listen(&issuer_addr).await?;
    let _partner = partner.listen(&partner_addr).await?;
    let listener = tokio::net::TcpListener::bind(&app_addr).await?;
    println!("application:  {app_url}");
    println!("Notes ID:     http://{issuer_addr}   (alice / wonderland, bob / builder)");
    println!("Partner Inc.: http://{partner_addr}   (carol / keys)");
    axum::serve(listener, application(&app_url, [notes_id, partner])?).await?;
    Ok(())
}

fn application(app_url: &str, servers: [TestServer; 2]) -> Result<Router, ConfigError> {
    let notes_id = AuthorizationServer::new(servers[0].issuer())?;
    let partner = AuthorizationServer::new(servers[1].issuer())?;

    // The API: requires a token of one of these issuers for this audience, and a scope for each method.
    let issuers = Verifier::issuers([
        JwtVerifier::new(&notes_id, API)?,
        JwtVerifier::new(&partner, API)?,
    ])?;
    let read = get(list_notes).layer(ScopeLayer::all("notes:read")?);
    let write = post(add_note).layer(ScopeLayer::all("notes:write")?);
    let api = Router::new()
        .route("/api/notes", read.merge(write))
        .route_layer(BearerLayer::new(issuers).with_realm("notes")?);

    // The pages: the authorization code flow. A generated key ends all sessions at a restart; in
    // production, load it from the environment: `CookieKey::from_env("COOKIE_KEY")?`.
    let client = Client::confidential("notes-app", "notes-app-secret");
    let redirect_uri = format!("{app_url}/auth/callback");
    let login = LoginLayer::new(&notes_id, client, &redirect_uri, CookieKey::generate()?)?
        .with_provider_name("notes", "Notes ID")?
        .with_scopes("openid profile notes:read")?
        .with_post_logout_redirect_uri(&format!("{app_url}/auth/logout"))?;
    // Users choose where to sign in. The redirect URI of the second provider ends with its name.
    let client = Client::confidential("notes-app", "partner-secret");
    let partner = Provider::new("partner", &partner, client)?
        .with_display_name("Partner Inc.")
        .with_scopes("openid profile notes:read")?;
    let login = login.add_provider(partner)?;
    let pages = Router::new()
        .route("/account", get(account).post(call_api))
        .route("/flow", get(flow))
        .route_layer(login.required())
        .route("/", get(home));

    let app = App {
        url: app_url.to_owned(),
        servers,
        notes: Arc::new(Mutex::new(vec![
            "Buy milk".to_owned(),
            "Read RFC 6749".to_owned(),
        ])),
        recorder: flow_page::Recorder::default(),
        http: reqwest::Client::new(),
    };
    // The login layer is the outermost one: it serves the routes under /auth/.
    Ok(pages
        .merge(api)
        .layer(login)
        .layer(from_fn_with_state(app.clone(), record_callback))
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
        return (StatusCode::BAD_REQUEST, "a note must have 1 to 200 bytes").into_response();
    }
    let mut notes = app.notes.lock().unwrap_or_else(PoisonError::into_inner);
    if notes.len() >= 20 {
        notes.remove(0);
    }
    notes.push(note);
    Json(json!({ "notes": *notes, "of": token.subject() })).into_response()
}

async fn home(State(app): State<App>, session: Option<Session>) -> Html<String> {
    let revoked: String = app.servers.iter().map(tokens::last_sign_out).collect();
    Html(pages::home(session.as_ref(), &revoked))
}

async fn account(session: Session) -> Html<String> {
    Html(account_page(&session, None, None).await)
}

async fn account_page(
    session: &Session,
    call: Option<&flow_page::ApiCall>,
    refreshed_from: Option<&tokens::TokenView>,
) -> String {
    // The ID token identifies the user; the profile comes from the userinfo endpoint.
    let profile = session.userinfo().await;
    let name = profile
        .ok()
        .and_then(|profile| Some(profile.get("name")?.as_str()?.to_owned()));
    let token = tokens::section(
        tokens::TokenView::of(session).await.as_ref(),
        refreshed_from,
    );
    pages::account(session, name.as_deref(), call, &token)
}

#[derive(serde::Deserialize)]
struct Call {
    call: String,
}

/// Calls the API over HTTP with the session's access token.
async fn call_api(
    State(app): State<App>,
    login: LoginLayer,
    session: Session,
    Form(form): Form<Call>,
) -> Response {
    if form.call == "refresh" {
        let before = tokens::TokenView::of(&session).await;
        // Applications need this only after an API has rejected a token that has not expired.
        return match session.refresh().await {
            Ok(()) => Html(account_page(&session, None, before.as_ref()).await).into_response(),
            Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
        };
    }
    let Ok(token) = session.access_token().await else {
        // It has expired and cannot be refreshed: sign in again.
        return Redirect::to(&login.login_url("/account")).into_response();
    };
    let url = format!("{}/api/notes", app.url);
    let request = match form.call.as_str() {
        "write" => app.http.post(&url).body("A note from the browser"),
        _ => app.http.get(&url),
    };
    let method = if form.call == "write" { "POST" } else { "GET" };
    let response = match request.bearer_auth(token.expose()).send().await {
        Ok(response) => response,
        Err(error) => return (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    };
    let call = flow_page::ApiCall::new(method, token.expose(), response).await;
    app.recorder.record_call(&session, call.clone());
    Html(account_page(&session, Some(&call), None).await).into_response()
}

async fn flow(State(app): State<App>, session: Session) -> Html<String> {
    let flow = app.recorder.flow_of(&session, &app.servers);
    Html(pages::page(
        "The flow",
        Some(&session),
        &flow_page::render(&session, &flow),
    ))
}

/// For the flow page: records the parameters of the callback.
async fn record_callback(State(app): State<App>, request: Request, next: Next) -> Response {
    if request.uri().path().starts_with("/auth/callback") {
        app.recorder
            .record_callback(request.uri().query().unwrap_or_default());
    }
    next.run(request).await
}

/// The authorization servers with their clients and users. Not for production.
fn demo_servers(issuer: &str, partner: &str, app: &str) -> Result<[TestServer; 2], ConfigError> {
    let program = TestClient::confidential("cli", "cli-secret")
        .with_grant_types([GrantType::ClientCredentials])
        .with_scopes("notes:read notes:write")?
        .with_audience(API);
    let browser_client = |secret, callback| {
        Ok::<_, ConfigError>(
            TestClient::confidential("notes-app", secret)
                .add_redirect_uri(&format!("{app}{callback}"))?
                .add_post_logout_redirect_uri(&format!("{app}/auth/logout"))?
                .with_scopes("openid profile notes:read")?
                .with_audience(API)
                .with_access_token_lifetime(Duration::from_secs(120)),
        )
    };
    let notes_id = TestServer::new(&format!("http://{issuer}"))?
        .with_clock(ManualClock::ticking())
        .add_client(browser_client("notes-app-secret", "/auth/callback")?)
        .add_client(program)
        .add_user(TestUser::new("alice", "wonderland").with_claim("name", "Alice Liddell"))
        .add_user(TestUser::new("bob", "builder").with_claim("name", "Bob Builder"));
    let partner = TestServer::new(&format!("http://{partner}"))?
        .with_clock(ManualClock::ticking())
        .add_client(browser_client("partner-secret", "/auth/callback/partner")?)
        .add_user(TestUser::new("carol", "keys").with_claim("name", "Carol Keys"));
    Ok([notes_id, partner])
}
