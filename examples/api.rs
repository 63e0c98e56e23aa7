//! An API: one route with a scope for each method, and one public route.
//!
//! ```sh
//! ISSUER=https://id.example.com AUDIENCE=https://notes.example cargo run --example api
//! curl -i http://127.0.0.1:4000/notes                                  # 401 with a challenge
//! curl -H "Authorization: Bearer $TOKEN" http://127.0.0.1:4000/notes   # a token with the scope notes:read
//! curl http://127.0.0.1:4000/health                                    # public
//! ```
//!
//! Keycloak: create the client scopes `notes:read` and `notes:write`, each with an audience mapper for `notes`, and run
//! `ISSUER=https://HOST/realms/REALM AUDIENCE=notes PROFILE=keycloak cargo run --example api`.
//!
//! `ADDR` sets the address. Default: `127.0.0.1:4000`.

use std::env;
use std::error::Error;

use axum::Router;
use axum::routing::{get, post};
use tower_oauth::token::TokenProfile;
use tower_oauth::{
    AuthorizationServer, BearerLayer, ConfigError, JwtVerifier, ScopeLayer, VerifiedToken,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let issuer = env::var("ISSUER").map_err(|_| "set ISSUER to the issuer URL")?;
    let audience = env::var("AUDIENCE").map_err(|_| "set AUDIENCE to the `aud` of this API")?;
    let profile = match env::var("PROFILE").as_deref() {
        Ok("keycloak") => TokenProfile::Keycloak,
        _ => TokenProfile::Rfc9068,
    };
    let server = AuthorizationServer::new(&issuer)?;
    let verifier = JwtVerifier::new(&server, audience.as_str())?.with_profile(profile);
    let address = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:4000".to_owned());
    let listener = tokio::net::TcpListener::bind(address).await?;
    axum::serve(listener, api(verifier)?).await?;
    Ok(())
}

fn api(verifier: JwtVerifier) -> Result<Router, ConfigError> {
    let read = get(list_notes).layer(ScopeLayer::all("notes:read")?);
    let write = post(add_note).layer(ScopeLayer::all("notes:write")?);
    Ok(Router::new()
        .route("/notes", read.merge(write))
        .layer(BearerLayer::new(verifier))
        // Added after the layer and therefore public.
        .route("/health", get(async || "ok\n")))
}

async fn list_notes(token: VerifiedToken) -> String {
    format!("notes of {}\n", token.subject().unwrap_or("unknown"))
}

async fn add_note(token: VerifiedToken, note: String) -> String {
    format!(
        "added {note:?} for {}\n",
        token.subject().unwrap_or("unknown")
    )
}
