//! The authorization response (RFC 6749 §4.1.2): the query of the callback, a form, or the claims of a signed JWT (JARM).
//!
//! Its content is untrusted until its `state` has been matched with a login of this browser.

use super::form::{self, InvalidForm};
use super::json::{Json, Object};
use super::oauth_error::OAuthErrorCode;
use super::sanitize::is_printable_ascii;
use super::secret::{AuthorizationCode, State};

/// Maximum length of an authorization code. Authorization servers issue codes of less than half of it.
const MAX_CODE: usize = 4096;

/// Maximum length of `user`. A longer one is ignored: it is for display only.
const MAX_USER: usize = 2048;

/// Maximum length of a `state`. This crate issues 43 characters.
const MAX_STATE: usize = 512;

/// An authorization response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AuthorizationResponse {
    state: State,
    issuer: Option<String>,
    /// `user`, which Apple sends beside a code. It is not signed.
    user: Option<String>,
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

/// Why a text is not an authorization response of the code flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidAuthorizationResponse {
    #[error("the response is not a valid form")]
    Form(#[from] InvalidForm),
    #[error("a parameter appears more than once")]
    Repeated,
    #[error("`state` is missing")]
    NoState,
    #[error("the response contains a token")]
    Token,
    #[error("the response is not in the response mode that was requested")]
    Mode,
    #[error("a value has an invalid length or invalid characters")]
    Malformed,
}

impl AuthorizationResponse {
    /// Parses the query of the callback, without its question mark, or a form.
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidAuthorizationResponse> {
        let pairs = parse_single_valued(text)?;
        let value = |name: &str| value_of(&pairs, name);
        // JARM §2.3: the signed form of this response, which was not requested.
        if value("response").is_some() {
            return Err(InvalidAuthorizationResponse::Mode);
        }
        Self::from_values(value)
    }

    /// Reads the claims of a response JWT, after its signature was verified (JARM §2.1).
    pub(crate) fn from_claims(claims: &Object<'_>) -> Result<Self, InvalidAuthorizationResponse> {
        let is_text = |name: &&str| {
            let claim = claims.member(name);
            claim.is_none_or(|claim| matches!(claim, Json::String(_) | Json::Null))
        };
        if !READ.iter().all(is_text) {
            return Err(InvalidAuthorizationResponse::Malformed);
        }
        Self::from_values(|name| {
            let claim = claims.member(name).and_then(Json::as_str);
            claim.filter(|text| !text.is_empty())
        })
    }

    fn from_values<'v>(
        value: impl Fn(&str) -> Option<&'v str>,
    ) -> Result<Self, InvalidAuthorizationResponse> {
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
            user: value("user")
                .filter(|user| user.len() <= MAX_USER)
                .map(str::to_owned),
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

    /// Returns `user`. The browser may have changed it.
    pub(crate) fn unverified_user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    pub(crate) fn into_outcome(self) -> AuthorizationOutcome {
        self.outcome
    }
}

/// Returns the JWT of a response in a signed mode: the value of `response`, and nothing of a plain response beside it
/// (JARM §2.3).
pub(crate) fn response_jwt(text: &str) -> Result<String, InvalidAuthorizationResponse> {
    let pairs = parse_single_valued(text)?;
    if PLAIN.iter().any(|name| value_of(&pairs, name).is_some()) {
        return Err(InvalidAuthorizationResponse::Mode);
    }
    let jwt = value_of(&pairs, "response").map(str::to_owned);
    jwt.ok_or(InvalidAuthorizationResponse::Mode)
}

/// Parses a form and rejects repeated parameters (RFC 6749 §3.1), because readers disagree on which value counts.
/// Parameters that are not listed are ignored.
fn parse_single_valued(text: &str) -> Result<Vec<(String, String)>, InvalidAuthorizationResponse> {
    let pairs = form::parse(text)?;
    let is_repeated = |name: &&str| pairs.iter().filter(|(other, _)| other == name).count() > 1;
    match SINGLE_VALUED.iter().any(is_repeated) {
        true => Err(InvalidAuthorizationResponse::Repeated),
        false => Ok(pairs),
    }
}

/// Returns the value of a parameter. One without a value is treated as omitted (RFC 6749 §3.1).
fn value_of<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let (_, value) = pairs.iter().find(|(other, _)| other == name)?;
    (!value.is_empty()).then_some(value.as_str())
}

const SINGLE_VALUED: [&str; 13] = [
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
    "user",
];

/// What a plain response has. A signed one has none of it; `iss` and `session_state` beside it are ignored.
const PLAIN: [&str; 8] = [
    "state",
    "code",
    "error",
    "error_description",
    "error_uri",
    "id_token",
    "access_token",
    "refresh_token",
];

/// The claims of a response JWT that are read.
const READ: [&str; 8] = [
    "state",
    "iss",
    "code",
    "error",
    "error_description",
    "id_token",
    "access_token",
    "refresh_token",
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
            (
                "signed response beside it",
                "state=s&code=c&response=a.b.c",
                Mode,
            ),
            ("signed response", "response=a.b.c", Mode),
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
    fn a_signed_response_is_alone() {
        use InvalidAuthorizationResponse::*;
        for (query, expected) in [
            ("response=a.b.c", Ok("a.b.c")),
            ("response=a.b.c&iss=i&session_state=x&other=y", Ok("a.b.c")),
            ("response=a.b.c&code=", Ok("a.b.c")),
            ("response=a.b.c&code=x", Err(Mode)),
            ("response=a.b.c&state=x", Err(Mode)),
            ("response=a.b.c&error=x", Err(Mode)),
            ("response=a.b.c&id_token=x", Err(Mode)),
            ("response=a.b.c&response=a.b.c", Err(Repeated)),
            ("response=", Err(Mode)),
            ("code=c&state=s&iss=i", Err(Mode)),
            ("", Err(Mode)),
        ] {
            assert_eq!(
                response_jwt(query).as_deref(),
                expected.as_ref().copied(),
                "{query}"
            );
        }
    }

    #[test]
    fn claims_of_other_types_are_malformed_and_unknown_ones_are_ignored() {
        use InvalidAuthorizationResponse::*;
        let code = |code| Ok(AuthorizationOutcome::Code(AuthorizationCode::new(code)));
        for (claims, expected) in [
            (r#"{"state":"s","code":"c","exp":1,"aud":["a"]}"#, code("c")),
            (
                r#"{"state":"s","code":"c","error":null,"id_token":""}"#,
                code("c"),
            ),
            (r#"{"state":"s","code":7}"#, Err(Malformed)),
            (r#"{"state":["s"],"code":"c"}"#, Err(Malformed)),
            (r#"{"state":"s","code":"c","id_token":{}}"#, Err(Malformed)),
            (r#"{"state":"s","code":"c","access_token":"t"}"#, Err(Token)),
            (r#"{"code":"c"}"#, Err(NoState)),
            (r#"{"state":"","code":"c"}"#, Err(NoState)),
            (r#"{"state":"s"}"#, Ok(AuthorizationOutcome::Nothing)),
        ] {
            let object = crate::protocol::json::parse_object(claims.as_bytes()).unwrap();
            let response = AuthorizationResponse::from_claims(&object);
            assert_eq!(
                response.map(AuthorizationResponse::into_outcome),
                expected,
                "{claims}"
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
