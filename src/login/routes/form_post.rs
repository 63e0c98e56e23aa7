//! The callback as a form (OAuth 2.0 Form Post Response Mode).
//!
//! A page of the authorization server submits the response, so the request comes from another site: browsers send no
//! `SameSite=Lax` cookie with it, neither that of the login nor that of the session. The form is therefore only checked
//! and encrypted, and a redirect brings it to the callback with GET, which has the cookies (RFC 9700 §4.12 for the 303).

use std::time::Duration;

use http::StatusCode;
use http::header::ORIGIN;
use http::request::Parts;
use http_body::Body;

use crate::crypto::seal::Purpose;
use crate::flow::{FlowError, has_expired};
use crate::login::form::{FormError, MAX_LOCATION, receive as receive_form};
use crate::login::navigation::{FieldValue, single};
use crate::login::refusal::LoginRefusal;
use crate::login::response::{self, LayerResponse};
use crate::login::settings::Settings;
use crate::protocol::form;
use crate::protocol::sanitize::log_safe;
use crate::session::ProviderEntry;

/// Returns the redirect to the callback with the encrypted form. Neither cookies nor the login are used.
pub(super) async fn receive<B: Body>(
    settings: &Settings,
    provider: &ProviderEntry,
    parts: &Parts,
    body: B,
) -> Result<LayerResponse, LoginRefusal> {
    check_origin(provider, parts).await?;
    // Which of two parameters counts is a matter of the reader.
    if parts.uri.query().is_some() {
        return Err(MALFORMED.because("the form was posted to a URL with a query, expected none"));
    }
    let text = receive_form(settings.flow().clock(), &parts.headers, body, READ_TIMEOUT).await;
    let text = text.map_err(|error| {
        let refusal = match error {
            FormError::ContentType => OTHER_TYPE,
            FormError::TooLarge => TOO_LARGE,
            FormError::TooSlow(_) => TIMEOUT,
            FormError::Incomplete | FormError::NotUtf8 => MALFORMED,
        };
        refusal.because(error.describe(&parts.headers))
    })?;
    let checked = provider.flow.check_response(&text);
    checked.map_err(|error| LoginRefusal::from(&error))?;
    let now = settings.manager.time().wall();
    let plain = [&now.to_be_bytes(), text.as_bytes()].concat();
    let sealed = settings.cookies.seal(Purpose::FormPost, NAME, &plain)?;
    let location = format!(
        "{}?{PARAMETER}={sealed}",
        provider.flow.redirect_uri().path()
    );
    if location.len() > MAX_LOCATION {
        return Err(TOO_LARGE.because(format!(
            "the URL with the encrypted form would have {} bytes, and at most {MAX_LOCATION} are possible",
            location.len()
        )));
    }
    Ok(response::redirect_to_server(&location))
}

/// Returns the form of a redirect of [`receive`].
pub(super) fn open(
    settings: &Settings,
    provider: &ProviderEntry,
    query: &str,
) -> Result<String, LoginRefusal> {
    let pairs = form::parse(query).unwrap_or_default();
    let [(name, sealed)] = &pairs[..] else {
        return Err(not_a_form(provider));
    };
    if name != PARAMETER {
        return Err(not_a_form(provider));
    }
    let plain = settings.cookies.open(Purpose::FormPost, NAME, sealed);
    let plain = plain.ok_or_else(|| MALFORMED.because(UNREADABLE))?;
    let (received_at, text) = plain.split_first_chunk().ok_or(MALFORMED)?;
    let received_at = i64::from_be_bytes(*received_at);
    let now = settings.manager.time().wall_for(received_at);
    if has_expired(received_at, now, LIFETIME) {
        let age = now.saturating_sub(received_at);
        return Err(EXPIRED.because(format!(
            "the form was received {age} seconds ago, and its redirect is valid for {LIFETIME:?}"
        )));
    }
    let text = std::str::from_utf8(text).map_err(|_| MALFORMED)?;
    Ok(text.to_owned())
}

fn not_a_form(provider: &ProviderEntry) -> LoginRefusal {
    let found = "the response came with GET, and not as a form";
    LoginRefusal::from(&provider.flow.other_response_mode(found))
}

/// Checks that the form was submitted by a page of the authorization server, if the browser says by whose: `null` is the
/// origin of a page with a strict `Referrer-Policy` or in a sandbox.
async fn check_origin(provider: &ProviderEntry, parts: &Parts) -> Result<(), LoginRefusal> {
    let found = match single(&parts.headers, &ORIGIN) {
        FieldValue::Absent | FieldValue::One("null") => return Ok(()),
        FieldValue::One(origin) => origin,
        FieldValue::Ambiguous => "more than one, or not ASCII",
    };
    let expected = provider.flow.authorization_origin().await;
    let expected = expected.map_err(|error: FlowError| LoginRefusal::from(&error))?;
    if found == expected {
        return Ok(());
    }
    Err(OTHER_ORIGIN.because(format!(
        "the Origin of the form is {}, expected that of the authorization endpoint, {expected:?}, or null",
        log_safe(found)
    )))
}

const OTHER_ORIGIN: LoginRefusal =
    LoginRefusal::stale("callback_origin", INVALID).with_status(StatusCode::FORBIDDEN);
const OTHER_TYPE: LoginRefusal = LoginRefusal::stale("callback_content_type", INVALID)
    .with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE);
const TOO_LARGE: LoginRefusal =
    LoginRefusal::stale("callback_too_large", INVALID).with_status(StatusCode::PAYLOAD_TOO_LARGE);
const TIMEOUT: LoginRefusal =
    LoginRefusal::stale("callback_timeout", INVALID).with_status(StatusCode::REQUEST_TIMEOUT);
const MALFORMED: LoginRefusal = LoginRefusal::stale("callback_malformed", INVALID);
const EXPIRED: LoginRefusal = LoginRefusal::stale(
    "callback_expired",
    "Your sign-in took too long. Please sign in again.",
);

const INVALID: &str = "We couldn't complete your sign-in. The response of the sign-in service is incomplete or invalid. \
                       Please sign in again.";
const UNREADABLE: &str = "the form in the URL does not open: it was not created by this layer, or with a key that is not \
                          configured";

/// The parameter of the redirect.
const PARAMETER: &str = "form";

/// The name of the sealed text.
const NAME: &str = "form-post";

/// A form is a few hundred bytes long, and is sent by the browser at once.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// The browser follows the redirect at once; a code does not live much longer.
const LIFETIME: Duration = Duration::from_secs(60);
