//! An application whose login and API are configured by a file: `settings.toml` beside this one.
//!
//! ```sh
//! cargo run --example settings -- path/to/settings.toml
//! ```
//!
//! Change the issuers, the clients and the paths of the secrets first. `CLIENT_SECRET` replaces the secret of the file.

use std::error::Error;
use std::{env, fs};

use axum::Router;
use axum::routing::get;
use serde::Deserialize;
use tower_oauth::settings::{BearerSettings, LoginSettings};
use tower_oauth::{
    AuthorizationServer, ConfigError, LoginLayer, ScopeLayer, Session, VerifiedToken,
};

/// The configuration of the application. Those of the layers are parts of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    address: String,
    /// Where users sign in.
    pub login: LoginSettings,
    api: BearerSettings,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let path = env::args()
        .nth(1)
        .ok_or("name the file with the settings")?;
    let mut config = read(&fs::read_to_string(path)?)?;
    if let Ok(secret) = env::var("CLIENT_SECRET") {
        let client = &mut config.login.provider.client;
        (client.secret, client.secret_file) = (Some(secret.into()), None);
    }
    let app = application(&config, Ok)?;
    let listener = tokio::net::TcpListener::bind(&config.address).await?;
    axum::serve(listener, app).await?;
    Ok(())
}

/// Reads the configuration. The error has the line, but not its text, which may have a secret.
pub fn read(text: &str) -> Result<Config, Box<dyn Error>> {
    toml::from_str(text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start));
        let line = before.map_or(1, |before| before.matches('\n').count() + 1);
        format!("line {line}: {}", error.message()).into()
    })
}

/// Creates the application, with authorization servers that `change` changes.
pub fn application(
    config: &Config,
    change: impl Fn(AuthorizationServer) -> Result<AuthorizationServer, ConfigError>,
) -> Result<Router, ConfigError> {
    // What a file cannot express is set in code.
    let login = config
        .login
        .build_with(&change)?
        .with_error_page(|page| format!("<h1>Shop</h1><p>{}</p>", page.code()));
    let api = config.api.build_with(&change)?;
    let orders = Router::new()
        .route(
            "/orders",
            get(orders).layer(ScopeLayer::all("orders:read")?),
        )
        .layer(api);
    Ok(Router::new()
        .route("/account", get(account).layer(login.required()))
        .route("/", get(home))
        .layer(login)
        .nest("/api", orders))
}

async fn home(login: LoginLayer, session: Option<Session>) -> String {
    match session {
        Some(_) => "signed in".to_owned(),
        None => login.login_url("/account"),
    }
}

async fn account(session: Session) -> String {
    format!("{} at {}", session.subject(), session.provider())
}

async fn orders(token: VerifiedToken) -> String {
    format!("orders of {}", token.subject().unwrap_or_default())
}
