//! An administrator's view: who is signed in, since when, and the end of it.
//!
//! ```sh
//! cargo run --example admin
//! ```
//!
//! Open <http://127.0.0.1:3000> and sign in as `alice` / `wonderland`, in two browsers if you like. In yet
//! another browser (a private window will do) sign in as `carol` / `keys`, who is the administrator, and
//! open `/admin`: end one session of alice, or all of them, and load her page again.
//!
//! Programs do the same with a token of the scope `sessions:manage`:
//!
//! ```sh
//! curl -i http://127.0.0.1:3000/api/sessions/alice
//! # 401, www-authenticate: Bearer realm="sessions"
//! TOKEN=$(curl -s -u ops:ops-secret -d grant_type=client_credentials -d scope=sessions:manage \
//!     http://127.0.0.1:9000/token | sed 's/.*"access_token":"\([^"]*\)".*/\1/')
//! curl -H "Authorization: Bearer $TOKEN" http://127.0.0.1:3000/api/sessions/alice
//! # {"sessions":[{"id":"kZ0…","signed_in_at":1800000000}]}
//! curl -X DELETE -H "Authorization: Bearer $TOKEN" http://127.0.0.1:3000/api/sessions/alice/kZ0…
//! # 204, and nothing
//! curl -X DELETE -H "Authorization: Bearer $TOKEN" http://127.0.0.1:3000/api/sessions/alice
//! # {"ended":1}
//! ```
//!
//! Signing out at the authorization server, <http://127.0.0.1:9000/end-session>, ends the session here as
//! well: it is told by back-channel logout.
//!
//! Sessions are in a [`MemoryStore`], which is enough for one process and forgets them when it stops; a
//! `RedisStore` in its place serves many. Other ports: `ISSUER_ADDR=127.0.0.1:9100 APP_ADDR=127.0.0.1:3100`.
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
use tower_oauth::testing::{Grant, ManualClock, TestClient, TestServer, TestUser};
use tower_oauth::{
    AuthorizationServer, BearerLayer, Client, ConfigError, CookieKey, LoginLayer, ScopeLayer,
    Session,
};

/// How this API is called in `aud`: an identifier, not an address.
const API: &str = "https://admin.example";

/// The one who may: a subject of the one issuer there is. Your application has roles of its own.
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
    let _listening = issuer.listen(&issuer_addr).await?;
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

    // The login layer takes a POST only from pages of this origin: no other site can end a session.
    let admin = Router::new()
        .route("/admin", get(list))
        .route("/admin/end", post(end))
        .route("/admin/end-all", post(end_all))
        .route_layer(from_fn(only_the_administrator))
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

/// Inside of `login.required()`, so there is a session.
async fn only_the_administrator(session: Session, request: Request, next: Next) -> Response {
    if session.subject() == ADMINISTRATOR {
        return next.run(request).await;
    }
    (StatusCode::FORBIDDEN, Html(pages::forbidden(&session))).into_response()
}

#[derive(serde::Deserialize)]
struct Whose {
    user: Option<String>,
    /// How many sessions were ended just now.
    ended: Option<usize>,
}

async fn list(
    State(sessions): State<SessionAdmin>,
    session: Session,
    Query(whose): Query<Whose>,
) -> Result<Html<String>, Away> {
    let user = whose.user.as_deref().unwrap_or("alice");
    let found = sessions.of_user(user).await?;
    Ok(Html(pages::list(&session, user, &found, whose.ended)))
}

#[derive(serde::Deserialize)]
struct One {
    user: String,
    id: String,
}

async fn end(State(sessions): State<SessionAdmin>, Form(one): Form<One>) -> Result<Response, Away> {
    let Ok(id) = one.id.parse::<SessionId>() else {
        return Ok(StatusCode::BAD_REQUEST.into_response());
    };
    sessions.end(&id).await?;
    Ok(back_to(&one.user, 1))
}

#[derive(serde::Deserialize)]
struct All {
    user: String,
}

async fn end_all(
    State(sessions): State<SessionAdmin>,
    Form(all): Form<All>,
) -> Result<Response, Away> {
    let ended = sessions.end_user(&all.user).await?;
    Ok(back_to(&all.user, ended))
}

/// The answer to a form leads to a page that can be loaded again without harm.
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
) -> Result<Response, Away> {
    let found = sessions.of_user(&user).await?;
    let rows: Vec<_> = found
        .iter()
        .map(|one| {
            let since = one.signed_in_at().duration_since(UNIX_EPOCH);
            json!({
                "id": one.id().to_string(),
                "signed_in_at": since.unwrap_or_default().as_secs(),
            })
        })
        .collect();
    Ok(Json(json!({ "sessions": rows })).into_response())
}

async fn api_end(
    State(sessions): State<SessionAdmin>,
    Path((_, id)): Path<(String, String)>,
) -> Result<Response, Away> {
    let Ok(id) = id.parse::<SessionId>() else {
        return Ok(StatusCode::NOT_FOUND.into_response());
    };
    sessions.end(&id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn api_end_all(
    State(sessions): State<SessionAdmin>,
    Path(user): Path<String>,
) -> Result<Response, Away> {
    let ended = sessions.end_user(&user).await?;
    Ok(Json(json!({ "ended": ended })).into_response())
}

/// The store cannot be asked: nothing is known, and nothing was ended for certain.
struct Away(SessionAdminError);

impl From<SessionAdminError> for Away {
    fn from(error: SessionAdminError) -> Self {
        Self(error)
    }
}

impl IntoResponse for Away {
    fn into_response(self) -> Response {
        println!("the sessions cannot be managed: {}", self.0);
        let text = "The sessions cannot be reached. Try again in a moment.";
        (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
    }
}

/// The authorization server, with the clients and users it knows. Not for production.
fn demo_server(issuer: &str, app: &str) -> Result<TestServer, ConfigError> {
    let application = TestClient::confidential("app", "app-secret")
        .add_redirect_uri(&format!("{app}/auth/callback"))?
        .add_post_logout_redirect_uri(&format!("{app}/auth/logout"))?
        .with_backchannel_logout_uri(&format!("{app}/auth/backchannel-logout"))?
        .without_consent();
    let program = TestClient::confidential("ops", "ops-secret")
        .with_grants([Grant::ClientCredentials])
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
