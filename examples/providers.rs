//! Sign in with Google or GitHub: two providers of one login layer, one of them without OpenID Connect.
//!
//! ```sh
//! cargo run --example providers
//! ```
//!
//! Open <http://127.0.0.1:3000> and choose. No accounts are necessary: without credentials, imitations in this process
//! take the place of Google (sign in as `alice` / `wonderland`) and of GitHub (choose a user). The two `alice` have the
//! same e-mail address, and are two users of this application: the address proves nothing.
//!
//! For your own accounts, register the redirect URIs and set the credentials of one or both:
//!
//! | provider | register at | redirect URI | variables |
//! | --- | --- | --- | --- |
//! | Google | console.cloud.google.com, *Clients*, web application | `http://127.0.0.1:3000/auth/callback` | `GOOGLE_ID`, `GOOGLE_SECRET` |
//! | GitHub | *Settings*, *Developer settings*, *OAuth Apps* | `http://127.0.0.1:3000/auth/callback/github` | `GITHUB_ID`, `GITHUB_SECRET` |
//!
//! `APP_ADDR` sets the address, `GOOGLE_ADDR` and `GITHUB_ADDR` those of the imitations, and `APP_URL` the public origin.
//! Dependencies: `axum`, `tokio` and `tower-oauth`; the imitations need its feature `testing`, `serde` and `serde_json`.
#![allow(clippy::print_stdout)]

#[path = "providers/github.rs"]
pub(crate) mod github;
#[path = "providers/google.rs"]
pub(crate) mod google;

use std::env;
use std::error::Error;
use std::fmt::Write as _;

use axum::Router;
use axum::response::Html;
use axum::routing::get;
use tokio::net::TcpListener;
use tower_oauth::{ConfigError, CookieKey, LoginLayer, Provider, Session};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    let credentials = |id, secret| variable(id).zip(variable(secret));
    let address = |name, default: &str| variable(name).unwrap_or_else(|| default.to_owned());
    let app_address = address("APP_ADDR", "127.0.0.1:3000");
    let app = variable("APP_URL").unwrap_or_else(|| format!("http://{app_address}"));

    let (google, _listening) = match credentials("GOOGLE_ID", "GOOGLE_SECRET") {
        Some((id, secret)) => (Provider::google(id, secret)?, None),
        None => {
            let address = address("GOOGLE_ADDR", "127.0.0.1:9000");
            let issuer = format!("http://{address}");
            let listening = google::imitation(&issuer, &app)?.listen(address).await?;
            (google::provider(&issuer)?, Some(listening))
        }
    };
    let github = match credentials("GITHUB_ID", "GITHUB_SECRET") {
        Some((id, secret)) => Provider::github(id, secret)?,
        None => {
            let address = address("GITHUB_ADDR", "127.0.0.1:9001");
            let listener = TcpListener::bind(&address).await?;
            tokio::spawn(axum::serve(listener, github::imitation(&app)).into_future());
            github::provider(&format!("http://{address}"))?
        }
    };

    let listener = TcpListener::bind(app_address).await?;
    println!("application: {app}");
    axum::serve(listener, application(&app, google, github)?).await?;
    Ok(())
}

/// The first provider has the redirect URI of the layer; that of the other one ends with its name. GitHub cannot be the
/// first: it can accept redirect URIs below the registered one.
pub(crate) fn application(
    app: &str,
    google: Provider,
    github: Provider,
) -> Result<Router, ConfigError> {
    let redirect_uri = format!("{app}/auth/callback");
    // A generated key ends all sessions at a restart; in production, use `CookieKey::from_env`.
    let login = LoginLayer::for_provider(google, &redirect_uri, CookieKey::generate()?)?
        .add_provider(github)?;
    Ok(Router::new()
        .route("/account", get(account).layer(login.required()))
        .route("/", get(home))
        .layer(login)) // outermost: it serves the routes under /auth/
}

async fn home(login: LoginLayer, session: Option<Session>) -> Html<String> {
    page(&match session {
        Some(_) => "<h1>Hello again</h1><p>You are signed in: see <a href=\"/account\">your account</a>.</p>".to_owned(),
        None => format!(
            "<h1>Hello, stranger</h1><p><a href=\"{}\">Sign in</a></p>",
            escape(&login.login_url("/account")),
        ),
    })
}

async fn account(login: LoginLayer, session: Session) -> Html<String> {
    let claim = |name| {
        let value = session.claims().get(name);
        let text = value.as_ref().and_then(|value| value.as_str());
        text.unwrap_or("(not known)").to_owned()
    };
    // Issuer and subject identify a user. The e-mail address does not: another provider may have given it to another
    // person.
    let rows = [
        ("Provider", session.provider().to_owned()),
        ("Issuer", session.issuer().to_owned()),
        ("Subject", session.subject().to_owned()),
        ("Name", claim("name")),
        ("E-mail address", claim("email")),
    ];
    let mut table = String::new();
    for (name, value) in rows {
        let _ = write!(table, "<dt>{name}</dt><dd>{}</dd>", escape(&value));
    }
    page(&format!(
        "<h1>Your account</h1><dl>{table}</dl>\
         <form method=\"post\" action=\"{}\"><button>Sign out</button></form>",
        login.logout_path(),
    ))
}

pub(crate) fn page(body: &str) -> Html<String> {
    Html(format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Providers</title>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <link rel=\"icon\" href=\"data:,\"><style>{STYLE}</style><main>{body}</main></html>"
    ))
}

pub(crate) fn escape(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;").replace('"', "&quot;")
}

const STYLE: &str = "\
:root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;margin:0}\
main{max-width:36rem;margin:10vh auto 0;padding:0 1.25rem;overflow-wrap:anywhere}\
dl{display:grid;grid-template-columns:max-content 1fr;gap:.3rem 1rem}dd{margin:0}\
button{font:inherit;padding:.5rem 1rem;margin:.25rem .5rem .25rem 0}\
@media(max-width:30rem){dl{grid-template-columns:1fr}dt{font-weight:600}}";
