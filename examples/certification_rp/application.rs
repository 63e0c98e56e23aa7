//! The routes of the relying party.

use std::error::Error;
use std::fmt::Write as _;

use axum::Router;
use axum::extract::State;
use axum::http::{Request, StatusCode, Uri};
use axum::middleware;
use axum::response::Html;
use axum::routing::get;
use serde_json::Value;
use tower_oauth::login::ErrorPage;
use tower_oauth::store::MemoryStore;
use tower_oauth::{AuthorizationServer, CookieKey, LoginLayer, Session};

use super::back_channel::http_client;
use super::configuration::{Configuration, Profile, Sessions};
use super::scripts;

/// What is called after a login.
#[derive(Clone)]
struct Calls {
    http: reqwest::Client,
    userinfo: bool,
    resource: Option<String>,
}

pub(crate) fn application(configuration: &Configuration) -> Result<Router, Box<dyn Error>> {
    let http = http_client(configuration)?;
    let login = login(configuration, http.clone())?;
    let calls = Calls {
        http,
        userinfo: configuration.calls_userinfo,
        resource: configuration.resource.clone(),
    };
    Ok(Router::new()
        .route("/account", get(account).layer(login.required()))
        .route("/refresh", get(refresh).layer(login.required()))
        .route("/", get(home))
        .with_state(calls)
        .layer(login)
        // Around the login, which decides by the fields that this adds.
        .layer(middleware::from_fn(scripts::complete)))
}

fn login(
    configuration: &Configuration,
    http: reqwest::Client,
) -> Result<LoginLayer, Box<dyn Error>> {
    let server = AuthorizationServer::new(&configuration.issuer)?.with_http_client(http);
    let key = match &configuration.cookie_key {
        Some(text) => CookieKey::from_text(text)?,
        None => CookieKey::generate()?,
    };
    let base = configuration.base.trim_end_matches('/');
    let client = configuration.client.clone();
    let mut login = LoginLayer::new(&server, client, &format!("{base}/auth/callback"), key)?
        .with_scopes(&configuration.scopes)?
        .with_post_logout_redirect_uri(&format!("{base}/auth/logout"))?
        .with_default_return_to("/account")?
        .with_error_page(error_page);
    if let Some(mode) = configuration.requests.response_mode {
        login = login.with_response_mode(mode);
    }
    if let Some(pushed) = configuration.requests.pushed {
        login = login.with_pushed_requests(pushed);
    }
    if let Some(key) = &configuration.requests.key {
        login = login.with_signed_requests(key.clone());
    }
    login = match &configuration.profile {
        // The other profiles exclude it.
        Profile::Oidc => login.with_third_party_login(),
        Profile::Fapi2Security => login.with_fapi2_security_profile()?,
        Profile::Fapi2MessageSigning(key) => login.with_fapi2_message_signing(key.clone())?,
    };
    if configuration.dpop {
        login = login.with_dpop();
    }
    if let Some(claims) = &configuration.claims {
        login = login.with_requested_claims(claims.clone())?;
    }
    if let Some(algorithm) = configuration.id_token_algorithm {
        login = login.with_id_token_algorithms([algorithm])?;
    }
    // One process has all sessions, so its memory may be used as a shared store.
    let store = || MemoryStore::new().with_single_process();
    Ok(match configuration.sessions {
        Sessions::Cookie => login,
        Sessions::Shared => login.with_shared_store(store()),
        Sessions::Store => login.with_session_store(store()),
    })
}

async fn home(login: LoginLayer, session: Option<Session>) -> Html<String> {
    Html(match session {
        Some(_) => format!(
            "<p>signed in</p><p><a href=/account>account</a> <a href=/refresh>refresh</a></p>\
             <form method=post action=\"{}?return_to=/\"><button>sign out</button></form>",
            login.logout_path()
        ),
        None => format!(
            "<p>signed out</p><p><a href=\"{}\">sign in</a></p>",
            login.login_url("/account")
        ),
    })
}

async fn account(State(calls): State<Calls>, session: Session) -> (StatusCode, String) {
    calls.run(&session).await
}

/// Calls everything with a new access token.
async fn refresh(State(calls): State<Calls>, session: Session) -> (StatusCode, String) {
    match session.refresh().await {
        Ok(()) => calls.run(&session).await,
        Err(error) => failure(format!("error: refresh: {error}\n")),
    }
}

impl Calls {
    /// Returns a line for each call, and a status other than 200 if one of them failed.
    async fn run(&self, session: &Session) -> (StatusCode, String) {
        let mut page = format!("subject: {}\n", session.subject());
        if self.userinfo {
            match session.userinfo().await {
                Ok(info) => {
                    let claims: Value = info.deserialize().unwrap_or_default();
                    let _ = writeln!(page, "userinfo: {claims}");
                }
                Err(error) => return failure(format!("{page}error: userinfo: {error}\n")),
            }
        }
        if let Some(url) = &self.resource {
            match self.call(session, url).await {
                Ok(statuses) => {
                    let _ = writeln!(page, "resource: {}", statuses.join(" "));
                    if statuses.last().is_none_or(|last| !last.starts_with('2')) {
                        return failure(format!("{page}error: resource\n"));
                    }
                }
                Err(error) => return failure(format!("{page}error: resource: {error}\n")),
            }
        }
        (StatusCode::OK, page)
    }

    /// Calls an API. While it rejects the access token, calls it again with a new one, up to twice.
    async fn call(&self, session: &Session, url: &str) -> Result<Vec<String>, Box<dyn Error>> {
        let mut statuses = Vec::new();
        for refreshes in 0..=2 {
            if refreshes > 0 {
                session.refresh().await?;
            }
            let status = self.send(session, url).await?;
            statuses.push(status.as_u16().to_string());
            if status != StatusCode::UNAUTHORIZED {
                break;
            }
        }
        Ok(statuses)
    }

    /// Sends one request, and repeats it if the API requires a nonce in its DPoP proof.
    async fn send(&self, session: &Session, url: &str) -> Result<StatusCode, Box<dyn Error>> {
        let uri: Uri = url.parse()?;
        for is_last in [false, true] {
            let mut request = Request::get(&uri).body("")?;
            session.authorize(&mut request).await?;
            let response = self.http.execute(request.try_into()?).await?;
            let status = response.status();
            if is_last || !session.note_response(&uri, status, response.headers()) {
                return Ok(status);
            }
        }
        Ok(StatusCode::UNAUTHORIZED)
    }
}

fn failure(page: String) -> (StatusCode, String) {
    (StatusCode::BAD_GATEWAY, page)
}

fn error_page(page: &ErrorPage<'_>) -> String {
    let login = page.login_url().unwrap_or_default();
    format!(
        "<pre>error: {}\n</pre><p><a href=\"{login}\">sign in</a></p>",
        page.code()
    )
}
