//! An application with login, session and sign-out.
//!
//! ```sh
//! ISSUER=https://id.example.com CLIENT_ID=notes CLIENT_SECRET=secret cargo run --example login
//! ```
//!
//! Keycloak: create a client with client authentication, the redirect URI `http://127.0.0.1:3000/auth/callback` and the
//! post-logout redirect URI `http://127.0.0.1:3000/auth/logout`, and set `ISSUER=https://HOST/realms/REALM`.
//!
//! Open <http://127.0.0.1:3000>. `ADDR` sets the address, `BASE` the public origin, and `COOKIE_KEY` (`openssl rand
//! -base64 32`) keeps sessions across restarts.

use std::env;
use std::error::Error;

use axum::Router;
use axum::response::Html;
use axum::routing::get;
use tower_oauth::{AuthorizationServer, Client, CookieKey, LoginLayer, Session};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let required = |name: &str| env::var(name).map_err(|_| format!("set {name}"));
    let client = Client::confidential(required("CLIENT_ID")?, required("CLIENT_SECRET")?);
    let server = AuthorizationServer::new(&required("ISSUER")?)?;
    let base = env::var("BASE").unwrap_or_else(|_| "http://127.0.0.1:3000".to_owned());
    let key = match env::var_os("COOKIE_KEY") {
        Some(_) => CookieKey::from_env("COOKIE_KEY")?,
        None => CookieKey::generate()?,
    };
    let login = LoginLayer::new(&server, client, &format!("{base}/auth/callback"), key)?
        .with_post_logout_redirect_uri(&format!("{base}/auth/logout"))?;
    let app = Router::new()
        .route("/account", get(account).layer(login.required()))
        .route("/", get(home))
        .layer(login); // outermost: it serves the routes under /auth/
    let address = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let listener = tokio::net::TcpListener::bind(address).await?;
    axum::serve(listener, app).await?;
    Ok(())
}

async fn home(login: LoginLayer, session: Option<Session>) -> Html<String> {
    Html(match session {
        Some(_) => format!(
            "<p>You are signed in. <a href=/account>Your account</a></p>\
             <form method=post action={}><button>Sign out</button></form>",
            login.logout_path()
        ),
        None => format!(
            "<p>You are signed out. <a href={}>Sign in</a></p>",
            login.login_url("/account")
        ),
    })
}

/// Requires a session: `login.required()` redirects other requests to the authorization server.
async fn account(session: Session) -> String {
    format!("user {} of {}", session.subject(), session.issuer())
}
