//! `backchannel-logout`: the authorization server tells of a sign-out itself, OpenID Connect Back-Channel
//! Logout §2.5 to §2.8 (`L66`).
//!
//! No browser comes here, so no cookie is read and none is set; and no page can forge what is told, since
//! the token alone says who speaks.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::header::CONNECTION;
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode, Version};
use http_body::Body;
use serde_json::json;

use crate::clock::within;
use crate::login::response::{self, Answer};
use crate::login::settings::Settings;
use crate::login::{body, events};
use crate::session::EndSessionError;
use crate::token::logout_token::{self, LogoutTokenError};

pub(super) async fn answer<B: Body>(settings: &Settings, parts: &Parts, body: B) -> Answer {
    if parts.method != Method::POST {
        return response::method_not_allowed("POST");
    }
    let body = pin!(body);
    let form = body::read_form(&parts.headers, body);
    let Some(form) = within(&**settings.flow().clock(), FORM_PATIENCE, form).await else {
        return too_slow(parts.version);
    };
    let form = form.unwrap_or_default();
    let Some(token) = one_token(&form) else {
        return refuse("logout_token_missing", NO_TOKEN);
    };
    let flow = settings.flow();
    let token = match logout_token::verify(flow.server(), token, flow.client().id()).await {
        Ok(token) => token,
        Err(LogoutTokenError::Unavailable(error)) => {
            return try_again("keys_unavailable", error.retry_after());
        }
        Err(error) => return refuse(error.code(), &error.to_string()),
    };
    let by = token.session_id.as_ref().map_or("sub", |_| "sid");
    // In a task of its own: who tells may hang up before all is done.
    let keeper = Arc::clone(&settings.keeper);
    let ending = tokio::spawn(async move { keeper.end_by_token(&token).await });
    match ending.await {
        Ok(Ok(ended)) => {
            events::signed_out_by_the_server(by, ended);
            // §2.8: also where there was nobody left to sign out.
            response::empty(StatusCode::OK)
        }
        Ok(Err(EndSessionError::Replayed)) => refuse("logout_token_replayed", REPLAYED),
        Ok(Err(EndSessionError::Store(_))) | Err(_) => {
            try_again("session_store_unavailable", RETRY)
        }
    }
}

/// §2.5: other parameters do not matter; two tokens would be one too many.
fn one_token(form: &[(String, String)]) -> Option<&str> {
    let mut tokens = form.iter().filter(|(name, _)| name == "logout_token");
    match (tokens.next(), tokens.next()) {
        (Some((_, token)), None) => Some(token),
        _ => None,
    }
}

/// §2.8: 400, and why in words of ours.
fn refuse(code: &'static str, description: &str) -> Answer {
    events::logout_token_refused(code);
    let value = json!({ "error": "invalid_request", "error_description": description });
    response::json_with(StatusCode::BAD_REQUEST, &value)
}

/// The form did not arrive in time. What is left of it would be read as the next request.
fn too_slow(version: Version) -> Answer {
    events::logout_token_refused("logout_token_too_slow");
    let value = json!({ "error": "invalid_request", "error_description": TOO_SLOW });
    let mut answer = response::json_with(StatusCode::REQUEST_TIMEOUT, &value);
    if version < Version::HTTP_2 {
        let close = HeaderValue::from_static("close");
        answer.headers_mut().insert(CONNECTION, close);
    }
    answer
}

/// Nothing was judged or noted: the same token is good for another delivery.
fn try_again(code: &'static str, wait: Duration) -> Answer {
    events::logout_token_refused(code);
    let value = json!({ "error": "temporarily_unavailable" });
    let mut answer = response::json_with(StatusCode::SERVICE_UNAVAILABLE, &value);
    response::retry_after(answer.headers_mut(), wait);
    answer
}

const NO_TOKEN: &str = "the request is not a form with one logout_token";
const TOO_SLOW: &str = "the form did not arrive in time";
const REPLAYED: &str = "the logout token was used before";

/// How long the form may take to arrive.
const FORM_PATIENCE: Duration = Duration::from_secs(5);
const RETRY: Duration = Duration::from_secs(5);
