//! A signed answer, RFC 9701 §5: whoever stands between the authorization server and here can neither
//! change it nor use it another day. It does not name the token that was asked about, so what keeps it
//! from being given out for another one's within that minute is TLS alone.

use super::failure::Failure;
use super::settings::Settings;
use crate::clock::unix_seconds;
use crate::crypto::same_media_type;
use crate::issuer::FetchBudget;
use crate::token::error::VerifyError;
use crate::token::jws::{self, Rules};

pub(super) const MEDIA_TYPE: &str = "application/token-introspection+jwt";

/// An answer is made for the question that was just asked; in seconds, the leeway comes on top.
const MAX_AGE: i64 = 60;

/// The JSON text of `token_introspection`: nothing beside it speaks of the token (`I12`).
pub(super) async fn open(settings: &Settings, body: &[u8]) -> Result<String, Failure> {
    let broken = |reason: &str| Failure::Broken(format!("the signed answer: {reason}"));
    let text = std::str::from_utf8(body).map_err(|_| broken("it is no text"))?;
    let rules = Rules {
        algorithms: settings.algorithms.clone(),
        media_type: |sent| {
            sent.is_some_and(|sent| same_media_type(sent, "token-introspection+jwt"))
        },
        leeway: settings.leeway,
        requires_expiry: false,
        fetch_budget: FetchBudget::BackChannel,
    };
    let signed = jws::verify(&settings.server, text, &rules)
        .await
        .map_err(|error| explain(&error))?;
    let us = settings.client.id();
    if !signed.registered.audience.iter().any(|one| **one == *us) {
        return Err(broken("it is for another resource server"));
    }
    let issued_at = signed
        .registered
        .issued_at
        .ok_or_else(|| broken("iat is missing"))?;
    let limit = issued_at.saturating_add(MAX_AGE + settings.leeway);
    if unix_seconds(&**settings.server.clock()) > limit {
        return Err(broken("it is too old"));
    }
    // Already read as strict JSON; this keeps its numbers as they are.
    let payload: serde_json::Value =
        serde_json::from_str(&signed.payload).map_err(|_| broken("it is no JSON"))?;
    match payload.get("token_introspection") {
        Some(inner) if inner.is_object() => Ok(inner.to_string()),
        _ => Err(broken("token_introspection is missing")),
    }
}

/// Whatever is wrong with the signature is the server's fault, not that of the token asked about.
fn explain(error: &VerifyError) -> Failure {
    match error.unavailable() {
        Some(unavailable) => unavailable.clone().into(),
        None => Failure::Broken(format!("the signed answer: {error}")),
    }
}
