//! Parameters of forms and queries.

use std::pin::pin;

use bytes::{Buf as _, BufMut as _};
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use http_body::Body;
use http_body_util::{BodyExt as _, Limited};

use crate::protocol::form;

/// Returns the parameters of a URL-encoded form; `None` for another content type, an incomplete
/// body or one over the limit.
pub(super) async fn read_form<B: Body>(
    headers: &HeaderMap,
    body: B,
) -> Option<Vec<(String, String)>> {
    let content_type = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return None;
    }
    let body = body.map_err(|_| "the body is incomplete");
    let mut body = pin!(Limited::new(body, MAX_FORM_BYTES));
    let mut text = Vec::new();
    while let Some(frame) = body.frame().await {
        match frame.ok()?.into_data() {
            Ok(data) if data.has_remaining() => text.put(data),
            // Empty frames do not count toward the size limit, and a body can have any number of
            // them ready. Yielding between them lets the caller's timeout fire.
            _ => tokio::task::yield_now().await,
        }
    }
    form::parse(std::str::from_utf8(&text).ok()?).ok()
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
