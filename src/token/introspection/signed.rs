//! Verification of a signed introspection response (RFC 9701 §5).
//!
//! The signature protects the response from modification between the authorization server and this process, and
//! its age limit from replay at a later time. The response does not name the token, so within that minute only TLS
//! protects it from being used for another token.

use super::failure::IntrospectionFailure;
use super::settings::Settings;
use crate::clock::unix_seconds;
use crate::crypto::same_media_type;
use crate::issuer::FetchBudget;
use crate::token::error::VerifyError;
use crate::token::jws::{self, Rules};

pub(super) const MEDIA_TYPE: &str = "application/token-introspection+jwt";

/// The maximum age of a response in seconds; the leeway is added.
const MAX_AGE: i64 = 60;

/// Verifies a response and returns the JSON text of its `token_introspection` claim. The other claims are about
/// the response, not the token.
pub(super) async fn verify(
    settings: &Settings,
    body: &[u8],
) -> Result<String, IntrospectionFailure> {
    let invalid = |reason: &str| {
        IntrospectionFailure::InvalidResponse(format!("the signed response: {reason}"))
    };
    let text = std::str::from_utf8(body).map_err(|_| invalid("it is not UTF-8"))?;
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
        .map_err(|error| to_failure(&error))?;
    let client_id = settings.client.id();
    if !signed
        .registered
        .audience
        .iter()
        .any(|one| **one == *client_id)
    {
        return Err(invalid("its audience is another resource server"));
    }
    let issued_at = signed
        .registered
        .issued_at
        .ok_or_else(|| invalid("iat is missing"))?;
    let limit = issued_at.saturating_add(MAX_AGE + settings.leeway);
    if unix_seconds(&**settings.server.clock()) > limit {
        return Err(invalid("it is too old"));
    }
    // The payload was parsed as strict JSON before; this conversion keeps numbers unchanged.
    let payload: serde_json::Value =
        serde_json::from_str(&signed.payload).map_err(|_| invalid("it is not JSON"))?;
    match payload.get("token_introspection") {
        Some(claims) if claims.is_object() => Ok(claims.to_string()),
        _ => Err(invalid("token_introspection is missing")),
    }
}

/// Converts the error of the response's signature, which says nothing about the introspected token.
fn to_failure(error: &VerifyError) -> IntrospectionFailure {
    match error.unavailable() {
        Some(unavailable) => unavailable.clone().into(),
        None => IntrospectionFailure::InvalidResponse(format!("the signed response: {error}")),
    }
}
