//! The response to a rejected request: status, challenge, and no text of the request (RFC 6750 §3, RFC 9110 §11.6.1).

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HOST, RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use proptest::prelude::*;
use serde_json::json;
use tower::ServiceBuilder;
use tower::util::MapResponseLayer;
use tower_oauth::bearer::Refusal;
use tower_oauth::testing::{Endpoint, Fault, TestSigningKey};
use tower_oauth::token::TokenProfile;
use tower_oauth::{Algorithm, ScopeLayer, VerifiedToken};

use crate::support::api::{
    self, Outcome, api, ask, good, layer, present, present_at, server, verifier,
};
use crate::support::challenge::{Challenge, parse, parse_line};

/// Returns the field lines as sent.
fn lines(headers: &HeaderMap) -> Vec<&str> {
    headers
        .get_all(WWW_AUTHENTICATE)
        .iter()
        .map(|line| line.to_str().unwrap())
        .collect()
}

#[tokio::test]
async fn each_refusal_has_its_exact_challenge() {
    let server = server();
    let api = api(layer(&server).with_realm("notes of Alice").unwrap());
    let mint = || good(&server);
    let bound = || mint().with_raw_claim("cnf", "{}");
    let description = |sentence: &str| {
        format!(
            r#"Bearer realm="notes of Alice", error="invalid_token", error_description="{sentence}""#
        )
    };
    let cases = [
        ("expired", mint().with_expires_in(-99).sign(), 401, description("the access token has expired")),
        ("not valid yet", mint().with_claim("nbf", 1_900_000_000).sign(), 401, description("the access token is not valid yet")),
        ("audience", mint().with_audience("x").sign(), 401, description("the access token is for a different audience")),
        ("issuer", mint().with_issuer("https://x.test").sign(), 401, description("the access token was issued by a different issuer")),
        ("signature", mint().with_wrong_key().sign(), 401, description("the signature of the access token cannot be verified")),
        ("key", mint().with_key(&TestSigningKey::generate(Algorithm::Es256)).sign(), 401, description("the signature of the access token cannot be verified")),
        ("type", mint().with_header("typ", "JWT").sign(), 401, description("the token is not an access token")),
        ("ID token", mint().with_claim("token_use", "id").sign(), 401, description("the token is not an access token")),
        ("bound", bound().sign(), 401, description("proof of possession is missing")),
        ("malformed", "junk".to_owned(), 401, description("the access token is malformed or unsupported")),
        (
            "scope",
            mint().with_scope("write").sign(),
            403,
            r#"Bearer realm="notes of Alice", error="insufficient_scope", error_description="the access token lacks a required scope", scope="read""#.to_owned(),
        ),
        (
            "unreadable",
            "a b".to_owned(),
            400,
            r#"Bearer realm="notes of Alice", error="invalid_request", error_description="malformed or repeated credentials""#.to_owned(),
        ),
    ];
    for (name, token, status, expect) in cases {
        let answer = present_at(&api, "/read", &token).await;
        assert_eq!(answer.status, status, "{name}");
        assert_eq!(lines(&answer.headers), [expect], "{name}");
        assert_eq!(answer.body, "", "{name}");
        assert_eq!(answer.headers[CACHE_CONTROL], "no-store", "{name}");
        // Parsed by the grammar, it has the same parameters.
        let challenge = answer.challenge();
        assert_eq!(
            (challenge.scheme.as_str(), challenge.token68.as_deref()),
            ("Bearer", None)
        );
        assert_eq!(challenge.parameter("realm"), Some("notes of Alice"));
        let legal = |byte: u8| matches!(byte, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        assert!(
            challenge
                .parameters
                .iter()
                .all(|(_, value)| value.bytes().all(legal)),
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_token_that_cannot_be_validated_gets_no_challenge() {
    let server = server();
    server.fail(Endpoint::KeySet, Fault::status(500));
    let api = api(layer(&server));
    for path in ["/", "/read", "/maybe"] {
        let answer = present_at(&api, path, &good(&server).sign()).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(lines(&answer.headers).is_empty());
        assert_eq!(answer.headers[RETRY_AFTER], "1");
        assert_eq!(answer.headers[CACHE_CONTROL], "no-store");
    }
    // Text that is not a token, and a token of another issuer, are rejected without keys.
    for (token, status) in [("junk", 401), ("a b", 400)] {
        assert_eq!(present(&api, token).await.status, status);
    }
    let foreign = good(&server).with_issuer("https://x.test").sign();
    assert_eq!(present(&api, &foreign).await.status, 401);
}

#[tokio::test]
async fn the_response_contains_no_text_of_the_request() {
    let server = server();
    server.key(Algorithm::Rs256);
    let api = api(layer(&server));
    let markers = [
        "evil\"marker",
        "evil\\marker",
        "evil\r\nSet-Cookie: marker=1",
        "evil\u{1f600}marker",
        "evil\u{0}marker",
        "evil, Basic realm=\"marker\"",
    ];
    for marker in markers {
        let mint = || good(&server);
        for token in [
            mint().with_issuer(marker).sign(),
            mint().with_audience(marker).sign(),
            mint().with_subject(marker).with_audience(marker).sign(),
            mint().with_scope(marker).sign(),
            mint().with_header("kid", marker).sign(),
            mint().with_header("typ", marker).sign(),
            mint().with_header("alg", marker).sign(),
            mint().with_header("crit", json!([marker])).sign(),
            mint().with_claim("error", marker).with_wrong_key().sign(),
            mint()
                .with_claim("client_id", marker)
                .with_claim("exp", marker)
                .sign(),
        ] {
            let request = Request::get("/read?evilmarker=evilmarker")
                .header(AUTHORIZATION, format!("Bearer {token}"))
                .header(HOST, "evilmarker.example.test")
                .header("x-forwarded-host", "evilmarker.example.test")
                .header("origin", "https://evilmarker.example.test");
            let answer = ask(&api, request.body(Body::empty()).unwrap()).await;
            assert!([401, 403].contains(&answer.status.as_u16()), "{marker:?}");
            assert_eq!(answer.challenges().len(), 1, "{marker:?}");
            let text = format!("{:?}{}", answer.headers, answer.body);
            assert!(
                !text.contains("evil") && !text.contains("marker"),
                "{marker:?}: {text}"
            );
        }
    }
}

#[tokio::test]
async fn the_challenge_does_not_depend_on_the_url_or_the_host_of_the_request() {
    let server = server();
    let api = api(layer(&server));
    let mut seen = Vec::new();
    for (uri, host) in [
        ("/", "api.example.test"),
        ("/?realm=x", "evil.example.test"),
        ("https://evil.example.test/", "evil.example.test:8443"),
        ("/%22%0d%0a", "[::1]"),
    ] {
        let request = Request::get(uri)
            .header(HOST, host)
            .header("forwarded", "host=evil.test")
            .header("x-forwarded-proto", "http");
        let answer = ask(&api, request.body(Body::empty()).unwrap()).await;
        if answer.status != StatusCode::NOT_FOUND {
            seen.push(lines(&answer.headers).join("\n"));
        }
    }
    assert!(
        seen.len() >= 3 && seen.iter().all(|one| one == r#"Bearer realm="api""#),
        "{seen:?}"
    );
}

#[tokio::test]
async fn challenges_of_other_layers_and_handlers_are_kept() {
    let server = server();
    let refuse_otherwise = || async {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        response
            .headers_mut()
            .append(WWW_AUTHENTICATE, HeaderValue::from_static("Negotiate"));
        response
    };
    let outside = MapResponseLayer::new(|mut response: Response<_>| {
        let other = HeaderValue::from_static(r#"Basic realm="old""#);
        response.headers_mut().append(WWW_AUTHENTICATE, other);
        response
    });
    let inner = Router::new()
        .route("/", get(refuse_otherwise))
        .layer(ServiceBuilder::new().layer(outside).layer(layer(&server)));
    // The challenge of a handler is kept by both layers.
    let answer = present(&inner, &good(&server).sign()).await;
    assert_eq!(
        lines(&answer.headers),
        ["Negotiate", r#"Basic realm="old""#]
    );
    // Both challenges are sent if an outer layer adds one.
    let answer = ask(&inner, Request::get("/").body(Body::empty()).unwrap()).await;
    assert_eq!(
        lines(&answer.headers),
        [r#"Bearer realm="api""#, r#"Basic realm="old""#]
    );
    let schemes: Vec<String> = answer
        .challenges()
        .into_iter()
        .map(|one| one.scheme)
        .collect();
    assert_eq!(schemes, ["Bearer", "Basic"]);
}

#[tokio::test]
async fn only_responses_to_verified_tokens_are_private_and_only_if_enabled() {
    let server = server();
    let own = async || ([(CACHE_CONTROL, "public, max-age=60")], "own");
    let with = |layer| {
        Router::new()
            .route("/", get(async || "plain"))
            .route("/own", get(own))
            .layer(layer)
    };
    let private = with(layer(&server).with_private_responses().optional());
    let plain = with(layer(&server));
    let token = good(&server).sign();
    let control = |answer: api::Answer| {
        answer
            .headers
            .get(CACHE_CONTROL)
            .map(|value| value.to_str().unwrap().to_owned())
    };
    // The first request waits for keys, the second does not.
    for _ in 0..2 {
        assert_eq!(
            control(present(&private, &token).await).as_deref(),
            Some("private")
        );
    }
    assert_eq!(
        control(present_at(&private, "/own", &token).await).as_deref(),
        Some("public, max-age=60")
    );
    assert_eq!(control(present(&plain, &token).await), None);
    let anonymous = Request::get("/").body(Body::empty()).unwrap();
    assert_eq!(control(ask(&private, anonymous).await), None);
}

#[tokio::test]
async fn the_scope_of_the_challenge_is_the_alternative_with_the_fewest_missing_scopes() {
    let server = server();
    let handler = async |_: VerifiedToken| "in";
    let route = |layer: ScopeLayer| get(handler).layer(layer);
    let api = Router::new()
        .route("/all", route(ScopeLayer::all("a b").unwrap()))
        .route("/any", route(ScopeLayer::any("a b").unwrap()))
        .route(
            "/either",
            route(ScopeLayer::any_of_all(["a b", "c d e"]).unwrap()),
        )
        .route(
            "/both",
            get(handler).layer(
                ServiceBuilder::new()
                    .layer(ScopeLayer::any("b c").unwrap())
                    .layer(ScopeLayer::all("a").unwrap()),
            ),
        )
        .layer(layer(&server));
    for (path, granted, needed) in [
        ("/all", "a b", None),
        ("/all", "b x a", None),
        ("/all", "a", Some("a b")),
        ("/all", "", Some("a b")),
        ("/any", "b", None),
        ("/any", "a", None),
        ("/any", "c", Some("a")),
        ("/either", "a b", None),
        ("/either", "e d c", None),
        ("/either", "c d", Some("c d e")),
        ("/either", "a c d", Some("a b")),
        ("/either", "x", Some("a b")),
        ("/both", "a b", None),
        ("/both", "a", Some("b")),
        ("/both", "b", Some("a")),
    ] {
        let answer = present_at(&api, path, &good(&server).with_scope(granted).sign()).await;
        let scope = answer
            .challenges()
            .first()
            .map(|one| one.parameter("scope").unwrap().to_owned());
        assert_eq!(scope.as_deref(), needed, "{path} {granted}");
        let expect = needed.map_or(Outcome::Accepted, |_| Outcome::InsufficientScope);
        assert_eq!(answer.outcome(), expect, "{path} {granted}");
        if let Some(needed) = needed {
            let Some(Refusal::InsufficientScope {
                required: known, ..
            }) = answer.refusal
            else {
                panic!("{path} {granted}");
            };
            assert_eq!(known, needed);
        }
    }
}

#[tokio::test]
async fn a_realm_and_a_scope_of_every_legal_character_are_parsed_back_unchanged() {
    let legal: String = (0x20..=0x7e_u8)
        .map(char::from)
        .filter(|one| !"\"\\".contains(*one))
        .collect();
    let scope = legal.replace(' ', "");
    let server = server();
    let api = Router::new()
        .route(
            "/",
            get(async || "in").layer(ScopeLayer::all(&scope).unwrap()),
        )
        .layer(layer(&server).with_realm(&legal).unwrap());
    let challenge = present(&api, &good(&server).sign()).await.challenge();
    assert_eq!(challenge.parameter("realm"), Some(legal.as_str()));
    assert_eq!(challenge.parameter("scope"), Some(scope.as_str()));
    let granted = good(&server).with_scope(&scope).sign();
    assert_eq!(present(&api, &granted).await.outcome(), Outcome::Accepted);
}

#[tokio::test]
async fn a_grpc_caller_gets_a_grpc_status() {
    let server = server();
    let plain = api(layer(&server));
    let api = api(layer(&server).with_grpc());
    let call = |kind: &'static str, token: Option<String>| {
        let mut request = Request::post("/read").header(CONTENT_TYPE, kind);
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        request.body(Body::empty()).unwrap()
    };
    for (sent, kind) in [
        ("application/grpc", "application/grpc"),
        ("application/grpc+proto", "application/grpc"),
        ("Application/GRPC; charset=x", "application/grpc"),
        ("application/grpc-web", "application/grpc-web"),
        ("application/grpc-web+proto", "application/grpc-web"),
        (
            "application/grpc-web-text+proto",
            "application/grpc-web-text",
        ),
    ] {
        let answer = ask(&api, call(sent, None)).await;
        assert_eq!(answer.status, 200, "{sent}");
        assert_eq!(answer.headers[CONTENT_TYPE], kind, "{sent}");
        assert_eq!(answer.headers["grpc-status"], "16", "{sent}");
        assert_eq!(lines(&answer.headers), [r#"Bearer realm="api""#], "{sent}");
        // A cache could store it: it is a 200 with an empty body.
        assert_eq!(answer.headers[CACHE_CONTROL], "no-store", "{sent}");

        // Without `with_grpc` the layer sends the same fields, and keeps the HTTP status.
        let answer = ask(&plain, call(sent, None)).await;
        assert_eq!(answer.status, 401, "{sent}");
        assert_eq!(answer.headers[CONTENT_TYPE], kind, "{sent}");
        assert_eq!(answer.headers["grpc-status"], "16", "{sent}");
    }
    for kind in [
        "application/json",
        "application/grpcx",
        "application/grp",
        "text/application/grpc",
        "application/grpc-webx",
        "",
    ] {
        assert_eq!(ask(&api, call(kind, None)).await.status, 401, "{kind}");
    }
    let refused = ask(&api, call("application/grpc", Some("a b".to_owned()))).await;
    assert_eq!(refused.headers["grpc-status"], "16");
    let down = api::server();
    down.fail(Endpoint::Metadata, Fault::disconnect());
    let down_api = api::api(layer(&down));
    let answer = ask(
        &down_api,
        call("application/grpc", Some(good(&down).sign())),
    )
    .await;
    assert_eq!(
        (
            answer.headers["grpc-status"].as_bytes(),
            answer.headers[RETRY_AFTER].as_bytes()
        ),
        (&b"14"[..], &b"1"[..])
    );
    let bare = Router::new().route("/read", axum::routing::post(async |_: VerifiedToken| "in"));
    let answer = ask(&bare, call("application/grpc", None)).await;
    assert_eq!(answer.headers["grpc-status"], "13");
}

#[tokio::test]
async fn every_token_profile_sends_the_same_response() {
    let server = server();
    for profile in [
        TokenProfile::Rfc9068,
        TokenProfile::Rfc9068Full,
        TokenProfile::Generic,
        TokenProfile::Keycloak,
    ] {
        let api = api(verifier(&server).with_profile(profile));
        for token in [
            good(&server).with_header("typ", "x").sign(),
            good(&server).with_broken_signature().sign(),
            "..".to_owned(),
        ] {
            assert!(
                matches!(
                    present(&api, &token).await.outcome(),
                    Outcome::InvalidToken(_)
                ),
                "{profile:?}"
            );
        }
    }
}

#[test]
fn the_challenge_parser_follows_the_grammar() {
    let bearer = |parameters: &[(&str, &str)]| Challenge {
        scheme: "Bearer".to_owned(),
        token68: None,
        parameters: parameters
            .iter()
            .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
            .collect(),
    };
    let read = |line| parse_line(line).unwrap();
    let quoted = read(r#"Bearer realm="a, b=\"c\"" , error=x"#);
    assert_eq!(quoted, [bearer(&[("realm", "a, b=\"c\""), ("error", "x")])]);
    assert_eq!(read("Bearer"), [bearer(&[])]);
    let three = read(r#"Basic realm="x", Bearer realm=y, Negotiate YWJj=="#);
    assert_eq!(three[1], bearer(&[("realm", "y")]));
    assert_eq!(three[2].token68.as_deref(), Some("YWJj=="));
    for bad in [
        r#"Bearer realm="a"#,
        r#"Bearer realm="a" error="b""#,
        "Bearer a=1, a=2",
        "a=1",
        r#"Bearer "x""#,
    ] {
        assert!(parse_line(bad).is_err(), "{bad}");
    }
    assert_eq!(parse(&HeaderMap::new()), Ok(Vec::new()));
    proptest!(|(line in ".{0,60}")| {
        let _ = parse_line(&line);
    });
}
