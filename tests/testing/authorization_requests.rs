//! Pushed and signed authorization requests, and response modes, at the test server.

use std::collections::HashMap;
use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use tower_oauth::Algorithm;
use tower_oauth::testing::{Endpoint, TestClient, TestServer, TestSigningKey};

use crate::support::authorization_server::*;

const NOW: i64 = 1_800_000_000;

fn parameters() -> Vec<(&'static str, &'static str)> {
    vec![
        ("response_type", "code"),
        ("client_id", "shop"),
        ("redirect_uri", CALLBACK),
        ("scope", "openid profile"),
        ("state", "the state"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ]
}

fn with(changes: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    let mut pairs = parameters();
    for (name, value) in changes {
        pairs.retain(|(other, _)| other != name);
        pairs.push((name, value));
    }
    pairs
}

async fn push(server: &TestServer, pairs: &[(&str, &str)]) -> http::Response<bytes::Bytes> {
    post_to(server, "/par", Some(&basic("shop", "shop secret:1")), pairs).await
}

fn reference(request_uri: &str) -> String {
    let pairs = [("client_id", "shop"), ("request_uri", request_uri)];
    let query = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish();
    format!("{ISSUER}/authorize?{query}")
}

#[tokio::test]
async fn extensions_are_off_unless_a_test_turns_them_on() {
    let plain = document(&server(), "/.well-known/openid-configuration").await;
    for name in [
        "pushed_authorization_request_endpoint",
        "require_pushed_authorization_requests",
        "require_signed_request_object",
        "request_object_signing_alg_values_supported",
    ] {
        assert!(plain.get(name).is_none(), "{name}");
    }
    assert_eq!(plain["response_modes_supported"], json!(["query"]));
    assert_eq!(
        push(&server(), &parameters()).await.status(),
        StatusCode::NOT_FOUND
    );

    let server = server()
        .with_required_pushed_requests()
        .with_required_signed_requests()
        .with_response_modes();
    let all = document(&server, "/.well-known/openid-configuration").await;
    assert_eq!(
        all["pushed_authorization_request_endpoint"],
        json!(format!("{ISSUER}/par"))
    );
    assert_eq!(all["require_pushed_authorization_requests"], json!(true));
    assert_eq!(all["require_signed_request_object"], json!(true));
    let modes = json!(["query", "form_post", "jwt", "form_post.jwt"]);
    assert_eq!(all["response_modes_supported"], modes);
}

/// RFC 9126 §2.
#[tokio::test]
async fn a_pushed_request_is_checked_when_it_is_pushed() {
    let server = server().with_pushed_requests();
    for (name, pairs, status, code) in [
        ("good", parameters(), 201, ""),
        (
            "no client_id",
            with(&[("client_id", "")]),
            400,
            "invalid_request",
        ),
        (
            "other client",
            with(&[("client_id", "app")]),
            400,
            "invalid_request",
        ),
        (
            "reference",
            with(&[("request_uri", "urn:x")]),
            400,
            "invalid_request",
        ),
        (
            "redirect URI",
            with(&[("redirect_uri", "https://evil.example/")]),
            400,
            "invalid_request",
        ),
        (
            "scope",
            with(&[("scope", "openid admin")]),
            400,
            "invalid_scope",
        ),
        (
            "no PKCE",
            with(&[("code_challenge", "")]),
            400,
            "invalid_request",
        ),
        (
            "mode",
            with(&[("response_mode", "fragment")]),
            400,
            "invalid_request",
        ),
        (
            "twice",
            [parameters(), vec![("state", "x")]].concat(),
            400,
            "invalid_request",
        ),
    ] {
        let response = push(&server, &pairs).await;
        assert_eq!(response.status().as_u16(), status, "{name}: {response:?}");
        match status {
            201 => {
                let body = json(&response);
                assert!(
                    body["request_uri"]
                        .as_str()
                        .unwrap()
                        .starts_with("urn:ietf:params:oauth:")
                );
                assert_eq!(body["expires_in"], 60);
            }
            _ => assert_eq!(error(&response), code, "{name}"),
        }
    }
    let anonymous = post_to(&server, "/par", None, &parameters()).await;
    assert_eq!(anonymous.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(server.count(Endpoint::PushedAuthorizationRequest), 10);
}

/// RFC 9126 §4.
#[tokio::test]
async fn a_reference_is_valid_once_for_its_client_and_for_a_minute() {
    let server = server().with_pushed_requests();
    let browser = browser(&server);
    let new_reference = async || {
        let response = push(&server, &parameters()).await;
        reference(json(&response)["request_uri"].as_str().unwrap())
    };
    let url = new_reference().await;
    let other = browser
        .navigate(&url.replace("client_id=shop", "client_id=app"))
        .await
        .unwrap();
    assert_eq!(other.status(), StatusCode::BAD_REQUEST);
    // Other parameters do not count.
    let page = browser
        .navigate(&format!("{url}&state=evil&scope=x"))
        .await
        .unwrap();
    let page = page.sign_in("alice", "wonderland").await.unwrap();
    assert_eq!(query(&page)["state"], "the state");
    let again = browser.navigate(&url).await.unwrap();
    assert_eq!(again.status(), StatusCode::BAD_REQUEST);
    let late = new_reference().await;
    server.clock().advance(Duration::from_secs(60));
    assert_eq!(
        browser.navigate(&late).await.unwrap().status(),
        StatusCode::BAD_REQUEST
    );
}

/// RFC 9126 §5, §6.
#[tokio::test]
async fn a_server_or_a_client_can_require_pushed_requests() {
    let required = server().with_required_pushed_requests();
    let client = TestClient::confidential("shop", "shop secret:1");
    let client = client
        .add_redirect_uri(CALLBACK)
        .unwrap()
        .with_required_pushed_requests();
    let of_client = server().with_pushed_requests().add_client(client);
    for server in [required, of_client] {
        let page = browser(&server).navigate(&authorize(&[])).await.unwrap();
        assert_eq!(page.status(), StatusCode::BAD_REQUEST);
        assert!(page.text().contains("pushed"), "{}", page.text());
        let response = push(&server, &parameters()).await;
        let url = reference(json(&response)["request_uri"].as_str().unwrap());
        assert_eq!(
            browser(&server).navigate(&url).await.unwrap().status(),
            StatusCode::OK
        );
    }
}

fn object(key: &TestSigningKey, typ: Option<&str>, changes: &Value) -> String {
    let mut header = json!({ "alg": key.algorithm().name(), "kid": key.kid() });
    if let Some(typ) = typ {
        header["typ"] = typ.into();
    }
    let mut claims: HashMap<String, Value> = parameters()
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    let of_jwt = json!({ "iss": "shop", "aud": ISSUER, "exp": NOW + 300, "nbf": NOW, "iat": NOW, "jti": "1" });
    for (name, value) in of_jwt
        .as_object()
        .unwrap()
        .iter()
        .chain(changes.as_object().unwrap())
    {
        match value {
            Value::Null => claims.remove(name),
            _ => claims.insert(name.clone(), value.clone()),
        };
    }
    key.sign(
        header.to_string().as_bytes(),
        json!(claims).to_string().as_bytes(),
    )
}

/// RFC 9101 §4 to §6.3, §10.8.
#[tokio::test]
async fn only_a_valid_object_of_the_client_is_accepted_and_only_its_values_count() {
    let key = TestSigningKey::generate(Algorithm::Es256);
    let foreign = TestSigningKey::generate(Algorithm::Es256);
    let client = TestClient::confidential("shop", "shop secret:1").add_redirect_uri(CALLBACK);
    let client = client
        .unwrap()
        .without_consent()
        .add_request_key(key.public_jwk());
    let server = server()
        .with_signed_requests()
        .with_pushed_requests()
        .add_client(client);
    let typ = Some("oauth-authz-req+jwt");
    let none = json!({});
    for (name, object, accepted) in [
        ("good", object(&key, typ, &none), true),
        ("no type", object(&key, None, &none), false),
        ("JWT", object(&key, Some("JWT"), &none), false),
        (
            "assertion",
            object(&key, Some("client-authentication+jwt"), &none),
            false,
        ),
        ("other key", object(&foreign, typ, &none), false),
        ("issuer", object(&key, typ, &json!({ "iss": "app" })), false),
        (
            "client",
            object(&key, typ, &json!({ "client_id": "app" })),
            false,
        ),
        (
            "audience",
            object(&key, typ, &json!({ "aud": "https://evil.example" })),
            false,
        ),
        (
            "no audience",
            object(&key, typ, &json!({ "aud": null })),
            false,
        ),
        ("expired", object(&key, typ, &json!({ "exp": NOW })), false),
        (
            "no expiry",
            object(&key, typ, &json!({ "exp": null })),
            false,
        ),
        (
            "an hour",
            object(&key, typ, &json!({ "exp": NOW + 3600 })),
            true,
        ),
        (
            "longer",
            object(&key, typ, &json!({ "exp": NOW + 3601 })),
            false,
        ),
        (
            "not yet",
            object(&key, typ, &json!({ "nbf": NOW + 1 })),
            false,
        ),
        (
            "no start",
            object(&key, typ, &json!({ "nbf": null })),
            false,
        ),
        (
            "subject",
            object(&key, typ, &json!({ "sub": "shop" })),
            false,
        ),
        (
            "nested",
            object(&key, typ, &json!({ "request": "x" })),
            false,
        ),
        (
            "reference",
            object(&key, typ, &json!({ "request_uri": "urn:x" })),
            false,
        ),
    ] {
        let url = format!("{}&request={object}", authorize(&[("state", "outside")]));
        let page = browser(&server).navigate(&url).await.unwrap();
        match accepted {
            true => {
                let page = page.sign_in("alice", "wonderland").await.unwrap();
                assert_eq!(query(&page)["state"], "the state", "{name}");
            }
            false => assert_eq!(page.status(), StatusCode::BAD_REQUEST, "{name}"),
        }
        let pairs = [("client_id", "shop"), ("request", &*object)];
        let status = push(&server, &pairs).await.status();
        let expected = if accepted {
            StatusCode::CREATED
        } else {
            StatusCode::BAD_REQUEST
        };
        assert_eq!(status, expected, "{name}");
    }
    // A missing redirect URI is not taken from outside of the object.
    let partial = object(&key, typ, &json!({ "redirect_uri": null }));
    let url = format!("{}&request={partial}", authorize(&[]));
    let page = browser(&server).navigate(&url).await.unwrap();
    assert_eq!(page.status(), StatusCode::BAD_REQUEST);
    let whole = object(&key, typ, &none);
    let pairs = [
        ("client_id", "shop"),
        ("request", &*whole),
        ("scope", "openid"),
    ];
    assert_eq!(
        push(&server, &pairs).await.status(),
        StatusCode::BAD_REQUEST
    );
    let required = server.with_required_signed_requests();
    let page = browser(&required).navigate(&authorize(&[])).await.unwrap();
    assert_eq!(page.status(), StatusCode::BAD_REQUEST);
}

/// Form Post Response Mode §2, JARM §2.
#[tokio::test]
async fn responses_have_the_requested_mode_errors_too() {
    let server = server().with_response_modes();
    for mode in ["query", "form_post", "jwt", "form_post.jwt"] {
        let url = authorize(&[("response_mode", mode), ("prompt", "none")]);
        let page = browser(&server).navigate(&url).await.unwrap();
        let is_form = mode.starts_with("form_post");
        let value = |name: &str| match is_form {
            true => page
                .form("#form-post")
                .unwrap()
                .value(name)
                .map(str::to_owned),
            false => query(&page).get(name).cloned(),
        };
        if mode.ends_with("jwt") {
            let found = claims(&value("response").unwrap());
            assert_eq!(found["error"], "login_required", "{mode}");
            assert_eq!(found["state"], "the state", "{mode}");
            assert_eq!(
                (&found["iss"], &found["aud"]),
                (&json!(ISSUER), &json!("shop")),
                "{mode}"
            );
            assert_eq!(found["exp"], NOW + 300, "{mode}");
            assert!(
                value("state").is_none() && value("error").is_none(),
                "{mode}"
            );
        } else {
            assert_eq!(value("error").unwrap(), "login_required", "{mode}");
            assert_eq!(value("state").unwrap(), "the state", "{mode}");
        }
        if is_form {
            let policy = page.header("content-security-policy").unwrap();
            assert!(
                policy.contains("form-action 'self' https://shop.example.com"),
                "{policy}"
            );
            assert!(policy.contains("script-src 'sha256-"), "{policy}");
        }
    }
}
