//! The authorization response (RFC 6749 §4.1.2): the query of the callback.
//!
//! Its content is untrusted until its `state` has been matched with a login of this browser.

use super::form::{self, InvalidForm};
use super::oauth_error::OAuthErrorCode;
use super::sanitize::is_printable_ascii;
use super::secret::{AuthorizationCode, State};

/// Maximum length of an authorization code. Authorization servers issue codes of less than half of it.
const MAX_CODE: usize = 4096;

/// Maximum length of a `state`. This crate issues 43 characters.
const MAX_STATE: usize = 512;

/// An authorization response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AuthorizationResponse {
    state: State,
    issuer: Option<String>,
    outcome: AuthorizationOutcome,
}

/// The result that an authorization response reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AuthorizationOutcome {
    Code(AuthorizationCode),
    Error {
        code: OAuthErrorCode,
        /// Capped and without control characters, but not escaped for HTML.
        description: Option<String>,
    },
    /// Neither a code nor an error.
    Nothing,
}

/// Why a query is not an authorization response of the code flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidAuthorizationResponse {
    #[error("the query is not a valid form")]
    Form(#[from] InvalidForm),
    #[error("a parameter appears more than once")]
    Repeated,
    #[error("`state` is missing")]
    NoState,
    #[error("the query contains a token")]
    Token,
    #[error("a value has an invalid length or invalid characters")]
    Malformed,
}

impl AuthorizationResponse {
    /// Parses the query of the callback, without its question mark.
    pub(crate) fn parse(query: &str) -> Result<Self, InvalidAuthorizationResponse> {
        let pairs = form::parse(query)?;

        // RFC 6749 §3.1: parameters must not repeat, because readers disagree on which value counts.
        // Parameters that are not listed are ignored.
        for name in SINGLE_VALUED {
            if pairs.iter().filter(|(other, _)| other == name).count() > 1 {
                return Err(InvalidAuthorizationResponse::Repeated);
            }
        }
        // RFC 6749 §3.1: a parameter without a value is treated as omitted.
        let value = |name: &str| {
            let (_, value) = pairs.iter().find(|(other, _)| other == name)?;
            (!value.is_empty()).then_some(value.as_str())
        };

        // RFC 9700 §2.1.2: the response of the code flow has no tokens, so an attacker added this one.
        if ["access_token", "id_token", "refresh_token"]
            .into_iter()
            .any(|name| value(name).is_some())
        {
            return Err(InvalidAuthorizationResponse::Token);
        }
        // RFC 6749 §4.1.2: required, since every authorization request of this crate has a `state`.
        let state = value("state").ok_or(InvalidAuthorizationResponse::NoState)?;
        if state.len() > MAX_STATE || !is_printable_ascii(state) {
            return Err(InvalidAuthorizationResponse::Malformed);
        }
        Ok(Self {
            state: State::new(state),
            issuer: value("iss").map(str::to_owned),
            outcome: match (value("error"), value("code")) {
                // An error takes precedence: a response never has both (RFC 6749 §4.1.2.1).
                (Some(error), _) => AuthorizationOutcome::Error {
                    code: OAuthErrorCode::from_wire(error),
                    description: value("error_description").map(super::sanitize::display_safe),
                },
                // RFC 6749 Appendix A.11: printable ASCII.
                (None, Some(code)) if code.len() <= MAX_CODE && is_printable_ascii(code) => {
                    AuthorizationOutcome::Code(AuthorizationCode::new(code))
                }
                (None, Some(_)) => return Err(InvalidAuthorizationResponse::Malformed),
                (None, None) => AuthorizationOutcome::Nothing,
            },
        })
    }

    /// Returns `state`, which identifies the authorization request.
    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// Returns `iss`, the claimed issuer of the response (RFC 9207 §2).
    pub(crate) fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }

    pub(crate) fn into_outcome(self) -> AuthorizationOutcome {
        self.outcome
    }
}

const SINGLE_VALUED: [&str; 12] = [
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
    fn state_issuer_and_code_are_read_and_other_parameters_are_ignored() {
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
    fn malformed_responses_are_rejected() {
        use InvalidAuthorizationResponse::*;
        let long = format!("state=s&code={}", "c".repeat(100_000));
        let big = format!("state=s&code={}", "c".repeat(MAX_CODE + 1));
        let description = format!("state=s&error=x&error_description={}", "d".repeat(1 << 20));
        for (name, query, expected) in [
            ("nothing", "", NoState),
            ("no state", "code=c", NoState),
            ("array state", "state[]=s&code=c", NoState),
            ("dotted state", "state.x=s&code=c", NoState),
            ("other case", "State=s&code=c", NoState),
            ("empty state", "state=&code=c", NoState),
            ("state twice", "state=s&state=s&code=c", Repeated),
            (
                "state twice, once escaped",
                "state=s&st%61te=t&code=c",
                Repeated,
            ),
            ("code twice", "state=s&code=c&code=d", Repeated),
            ("iss twice", "state=s&code=c&iss=a&iss=b", Repeated),
            ("error twice", "state=s&error=a&error=b", Repeated),
            ("response twice", "state=s&response=a&response=b", Repeated),
            ("id_token twice", "state=s&id_token=a&id_token=b", Repeated),
            (
                "session_state twice",
                "state=s&code=c&session_state=a&session_state=b",
                Repeated,
            ),
            ("access token", "state=s&code=c&access_token=a", Token),
            ("ID token", "state=s&id_token=a", Token),
            ("long code", &long, Form(InvalidForm::TooLong)),
            ("code over the limit", &big, Malformed),
            ("CRLF", "state=s&code=a%0d%0ab", Malformed),
            ("NUL", "state=s&code=a%00b", Malformed),
            ("beyond ASCII", "state=s&code=%C3%A9", Malformed),
            (
                "state with a control character",
                "state=%01&code=c",
                Malformed,
            ),
            (
                "not UTF-8",
                "state=s&error=x&error_description=%ff%fe",
                Form(InvalidForm::NotUtf8),
            ),
            ("huge", &description, Form(InvalidForm::TooLong)),
        ] {
            assert_eq!(outcome(query), Err(expected), "{name}");
        }
    }

    #[test]
    fn an_error_takes_precedence_over_a_code_and_its_description_is_sanitized() {
        for (name, query, code, description) in [
            (
                "a code and an error",
                "state=s&code=c&error=access_denied",
                OAuthErrorCode::AccessDenied,
                None,
            ),
            (
                "control characters",
                "state=s&error=server_error&error_description=a%00b%0d%0ac%1b%5b0m",
                OAuthErrorCode::ServerError,
                Some("a b  c [0m".to_owned()),
            ),
            (
                "long",
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
