//! Opaque access tokens: what is asked, what is believed, and what is refused (`I1` to `I15`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod saturation;
mod support;

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Method};
use serde_json::json;
use support::logs::Logs;
use support::{AUDIENCE, Outcome, api, good, present, present_at};
use tower_oauth::protocol::Metadata;
use tower_oauth::testing::{Endpoint, Fault, TestClient, TestServer, TokenMint};
use tower_oauth::token::{
    Audience, IntrospectionVerifier, JwtVerifier, TokenProfile, Verifier, VerifyErrorKind,
};
use tower_oauth::{
    Algorithm, AuthorizationServer, BearerLayer, Client, ConfigError, VerifiedToken,
};

const SECRET: &str = "api secret: %&";

fn server() -> TestServer {
    support::server().add_client(TestClient::confidential("api", SECRET))
}

fn client() -> Client {
    Client::confidential("api", SECRET)
}

fn verifier(server: &TestServer) -> IntrospectionVerifier {
    IntrospectionVerifier::new(&server.authorization_server(), client(), AUDIENCE).unwrap()
}

fn api_of(verifier: impl Into<Verifier>) -> Router {
    api(BearerLayer::new(verifier))
}

fn calls(server: &TestServer) -> usize {
    server.count(Endpoint::Introspection)
}

const fn refused(kind: VerifyErrorKind) -> Outcome {
    Outcome::InvalidToken(kind)
}

#[tokio::test]
async fn a_good_opaque_token_is_accepted_with_all_that_is_said_of_it() {
    let server = server();
    let layer =
        BearerLayer::introspect(&server.authorization_server(), client(), AUDIENCE).unwrap();
    let whoami = get(async |token: VerifiedToken| {
        let username = token.claims().get("username");
        format!(
            "{:?} {:?} {} {:?} {} {username:?}",
            token.subject(),
            token.client_id(),
            token.issuer(),
            token.expires_at(),
            token.scopes(),
        )
    });
    let api = Router::new().route("/", whoami).layer(layer);
    let token = good(&server)
        .with_scope("read write")
        .with_claim("username", "alice@example.test")
        .with_claim("exp", 1_800_000_300)
        // The server that was asked issued it, though it does not say so.
        .without_claim("iss")
        .opaque();
    let answer = present(&api, &token).await;
    assert_eq!(
        answer.body,
        "Some(\"alice\") Some(\"test-client\") https://id.example.test Some(1800000300) read write \
         Some(String(\"alice@example.test\"))"
    );
    assert_eq!(calls(&server), 1);
    assert_eq!(
        present(&api, "not-one-of-its-own").await.outcome(),
        refused(VerifyErrorKind::Inactive)
    );
}

#[tokio::test]
async fn the_question_is_a_form_with_the_token_and_our_credentials() {
    let post = Client::confidential_post("api", SECRET);
    for (name, client, header, secret) in [
        (
            "I1 client_secret_basic",
            client(),
            Some("Basic YXBpOmFwaStzZWNyZXQlM0ErJTI1JTI2"),
            None,
        ),
        ("I1 client_secret_post", post, None, Some(SECRET)),
    ] {
        let server = server();
        let verifier =
            IntrospectionVerifier::new(&server.authorization_server(), client, AUDIENCE).unwrap();
        let token = format!("{}==", good(&server).opaque());
        good(&server).register(&token);
        let outcome = present(&api_of(verifier), &token).await.outcome();
        assert_eq!(outcome, Outcome::Accepted, "{name}");

        let requests = server.requests();
        let asked = requests
            .iter()
            .find(|one| one.endpoint() == Endpoint::Introspection)
            .unwrap();
        assert_eq!(asked.method(), Method::POST, "{name}");
        assert_eq!(asked.uri().query(), None, "{name}: logs keep queries");
        assert!(!asked.uri().to_string().contains(&token), "{name}");
        assert_eq!(
            asked.header("content-type"),
            Some("application/x-www-form-urlencoded"),
            "{name}"
        );
        assert_eq!(asked.header("accept"), Some("application/json"), "{name}");
        assert_eq!(asked.header("authorization"), header, "{name}");
        let mut expected = vec![
            ("token".to_owned(), token.clone()),
            ("token_type_hint".to_owned(), "access_token".to_owned()),
            ("client_id".to_owned(), "api".to_owned()),
        ];
        expected.extend(secret.map(|secret| ("client_secret".to_owned(), secret.to_owned())));
        assert_eq!(asked.parameters(), expected, "{name}");
    }
}

#[tokio::test]
async fn a_token_that_could_not_be_one_is_never_asked_about() {
    let server = server();
    let api = api_of(verifier(&server));
    let longest = "t".repeat(8 * 1024);
    let token = format!("{longest}t");
    assert_eq!(
        present(&api, &token).await.outcome(),
        refused(VerifyErrorKind::TooLong),
        "I2"
    );
    for token in ["a%41", "a b", "a\"b", "", "=", "a=b"] {
        let outcome = present(&api, token).await.outcome();
        assert_eq!(outcome, Outcome::InvalidRequest, "I2 {token:?}");
    }
    assert_eq!(calls(&server), 0);

    // The longest is asked about as it is: a token that was cut would be another token.
    good(&server).register(&longest);
    assert_eq!(present(&api, &longest).await.outcome(), Outcome::Accepted);
    let asked = server.requests().pop().unwrap();
    assert_eq!(asked.parameter("token"), Some(longest));
}

type Alter = fn(TokenMint) -> TokenMint;

#[tokio::test]
async fn an_answer_counts_only_as_far_as_it_is_one() {
    use VerifyErrorKind::{Audience, Bound, Expired, Inactive, Issuer, NotAnAccessToken};
    const NOW: i64 = 1_800_000_000;
    let cases: [(&str, Alter, Outcome); 41] = [
        ("good", |a| a, Outcome::Accepted),
        (
            "V113 I3 \"true\"",
            |a| a.with_claim("active", "true"),
            Outcome::Unavailable,
        ),
        (
            "V113 I3 1",
            |a| a.with_claim("active", 1),
            Outcome::Unavailable,
        ),
        (
            "V113 I3 null",
            |a| a.with_raw_claim("active", "null"),
            Outcome::Unavailable,
        ),
        (
            "V113 I3 [true]",
            |a| a.with_raw_claim("active", "[true]"),
            Outcome::Unavailable,
        ),
        (
            "V114 I3 no active",
            |a| a.without_claim("active"),
            Outcome::Unavailable,
        ),
        (
            "V114 {}",
            |a| a.with_payload_text("{}"),
            Outcome::Unavailable,
        ),
        (
            "V115 inactive with a scope",
            |a| a.with_claim("active", false).with_scope("admin read"),
            refused(Inactive),
        ),
        (
            "V115 of what is inactive nothing else is read",
            |a| {
                a.with_claim("active", false)
                    .with_claim("exp", "x")
                    .with_claim("aud", 7)
            },
            refused(Inactive),
        ),
        (
            "V116 I4 exp past",
            |a| a.with_claim("exp", NOW - 31),
            refused(Expired),
        ),
        (
            "I4 exp past by less than the leeway",
            |a| a.with_claim("exp", NOW - 29),
            Outcome::Accepted,
        ),
        (
            "I4 exp at the leeway",
            |a| a.with_claim("exp", NOW - 30),
            refused(Expired),
        ),
        ("I4 no exp", |a| a.without_claim("exp"), Outcome::Accepted),
        (
            "V117 exp string",
            |a| a.with_claim("exp", "1900000000"),
            Outcome::Unavailable,
        ),
        (
            "V117 exp 1e400",
            |a| a.with_raw_claim("exp", "1e400"),
            Outcome::Unavailable,
        ),
        (
            "V117 exp negative",
            |a| a.with_claim("exp", -1),
            Outcome::Unavailable,
        ),
        (
            "V118 I15 active twice",
            |a| a.add_raw_claim("active", "false"),
            Outcome::Unavailable,
        ),
        (
            "I15 scope twice",
            |a| {
                a.add_raw_claim("scope", "\"a\"")
                    .add_raw_claim("scope", "\"b\"")
            },
            Outcome::Unavailable,
        ),
        (
            "I15 by escape",
            |a| a.add_raw_claim("x", r#"{"sub":1,"s\u0075b":2}"#),
            Outcome::Unavailable,
        ),
        (
            "V119 I4 aud other",
            |a| a.with_audience("https://other.example.test"),
            refused(Audience),
        ),
        (
            "V119 aud others",
            |a| a.with_audience(json!(["a", "b"])),
            refused(Audience),
        ),
        (
            "V119 aud nearly",
            |a| a.with_audience("https://api.example.test/"),
            refused(Audience),
        ),
        (
            "I4 aud among others",
            |a| a.with_audience(json!(["a", AUDIENCE])),
            Outcome::Accepted,
        ),
        (
            "I4 aud missing",
            |a| a.without_claim("aud"),
            refused(Audience),
        ),
        (
            "I4 aud empty",
            |a| a.with_audience(json!([])),
            refused(Audience),
        ),
        (
            "I4 aud no string",
            |a| a.with_audience(json!([AUDIENCE, 7])),
            Outcome::Unavailable,
        ),
        (
            "I4 iss other",
            |a| a.with_issuer("https://id.example.test/"),
            refused(Issuer),
        ),
        (
            "I4 iss a list",
            |a| a.with_claim("iss", json!(["https://id.example.test"])),
            Outcome::Unavailable,
        ),
        (
            "I4 nbf ahead",
            |a| a.with_claim("nbf", NOW + 31),
            refused(VerifyErrorKind::NotYetValid),
        ),
        (
            "I4 nbf ahead within the leeway",
            |a| a.with_claim("nbf", NOW + 30),
            Outcome::Accepted,
        ),
        (
            "I4 token_type in another case",
            |a| a.with_claim("token_type", "bearer"),
            Outcome::Accepted,
        ),
        (
            "I4 no token_type",
            |a| a.without_claim("token_type"),
            Outcome::Accepted,
        ),
        (
            "I4 token_type of something else",
            |a| a.with_claim("token_type", "N_A"),
            refused(NotAnAccessToken),
        ),
        (
            "I4 token_type no string",
            |a| a.with_claim("token_type", 1),
            Outcome::Unavailable,
        ),
        (
            "I4 a refresh token that is active",
            |a| a.with_claim("typ", "Refresh"),
            refused(NotAnAccessToken),
        ),
        (
            "I4 the same elsewhere",
            |a| a.with_claim("token_use", "refresh_token"),
            refused(NotAnAccessToken),
        ),
        (
            "I4 an ID token that is active",
            |a| a.with_claim("at_hash", "x"),
            refused(NotAnAccessToken),
        ),
        (
            "V130 D17 cnf.jkt of type Bearer",
            |a| {
                a.with_claim("cnf", json!({ "jkt": "A".repeat(43) }))
                    .with_claim("token_type", "Bearer")
            },
            refused(Bound),
        ),
        (
            "D17 type DPoP without cnf.jkt",
            |a| a.with_claim("token_type", "DPoP"),
            refused(Bound),
        ),
        (
            "M4 cnf that nobody here can check",
            |a| a.with_claim("cnf", json!({ "kid": "a" })),
            refused(Bound),
        ),
        (
            "M4 V89 cnf no object",
            |a| a.with_claim("cnf", "A"),
            refused(Bound),
        ),
    ];
    let server = server();
    let mut wrong = Vec::new();
    for (name, alter, expect) in cases {
        // Each with a verifier of its own, so that no failure of before is counted.
        let api = api_of(verifier(&server));
        server.fail_once(Endpoint::Introspection, Fault::introspection(alter));
        let outcome = present(&api, &good(&server).opaque()).await.outcome();
        if outcome != expect {
            wrong.push(format!("{name}: {outcome:?} instead of {expect:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(calls(&server), cases.len());
}

#[tokio::test]
async fn a_scope_that_is_a_list_grants_nothing_unless_that_was_said() {
    let server = server();
    let plain = verifier(&server);
    let mapped = verifier(&server)
        .with_scopes_from(["scope", "permissions"])
        .unwrap();
    let list = good(&server).with_claim("scope", json!(["read"]));
    let elsewhere = good(&server)
        .with_scope("write")
        .with_claim("permissions", json!(["read"]));
    for (name, token, verifier, expect) in [
        ("V83 list", &list, &plain, Outcome::InsufficientScope),
        ("A15 list, mapped", &list, &mapped, Outcome::Accepted),
        (
            "A15 elsewhere",
            &elsewhere,
            &plain,
            Outcome::InsufficientScope,
        ),
        (
            "A15 elsewhere, mapped",
            &elsewhere,
            &mapped,
            Outcome::Accepted,
        ),
    ] {
        let api = api_of(verifier.clone());
        let answer = present_at(&api, "/read", &token.opaque()).await;
        assert_eq!(answer.outcome(), expect, "{name}");
    }
    assert!(plain.with_scopes_from([""]).is_err());
}

#[tokio::test]
async fn a_failure_of_the_server_is_never_the_callers_and_never_kept() {
    let json = |text: String| Fault::body("application/json", text);
    let of_type =
        |value: &'static str| Fault::header(CONTENT_TYPE, HeaderValue::from_static(value));
    let long = format!(r#"{{"active":true,"x":"{}"}}"#, "x".repeat(256 * 1024));
    for (name, fault) in [
        ("V120 401", Fault::status(401)),
        ("V120 403", Fault::status(403)),
        ("V121 500", Fault::status(500)),
        ("V121 502", Fault::status(502)),
        ("V121 503", Fault::status(503)),
        ("I8 429", Fault::status(429)),
        ("I8 400", Fault::status(400)),
        ("I8 404", Fault::status(404)),
        ("I8 204", Fault::status(204)),
        ("I8 redirect", Fault::status(302)),
        ("V121 connection cut", Fault::disconnect()),
        ("V121 answer lost", Fault::lose_answer()),
        ("I11 type", of_type("text/html")),
        ("I11 no type", Fault::without_header(CONTENT_TYPE)),
        (
            "I11 type of a signed answer",
            of_type("application/token-introspection+jwt"),
        ),
        ("I11 256 KiB", json(long)),
        ("I11 1 MiB", json("x".repeat(1 << 21))),
        ("I11 no JSON", json("<html>".to_owned())),
        ("I11 a list", json("[true]".to_owned())),
        ("I11 cut short", json(r#"{"active":tr"#.to_owned())),
        ("I11 a tail", json(r#"{"active":true}{}"#.to_owned())),
        (
            "I11 nested",
            json(format!(r#"{{"active":true,"x":{}"#, "[".repeat(100_000))),
        ),
        (
            "I11 no UTF-8",
            Fault::body(
                "application/json",
                b"{\"active\":true,\"x\":\"\xff\"}".to_vec(),
            ),
        ),
    ] {
        let server = server();
        let api = api_of(verifier(&server));
        let token = good(&server).opaque();
        server.fail_once(Endpoint::Introspection, fault);
        let answer = present(&api, &token).await;
        assert_eq!(answer.outcome(), Outcome::Unavailable, "C7 {name}");
        assert_eq!(
            present(&api, &token).await.outcome(),
            Outcome::Accepted,
            "{name}"
        );
        assert_eq!(calls(&server), 2, "{name}");
    }
}

#[tokio::test]
async fn the_time_that_the_server_asks_for_is_passed_on() {
    let server = server();
    let api = api_of(verifier(&server));
    let slow_down = HeaderValue::from_static("7");
    server.fail(Endpoint::Introspection, Fault::status(429));
    server.fail(
        Endpoint::Introspection,
        Fault::header(RETRY_AFTER, slow_down),
    );
    // To those whose tokens it was about: others are asked about as before.
    for asked in 1..=6 {
        let answer = present(&api, &good(&server).opaque()).await;
        assert_eq!(answer.outcome(), Outcome::Unavailable);
        assert_eq!(answer.headers[RETRY_AFTER], "7");
        assert_eq!(calls(&server), asked);
    }
    server.mend(Endpoint::Introspection);
    let outcome = present(&api, &good(&server).opaque()).await.outcome();
    assert_eq!(outcome, Outcome::Accepted);
}

#[tokio::test]
async fn credentials_of_ours_that_are_refused_are_an_error_in_the_log_and_a_503() {
    let logs = Logs::default();
    let _recording = logs.record();
    let server = server();
    let stranger = Client::confidential("api", "hush-hush-wrong");
    let layer =
        BearerLayer::introspect(&server.authorization_server(), stranger, AUDIENCE).unwrap();
    let (api, token) = (api(layer), good(&server).opaque());
    for _ in 0..3 {
        assert_eq!(
            present(&api, &token).await.outcome(),
            Outcome::Unavailable,
            "V120 I8"
        );
    }
    // Whatever failed before, this is told.
    let layer = BearerLayer::introspect(
        &server.authorization_server(),
        Client::confidential("api", "hush-hush-wrong"),
        AUDIENCE,
    );
    let again = support::api(layer.unwrap());
    let first = logs.take();
    server.fail_once(Endpoint::Introspection, Fault::status(500));
    for _ in 0..3 {
        present(&again, &token).await;
    }
    assert_eq!(logs.text().matches("ERROR").count(), 1, "{}", logs.text());
    let text = first;
    assert_eq!(text.matches("ERROR").count(), 1, "{text}");
    assert!(text.contains("refused our own credentials"), "{text}");
    assert!(
        !text.contains(&token) && !text.contains("hush"),
        "X3 {text}"
    );
}

#[tokio::test]
async fn neither_log_nor_debug_tells_a_token_a_secret_or_a_person() {
    let logs = Logs::default();
    let _recording = logs.record();
    let server = server();
    let verifier = verifier(&server);
    let api = api_of(verifier.clone());
    let person = "alice-in-private";
    let good = good(&server).with_subject(person).opaque();
    assert_eq!(present(&api, &good).await.outcome(), Outcome::Accepted);
    let stranger = "some-stranger-token";
    assert_eq!(
        present(&api, stranger).await.outcome(),
        refused(VerifyErrorKind::Inactive)
    );
    server.fail_once(Endpoint::Introspection, Fault::body("text/html", person));
    present(&api, "another-token").await;
    let shown = format!("{verifier:?} {:?} {}", verifier.health(), logs.text());
    for secret in [
        good.as_str(),
        stranger,
        "another-token",
        SECRET,
        person,
        "YXBpO",
    ] {
        assert!(!shown.contains(secret), "X3 {secret}: {shown}");
    }
}

fn signed_api(server: &TestServer) -> Router {
    api_of(verifier(server).with_signed_responses())
}

#[tokio::test]
async fn a_signed_answer_is_asked_for_and_believed() {
    let server = server();
    let api = signed_api(&server);
    // A number that a float would spoil, and one that no integer holds.
    let token = good(&server)
        .with_scope("read")
        .with_claim("big", 9_007_199_254_740_993_i64)
        .with_raw_claim("exp", "1800000300.5")
        .opaque();
    assert_eq!(
        present_at(&api, "/read", &token).await.outcome(),
        Outcome::Accepted,
        "I12"
    );
    let asked = server
        .requests()
        .into_iter()
        .find(|one| one.endpoint() == Endpoint::Introspection)
        .unwrap();
    assert_eq!(
        asked.header("accept"),
        Some("application/token-introspection+jwt")
    );
    assert_eq!(
        present(&api, "unknown").await.outcome(),
        refused(VerifyErrorKind::Inactive)
    );
    assert_eq!(server.count(Endpoint::KeySet), 1);
}

#[tokio::test]
async fn a_signed_answer_that_is_not_one_says_nothing() {
    const NOW: i64 = 1_800_000_000;
    let cases: [(&str, Alter); 22] = [
        ("V127 bad signature", |a| a.with_broken_signature()),
        ("V127 foreign key", |a| a.with_foreign_key()),
        ("V127 none", |a| a.without_signature()),
        ("V127 HMAC", |a| a.with_hmac(b"api secret: %&".to_vec())),
        ("V127 aud other", |a| a.with_audience("another-api")),
        ("V127 aud missing", |a| a.without_claim("aud")),
        ("V127 aud the API instead of its client", |a| {
            a.with_audience(AUDIENCE)
        }),
        ("V127 typ JWT", |a| a.with_header("typ", "JWT")),
        ("V127 typ at+jwt", |a| a.with_header("typ", "at+jwt")),
        ("V127 typ missing", |a| a.without_header("typ")),
        ("I12 iss other", |a| {
            a.with_issuer("https://other.example.test")
        }),
        ("I12 iss missing", |a| a.without_claim("iss")),
        ("I12 iat missing", |a| a.without_claim("iat")),
        ("I12 iat a string", |a| a.with_claim("iat", "1800000000")),
        ("I12 iat old", |a| a.with_claim("iat", NOW - 91)),
        ("I12 iat ahead", |a| a.with_claim("iat", NOW + 31)),
        ("I12 no token_introspection", |a| {
            a.without_claim("token_introspection")
        }),
        ("I12 token_introspection a string", |a| {
            a.with_claim("token_introspection", "{\"active\":true}")
        }),
        ("I12 token_introspection empty", |a| {
            a.with_raw_claim("token_introspection", "{}")
        }),
        ("I12 what stands beside it does not count", |a| {
            a.without_claim("token_introspection")
                .with_claim("active", true)
                .with_claim("sub", "a")
        }),
        ("I15 twice", |a| {
            a.add_raw_claim("token_introspection", r#"{"active":true}"#)
        }),
        ("I15 twice within", |a| {
            a.with_raw_claim("token_introspection", r#"{"active":false,"active":true}"#)
        }),
    ];
    let server = server();
    for (name, alter) in cases {
        let api = signed_api(&server);
        server.fail_once(Endpoint::Introspection, Fault::signed_introspection(alter));
        let token = good(&server).opaque();
        assert_eq!(
            present(&api, &token).await.outcome(),
            Outcome::Unavailable,
            "{name}"
        );
        assert_eq!(
            present(&api, &token).await.outcome(),
            Outcome::Accepted,
            "{name}: not kept"
        );
    }

    // Times within what two clocks may differ by.
    for iat in [NOW - 90, NOW + 30] {
        let api = signed_api(&server);
        let alter = Fault::signed_introspection(move |a| a.with_claim("iat", iat));
        server.fail_once(Endpoint::Introspection, alter);
        let outcome = present(&api, &good(&server).opaque()).await.outcome();
        assert_eq!(outcome, Outcome::Accepted, "I12 {iat}");
    }
}

#[tokio::test]
async fn what_is_signed_inside_counts_and_not_what_stands_outside() {
    let server = server();
    let api = signed_api(&server);
    server.fail_once(
        Endpoint::Introspection,
        Fault::signed_introspection(|a| {
            a.with_claim("active", true)
                .with_raw_claim("token_introspection", r#"{"active":false}"#)
        }),
    );
    let outcome = present(&api, &good(&server).opaque()).await.outcome();
    assert_eq!(outcome, refused(VerifyErrorKind::Inactive), "V128");
}

#[tokio::test]
async fn a_plain_answer_where_a_signed_one_was_asked_for_is_a_downgrade() {
    let server = server();
    let api = signed_api(&server);
    let plain = format!(r#"{{"active":true,"aud":"{AUDIENCE}"}}"#);
    for (name, content_type) in [
        ("V127 plain JSON", "application/json"),
        (
            "V127 plain JSON under the other name",
            "application/token-introspection+jwt",
        ),
    ] {
        server.fail_once(
            Endpoint::Introspection,
            Fault::body(content_type, plain.clone()),
        );
        let outcome = present(&api, &good(&server).opaque()).await.outcome();
        assert_eq!(outcome, Outcome::Unavailable, "{name}");
    }
    // And a signed one under the name of a plain one.
    let json = HeaderValue::from_static("application/json");
    server.fail_once(Endpoint::Introspection, Fault::header(CONTENT_TYPE, json));
    let outcome = present(&api, &good(&server).opaque()).await.outcome();
    assert_eq!(outcome, Outcome::Unavailable, "I12 type");
}

#[tokio::test]
async fn only_allowed_algorithms_sign_an_answer() {
    let server = server();
    let only_rsa = verifier(&server)
        .with_signed_responses()
        .with_algorithms([Algorithm::Rs256])
        .unwrap();
    let api = api_of(only_rsa);
    let token = good(&server).opaque();
    assert_eq!(
        present(&api, &token).await.outcome(),
        Outcome::Unavailable,
        "I12 ES256"
    );
    server.fail_once(
        Endpoint::Introspection,
        Fault::signed_introspection(|a| a.with_algorithm(Algorithm::Rs256)),
    );
    assert_eq!(
        present(&api, &token).await.outcome(),
        Outcome::Accepted,
        "I12 RS256"
    );
}

#[tokio::test]
async fn a_signed_answer_is_no_access_token() {
    let server = server();
    let answer = good(&server)
        .with_header("typ", "token-introspection+jwt")
        .with_scope("read")
        .with_claim("token_introspection", json!({ "active": true }))
        .sign();
    for profile in [
        TokenProfile::Rfc9068,
        TokenProfile::Keycloak,
        TokenProfile::Generic,
    ] {
        let verifier = JwtVerifier::new(&server.authorization_server(), AUDIENCE)
            .unwrap()
            .with_profile(profile);
        let outcome = present(&api_of(verifier), &answer).await.outcome();
        assert_eq!(outcome, refused(VerifyErrorKind::Type), "I13 {profile:?}");
    }
}

#[tokio::test]
async fn jwts_and_opaque_tokens_each_go_their_own_way() {
    let server = server();
    let jwt = JwtVerifier::new(&server.authorization_server(), AUDIENCE).unwrap();
    let api = api_of(Verifier::jwt_or_opaque(jwt, verifier(&server)));
    let foreign = server
        .access_token()
        .with_audience(AUDIENCE)
        .with_foreign_key()
        .sign();
    let none = good(&server).without_signature().sign();
    let typ = good(&server).with_header("typ", "JWT").sign();
    let header = good(&server)
        .with_header_text(r#" {"alg":"ES256","alg":"none"}"#)
        .sign();
    let (opaque, with_dots) = (good(&server).opaque(), "a.b.c".to_owned());
    // {"alg":"dir","enc":"A128GCM"}
    let encrypted = "eyJhbGciOiJkaXIiLCJlbmMiOiJBMTI4R0NNIn0..a.b.c".to_owned();
    // At the server all of them are known and active: what decides is which way they go.
    for token in [&foreign, &none, &typ, &header, &with_dots, &encrypted] {
        good(&server).register(token);
    }
    for (name, token, expect, asked) in [
        ("I14 good JWT", good(&server).sign(), Outcome::Accepted, 0),
        (
            "I14 foreign key",
            foreign,
            refused(VerifyErrorKind::Signature),
            0,
        ),
        ("I14 alg none", none, refused(VerifyErrorKind::Algorithm), 0),
        ("I14 type", typ, refused(VerifyErrorKind::Type), 0),
        (
            "I14 header not strict",
            header,
            refused(VerifyErrorKind::Malformed),
            0,
        ),
        ("I14 opaque", opaque, Outcome::Accepted, 1),
        ("I14 opaque with dots", with_dots, Outcome::Accepted, 1),
        ("I14 five segments", encrypted, Outcome::Accepted, 1),
        (
            "I14 unknown opaque",
            "unknown".to_owned(),
            refused(VerifyErrorKind::Inactive),
            1,
        ),
    ] {
        server.forget_requests();
        let outcome = present(&api, &token).await.outcome();
        assert_eq!(outcome, expect, "{name}");
        assert_eq!(calls(&server), asked, "{name}");
    }

    // By configuration alone: without the combination a JWT may be asked about, and an opaque token
    // never is.
    let server = self::server();
    let jwt = good(&server).sign();
    good(&server).register(&jwt);
    assert_eq!(
        present(&api_of(verifier(&server)), &jwt).await.outcome(),
        Outcome::Accepted
    );
    assert_eq!(calls(&server), 1);
    let only_jwt = JwtVerifier::new(&server.authorization_server(), AUDIENCE).unwrap();
    let outcome = present(&api_of(only_jwt), &good(&server).opaque())
        .await
        .outcome();
    assert_eq!(outcome, refused(VerifyErrorKind::Malformed));
    assert_eq!(calls(&server), 1);
}

#[tokio::test]
async fn the_endpoint_is_that_of_the_metadata_or_one_given_by_hand() {
    let server = server();
    let token = good(&server).opaque();
    let by_hand = verifier(&server)
        .with_endpoint("https://id.example.test/introspect")
        .unwrap();
    assert_eq!(
        present(&api_of(by_hand), &token).await.outcome(),
        Outcome::Accepted
    );
    assert_eq!(server.count(Endpoint::Metadata), 0);

    let issuer = "https://id.example.test";
    for (name, metadata, expect) in [
        ("none", Metadata::new(issuer), Outcome::Unavailable),
        (
            "given",
            Metadata::new(issuer).with_introspection_endpoint("https://id.example.test/introspect"),
            Outcome::Accepted,
        ),
    ] {
        let handle = server
            .authorization_server()
            .with_metadata(metadata)
            .unwrap();
        let layer = BearerLayer::introspect(&handle, client(), AUDIENCE).unwrap();
        assert_eq!(
            present(&api(layer), &token).await.outcome(),
            expect,
            "{name}"
        );
    }

    // J20: no request leaves for an endpoint that is not https.
    server.forget_requests();
    server.fail(
        Endpoint::Metadata,
        Fault::member(
            "introspection_endpoint",
            "http://id.example.test/introspect",
        ),
    );
    let api = api_of(verifier(&server));
    assert_eq!(
        present(&api, &token).await.outcome(),
        Outcome::Unavailable,
        "J20"
    );
    assert_eq!(calls(&server), 0, "J20");
}

#[test]
fn what_cannot_work_is_refused_at_the_call_that_says_it() {
    let server = AuthorizationServer::new("https://id.example.test").unwrap();
    let new = |client, audience: Audience| IntrospectionVerifier::new(&server, client, audience);
    assert!(matches!(
        new(Client::public("api"), AUDIENCE.into()),
        Err(ConfigError::Setting {
            setting: "client",
            ..
        })
    ));
    assert!(matches!(
        new(Client::confidential("api", ""), AUDIENCE.into()),
        Err(ConfigError::Secret { .. })
    ));
    assert!(matches!(
        new(client(), "".into()),
        Err(ConfigError::Audience { .. })
    ));
    assert!(new(client(), Audience::Unchecked).is_ok());

    let verifier = new(client(), AUDIENCE.into()).unwrap();
    for url in [
        "http://id.example.test/introspect",
        "https://user:word@id.example.test/introspect",
        "https://id.example.test/introspect#a",
        "/introspect",
        "",
    ] {
        let refused = verifier.clone().with_endpoint(url);
        assert!(matches!(refused, Err(ConfigError::Url { .. })), "{url:?}");
    }
    let seconds = Duration::from_secs;
    assert!(verifier.clone().with_leeway(seconds(300)).is_ok());
    assert!(verifier.clone().with_leeway(seconds(301)).is_err());
    assert!(verifier.clone().with_cache_ttl(seconds(60)).is_ok());
    assert!(verifier.clone().with_cache_ttl(seconds(61)).is_err());
    assert!(verifier.clone().with_cache_ttl(Duration::MAX).is_err());
    assert!(
        verifier
            .clone()
            .with_insecure_cache_ttl(seconds(3600))
            .is_ok()
    );
    assert!(
        verifier
            .clone()
            .with_insecure_cache_ttl(seconds(3601))
            .is_err()
    );
    assert!(
        verifier
            .clone()
            .with_negative_cache_ttl(seconds(61))
            .is_err()
    );
    assert!(verifier.clone().with_concurrency(0).is_err());
    assert!(verifier.clone().with_concurrency(usize::MAX).is_err());
    assert!(verifier.clone().with_algorithms([]).is_err());
}

#[tokio::test]
async fn a_server_that_names_no_audience_gets_one_line_that_names_the_way_out() {
    let logs = Logs::default();
    let _recording = logs.record();
    let server = server();
    let api = api_of(verifier(&server));
    for _ in 0..2 {
        let token = good(&server).without_claim("aud").opaque();
        let outcome = present(&api, &token).await.outcome();
        assert_eq!(outcome, refused(VerifyErrorKind::Audience));
    }
    let text = logs.take();
    assert_eq!(
        text.matches("`Audience::Unchecked` would").count(),
        1,
        "{text}"
    );

    let layer = BearerLayer::introspect(
        &server.authorization_server(),
        client(),
        Audience::Unchecked,
    );
    let token = good(&server).without_claim("aud").opaque();
    let outcome = present(&support::api(layer.unwrap()), &token)
        .await
        .outcome();
    assert_eq!(outcome, Outcome::Accepted);
}
