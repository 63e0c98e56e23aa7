//! Step-up for an API behind the relay: its challenge `insufficient_user_authentication` (RFC 9470 §3) becomes a login
//! that the user can start.

use std::time::Duration;

use http::{HeaderMap, Response, StatusCode};

use super::refusal::RelayResponse;
use super::settings::Relay;
use crate::login::{LoginContext, LoginRequest};
use crate::protocol::challenge::{BearerErrorCode, is_plain};
use crate::protocol::received_challenge::ReceivedChallenge;
use crate::protocol::sanitize::log_safe;
use crate::session::Session;
use crate::telemetry::may_log;

impl<T> Relay<T> {
    /// Forwards the 401 of an API that requires another authentication of the user, like every other one.
    ///
    /// By default, a 401 with the challenge `insufficient_user_authentication` ([RFC 9470 §3]) of the scheme `Bearer` or
    /// `DPoP` becomes a login with its `acr_values` and `max_age`: scripts get 401 with `login_url` and the code
    /// `authentication_too_weak`, navigations of [downloads](Self::with_downloads) are redirected, once in 30 seconds. A
    /// challenge with neither asks the user to authenticate now (`max_age=0`). The login fails unless the ID token meets
    /// the same requirements. A challenge with malformed values, or more than 8 of `acr_values`, is logged, and the 401
    /// is forwarded.
    ///
    /// [RFC 9470 §3]: https://www.rfc-editor.org/rfc/rfc9470#section-3
    #[must_use]
    pub fn without_step_up(self) -> Self {
        self.with(|settings| settings.steps_up = false)
    }
}

/// What is needed for a step-up after the request was forwarded.
pub(super) struct RelayedStepUp<'a> {
    context: &'a LoginContext,
    session: &'a Session,
    /// The header fields of a navigation. A script needs none.
    navigation: Option<HeaderMap>,
}

impl<'a> RelayedStepUp<'a> {
    pub(super) fn new(
        context: &'a LoginContext,
        session: &'a Session,
        headers: &HeaderMap,
        is_navigation: bool,
    ) -> Self {
        Self {
            context,
            session,
            navigation: is_navigation.then(|| headers.clone()),
        }
    }

    /// Returns the response that takes the place of the upstream's, if that requires another authentication.
    pub(super) fn respond_to<B>(self, response: &Response<B>) -> Option<RelayResponse> {
        if response.status() != StatusCode::UNAUTHORIZED {
            return None;
        }
        let request = match requested(response.headers())? {
            Ok(request) => request,
            Err(MalformedChallenge { reason, found }) => {
                if may_log("relay_step_up_ignored", reason) {
                    let found = log_safe(&found);
                    tracing::warn!(
                        name: "relay_step_up_ignored", target: "tower_oauth::relay", reason, found,
                        "the upstream requires another authentication of the user, but its challenge is malformed"
                    );
                }
                return None;
            }
        };
        let Self {
            context,
            session,
            navigation,
        } = self;
        Some(context.step_up_for_upstream(session, request, navigation.as_ref()))
    }
}

/// A value of a challenge that cannot be met.
#[derive(Debug, PartialEq, Eq)]
struct MalformedChallenge {
    reason: &'static str,
    found: String,
}

/// Returns what a challenge requires, or why it is malformed; `None` if there is no such challenge.
fn requested(headers: &HeaderMap) -> Option<Result<LoginRequest, MalformedChallenge>> {
    let expected = BearerErrorCode::InsufficientUserAuthentication.as_str();
    let challenges = ReceivedChallenge::all(headers);
    let challenge = challenges.iter().find(|one| {
        let is_known = one.has_scheme("Bearer") || one.has_scheme("DPoP");
        is_known && one.parameter("error") == Some(expected)
    })?;
    let (acr_values, max_age) = (
        challenge.parameter("acr_values"),
        challenge.parameter("max_age"),
    );
    Some(login_request(acr_values, max_age))
}

fn login_request(
    acr_values: Option<&str>,
    max_age: Option<&str>,
) -> Result<LoginRequest, MalformedChallenge> {
    let malformed = |reason, found: &str| MalformedChallenge {
        reason,
        found: found.to_owned(),
    };
    let mut request = LoginRequest::new();
    if let Some(values) = acr_values {
        let words = values.split(' ').filter(|word| !word.is_empty());
        let parsed = is_plain(values).then(|| request.with_acr_values(words));
        let parsed = parsed.and_then(Result::ok);
        request = parsed.ok_or_else(|| malformed(BAD_ACR_VALUES, values))?;
    }
    let age = match max_age {
        Some(text) => {
            let seconds = text.bytes().all(|byte| byte.is_ascii_digit());
            let seconds = seconds.then(|| text.parse::<u32>().ok()).flatten();
            Some(seconds.ok_or_else(|| malformed(BAD_MAX_AGE, text))?)
        }
        None if acr_values.is_none() => Some(0),
        None => None,
    };
    Ok(match age {
        Some(seconds) => request.with_max_age(Duration::from_secs(seconds.into())),
        None => request,
    })
}

const BAD_ACR_VALUES: &str =
    "`acr_values` must be 1 to 8 words of printable ASCII, at most 512 bytes";
const BAD_MAX_AGE: &str = "`max_age` must be a number of seconds below 2^32";

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::WWW_AUTHENTICATE;

    use super::*;

    #[test]
    fn a_challenge_is_turned_into_a_login_only_if_its_values_are_well_formed() {
        let login = |acr_values: &[&str], seconds: Option<u64>| {
            let request = match acr_values {
                [] => LoginRequest::new(),
                values => LoginRequest::new()
                    .with_acr_values(values.iter().copied())
                    .unwrap(),
            };
            Some(Ok(match seconds {
                Some(seconds) => request.with_max_age(Duration::from_secs(seconds)),
                None => request,
            }))
        };
        let error = "error=\"insufficient_user_authentication\"";
        let long = format!("Bearer {error}, acr_values=\"{}\"", "a".repeat(513));
        for (line, expected) in [
            ("Bearer error=\"invalid_token\"".to_owned(), None),
            (format!("Basic {error}"), None),
            (format!("Bearer {error}"), login(&[], Some(0))),
            (format!("dpop {error}, max_age=60"), login(&[], Some(60))),
            (
                format!("Bearer {error}, max_age=\"0\""),
                login(&[], Some(0)),
            ),
            (
                format!("Bearer realm=\"a\", {error}, acr_values=\"phrh phr\", max_age=\"300\""),
                login(&["phrh", "phr"], Some(300)),
            ),
            (
                format!("Negotiate, Bearer {error}, acr_values=gold"),
                login(&["gold"], None),
            ),
            (
                format!("Bearer {error}, acr_values=\" a  b \""),
                login(&["a", "b"], None),
            ),
            (
                format!("Bearer {error}, acr_values=\"\""),
                Some(Err(BAD_ACR_VALUES)),
            ),
            (
                format!("Bearer {error}, acr_values=\"a\\\"b\""),
                Some(Err(BAD_ACR_VALUES)),
            ),
            (
                format!("Bearer {error}, acr_values=\"1 2 3 4 5 6 7 8 9\""),
                Some(Err(BAD_ACR_VALUES)),
            ),
            (long, Some(Err(BAD_ACR_VALUES))),
            (
                format!("Bearer {error}, max_age=\"-1\""),
                Some(Err(BAD_MAX_AGE)),
            ),
            (
                format!("Bearer {error}, max_age=\"+1\""),
                Some(Err(BAD_MAX_AGE)),
            ),
            (
                format!("Bearer {error}, max_age=\"\""),
                Some(Err(BAD_MAX_AGE)),
            ),
            (
                format!("Bearer {error}, max_age=\"4294967296\""),
                Some(Err(BAD_MAX_AGE)),
            ),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(WWW_AUTHENTICATE, HeaderValue::try_from(&*line).unwrap());
            let result = requested(&headers);
            let result = result.map(|one| one.map_err(|malformed| malformed.reason));
            assert_eq!(result, expected, "{line}");
        }
    }
}
