//! The token endpoint of the test server validates grants and client authentication.

use std::time::Duration;

use http::StatusCode;

use crate::support::authorization_server::{
    CALLBACK, CHALLENGE, HOME, VERIFIER, basic, claims, code, error, json, post, redeem, refresh,
    server, userinfo,
};

#[tokio::test]
async fn a_code_is_valid_once_for_its_client_redirect_uri_and_verifier() {
    let server = server();
    let other_verifier = "a".repeat(43);
    for (name, changes, expected) in [
        (
            "wrong verifier",
            vec![("code_verifier", &*other_verifier)],
            "invalid_grant",
        ),
        (
            "challenge as verifier",
            vec![("code_verifier", CHALLENGE)],
            "invalid_grant",
        ),
        (
            "no verifier",
            vec![("code_verifier", "")],
            "invalid_request",
        ),
        (
            "other redirect URI",
            vec![("redirect_uri", HOME)],
            "invalid_grant",
        ),
        (
            "no redirect URI",
            vec![("redirect_uri", "")],
            "invalid_request",
        ),
        ("unknown code", vec![("code", "unknown")], "invalid_grant"),
        ("no code", vec![("code", "")], "invalid_request"),
        ("no grant type", vec![("grant_type", "")], "invalid_request"),
        (
            "unknown grant type",
            vec![("grant_type", "password")],
            "unsupported_grant_type",
        ),
        (
            "foreign grant type",
            vec![("grant_type", "client_credentials")],
            "unauthorized_client",
        ),
    ] {
        let code = code(&server).await;
        let response = redeem(&server, &code, &changes).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{name}");
        assert_eq!(error(&response), expected, "{name}");
        assert_eq!(response.headers()["cache-control"], "no-store", "{name}");
    }

    // Another client's code.
    let stolen = code(&server).await;
    let pairs = [
        ("grant_type", "authorization_code"),
        ("code", stolen.as_str()),
        ("redirect_uri", CALLBACK),
        ("code_verifier", VERIFIER),
        ("client_id", "app"),
    ];
    assert_eq!(error(&post(&server, None, &pairs).await), "invalid_grant");
    assert_eq!(redeem(&server, &stolen, &[]).await.status(), StatusCode::OK);

    // An expired code.
    let late = code(&server).await;
    server.clock().advance(Duration::from_secs(60));
    assert_eq!(error(&redeem(&server, &late, &[]).await), "invalid_grant");
}

#[tokio::test]
async fn a_replayed_code_revokes_its_tokens() {
    let server = server();
    let code = code(&server).await;
    let tokens = json(&redeem(&server, &code, &[]).await);
    let access_token = tokens["access_token"].as_str().unwrap();
    assert_eq!(
        userinfo(&server, access_token).await.status(),
        StatusCode::OK
    );

    assert_eq!(error(&redeem(&server, &code, &[]).await), "invalid_grant");
    let refused = userinfo(&server, access_token).await;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(
        refused.headers()["www-authenticate"],
        "Bearer error=\"invalid_token\""
    );
    let refreshed = refresh(&server, tokens["refresh_token"].as_str().unwrap(), "").await;
    assert_eq!(error(&refreshed), "invalid_grant");
}

#[tokio::test]
async fn refresh_tokens_rotate_and_a_replay_revokes_the_grant() {
    let server = server();
    let first = json(&redeem(&server, &code(&server).await, &[]).await);
    let first = first["refresh_token"].as_str().unwrap();
    assert_eq!(
        error(&refresh(&server, first, "openid email").await),
        "invalid_scope"
    );

    let second = refresh(&server, first, "openid").await;
    assert_eq!(second.status(), StatusCode::OK);
    let second = json(&second);
    assert_eq!(second["scope"], "openid");
    let id_token = claims(second["id_token"].as_str().unwrap());
    assert_eq!(id_token.get("nonce"), None, "not again");
    let rotated = second["refresh_token"].as_str().unwrap();
    assert_ne!(rotated, first);

    assert_eq!(error(&refresh(&server, first, "").await), "invalid_grant");
    assert_eq!(error(&refresh(&server, rotated, "").await), "invalid_grant");
    assert_eq!(
        error(&refresh(&server, "unknown", "").await),
        "invalid_grant"
    );
}

#[tokio::test]
async fn a_client_must_use_its_registered_authentication_method() {
    let server = server();
    let good = basic("cli", "cli-secret");
    let shop = basic("shop", "shop secret:1");
    let wrong = basic("cli", "other");
    let posting = basic("posting", "secret");
    let unknown = basic("unknown", "x");
    let grant = ("grant_type", "client_credentials");
    type Case<'a> = (
        &'a str,
        Option<&'a str>,
        Vec<(&'a str, &'a str)>,
        u16,
        &'a str,
    );
    let cases: Vec<Case<'_>> = vec![
        ("basic", Some(&good), vec![grant], 200, ""),
        (
            "post",
            None,
            vec![grant, ("client_id", "cli"), ("client_secret", "cli-secret")],
            200,
            "",
        ),
        (
            "wrong secret",
            Some(&wrong),
            vec![grant],
            401,
            "invalid_client",
        ),
        (
            "unknown client",
            Some(&unknown),
            vec![grant],
            401,
            "invalid_client",
        ),
        (
            "no secret",
            None,
            vec![grant, ("client_id", "cli")],
            401,
            "invalid_client",
        ),
        ("unknown", None, vec![grant], 401, "invalid_client"),
        (
            "garbage",
            Some("Basic !"),
            vec![grant],
            401,
            "invalid_client",
        ),
        (
            "other scheme",
            Some("Bearer x"),
            vec![grant],
            401,
            "invalid_client",
        ),
        (
            "both ways",
            Some(&good),
            vec![grant, ("client_secret", "cli-secret")],
            400,
            "invalid_request",
        ),
        (
            "two names",
            Some(&good),
            vec![grant, ("client_id", "shop")],
            400,
            "invalid_request",
        ),
        (
            "not its way",
            Some(&posting),
            vec![grant],
            401,
            "invalid_client",
        ),
        (
            "a secret from a public client",
            None,
            vec![grant, ("client_id", "app"), ("client_secret", "x")],
            401,
            "invalid_client",
        ),
        (
            "public client",
            None,
            vec![grant, ("client_id", "app")],
            400,
            "unauthorized_client",
        ),
        (
            "not allowed",
            Some(&shop),
            vec![grant],
            400,
            "unauthorized_client",
        ),
        (
            "twice",
            Some(&good),
            vec![grant, grant],
            400,
            "invalid_request",
        ),
        (
            "foreign scope",
            Some(&good),
            vec![grant, ("scope", "admin")],
            400,
            "invalid_scope",
        ),
    ];
    for (name, authorization, pairs, status, expected) in cases {
        let response = post(&server, authorization, &pairs).await;
        assert_eq!(response.status(), status, "{name}");
        assert_eq!(response.headers()["cache-control"], "no-store", "{name}");
        if status == 401 {
            assert!(
                response.headers().contains_key("www-authenticate"),
                "{name}"
            );
        }
        if status != 200 {
            assert_eq!(error(&response), expected, "{name}");
        }
    }
    let tokens = json(&post(&server, Some(&good), &[grant, ("scope", "notes:read")]).await);
    assert_eq!(tokens.get("refresh_token"), None);
    let claims = claims(tokens["access_token"].as_str().unwrap());
    assert_eq!(
        (&claims["sub"], &claims["scope"]),
        (&"cli".into(), &"notes:read".into())
    );
    // A client-credentials token is rejected at the userinfo endpoint: it has no user.
    let refused = userinfo(&server, tokens["access_token"].as_str().unwrap()).await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
}
