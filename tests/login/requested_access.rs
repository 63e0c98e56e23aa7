//! What a login requests beside scopes: authorization details (RFC 9396), claims (OpenID Connect Core §5.5) and resources
//! (RFC 8707).

use axum::Router;
use axum::routing::get;
use http::StatusCode;
use serde_json::{Value, json};
use tower_oauth::testing::{Endpoint, Fault, TestServer, TestUser};
use tower_oauth::{ConfigError, LoginLayer, Session};

use crate::support::logs::Logs;
use crate::support::shop::*;

/// A shop at this server, whose `/granted` lists the authorization details of the session.
fn shop_at(server: TestServer, configure: impl FnOnce(LoginLayer) -> LoginLayer) -> Shop {
    let granted = async |session: Session| session.authorization_details().to_json();
    let claims = async |session: Session| session.claims().as_json().to_owned();
    let userinfo = async |session: Session| {
        let userinfo = session.userinfo().await.unwrap();
        userinfo.get("nickname").unwrap_or_default().to_string()
    };
    let app = Router::new()
        .route("/", get(async || "home"))
        .route("/granted", get(granted))
        .route("/claims", get(claims))
        .route("/userinfo", get(userinfo))
        .layer(configure(login(&server)));
    Shop { server, app }
}

/// Signs in, with a modified token response. Returns the status and the error code.
async fn sign_in_with(shop: &Shop, fault: Option<Fault>) -> (StatusCode, String) {
    let mut jar = Jar::default();
    let answer = shop.start("/auth/login", &mut jar).await;
    let callback = shop.approve(answer.location(), "alice").await;
    if let Some(fault) = fault {
        shop.server.fail_once(Endpoint::Token, fault);
    }
    let answer = shop.send(Ask::new("GET", &callback).jar(&jar)).await;
    let code = match answer.body.is_empty() {
        true => String::new(),
        false => answer.json()["code"].as_str().unwrap().to_owned(),
    };
    (answer.status, code)
}

fn payment() -> Value {
    json!({ "type": "payment", "actions": ["initiate", "status"], "amount": "12.00" })
}

fn paying(login: LoginLayer) -> LoginLayer {
    login
        .with_authorization_details(json!([payment(), { "type": "account" }]))
        .unwrap()
}

/// RFC 9396 §7: what was granted, not what was requested.
#[tokio::test]
async fn a_session_has_the_authorization_details_that_were_granted() {
    let narrower = |mut detail: Value| {
        detail["actions"] = json!(["status"]);
        (detail["type"] == "payment").then_some(detail)
    };
    for (name, server, expected) in [
        (
            "narrower",
            server().with_authorization_details(["payment", "account"], narrower),
            json!([{ "type": "payment", "actions": ["status"], "amount": "12.00" }]),
        ),
        (
            "nothing",
            server().with_authorization_details(["payment", "account"], |_| None),
            json!([]),
        ),
        ("a server that does not say", server(), json!([])),
    ] {
        let shop = shop_at(server, paying);
        let jar = shop.signed_in().await;
        let request = shop.server.requests().into_iter();
        let mut requests = request.filter(|one| one.endpoint() == Endpoint::Authorization);
        let sent = requests.find_map(|one| one.parameter("authorization_details"));
        let sent: Value = serde_json::from_str(&sent.unwrap()).unwrap();
        assert_eq!(sent, json!([payment(), { "type": "account" }]), "{name}");
        let granted = shop.send(Ask::page("/granted").jar(&jar)).await.json();
        assert_eq!(granted, expected, "{name}");
    }
}

#[tokio::test]
async fn malformed_granted_details_are_not_used_and_do_not_fail_the_login() {
    let server = server().with_authorization_details(["payment", "account"], |_| Some(json!({})));
    let shop = shop_at(server, paying);
    let log = Logs::default();
    let recording = log.record();
    let jar = shop.signed_in().await;
    drop(recording);
    let granted = shop.send(Ask::page("/granted").jar(&jar)).await;
    assert_eq!(granted.json(), json!([]));
    let text = log.text();
    assert!(text.contains("token_response_member_ignored"), "{text}");
}

/// RFC 9396 §10.
#[tokio::test]
async fn a_type_that_the_metadata_does_not_list_is_a_configuration_error() {
    let server = server().with_authorization_details(["account"], Some);
    let layer = paying(login(&server));
    let error = layer.ready().await.unwrap_err();
    assert_eq!(error.code(), "authorization_details_unsupported");
    let text = error.to_string();
    assert!(
        text.contains("payment") && text.contains("account"),
        "{text}"
    );
    let shop = shop_at(server, paying);
    let answer = shop.send(Ask::page("/auth/login")).await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    // A server without a list may support any type.
    paying(login(&self::server())).ready().await.unwrap();
}

/// RFC 9396 §5, RFC 8707 §2: the application asks for what this server does not have.
#[tokio::test]
async fn a_rejected_request_for_access_is_reported_as_a_configuration_error() {
    type Configure = fn(LoginLayer) -> LoginLayer;
    let resource: Configure = |login| login.add_resource("https://api.example.com").unwrap();
    for (configure, error, expected) in [
        (resource, "invalid_target", "resource_refused"),
        (
            paying as Configure,
            "invalid_authorization_details",
            "authorization_details_refused",
        ),
    ] {
        let client = client().with_resources(["https://api.example.com"]);
        let shop = shop_at(server().add_client(client), configure);
        shop.server
            .fail(Endpoint::Authorization, Fault::parameter("error", error));
        shop.server
            .fail(Endpoint::Authorization, Fault::without_parameter("code"));
        let mut jar = Jar::default();
        let answer = shop.start("/auth/login", &mut jar).await;
        let callback = shop.approve(answer.location(), "alice").await;
        let answer = shop.send(Ask::new("GET", &callback).jar(&jar)).await;
        assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(answer.json()["code"], expected);
        assert_eq!(shop.token_calls(), 0);
    }
}

#[tokio::test]
async fn requested_claims_are_sent_and_returned() {
    let claims = json!({
        "id_token": { "nickname": null, "acr": { "values": ["gold"] } },
        "userinfo": { "nickname": { "essential": true } },
    });
    let user = TestUser::new("alice", "wonderland").with_claim("nickname", "Al");
    let requested = claims.clone();
    let shop = shop_at(server().add_user(user), move |login| {
        login.with_requested_claims(requested).unwrap()
    });
    let jar = shop.signed_in().await;
    let requests = shop.server.requests().into_iter();
    let sent = requests
        .filter_map(|request| request.parameter("claims"))
        .next();
    let sent: Value = serde_json::from_str(&sent.unwrap()).unwrap();
    assert_eq!(sent, claims);
    let id_token = shop.send(Ask::page("/claims").jar(&jar)).await.json();
    assert_eq!(id_token["nickname"], "Al");
    let userinfo = shop.send(Ask::page("/userinfo").jar(&jar)).await;
    assert_eq!(userinfo.text(), "\"Al\"");
}

/// OpenID Connect Core §5.5.1, §5.5.1.1. `token::id_token` has the table.
#[tokio::test]
async fn a_requested_value_that_the_id_token_does_not_have_creates_no_session() {
    let with = |name: &'static str, value: &'static str| {
        Some(Fault::id_token(move |mint| mint.with_claim(name, value)))
    };
    let strong = json!({ "acr": { "essential": true, "values": ["gold", "silver"] } });
    let intent = json!({ "openbanking_intent_id": { "essential": true, "value": "i1" } });
    let refused = "id_token_requested_claim";
    for (claims, fault, expected) in [
        (strong.clone(), with("acr", "silver"), ""),
        (strong.clone(), with("acr", "bronze"), refused),
        (strong, None, refused),
        (intent.clone(), with("openbanking_intent_id", "i1"), ""),
        (intent.clone(), with("openbanking_intent_id", "i2"), refused),
        (intent, None, refused),
        (json!({ "sub": { "value": "alice" } }), None, ""),
        (json!({ "sub": { "value": "bob" } }), None, refused),
        (
            json!({ "acr": { "values": ["gold"] } }),
            with("acr", "bronze"),
            "",
        ),
    ] {
        let requested = json!({ "id_token": claims });
        let shop = shop_at(server(), |login| {
            login.with_requested_claims(requested.clone()).unwrap()
        });
        let log = Logs::default();
        let recording = log.record();
        let (status, code) = sign_in_with(&shop, fault).await;
        drop(recording);
        assert_eq!(code, expected, "{requested}");
        if !expected.is_empty() {
            assert_eq!(status, StatusCode::BAD_GATEWAY, "{requested}");
            assert!(
                log.text().contains("with_requested_claims"),
                "{}",
                log.text()
            );
        }
    }
}

#[tokio::test]
async fn invalid_requests_for_access_are_refused_without_repeating_them() {
    let login = login(&server());
    let details = login
        .clone()
        .with_authorization_details(json!({ "iban": "DE1" }));
    let claims = login
        .clone()
        .with_requested_claims(json!({ "iban": "DE1" }));
    for error in [details.unwrap_err(), claims.unwrap_err()] {
        assert!(matches!(error, ConfigError::Setting { .. }), "{error}");
        assert!(!error.to_string().contains("iban"), "{error}");
    }
    for name in ["resource", "authorization_details", "claims"] {
        let error = login.clone().with_authorization_parameter(name, "x");
        let error = error.unwrap_err().to_string();
        assert!(error.contains("use `"), "{error}");
    }
    let resource = login.add_resource("https://api.example.com/#a");
    assert!(matches!(resource, Err(ConfigError::Url { .. })));
}
