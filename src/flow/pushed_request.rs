//! Pushed authorization requests (RFC 9126): the client sends the parameters to the authorization server over the back
//! channel, and the authorization request contains a reference to them.

use std::borrow::Cow;

use bytes::Bytes;
use http::{Response, StatusCode};

use super::authenticated_request::SendError;
use super::error::{FlowError, FlowErrorKind, RETRY_AFTER};
use super::request_deadline::RequestDeadline;
use super::settings::Flow;
use super::transaction::LoginPurpose;
use crate::issuer::{BackChannelError, FormParameters, describe, retry_after};
use crate::protocol::OAuthErrorCode;
use crate::protocol::json::parse_object;

/// The maximum length of a `request_uri`. Some servers put the whole request into it, encrypted.
const MAX_REQUEST_URI: usize = 4096;

/// The setting that changes how requests are sent.
const SETTING: &str = "see `LoginLayer::with_pushed_requests`";

impl Flow {
    /// Pushes these parameters and returns the `request_uri`. It is valid for one authorization request (RFC 9126 §4), so
    /// it is never kept; `expires_in` is not read for that reason.
    ///
    /// Sent once more if the server rejected a credential that has changed since. Never retries otherwise, takes at most
    /// 7 seconds, and nothing is sent with the browser instead if this fails.
    pub(super) async fn push(
        &self,
        endpoint: &str,
        parameters: &[(&str, &str)],
        purpose: LoginPurpose,
    ) -> Result<String, FlowError> {
        // A silent login waits for no permit: the user is to see the page at once, anonymously if need be.
        let gives_up = async {
            if purpose != LoginPurpose::Optional {
                std::future::pending().await
            }
        };
        // Logins start without authentication, so any caller can cause these requests.
        let permit = self.push_permits.acquire(&**self.clock(), gives_up);
        let Some(_permit) = permit.await else {
            return Err(busy());
        };
        let mut form: FormParameters<'_> = parameters
            .iter()
            .filter(|(name, _)| *name != "client_id")
            .map(|&(name, value)| (name, Cow::Borrowed(value)))
            .collect();
        // RFC 9126 §2.1: also if the header has it. Every other authentication method adds it to the form.
        if self.client.has_id_in_header() {
            form.push(("client_id", Cow::Borrowed(self.client.id())));
        }
        let deadline = RequestDeadline::start(self.clock());
        let request = self.send_authenticated(endpoint, form, None, &deadline);
        let response = deadline.run(request).await.map_err(|error| match error {
            SendError::NotAuthenticated(error) | SendError::NoResponse(error) => error,
            SendError::BackChannel(error) => no_response(endpoint, &error),
        })?;
        self.request_uri(endpoint, &response)
    }

    /// Reads the response of the endpoint (RFC 9126 §2.2, §2.3).
    fn request_uri(&self, endpoint: &str, response: &Response<Bytes>) -> Result<String, FlowError> {
        let status = response.status();
        let members = parse_object(response.body()).ok();
        let text = |name| members.as_ref().and_then(|all| all.member(name)?.as_str());
        // The RFC requires 201. With 200 the reference is as good: it protects nothing to reject it.
        if !matches!(status, StatusCode::CREATED | StatusCode::OK) {
            let code = OAuthErrorCode::of_body(response.body());
            let error = refused(endpoint, status, code, text("error_description"));
            let retry_after = retry_after(response.headers());
            let error = match error.kind() {
                FlowErrorKind::Unavailable => error.with_retry_after(retry_after),
                _ => error,
            };
            let resources = self.resources().iter().map(|one| &**one);
            let error = error.with_advice_for(&self.client);
            return Err(error.with_advice_on_access(resources));
        }
        let found = match text("request_uri") {
            Some(request_uri) if is_request_uri(request_uri) => return Ok(request_uri.to_owned()),
            Some(_) => "a request_uri that is empty, too long or not printable ASCII",
            None if members.is_some() => "no request_uri that is a string",
            None => "no JSON object",
        };
        let found = format!("status {} with {found}", status.as_u16());
        Err(FlowError::new(
            FlowErrorKind::Server,
            "pushed_request_malformed",
            describe(
                "POST",
                endpoint,
                found,
                "expected a request_uri of at most 4096 bytes",
            ),
        ))
    }
}

/// RFC 3986: a URI has no spaces either.
fn is_request_uri(text: &str) -> bool {
    (1..=MAX_REQUEST_URI).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// An error response: the endpoint is overloaded, or does not accept what this application always sends.
fn refused(
    endpoint: &str,
    status: StatusCode,
    code: Option<OAuthErrorCode>,
    description: Option<&str>,
) -> FlowError {
    let found = match &code {
        Some(code) => format!("status {}, error {code}, expected 201", status.as_u16()),
        None => format!("status {}, expected 201", status.as_u16()),
    };
    let message = describe("POST", endpoint, found, SETTING);
    let is_outage = status.is_server_error()
        || status == StatusCode::TOO_MANY_REQUESTS
        || matches!(
            code,
            Some(OAuthErrorCode::TemporarilyUnavailable | OAuthErrorCode::ServerError)
        );
    let error = match is_outage {
        true => FlowError::unavailable("pushed_request_unavailable", message, RETRY_AFTER),
        false => FlowError::new(
            FlowErrorKind::Configuration,
            "pushed_request_refused",
            message,
        ),
    };
    match code {
        Some(code) => error.with_error_response(code, description.map(str::to_owned), false),
        None => error,
    }
}

fn no_response(endpoint: &str, error: &BackChannelError) -> FlowError {
    let message = describe("POST", endpoint, error, SETTING);
    match error {
        BackChannelError::Insecure | BackChannelError::Missing => {
            FlowError::new(FlowErrorKind::Configuration, "back_channel", message)
        }
        BackChannelError::TooLarge | BackChannelError::Encoded(_) => {
            FlowError::new(FlowErrorKind::Server, "pushed_request_malformed", message)
        }
        BackChannelError::Timeout
        | BackChannelError::NotSent(_)
        | BackChannelError::Transport(_) => {
            FlowError::unavailable("pushed_request_unavailable", message, RETRY_AFTER)
        }
    }
}

fn busy() -> FlowError {
    FlowError::unavailable(
        "pushed_requests_busy",
        "64 pushed authorization requests are in progress and none finished in time: the endpoint is slow, or many logins \
         are started; a rate limit on the login route helps against those",
        RETRY_AFTER,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_uri_is_printable_and_short() {
        let longest = "u".repeat(MAX_REQUEST_URI);
        for (text, accepted) in [
            (
                "urn:ietf:params:oauth:request_uri:6esc_11ACC5bwc014ltc14eY22c",
                true,
            ),
            ("https://id.example.com/requests/1?a=b#c", true),
            (&longest, true),
            (&format!("{longest}u"), false),
            ("", false),
            ("urn:a b", false),
            ("urn:a\r\nb", false),
            ("urn:\u{e9}", false),
        ] {
            assert_eq!(is_request_uri(text), accepted, "{text:?}");
        }
    }
}
