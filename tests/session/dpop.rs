//! Access tokens that are bound to a key of the session (RFC 9449).

mod apis;
mod nonces;

use http::HeaderValue;
use serde_json::json;
use tower_oauth::login::FlowErrorKind;
use tower_oauth::testing::{Endpoint, Fault, GrantType, TestClient, TestServer};
use tower_oauth::{Client, CookieKey, LoginLayer};

use crate::support::logs::Logs;
use crate::support::modes::{Mode, session_modes};
use crate::support::proofs::{Proof, dpop_server, dpop_shop, hash, proofs, shop_of, userinfo};
use crate::support::refresh::{Switched, layer, shop, status_and_text, token};
use crate::support::shop::{Ask, CALLBACK, ISSUER, Jar, KEY, SESSION, Shop, login, parameter};

session_modes! {
    all: [
        every_process_refreshes_with_the_key_of_the_session,
        a_bearer_answer_to_a_refresh_is_discarded,
    ],
}

/// RFC 9449 §4.2, §5, §7.1, §10.
#[tokio::test]
async fn a_login_binds_code_and_tokens_to_one_key_and_sends_a_proof_with_each_request() {
    let server = dpop_server(|client| client);
    let shop = dpop_shop(&server);
    let mut jar = Jar::default();
    let started = shop.start("/auth/login", &mut jar).await;
    let bound_to = parameter(started.location(), "dpop_jkt").unwrap();
    let callback = shop.approve(started.location(), "alice").await;
    jar.take(&shop.send(Ask::page(&callback).jar(&jar)).await);
    assert_eq!(userinfo(&shop, &jar).await.text(), "userinfo of alice");

    let token = server.access_tokens("alice").pop().unwrap();
    let payload = Proof::read(&token).claims;
    assert_eq!(payload["cnf"], json!({ "jkt": bound_to }));
    let redemption = proofs(&server, Endpoint::Token).pop().unwrap();
    let at_userinfo = proofs(&server, Endpoint::UserInfo).pop().unwrap();
    for (proof, method, path, access_token) in [
        (&redemption, "POST", "/token", None),
        (&at_userinfo, "GET", "/userinfo", Some(hash(&token))),
    ] {
        assert_eq!(proof.header["typ"], "dpop+jwt");
        assert_eq!(proof.header["alg"], "ES256");
        let members: Vec<_> = proof.header["jwk"].as_object().unwrap().keys().collect();
        assert_eq!(members, ["crv", "kty", "x", "y"], "no private key");
        assert_eq!(proof.thumbprint(), bound_to);
        assert_eq!(proof.claim("htm"), method);
        assert_eq!(proof.claim("htu"), format!("{ISSUER}{path}"));
        assert_eq!(proof.claims["iat"], 1_800_000_000_i64);
        assert_eq!(proof.claim("jti").len(), 22, "128 bits");
        assert_eq!(proof.claim("ath"), access_token.unwrap_or_default());
        assert!(proof.claims.get("nonce").is_none());
    }
    assert_ne!(redemption.claim("jti"), at_userinfo.claim("jti"));
    let requests = server.requests();
    let last = requests.last().unwrap();
    assert_eq!(
        last.header("authorization"),
        Some(&*format!("DPoP {token}"))
    );
    // Another login has another key.
    let mut other = Jar::default();
    let started = shop.start("/auth/login", &mut other).await;
    assert_ne!(parameter(started.location(), "dpop_jkt").unwrap(), bound_to);
}

/// The token is of the type that was asked for, or there is no session.
#[tokio::test]
async fn a_login_with_another_token_type_creates_no_session() {
    for (dpop, token_type, accepted) in [
        (true, "DPoP", true),
        (true, "dpop", true),
        (true, "Bearer", false),
        (true, "DPoP, Bearer", false),
        (false, "Bearer", true),
        (false, "DPoP", false),
    ] {
        let server = crate::support::shop::server();
        let layer = login(&server);
        let shop = match dpop {
            true => shop_of(&server, layer.with_dpop()),
            false => shop_of(&server, layer),
        };
        server.fail(Endpoint::Token, Fault::member("token_type", token_type));
        let log = Logs::default();
        let recording = log.record_only("login_failed");
        let mut jar = Jar::default();
        let answer = shop.sign_in("alice", &mut jar).await;
        drop(recording);
        let status = if accepted { 303 } else { 502 };
        assert_eq!(answer.status, status, "{dpop} {token_type}");
        assert_eq!(
            jar.names().contains(&SESSION),
            accepted,
            "{dpop} {token_type}"
        );
        let text = log.text();
        let names_the_setting =
            text.contains("token type is not DPoP") && text.contains("with_dpop");
        assert_eq!(names_the_setting, dpop && !accepted, "{text}");
    }
}

fn worlds(server: &TestServer, mode: Mode) -> [Shop; 2] {
    let store = Switched::new(server.clock());
    let of = |layer: LoginLayer| shop(server, layer.with_dpop(), &Default::default());
    let first = of(layer(server, mode, &store));
    match mode {
        Mode::Cookie => [first.clone(), first],
        _ => [first, of(layer(server, mode, &store))],
    }
}

/// The server accepts the refresh token of a public client with this key only.
async fn every_process_refreshes_with_the_key_of_the_session(mode: Mode) {
    let public = |_| {
        TestClient::public("shop")
            .add_redirect_uri(CALLBACK)
            .unwrap()
            .without_consent()
            .with_required_dpop()
    };
    let server = dpop_server(public);
    let store = Switched::new(server.clock());
    let of = || {
        let key = CookieKey::from_bytes(&KEY).unwrap();
        let client = Client::public("shop");
        let login = LoginLayer::new(&server.authorization_server(), client, CALLBACK, key);
        let login = mode.place_in(login.unwrap().with_dpop(), store.clone());
        shop(&server, login, &Default::default())
    };
    let a = of();
    let b = if mode == Mode::Cookie {
        a.clone()
    } else {
        of()
    };
    let mut jar = a.signed_in().await;
    for shop in [&b, &a, &b] {
        server.clock().advance(std::time::Duration::from_secs(300));
        let answer = token(shop, &jar).await;
        assert_eq!(answer.status, 200, "{mode:?} {}", answer.text());
        jar.take(&answer);
        let bound = Proof::read(&answer.text()).claims["cnf"]["jkt"].clone();
        let sent = proofs(&server, Endpoint::Token);
        assert_eq!(bound, sent[0].thumbprint(), "{mode:?}");
    }
    let sent = proofs(&server, Endpoint::Token);
    assert_eq!(sent.len(), 4, "a login and three refreshes");
    for proof in &sent {
        assert_eq!(proof.thumbprint(), sent[0].thumbprint());
    }
    let mut jwt_ids: Vec<_> = sent.iter().map(|proof| proof.claim("jti")).collect();
    jwt_ids.sort_unstable();
    jwt_ids.dedup();
    assert_eq!(jwt_ids.len(), sent.len());
}

/// RFC 9449 §5: the tokens are not used, and the session ends.
async fn a_bearer_answer_to_a_refresh_is_discarded(mode: Mode) {
    let server = dpop_server(|client| client);
    let [shop, other] = worlds(&server, mode);
    let jar = shop.signed_in().await;
    let bearer = Fault::member("token_type", "Bearer").only_for(GrantType::RefreshToken);
    server.fail(Endpoint::Token, bearer);
    server.clock().advance(std::time::Duration::from_secs(300));
    let log = Logs::default();
    let recording = log.record_only("refresh_tokens_rejected");
    let answer = token(&shop, &jar).await;
    drop(recording);
    assert_eq!(status_and_text(&answer), (401, "ended".to_owned()));
    let text = log.text();
    assert!(text.contains("code=\"token_type\""), "{text}");
    assert!(text.contains("token type is not DPoP"), "{text}");
    server.clear_faults(Endpoint::Token);
    for shop in [&shop, &other] {
        assert_ne!(token(shop, &jar).await.status, 200, "{mode:?}");
    }
}

/// RFC 9449 §5.1: an absent list says nothing.
#[tokio::test]
async fn a_server_without_es256_is_a_configuration_error() {
    const NAME: &str = "dpop_signing_alg_values_supported";
    for (name, listed, expected) in [
        ("listed", Some(json!(["RS256", "ES256"])), None),
        ("absent", None, None),
        ("empty", Some(json!([])), None),
        (
            "others",
            Some(json!(["RS256", "es256"])),
            Some("dpop_unsupported"),
        ),
        (
            "malformed",
            Some(json!("ES256")),
            Some("metadata_malformed"),
        ),
    ] {
        let server = dpop_server(|client| client);
        server.fail(
            Endpoint::Metadata,
            match listed {
                Some(listed) => Fault::member(NAME, listed),
                None => Fault::without_member(NAME),
            },
        );
        let layer = login(&server).with_dpop();
        let error = layer.ready().await.err();
        assert_eq!(error.as_ref().map(|error| error.code()), expected, "{name}");
        let shop = shop_of(&server, layer);
        let status = shop.send(Ask::page("/auth/login")).await.status;
        match error {
            None => assert_eq!(status, 303, "{name}"),
            Some(error) => {
                assert_eq!(error.kind(), FlowErrorKind::Configuration, "{name}");
                assert_eq!(status, 500, "{name}");
            }
        }
        // Without DPoP, the list is not read.
        assert!(login(&server).ready().await.is_ok(), "{name}");
    }
}

/// RFC 9449 §5, §7.1: a wrong clock is the usual reason.
#[tokio::test]
async fn a_rejected_proof_names_the_clock() {
    let server = dpop_server(|client| client);
    let shop = dpop_shop(&server);
    let jar = shop.signed_in().await;
    let log = Logs::default();
    let recording = log.record_only("login_failed");
    server.fail(Endpoint::Token, Fault::refusal("invalid_dpop_proof"));
    let answer = shop.sign_in("alice", &mut Jar::default()).await;
    drop(recording);
    assert_eq!(answer.status, 500);
    let text = log.text();
    assert!(
        text.contains("dpop_proof_refused") && text.contains("clock"),
        "{text}"
    );

    let recording = log.record_only("dpop_proof_rejected");
    server.fail(Endpoint::UserInfo, Fault::status(401));
    let challenge = HeaderValue::from_static("DPoP error=\"invalid_dpop_proof\"");
    let field = http::header::WWW_AUTHENTICATE;
    server.fail(Endpoint::UserInfo, Fault::header(field, challenge));
    let text = userinfo(&shop, &jar).await.text();
    drop(recording);
    assert!(text.contains("clock"), "{text}");
    let text = log.text();
    assert!(text.contains("time=1800000000"), "{text}");
    assert!(text.contains(&format!("{ISSUER}/userinfo")), "{text}");
    assert_eq!(server.count(Endpoint::UserInfo), 1, "it is not repeated");
}

/// Sessions keep the tokens that they have when the setting changes.
#[tokio::test]
async fn existing_sessions_outlive_a_change_of_the_setting() {
    for (before, after) in [(true, false), (false, true)] {
        let server = crate::support::shop::server();
        let of = |dpop| {
            let layer = login(&server);
            let layer = if dpop { layer.with_dpop() } else { layer };
            shop(&server, layer, &Default::default())
        };
        let jar = of(before).signed_in().await;
        server.clock().advance(std::time::Duration::from_secs(300));
        let answer = token(&of(after), &jar).await;
        assert_eq!(answer.status, 200, "{before} {after}: {}", answer.text());
        let is_bound = Proof::read(&answer.text()).claims.get("cnf").is_some();
        assert_eq!(is_bound, before, "{before} {after}");
    }
    // The application cannot name another key.
    let server = dpop_server(|client| client);
    let named = login(&server).with_authorization_parameter("dpop_jkt", "x");
    assert!(named.is_err());
}
