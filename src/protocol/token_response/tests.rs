//! Token responses that are accepted and rejected.

use proptest::prelude::*;

use super::*;

fn parse(body: &str) -> Result<TokenResponse, TokenResponseError> {
    TokenResponse::parse(200, body.as_bytes(), Scheme::Bearer)
}

fn with(member: &str) -> Result<TokenResponse, TokenResponseError> {
    parse(&format!(
        r#"{{"access_token":"a","token_type":"Bearer",{member}}}"#
    ))
}

fn refreshed(member: &str) -> Result<TokenResponse<Option<AccessToken>>, TokenResponseError> {
    let body = format!(r#"{{"access_token":"a","token_type":"Bearer",{member}}}"#);
    TokenResponse::parse_refresh(200, body.as_bytes(), Scheme::Bearer)
}

#[test]
fn a_complete_response_is_read_and_unknown_members_are_ignored() {
    let answer = parse(
        r#"{"access_token":"a","token_type":"bEARER","expires_in":300,"scope":"b a",
            "refresh_token":"r","id_token":"i","x":[1]}"#,
    )
    .unwrap();
    assert_eq!(answer.access_token, AccessToken::new("a"));
    assert_eq!(answer.expires_in, Lifetime::Seconds(300));
    assert_eq!(answer.scope, Some(ScopeSet::from_wire("a b")));
    assert_eq!(answer.refresh_token, Some(RefreshToken::new("r")));
    assert_eq!(answer.id_token, Some(IdToken::new("i")));
}

#[test]
fn lifetimes_are_numbers_or_strings_of_digits() {
    use Lifetime::{Absent, Malformed, Seconds};
    for (text, expected) in [
        ("300", Seconds(300)),
        ("300.9", Seconds(300)),
        (r#""3599""#, Seconds(3599)),
        ("0", Seconds(0)),
        ("1e300", Seconds(MAX_LIFETIME)),
        ("null", Absent),
        (r#""""#, Absent),
        ("[]", Absent),
        ("-1", Malformed),
        (r#""-1""#, Malformed),
        (r#""1e3""#, Malformed),
        ("true", Malformed),
        ("[300]", Malformed),
    ] {
        let tokens = with(&format!(r#""expires_in":{text}"#)).unwrap();
        assert_eq!(tokens.expires_in, expected, "{text}");
        assert_eq!(tokens.ignored.is_empty(), expected != Malformed, "{text}");
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

/// Malformed scopes grant nothing at a login, and leave the previous grant at a refresh.
#[test]
fn scopes_are_exactly_those_of_the_response() {
    for (text, at_login, at_refresh) in [
        (r#""a b""#, Some("a b"), Some("a b")),
        (r#"["a","b"]"#, Some("a b"), Some("a b")),
        (r#""""#, None, None),
        ("[]", None, None),
        ("null", None, None),
        ("1", Some(""), None),
        ("[1]", Some(""), None),
        (r#"["a b"]"#, Some(""), None),
    ] {
        let scope = |set: Option<&str>| set.map(ScopeSet::from_wire);
        let member = format!(r#""scope":{text}"#);
        assert_eq!(with(&member).unwrap().scope, scope(at_login), "{text}");
        assert_eq!(
            refreshed(&member).unwrap().scope,
            scope(at_refresh),
            "{text}"
        );
    }
}

#[test]
fn a_malformed_optional_member_costs_no_other_token() {
    for (name, texts) in [
        ("refresh_token", ["1", "{}", r#""\u0007""#, r#""é""#]),
        ("expires_in", ["-1", "{}", "true", r#""soon""#]),
        ("scope", ["1", "{}", "[null]", "false"]),
        ("id_token", ["1", "{}", r#""\n""#, r#""ÿ""#]),
    ] {
        for text in texts {
            let member = format!(r#""{name}":{text}"#);
            let tokens = refreshed(&member).unwrap();
            assert_eq!(tokens.access_token, Some(AccessToken::new("a")), "{member}");
            assert_eq!(tokens.ignored, [name], "{member}");
            let at_login = with(&member).map(|tokens| tokens.ignored);
            // The ID token is required at a login.
            match name {
                "id_token" => assert_eq!(at_login, Err(TokenResponseError::Member(name))),
                _ => assert_eq!(at_login, Ok(vec![name]), "{member}"),
            }
        }
    }
    for name in [
        "refresh_token",
        "expires_in",
        "scope",
        "id_token",
        "error",
        "x",
    ] {
        for text in ["null", r#""""#, "[]"] {
            let member = format!(r#""{name}":{text}"#);
            assert_eq!(with(&member), with(r#""x":1"#), "{member}");
            assert_eq!(refreshed(&member), refreshed(r#""x":1"#), "{member}");
        }
    }
}

#[test]
fn a_rotated_refresh_token_outlives_a_bad_access_token() {
    use TokenResponseError::{Member, NotJson, TokenType};
    let read = |body: &str| TokenResponse::parse_refresh(200, body.as_bytes(), Scheme::Bearer);
    for members in [
        r#""access_token":"","token_type":"Bearer""#,
        r#""access_token":7,"token_type":"Bearer""#,
        r#""access_token":"a\tb","token_type":"Bearer""#,
        r#""token_type":"Bearer""#,
        r#""access_token":"a""#,
        r#""access_token":"a","token_type":null"#,
    ] {
        let tokens = read(&format!(r#"{{"refresh_token":"r",{members}}}"#)).unwrap();
        assert_eq!(tokens.access_token, None, "{members}");
        assert_eq!(
            tokens.refresh_token,
            Some(RefreshToken::new("r")),
            "{members}"
        );
    }
    for (body, expected) in [
        (r#"{"token_type":"Bearer"}"#, Member("access_token")),
        (
            r#"{"refresh_token":"r","access_token":"a","token_type":"DPoP"}"#,
            TokenType(Scheme::Bearer),
        ),
        (
            r#"{"refresh_token":"r","access_token":"a","token_type":7}"#,
            TokenType(Scheme::Bearer),
        ),
        (r#"{"refresh_token":"r","refresh_token":"s"}"#, NotJson),
        (r#"{"refresh_token":"r""#, NotJson),
    ] {
        assert_eq!(read(body), Err(expected), "{body}");
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
        (
            "no type",
            r#"{"access_token":"a"}"#,
            TokenType(Scheme::Bearer),
        ),
        (
            "mac",
            r#"{"access_token":"a","token_type":"mac"}"#,
            TokenType(Scheme::Bearer),
        ),
        (
            "DPoP",
            r#"{"access_token":"a","token_type":"DPoP"}"#,
            TokenType(Scheme::Bearer),
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
        (400, r#"{"error":[]}"#, TokenResponseError::Status(400)),
        (200, r#"{"error":{}}"#, refused("")),
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
            TokenResponse::parse(status, body.as_bytes(), Scheme::Bearer),
            Err(expected),
            "{status} {body}"
        );
    }
}

/// RFC 9449 §5: a response with another token type than the requested one is not used.
#[test]
fn the_token_type_is_the_one_that_was_asked_for() {
    use Scheme::{Bearer, Dpop};
    for (asked, member, login, refresh) in [
        (Dpop, r#","token_type":"DPoP""#, true, true),
        (Dpop, r#","token_type":"dpop""#, true, true),
        (Dpop, r#","token_type":"Bearer""#, false, false),
        (Dpop, r#","token_type":"DPoP ""#, false, false),
        (Dpop, r#","token_type":["DPoP"]"#, false, false),
        (Bearer, r#","token_type":"DPoP""#, false, false),
        // Without its type, the token is not used; a rotated refresh token is kept.
        (Dpop, "", false, true),
    ] {
        let body = format!(r#"{{"access_token":"a","refresh_token":"r"{member}}}"#);
        let tokens = TokenResponse::parse(200, body.as_bytes(), asked);
        assert_eq!(tokens.is_ok(), login, "{asked:?} {member}");
        if !login {
            assert_eq!(
                tokens,
                Err(TokenResponseError::TokenType(asked)),
                "{member}"
            );
        }
        let tokens = TokenResponse::parse_refresh(200, body.as_bytes(), asked);
        assert_eq!(tokens.is_ok(), refresh, "{asked:?} {member}");
        let token = tokens.ok().and_then(|tokens| tokens.access_token);
        assert_eq!(token.is_some(), login, "{asked:?} {member}");
    }
}

proptest! {
    #[test]
    fn parse_and_serialize_are_inverse(
        access_token in "[ -~]{1,40}", lifetime in 0..=MAX_LIFETIME, id_token in "[!-~]{1,40}",
    ) {
        let body = serde_json::json!({
            "access_token": access_token, "token_type": "Bearer", "expires_in": lifetime,
            "id_token": id_token,
        });
        let answer = parse(&body.to_string()).unwrap();
        prop_assert_eq!(answer.access_token.expose(), access_token);
        prop_assert_eq!(answer.expires_in, Lifetime::Seconds(lifetime));
        prop_assert_eq!(answer.id_token, Some(IdToken::new(id_token)));
    }

    #[test]
    fn parsing_is_total(status in any::<u16>(), body in any::<Vec<u8>>()) {
        let _ = TokenResponse::parse(status, &body, Scheme::Bearer);
        let _ = TokenResponse::parse_refresh(status, &body, Scheme::Dpop);
    }
}
