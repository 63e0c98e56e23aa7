//! `backchannel-logout`: the authorization server reports a sign-out (OpenID Connect Back-Channel
//! Logout §2.5 to §2.8).
//!
//! The caller is not a browser, so cookies are neither read nor set. A page cannot forge the
//! request: only the signature of the logout token authenticates it.

use std::sync::Arc;
use std::time::Duration;

use http::header::CONNECTION;
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode, Version};
use http_body::Body;
use serde_json::json;
use tracing::Instrument as _;

use crate::clock::within;
use crate::flow::Flow;
use crate::login::events;
use crate::login::form::{read_form, single};
use crate::login::response::{self, LayerResponse};
use crate::login::settings::Settings;
use crate::session::EndSessionError;
use crate::token::VerifyErrorKind;
use crate::token::logout_token::{self, LogoutToken, LogoutTokenError};

pub(super) async fn handle<B: Body>(settings: &Settings, parts: &Parts, body: B) -> LayerResponse {
    if parts.method != Method::POST {
        return response::method_not_allowed("POST");
    }
    let form = read_form(&parts.headers, body);
    let Some(form) = within(&**settings.flow().clock(), FORM_TIMEOUT, form).await else {
        return request_timeout(parts.version);
    };
    let form = form.unwrap_or_default();
    // §2.5: other parameters are ignored; a repeated token is rejected.
    let Some(token) = single(&form, "logout_token") else {
        return reject("logout_token_missing", NO_TOKEN);
    };
    let (flow, token) = match verify(settings, token).await {
        Ok(verified) => verified,
        Err(LogoutTokenError::Unavailable(error)) if error.is_configuration_error() => {
            events::logout_token_rejected("keys_configuration");
            let value = json!({ "error": "server_error" });
            return response::json_with(StatusCode::INTERNAL_SERVER_ERROR, &value);
        }
        Err(LogoutTokenError::Unavailable(error)) => {
            return unavailable("keys_unavailable", error.retry_after());
        }
        Err(error) => return reject(error.code(), &error.to_string()),
    };
    let by = token.session_id.as_ref().map_or("sub", |_| "sid");
    // In a separate task: the caller may close the connection early.
    let manager = Arc::clone(&settings.manager);
    let ending = async move { manager.end_by_token(&flow, &token).await };
    let ending = tokio::spawn(ending.in_current_span());
    match ending.await {
        Ok(Ok(ended)) => {
            events::backchannel_logout(by, ended);
            // §2.8: also if there was no session to end.
            response::empty(StatusCode::OK)
        }
        Ok(Err(EndSessionError::Replayed)) => reject("logout_token_replayed", REPLAYED),
        Ok(Err(EndSessionError::Store(_))) | Err(_) => {
            unavailable("session_store_unavailable", RETRY_AFTER)
        }
    }
}

/// Verifies a logout token with the keys of the provider that it names, and returns the flow of that provider.
///
/// Several clients of one authorization server differ in the audience, which is checked after the signature.
async fn verify(
    settings: &Settings,
    token: &str,
) -> Result<(Arc<Flow>, LogoutToken), LogoutTokenError> {
    let issuer = logout_token::claimed_issuer(token);
    let mut flows: Vec<_> = settings.manager.providers().all().collect();
    if flows.len() > 1 {
        let issuer = issuer.as_deref().unwrap_or_default();
        flows.retain(|one| one.flow.issuer_of(issuer).is_some());
    }
    let mut outcome = Err(LogoutTokenError::Token(VerifyErrorKind::Issuer));
    for provider in flows {
        let flow = &provider.flow;
        let (client_id, rules) = (flow.client().id(), flow.id_tokens());
        let verified = logout_token::verify(flow.server(), token, client_id, rules).await;
        let is_for_other_client = matches!(verified, Err(LogoutTokenError::Audience));
        outcome = verified.map(|token| (Arc::clone(flow), token));
        if !is_for_other_client {
            break;
        }
    }
    outcome
}

/// §2.8: 400 with a description.
fn reject(code: &'static str, description: &str) -> LayerResponse {
    events::logout_token_rejected(code);
    let value = json!({ "error": "invalid_request", "error_description": description });
    response::json_with(StatusCode::BAD_REQUEST, &value)
}

/// The body was not received in time. The rest of it would be read as the next request on the
/// connection.
fn request_timeout(version: Version) -> LayerResponse {
    events::logout_token_rejected("logout_token_too_slow");
    let value = json!({ "error": "invalid_request", "error_description": TOO_SLOW });
    let mut response = response::json_with(StatusCode::REQUEST_TIMEOUT, &value);
    if version < Version::HTTP_2 {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
    response
}

/// The token was not consumed, so the authorization server can deliver it again.
fn unavailable(code: &'static str, wait: Duration) -> LayerResponse {
    events::logout_token_rejected(code);
    let value = json!({ "error": "temporarily_unavailable" });
    let mut response = response::json_with(StatusCode::SERVICE_UNAVAILABLE, &value);
    response::set_retry_after(response.headers_mut(), wait);
    response
}

const NO_TOKEN: &str = "the request must be a form with exactly one logout_token";
const TOO_SLOW: &str = "the request body was not received in time";
const REPLAYED: &str = "the logout token was already used";

/// Timeout for receiving the form.
const FORM_TIMEOUT: Duration = Duration::from_secs(5);
const RETRY_AFTER: Duration = Duration::from_secs(5);
