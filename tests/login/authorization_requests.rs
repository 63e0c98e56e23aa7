//! How authorization requests are sent: pushed (RFC 9126), signed (RFC 9101), or both.

use std::collections::BTreeMap;
use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};
use tower_oauth::login::{FlowErrorKind, PushedRequests, ResponseMode};
use tower_oauth::testing::{
    ClientAuthentication, Endpoint, Fault, Gate, RecordedRequest, TestClient, TestServer,
};
use tower_oauth::{Client, CookieKey, LoginLayer};

use crate::support::authorization_server::part;
use crate::support::keys::ed25519 as key;
use crate::support::logs::Logs;
use crate::support::shop::*;

fn signing_client() -> TestClient {
    client().add_request_key(key().public_jwk())
}

fn pushing_server() -> TestServer {
    server().with_pushed_requests()
}

fn shop_at(server: TestServer, configure: impl FnOnce(LoginLayer) -> LoginLayer) -> Shop {
    let app = app(&configure(login(&server)));
    Shop { server, app }
}

fn pushed(server: &TestServer) -> Vec<RecordedRequest> {
    let of_endpoint =
        |one: &RecordedRequest| one.endpoint() == Endpoint::PushedAuthorizationRequest;
    server.requests().into_iter().filter(of_endpoint).collect()
}

fn names(pairs: &[(String, String)]) -> Vec<&str> {
    let mut names: Vec<&str> = pairs.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    names
}

fn query_names(location: &str) -> Vec<String> {
    let url = url::Url::parse(location).unwrap();
    let mut names: Vec<String> = url
        .query_pairs()
        .map(|(name, _)| name.into_owned())
        .collect();
    names.sort_unstable();
    names
}

/// Decodes header and claims of a JWT.
fn decoded(jwt: &str) -> (Value, Value) {
    (part(jwt, 0), part(jwt, 1))
}

/// RFC 9126 §2.1, §4, FAPI 2.0 §5.3.3.2.
#[tokio::test]
async fn a_pushed_request_leaves_only_the_client_and_a_reference_in_the_url() {
    let shop = shop_at(pushing_server(), |login| {
        login
            .with_authorization_parameter("audience", "https://api.example.com")
            .unwrap()
    });
    let mut jar = Jar::default();
    let mut references = Vec::new();
    for attempt in 1..=2 {
        let answer = shop.start("/auth/login?login_hint=alice", &mut jar).await;
        assert_eq!(query_names(answer.location()), ["client_id", "request_uri"]);
        assert_eq!(answer.parameter("client_id").unwrap(), "shop");
        references.push(answer.parameter("request_uri").unwrap());
        assert_eq!(
            pushed(&shop.server).len(),
            attempt,
            "one request for each login"
        );
        let callback = shop.approve(answer.location(), "alice").await;
        let answer = shop.send(Ask::page(&callback).jar(&jar)).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{answer:?}");
        jar.take(&answer);
        assert_eq!(shop.greeting(&jar).await, "hello alice");
    }
    assert_ne!(references[0], references[1]);

    let request = &pushed(&shop.server)[0];
    assert!(
        request
            .header("authorization")
            .unwrap()
            .starts_with("Basic ")
    );
    assert_eq!(
        request.header("content-type"),
        Some("application/x-www-form-urlencoded")
    );
    assert_eq!(
        names(&request.parameters()),
        [
            "audience",
            "client_id",
            "code_challenge",
            "code_challenge_method",
            "login_hint",
            "nonce",
            "redirect_uri",
            "response_type",
            "scope",
            "state",
        ]
    );
    assert_eq!(request.parameter("client_id").unwrap(), "shop");
    assert_eq!(
        request.parameter("audience").unwrap(),
        "https://api.example.com"
    );
}

/// RFC 9126 §2.1: hostile if one of two `client_id` counts.
#[tokio::test]
async fn the_client_id_is_in_the_form_once_with_every_authentication_method() {
    let url = "https://shop.example.com/auth/callback";
    let secret = || TestClient::confidential("shop", "shop-secret");
    for (name, registered, client, expected) in [
        (
            "basic",
            secret().with_authentication(ClientAuthentication::Basic),
            Client::confidential("shop", "shop-secret"),
            &["client_id"][..],
        ),
        (
            "post",
            secret().with_authentication(ClientAuthentication::Post),
            Client::confidential_post("shop", "shop-secret"),
            &["client_id", "client_secret"],
        ),
        (
            "key",
            TestClient::private_key_jwt("shop", key().public_jwk()),
            Client::private_key_jwt("shop", key()),
            &["client_assertion", "client_assertion_type", "client_id"],
        ),
        (
            "public",
            TestClient::public("shop"),
            Client::public("shop"),
            &["client_id"],
        ),
    ] {
        for signs in [false, true] {
            let registered = registered.clone().add_request_key(key().public_jwk());
            let registered = registered.add_redirect_uri(url).unwrap().without_consent();
            let server = pushing_server()
                .with_signed_requests()
                .add_client(registered);
            let cookie_key = CookieKey::from_bytes(&KEY).unwrap();
            let client = client.clone();
            let login = LoginLayer::new(&server.authorization_server(), client, url, cookie_key);
            let mut login = login.unwrap();
            if signs {
                login = login.with_signed_requests(key());
            }
            let shop = Shop {
                app: app(&login),
                server,
            };
            let jar = shop.signed_in().await;
            assert_eq!(shop.greeting(&jar).await, "hello alice", "{name}");
            let sent = pushed(&shop.server)[0].parameters();
            let of_client = |name: &str| name.starts_with("client_") || name == "request";
            let sent: Vec<_> = sent
                .into_iter()
                .filter(|(name, _)| signs || of_client(name))
                .collect();
            let object = signs.then_some("request");
            let expected: Vec<&str> = expected.iter().copied().chain(object).collect();
            assert_eq!(names(&sent), expected, "{name}");
        }
    }
}

/// Hostile: an attacker or an outage between the application and the endpoint makes it send the parameters with the browser.
#[tokio::test]
async fn nothing_goes_with_the_browser_if_a_push_fails() {
    let json = "application/json";
    let long = format!(r#"{{"request_uri":"urn:{}"}}"#, "x".repeat(5000));
    let wait = Fault::header(RETRY_AFTER, HeaderValue::from_static("7"));
    for (name, faults, status, code, retry_after) in [
        (
            "500",
            vec![Fault::status(500)],
            503,
            "pushed_request_unavailable",
            "5",
        ),
        (
            "503",
            vec![Fault::status(503), wait.clone()],
            503,
            "pushed_request_unavailable",
            "7",
        ),
        (
            "429",
            vec![Fault::status(429), wait.clone()],
            503,
            "pushed_request_unavailable",
            "7",
        ),
        (
            "busy",
            vec![Fault::refusal("temporarily_unavailable")],
            503,
            "pushed_request_unavailable",
            "5",
        ),
        (
            "closed",
            vec![Fault::disconnect()],
            503,
            "pushed_request_unavailable",
            "5",
        ),
        (
            "request",
            vec![Fault::refusal("invalid_request"), wait],
            500,
            "pushed_request_refused",
            "",
        ),
        (
            "client",
            vec![Fault::refusal("invalid_client")],
            500,
            "pushed_request_refused",
            "",
        ),
        (
            "scope",
            vec![Fault::refusal("invalid_scope")],
            500,
            "pushed_request_refused",
            "",
        ),
        (
            "404",
            vec![Fault::status(404)],
            500,
            "pushed_request_refused",
            "",
        ),
        (
            "413",
            vec![Fault::status(413)],
            500,
            "pushed_request_refused",
            "",
        ),
        (
            "redirect",
            vec![Fault::status(302)],
            500,
            "pushed_request_refused",
            "",
        ),
        (
            "no reference",
            vec![Fault::body(json, "{}")],
            502,
            "pushed_request_malformed",
            "",
        ),
        (
            "a number",
            vec![Fault::body(json, r#"{"request_uri":7}"#)],
            502,
            "pushed_request_malformed",
            "",
        ),
        (
            "empty",
            vec![Fault::body(json, r#"{"request_uri":""}"#)],
            502,
            "pushed_request_malformed",
            "",
        ),
        (
            "long",
            vec![Fault::body(json, long)],
            502,
            "pushed_request_malformed",
            "",
        ),
        (
            "line break",
            vec![Fault::body(json, r#"{"request_uri":"urn:a\r\nb"}"#)],
            502,
            "pushed_request_malformed",
            "",
        ),
        (
            "HTML",
            vec![Fault::body("text/html", "<p>")],
            502,
            "pushed_request_malformed",
            "",
        ),
        (
            "twice",
            vec![Fault::body(
                json,
                r#"{"request_uri":"urn:a","request_uri":"urn:b"}"#,
            )],
            502,
            "pushed_request_malformed",
            "",
        ),
    ] {
        let shop = shop_at(pushing_server(), |login| login);
        for fault in faults {
            shop.server
                .fail(Endpoint::PushedAuthorizationRequest, fault);
        }
        let answer = shop.send(Ask::page("/auth/login")).await;
        assert_eq!(answer.status.as_u16(), status, "{name}: {answer:?}");
        assert!(answer.text().contains(code), "{name}: {}", answer.text());
        assert_eq!(answer.header("retry-after"), retry_after, "{name}");
        assert_eq!(answer.header("location"), "", "{name}");
        assert!(answer.sets().is_empty(), "{name}");
        assert_eq!(pushed(&shop.server).len(), 1, "{name}: no retry");
        assert!(!answer.text().contains("/authorize"), "{name}");
        // The next login is not affected.
        shop.server
            .clear_faults(Endpoint::PushedAuthorizationRequest);
        let answer = shop.send(Ask::page("/auth/login")).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{name}");
    }
}

#[tokio::test]
async fn an_endpoint_that_does_not_respond_is_an_outage_after_five_seconds() {
    let shop = shop_at(pushing_server(), |login| login);
    shop.server
        .fail(Endpoint::PushedAuthorizationRequest, Fault::hang());
    let login = tokio::spawn({
        let shop = shop.clone();
        async move { shop.send(Ask::page("/auth/login")).await }
    });
    shop.server
        .wait_for(Endpoint::PushedAuthorizationRequest, 1)
        .await;
    shop.clock().advance(Duration::from_secs(6));
    let answer = login.await.unwrap();
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.text().contains("pushed_request_unavailable"));
}

/// The RFC requires 201. A server that sends 200 has accepted the request as well.
#[tokio::test]
async fn a_reference_with_status_200_is_used() {
    let shop = shop_at(pushing_server(), |login| login);
    let body = r#"{"request_uri":"urn:example:1","expires_in":"soon"}"#;
    let fault = Fault::body("application/json", body);
    shop.server
        .fail(Endpoint::PushedAuthorizationRequest, fault);
    let answer = shop.send(Ask::page("/auth/login")).await;
    assert_eq!(answer.parameter("request_uri").unwrap(), "urn:example:1");
}

#[tokio::test]
async fn the_log_says_why_a_push_failed_and_which_setting_changes_it() {
    let log = Logs::default();
    let _recording = log.record();
    let shop = shop_at(pushing_server(), |login| login);
    let fault = Fault::refusal("invalid_client");
    shop.server
        .fail(Endpoint::PushedAuthorizationRequest, fault);
    let answer = shop.send(Ask::page("/auth/login")).await;
    let text = log.take();
    for part in [
        "https://id.example.test/par",
        "status 401, error invalid_client, expected 201",
        "rejected by a test fault",
        "`LoginLayer::with_pushed_requests`",
        "registered for client_secret_basic",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(
        !answer.text().contains("rejected by a test fault"),
        "for operators only"
    );
    assert!(!text.contains("shop-secret"));
}

/// Settings that contradict the metadata fail at once and name the setting, with no request to the endpoint.
#[tokio::test]
async fn settings_that_contradict_the_metadata_are_errors_of_the_configuration() {
    type Change = fn(LoginLayer) -> LoginLayer;
    let endpoint = "pushed_authorization_request_endpoint";
    let algorithms = "request_object_signing_alg_values_supported";
    let modes = "response_modes_supported";
    let required = "require_pushed_authorization_requests";
    let signed: Change = |login| login.with_signed_requests(key());
    let form: Change = |login| login.with_response_mode(ResponseMode::FormPost);
    let always: Change = |login| login.with_pushed_requests(PushedRequests::Required);
    let never: Change = |login| login.with_pushed_requests(PushedRequests::Never);
    let plain: Change = |login| login;
    for (name, metadata, change, code) in [
        (
            "never",
            json!({ required: true, endpoint: "https://id.example.test/par" }),
            never,
            "pushed_requests_required",
        ),
        (
            "no endpoint",
            json!({}),
            always,
            "no_pushed_request_endpoint",
        ),
        (
            "required without endpoint",
            json!({ required: true }),
            plain,
            "no_pushed_request_endpoint",
        ),
        (
            "http",
            json!({ endpoint: "http://id.example.test/par" }),
            plain,
            "metadata_malformed",
        ),
        (
            "number",
            json!({ endpoint: 7 }),
            plain,
            "metadata_malformed",
        ),
        (
            "flag",
            json!({ required: "true" }),
            plain,
            "metadata_malformed",
        ),
        (
            "methods",
            json!({ endpoint: "https://id.example.test/par",
                 "token_endpoint_auth_methods_supported": ["client_secret_post"] }),
            plain,
            "client_authentication_unsupported",
        ),
        (
            "unsigned",
            json!({ "require_signed_request_object": true }),
            plain,
            "signed_requests_required",
        ),
        (
            "algorithm",
            json!({ algorithms: ["RS256", "PS256"] }),
            signed,
            "request_object_algorithm",
        ),
        (
            "no list",
            json!({ algorithms: "EdDSA" }),
            signed,
            "metadata_malformed",
        ),
        (
            "claim",
            json!({}),
            |login| signed_with(login, "aud"),
            "request_object_parameter",
        ),
        (
            "mode",
            json!({ modes: ["query", "fragment"] }),
            form,
            "response_mode_unsupported",
        ),
        (
            "jwt",
            json!({ modes: ["form_post"] }),
            |login| login.with_response_mode(ResponseMode::Jwt),
            "response_mode_unsupported",
        ),
        (
            "modes",
            json!({ modes: "form_post" }),
            form,
            "metadata_malformed",
        ),
        // Nothing of these is a contradiction.
        (
            "absent",
            json!({ modes: null, algorithms: null }),
            |login| {
                login
                    .with_response_mode(ResponseMode::FormPostJwt)
                    .with_signed_requests(key())
            },
            "ok",
        ),
        (
            "other name",
            json!({ algorithms: ["Ed25519"] }),
            signed,
            "ok",
        ),
        (
            "unlisted query",
            json!({ modes: ["form_post"] }),
            plain,
            "ok",
        ),
        (
            "never",
            json!({ endpoint: "https://id.example.test/par" }),
            never,
            "ok",
        ),
    ] {
        let server = server();
        for (member, value) in metadata.as_object().unwrap() {
            server.fail(
                Endpoint::Metadata,
                Fault::member(member.as_str(), value.clone()),
            );
        }
        let login = change(login(&server));
        let ready = login.ready().await;
        let found = ready.as_ref().map_or_else(|error| error.code(), |()| "ok");
        assert_eq!(found, code, "{name}: {ready:?}");
        let shop = Shop {
            app: app(&login),
            server,
        };
        let answer = shop.send(Ask::page("/auth/login")).await;
        match ready {
            Ok(()) => assert_eq!(answer.status, StatusCode::SEE_OTHER, "{name}"),
            Err(error) => {
                assert_eq!(error.kind(), FlowErrorKind::Configuration, "{name}");
                assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "{name}");
                assert!(answer.text().contains(code), "{name}");
            }
        }
        assert!(pushed(&shop.server).is_empty(), "{name}");
    }
}

fn signed_with(login: LoginLayer, parameter: &str) -> LoginLayer {
    let login = login.with_signed_requests(key());
    login.with_authorization_parameter(parameter, "x").unwrap()
}

/// RFC 8705 §5: the endpoint at the other address does not ask for the certificate.
#[tokio::test]
async fn a_client_with_a_certificate_pushes_to_the_alias() {
    let alias = "https://mtls.example.test/par";
    let server = pushing_server().add_client(
        TestClient::mutual_tls("shop")
            .add_redirect_uri(CALLBACK)
            .unwrap()
            .without_consent(),
    );
    let aliases = json!({ "pushed_authorization_request_endpoint": alias });
    server.fail(
        Endpoint::Metadata,
        Fault::member("mtls_endpoint_aliases", aliases),
    );
    let key = CookieKey::from_bytes(&KEY).unwrap();
    let client = Client::mutual_tls("shop");
    let login = LoginLayer::new(&server.authorization_server(), client, CALLBACK, key).unwrap();
    let shop = Shop {
        app: app(&login),
        server,
    };
    shop.start("/auth/login", &mut Jar::default()).await;
    assert_eq!(pushed(&shop.server)[0].uri().to_string(), alias);
}

/// Anonymous visitors start logins, and each causes a request.
#[tokio::test]
async fn at_most_64_pushed_requests_are_in_flight() {
    let shop = shop_at(pushing_server(), |login| login);
    shop.start("/auth/login", &mut Jar::default()).await;
    shop.server.clear_requests();
    let gate = Gate::new();
    shop.server
        .fail(Endpoint::PushedAuthorizationRequest, Fault::wait_for(&gate));
    let logins: Vec<_> = (0..70)
        .map(|_| {
            let shop = shop.clone();
            tokio::spawn(async move { shop.send(Ask::page("/auth/login")).await })
        })
        .collect();
    shop.server
        .wait_for(Endpoint::PushedAuthorizationRequest, 64)
        .await;
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(shop.server.count(Endpoint::PushedAuthorizationRequest), 64);
    gate.open();
    for login in logins {
        assert_eq!(login.await.unwrap().status, StatusCode::SEE_OTHER);
    }
    assert_eq!(shop.server.count(Endpoint::PushedAuthorizationRequest), 70);
}

#[tokio::test]
async fn a_login_that_gets_no_turn_is_told_when_to_try_again() {
    let shop = shop_at(pushing_server(), |login| login);
    shop.start("/auth/login", &mut Jar::default()).await;
    shop.server.clear_requests();
    // The clock of the back channel stands still, so nothing but the waiting of the 65th ends.
    shop.server
        .fail(Endpoint::PushedAuthorizationRequest, Fault::hang());
    let login = |shop: &Shop| {
        let shop = shop.clone();
        tokio::spawn(async move { shop.send(Ask::page("/auth/login")).await })
    };
    let full: Vec<_> = (0..64 + 1024).map(|_| login(&shop)).collect();
    shop.server
        .wait_for(Endpoint::PushedAuthorizationRequest, 64)
        .await;
    let mut refused = None;
    while refused.is_none() {
        let late = login(&shop);
        for _ in 0..2000 {
            tokio::task::yield_now().await;
        }
        if late.is_finished() {
            refused = Some(late.await.unwrap());
        }
    }
    let refused = refused.unwrap();
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.text().contains("pushed_requests_busy"));
    assert_eq!(refused.header("retry-after"), "5");
    full.iter().for_each(|login| login.abort());
}

/// RFC 9101 §4, §5, §10.8, OpenID Connect Core §6.1, FAPI 2.0 Message Signing §5.3.
#[tokio::test]
async fn all_parameters_are_in_the_signed_object() {
    let server = server()
        .with_required_signed_requests()
        .add_client(signing_client());
    let shop = shop_at(server, |login| {
        let login = login.with_signed_requests(key());
        let login = login
            .with_authorization_parameter("max_age", "600")
            .unwrap();
        login
            .with_authorization_parameter("audience", "https://api.example.com")
            .unwrap()
    });
    let mut jar = Jar::default();
    let answer = shop.start("/auth/login?login_hint=alice", &mut jar).await;
    let location = answer.location();
    let outside = ["client_id", "request", "response_type", "scope"];
    assert_eq!(query_names(location), outside);
    assert_eq!(answer.parameter("scope").unwrap(), "openid");
    assert_eq!(answer.parameter("response_type").unwrap(), "code");

    let (header, claims) = decoded(&answer.parameter("request").unwrap());
    let expected = json!({ "alg": "EdDSA", "kid": "2027-01", "typ": "oauth-authz-req+jwt" });
    assert_eq!(header, expected);
    let claims: BTreeMap<String, Value> = serde_json::from_value(claims).unwrap();
    let now = 1_800_000_000;
    for (name, value) in [
        ("iss", json!("shop")),
        ("client_id", json!("shop")),
        ("aud", json!(ISSUER)),
        ("iat", json!(now)),
        ("nbf", json!(now)),
        ("exp", json!(now + 300)),
        ("max_age", json!(600)),
        ("audience", json!("https://api.example.com")),
        ("login_hint", json!("alice")),
        ("redirect_uri", json!(CALLBACK)),
        ("response_type", json!("code")),
        ("scope", json!("openid")),
        ("code_challenge_method", json!("S256")),
    ] {
        assert_eq!(claims[name], value, "{name}");
    }
    let random: Vec<&String> = claims
        .keys()
        .filter(|name| ["jti", "state", "nonce", "code_challenge"].contains(&name.as_str()))
        .collect();
    assert_eq!((random.len(), claims.len()), (4, 17), "{claims:?}");

    let callback = shop.approve(location, "alice").await;
    let answer = shop.send(Ask::page(&callback).jar(&jar)).await;
    jar.take(&answer);
    assert_eq!(shop.greeting(&jar).await, "hello alice");
    let again = shop.start("/auth/login", &mut jar).await;
    let (_, other) = decoded(&again.parameter("request").unwrap());
    assert_ne!(claims["jti"], other["jti"]);
}

/// RFC 9126 §3.
#[tokio::test]
async fn a_signed_request_is_pushed_alone() {
    let server = pushing_server()
        .with_required_signed_requests()
        .add_client(signing_client());
    let shop = shop_at(server, |login| login.with_signed_requests(key()));
    let jar = shop.signed_in().await;
    assert_eq!(shop.greeting(&jar).await, "hello alice");
    let form = pushed(&shop.server)[0].parameters();
    assert_eq!(names(&form), ["client_id", "request"]);
}

/// Every caller can cause such a refusal, so it is no error of the configuration.
#[tokio::test]
async fn a_refusal_of_what_a_link_asked_for_is_a_bad_request() {
    for (query, error, status) in [
        (
            "?acr_values=nonsense",
            "unmet_authentication_requirements",
            400,
        ),
        ("?login_hint=x", "invalid_request", 400),
        ("", "invalid_request", 500),
        ("?acr_values=nonsense", "invalid_client", 500),
        ("?acr_values=nonsense", "unauthorized_client", 500),
        ("?acr_values=nonsense", "invalid_scope", 500),
        ("?acr_values=nonsense", "temporarily_unavailable", 503),
    ] {
        let shop = shop_at(pushing_server(), |login| login);
        shop.server
            .fail(Endpoint::PushedAuthorizationRequest, Fault::refusal(error));
        let login_url = format!("/auth/login{query}");
        let answer = shop.send(Ask::page(&login_url)).await;
        assert_eq!(answer.status.as_u16(), status, "{query} {error}");
        assert_eq!(answer.header("location"), "", "{query} {error}");
    }
}
