//! The authorization response, RFC 6749 §4.1.2: the query with which the browser comes back.
//!
//! Everything in it is a stranger's text until its `state` has been found.

use super::form::{self, InvalidForm};
use super::oauth_error::OAuthErrorCode;
use super::sanitize::printable;
use super::secret::{AuthorizationCode, State};

/// `L18`: no server issues codes half as long.
const MAX_CODE: usize = 4096;

/// Ours has 43 characters.
const MAX_STATE: usize = 512;

/// What the browser brought back: an answer to the request with this `state`, if there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AuthorizationResponse {
    state: State,
    issuer: Option<String>,
    outcome: AuthorizationOutcome,
}

/// What the authorization server decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AuthorizationOutcome {
    Code(AuthorizationCode),
    Error {
        code: OAuthErrorCode,
        /// For a person, if it is shown at all: capped, without control characters, not escaped.
        description: Option<String>,
    },
    /// Neither a code nor an error.
    Nothing,
}

/// A query that is no answer to a code flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidAuthorizationResponse {
    #[error("the query is no form")]
    Form(#[from] InvalidForm),
    #[error("a parameter appears twice")]
    Repeated,
    #[error("there is no state")]
    NoState,
    #[error("a token stands in the query")]
    Token,
    #[error("a value has characters or a length it cannot have")]
    Malformed,
}

impl AuthorizationResponse {
    /// Reads the query of the callback, without its question mark.
    pub(crate) fn parse(query: &str) -> Result<Self, InvalidAuthorizationResponse> {
        let pairs = form::parse(query)?;

        // RFC 6749 §3.1 (`L12`): two values are two readings; names not listed here are not ours to read.
        for name in ONCE {
            if pairs.iter().filter(|(other, _)| other == name).count() > 1 {
                return Err(InvalidAuthorizationResponse::Repeated);
            }
        }
        // RFC 6749 §3.1: a parameter without a value is one that was left out.
        let value = |name: &str| {
            let (_, value) = pairs.iter().find(|(other, _)| other == name)?;
            (!value.is_empty()).then_some(value.as_str())
        };

        // RFC 9700 §2.1.2 (`H25`): a code flow has no token in its response, so someone put it there.
        if ["access_token", "id_token", "refresh_token"]
            .into_iter()
            .any(|name| value(name).is_some())
        {
            return Err(InvalidAuthorizationResponse::Token);
        }
        // RFC 6749 §4.1.2 (`H02`, `H16`): a request always had a state, so its answer has.
        let state = value("state").ok_or(InvalidAuthorizationResponse::NoState)?;
        if state.len() > MAX_STATE || !printable(state) {
            return Err(InvalidAuthorizationResponse::Malformed);
        }
        Ok(Self {
            state: State::new(state),
            issuer: value("iss").map(str::to_owned),
            outcome: match (value("error"), value("code")) {
                // `H17`: with an error beside it a code is worth nothing.
                (Some(error), _) => AuthorizationOutcome::Error {
                    code: OAuthErrorCode::from_wire(error),
                    description: value("error_description").map(super::sanitize::display_safe),
                },
                // RFC 6749 §A.11 (`L18`, `H22`, `H23`).
                (None, Some(code)) if code.len() <= MAX_CODE && printable(code) => {
                    AuthorizationOutcome::Code(AuthorizationCode::new(code))
                }
                (None, Some(_)) => return Err(InvalidAuthorizationResponse::Malformed),
                (None, None) => AuthorizationOutcome::Nothing,
            },
        })
    }

    /// `state`: which request this answers.
    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// `iss`: who says to have answered (RFC 9207 §2).
    pub(crate) fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }

    pub(crate) fn into_outcome(self) -> AuthorizationOutcome {
        self.outcome
    }
}

const ONCE: [&str; 12] = [
    "state",
    "code",
    "iss",
    "error",
    "error_description",
    "error_uri",
    "response",
    "id_token",
    "access_token",
    "refresh_token",
    "token_type",
    "session_state",
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn outcome(query: &str) -> Result<AuthorizationOutcome, InvalidAuthorizationResponse> {
        AuthorizationResponse::parse(query).map(AuthorizationResponse::into_outcome)
    }

    #[test]
    fn a_code_comes_with_its_state_and_issuer_and_the_rest_is_ignored() {
        let response = AuthorizationResponse::parse(
            "state=s%2B1&x=1&code=c%2F2&iss=https%3A%2F%2Fid.example.com&x=2&session_state=a",
        )
        .unwrap();
        assert_eq!(response.state().expose(), "s+1");
        assert_eq!(response.issuer(), Some("https://id.example.com"));
        assert_eq!(
            response.into_outcome(),
            AuthorizationOutcome::Code(AuthorizationCode::new("c/2"))
        );
    }

    #[test]
    fn what_cannot_be_an_answer_is_refused() {
        use InvalidAuthorizationResponse::*;
        let long = format!("state=s&code={}", "c".repeat(100_000));
        let big = format!("state=s&code={}", "c".repeat(MAX_CODE + 1));
        let description = format!("state=s&error=x&error_description={}", "d".repeat(1 << 20));
        for (name, query, expected) in [
            ("H01 nothing", "", NoState),
            ("H02 no state", "code=c", NoState),
            ("H16 array state", "state[]=s&code=c", NoState),
            ("H16 dotted state", "state.x=s&code=c", NoState),
            ("H16 other case", "State=s&code=c", NoState),
            ("H16 empty state", "state=&code=c", NoState),
            ("L12 state twice", "state=s&state=s&code=c", Repeated),
            (
                "L12 state twice, once escaped",
                "state=s&st%61te=t&code=c",
                Repeated,
            ),
            ("L12 code twice", "state=s&code=c&code=d", Repeated),
            ("L12 iss twice", "state=s&code=c&iss=a&iss=b", Repeated),
            ("L12 error twice", "state=s&error=a&error=b", Repeated),
            (
                "L12 response twice",
                "state=s&response=a&response=b",
                Repeated,
            ),
            (
                "L12 id_token twice",
                "state=s&id_token=a&id_token=b",
                Repeated,
            ),
            (
                "L12 session_state twice",
                "state=s&code=c&session_state=a&session_state=b",
                Repeated,
            ),
            ("H25 access token", "state=s&code=c&access_token=a", Token),
            ("H25 ID token", "state=s&id_token=a", Token),
            ("H22 long code", &long, Form(InvalidForm::TooLong)),
            ("L18 code over the limit", &big, Malformed),
            ("H23 CRLF", "state=s&code=a%0d%0ab", Malformed),
            ("H23 NUL", "state=s&code=a%00b", Malformed),
            ("H23 beyond ASCII", "state=s&code=%C3%A9", Malformed),
            (
                "state with a control character",
                "state=%01&code=c",
                Malformed,
            ),
            (
                "H20 not UTF-8",
                "state=s&error=x&error_description=%ff%fe",
                Form(InvalidForm::NotUtf8),
            ),
            ("H20 huge", &description, Form(InvalidForm::TooLong)),
        ] {
            assert_eq!(outcome(query), Err(expected), "{name}");
        }
    }

    #[test]
    fn an_error_outweighs_a_code_and_its_description_is_cleaned_and_cut() {
        for (name, query, code, description) in [
            (
                "H17",
                "state=s&code=c&error=access_denied",
                OAuthErrorCode::AccessDenied,
                None,
            ),
            (
                "H20 control characters",
                "state=s&error=server_error&error_description=a%00b%0d%0ac%1b%5b0m",
                OAuthErrorCode::ServerError,
                Some("a b  c [0m".to_owned()),
            ),
            (
                "H20 long",
                &format!("state=s&error=x&error_description={}", "d".repeat(10_000)),
                OAuthErrorCode::from_wire("x"),
                Some("d".repeat(256)),
            ),
        ] {
            assert_eq!(
                outcome(query),
                Ok(AuthorizationOutcome::Error { code, description }),
                "{name}"
            );
        }
    }

    #[test]
    fn a_state_alone_is_read_as_neither() {
        assert_eq!(outcome("state=s"), Ok(AuthorizationOutcome::Nothing));
        assert_eq!(outcome("state=s&code="), Ok(AuthorizationOutcome::Nothing));
    }

    proptest! {
        #[test]
        fn parse_and_print_are_inverse(
            state in "[ -~]{1,64}", code in "[ -~]{1,64}", issuer in "[ -~]{1,64}",
        ) {
            let query = form::encode([("state", &state), ("code", &code), ("iss", &issuer)]);
            let response = AuthorizationResponse::parse(&query).unwrap();
            prop_assert_eq!(response.state().expose(), state);
            prop_assert_eq!(response.issuer(), Some(issuer.as_str()));
            prop_assert_eq!(
                response.into_outcome(),
                AuthorizationOutcome::Code(AuthorizationCode::new(code))
            );
        }

        #[test]
        fn any_query_is_an_answer_or_an_error(query in any::<String>()) {
            let _ = AuthorizationResponse::parse(&query);
        }
    }
}
