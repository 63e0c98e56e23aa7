//! The API, protected by access tokens. It does not use cookies.

use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tower_oauth::{AuthorizationServer, BearerLayer, ConfigError, ScopeLayer, VerifiedToken};

/// The audience (`aud`) of this API: an identifier, which need not be its address.
pub(crate) const API: &str = "https://notes.example";

/// Requires a token for this API, and a scope for each method.
pub(crate) fn api(issuer: &str) -> Result<Router, ConfigError> {
    let server = AuthorizationServer::new(issuer)?;
    let read = get(list_notes).layer(ScopeLayer::all("notes:read")?);
    let write = post(add_note).layer(ScopeLayer::all("notes:write")?);
    let notes = ["Buy milk", "Read RFC 10017"].map(str::to_owned);
    Ok(Router::new()
        .route("/notes", read.merge(write))
        .layer(BearerLayer::jwt(&server, API)?.with_realm("notes")?)
        .with_state(Arc::new(Mutex::new(notes.to_vec()))))
}

type Notes = Arc<Mutex<Vec<String>>>;

async fn list_notes(State(notes): State<Notes>, token: VerifiedToken) -> Json<Value> {
    let notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
    Json(json!({ "notes": *notes, "of": token.subject() }))
}

async fn add_note(State(notes): State<Notes>, token: VerifiedToken, note: String) -> Json<Value> {
    let mut notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
    if notes.len() >= 20 {
        notes.remove(0);
    }
    notes.push(note.chars().take(200).collect());
    Json(json!({ "notes": *notes, "of": token.subject() }))
}
