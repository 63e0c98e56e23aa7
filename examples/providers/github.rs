//! An imitation of GitHub, and a provider for it as an application writes one for a server without OpenID Connect.
//!
//! Endpoints and responses are those of docs.github.com: "Authorizing OAuth apps", "Get the authenticated user" and "List
//! email addresses for the authenticated user".

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::{Form, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tower_oauth::login::{Identity, IdentityError, IdentitySource, UserApi};
use tower_oauth::protocol::Metadata;
use tower_oauth::{AuthorizationServer, Client, ConfigError, Provider};

use super::{escape, page};

const CLIENT: (&str, &str) = ("demo", "demo-secret");

/// The provider of the imitation at this origin; `Provider::github` is that of GitHub.
pub(crate) fn provider(origin: &str) -> Result<Provider, ConfigError> {
    let metadata = Metadata::new(origin)
        .with_authorization_endpoint(format!("{origin}/login/oauth/authorize"))
        .with_token_endpoint(format!("{origin}/login/oauth/access_token"));
    let server = AuthorizationServer::from_metadata(metadata)?;
    let client = Client::confidential_post(CLIENT.0, CLIENT.1);
    let users = UsersOf(origin.to_owned());
    Ok(
        Provider::without_id_token("github", &server, client, users)?
            .with_display_name("GitHub")
            .with_scopes("read:user user:email")?
            .with_comma_separated_scopes(),
    )
}

/// Asks the API at this origin who the user of an access token is.
struct UsersOf(String);

impl IdentitySource for UsersOf {
    async fn identify(&self, api: &UserApi) -> Result<Identity, IdentityError> {
        let user = api.get(&format!("{}/user", self.0)).await?;
        // The number: the name of a deleted account can be given to another user.
        let id = user["id"].as_u64();
        let id = id.ok_or_else(|| IdentityError::invalid_response("id is not a number"))?;
        let identity = Identity::new(id.to_string())
            .with_claim("preferred_username", user["login"].clone())
            .with_claim("name", user["name"].clone());
        // `email` of the user is what the user wrote there.
        let emails = api.get(&format!("{}/user/emails", self.0)).await?;
        let mut emails = emails.as_array().into_iter().flatten();
        let verified = emails.find(|email| email["primary"] == true && email["verified"] == true);
        Ok(match verified {
            Some(email) => identity.with_claim("email", email["email"].clone()),
            None => identity,
        })
    }
}

/// A user of the imitation.
struct User {
    id: u64,
    login: &'static str,
    name: &'static str,
    email: &'static str,
    is_verified: bool,
}

const USERS: [User; 2] = [
    User {
        id: 1001,
        login: "alice",
        name: "Alice Adams",
        email: "alice@example.com",
        is_verified: true,
    },
    User {
        id: 1002,
        login: "bob",
        name: "Bob <Builder>",
        email: "bob@example.com",
        is_verified: false,
    },
];

type Parameters = HashMap<String, String>;

#[derive(Clone)]
struct Imitation {
    callback: String,
    /// Requests that a user allowed, by code.
    codes: Arc<Mutex<HashMap<String, Parameters>>>,
}

/// Not for production: users have no passwords, codes and tokens can be guessed, and the code challenge is not compared.
pub(crate) fn imitation(app: &str) -> Router {
    Router::new()
        .route("/login/oauth/authorize", get(ask).post(decide))
        .route("/login/oauth/access_token", post(token))
        .route("/user", get(user))
        .route("/user/emails", get(emails))
        .with_state(Imitation {
            callback: format!("{app}/auth/callback/github"),
            codes: Arc::default(),
        })
}

fn value<'a>(parameters: &'a Parameters, name: &str) -> &'a str {
    parameters.get(name).map_or("", String::as_str)
}

impl Imitation {
    fn accepts(&self, request: &Parameters) -> bool {
        value(request, "client_id") == CLIENT.0
            && value(request, "redirect_uri") == self.callback
            && value(request, "code_challenge_method") == "S256"
    }

    fn codes(&self) -> MutexGuard<'_, HashMap<String, Parameters>> {
        self.codes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The authorization endpoint. GitHub does not redirect the browser for a client or a redirect URI that it does not know.
async fn ask(State(github): State<Imitation>, Query(request): Query<Parameters>) -> Response {
    if !github.accepts(&request) {
        return (StatusCode::NOT_FOUND, "no such client or redirect URI").into_response();
    }
    let mut form = String::new();
    for (name, value) in &request {
        let (name, value) = (escape(name), escape(value));
        let _ = write!(
            form,
            "<input type=\"hidden\" name=\"{name}\" value=\"{value}\">"
        );
    }
    for User { id, login, .. } in USERS {
        let _ = write!(
            form,
            "<button name=\"user\" value=\"{id}\">Continue as {login}</button>"
        );
    }
    page(&format!(
        "<h1>Imitation of GitHub</h1><p>The application asks for: {}</p>\
         <form method=\"post\">{form}<button name=\"user\" value=\"\">Cancel</button></form>",
        escape(value(&request, "scope")),
    ))
    .into_response()
}

async fn decide(State(github): State<Imitation>, Form(request): Form<Parameters>) -> Response {
    if !github.accepts(&request) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let result = if value(&request, "user").is_empty() {
        ("error", "access_denied".to_owned())
    } else {
        let mut codes = github.codes();
        let code = format!("code-{}", codes.len());
        codes.insert(code.clone(), request.clone());
        ("code", code)
    };
    let pairs = [result, ("state", value(&request, "state").to_owned())];
    let query = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish();
    Redirect::to(&format!("{}?{query}", github.callback)).into_response()
}

/// The token endpoint. Errors have the status 200.
async fn token(State(github): State<Imitation>, Form(form): Form<Parameters>) -> Json<Value> {
    let error =
        |code: &str| Json(json!({ "error": code, "error_description": "see docs.github.com" }));
    if (value(&form, "client_id"), value(&form, "client_secret")) != CLIENT {
        return error("incorrect_client_credentials");
    }
    // A code is valid once. Its entry stays, so that the next code has another number.
    let mut codes = github.codes();
    let request = codes.get_mut(value(&form, "code")).map(std::mem::take);
    let Some(request) = request.filter(|request| !request.is_empty()) else {
        return error("bad_verification_code");
    };
    if value(&form, "redirect_uri") != github.callback || value(&form, "code_verifier").is_empty() {
        return error("redirect_uri_mismatch");
    }
    Json(json!({
        "access_token": format!("gho_{}", value(&request, "user")),
        "token_type": "bearer",
        "scope": value(&request, "scope").replace(' ', ","),
    }))
}

/// Returns the user of a request to the API, which requires `User-Agent`.
fn authenticated(headers: &HeaderMap) -> Result<User, StatusCode> {
    if !headers.contains_key("user-agent") {
        return Err(StatusCode::FORBIDDEN);
    }
    let field = headers.get("authorization");
    let field = field.and_then(|value| value.to_str().ok());
    let id = field.and_then(|field| field.strip_prefix("Bearer gho_")?.parse().ok());
    let user = USERS.into_iter().find(|user| Some(user.id) == id);
    user.ok_or(StatusCode::UNAUTHORIZED)
}

async fn user(headers: HeaderMap) -> Result<Json<Value>, StatusCode> {
    let user = authenticated(&headers)?;
    let User {
        id, login, name, ..
    } = user;
    Ok(Json(
        json!({ "id": id, "login": login, "name": name, "email": user.email }),
    ))
}

async fn emails(headers: HeaderMap) -> Result<Json<Value>, StatusCode> {
    let user = authenticated(&headers)?;
    let email = json!({ "email": user.email, "verified": user.is_verified, "primary": true, "visibility": null });
    Ok(Json(json!([email])))
}
