//! The token response (RFC 6749 §5): tokens or an error.

use super::json::{InvalidJson, Json, Object, parse_object};
use super::oauth_error::OAuthErrorCode;
use super::sanitize::is_visible_ascii;
use super::scope::ScopeSet;
use super::secret::{AccessToken, IdToken, RefreshToken};

/// Maximum length of a token. No server accepts a header field with a longer one.
const MAX_TOKEN: usize = 64 * 1024;

/// Ten years, in seconds. Longer lifetimes are reduced to it.
const MAX_LIFETIME: u64 = 10 * 366 * 24 * 60 * 60;

/// A successful token response (RFC 6749 §5.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TokenResponse {
    pub(crate) access_token: AccessToken,
    /// Lifetime in seconds from the time of the response.
    pub(crate) expires_in: Option<u64>,
    /// The granted scopes. `None` means the requested scopes (RFC 6749 §5.1).
    pub(crate) scope: Option<ScopeSet>,
    pub(crate) refresh_token: Option<RefreshToken>,
    /// Lifetime in seconds from the time of the response; `None` if it is unknown or unlimited.
    pub(crate) refresh_expires_in: Option<u64>,
    pub(crate) id_token: Option<IdToken>,
}

/// A response of the token endpoint without usable tokens.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenResponseError {
    /// The description is for administrators: some servers describe their own faults in it. It is
    /// not sanitized.
    #[error("the token endpoint returned error {code}")]
    Refused {
        code: OAuthErrorCode,
        description: Option<String>,
    },
    #[error("the token endpoint returned status {0}")]
    Status(u16),
    #[error("the token response is not a strict JSON object")]
    NotJson,
    #[error("{0} of the token response is missing or malformed")]
    Member(&'static str),
    #[error("the token type is not Bearer")]
    TokenType,
}

impl TokenResponse {
    /// Parses a response with this status.
    ///
    /// Does not check the content type: some servers label JSON as text, and a body that is not a JSON object is
    /// rejected.
    pub(crate) fn parse(status: u16, body: &[u8]) -> Result<Self, TokenResponseError> {
        let object = parse_object(body);
        // RFC 6749 §5.2. Checked for any status, since some servers return errors with status 200.
        if let Ok(object) = &object
            && let Some(error) = object.member("error").filter(|error| **error != Json::Null)
        {
            return Err(TokenResponseError::Refused {
                code: OAuthErrorCode::from_wire(error.as_str().unwrap_or_default()),
                description: object
                    .member("error_description")
                    .and_then(Json::as_str)
                    .map(str::to_owned),
            });
        }
        if status != 200 {
            return Err(TokenResponseError::Status(status));
        }
        Self::read(&object.map_err(|_| TokenResponseError::NotJson)?)
    }

    fn read(object: &Object<'_>) -> Result<Self, TokenResponseError> {
        // RFC 6749 §7.1: a client must not use a token whose type it does not understand.
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

/// Returns a member that is a string, or `None` if it is absent or null: some servers send all members.
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

/// Returns a token, which must be visible ASCII because it is sent in a header field.
fn token<'a>(
    object: &'a Object<'_>,
    name: &'static str,
) -> Result<Option<&'a str>, TokenResponseError> {
    match text(object, name)? {
        Some(token) if token.is_empty() || token.len() > MAX_TOKEN || !is_visible_ascii(token) => {
            Err(TokenResponseError::Member(name))
        }
        token => Ok(token),
    }
}

/// Reads a lifetime in seconds (RFC 6749 §5.1), which some servers send as a string.
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
    // Float casts saturate, so a large value does not wrap around.
    #[allow(clippy::as_conversions)]
    Ok(Some((seconds as u64).min(MAX_LIFETIME)))
}

/// Reads the lifetime of the refresh token. Not specified: Keycloak sends `refresh_expires_in`, other servers
/// `refresh_token_expires_in`. An invalid value is ignored, since it is only a hint. Zero means unlimited
/// (Keycloak).
fn refresh_expires_in(object: &Object<'_>) -> Option<u64> {
    ["refresh_expires_in", "refresh_token_expires_in"]
        .into_iter()
        .find_map(|name| expires_in(object.member(name)).ok().flatten())
        .filter(|seconds| *seconds > 0)
}

/// Reads `scope` (RFC 6749 §3.3), which some servers send as an array. An empty value grants no scopes.
fn scope(member: Option<&Json<'_>>) -> Result<Option<ScopeSet>, InvalidJson> {
    match member {
        None | Some(Json::Null) => Ok(None),
        Some(Json::String(list)) => Ok(Some(ScopeSet::from_wire(list))),
        Some(Json::Array(values)) => {
            // A value with a space would be split into two when it is parsed again.
            let is_single =
                |value: &Json<'_>| value.as_str().is_some_and(|value| !value.contains(' '));
            if !values.iter().all(is_single) {
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
    fn a_complete_response_is_read_and_unknown_members_are_ignored() {
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
    fn lifetimes_are_numbers_or_strings_of_digits() {
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
    fn an_invalid_lifetime_of_a_refresh_token_is_ignored() {
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
    fn scopes_are_exactly_those_of_the_response() {
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
    fn malformed_responses_are_rejected() {
        use TokenResponseError::*;
        let huge = format!(
            r#"{{"access_token":"{}","token_type":"Bearer"}}"#,
            "a".repeat(1 << 20)
        );
        for (name, body, expected) in [
            ("no type", r#"{"access_token":"a"}"#, TokenType),
            (
                "mac",
                r#"{"access_token":"a","token_type":"mac"}"#,
                TokenType,
            ),
            (
                "DPoP",
                r#"{"access_token":"a","token_type":"DPoP"}"#,
                TokenType,
            ),
            (
                "no token",
                r#"{"token_type":"Bearer"}"#,
                Member("access_token"),
            ),
            (
                "empty",
                r#"{"access_token":"","token_type":"Bearer"}"#,
                Member("access_token"),
            ),
            (
                "beyond ASCII",
                r#"{"access_token":"é","token_type":"Bearer"}"#,
                Member("access_token"),
            ),
            (
                "CRLF",
                r#"{"access_token":"a\r\nb","token_type":"Bearer"}"#,
                Member("access_token"),
            ),
            (
                "space",
                r#"{"access_token":"a b","token_type":"Bearer"}"#,
                Member("access_token"),
            ),
            ("1 MiB", &huge, Member("access_token")),
            (
                "twice",
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
    fn an_error_is_read_from_any_status_and_other_statuses_than_200_are_errors() {
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
        fn parse_and_serialize_are_inverse(
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
        fn parsing_is_total(status in any::<u16>(), body in any::<Vec<u8>>()) {
            let _ = TokenResponse::parse(status, &body);
        }
    }
}
