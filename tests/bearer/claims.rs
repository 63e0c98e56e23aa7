//! The claims of JWT access tokens (RFC 7519 §4, RFC 9068 §2 and §4, RFC 6749 §3.3).

use std::time::{Duration, UNIX_EPOCH};

use axum::Router;
use axum::routing::get;
use proptest::prelude::*;
use serde_json::{Value, json};
use tower_oauth::testing::{Endpoint, TestServer, TokenMint};
use tower_oauth::token::{Audience, TokenProfile, VerifyErrorKind as Why};
use tower_oauth::{Algorithm, BearerLayer, VerifiedToken};

use crate::support::api::{
    AUDIENCE, Case, ISSUER, Outcome, api, case, check, good, layer, layer_of, present, present_at,
    server, verifier, verifier_of,
};

const MALFORMED: Outcome = Outcome::InvalidToken(Why::Malformed);
const CLAIMS: Outcome = Outcome::InvalidToken(Why::Claims);
const EXPIRED: Outcome = Outcome::InvalidToken(Why::Expired);
const NOT_YET: Outcome = Outcome::InvalidToken(Why::NotYetValid);
const AUDIENCE_OTHER: Outcome = Outcome::InvalidToken(Why::Audience);
const ISSUER_OTHER: Outcome = Outcome::InvalidToken(Why::Issuer);
const BOUND: Outcome = Outcome::InvalidToken(Why::Bound);
const NOT_ACCESS: Outcome = Outcome::InvalidToken(Why::NotAnAccessToken);

/// Returns a token with this JSON text as the value of a claim.
fn raw(server: &TestServer, name: &str, json: &str) -> String {
    good(server).with_raw_claim(name, json).sign()
}

/// Sends tokens to an API with cached keys, and checks that they cause no request.
async fn check_without_fetch(server: &TestServer, cases: &[Case]) {
    let api = api(layer(server));
    assert_eq!(
        present(&api, &good(server).sign()).await.outcome(),
        Outcome::Accepted
    );
    server.clear_requests();
    check(&api, cases).await;
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn a_payload_that_is_not_a_strict_json_object_is_rejected() {
    let server = server();
    let with = |text: &[u8]| good(&server).with_payload_bytes(text).sign();
    let base = format!(r#""iss":"{ISSUER}","aud":"{AUDIENCE}","exp":1800000300"#);
    let deep = |levels: usize| {
        format!(
            "{{{base},\"x\":{}{}}}",
            "[".repeat(levels),
            "]".repeat(levels)
        )
    };
    let cases = [
        case("an array", with(b"[]"), MALFORMED),
        case("a string", with(br#""x""#), MALFORMED),
        case("null", with(b"null"), MALFORMED),
        case("a number", with(b"1"), MALFORMED),
        case(
            "the object in an array",
            with(format!("[{{{base}}}]").as_bytes()),
            MALFORMED,
        ),
        case(
            "the object as a string",
            with(Value::from(format!("{{{base}}}")).to_string().as_bytes()),
            MALFORMED,
        ),
        case("a JWT", with(good(&server).sign().as_bytes()), MALFORMED),
        case(
            "invalid UTF-8",
            with(&[b"{", base.as_bytes(), b",\"sub\":\"\xff\"}"].concat()),
            MALFORMED,
        ),
        case(
            "an overlong form",
            with(&[b"{", base.as_bytes(), b",\"sub\":\"\xc0\xaf\"}"].concat()),
            MALFORMED,
        ),
        case(
            "a byte order mark",
            with(format!("\u{feff}{{{base}}}").as_bytes()),
            MALFORMED,
        ),
        case(
            "a lone surrogate",
            with(format!(r#"{{{base},"sub":"\ud800"}}"#).as_bytes()),
            MALFORMED,
        ),
        case(
            "a raw control character",
            with(format!("{{{base},\"sub\":\"a\u{1}\"}}").as_bytes()),
            MALFORMED,
        ),
        case(
            "exp twice",
            good(&server).add_raw_claim("exp", "1900000000").sign(),
            MALFORMED,
        ),
        case(
            "aud twice",
            good(&server).add_raw_claim("aud", r#""x""#).sign(),
            MALFORMED,
        ),
        case(
            "sub twice",
            good(&server).add_raw_claim("sub", r#""bob""#).sign(),
            MALFORMED,
        ),
        case(
            "twice the same",
            good(&server).add_raw_claim("sub", r#""alice""#).sign(),
            MALFORMED,
        ),
        case(
            "twice further in",
            good(&server)
                .with_raw_claim("x", r#"{"a":[{"b":1,"b":1}]}"#)
                .sign(),
            MALFORMED,
        ),
        case(
            "twice after unescaping",
            with(format!(r#"{{{base},"sub":"a","s\u0075b":"b"}}"#).as_bytes()),
            MALFORMED,
        ),
        case(
            "the escape first",
            with(format!(r#"{{{base},"s\u0075b":"b","sub":"a"}}"#).as_bytes()),
            MALFORMED,
        ),
        case("seventeen deep", with(deep(16).as_bytes()), MALFORMED),
        case("as deep as fits", with(deep(5_000).as_bytes()), MALFORMED),
        case("an empty object", with(b"{}"), ISSUER_OTHER),
        case(
            "the plain object",
            with(format!("{{{base}}}").as_bytes()),
            Outcome::Accepted,
        ),
    ];
    check_without_fetch(&server, &cases).await;
}

#[tokio::test]
async fn an_expiry_is_a_number_between_1970_and_9999_and_required() {
    let server = server();
    let exp = |json: &str| raw(&server, "exp", json);
    let cases = [
        case("missing", good(&server).without_claim("exp").sign(), CLAIMS),
        case("a string", exp(r#""1893456000""#), CLAIMS),
        case("null", exp("null"), CLAIMS),
        case("true", exp("true"), CLAIMS),
        case("a list", exp("[]"), CLAIMS),
        case("a list of one", exp("[1893456000]"), CLAIMS),
        case("an object", exp("{}"), CLAIMS),
        case(
            "an object that looks like a number",
            exp(r#"{"$serde_json::private::Number":"1893456000"}"#),
            CLAIMS,
        ),
        case("with an exponent", exp("1.9e9"), Outcome::Accepted),
        case("with a fraction", exp("1893456000.5"), Outcome::Accepted),
        case(
            "with an exponent of zero",
            exp("1893456000E+0"),
            Outcome::Accepted,
        ),
        case("more than a double", exp("1e400"), MALFORMED),
        case("9e18", exp("9e18"), CLAIMS),
        case("2^63", exp("9223372036854775808"), CLAIMS),
        case("2^64", exp("18446744073709551616"), CLAIMS),
        case("2^53 + 1", exp("9007199254740993"), CLAIMS),
        case("milliseconds", exp("1893456000000"), CLAIMS),
        case("the year 10000", exp("253402300800"), CLAIMS),
        case(
            "the last second of 9999",
            exp("253402300799"),
            Outcome::Accepted,
        ),
        case(
            "forty digits",
            exp("1893456000000000000000000000000000000000"),
            CLAIMS,
        ),
        case("-1", exp("-1"), CLAIMS),
        case("the least integer", exp("-9223372036854775808"), CLAIMS),
        case("minus zero", exp("-0"), EXPIRED),
        case("a negative fraction", exp("-0.5"), CLAIMS),
        case("zero", exp("0"), EXPIRED),
        case("NaN", exp("NaN"), MALFORMED),
        case("Infinity", exp("Infinity"), MALFORMED),
        case("a plus sign", exp("+1893456000"), MALFORMED),
        case("a leading zero", exp("01893456000"), MALFORMED),
        case("hexadecimal", exp("0x70DBD880"), MALFORMED),
    ];
    check_without_fetch(&server, &cases).await;
}

#[tokio::test]
async fn a_token_is_valid_until_its_expiry_plus_the_leeway() {
    let server = server();
    let handle = server.authorization_server();
    let now = server.clock().unix_seconds();
    for leeway in [0, 1, 30, 300] {
        let layer = verifier_of(&handle)
            .with_leeway(Duration::from_secs(leeway))
            .unwrap();
        let leeway = i64::try_from(leeway).unwrap();
        let api = api(layer);
        let exp = |at: i64| good(&server).with_claim("exp", at).sign();
        let nbf = |at: i64| good(&server).with_claim("nbf", at).sign();
        let iat = |at: i64| good(&server).with_claim("iat", at).sign();
        let cases = [
            case("a second before", exp(now - leeway + 1), Outcome::Accepted),
            case("at the boundary", exp(now - leeway), EXPIRED),
            case("a second behind", exp(now - leeway - 1), EXPIRED),
            case("nbf at the boundary", nbf(now + leeway), Outcome::Accepted),
            case("nbf a second behind", nbf(now + leeway + 1), NOT_YET),
            case("iat at the boundary", iat(now + leeway), Outcome::Accepted),
            case("iat a second behind", iat(now + leeway + 1), NOT_YET),
            case(
                "a fraction of exp is cut off",
                raw(&server, "exp", &format!("{}.9", now - leeway)),
                EXPIRED,
            ),
            case(
                "a fraction of nbf counts",
                raw(&server, "nbf", &format!("{}.1", now + leeway)),
                NOT_YET,
            ),
        ];
        check(&api, &cases).await;
    }
    // The default leeway is 30 seconds.
    let api = api(layer_of(&handle));
    let token = good(&server).with_claim("exp", now).sign();
    server.clock().advance(Duration::from_secs(29));
    assert_eq!(present(&api, &token).await.outcome(), Outcome::Accepted);
    server.clock().advance(Duration::from_secs(1));
    assert_eq!(present(&api, &token).await.outcome(), EXPIRED);
    // A corrected wall clock applies at once, in both directions.
    server.clock().adjust_wall_clock(-1);
    assert_eq!(present(&api, &token).await.outcome(), Outcome::Accepted);
}

#[tokio::test]
async fn nbf_and_iat_are_numbers_if_present() {
    let server = server();
    let cases = ["nbf", "iat"].map(|name| {
        [
            case("a string", raw(&server, name, r#""x""#), CLAIMS),
            case(
                "a number in a string",
                raw(&server, name, r#""1700000000""#),
                CLAIMS,
            ),
            case("null", raw(&server, name, "null"), Outcome::Accepted),
            case("empty", raw(&server, name, r#""""#), Outcome::Accepted),
            case("an empty list", raw(&server, name, "[]"), Outcome::Accepted),
            case("a list", raw(&server, name, "[1700000000]"), CLAIMS),
            case("negative", raw(&server, name, "-1"), CLAIMS),
            case("past 9999", raw(&server, name, "1e17"), CLAIMS),
            case("true", raw(&server, name, "true"), CLAIMS),
            case("an hour ahead", raw(&server, name, "1800003600"), NOT_YET),
            case(
                "an hour ago",
                raw(&server, name, "1799996400"),
                Outcome::Accepted,
            ),
            case(
                "absent",
                good(&server).without_claim(name).sign(),
                Outcome::Accepted,
            ),
        ]
    });
    check_without_fetch(&server, cases.as_flattened()).await;
}

#[tokio::test]
async fn a_token_older_than_the_maximum_age_is_rejected() {
    let server = server();
    let handle = server.authorization_server();
    let api = api(verifier_of(&handle)
        .with_max_age(Duration::from_secs(3600))
        .unwrap());
    let now = server.clock().unix_seconds();
    let issued = |at: i64| good(&server).with_claim("iat", at).sign();
    let too_old = Outcome::InvalidToken(Why::TooOld);
    let cases = [
        case("fresh", issued(now), Outcome::Accepted),
        case("a second before", issued(now - 3629), Outcome::Accepted),
        case("at the boundary", issued(now - 3630), too_old),
        case("of old", issued(0), too_old),
        case(
            "without iat",
            good(&server).without_claim("iat").sign(),
            CLAIMS,
        ),
        case(
            "of old, and forged",
            good(&server).with_claim("iat", 0).with_wrong_key().sign(),
            Outcome::InvalidToken(Why::Signature),
        ),
    ];
    check(&api, &cases).await;
    for (age, fine) in [(0, false), (1, true), (u64::MAX, true)] {
        assert_eq!(
            verifier_of(&handle)
                .with_max_age(Duration::from_secs(age))
                .is_ok(),
            fine,
            "{age}"
        );
    }
}

#[tokio::test]
async fn the_issuer_is_compared_byte_for_byte_before_any_fetch() {
    let server = server();
    let iss = |json: &str| raw(&server, "iss", json);
    let cases = [
        case(
            "missing",
            good(&server).without_claim("iss").sign(),
            ISSUER_OTHER,
        ),
        case(
            "a list with the issuer",
            iss(&json!([ISSUER]).to_string()),
            ISSUER_OTHER,
        ),
        case(
            "a list with another",
            iss(&json!([ISSUER, "x"]).to_string()),
            ISSUER_OTHER,
        ),
        case("null", iss("null"), ISSUER_OTHER),
        case("empty", iss(r#""""#), ISSUER_OTHER),
        case(
            "a slash behind",
            iss(&format!("\"{ISSUER}/\"")),
            ISSUER_OTHER,
        ),
        case(
            "upper case",
            iss(r#""https://ID.example.test""#),
            ISSUER_OTHER,
        ),
        case(
            "upper case in the scheme",
            iss(r#""HTTPS://id.example.test""#),
            ISSUER_OTHER,
        ),
        case(
            "the default port",
            iss(&format!("\"{ISSUER}:443\"")),
            ISSUER_OTHER,
        ),
        case(
            "a letter that looks the same",
            iss("\"https://іd.example.test\""),
            ISSUER_OTHER,
        ),
        case(
            "a full-width letter",
            iss("\"https://ｉd.example.test\""),
            ISSUER_OTHER,
        ),
        case(
            "a dot behind the host",
            iss(r#""https://id.example.test.""#),
            ISSUER_OTHER,
        ),
        case(
            "a space behind",
            iss(&format!("\"{ISSUER} \"")),
            ISSUER_OTHER,
        ),
        case(
            "a NUL behind",
            iss(&format!("\"{ISSUER}\\u0000\"")),
            ISSUER_OTHER,
        ),
        case("http", iss(r#""http://id.example.test""#), ISSUER_OTHER),
        case("a prefix", iss(r#""https://id.example.tes""#), ISSUER_OTHER),
        case(
            "of an attacker",
            iss(r#""https://evil.example.test""#),
            ISSUER_OTHER,
        ),
        case(
            "with our host as user name",
            iss(r#""https://id.example.test@evil.example.test""#),
            ISSUER_OTHER,
        ),
    ];
    check_without_fetch(&server, &cases).await;
    let cold = api(layer(&server));
    check(&cold, &cases).await;
    assert!(
        server.requests().is_empty(),
        "a foreign issuer is not asked, nor is ours"
    );
}

#[tokio::test]
async fn issuers_with_and_without_a_trailing_slash_are_different() {
    let server = crate::support::still_server("https://id.example.test/")
        .unwrap()
        .with_algorithm(Algorithm::Es256);
    let api = api(layer(&server));
    assert_eq!(
        present(&api, &good(&server).sign()).await.outcome(),
        Outcome::Accepted
    );
    let token = good(&server).with_issuer("https://id.example.test").sign();
    assert_eq!(present(&api, &token).await.outcome(), ISSUER_OTHER);
}

#[tokio::test]
async fn the_audience_must_match_exactly() {
    let server = server();
    let aud = |json: Value| good(&server).with_claim("aud", json).sign();
    let me = |suffix: &str| format!("{AUDIENCE}{suffix}");
    let cases = [
        case(
            "missing",
            good(&server).without_claim("aud").sign(),
            AUDIENCE_OTHER,
        ),
        case("an empty list", aud(json!([])), AUDIENCE_OTHER),
        case("empty", aud(json!("")), AUDIENCE_OTHER),
        case("a list with an empty one", aud(json!([""])), AUDIENCE_OTHER),
        case("null", aud(json!(null)), AUDIENCE_OTHER),
        case("an object", aud(json!({})), CLAIMS),
        case(
            "an object with us in it",
            aud(json!({ AUDIENCE: true })),
            CLAIMS,
        ),
        case("true", aud(json!(true)), CLAIMS),
        case("another", aud(json!(["other"])), AUDIENCE_OTHER),
        case("a slash behind", aud(json!(me("/"))), Outcome::Accepted),
        case("two slashes behind", aud(json!(me("//"))), AUDIENCE_OTHER),
        case("longer", aud(json!(me(".evil.test"))), AUDIENCE_OTHER),
        case(
            "shorter",
            aud(json!(AUDIENCE[..AUDIENCE.len() - 1])),
            AUDIENCE_OTHER,
        ),
        case(
            "upper case",
            aud(json!(AUDIENCE.to_uppercase())),
            AUDIENCE_OTHER,
        ),
        case("a path", aud(json!(me("/orders"))), AUDIENCE_OTHER),
        case(
            "two in one string",
            aud(json!(me(" other"))),
            AUDIENCE_OTHER,
        ),
        case("a wildcard", aud(json!("*")), AUDIENCE_OTHER),
        case(
            "a list with us",
            aud(json!(["other", AUDIENCE])),
            Outcome::Accepted,
        ),
        case("a list of us", aud(json!([AUDIENCE])), Outcome::Accepted),
        case("a number beside us", aud(json!([AUDIENCE, 1])), CLAIMS),
        case(
            "a list beside us",
            aud(json!([AUDIENCE, [AUDIENCE]])),
            CLAIMS,
        ),
        case("null beside us", aud(json!([AUDIENCE, null])), CLAIMS),
        case("us in a list in a list", aud(json!([[AUDIENCE]])), CLAIMS),
    ];
    check_without_fetch(&server, &cases).await;
}

#[tokio::test]
async fn one_matching_audience_is_enough_and_unchecked_is_explicit() {
    let server = server();
    let handle = server.authorization_server();
    let aud = |value: Value| good(&server).with_claim("aud", value).sign();
    let two = api(BearerLayer::jwt(&handle, ["first", "second"]).unwrap());
    let cases = [
        case("the first", aud(json!("first")), Outcome::Accepted),
        case("the second", aud(json!(["x", "second"])), Outcome::Accepted),
        case("neither", aud(json!("third")), AUDIENCE_OTHER),
        case("both in one", aud(json!("first second")), AUDIENCE_OTHER),
    ];
    check(&two, &cases).await;
    let unchecked = api(BearerLayer::jwt(&handle, Audience::Unchecked).unwrap());
    let cases = [
        case("any", aud(json!("third")), Outcome::Accepted),
        case(
            "none",
            good(&server).without_claim("aud").sign(),
            Outcome::Accepted,
        ),
        case("of the wrong type all the same", aud(json!(1)), CLAIMS),
    ];
    check(&unchecked, &cases).await;
}

#[tokio::test]
async fn an_identifier_of_the_wrong_type_or_an_empty_one_is_rejected() {
    let server = server();
    let mut cases = Vec::new();
    for name in ["sub", "jti", "client_id"] {
        for json in ["1", "[]", "{}", "true", r#"["alice"]"#, r#""""#] {
            cases.push(case("of the wrong type", raw(&server, name, json), CLAIMS));
        }
        cases.push(case("null", raw(&server, name, "null"), Outcome::Accepted));
    }
    check_without_fetch(&server, &cases).await;
}

#[tokio::test]
async fn scopes_are_compared_as_whole_values() {
    let server = server();
    let api = api(layer(&server));
    let scope = |value: Value| good(&server).with_claim("scope", value).sign();
    let lacking = Outcome::InsufficientScope;
    for (name, token, expect) in [
        ("the scope", scope(json!("read")), Outcome::Accepted),
        (
            "among others",
            scope(json!("write read openid")),
            Outcome::Accepted,
        ),
        ("twice", scope(json!("read read")), Outcome::Accepted),
        ("a list", scope(json!(["read"])), lacking),
        ("an object", scope(json!({ "read": true })), lacking),
        ("a number", scope(json!(1)), lacking),
        ("null", scope(json!(null)), lacking),
        (
            "scp",
            good(&server).with_claim("scp", "read").sign(),
            lacking,
        ),
        (
            "permissions",
            good(&server)
                .with_claim("permissions", json!(["read"]))
                .sign(),
            lacking,
        ),
        ("longer", scope(json!("readwrite")), lacking),
        ("longer by a colon", scope(json!("read:all")), lacking),
        ("shorter", scope(json!("rea")), lacking),
        ("a wildcard", scope(json!("*")), lacking),
        ("a suffix", scope(json!("un-read")), lacking),
        ("upper case", scope(json!("READ")), lacking),
        ("a tab", scope(json!("write\tread")), lacking),
        ("a line end", scope(json!("write\nread")), lacking),
        ("a comma", scope(json!("write,read")), lacking),
        ("a no-break space", scope(json!("write\u{a0}read")), lacking),
        (
            "an ideographic space",
            scope(json!("write\u{3000}read")),
            lacking,
        ),
        ("a zero-width space", scope(json!("read\u{200b}")), lacking),
        ("full-width letters", scope(json!("ｒｅａｄ")), lacking),
        (
            "two spaces",
            scope(json!("  write  read ")),
            Outcome::Accepted,
        ),
        ("missing", good(&server).sign(), lacking),
        ("empty", scope(json!("")), lacking),
    ] {
        let answer = present_at(&api, "/read", &token).await;
        assert_eq!(answer.outcome(), expect, "{name}");
        if expect == lacking {
            assert_eq!(
                answer.challenge().parameter("scope"),
                Some("read"),
                "{name}"
            );
        }
    }
    assert_eq!(
        present(&api, &scope(json!(["read"]))).await.outcome(),
        Outcome::Accepted
    );
}

#[tokio::test]
async fn other_tokens_are_not_accepted_as_access_tokens() {
    let server = server();
    let id_token = || {
        server
            .id_token("test-client")
            .with_claim("nonce", "n")
            .with_claim("at_hash", "x")
    };
    let for_us = || id_token().with_audience(AUDIENCE);
    let at = |mint: TokenMint| mint.with_header("typ", "at+jwt").sign();
    let kind = Outcome::InvalidToken(Why::Type);
    let logout = json!({ "http://schemas.openid.net/event/backchannel-logout": {} });
    let logout = || {
        good(&server)
            .without_claim("scope")
            .without_claim("client_id")
            .with_claim("events", logout.clone())
    };
    let cases = [
        case("an ID token", id_token().sign(), kind),
        case("for us", for_us().sign(), kind),
        // The type outweighs claims that some servers copy into access tokens, but no statement of another type.
        case("nonce and at_hash", at(for_us()), Outcome::Accepted),
        case(
            "an ID token by its claims",
            at(for_us().with_claim("typ", "ID")),
            NOT_ACCESS,
        ),
        case("s_hash", at(for_us().with_claim("s_hash", "x")), NOT_ACCESS),
        case(
            "events that are null",
            at(good(&server).with_claim("events", json!(null))),
            NOT_ACCESS,
        ),
        case("called a logout token", at(logout()), NOT_ACCESS),
        case(
            "a logout token",
            logout().with_header("typ", "logout+jwt").sign(),
            kind,
        ),
        case(
            "a logout token of old",
            logout().with_header("typ", "JWT").sign(),
            kind,
        ),
        case(
            "a refresh token",
            good(&server)
                .with_header("typ", "JWT")
                .with_claim("typ", "Refresh")
                .sign(),
            kind,
        ),
    ];
    check(&api(layer(&server)), &cases).await;
    let generic = [
        case("an ID token", for_us().sign(), NOT_ACCESS),
        case(
            "without hashes",
            for_us()
                .without_claim("at_hash")
                .with_claim("azp", "c")
                .sign(),
            NOT_ACCESS,
        ),
        case(
            "a logout token",
            logout().with_header("typ", "JWT").sign(),
            NOT_ACCESS,
        ),
    ];
    check(
        &api(verifier(&server).with_profile(TokenProfile::Generic)),
        &generic,
    )
    .await;
    let keycloak = [
        case(
            "an ID token",
            for_us().with_claim("typ", "ID").sign(),
            NOT_ACCESS,
        ),
        case(
            "an ID token with typ bearer",
            for_us().with_claim("typ", "bearer").sign(),
            NOT_ACCESS,
        ),
        case(
            "a refresh token",
            good(&server)
                .with_header("typ", "JWT")
                .with_claim("typ", "Refresh")
                .sign(),
            NOT_ACCESS,
        ),
    ];
    check(
        &api(verifier(&server).with_profile(TokenProfile::Keycloak)),
        &keycloak,
    )
    .await;
}

#[tokio::test]
async fn a_token_bound_to_a_key_is_not_accepted_as_a_bearer_token() {
    let server = server();
    let cnf = |json: &str| raw(&server, "cnf", json);
    let cases = [
        case("a string", cnf(r#""x""#), BOUND),
        case("a list", cnf("[]"), BOUND),
        case("an empty object", cnf("{}"), BOUND),
        case("null", cnf("null"), BOUND),
        case(
            "a DPoP key",
            cnf(r#"{"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}"#),
            BOUND,
        ),
        case(
            "a certificate",
            cnf(r#"{"x5t#S256":"bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"}"#),
            BOUND,
        ),
    ];
    check(&api(layer(&server)), &cases).await;
    let unmarked = verifier(&server).with_profile(TokenProfile::Generic);
    let token = good(&server)
        .with_header("typ", "JWT")
        .with_scope("read")
        .with_raw_claim("cnf", "{}")
        .sign();
    assert_eq!(present(&api(unmarked), &token).await.outcome(), BOUND);
}

#[tokio::test]
async fn custom_claims_are_deserialized_and_a_mismatch_is_rejected() {
    #[derive(serde::Deserialize)]
    struct Mine {
        tenant: String,
        level: u8,
    }
    let server = server();
    let handler = async |token: VerifiedToken<Mine>| {
        format!(
            "{} {} {:?} {}",
            token.claims().tenant,
            token.claims().level,
            token.subject(),
            token.scopes()
        )
    };
    let api = Router::new()
        .route("/", get(handler))
        .layer(layer(&server).with_claims::<Mine>());
    let mint = || {
        good(&server)
            .with_scope("read write")
            .with_claim("tenant", "acme")
    };
    let answer = present(&api, &mint().with_claim("level", 7).sign()).await;
    assert_eq!(answer.body, r#"acme 7 Some("alice") read write"#);
    let custom = Outcome::InvalidToken(Why::CustomClaims);
    let cases = [
        case("missing", mint().sign(), custom),
        case("too large", mint().with_claim("level", 256).sign(), custom),
        case(
            "of another type",
            mint().with_claim("level", "7").sign(),
            custom,
        ),
    ];
    check(&api, &cases).await;
}

#[tokio::test]
async fn claims_are_returned_as_they_were_signed() {
    let server = server();
    let handler = async |token: VerifiedToken| {
        let claims = token.claims();
        let time = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(claims.issuer(), Some(ISSUER));
        assert_eq!(token.issuer(), ISSUER);
        assert_eq!(claims.audience().collect::<Vec<_>>(), ["x", AUDIENCE]);
        assert_eq!(
            (claims.expires_at(), claims.not_before()),
            (Some(time(1_800_000_300)), Some(time(1_799_999_001)))
        );
        assert_eq!(
            (claims.issued_at(), claims.jwt_id()),
            (Some(time(1_800_000_000)), Some("j"))
        );
        assert_eq!(
            claims.get("großes Ж"),
            Some(json!({ "a": [1, null, "\u{0}"] }))
        );
        assert_eq!(claims.get("absent"), None);
        claims.as_json().to_owned()
    };
    let api = Router::new().route("/", get(handler)).layer(layer(&server));
    let token = good(&server)
        .with_audience(json!(["x", AUDIENCE]))
        .with_claim("jti", "j")
        .with_raw_claim("nbf", "1799999000.25")
        .with_claim("großes Ж", json!({ "a": [1, null, "\u{0}"] }))
        .sign();
    let answer = present(&api, &token).await;
    let payload = crate::support::der::decode(token.split('.').nth(1).unwrap());
    assert_eq!(answer.body.as_bytes(), payload);
}

#[tokio::test]
async fn member_names_are_case_sensitive() {
    let server = server();
    let cases = [
        case(
            "EXP",
            good(&server)
                .without_claim("exp")
                .with_claim("EXP", 1_900_000_000)
                .sign(),
            CLAIMS,
        ),
        case(
            "Aud",
            good(&server)
                .without_claim("aud")
                .with_claim("Aud", AUDIENCE)
                .sign(),
            AUDIENCE_OTHER,
        ),
        case(
            "both",
            good(&server)
                .with_claim("Exp", 1)
                .with_claim("AUD", "x")
                .sign(),
            Outcome::Accepted,
        ),
    ];
    check(&api(layer(&server)), &cases).await;
}

#[tokio::test]
async fn thousands_of_scopes_audiences_and_claims_are_parsed() {
    let server = server();
    let words: Vec<String> = (0..2_500).map(|number| format!("{number:x}")).collect();
    let scopes = good(&server)
        .with_scope(&format!("{} read", words.join(" ")))
        .sign();
    let audiences: Vec<&str> = words
        .iter()
        .take(1_500)
        .map(String::as_str)
        .chain([AUDIENCE])
        .collect();
    let audiences = good(&server)
        .with_claim("aud", json!(audiences))
        .with_scope("read")
        .sign();
    let claims = words
        .iter()
        .take(1_000)
        .fold(good(&server).with_scope("read"), |mint, word| {
            mint.add_raw_claim(word, "0")
        });
    let api = api(layer(&server));
    for token in [scopes, audiences, claims.sign()] {
        assert_eq!(
            present_at(&api, "/read", &token).await.outcome(),
            Outcome::Accepted
        );
    }
}

#[test]
fn no_signed_payload_causes_a_panic() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let server = server();
    let key = server.key(Algorithm::Es256);
    let api = api(layer(&server));
    let value = prop::sample::select(vec![
        "null",
        "true",
        "0",
        "-1",
        "1e309",
        "1800000300",
        "1800000300.5",
        "18446744073709551615",
        "\"\"",
        "\"x\"",
        "\"https://id.example.test\"",
        "\"https://api.example.test\"",
        "[]",
        "[\"https://api.example.test\"]",
        "[1]",
        "{}",
        "{\"a\":1,\"a\":1}",
        "\"\\ud800\"",
        "\"read\"",
        "nul",
    ]);
    let name = prop::sample::select(vec![
        "iss",
        "sub",
        "aud",
        "exp",
        "nbf",
        "iat",
        "jti",
        "client_id",
        "scope",
        "scp",
        "cnf",
        "nonce",
        "typ",
        "azp",
        "at_hash",
    ]);
    let members = prop::collection::vec((name, value), 0..12);
    proptest!(|(members in members, rich in prop::bool::weighted(0.8))| {
        let mut text = String::from(r#"{"iss":"https://id.example.test""#);
        // Most reach the signature check: they have the required claims and no duplicate member.
        if rich {
            text.push_str(r#","exp":1800000300,"aud":["https://api.example.test"]"#);
        }
        let mut seen = if rich { vec!["iss", "exp", "aud"] } else { Vec::new() };
        for (name, value) in &members {
            if rich && seen.contains(name) {
                continue;
            }
            seen.push(name);
            text.push_str(&[",\"", name, "\":", value].concat());
        }
        text.push('}');
        let token = good(&server).with_key(&key).with_payload_bytes(text).sign();
        let outcome = runtime.block_on(present_at(&api, "/", &token)).outcome();
        prop_assert!(matches!(outcome, Outcome::Accepted | Outcome::InvalidToken(_)));
    });
    assert_eq!(server.count(Endpoint::KeySet), 1);
}
