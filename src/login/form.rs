//! Parameters of forms and queries.

use std::pin::pin;
use std::time::Duration;

use bytes::{Buf as _, BufMut as _};
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use http_body::Body;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use super::navigation::{self, FieldValue};
use crate::clock::{SharedClock, within};
use crate::protocol::form;
use crate::protocol::media_type::{FORM, has_media_type};
use crate::protocol::sanitize::log_safe;

/// Why a form could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FormError {
    ContentType,
    TooLarge,
    /// It did not arrive within this time.
    TooSlow(Duration),
    Incomplete,
    NotUtf8,
}

impl FormError {
    /// Describes the error for the log.
    pub(super) fn describe(self, headers: &HeaderMap) -> String {
        match self {
            Self::ContentType => describe_type(headers),
            Self::TooLarge => format!("the form is longer than {MAX_FORM_BYTES} bytes"),
            Self::TooSlow(limit) => format!("the form took longer than {limit:?}"),
            Self::Incomplete => "the body of the form is incomplete".to_owned(),
            Self::NotUtf8 => "the form is not UTF-8".to_owned(),
        }
    }
}

/// Returns the text of a form of another site, which must arrive within `limit`.
pub(super) async fn receive<B: Body>(
    clock: &SharedClock,
    headers: &HeaderMap,
    body: B,
    limit: Duration,
) -> Result<String, FormError> {
    let text = within(&**clock, limit, read_body(headers, body)).await;
    text.unwrap_or(Err(FormError::TooSlow(limit)))
}

/// Returns the parameters of a URL-encoded form; `None` for another content type, an incomplete
/// body or one over the limit.
pub(super) async fn read_form<B: Body>(
    headers: &HeaderMap,
    body: B,
) -> Option<Vec<(String, String)>> {
    let text = read_body(headers, body).await.ok()?;
    form::parse(&text).ok()
}

/// Returns the text of a URL-encoded form of at most 16 KiB. The caller limits the time.
async fn read_body<B: Body>(headers: &HeaderMap, body: B) -> Result<String, FormError> {
    if !has_media_type(headers, FORM) {
        return Err(FormError::ContentType);
    }
    let body = body.map_err(|_| "the body is incomplete");
    let mut body = pin!(Limited::new(body, MAX_FORM_BYTES));
    let mut text = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| match error.is::<LengthLimitError>() {
            true => FormError::TooLarge,
            false => FormError::Incomplete,
        })?;
        match frame.into_data() {
            Ok(data) if data.has_remaining() => text.put(data),
            // Empty frames do not count toward the size limit, and a body can have any number of
            // them ready. Yielding between them lets the caller's timeout fire.
            _ => tokio::task::yield_now().await,
        }
    }
    String::from_utf8(text).map_err(|_| FormError::NotUtf8)
}

fn describe_type(headers: &HeaderMap) -> String {
    let found = match navigation::single(headers, &CONTENT_TYPE) {
        FieldValue::Absent => "missing".to_owned(),
        FieldValue::One(found) => log_safe(found),
        FieldValue::Ambiguous => "repeated, or not ASCII".to_owned(),
    };
    format!("the Content-Type is {found}, expected application/x-www-form-urlencoded")
}

/// Returns the value of a parameter that is present exactly once: which of two values counts is a
/// matter of the parser.
pub(super) fn single<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let mut values = pairs.iter().filter(|(other, _)| other == name);
    match (values.next(), values.next()) {
        (Some((_, value)), None) => Some(value),
        _ => None,
    }
}

/// The form of the sign-out page has no fields; an application's may have a return target.
const MAX_FORM_BYTES: usize = 16 * 1024;

/// The longest URL of this application that a form is redirected to. Proxies accept request lines of 8 KiB by default.
pub(super) const MAX_LOCATION: usize = 8000;
