//! Introspection of opaque access tokens (RFC 7662, RFC 9701): requests, responses and failures.

mod cache;
mod saturation;

use std::time::{Duration, UNIX_EPOCH};

use axum::Router;
use axum::routing::get;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Method};
use serde_json::json;
use tower_oauth::protocol::Metadata;
use tower_oauth::testing::{Endpoint, Fault, TestClient, TestServer, TokenMint};
use tower_oauth::token::{
    Audience, IntrospectionVerifier, JwtVerifier, TokenProfile, Verifier, VerifyErrorKind,
};
use tower_oauth::{
    Algorithm, AuthorizationServer, BearerLayer, Client, ConfigError, VerifiedToken,
};

use crate::support::api::{self, AUDIENCE, Outcome, api, good, present, present_at};
use crate::support::logs::Logs;

const SECRET: &str = "api secret: %&";

fn server() -> TestServer {
    api::server().add_client(TestClient::confidential("api", SECRET))
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

fn introspections(server: &TestServer) -> usize {
    server.count(Endpoint::Introspection)
}

const fn rejected(kind: VerifyErrorKind) -> Outcome {
    Outcome::InvalidToken(kind)
}

#[tokio::test]
async fn an_active_token_is_accepted_with_the_claims_of_the_response() {
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
            token
                .expires_at()
                .map(|at| at.duration_since(UNIX_EPOCH).unwrap().as_secs()),
            token.scopes(),
        )
    });
    let api = Router::new().route("/", whoami).layer(layer);
    let token = good(&server)
        .with_scope("read write")
        .with_claim("username", "alice@example.test")
        .with_claim("exp", 1_800_000_300)
        // Without `iss` the issuer is the server that introspected the token.
        .without_claim("iss")
        .opaque();
    let response = present(&api, &token).await;
    assert_eq!(
        response.body,
        "Some(\"alice\") Some(\"test-client\") https://id.example.test Some(1800000300) read write \
         Some(String(\"alice@example.test\"))"
    );
    assert_eq!(introspections(&server), 1);
    assert_eq!(
        present(&api, "not-a-token-of-this-server").await.outcome(),
        rejected(VerifyErrorKind::Inactive)
    );
}

#[tokio::test]
async fn the_request_is_a_form_with_the_token_and_the_client_credentials() {
    let post = Client::confidential_post("api", SECRET);
    for (name, client, header, secret) in [
        (
            "client_secret_basic",
            client(),
            Some("Basic YXBpOmFwaStzZWNyZXQlM0ErJTI1JTI2"),
            None,
        ),
        ("client_secret_post", post, None, Some(SECRET)),
    ] {
        let server = server();
        let verifier =
            IntrospectionVerifier::new(&server.authorization_server(), client, AUDIENCE).unwrap();
        let token = format!("{}==", good(&server).opaque());
        good(&server).register(&token);
        let outcome = present(&api_of(verifier), &token).await.outcome();
        assert_eq!(outcome, Outcome::Accepted, "{name}");

        let requests = server.requests();
        let request_count = requests
            .iter()
            .find(|one| one.endpoint() == Endpoint::Introspection)
            .unwrap();
        assert_eq!(request_count.method(), Method::POST, "{name}");
        assert_eq!(
            request_count.uri().query(),
            None,
            "{name}: logs keep queries"
        );
        assert!(!request_count.uri().to_string().contains(&token), "{name}");
        assert_eq!(
            request_count.header("content-type"),
            Some("application/x-www-form-urlencoded"),
            "{name}"
        );
        assert_eq!(
            request_count.header("accept"),
            Some("application/json"),
            "{name}"
        );
        assert_eq!(request_count.header("authorization"), header, "{name}");
        let mut expected = vec![
            ("token".to_owned(), token.clone()),
            ("token_type_hint".to_owned(), "access_token".to_owned()),
        ];
        // Only in one place: servers reject a request that authenticates twice.
        expected.extend(secret.iter().flat_map(|secret| {
            let pairs = [("client_id", "api"), ("client_secret", *secret)];
            pairs.map(|(name, value)| (name.to_owned(), value.to_owned()))
        }));
        assert_eq!(request_count.parameters(), expected, "{name}");
    }
}

#[tokio::test]
async fn a_malformed_token_is_not_introspected() {
    let server = server();
    let api = api_of(verifier(&server));
    let longest = "t".repeat(16 * 1024);
    let token = format!("{longest}t");
    assert_eq!(
        present(&api, &token).await.outcome(),
        rejected(VerifyErrorKind::TooLong)
    );
    for token in ["a%41", "a b", "a\"b", "", "=", "a=b"] {
        let outcome = present(&api, token).await.outcome();
        assert_eq!(outcome, Outcome::InvalidRequest, "{token:?}");
    }
    assert_eq!(introspections(&server), 0);

    // A token of the maximum length is introspected unchanged: a truncated token would be another token.
    good(&server).register(&longest);
    assert_eq!(present(&api, &longest).await.outcome(), Outcome::Accepted);
    let request_count = server.requests().pop().unwrap();
    assert_eq!(request_count.parameter("token"), Some(longest));
}

type Alter = fn(TokenMint) -> TokenMint;

#[tokio::test]
async fn responses_are_validated_strictly() {
    use VerifyErrorKind::{Audience, Bound, Expired, Inactive, Issuer, NotAnAccessToken};
    const NOW: i64 = 1_800_000_000;
    let cases: [(&str, Alter, Outcome); 49] = [
        ("good", |a| a, Outcome::Accepted),
        (
            "\"true\"",
            |a| a.with_claim("active", "true"),
            Outcome::Unavailable,
        ),
        ("1", |a| a.with_claim("active", 1), Outcome::Unavailable),
        (
            "null",
            |a| a.with_raw_claim("active", "null"),
            Outcome::Unavailable,
        ),
        (
            "[true]",
            |a| a.with_raw_claim("active", "[true]"),
            Outcome::Unavailable,
        ),
        (
            "no active",
            |a| a.without_claim("active"),
            Outcome::Unavailable,
        ),
        ("{}", |a| a.with_payload_bytes("{}"), Outcome::Unavailable),
        (
            "inactive with a scope",
            |a| a.with_claim("active", false).with_scope("admin read"),
            rejected(Inactive),
        ),
        (
            "inactive with invalid members",
            |a| {
                a.with_claim("active", false)
                    .with_claim("exp", "x")
                    .with_claim("aud", 7)
            },
            rejected(Inactive),
        ),
        (
            "exp past",
            |a| a.with_claim("exp", NOW - 31),
            rejected(Expired),
        ),
        (
            "exp past by less than the leeway",
            |a| a.with_claim("exp", NOW - 29),
            Outcome::Accepted,
        ),
        (
            "exp at the leeway",
            |a| a.with_claim("exp", NOW - 30),
            rejected(Expired),
        ),
        ("no exp", |a| a.without_claim("exp"), Outcome::Accepted),
        (
            "exp string",
            |a| a.with_claim("exp", "1900000000"),
            Outcome::Unavailable,
        ),
        (
            "exp 1e400",
            |a| a.with_raw_claim("exp", "1e400"),
            Outcome::Unavailable,
        ),
        (
            "exp negative",
            |a| a.with_claim("exp", -1),
            Outcome::Unavailable,
        ),
        (
            "active twice",
            |a| a.add_raw_claim("active", "false"),
            Outcome::Unavailable,
        ),
        (
            "scope twice",
            |a| {
                a.add_raw_claim("scope", "\"a\"")
                    .add_raw_claim("scope", "\"b\"")
            },
            Outcome::Unavailable,
        ),
        (
            "by escape",
            |a| a.add_raw_claim("x", r#"{"sub":1,"s\u0075b":2}"#),
            Outcome::Unavailable,
        ),
        (
            "aud other",
            |a| a.with_audience("https://other.example.test"),
            rejected(Audience),
        ),
        (
            "aud others",
            |a| a.with_audience(json!(["a", "b"])),
            rejected(Audience),
        ),
        (
            "aud with a trailing slash",
            |a| a.with_audience("https://api.example.test/"),
            Outcome::Accepted,
        ),
        (
            "aud among others",
            |a| a.with_audience(json!(["a", AUDIENCE])),
            Outcome::Accepted,
        ),
        (
            "aud missing",
            |a| a.without_claim("aud"),
            rejected(Audience),
        ),
        (
            "aud empty",
            |a| a.with_audience(json!([])),
            rejected(Audience),
        ),
        (
            "aud not a string",
            |a| a.with_audience(json!([AUDIENCE, 7])),
            Outcome::Unavailable,
        ),
        (
            "iss other",
            |a| a.with_issuer("https://id.example.test/"),
            rejected(Issuer),
        ),
        (
            "iss a list",
            |a| a.with_claim("iss", json!(["https://id.example.test"])),
            Outcome::Unavailable,
        ),
        (
            "nbf ahead",
            |a| a.with_claim("nbf", NOW + 31),
            rejected(VerifyErrorKind::NotYetValid),
        ),
        (
            "nbf ahead within the leeway",
            |a| a.with_claim("nbf", NOW + 30),
            Outcome::Accepted,
        ),
        (
            "token_type in another case",
            |a| a.with_claim("token_type", "bearer"),
            Outcome::Accepted,
        ),
        (
            "no token_type",
            |a| a.without_claim("token_type"),
            Outcome::Accepted,
        ),
        (
            "token_type access_token",
            |a| a.with_claim("token_type", "access_token"),
            Outcome::Accepted,
        ),
        (
            "token_type by URN",
            |a| {
                let urn = "urn:ietf:params:oauth:token-type:access_token";
                a.with_claim("token_type", urn)
            },
            Outcome::Accepted,
        ),
        (
            "token_type at+jwt",
            |a| a.with_claim("token_type", "at+JWT"),
            Outcome::Accepted,
        ),
        (
            "token_type pop",
            |a| a.with_claim("token_type", "pop"),
            rejected(NotAnAccessToken),
        ),
        (
            "token_type access_token, with a proof key",
            |a| {
                let cnf = format!(r#"{{"jkt":"{}"}}"#, "A".repeat(43));
                a.with_claim("token_type", "access_token")
                    .with_raw_claim("cnf", &cnf)
            },
            rejected(Bound),
        ),
        (
            "unknown token_type",
            |a| a.with_claim("token_type", "N_A"),
            rejected(NotAnAccessToken),
        ),
        (
            "token_type not a string",
            |a| a.with_claim("token_type", 1),
            Outcome::Unavailable,
        ),
        (
            "a refresh token that is active",
            |a| a.with_claim("typ", "Refresh"),
            rejected(NotAnAccessToken),
        ),
        (
            "a refresh token by token_use",
            |a| a.with_claim("token_use", "refresh_token"),
            rejected(NotAnAccessToken),
        ),
        (
            "an ID token that is active",
            |a| a.with_claim("at_hash", "x"),
            rejected(NotAnAccessToken),
        ),
        (
            "cnf.jkt of type Bearer",
            |a| {
                a.with_claim("cnf", json!({ "jkt": "A".repeat(43) }))
                    .with_claim("token_type", "Bearer")
            },
            rejected(Bound),
        ),
        (
            "type DPoP without cnf.jkt",
            |a| a.with_claim("token_type", "DPoP"),
            rejected(Bound),
        ),
        (
            "Keycloak's typ DPoP without cnf.jkt",
            |a| {
                a.with_claim("typ", "DPoP")
                    .with_claim("cnf", json!({ "x5t#S256": "A".repeat(43) }))
            },
            rejected(Bound),
        ),
        (
            "events that are null",
            |a| a.with_claim("events", json!(null)),
            rejected(NotAnAccessToken),
        ),
        (
            "cnf with an unknown member only",
            |a| a.with_claim("cnf", json!({ "kc-jkt-type": "DPoP" })),
            rejected(Bound),
        ),
        (
            "unsupported cnf",
            |a| a.with_claim("cnf", json!({ "kid": "a" })),
            rejected(Bound),
        ),
        (
            "cnf not an object",
            |a| a.with_claim("cnf", "A"),
            rejected(Bound),
        ),
    ];
    let server = server();
    let mut wrong = Vec::new();
    for (name, alter, expect) in cases {
        // Each case has a new verifier, so that earlier failures do not count.
        let api = api_of(verifier(&server));
        server.fail_once(Endpoint::Introspection, Fault::introspection(alter));
        let outcome = present(&api, &good(&server).opaque()).await.outcome();
        if outcome != expect {
            wrong.push(format!("{name}: {outcome:?} instead of {expect:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(introspections(&server), cases.len());
}

#[tokio::test]
async fn a_scope_that_is_a_list_grants_nothing_without_a_scope_mapping() {
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
        ("list", &list, &plain, Outcome::InsufficientScope),
        ("list, mapped", &list, &mapped, Outcome::Accepted),
        ("elsewhere", &elsewhere, &plain, Outcome::InsufficientScope),
        ("elsewhere, mapped", &elsewhere, &mapped, Outcome::Accepted),
    ] {
        let api = api_of(verifier.clone());
        let response = present_at(&api, "/read", &token.opaque()).await;
        assert_eq!(response.outcome(), expect, "{name}");
    }
    assert!(plain.with_scopes_from([""]).is_err());
}

#[tokio::test]
async fn a_failure_is_503_and_is_not_cached() {
    let json = |text: String| Fault::body("application/json", text);
    let of_type =
        |value: &'static str| Fault::header(CONTENT_TYPE, HeaderValue::from_static(value));
    let long = format!(r#"{{"active":true,"x":"{}"}}"#, "x".repeat(256 * 1024));
    for (name, fault) in [
        ("403", Fault::status(403)),
        ("500", Fault::status(500)),
        ("502", Fault::status(502)),
        ("503", Fault::status(503)),
        ("429", Fault::status(429)),
        ("400", Fault::status(400)),
        ("404", Fault::status(404)),
        ("204", Fault::status(204)),
        ("redirect", Fault::status(302)),
        ("connection cut", Fault::disconnect()),
        ("response lost", Fault::lose_response()),
        ("type", of_type("text/html")),
        ("no type", Fault::without_header(CONTENT_TYPE)),
        (
            "media type of a signed response",
            of_type("application/token-introspection+jwt"),
        ),
        ("256 KiB", json(long)),
        ("1 MiB", json("x".repeat(1 << 21))),
        ("not JSON", json("<html>".to_owned())),
        ("a list", json("[true]".to_owned())),
        ("truncated", json(r#"{"active":tr"#.to_owned())),
        ("trailing data", json(r#"{"active":true}{}"#.to_owned())),
        (
            "nested",
            json(format!(r#"{{"active":true,"x":{}"#, "[".repeat(100_000))),
        ),
        (
            "not UTF-8",
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
        let response = present(&api, &token).await;
        assert_eq!(response.outcome(), Outcome::Unavailable, "{name}");
        assert_eq!(
            present(&api, &token).await.outcome(),
            Outcome::Accepted,
            "{name}"
        );
        assert_eq!(introspections(&server), 2, "{name}");
    }
}

#[tokio::test]
async fn the_retry_after_of_the_server_is_passed_on() {
    let server = server();
    let api = api_of(verifier(&server));
    let slow_down = HeaderValue::from_static("7");
    server.fail(Endpoint::Introspection, Fault::status(429));
    server.fail(
        Endpoint::Introspection,
        Fault::header(RETRY_AFTER, slow_down),
    );
    // Only for the failed tokens: other tokens are introspected as before.
    for request_count in 1..=6 {
        let response = present(&api, &good(&server).opaque()).await;
        assert_eq!(response.outcome(), Outcome::Unavailable);
        assert_eq!(response.headers[RETRY_AFTER], "7");
        assert_eq!(introspections(&server), request_count);
    }
    server.clear_faults(Endpoint::Introspection);
    let outcome = present(&api, &good(&server).opaque()).await.outcome();
    assert_eq!(outcome, Outcome::Accepted);
}

#[tokio::test]
async fn rejected_client_credentials_are_logged_as_an_error_and_are_500() {
    let logs = Logs::default();
    let _recording = logs.record();
    let server = server();
    let wrong = Client::confidential("api", "hush-hush-wrong");
    let layer = BearerLayer::introspect(&server.authorization_server(), wrong, AUDIENCE).unwrap();
    let (api, token) = (api(layer), good(&server).opaque());
    for _ in 0..3 {
        let outcome = present(&api, &token).await.outcome();
        assert_eq!(outcome, Outcome::Misconfigured);
    }
    // The error is logged also after a failure of another kind.
    let layer = BearerLayer::introspect(
        &server.authorization_server(),
        Client::confidential("api", "hush-hush-wrong"),
        AUDIENCE,
    );
    let again = api::api(layer.unwrap());
    let first = logs.take();
    server.fail_once(Endpoint::Introspection, Fault::status(500));
    for _ in 0..3 {
        present(&again, &token).await;
    }
    assert_eq!(logs.text().matches("ERROR").count(), 1, "{}", logs.text());
    let text = first;
    assert_eq!(text.matches("ERROR").count(), 1, "{text}");
    assert!(text.contains("rejected the client credentials"), "{text}");
    assert!(!text.contains(&token) && !text.contains("hush"), "{text}");
}

#[tokio::test]
async fn logs_and_debug_output_contain_no_token_secret_or_user() {
    let logs = Logs::default();
    let _recording = logs.record();
    let server = server();
    let verifier = verifier(&server);
    let api = api_of(verifier.clone());
    let user = "alice-in-private";
    let good = good(&server).with_subject(user).opaque();
    assert_eq!(present(&api, &good).await.outcome(), Outcome::Accepted);
    let unknown = "some-unknown-token";
    assert_eq!(
        present(&api, unknown).await.outcome(),
        rejected(VerifyErrorKind::Inactive)
    );
    server.fail_once(Endpoint::Introspection, Fault::body("text/html", user));
    present(&api, "another-token").await;
    let shown = format!("{verifier:?} {:?} {}", verifier.health(), logs.text());
    for secret in [
        good.as_str(),
        unknown,
        "another-token",
        SECRET,
        user,
        "YXBpO",
    ] {
        assert!(!shown.contains(secret), "{secret}: {shown}");
    }
}

fn signed_api(server: &TestServer) -> Router {
    api_of(verifier(server).with_signed_responses())
}

#[tokio::test]
async fn a_signed_response_is_requested_and_accepted() {
    let server = server();
    let api = signed_api(&server);
    // A number that a float cannot represent, and one that an integer cannot.
    let token = good(&server)
        .with_scope("read")
        .with_claim("big", 9_007_199_254_740_993_i64)
        .with_raw_claim("exp", "1800000300.5")
        .opaque();
    assert_eq!(
        present_at(&api, "/read", &token).await.outcome(),
        Outcome::Accepted
    );
    let request_count = server
        .requests()
        .into_iter()
        .find(|one| one.endpoint() == Endpoint::Introspection)
        .unwrap();
    assert_eq!(
        request_count.header("accept"),
        Some("application/token-introspection+jwt")
    );
    assert_eq!(
        present(&api, "unknown").await.outcome(),
        rejected(VerifyErrorKind::Inactive)
    );
    assert_eq!(server.count(Endpoint::KeySet), 1);
}

/// RFC 9701 §5: `aud` is the resource server, by its client id or its identifier. Without a configured audience only the
/// client id says so.
#[tokio::test]
async fn a_signed_response_is_for_this_client_or_the_configured_audience() {
    let server = server();
    for (audience, sent, expect) in [
        (AUDIENCE.into(), AUDIENCE, Outcome::Accepted),
        (AUDIENCE.into(), "api", Outcome::Accepted),
        (["x", AUDIENCE].into(), AUDIENCE, Outcome::Accepted),
        ("x".into(), AUDIENCE, Outcome::Unavailable),
        (Audience::Unchecked, AUDIENCE, Outcome::Unavailable),
        (Audience::Unchecked, "api", Outcome::Accepted),
    ] {
        let name = format!("{audience:?} {sent}");
        let verifier =
            IntrospectionVerifier::new(&server.authorization_server(), client(), audience);
        let api = api_of(verifier.unwrap().with_signed_responses());
        let fault = Fault::signed_introspection(move |mint| mint.with_audience(sent));
        server.fail_once(Endpoint::Introspection, fault);
        let token = good(&server).with_audience(json!(["x", AUDIENCE])).opaque();
        assert_eq!(present(&api, &token).await.outcome(), expect, "{name}");
    }
}

#[tokio::test]
async fn an_invalid_signed_response_is_503() {
    const NOW: i64 = 1_800_000_000;
    let cases: [(&str, Alter); 21] = [
        ("bad signature", |a| a.with_broken_signature()),
        ("foreign key", |a| a.with_wrong_key()),
        ("none", |a| a.without_signature()),
        ("HMAC", |a| a.with_hmac(b"api secret: %&".to_vec())),
        ("aud other", |a| a.with_audience("another-api")),
        ("aud missing", |a| a.without_claim("aud")),
        ("typ JWT", |a| a.with_header("typ", "JWT")),
        ("typ at+jwt", |a| a.with_header("typ", "at+jwt")),
        ("typ missing", |a| a.without_header("typ")),
        ("iss other", |a| a.with_issuer("https://other.example.test")),
        ("iss missing", |a| a.without_claim("iss")),
        ("iat missing", |a| a.without_claim("iat")),
        ("iat a string", |a| a.with_claim("iat", "1800000000")),
        ("iat old", |a| a.with_claim("iat", NOW - 91)),
        ("iat ahead", |a| a.with_claim("iat", NOW + 31)),
        ("no token_introspection", |a| {
            a.without_claim("token_introspection")
        }),
        ("token_introspection a string", |a| {
            a.with_claim("token_introspection", "{\"active\":true}")
        }),
        ("token_introspection empty", |a| {
            a.with_raw_claim("token_introspection", "{}")
        }),
        ("active outside of token_introspection", |a| {
            a.without_claim("token_introspection")
                .with_claim("active", true)
                .with_claim("sub", "a")
        }),
        ("twice", |a| {
            a.add_raw_claim("token_introspection", r#"{"active":true}"#)
        }),
        ("twice within", |a| {
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
            "{name}: not cached"
        );
    }

    // Times within the leeway.
    for iat in [NOW - 90, NOW + 30] {
        let api = signed_api(&server);
        let alter = Fault::signed_introspection(move |a| a.with_claim("iat", iat));
        server.fail_once(Endpoint::Introspection, alter);
        let outcome = present(&api, &good(&server).opaque()).await.outcome();
        assert_eq!(outcome, Outcome::Accepted, "{iat}");
    }
}

#[tokio::test]
async fn only_the_token_introspection_claim_of_a_signed_response_is_used() {
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
    assert_eq!(outcome, rejected(VerifyErrorKind::Inactive));
}

#[tokio::test]
async fn a_plain_response_is_rejected_as_a_downgrade_of_a_signed_one() {
    let server = server();
    let api = signed_api(&server);
    let plain = format!(r#"{{"active":true,"aud":"{AUDIENCE}"}}"#);
    for (name, content_type) in [
        ("plain JSON", "application/json"),
        (
            "plain JSON under the other name",
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
    // A signed response with the media type of a plain one.
    let json = HeaderValue::from_static("application/json");
    server.fail_once(Endpoint::Introspection, Fault::header(CONTENT_TYPE, json));
    let outcome = present(&api, &good(&server).opaque()).await.outcome();
    assert_eq!(outcome, Outcome::Unavailable, "type");
}

#[tokio::test]
async fn a_signed_response_needs_an_allowed_algorithm() {
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
        "ES256"
    );
    server.fail_once(
        Endpoint::Introspection,
        Fault::signed_introspection(|a| a.with_algorithm(Algorithm::Rs256)),
    );
    assert_eq!(
        present(&api, &token).await.outcome(),
        Outcome::Accepted,
        "RS256"
    );
}

#[tokio::test]
async fn a_signed_response_is_not_accepted_as_an_access_token() {
    let server = server();
    let response = good(&server)
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
        let outcome = present(&api_of(verifier), &response).await.outcome();
        assert_eq!(outcome, rejected(VerifyErrorKind::Type), "{profile:?}");
    }
}

#[tokio::test]
async fn the_shape_of_a_token_selects_jwt_validation_or_introspection() {
    let server = server();
    let jwt = JwtVerifier::new(&server.authorization_server(), AUDIENCE).unwrap();
    let api = api_of(Verifier::jwt_or_opaque(jwt, verifier(&server)));
    let foreign = server
        .access_token()
        .with_audience(AUDIENCE)
        .with_wrong_key()
        .sign();
    let none = good(&server).without_signature().sign();
    let typ = good(&server).with_header("typ", "JWT").sign();
    let header = good(&server)
        .with_header_bytes(r#" {"alg":"ES256","alg":"none"}"#)
        .sign();
    let (opaque, with_dots) = (good(&server).opaque(), "a.b.c".to_owned());
    // {"alg":"dir","enc":"A128GCM"}
    let encrypted = "eyJhbGciOiJkaXIiLCJlbmMiOiJBMTI4R0NNIn0..a.b.c".to_owned();
    // All of them are active at the server, so the outcome shows which verifier validated them.
    for token in [&foreign, &none, &typ, &header, &with_dots, &encrypted] {
        good(&server).register(token);
    }
    for (name, token, expect, request_count) in [
        ("good JWT", good(&server).sign(), Outcome::Accepted, 0),
        (
            "foreign key",
            foreign,
            rejected(VerifyErrorKind::Signature),
            0,
        ),
        ("alg none", none, rejected(VerifyErrorKind::Algorithm), 0),
        ("type", typ, rejected(VerifyErrorKind::Type), 0),
        (
            "header not strict",
            header,
            rejected(VerifyErrorKind::Malformed),
            0,
        ),
        ("opaque", opaque, Outcome::Accepted, 1),
        ("opaque with dots", with_dots, Outcome::Accepted, 1),
        ("five segments", encrypted, Outcome::Accepted, 1),
        (
            "unknown opaque",
            "unknown".to_owned(),
            rejected(VerifyErrorKind::Inactive),
            1,
        ),
    ] {
        server.clear_requests();
        let outcome = present(&api, &token).await.outcome();
        assert_eq!(outcome, expect, "{name}");
        assert_eq!(introspections(&server), request_count, "{name}");
    }

    // Without the combination, a JWT can be introspected, and an opaque token is rejected by a JWT verifier.
    let server = self::server();
    let jwt = good(&server).sign();
    good(&server).register(&jwt);
    assert_eq!(
        present(&api_of(verifier(&server)), &jwt).await.outcome(),
        Outcome::Accepted
    );
    assert_eq!(introspections(&server), 1);
    let only_jwt = JwtVerifier::new(&server.authorization_server(), AUDIENCE).unwrap();
    let outcome = present(&api_of(only_jwt), &good(&server).opaque())
        .await
        .outcome();
    assert_eq!(outcome, rejected(VerifyErrorKind::Malformed));
    assert_eq!(introspections(&server), 1);
}

#[tokio::test]
async fn the_endpoint_comes_from_the_metadata_or_the_configuration() {
    let server = server();
    let token = good(&server).opaque();
    let configured = verifier(&server)
        .with_endpoint("https://id.example.test/introspect")
        .unwrap();
    assert_eq!(
        present(&api_of(configured), &token).await.outcome(),
        Outcome::Accepted
    );
    assert_eq!(server.count(Endpoint::Metadata), 0);

    let issuer = "https://id.example.test";
    for (name, metadata, expect) in [
        ("none", Metadata::new(issuer), Outcome::Misconfigured),
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

    // No request is sent to an endpoint that is not https.
    server.clear_requests();
    server.fail(
        Endpoint::Metadata,
        Fault::member(
            "introspection_endpoint",
            "http://id.example.test/introspect",
        ),
    );
    let api = api_of(verifier(&server));
    let outcome = present(&api, &token).await.outcome();
    assert_eq!(outcome, Outcome::Misconfigured);
    assert_eq!(introspections(&server), 0);
}

#[test]
fn invalid_settings_are_rejected_by_the_method_that_sets_them() {
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
        let result = verifier.clone().with_endpoint(url);
        assert!(matches!(result, Err(ConfigError::Url { .. })), "{url:?}");
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
async fn a_missing_audience_is_logged_once_with_the_possible_settings() {
    let logs = Logs::default();
    let _recording = logs.record();
    let server = server();
    let api = api_of(verifier(&server));
    for _ in 0..2 {
        let token = good(&server).without_claim("aud").opaque();
        let outcome = present(&api, &token).await.outcome();
        assert_eq!(outcome, rejected(VerifyErrorKind::Audience));
    }
    let text = logs.take();
    assert_eq!(
        text.matches("`Audience::Unchecked` if").count(),
        1,
        "{text}"
    );

    let layer = BearerLayer::introspect(
        &server.authorization_server(),
        client(),
        Audience::Unchecked,
    );
    let token = good(&server).without_claim("aud").opaque();
    let outcome = present(&api::api(layer.unwrap()), &token).await.outcome();
    assert_eq!(outcome, Outcome::Accepted);
}

/// Authorization servers parse JWTs leniently: some drop empty segments at the end, others ignore segments after the
/// third. To them these tokens are the rejected one.
#[tokio::test]
async fn additional_segments_do_not_make_a_rejected_jwt_opaque() {
    let server = server();
    let opaque = verifier(&server);
    let jwt = JwtVerifier::new(&server.authorization_server(), AUDIENCE).unwrap();
    let api = api(BearerLayer::new(Verifier::jwt_or_opaque(jwt, opaque)));
    let refused = good(&server).with_header("typ", "JWT").sign();
    for behind in ["", ".", "..", "...", ".x", ".x.y", ".x.y.z"] {
        let token = format!("{refused}{behind}");
        good(&server).register(&token);
        let outcome = present(&api, &token).await.outcome();
        assert!(
            matches!(outcome, Outcome::InvalidToken(_)),
            "{behind:?}: {outcome:?}"
        );
        assert_eq!(server.count(Endpoint::Introspection), 0, "{behind:?}");
    }
}

/// A firewall in front of the authorization server responds 403 to tokens that look like an attack.
#[tokio::test]
async fn tokens_blocked_by_a_firewall_do_not_open_the_circuit() {
    let server = server();
    let verifier = verifier(&server);
    let api = api(BearerLayer::new(verifier.clone()));
    server.fail_times(Endpoint::Introspection, 20, Fault::status(403));
    for junk in 0..20 {
        let outcome = present(&api, &format!("../../etc/passwd/{junk}")).await;
        assert_eq!(outcome.outcome(), Outcome::Unavailable);
    }
    assert!(verifier.health().is_ready());
    let token = good(&server).opaque();
    let outcome = present(&api, &token).await.outcome();
    assert_eq!(outcome, Outcome::Accepted);
}
