//! The requests of an identity source.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use http::header::{ACCEPT, USER_AGENT};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use serde_json::Value;

use super::error::IdentityError;
use crate::issuer::retry_after;
use crate::protocol::ScopeSet;
use crate::protocol::json::parse_object_text;
use crate::sync::Mutex;

/// Sends requests with the access token of a login to the APIs of its provider.
///
/// Requests are GET, with `Accept: application/json` and a `User-Agent`. They use the back channel of the authorization
/// server: https only, at most 5 seconds and 1 MiB each, and redirects are not followed, since the access token must not
/// reach another host. At most 8 requests for each call of the source. With
/// [`with_dpop`](crate::Provider::with_dpop) each has a proof of the key of the login, and is repeated once if the API
/// requires a nonce ([RFC 9449 §7.1]).
///
/// [RFC 9449 §7.1]: https://www.rfc-editor.org/rfc/rfc9449#section-7.1
pub struct UserApi {
    sender: Box<dyn SendUserRequest>,
    scopes: ScopeSet,
    requests: Mutex<Requests>,
}

/// Sends requests with the access token of a user.
pub(in crate::flow) trait SendUserRequest: Send + Sync {
    /// An error names the URL of the request.
    fn send<'a>(&'a self, request: &'a Request<Bytes>) -> ResponseFuture<'a>;
}

pub(in crate::flow) type ResponseFuture<'a> =
    Pin<Box<dyn Future<Output = Result<Response<Bytes>, IdentityError>> + Send + 'a>>;

#[derive(Default)]
struct Requests {
    count: usize,
    last: Option<String>,
}

const MAX_REQUESTS: usize = 8;

const AGENT: &str = concat!("tower-oauth/", env!("CARGO_PKG_VERSION"));

impl UserApi {
    pub(in crate::flow) fn new(sender: impl SendUserRequest + 'static, scopes: ScopeSet) -> Self {
        Self {
            sender: Box::new(sender),
            scopes,
            requests: Mutex::default(),
        }
    }

    /// Returns the scopes that were granted with the access token, which can be less than requested.
    pub fn scopes(&self) -> &ScopeSet {
        &self.scopes
    }

    /// Requests `url` and returns the JSON value of the response, an object or an array.
    ///
    /// `url` must be an address of the provider: it receives the access token of the user.
    ///
    /// # Errors
    ///
    /// [`IdentityError`] unless the status is 200 and the body is strict JSON: without duplicate members, for example. It
    /// names the URL and the status.
    pub async fn get(&self, url: &str) -> Result<Value, IdentityError> {
        self.count(url)?;
        let request = Request::get(url)
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, AGENT)
            .body(Bytes::new());
        let request =
            request.map_err(|_| IdentityError::configuration(format!("{url} is not a URL")))?;
        let response = self.sender.send(&request).await?;
        check_status(url, response.status(), response.headers())?;
        parse(response.body()).ok_or_else(|| {
            IdentityError::invalid_response(format!("GET {url}: the response is not strict JSON"))
        })
    }

    /// Returns the URL of the last request.
    pub(in crate::flow) fn last_request(&self) -> Option<String> {
        self.requests.lock().last.clone()
    }

    fn count(&self, url: &str) -> Result<(), IdentityError> {
        let mut requests = self.requests.lock();
        if requests.count == MAX_REQUESTS {
            return Err(IdentityError::configuration(format!(
                "GET {url}: the identity source sends more than {MAX_REQUESTS} requests for one login"
            )));
        }
        requests.count += 1;
        requests.last = Some(url.to_owned());
        Ok(())
    }
}

/// Omits the token.
impl fmt::Debug for UserApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserApi")
            .field("scopes", &self.scopes)
            .finish_non_exhaustive()
    }
}

/// Accepts the status 200 alone. A redirect is not followed, and another 2xx has no user.
fn check_status(url: &str, status: StatusCode, headers: &HeaderMap) -> Result<(), IdentityError> {
    let found = format!("GET {url}: status {}, expected 200", status.as_u16());
    let wait = retry_after(headers);
    // GitHub reports its rate limit with 403 (docs.github.com, "Rate limits for the REST API").
    let is_limited = |name| {
        headers
            .get(name)
            .is_some_and(|left: &HeaderValue| left == "0")
    };
    let is_limited = wait.is_some() || is_limited("x-ratelimit-remaining");
    match status {
        StatusCode::OK => Ok(()),
        StatusCode::TOO_MANY_REQUESTS => Err(IdentityError::unavailable(found)),
        StatusCode::FORBIDDEN if is_limited => {
            Err(IdentityError::unavailable(format!("{found} (the rate limit)")))
        }
        StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => {
            Err(IdentityError::configuration(format!(
                "{found}; check the scopes (`Provider::with_scopes`), the permissions of the registration and the address"
            )))
        }
        StatusCode::UNAUTHORIZED => Err(IdentityError::invalid_response(format!(
            "{found}; the API rejected the access token that the token endpoint has just issued"
        ))),
        status if status.is_server_error() => Err(IdentityError::unavailable(found)),
        _ => Err(IdentityError::invalid_response(found)),
    }
    .map_err(|error| error.with_retry_after(wait))
}

/// Parses an object or an array as strictly as other documents: no value may depend on the parser. `serde_json` returns the
/// value, and keeps the last of two equal members; the strict parser reads objects only, and rejects these.
fn parse(body: &[u8]) -> Option<Value> {
    let text = std::str::from_utf8(body).ok()?;
    let value: Value = serde_json::from_str(text).ok()?;
    parse_object_text(&format!("{{\"value\":{text}}}")).ok()?;
    (value.is_object() || value.is_array()).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_objects_and_arrays_without_duplicate_members_are_parsed() {
        for (body, accepted) in [
            (r#"{"id":1}"#, true),
            (r#"[{"email":"a@example.com"}]"#, true),
            (r#"{"id":1,"id":2}"#, false),
            (r#"[{"id":1,"id":2}]"#, false),
            (r#"1,"value":{}"#, false),
            (r#"{}}{"a":{}"#, false),
            (r#""text""#, false),
            ("null", false),
            ("1", false),
            ("", false),
            ("<html>", false),
            (r#"{"id":NaN}"#, false),
        ] {
            assert_eq!(parse(body.as_bytes()).is_some(), accepted, "{body}");
        }
        assert!(parse(b"{\"a\":\"\xff\"}").is_none());
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        assert!(parse(deep.as_bytes()).is_none());
    }

    #[test]
    fn a_status_says_whether_it_is_an_outage_or_a_mistake_of_the_configuration() {
        use crate::flow::{FlowError, FlowErrorKind::*};
        for (status, field, expected) in [
            (301, None, Server),
            (307, None, Server),
            (204, None, Server),
            (400, None, Server),
            (401, None, Server),
            (403, None, Configuration),
            (403, Some(("x-ratelimit-remaining", "0")), Unavailable),
            (403, Some(("x-ratelimit-remaining", "12")), Configuration),
            (403, Some(("retry-after", "60")), Unavailable),
            (404, None, Configuration),
            (429, None, Unavailable),
            (500, None, Unavailable),
            (503, Some(("retry-after", "60")), Unavailable),
        ] {
            let mut headers = HeaderMap::new();
            if let Some((name, value)) = field {
                headers.insert(name, HeaderValue::from_static(value));
            }
            let status = StatusCode::from_u16(status).unwrap();
            let error = check_status("https://api.example.com/user", status, &headers);
            let error = FlowError::from(error.unwrap_err());
            assert_eq!(error.kind(), expected, "{status}");
            let text = error.to_string();
            assert!(text.contains("https://api.example.com/user"), "{text}");
            assert!(text.contains(status.as_str()), "{text}");
        }
        let ok = check_status("https://api.example.com", StatusCode::OK, &HeaderMap::new());
        assert!(ok.is_ok());
    }
}
