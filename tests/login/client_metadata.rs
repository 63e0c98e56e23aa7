//! The metadata document of the client and its key set.

use std::collections::BTreeSet;
use std::error::Error;
use std::time::Duration;

use axum::Router;
use http::StatusCode;
use serde_json::{Value, json};
use tower_oauth::issuer::RemoteSigner;
use tower_oauth::login::{ClientMetadata, FlowErrorKind, RouteNames};
use tower_oauth::store::MemoryStore;
use tower_oauth::testing::{TestClient, TestServer, TestUser};
use tower_oauth::{
    Algorithm, AuthorizationServer, Client, ConfigError, CookieKey, LoginLayer, Provider,
    SigningKey,
};

use crate::support::shop::*;

const DOCUMENT: &str = "https://shop.example.com/auth/client-metadata.json";
const SECRET: &str = "a secret of at least 32 characters";

fn key(id: &str) -> SigningKey {
    SigningKey::from_pem(&rcgen::KeyPair::generate().unwrap().serialize_pem())
        .unwrap()
        .with_key_id(id)
}

fn layer(client: Client) -> LoginLayer {
    let server = AuthorizationServer::new(ISSUER).unwrap();
    let cookies = CookieKey::from_bytes(&KEY).unwrap();
    LoginLayer::new(&server, client, CALLBACK, cookies).unwrap()
}

fn published(login: LoginLayer) -> Result<LoginLayer, ConfigError> {
    login.with_client_metadata(ClientMetadata::new())
}

async fn get(login: &LoginLayer, path: &str) -> Answer {
    send(&app(login), Ask::new("GET", path)).await
}

async fn document(login: &LoginLayer) -> Value {
    let answer = get(login, login.client_metadata_path().unwrap()).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    answer.json()
}

async fn key_ids(login: &LoginLayer) -> Vec<String> {
    let set = get(login, login.jwks_path().unwrap()).await.json();
    let keys = set["keys"].as_array().unwrap().iter();
    keys.map(|key| key["kid"].as_str().unwrap_or_default().to_owned())
        .collect()
}

#[tokio::test]
async fn the_document_has_what_is_configured_and_nothing_else() {
    let login = published(layer(Client::public(DOCUMENT))).unwrap();
    assert_eq!(
        document(&login).await,
        json!({
            "client_id": DOCUMENT,
            "redirect_uris": [CALLBACK],
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "scope": "openid",
            "token_endpoint_auth_method": "none",
            "frontchannel_logout_uri": "https://shop.example.com/auth/frontchannel-logout",
            "frontchannel_logout_session_required": true,
        })
    );
    let metadata = ClientMetadata::new()
        .with_client_name("Shop")
        .with_client_uri("https://shop.example.com/")
        .and_then(|one| one.with_logo_uri("https://shop.example.com/logo.png"))
        .and_then(|one| one.with_tos_uri("https://shop.example.com/terms"))
        .and_then(|one| one.with_policy_uri("https://shop.example.com/privacy"))
        .and_then(|one| one.with_member("client_name#de", "Laden"))
        .and_then(|one| one.with_member("contacts", json!(["admin@shop.example.com"])))
        .unwrap();
    // Settings that follow are in the document, too.
    let login = layer(Client::private_key_jwt(DOCUMENT, key("one")))
        .with_client_metadata(metadata)
        .unwrap()
        .with_scopes("openid email offline_access")
        .and_then(|login| login.with_post_logout_redirect_uri(LOGOUT))
        .unwrap()
        .with_session_store(MemoryStore::new().with_single_process())
        .with_unnamed_frontchannel_logout()
        .with_dpop();
    assert_eq!(
        document(&login).await,
        json!({
            "client_id": DOCUMENT,
            "client_name": "Shop",
            "client_name#de": "Laden",
            "client_uri": "https://shop.example.com/",
            "logo_uri": "https://shop.example.com/logo.png",
            "tos_uri": "https://shop.example.com/terms",
            "policy_uri": "https://shop.example.com/privacy",
            "contacts": ["admin@shop.example.com"],
            "redirect_uris": [CALLBACK],
            "post_logout_redirect_uris": [LOGOUT],
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "scope": "openid email offline_access",
            "token_endpoint_auth_method": "private_key_jwt",
            "token_endpoint_auth_signing_alg": "ES256",
            "jwks_uri": "https://shop.example.com/auth/jwks.json",
            "dpop_bound_access_tokens": true,
            "backchannel_logout_uri": "https://shop.example.com/auth/backchannel-logout",
            "backchannel_logout_session_required": true,
            "frontchannel_logout_uri": "https://shop.example.com/auth/frontchannel-logout",
        })
    );
}

#[tokio::test]
async fn profiles_and_certificates_are_stated() {
    let signing = |id| Client::private_key_jwt(DOCUMENT, key(id));
    let method = ClientMetadata::new().with_member("token_endpoint_auth_method", "tls_client_auth");
    let subject = method.and_then(|one| one.with_member("tls_client_auth_subject_dn", "CN=shop"));
    let rows: [(LoginLayer, ClientMetadata, Value); 4] = [
        (
            layer(signing("one")).with_fapi2_security_profile().unwrap(),
            ClientMetadata::new(),
            json!({
                "dpop_bound_access_tokens": true, "require_pushed_authorization_requests": true,
                "id_token_signed_response_alg": "PS256", "authorization_signed_response_alg": null,
                "request_object_signing_alg": null, "require_signed_request_object": null,
                "tls_client_certificate_bound_access_tokens": null,
            }),
        ),
        (
            layer(signing("one"))
                .with_fapi2_message_signing(key("two"))
                .unwrap(),
            ClientMetadata::new(),
            json!({
                "require_pushed_authorization_requests": true, "require_signed_request_object": true,
                "request_object_signing_alg": "ES256", "authorization_signed_response_alg": "PS256",
            }),
        ),
        (
            layer(Client::mutual_tls(DOCUMENT)),
            subject.unwrap(),
            json!({
                "token_endpoint_auth_method": "tls_client_auth", "tls_client_auth_subject_dn": "CN=shop",
                "tls_client_certificate_bound_access_tokens": true, "jwks_uri": null,
            }),
        ),
        (
            layer(Client::public("shop"))
                .with_id_token_algorithms([Algorithm::Es256])
                .unwrap(),
            ClientMetadata::new(),
            json!({ "client_id": null, "id_token_signed_response_alg": "ES256" }),
        ),
    ];
    for (login, metadata, expected) in rows {
        let found = document(&login.with_client_metadata(metadata).unwrap()).await;
        for (name, value) in expected.as_object().unwrap() {
            assert_eq!(
                found.get(name).unwrap_or(&Value::Null),
                value,
                "{name}: {found}"
            );
        }
    }
}

#[tokio::test]
async fn the_key_set_has_public_keys_only() {
    let (next, previous) = (key("next"), key("previous"));
    let metadata = ClientMetadata::new()
        .add_key(&next.public_jwk())
        .and_then(|one| one.add_key(&previous.public_jwk()))
        .unwrap();
    let login = layer(Client::private_key_jwt(DOCUMENT, key("now")))
        .with_signed_requests(key("requests"))
        .with_client_metadata(metadata)
        .unwrap();
    assert_eq!(
        key_ids(&login).await,
        ["now", "requests", "next", "previous"]
    );
    let set = get(&login, "/auth/jwks.json").await.json();
    for key in set["keys"].as_array().unwrap() {
        let members: BTreeSet<&str> = key
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        let expected = ["alg", "crv", "kid", "kty", "use", "x", "y"];
        assert_eq!(members, BTreeSet::from(expected));
    }
    // One key for both purposes is in the set once.
    let shared = key("shared");
    let login =
        layer(Client::private_key_jwt(DOCUMENT, shared.clone())).with_signed_requests(shared);
    assert_eq!(key_ids(&published(login).unwrap()).await, ["shared"]);
}

struct Kms(Option<SigningKey>);

impl RemoteSigner for Kms {
    fn algorithm(&self) -> Algorithm {
        Algorithm::Es256
    }

    fn key_id(&self) -> Option<String> {
        Some("kms".to_owned())
    }

    fn public_jwk(&self) -> Option<Value> {
        self.0.as_ref().map(SigningKey::public_jwk)
    }

    async fn sign(&self, _: &[u8]) -> Result<Vec<u8>, Box<dyn Error + Send + Sync>> {
        Err("not reachable".into())
    }
}

#[tokio::test]
async fn the_key_of_a_remote_signer_is_returned_by_it_or_added() {
    let client = |key| Client::private_key_jwt(DOCUMENT, Kms(key));
    let login = published(layer(client(Some(key("kms"))))).unwrap();
    assert_eq!(key_ids(&login).await, ["kms"]);
    let with = |id: &str| {
        ClientMetadata::new()
            .add_key(&key(id).public_jwk())
            .unwrap()
    };
    let login = layer(client(None))
        .with_client_metadata(with("kms"))
        .unwrap();
    assert_eq!(key_ids(&login).await, ["kms"]);
    for metadata in [ClientMetadata::new(), with("another")] {
        let error = layer(client(None))
            .with_client_metadata(metadata)
            .unwrap_err();
        assert!(
            error.to_string().contains("RemoteSigner::public_jwk"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_document_that_a_server_would_reject_is_a_configuration_error() {
    let elsewhere = "https://shop.example.com/client.json";
    let tls = ClientMetadata::new().with_member("token_endpoint_auth_method", "tls_client_auth");
    let rows: [(&str, Result<LoginLayer, ConfigError>, &[&str]); 9] = [
        (
            "a method of another client",
            layer(Client::private_key_jwt(DOCUMENT, key("a"))).with_client_metadata(tls.unwrap()),
            &["token_endpoint_auth_method", "Client::mutual_tls"],
        ),
        (
            "another URL",
            published(layer(Client::public(elsewhere))),
            &[elsewhere, DOCUMENT],
        ),
        (
            "another spelling",
            published(layer(Client::public(
                "https://shop.example.com:443/auth/client-metadata.json",
            ))),
            &["https://shop.example.com:443/", DOCUMENT],
        ),
        (
            "another route name, set later",
            published(layer(Client::public(DOCUMENT))).and_then(|login| {
                login.with_route_names(RouteNames::new().with_client_metadata("client"))
            }),
            &[DOCUMENT, "https://shop.example.com/auth/client)"],
        ),
        (
            "client_secret_basic",
            published(layer(Client::confidential(DOCUMENT, SECRET))),
            &[DOCUMENT, "secret", "Client::private_key_jwt"],
        ),
        (
            "client_secret_post",
            published(layer(Client::confidential_post(DOCUMENT, SECRET))),
            &["secret"],
        ),
        (
            "client_secret_jwt",
            published(layer(Client::client_secret_jwt(DOCUMENT, SECRET))),
            &["secret"],
        ),
        (
            "mutual TLS of an unknown kind",
            published(layer(Client::mutual_tls(DOCUMENT))),
            &["token_endpoint_auth_method", "self_signed_tls_client_auth"],
        ),
        (
            "two keys with one id",
            published(
                layer(Client::private_key_jwt(DOCUMENT, key("a"))).with_signed_requests(key("a")),
            ),
            &["kid", "SigningKey::with_key_id"],
        ),
    ];
    for (case, built, expected) in rows {
        let error = built.err().unwrap_or_else(|| panic!("{case}")).to_string();
        for text in expected {
            assert!(error.contains(text), "{case}: {error}");
        }
        assert!(!error.contains(SECRET), "{case}: {error}");
    }
    // A setting that follows and returns no error.
    let login = published(layer(Client::private_key_jwt(DOCUMENT, key("a")))).unwrap();
    let login = login.with_signed_requests(key("a"));
    for path in ["/auth/client-metadata.json", "/auth/jwks.json"] {
        let answer = get(&login, path).await;
        assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "{path}");
        assert_eq!(answer.json(), json!({ "error": "server_error" }));
    }
    let error = login.ready().await.unwrap_err();
    assert_eq!(error.kind(), FlowErrorKind::Configuration);
    assert!(
        error.to_string().contains("SigningKey::with_key_id"),
        "{error}"
    );
}

#[tokio::test]
async fn members_of_the_application_are_neither_secrets_nor_those_of_the_layer() {
    for (name, value) in [
        ("client_secret", json!(SECRET)),
        ("client_secret_expires_at", json!(0)),
        ("jwks", json!({ "keys": [] })),
        ("jwks_uri", json!("https://shop.example.com/keys")),
        ("client_id", json!(DOCUMENT)),
        ("redirect_uris", json!([])),
        ("token_endpoint_auth_method", json!("none")),
        ("registration_access_token", json!("token")),
        ("", json!(1)),
        (" ", json!(1)),
        ("Client_Secret", json!(SECRET)),
        ("client_secret#de", json!(SECRET)),
        ("JWKS", json!({ "keys": [] })),
        ("Client_ID", json!("other")),
        ("Token_Endpoint_Auth_Method", json!("tls_client_auth")),
        ("extra", json!({ "a": [{ "client_secret": SECRET }] })),
        ("extra", json!([{ "kty": "oct", "k": SECRET }])),
        (
            "extra",
            json!({ "keys": [{ "kty": "RSA", "n": "n", "e": "AQAB", "dp": SECRET }] }),
        ),
        (
            "extra",
            json!({ "key": { "KTY": "EC", "x": "x", "D": SECRET } }),
        ),
    ] {
        let error = ClientMetadata::new().with_member(name, value).unwrap_err();
        assert!(!error.to_string().contains(SECRET), "{error}");
    }
    for value in [
        json!({ "kty": "EC", "crv": "P-256", "x": "x", "y": "y" }),
        json!({ "d": "not of a key", "k": 1 }),
    ] {
        assert!(ClientMetadata::new().with_member("extra", value).is_ok());
    }
    let urls = [
        "http://shop.example.com/",
        "javascript:alert(1)",
        "/privacy",
        "",
    ];
    for url in urls {
        assert!(ClientMetadata::new().with_policy_uri(url).is_err(), "{url}");
    }
    let private = json!({ "kty": "OKP", "crv": "Ed25519", "d": SECRET,
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" });
    let error = ClientMetadata::new().add_key(&private).unwrap_err();
    assert!(error.to_string().contains("private") && !error.to_string().contains(SECRET));
}

#[tokio::test]
async fn a_client_with_a_registered_id_publishes_keys_and_a_document_without_an_id() {
    let login = published(layer(Client::private_key_jwt("shop", key("a")))).unwrap();
    let document = document(&login).await;
    assert_eq!(document.get("client_id"), None);
    assert_eq!(
        document["jwks_uri"],
        "https://shop.example.com/auth/jwks.json"
    );
    assert_eq!(key_ids(&login).await, ["a"]);
    let login = published(layer(Client::confidential("shop", SECRET))).unwrap();
    let answer = get(&login, "/auth/client-metadata.json").await;
    assert!(!answer.text().contains(SECRET));
    assert_eq!(
        answer.json()["token_endpoint_auth_method"],
        "client_secret_basic"
    );
}

#[tokio::test]
async fn both_are_public_cacheable_and_the_same_for_every_caller() {
    let metadata = ClientMetadata::new().with_max_age(Duration::from_secs(600));
    let login = layer(Client::private_key_jwt(DOCUMENT, key("a")))
        .with_client_metadata(metadata)
        .unwrap();
    let app = app(&login);
    for path in ["/auth/client-metadata.json", "/auth/jwks.json"] {
        let answer = send(&app, Ask::new("GET", path)).await;
        for (name, expected) in [
            ("content-type", "application/json"),
            ("cache-control", "public, max-age=600"),
            ("access-control-allow-origin", "*"),
            ("cross-origin-resource-policy", "cross-origin"),
            ("x-content-type-options", "nosniff"),
            ("vary", ""),
            ("set-cookie", ""),
        ] {
            assert_eq!(answer.header(name), expected, "{path} {name}");
        }
        // A page of another site, with cookies that no session has.
        let cookies = format!("{SESSION}=v1.garbage");
        let foreign = [
            ("cookie", cookies.as_str()),
            ("origin", "https://evil.example"),
            ("sec-fetch-site", "cross-site"),
        ];
        let other = send(&app, Ask::new("GET", path).with(&foreign)).await;
        assert_eq!((other.head(), &other.body), (answer.head(), &answer.body));
        let head = send(&app, Ask::new("HEAD", path)).await;
        assert_eq!((head.head(), head.body.len()), (answer.head(), 0), "{path}");
        let tag = answer.header("etag");
        for (sent, status) in [
            (tag.to_owned(), StatusCode::NOT_MODIFIED),
            (format!("\"other\", W/{tag}"), StatusCode::NOT_MODIFIED),
            ("*".to_owned(), StatusCode::NOT_MODIFIED),
            ("\"other\"".to_owned(), StatusCode::OK),
        ] {
            let request = Ask::new("GET", path).with(&[("if-none-match", &sent)]);
            let again = send(&app, request).await;
            assert_eq!(again.status, status, "{path} {sent}");
            assert_eq!(again.header("etag"), tag);
            assert_eq!(again.body.is_empty(), status != StatusCode::OK);
        }
        let preflight = send(&app, Ask::new("OPTIONS", path)).await;
        assert_eq!(preflight.status, StatusCode::NO_CONTENT);
        assert_eq!(
            preflight.header("access-control-allow-methods"),
            "GET, HEAD"
        );
        for method in ["POST", "PUT", "DELETE"] {
            let answer = send(&app, Ask::new(method, path)).await;
            assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{method}");
        }
    }
    // The routes can be merged into a router, as the others.
    let router: Router = Router::new().merge(login.routes());
    let merged = send(&router, Ask::new("GET", "/auth/jwks.json")).await;
    assert_eq!(merged.status, StatusCode::OK);
}

#[tokio::test]
async fn without_the_setting_there_are_no_such_routes() {
    let login = layer(Client::private_key_jwt(DOCUMENT, key("a")));
    assert_eq!(
        (login.client_metadata_path(), login.jwks_path()),
        (None, None)
    );
    for path in ["/auth/client-metadata.json", "/auth/jwks.json"] {
        assert_eq!(get(&login, path).await.status, StatusCode::NOT_FOUND);
    }
    let names = RouteNames::new()
        .with_client_metadata("client")
        .with_jwks("keys");
    let login = layer(Client::private_key_jwt(
        "https://shop.example.com/auth/client",
        key("a"),
    ))
    .with_route_names(names)
    .and_then(published)
    .unwrap();
    assert_eq!(
        document(&login).await["jwks_uri"],
        "https://shop.example.com/auth/keys"
    );
    assert_eq!(key_ids(&login).await, ["a"]);
}

#[tokio::test]
async fn providers_with_one_client_share_its_document() {
    let add = |settings: fn(Provider) -> Provider, id: &str| {
        let server = AuthorizationServer::new("https://other-id.example.test").unwrap();
        let provider = Provider::new("other", &server, Client::private_key_jwt(id, key("b")));
        let login = layer(Client::private_key_jwt(DOCUMENT, key("a"))).with_dpop();
        let login = login
            .with_scopes("openid email")
            .and_then(published)
            .unwrap();
        login.add_provider(settings(provider.unwrap()))
    };
    let login = add(|one| one.with_scopes("openid orders").unwrap(), DOCUMENT).unwrap();
    let found = document(&login).await;
    let second = format!("{CALLBACK}/other");
    assert_eq!(found["redirect_uris"], json!([CALLBACK, second]));
    assert_eq!(found["scope"], "openid email orders");
    // The other server would require it, too.
    assert_eq!(found.get("dpop_bound_access_tokens"), None);
    assert_eq!(key_ids(&login).await, ["a", "b"]);
    let login = add(Provider::with_dpop, DOCUMENT).unwrap();
    assert_eq!(document(&login).await["dpop_bound_access_tokens"], true);
    // A client of another registration is not described.
    let login = add(Provider::with_dpop, "registered").unwrap();
    assert_eq!(document(&login).await["redirect_uris"], json!([CALLBACK]));
    assert_eq!(key_ids(&login).await, ["a"]);
    // Two values of one member.
    let es256 = |one: Provider| one.with_id_token_algorithms([Algorithm::Es256]).unwrap();
    let login = add(es256, DOCUMENT).unwrap();
    assert_eq!(
        document(&login).await["id_token_signed_response_alg"],
        "ES256"
    );
    let server = AuthorizationServer::new("https://third-id.example.test").unwrap();
    let third = Provider::new(
        "third",
        &server,
        Client::private_key_jwt(DOCUMENT, key("c")),
    );
    let third = third.and_then(|one| one.with_id_token_algorithms([Algorithm::EdDsa]));
    let error = login.add_provider(third.unwrap()).unwrap_err().to_string();
    assert!(error.contains("id_token_signed_response_alg"), "{error}");
}

/// They are of the client, and not of one provider.
#[tokio::test]
async fn members_of_the_application_are_kept_with_several_providers() {
    let metadata = ClientMetadata::new()
        .with_member("require_auth_time", true)
        .and_then(|one| one.with_member("contacts", json!(["admin@shop.example.com"])))
        .unwrap();
    let mut login = layer(Client::private_key_jwt(DOCUMENT, key("a")))
        .with_client_metadata(metadata)
        .unwrap();
    for name in ["second", "third"] {
        let server = AuthorizationServer::new(&format!("https://{name}.example.test")).unwrap();
        let client = Client::private_key_jwt(DOCUMENT, key(name));
        let provider = Provider::new(name, &server, client).unwrap();
        login = login.add_provider(provider).unwrap();
    }
    let document = document(&login).await;
    assert_eq!(document["require_auth_time"], true);
    assert_eq!(document["contacts"], json!(["admin@shop.example.com"]));
    assert_eq!(document["redirect_uris"].as_array().unwrap().len(), 3);
}

/// Registers the client as an authorization server does that fetches the document.
async fn register(server: TestServer, login: &LoginLayer, client_id: &str) -> TestServer {
    let fetch = async |url: &str| get(login, url.strip_prefix(SHOP).unwrap()).await;
    let document = fetch(client_id).await.json();
    assert_eq!(document["client_id"], client_id);
    assert_eq!(document["token_endpoint_auth_method"], "private_key_jwt");
    let set = fetch(document["jwks_uri"].as_str().unwrap()).await.json();
    let client = TestClient::private_key_jwt(client_id, set["keys"][0].clone())
        .with_scopes(document["scope"].as_str().unwrap())
        .unwrap();
    let uris = document["redirect_uris"].as_array().unwrap().iter();
    let client = uris.fold(client, |client, uri| {
        client.add_redirect_uri(uri.as_str().unwrap()).unwrap()
    });
    server.add_client(client.without_consent())
}

#[tokio::test]
async fn a_user_signs_in_with_a_client_that_only_its_document_registers() {
    let server = crate::support::still_server(ISSUER)
        .unwrap()
        .add_user(TestUser::new("alice", "wonderland"));
    let cookies = CookieKey::from_bytes(&KEY).unwrap();
    let client = Client::private_key_jwt(DOCUMENT, key("a"));
    let login = LoginLayer::new(&server.authorization_server(), client, CALLBACK, cookies)
        .and_then(published)
        .unwrap();
    let server = register(server, &login, DOCUMENT).await;
    let shop = Shop {
        server,
        app: app(&login),
    };
    let jar = shop.signed_in().await;
    assert_eq!(shop.greeting(&jar).await, "hello alice");
}
