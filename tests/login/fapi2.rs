//! The FAPI 2.0 Security Profile and Message Signing at the relying party.

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use http::StatusCode;
use serde_json::{Value, json};
use tower_oauth::login::{FlowErrorKind, PushedRequests, ResponseMode};
use tower_oauth::protocol::Metadata;
use tower_oauth::store::MemoryStore;
use tower_oauth::testing::{Endpoint, Fault, TestClient, TestServer, TestUser};
use tower_oauth::{
    Algorithm, AuthorizationServer, Client, ConfigError, CookieKey, LoginLayer, Session, SigningKey,
};

use crate::support::keys::ed25519 as key;
use crate::support::shop::*;

/// `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384`
const P384: &str = "-----BEGIN PRIVATE KEY-----
MIG2AgEAMBAGByqGSM49AgEGBSuBBAAiBIGeMIGbAgEBBDA2dp5ut8kwSPvuaXyR
3+FZzLE4Su4Sg5QbWY0jtW9ggwOK6hgTi/GT6E13k72CgEehZANiAATA1qJdWx+M
0VUM8Xml3MMAs3MoLpi4ZV9NuUH1N9fPTEFJHUrq8Y8W7nqdzx4TlaRJpANaOwTu
2uqyU0JBOI/tk7oyEQjKHGGgMve7HSRMG7/o6KPon/l2/bE92Gfbnqc=
-----END PRIVATE KEY-----";

fn es384() -> SigningKey {
    SigningKey::from_pem(P384).unwrap()
}

fn fapi2_server() -> TestServer {
    let client = TestClient::private_key_jwt("shop", key().public_jwk());
    crate::support::still_server(ISSUER)
        .unwrap()
        .with_fapi2()
        .with_signed_requests()
        .with_response_modes()
        .add_client(client.add_redirect_uri(CALLBACK).unwrap().without_consent())
        .add_user(TestUser::new("alice", "wonderland"))
}

fn signing_client() -> Client {
    Client::private_key_jwt("shop", key())
}

fn layer(server: &AuthorizationServer, client: Client, redirect_uri: &str) -> LoginLayer {
    let cookies = CookieKey::from_bytes(&KEY).unwrap();
    LoginLayer::new(server, client, redirect_uri, cookies).unwrap()
}

fn plain(server: &TestServer) -> LoginLayer {
    layer(&server.authorization_server(), signing_client(), CALLBACK)
}

fn profile(server: &TestServer) -> LoginLayer {
    plain(server).with_fapi2_security_profile().unwrap()
}

/// §5.3.3.2: pushed with an assertion, bound to a key, and nothing but a reference in the URL.
#[tokio::test]
async fn a_login_sends_what_a_strict_server_requires() {
    for (signed, order) in [(false, 0), (false, 1), (true, 0), (true, 1)] {
        let server = fapi2_server();
        let chosen = |login: LoginLayer| match signed {
            true => login.with_fapi2_message_signing(key()).unwrap(),
            false => login.with_fapi2_security_profile().unwrap(),
        };
        let scoped = |login: LoginLayer| login.with_scopes("openid email").unwrap();
        let login = match order {
            0 => scoped(chosen(plain(&server))),
            _ => chosen(scoped(plain(&server))),
        };
        login.ready().await.unwrap();
        let shop = Shop {
            app: app(&login),
            server,
        };
        let mut jar = Jar::default();
        let answer = shop.sign_in("alice", &mut jar).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{signed} {answer:?}");
        assert_eq!(shop.greeting(&jar).await, "hello alice", "{signed}");

        let requests = shop.server.requests();
        let sent = |endpoint| {
            let mut sent = requests.iter().filter(move |it| it.endpoint() == endpoint);
            sent.next().unwrap()
        };
        let pushed = sent(Endpoint::PushedAuthorizationRequest);
        assert_eq!(pushed.parameter("request").is_some(), signed);
        let nonce = pushed.parameter("nonce");
        assert!(signed || (43..=64).contains(&nonce.unwrap().len()));
        let url = sent(Endpoint::Authorization).parameters();
        let names: Vec<_> = url.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["client_id", "request_uri"], "{signed}");
        let token = sent(Endpoint::Token);
        assert!(token.header("dpop").is_some(), "{signed}");
        assert!(token.parameter("client_assertion").is_some(), "{signed}");
    }
}

/// Settings that contradict the profile are errors of the call that completes the contradiction.
#[tokio::test]
async fn settings_that_contradict_the_profile_are_refused_in_any_order() {
    type Change = fn(LoginLayer) -> Result<LoginLayer, ConfigError>;
    let server = fapi2_server();
    let changes: [(&str, Change); 3] = [
        ("PS256, ES256 and EdDSA", |login| {
            login.with_id_token_algorithms([Algorithm::Rs256, Algorithm::Es384])
        }),
        ("at most 1 minute", |login| {
            login.with_leeway(Duration::from_secs(61))
        }),
        ("with_end_session_endpoint", |login| {
            login.with_end_session_endpoint("https://id.example.test/logout", "to")
        }),
    ];
    for (expected, change) in changes {
        let after = change(profile(&server)).unwrap_err().to_string();
        let before = change(plain(&server))
            .unwrap()
            .with_fapi2_security_profile();
        for error in [after, before.unwrap_err().to_string()] {
            assert!(error.contains(expected), "{expected}: {error}");
        }
    }
    let error = plain(&server).with_pushed_requests(PushedRequests::Never);
    let error = error.with_fapi2_security_profile().unwrap_err().to_string();
    assert!(error.contains("with_pushed_requests"), "{error}");
    let error = plain(&server)
        .with_fapi2_message_signing(es384())
        .unwrap_err()
        .to_string();
    assert!(error.contains("PS256, ES256 or EdDSA"), "{error}");
}

/// The client, the authorization server and the redirect URI are fixed when the layer is created.
#[test]
fn a_client_or_server_that_cannot_comply_is_refused() {
    let server = AuthorizationServer::new(ISSUER).unwrap();
    let local = AuthorizationServer::new("http://127.0.0.1:8080").unwrap();
    let metadata = Metadata::new(ISSUER)
        .with_authorization_endpoint("https://id.example.test/authorize")
        .with_token_endpoint("https://id.example.test/token");
    let by_hand = AuthorizationServer::from_metadata(metadata).unwrap();
    let elsewhere = server
        .clone()
        .with_metadata_url("https://id.example.test/metadata");
    let revoking = server
        .clone()
        .with_revocation_endpoint("https://id.example.test/revoke");
    let loopback = "http://127.0.0.1:3000/auth/callback";
    let other = "https://id.example.test/token";
    for (expected, server, client, redirect_uri) in [
        ("", &server, signing_client(), CALLBACK),
        ("", &server, Client::mutual_tls("shop"), CALLBACK),
        (
            "private_key_jwt",
            &server,
            Client::confidential("shop", "s"),
            CALLBACK,
        ),
        (
            "private_key_jwt",
            &server,
            Client::confidential_post("shop", "s"),
            CALLBACK,
        ),
        ("private_key_jwt", &server, Client::public("shop"), CALLBACK),
        (
            "PS256, ES256 or EdDSA",
            &server,
            Client::private_key_jwt("shop", es384()),
            CALLBACK,
        ),
        (
            "with_assertion_audience",
            &server,
            signing_client().with_assertion_audience(other),
            CALLBACK,
        ),
        (
            "with_untyped_assertions",
            &server,
            signing_client().with_untyped_assertions(),
            CALLBACK,
        ),
        ("from_metadata", &by_hand, signing_client(), CALLBACK),
        (
            "with_metadata_url",
            &elsewhere.unwrap(),
            signing_client(),
            CALLBACK,
        ),
        (
            "with_revocation_endpoint",
            &revoking.unwrap(),
            signing_client(),
            CALLBACK,
        ),
        ("https", &local, signing_client(), CALLBACK),
        (
            "redirect URI must be https",
            &server,
            signing_client(),
            loopback,
        ),
    ] {
        let profile = layer(server, client, redirect_uri).with_fapi2_security_profile();
        match profile {
            Ok(_) => assert_eq!(expected, "", "accepted"),
            Err(error) => {
                let error = error.to_string();
                assert!(
                    !expected.is_empty() && error.contains(expected),
                    "{expected}: {error}"
                );
            }
        }
    }
}

/// What a later setting makes impossible is found before a login.
#[tokio::test]
async fn a_contradiction_that_no_setting_could_report_fails_every_login() {
    let server = fapi2_server();
    let signing = plain(&server).with_fapi2_message_signing(key()).unwrap();
    for (expected, login) in [
        (
            "with_pushed_requests",
            profile(&server).with_pushed_requests(PushedRequests::Never),
        ),
        (
            "with_pushed_requests",
            profile(&server).with_pushed_requests(PushedRequests::WhenAvailable),
        ),
        (
            "with_signed_requests",
            profile(&server).with_signed_requests(es384()),
        ),
        (
            "with_response_mode",
            signing.with_response_mode(ResponseMode::FormPost),
        ),
        (
            "with_third_party_login",
            profile(&server).with_third_party_login(),
        ),
        (
            "with_third_party_login",
            plain(&server)
                .with_third_party_login()
                .with_fapi2_security_profile()
                .unwrap(),
        ),
    ] {
        let error = login.ready().await.unwrap_err();
        assert_eq!(error.kind(), FlowErrorKind::Configuration, "{expected}");
        assert!(error.to_string().contains(expected), "{expected}: {error}");
        let answer = send(&app(&login), Ask::page("/auth/login")).await;
        assert_eq!(
            answer.status,
            StatusCode::INTERNAL_SERVER_ERROR,
            "{expected}"
        );
        assert!(answer.text().contains("fapi2_settings"), "{expected}");
    }
}

/// One member of the metadata is wrong at a time: `ready` names it, its value and what is required.
#[tokio::test]
async fn a_member_of_the_metadata_that_does_not_fit_is_named() {
    let set = |name: &'static str, value: Value| Fault::member(name, value);
    let gone = |name: &'static str| Fault::without_member(name);
    for (name, fault, found, expected) in [
        ("jwks_uri", None, "missing", "https URL"),
        (
            "pushed_authorization_request_endpoint",
            None,
            "missing",
            "https URL",
        ),
        ("code_challenge_methods_supported", None, "missing", "S256"),
        (
            "code_challenge_methods_supported",
            Some(json!(["plain"])),
            "plain",
            "S256",
        ),
        (
            "id_token_signing_alg_values_supported",
            None,
            "missing",
            "PS256",
        ),
        (
            "id_token_signing_alg_values_supported",
            Some(json!(["RS256", "ES384"])),
            "RS256",
            "PS256, ES256 or EdDSA",
        ),
        (
            "token_endpoint_auth_methods_supported",
            None,
            "missing",
            "private_key_jwt",
        ),
        (
            "token_endpoint_auth_methods_supported",
            Some(json!(["client_secret_basic", "tls_client_auth"])),
            "client_secret_basic",
            "private_key_jwt",
        ),
        (
            "authorization_response_iss_parameter_supported",
            None,
            "false",
            "true",
        ),
        (
            "authorization_response_iss_parameter_supported",
            Some(json!(false)),
            "false",
            "true",
        ),
        (
            "dpop_signing_alg_values_supported",
            None,
            "missing",
            "ES256",
        ),
        (
            "dpop_signing_alg_values_supported",
            Some(json!(["PS256", "EdDSA"])),
            "EdDSA",
            "ES256",
        ),
    ] {
        let server = fapi2_server();
        let fault = fault.map_or_else(|| gone(name), |value| set(name, value));
        server.fail(Endpoint::Metadata, fault);
        let login = profile(&server);
        let error = login.ready().await.unwrap_err();
        assert_eq!(error.kind(), FlowErrorKind::Configuration, "{name}");
        for part in [name, found, expected] {
            assert!(error.to_string().contains(part), "{name}: {error}");
        }
        let answer = send(&app(&login), Ask::page("/auth/login")).await;
        assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "{name}");
        assert!(
            answer.text().contains("fapi2_metadata"),
            "{name}: {}",
            answer.text()
        );
        assert_eq!(
            server.count(Endpoint::PushedAuthorizationRequest),
            0,
            "{name}"
        );
    }
}

/// Message Signing: signed responses have `iss`; the algorithms of responses may be unlisted, and not others.
#[tokio::test]
async fn signed_responses_replace_the_issuer_parameter() {
    for (name, value, is_ready) in [
        (
            "authorization_response_iss_parameter_supported",
            json!(false),
            true,
        ),
        (
            "authorization_signing_alg_values_supported",
            json!(["PS256"]),
            true,
        ),
        (
            "authorization_signing_alg_values_supported",
            json!(["RS256"]),
            false,
        ),
        (
            "request_object_signing_alg_values_supported",
            json!(["RS256"]),
            false,
        ),
        ("response_modes_supported", json!(["query"]), false),
    ] {
        let server = fapi2_server();
        server.fail(Endpoint::Metadata, Fault::member(name, value));
        let login = plain(&server).with_fapi2_message_signing(key()).unwrap();
        match login.ready().await {
            Ok(()) => assert!(is_ready, "{name}"),
            Err(error) => {
                assert!(
                    !is_ready && error.to_string().contains(name),
                    "{name}: {error}"
                );
            }
        }
    }
}

/// RFC 8705: a client with a certificate has tokens bound to it, or to a DPoP key if that is set.
#[tokio::test]
async fn a_client_with_a_certificate_needs_certificate_bound_tokens_or_dpop() {
    let member = "tls_client_certificate_bound_access_tokens";
    let bound = || signing_client().with_certificate_bound_tokens();
    for (client, value, dpop, is_ready) in [
        (Client::mutual_tls("shop"), true, false, true),
        (Client::mutual_tls("shop"), false, false, false),
        (Client::mutual_tls("shop"), false, true, true),
        (bound(), true, false, true),
        (bound(), false, false, false),
    ] {
        let server = fapi2_server();
        server.fail(Endpoint::Metadata, Fault::member(member, value));
        let login = layer(&server.authorization_server(), client, CALLBACK);
        let login = if dpop { login.with_dpop() } else { login };
        let login = login.with_fapi2_security_profile().unwrap();
        let ready = login.ready().await;
        assert_eq!(ready.is_ok(), is_ready, "{value} {dpop} {ready:?}");
        if let Err(error) = ready {
            assert!(error.to_string().contains(member), "{error}");
        }
    }
}

/// §5.4.1 for what the server signs: ID tokens, userinfo, logout tokens and signed responses.
#[tokio::test]
async fn a_token_with_another_algorithm_is_rejected() {
    for (algorithm, is_accepted) in [
        (Algorithm::Ps256, true),
        (Algorithm::Es256, true),
        (Algorithm::EdDsa, true),
        (Algorithm::Rs256, false),
        (Algorithm::Es384, false),
    ] {
        let all = json!(["PS256", "ES256", "EdDSA", "RS256", "ES384"]);
        let list = Fault::member("id_token_signing_alg_values_supported", all);
        let started = |signing: bool| {
            let server = fapi2_server();
            server.fail(Endpoint::Metadata, list.clone());
            let login = match signing {
                true => plain(&server).with_fapi2_message_signing(key()).unwrap(),
                false => profile(&server),
            };
            let store = MemoryStore::new()
                .with_clock(server.clock())
                .with_single_process();
            let app = Router::new()
                .route("/userinfo", get(userinfo).layer(login.required()))
                .layer(login.with_session_store(store));
            Shop { server, app }
        };
        let shop = started(false);
        let _ = shop.server.clone().with_algorithm(algorithm);
        let status = shop.sign_in("alice", &mut Jar::default()).await.status;
        let expected = if is_accepted { 303 } else { 502 };
        assert_eq!(status, expected, "ID token {algorithm}");

        let shop = started(false);
        let jar = shop.signed_in().await;
        let claims = shop.server.id_token("shop").with_algorithm(algorithm);
        let signed = Fault::body("application/jwt", claims.sign());
        shop.server.fail(Endpoint::UserInfo, signed);
        let status = shop.send(Ask::page("/userinfo").jar(&jar)).await.status;
        let expected = if is_accepted { 200 } else { 502 };
        assert_eq!(status, expected, "userinfo {algorithm}");
        let token = shop.server.logout_token("shop").with_algorithm(algorithm);
        let ask = Ask::new("POST", "/auth/backchannel-logout")
            .set("content-type", "application/x-www-form-urlencoded")
            .body(&format!("logout_token={}", token.sign()));
        let expected = if is_accepted { 200 } else { 400 };
        assert_eq!(
            shop.send(ask).await.status,
            expected,
            "logout token {algorithm}"
        );

        let shop = started(true);
        let response = Fault::authorization_response(move |mint| mint.with_algorithm(algorithm));
        shop.server.fail(Endpoint::Authorization, response);
        let status = shop.sign_in("alice", &mut Jar::default()).await.status;
        let expected = if is_accepted { 303 } else { 400 };
        assert_eq!(status, expected, "response {algorithm}");
    }
}

async fn userinfo(session: Session) -> StatusCode {
    match session.userinfo().await {
        Ok(_) => StatusCode::OK,
        Err(_) => StatusCode::BAD_GATEWAY,
    }
}

/// §5.3.3.2: also if the metadata that another process has no longer declare it.
#[tokio::test]
async fn a_response_without_iss_is_rejected_whatever_the_metadata_say_then() {
    let server = fapi2_server();
    let shop = |login: &LoginLayer| Shop {
        app: app(login),
        server: server.clone(),
    };
    let first = shop(&profile(&server));
    let mut jar = Jar::default();
    let started = first.start("/auth/login", &mut jar).await;
    let member = "authorization_response_iss_parameter_supported";
    server.fail(Endpoint::Metadata, Fault::without_member(member));
    server.fail(Endpoint::Authorization, Fault::without_parameter("iss"));
    let callback = first.approve(started.location(), "alice").await;
    let other = shop(&profile(&server));
    let answer = other.send(Ask::page(&callback).jar(&jar)).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(server.count(Endpoint::Token), 0);
}

/// §5.3.3.1: the start of a login is protected against cross-site request forgery.
#[tokio::test]
async fn a_link_of_another_site_starts_no_login_without_a_confirmation() {
    let server = fapi2_server();
    let login = profile(&server);
    let open = |session: Option<Session>| async move { session.map_or("offers", |_| "orders") };
    let app = Router::new()
        .route("/open", get(open).layer(login.silent_login()))
        .layer(login);
    let shop = Shop { app, server };
    let uri = "/auth/login?return_to=%2Fnotes&login_hint=a%22b";
    let old = || Ask::new("GET", uri).with(&PAGE[..1]);
    for (name, ask, starts) in [
        ("typed", Ask::page(uri), true),
        (
            "own",
            Ask::page(uri).set("sec-fetch-site", "same-origin"),
            true,
        ),
        (
            "a subdomain",
            Ask::page(uri).set("sec-fetch-site", "same-site"),
            false,
        ),
        (
            "another site",
            Ask::page(uri).set("sec-fetch-site", "cross-site"),
            false,
        ),
        ("an old browser", old(), false),
        (
            "its own page",
            old().with(&[("referer", &format!("{SHOP}/x"))]),
            true,
        ),
        (
            "a similar origin",
            old().with(&[("referer", &format!("{SHOP}.evil.example/"))]),
            false,
        ),
    ] {
        let before = shop.server.requests().len();
        let answer = shop.send(ask).await;
        if starts {
            assert_eq!(answer.status, StatusCode::SEE_OTHER, "{name}");
            assert!(answer.location().starts_with(ISSUER), "{name}");
            continue;
        }
        assert_eq!(answer.status, StatusCode::OK, "{name}");
        assert_eq!(answer.set_cookies(), [""; 0], "{name}");
        assert_eq!(shop.server.requests().len(), before, "{name}");
        let link = "href=\"/auth/login?return_to=%2Fnotes&amp;login_hint=a%22b\"";
        assert!(answer.text().contains(link), "{name} {}", answer.text());
    }
    // A silent login shows no page, so only a page of this application starts it.
    let foreign = |uri: &str| Ask::page(uri).set("sec-fetch-site", "cross-site");
    assert_eq!(shop.send(foreign("/open")).await.text(), "offers");
    let mut jar = Jar::default();
    let sealed = shop.start("/open", &mut jar).await.location().to_owned();
    let answer = shop.send(foreign(&sealed).jar(&jar)).await;
    assert_eq!(answer.location(), "/open");
    assert_eq!(answer.set_cookies(), [""; 0]);
}
