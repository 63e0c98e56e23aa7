//! Session administration: lists the sessions of a user and ends them.
//!
//! ```sh
//! cargo run --example admin
//! ```
//!
//! Open <http://127.0.0.1:3000> and sign in as `alice` / `wonderland`, optionally in two browsers. In another
//! browser (or a private window) sign in as the administrator, `carol` / `keys`, and open `/admin`. End one
//! session of Alice, or all of them, and reload her page.
//!
//! Other clients do the same with a token that has the scope `sessions:manage`:
//!
//! ```sh
//! curl -i http://127.0.0.1:3000/api/sessions/alice
//! # 401, www-authenticate: Bearer realm="sessions"
//! TOKEN=$(curl -s -u ops:ops-secret -d grant_type=client_credentials -d scope=sessions:manage \
//!     http://127.0.0.1:9000/token | sed 's/.*"access_token":"\([^"]*\)".*/\1/')
//! curl -H "Authorization: Bearer $TOKEN" http://127.0.0.1:3000/api/sessions/alice
//! # {"sessions":[{"id":"kZ0…","signed_in_at":1800000000}]}
//! curl -X DELETE -H "Authorization: Bearer $TOKEN" http://127.0.0.1:3000/api/sessions/alice/kZ0…
//! # 204
//! curl -X DELETE -H "Authorization: Bearer $TOKEN" http://127.0.0.1:3000/api/sessions/alice
//! # {"ended":1}
//! ```
//!
//! Signing out at the authorization server, <http://127.0.0.1:9000/end-session>, also ends the session of the
//! application, by back-channel logout.
//!
//! Sessions are in a [`MemoryStore`], which serves one process and is empty after a restart; use a
//! `RedisStore` for several. For other ports, set `ISSUER_ADDR=127.0.0.1:9100 APP_ADDR=127.0.0.1:3100`.
#![allow(clippy::print_stdout)]

#[path = "admin/pages.rs"]
mod pages;

use std::env;
use std::error::Error;
use std::time::UNIX_EPOCH;

use axum::extract::{Form, Path, Query, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use serde_json::json;
use tower_oauth::session::{SessionAdmin, SessionAdminError, SessionId};
use tower_oauth::store::MemoryStore;
use tower_oauth::testing::{GrantType, ManualClock, TestClient, TestServer, TestUser};
use tower_oauth::{
    AuthorizationServer, BearerLayer, Client, ConfigError, CookieKey, LoginLayer, ScopeLayer,
    Session,
};

/// The audience (`aud`) of this API: an identifier, which need not be its address.
const API: &str = "https://admin.example";

/// The subject of the administrator. Replace this with the roles of your application.
const ADMINISTRATOR: &str = "carol";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let issuer_addr = env::var("ISSUER_ADDR").unwrap_or_else(|_| "127.0.0.1:9000".to_owned());
    let app_addr = env::var("APP_ADDR").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let (issuer_url, app_url) = (
        format!("http://{issuer_addr}"),
        format!("http://{app_addr}"),
    );

    let issuer = demo_server(&issuer_url, &app_url)?;
    let _handle = issuer.listen(&issuer_addr).await?;
    let listener = tokio::net::TcpListener::bind(&app_addr).await?;
    println!("application:           {app_url}   (alice / wonderland, bob / builder)");
    println!("administrator:         {app_url}/admin   (carol / keys)");
    println!("authorization server:  {issuer_url}");
    axum::serve(listener, application(&issuer_url, &app_url)?).await?;
    Ok(())
}

fn application(issuer_url: &str, app_url: &str) -> Result<Router, ConfigError> {
    let server = AuthorizationServer::new(issuer_url)?;
    let client = Client::confidential("app", "app-secret");
    let redirect_uri = format!("{app_url}/auth/callback");
    let login = LoginLayer::new(&server, client, &redirect_uri, CookieKey::generate()?)?
        .with_post_logout_redirect_uri(&format!("{app_url}/auth/logout"))?
        .with_session_store(MemoryStore::new().with_single_process());
    let sessions = login.sessions();

    // The login layer rejects cross-site POST requests, so other sites cannot end a session.
    let admin = Router::new()
        .route("/admin", get(list))
        .route("/admin/end", post(end))
        .route("/admin/end-all", post(end_all))
        .route_layer(from_fn(require_administrator))
        .route_layer(login.required());
    let api = Router::new()
        .route("/api/sessions/{user}", get(api_list).delete(api_end_all))
        .route("/api/sessions/{user}/{id}", delete(api_end))
        .route_layer(ScopeLayer::all("sessions:manage")?)
        .route_layer(BearerLayer::jwt(&server, API)?.with_realm("sessions")?);
    Ok(Router::new()
        .route("/", get(home))
        .merge(admin)
        .merge(api)
        .layer(login)
        .with_state(sessions))
}

async fn home(session: Option<Session>) -> Html<String> {
    Html(pages::home(session.as_ref()))
}

/// Runs inside `login.required()`, so there is a session.
async fn require_administrator(session: Session, request: Request, next: Next) -> Response {
    if session.subject() == ADMINISTRATOR {
        return next.run(request).await;
    }
    (StatusCode::FORBIDDEN, Html(pages::forbidden(&session))).into_response()
}

#[derive(serde::Deserialize)]
struct ListQuery {
    user: Option<String>,
    /// The number of sessions that were just ended.
    ended: Option<usize>,
}

async fn list(
    State(sessions): State<SessionAdmin>,
    session: Session,
    Query(query): Query<ListQuery>,
) -> Result<Html<String>, StoreUnavailable> {
    let user = query.user.as_deref().unwrap_or("alice");
    let found = sessions.of_user(user).await?;
    Ok(Html(pages::list(&session, user, &found, query.ended)))
}

#[derive(serde::Deserialize)]
struct EndForm {
    user: String,
    id: String,
}

async fn end(
    State(sessions): State<SessionAdmin>,
    Form(form): Form<EndForm>,
) -> Result<Response, StoreUnavailable> {
    let Ok(id) = form.id.parse::<SessionId>() else {
        return Ok(StatusCode::BAD_REQUEST.into_response());
    };
    sessions.end(&id).await?;
    Ok(back_to(&form.user, 1))
}

#[derive(serde::Deserialize)]
struct EndAllForm {
    user: String,
}

async fn end_all(
    State(sessions): State<SessionAdmin>,
    Form(form): Form<EndAllForm>,
) -> Result<Response, StoreUnavailable> {
    let ended = sessions.end_user(&form.user).await?;
    Ok(back_to(&form.user, ended))
}

/// Redirects after a form, so that reloading the page does not repeat the request.
fn back_to(user: &str, ended: usize) -> Response {
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("user", user)
        .append_pair("ended", &ended.to_string())
        .finish();
    Redirect::to(&format!("/admin?{query}")).into_response()
}

async fn api_list(
    State(sessions): State<SessionAdmin>,
    Path(user): Path<String>,
) -> Result<Response, StoreUnavailable> {
    let found = sessions.of_user(&user).await?;
    let rows: Vec<_> = found
        .iter()
        .map(|session| {
            let since = session.signed_in_at().duration_since(UNIX_EPOCH);
            json!({
                "id": session.id().to_string(),
                "signed_in_at": since.unwrap_or_default().as_secs(),
            })
        })
        .collect();
    Ok(Json(json!({ "sessions": rows })).into_response())
}

async fn api_end(
    State(sessions): State<SessionAdmin>,
    Path((_, id)): Path<(String, String)>,
) -> Result<Response, StoreUnavailable> {
    let Ok(id) = id.parse::<SessionId>() else {
        return Ok(StatusCode::NOT_FOUND.into_response());
    };
    sessions.end(&id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn api_end_all(
    State(sessions): State<SessionAdmin>,
    Path(user): Path<String>,
) -> Result<Response, StoreUnavailable> {
    let ended = sessions.end_user(&user).await?;
    Ok(Json(json!({ "ended": ended })).into_response())
}

/// The store is unavailable. Sessions may or may not have been ended.
struct StoreUnavailable(SessionAdminError);

impl From<SessionAdminError> for StoreUnavailable {
    fn from(error: SessionAdminError) -> Self {
        Self(error)
    }
}

impl IntoResponse for StoreUnavailable {
    fn into_response(self) -> Response {
        println!("sessions cannot be managed: {}", self.0);
        let text = "We can't access the sessions right now. Please try again in a moment.";
        (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
    }
}

/// The authorization server with its clients and users. Not for production.
fn demo_server(issuer: &str, app: &str) -> Result<TestServer, ConfigError> {
    let application = TestClient::confidential("app", "app-secret")
        .add_redirect_uri(&format!("{app}/auth/callback"))?
        .add_post_logout_redirect_uri(&format!("{app}/auth/logout"))?
        .with_backchannel_logout_uri(&format!("{app}/auth/backchannel-logout"))?
        .without_consent();
    let program = TestClient::confidential("ops", "ops-secret")
        .with_grant_types([GrantType::ClientCredentials])
        .with_scopes("sessions:manage")?
        .with_audience(API);
    Ok(TestServer::new(issuer)?
        .with_clock(ManualClock::ticking())
        .add_client(application)
        .add_client(program)
        .add_user(TestUser::new("alice", "wonderland"))
        .add_user(TestUser::new("bob", "builder"))
        .add_user(TestUser::new(ADMINISTRATOR, "keys")))
}
