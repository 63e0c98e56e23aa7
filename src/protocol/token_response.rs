//! The token response, RFC 6749 §5: tokens, or an error that says why there are none.

use super::json::{InvalidJson, Json, Object, parse_object};
use super::oauth_error::OAuthErrorCode;
use super::sanitize::{display_safe, visible};
use super::scope::ScopeSet;
use super::secret::{AccessToken, IdToken, RefreshToken};

/// Real tokens stay far below; a header with a longer one would not arrive anywhere.
const MAX_TOKEN: usize = 64 * 1024;

/// Ten years: what a longer life is cut to.
const MAX_LIFETIME: u64 = 10 * 366 * 24 * 60 * 60;

/// The tokens of a successful answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TokenResponse {
    pub(crate) access_token: AccessToken,
    /// Seconds from the moment of the answer; `None` where the server does not say.
    pub(crate) expires_in: Option<u64>,
    /// What was granted; `None` means what was asked for (RFC 6749 §5.1).
    pub(crate) scope: Option<ScopeSet>,
    pub(crate) refresh_token: Option<RefreshToken>,
    /// Seconds from the moment of the answer; `None` where the server does not say, or says that the
    /// refresh token has no end.
    pub(crate) refresh_expires_in: Option<u64>,
    pub(crate) id_token: Option<IdToken>,
}

/// An answer of the token endpoint that brings no tokens.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenResponseError {
    #[error("the token endpoint answered error {code}")]
    Refused {
        code: OAuthErrorCode,
        description: Option<String>,
    },
    #[error("the token endpoint answered status {0}")]
    Status(u16),
    #[error("the token response is no strict JSON object")]
    NotJson,
    #[error("{0} of the token response is missing or malformed")]
    Member(&'static str),
    #[error("the token type is not Bearer")]
    TokenType,
}

impl TokenResponse {
    /// Reads an answer of this status.
    ///
    /// The content type is not looked at: what is no JSON object is refused anyway, and some servers
    /// label theirs as text.
    pub(crate) fn parse(status: u16, body: &[u8]) -> Result<Self, TokenResponseError> {
        let object = parse_object(body);
        // RFC 6749 §5.2, and `H74`: some servers answer their errors with status 200.
        if let Ok(object) = &object
            && let Some(error) = object.member("error").filter(|error| **error != Json::Null)
        {
            return Err(TokenResponseError::Refused {
                code: OAuthErrorCode::from_wire(error.as_str().unwrap_or_default()),
                description: object
                    .member("error_description")
                    .and_then(Json::as_str)
                    .map(display_safe),
            });
        }
        if status != 200 {
            return Err(TokenResponseError::Status(status));
        }
        Self::read(&object.map_err(|_| TokenResponseError::NotJson)?)
    }

    fn read(object: &Object<'_>) -> Result<Self, TokenResponseError> {
        // RFC 6749 §7.1 (`H77`): a token of a type that is not understood is not used.
        let token_type = text(object, "token_type")?.ok_or(TokenResponseError::TokenType)?;
        if !token_type.eq_ignore_ascii_case("bearer") {
            return Err(TokenResponseError::TokenType);
        }
        Ok(Self {
            access_token: token(object, "access_token")?
                .map(AccessToken::new)
                .ok_or(TokenResponseError::Member("access_token"))?,
            expires_in: expires_in(object.member("expires_in"))
                .map_err(|_| TokenResponseError::Member("expires_in"))?,
            scope: scope(object.member("scope"))
                .map_err(|_| TokenResponseError::Member("scope"))?,
            refresh_token: token(object, "refresh_token")?.map(RefreshToken::new),
            refresh_expires_in: refresh_expires_in(object),
            id_token: token(object, "id_token")?.map(IdToken::new),
        })
    }
}

/// A member that is absent, null or a string; servers that print every field send the null.
fn text<'a>(
    object: &'a Object<'_>,
    name: &'static str,
) -> Result<Option<&'a str>, TokenResponseError> {
    match object.member(name) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::String(text)) => Ok(Some(text)),
        Some(_) => Err(TokenResponseError::Member(name)),
    }
}

/// `H80`: a token goes into a header, so it must be one word of visible ASCII.
fn token<'a>(
    object: &'a Object<'_>,
    name: &'static str,
) -> Result<Option<&'a str>, TokenResponseError> {
    match text(object, name)? {
        Some(token) if token.is_empty() || token.len() > MAX_TOKEN || !visible(token) => {
            Err(TokenResponseError::Member(name))
        }
        token => Ok(token),
    }
}

/// RFC 6749 §5.1: seconds, which some servers write as a string.
fn expires_in(member: Option<&Json<'_>>) -> Result<Option<u64>, InvalidJson> {
    let seconds = match member {
        None | Some(Json::Null) => return Ok(None),
        Some(Json::Number(number)) => *number,
        Some(Json::String(digits)) if !digits.is_empty() => {
            if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(InvalidJson);
            }
            digits.parse().map_err(|_| InvalidJson)?
        }
        Some(_) => return Err(InvalidJson),
    };
    if seconds < 0.0 {
        return Err(InvalidJson);
    }
    // Float casts saturate, so what is too long is cut, never wrapped.
    #[allow(clippy::as_conversions)]
    Ok(Some((seconds as u64).min(MAX_LIFETIME)))
}

/// No specification has it: Keycloak says `refresh_expires_in`, others `refresh_token_expires_in`. Since it
/// is a hint and no more, an odd one is as good as none. Keycloak's 0 means without an end.
fn refresh_expires_in(object: &Object<'_>) -> Option<u64> {
    ["refresh_expires_in", "refresh_token_expires_in"]
        .into_iter()
        .find_map(|name| expires_in(object.member(name)).ok().flatten())
        .filter(|seconds| *seconds > 0)
}

/// RFC 6749 §3.3; one known server sends a list (`H79`). An empty scope grants nothing (`L56`).
fn scope(member: Option<&Json<'_>>) -> Result<Option<ScopeSet>, InvalidJson> {
    match member {
        None | Some(Json::Null) => Ok(None),
        Some(Json::String(list)) => Ok(Some(ScopeSet::from_wire(list))),
        Some(Json::Array(values)) => {
            // A value that holds a space would later be read as two.
            let one = |value: &Json<'_>| value.as_str().is_some_and(|value| !value.contains(' '));
            if !values.iter().all(one) {
                return Err(InvalidJson);
            }
            Ok(Some(ScopeSet::from_values(
                values.iter().filter_map(Json::as_str),
            )))
        }
        Some(_) => Err(InvalidJson),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(body: &str) -> Result<TokenResponse, TokenResponseError> {
        TokenResponse::parse(200, body.as_bytes())
    }

    fn with(member: &str) -> Result<TokenResponse, TokenResponseError> {
        parse(&format!(
            r#"{{"access_token":"a","token_type":"Bearer",{member}}}"#
        ))
    }

    #[test]
    fn a_full_answer_is_read_and_unknown_members_are_ignored() {
        let answer = parse(
            r#"{"access_token":"a","token_type":"bEARER","expires_in":300,"scope":"b a",
                "refresh_token":"r","id_token":"i","x":[1]}"#,
        )
        .unwrap();
        assert_eq!(answer.access_token, AccessToken::new("a"));
        assert_eq!(answer.expires_in, Some(300));
        assert_eq!(answer.scope, Some(ScopeSet::from_wire("a b")));
        assert_eq!(answer.refresh_token, Some(RefreshToken::new("r")));
        assert_eq!(answer.id_token, Some(IdToken::new("i")));
    }

    #[test]
    fn lifetimes_are_numbers_or_digits() {
        for (text, expected) in [
            ("300", Some(Some(300))),
            ("300.9", Some(Some(300))),
            (r#""3599""#, Some(Some(3599))),
            ("0", Some(Some(0))),
            ("1e300", Some(Some(MAX_LIFETIME))),
            ("null", Some(None)),
            ("-1", None),
            (r#""-1""#, None),
            (r#""1e3""#, None),
            (r#""""#, None),
            ("true", None),
            ("[300]", None),
        ] {
            let lifetime = with(&format!(r#""expires_in":{text}"#))
                .ok()
                .map(|it| it.expires_in);
            assert_eq!(lifetime, expected, "{text}");
        }
    }

    #[test]
    fn the_life_of_a_refresh_token_is_a_hint_and_an_odd_one_is_none() {
        for (members, expected) in [
            (r#""refresh_expires_in":1800"#, Some(1800)),
            (r#""refresh_token_expires_in":"1800""#, Some(1800)),
            (
                r#""refresh_expires_in":1800,"refresh_token_expires_in":60"#,
                Some(1800),
            ),
            (
                r#""refresh_expires_in":[],"refresh_token_expires_in":60"#,
                Some(60),
            ),
            (r#""refresh_expires_in":0"#, None),
            (r#""refresh_expires_in":-1"#, None),
            (r#""refresh_expires_in":"soon""#, None),
            (r#""refresh_expires_in":true"#, None),
            (r#""refresh_expires_in":null"#, None),
            (r#""refresh_expires_in":1e300"#, Some(MAX_LIFETIME)),
            (r#""x":1"#, None),
        ] {
            assert_eq!(
                with(members).unwrap().refresh_expires_in,
                expected,
                "{members}"
            );
        }
    }

    #[test]
    fn scopes_are_what_the_server_says_and_no_more() {
        for (text, expected) in [
            (r#""a b""#, Some(Some("a b"))),
            (r#"["a","b"]"#, Some(Some("a b"))),
            (r#""""#, Some(Some(""))),
            ("[]", Some(Some(""))),
            ("null", Some(None)),
            ("1", None),
            ("[1]", None),
            (r#"["a b"]"#, None),
        ] {
            let scope = with(&format!(r#""scope":{text}"#)).ok().map(|it| it.scope);
            assert_eq!(
                scope,
                expected.map(|set| set.map(ScopeSet::from_wire)),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_token_response_is_refused() {
        use TokenResponseError::*;
        let huge = format!(
            r#"{{"access_token":"{}","token_type":"Bearer"}}"#,
            "a".repeat(1 << 20)
        );
        for (name, body, expected) in [
            ("H77 no type", r#"{"access_token":"a"}"#, TokenType),
            (
                "H77 mac",
                r#"{"access_token":"a","token_type":"mac"}"#,
                TokenType,
            ),
            (
                "H77 DPoP",
                r#"{"access_token":"a","token_type":"DPoP"}"#,
                TokenType,
            ),
            (
                "no token",
                r#"{"token_type":"Bearer"}"#,
                Member("access_token"),
            ),
            (
                "H80 empty",
                r#"{"access_token":"","token_type":"Bearer"}"#,
                Member("access_token"),
            ),
            (
                "H80 beyond ASCII",
                r#"{"access_token":"é","token_type":"Bearer"}"#,
                Member("access_token"),
            ),
            (
                "H80 CRLF",
                r#"{"access_token":"a\r\nb","token_type":"Bearer"}"#,
                Member("access_token"),
            ),
            (
                "H80 space",
                r#"{"access_token":"a b","token_type":"Bearer"}"#,
                Member("access_token"),
            ),
            ("H80 1 MiB", &huge, Member("access_token")),
            (
                "H82 twice",
                r#"{"access_token":"a","access_token":"b","token_type":"Bearer"}"#,
                NotJson,
            ),
            ("HTML", "<html>", NotJson),
            ("empty", "", NotJson),
            ("list", "[]", NotJson),
            (
                "number",
                r#"{"access_token":1,"token_type":"Bearer"}"#,
                Member("access_token"),
            ),
            (
                "ID token of another type",
                r#"{"access_token":"a","token_type":"Bearer","id_token":{}}"#,
                Member("id_token"),
            ),
        ] {
            assert_eq!(parse(body), Err(expected), "{name}");
        }
    }

    #[test]
    fn errors_are_read_from_any_status_and_any_status_but_200_is_one() {
        let refused = |code: &str| TokenResponseError::Refused {
            code: OAuthErrorCode::from_wire(code),
            description: None,
        };
        for (status, body, expected) in [
            (
                200,
                r#"{"error":"bad_verification_code"}"#,
                refused("bad_verification_code"),
            ),
            (
                200,
                r#"{"error":"x","access_token":"a","token_type":"Bearer"}"#,
                refused("x"),
            ),
            (
                400,
                r#"{"error":"invalid_grant"}"#,
                refused("invalid_grant"),
            ),
            (
                401,
                r#"{"error":"invalid_client"}"#,
                refused("invalid_client"),
            ),
            (400, r#"{"error":null}"#, TokenResponseError::Status(400)),
            (400, r#"{"error":[]}"#, refused("")),
            (400, "<html>", TokenResponseError::Status(400)),
            (302, "", TokenResponseError::Status(302)),
            (
                201,
                r#"{"access_token":"a","token_type":"Bearer"}"#,
                TokenResponseError::Status(201),
            ),
            (502, "<html>", TokenResponseError::Status(502)),
        ] {
            assert_eq!(
                TokenResponse::parse(status, body.as_bytes()),
                Err(expected),
                "{status} {body}"
            );
        }
    }

    proptest! {
        #[test]
        fn parse_and_print_are_inverse(
            access_token in "[!-~]{1,40}", lifetime in 0..=MAX_LIFETIME, id_token in "[!-~]{1,40}",
        ) {
            let body = serde_json::json!({
                "access_token": access_token, "token_type": "Bearer", "expires_in": lifetime,
                "id_token": id_token,
            });
            let answer = parse(&body.to_string()).unwrap();
            prop_assert_eq!(answer.access_token.expose(), access_token);
            prop_assert_eq!(answer.expires_in, Some(lifetime));
            prop_assert_eq!(answer.id_token, Some(IdToken::new(id_token)));
        }

        #[test]
        fn any_body_is_an_answer_or_an_error(status in any::<u16>(), body in any::<Vec<u8>>()) {
            let _ = TokenResponse::parse(status, &body);
        }
    }
}
