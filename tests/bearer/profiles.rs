//! The vendor profiles, with access tokens and ID tokens as each vendor issues them.

mod bindings;
mod marks;

use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use tower_oauth::testing::{Endpoint, TestServer};
use tower_oauth::token::{Audience, JwtVerifier, ScopeClaim, TokenProfile, VerifyErrorKind as Why};
use tower_oauth::{Algorithm, BearerLayer, ScopeLayer, VerifiedToken};

use crate::support::api::{Outcome, ask, case, check, present, present_at};
use crate::support::logs;

const NOW: i64 = 1_800_000_000;
const NOT_ACCESS: Outcome = Outcome::InvalidToken(Why::NotAnAccessToken);
const TYPE: Outcome = Outcome::InvalidToken(Why::Type);
const AUDIENCE: Outcome = Outcome::InvalidToken(Why::Audience);

const TENANT: &str = "7e6b25a1-0a3d-4b4f-9c1e-2f4d5c6b7a89";
const ENTRA_V1: &str = "https://sts.windows.net/7e6b25a1-0a3d-4b4f-9c1e-2f4d5c6b7a89/";
const ENTRA_V2: &str =
    "https://login.microsoftonline.com/7e6b25a1-0a3d-4b4f-9c1e-2f4d5c6b7a89/v2.0";
const ENTRA_API: &str = "api://0c5a1b7e-91a4-4b43-8a55-13a1f2d3c4b5";
const OKTA: &str = "https://dev-123456.okta.com/oauth2/default";
const AUTH0: &str = "https://shop.eu.auth0.com/";
const COGNITO: &str = "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_AbCdEfGhI";
const KEYCLOAK: &str = "https://sso.example.com/realms/shop";
const API: &str = "https://api.example.test";

fn vendor(issuer: &str) -> TestServer {
    logs::listen();
    crate::support::still_server(issuer)
        .unwrap()
        .with_algorithm(Algorithm::Es256)
}

/// Signs these claims with valid times, and with `typ` in the header if given.
fn token(server: &TestServer, typ: Option<&str>, claims: &Value) -> String {
    let mut claims = claims.clone();
    for (name, value) in [
        ("iss", json!(server.issuer())),
        ("iat", json!(NOW)),
        ("exp", json!(NOW + 3600)),
    ] {
        claims[name] = value;
    }
    let mint = server.access_token();
    let mint = match typ {
        Some(typ) => mint.with_header("typ", typ),
        None => mint.without_header("typ"),
    };
    mint.with_payload_bytes(claims.to_string()).sign()
}

/// Returns the claims without one of them.
fn without(claims: &Value, name: &str) -> Value {
    let mut claims = claims.clone();
    claims.as_object_mut().unwrap().remove(name).expect(name);
    claims
}

fn with(claims: &Value, name: &str, value: impl Into<Value>) -> Value {
    let mut claims = claims.clone();
    claims[name] = value.into();
    claims
}

/// `/` returns what the token states, `/read` requires the scope `orders.read`.
fn api(verifier: JwtVerifier) -> Router {
    let describe = async |token: VerifiedToken| {
        Json(json!({
            "sub": token.subject(),
            "client": token.client_id(),
            "client_only": token.is_client_only(),
            "scope": token.scopes().to_string(),
        }))
    };
    Router::new()
        .route("/", get(describe))
        .route(
            "/read",
            get(describe).layer(ScopeLayer::all("orders.read").unwrap()),
        )
        .layer(BearerLayer::new(verifier))
}

fn verifier(server: &TestServer, audience: impl Into<Audience>) -> JwtVerifier {
    JwtVerifier::new(&server.authorization_server(), audience).unwrap()
}

/// Returns what a handler receives of an accepted token.
async fn seen(api: &Router, token: &str) -> Value {
    let answer = present(api, token).await;
    assert_eq!(answer.outcome(), Outcome::Accepted);
    serde_json::from_str(&answer.body).unwrap()
}

fn entra_v1() -> Value {
    json!({
        "aud": ENTRA_API, "nbf": NOW, "acr": "1", "aio": "AVQAq/8TAAAA", "amr": ["pwd", "mfa"],
        "appid": "c1e7a6d5", "appidacr": "1", "ipaddr": "192.0.2.7", "name": "Alice",
        "oid": "6e2d", "rh": "0.AXoA", "scp": "orders.read orders.write", "sub": "Vq3x",
        "tid": TENANT, "unique_name": "alice@example.com", "uti": "kQ", "ver": "1.0",
    })
}

fn entra_v2() -> Value {
    json!({
        "aud": ENTRA_API, "nbf": NOW, "aio": "AVQAq/8TAAAA", "azp": "c1e7a6d5", "azpacr": "0",
        "name": "Alice", "oid": "6e2d", "preferred_username": "alice@example.com", "rh": "0.AXoA",
        "roles": ["Orders.Admin"], "scp": "orders.read", "sid": "00ab", "sub": "Vq3x",
        "tid": TENANT, "uti": "kQ", "ver": "2.0",
    })
}

fn entra_client() -> Value {
    json!({
        "aud": ENTRA_API, "nbf": NOW, "aio": "E2Vg", "azp": "c1e7a6d5", "azpacr": "1", "oid": "9f1c",
        "rh": "0.AXoA", "roles": ["Orders.Read.All"], "sub": "9f1c", "tid": TENANT, "uti": "kQ",
        "ver": "2.0",
    })
}

fn entra_id_token(version: &str) -> Value {
    json!({
        "aud": ENTRA_API, "nbf": NOW, "aio": "AVQAq/8TAAAA", "name": "Alice", "oid": "6e2d",
        "preferred_username": "alice@example.com", "rh": "0.AXoA", "roles": ["Orders.Admin"],
        "sub": "Vq3x", "tid": TENANT, "uti": "kQ", "ver": version,
    })
}

#[tokio::test]
async fn entra_access_tokens_of_both_versions_are_accepted_and_id_tokens_rejected() {
    for (issuer, user, version) in [(ENTRA_V1, entra_v1(), "1.0"), (ENTRA_V2, entra_v2(), "2.0")] {
        let server = vendor(issuer);
        let api = api(verifier(&server, ENTRA_API).with_profile(TokenProfile::Entra));
        let jwt = |claims: &Value| token(&server, Some("JWT"), claims);
        let id_token = entra_id_token(version);
        let client = if version == "1.0" { "appid" } else { "azp" };
        let cases = [
            case("a person's", jwt(&user), Outcome::Accepted),
            case("a client's", jwt(&entra_client()), Outcome::Accepted),
            case("an ID token", jwt(&id_token), NOT_ACCESS),
            case(
                "an ID token with a nonce",
                jwt(&with(&id_token, "nonce", "n")),
                NOT_ACCESS,
            ),
            case(
                "an ID token that would be marked, with a nonce",
                jwt(&with(&user, "nonce", "n")),
                NOT_ACCESS,
            ),
            case(
                "an ID token of the hybrid flow",
                jwt(&with(&user, "c_hash", "h")),
                NOT_ACCESS,
            ),
            case(
                "an ID token for another client",
                jwt(&with(&id_token, "aud", "c1e7a6d5")),
                AUDIENCE,
            ),
            case(
                "a client without any role",
                jwt(&without(&entra_client(), "roles")),
                NOT_ACCESS,
            ),
            case("no client", jwt(&without(&user, client)), NOT_ACCESS),
            case(
                "a logout token",
                token(&server, Some("logout+jwt"), &user),
                TYPE,
            ),
        ];
        check(&api, &cases).await;
    }
}

#[tokio::test]
async fn entra_scopes_are_read_from_scp_and_roles_only_if_configured() {
    let server = vendor(ENTRA_V2);
    let plain = verifier(&server, ENTRA_API).with_profile(TokenProfile::Entra);
    let user = token(&server, Some("JWT"), &entra_v2());
    let client = token(&server, Some("JWT"), &entra_client());
    let at = api(plain.clone());
    assert_eq!(
        seen(&at, &user).await,
        json!({ "sub": "Vq3x", "client": "c1e7a6d5", "client_only": false, "scope": "orders.read" })
    );
    assert_eq!(
        seen(&at, &client).await,
        json!({ "sub": "9f1c", "client": "c1e7a6d5", "client_only": true, "scope": "" })
    );
    assert_eq!(
        present_at(&at, "/read", &user).await.outcome(),
        Outcome::Accepted
    );
    assert_eq!(
        present_at(&at, "/read", &client).await.outcome(),
        Outcome::InsufficientScope
    );
    let roles = api(plain.with_scopes_from(["scp", "roles"]).unwrap());
    assert_eq!(seen(&roles, &client).await["scope"], "Orders.Read.All");
    assert_eq!(
        seen(&roles, &user).await["scope"],
        "orders.read Orders.Admin"
    );
    // The order of the configuration calls does not matter.
    let other_way = verifier(&server, ENTRA_API)
        .with_scopes_from(["roles"])
        .unwrap()
        .with_profile(TokenProfile::Entra);
    assert_eq!(seen(&api(other_way), &user).await["scope"], "Orders.Admin");
}

fn okta() -> Value {
    json!({
        "ver": 1, "jti": "AT.0mP4JKAZX1iACIT4vbEDF7LpvDVjxypPMf0D7uX39RE", "aud": "api://default",
        "cid": "0oabucvyc38HLL1ef0h7", "uid": "00uc8tg8Nc6hnrA3A0h7",
        "scp": ["openid", "orders.read"], "auth_time": NOW, "sub": "alice@example.com",
    })
}

#[tokio::test]
async fn okta_access_tokens_are_accepted_and_id_tokens_rejected() {
    let server = vendor(OKTA);
    let at = api(verifier(&server, "api://default").with_profile(TokenProfile::Okta));
    let plain = |claims: &Value| token(&server, None, claims);
    let id_token = json!({
        "ver": 1, "jti": "ID.4eAWJOCMB3SX8XewDfVR", "aud": "api://default", "sub": "00uc8tg8Nc6hnrA3A0h7",
        "amr": ["pwd"], "idp": "00o1", "auth_time": NOW, "name": "Alice", "email": "alice@example.com",
    });
    let of_itself = with(&okta(), "sub", "0oabucvyc38HLL1ef0h7");
    let cases = [
        case("a person's", plain(&okta()), Outcome::Accepted),
        case(
            "with a type",
            token(&server, Some("JWT"), &okta()),
            Outcome::Accepted,
        ),
        case("a client's", plain(&of_itself), Outcome::Accepted),
        case("an ID token", plain(&id_token), NOT_ACCESS),
        case(
            "an ID token with at_hash",
            plain(&with(&okta(), "at_hash", "h")),
            NOT_ACCESS,
        ),
        case(
            "an ID token with a nonce",
            plain(&with(&okta(), "nonce", "n")),
            NOT_ACCESS,
        ),
        case("no cid", plain(&without(&okta(), "cid")), NOT_ACCESS),
        case("no scp", plain(&without(&okta(), "scp")), NOT_ACCESS),
        case(
            "one for Okta itself",
            token(&server, Some("application/okta-internal-at+jwt"), &okta()),
            TYPE,
        ),
    ];
    check(&at, &cases).await;
    assert_eq!(
        seen(&at, &plain(&okta())).await,
        json!({
            "sub": "alice@example.com", "client": "0oabucvyc38HLL1ef0h7", "client_only": false,
            "scope": "openid orders.read",
        })
    );
    assert_eq!(seen(&at, &plain(&of_itself)).await["client_only"], true);
    assert_eq!(
        present_at(&at, "/read", &plain(&okta())).await.outcome(),
        Outcome::Accepted
    );
}

fn auth0() -> Value {
    json!({
        "sub": "auth0|5f7c8ec7c33c6c004bbafe82", "aud": [API, "https://shop.eu.auth0.com/userinfo"],
        "azp": "my_client_id", "scope": "openid orders.read", "permissions": ["orders.write"],
    })
}

#[tokio::test]
async fn tokens_of_auth0_are_taken_and_its_id_tokens_are_not() {
    let server = vendor(AUTH0);
    let plain = verifier(&server, API).with_profile(TokenProfile::Auth0);
    let at = api(plain.clone());
    let jwt = |claims: &Value| token(&server, Some("JWT"), claims);
    let machine = json!({
        "sub": "my_client_id@clients", "aud": API, "azp": "my_client_id", "gty": "client-credentials",
        "scope": "orders.read",
    });
    let by_the_book = json!({
        "sub": "auth0|5f7c8ec7", "aud": API, "client_id": "my_client_id", "jti": "j", "scope": "orders.read",
    });
    let id_token = json!({
        "sub": "auth0|5f7c8ec7c33c6c004bbafe82", "aud": API, "name": "Alice", "nickname": "alice",
        "picture": "https://example.com/a.png", "email": "alice@example.com", "sid": "s", "updated_at": "t",
    });
    let cases = [
        case("a person's", jwt(&auth0()), Outcome::Accepted),
        case("a machine's", jwt(&machine), Outcome::Accepted),
        case(
            "in the dialect of RFC 9068",
            token(&server, Some("at+jwt"), &by_the_book),
            Outcome::Accepted,
        ),
        case(
            "permissions alone",
            jwt(&without(&auth0(), "scope")),
            Outcome::Accepted,
        ),
        case("an ID token", jwt(&id_token), NOT_ACCESS),
        case(
            "an ID token with a nonce",
            jwt(&with(&auth0(), "nonce", "n")),
            NOT_ACCESS,
        ),
        case(
            "an ID token with at_hash",
            jwt(&with(&auth0(), "at_hash", "h")),
            NOT_ACCESS,
        ),
        case(
            "an ID token with azp",
            jwt(&with(&id_token, "azp", "my_client_id")),
            NOT_ACCESS,
        ),
        case("no client", jwt(&without(&auth0(), "azp")), NOT_ACCESS),
    ];
    check(&at, &cases).await;
    assert_eq!(
        seen(&at, &jwt(&auth0())).await,
        json!({
            "sub": "auth0|5f7c8ec7c33c6c004bbafe82", "client": "my_client_id", "client_only": false,
            "scope": "openid orders.read",
        })
    );
    assert_eq!(seen(&at, &jwt(&machine)).await["client_only"], true);
    let permissions = api(plain.with_scopes_from(["permissions"]).unwrap());
    assert_eq!(
        seen(&permissions, &jwt(&auth0())).await["scope"],
        "orders.write"
    );
}

fn cognito() -> Value {
    json!({
        "sub": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee", "cognito:groups": ["admins"], "version": 2,
        "client_id": "5t0pq1", "origin_jti": "o", "event_id": "e", "token_use": "access",
        "scope": "openid shop/orders.read", "auth_time": NOW, "jti": "j", "username": "alice",
    })
}

#[tokio::test]
async fn cognito_access_tokens_are_accepted_by_client_and_id_tokens_rejected() {
    let server = vendor(COGNITO);
    let ours = Audience::clients(["another", "5t0pq1"]);
    let plain = |claims: &Value| token(&server, None, claims);
    let id_token = json!({
        "sub": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee", "aud": "5t0pq1", "token_use": "id",
        "cognito:username": "alice", "origin_jti": "o", "event_id": "e", "auth_time": NOW, "jti": "j",
        "email": "alice@example.com",
    });
    let cases = [
        case("a person's", plain(&cognito()), Outcome::Accepted),
        case(
            "a machine's",
            plain(&with(&cognito(), "sub", "5t0pq1")),
            Outcome::Accepted,
        ),
        case("an ID token", plain(&id_token), AUDIENCE),
        case(
            "an ID token that names its client",
            plain(&with(&without(&id_token, "aud"), "client_id", "5t0pq1")),
            NOT_ACCESS,
        ),
        case(
            "another client's",
            plain(&with(&cognito(), "client_id", "5t0pq")),
            AUDIENCE,
        ),
        case(
            "no client",
            plain(&without(&cognito(), "client_id")),
            AUDIENCE,
        ),
        case(
            "an audience that is another's",
            plain(&with(&cognito(), "aud", API)),
            AUDIENCE,
        ),
        case(
            "azp is not client_id",
            plain(&with(&without(&cognito(), "client_id"), "azp", "5t0pq1")),
            AUDIENCE,
        ),
        case(
            "another use",
            plain(&with(&cognito(), "token_use", "Access")),
            NOT_ACCESS,
        ),
        case(
            "no use",
            plain(&without(&cognito(), "token_use")),
            NOT_ACCESS,
        ),
        case(
            "at_hash beside the mark",
            plain(&with(&cognito(), "at_hash", "h")),
            Outcome::Accepted,
        ),
    ];
    let at = api(verifier(&server, ours).with_profile(TokenProfile::Cognito));
    check(&at, &cases).await;
    let claims = seen(&at, &plain(&with(&cognito(), "sub", "5t0pq1"))).await;
    assert_eq!(claims["client_only"], true);
    assert_eq!(claims["scope"], "openid shop/orders.read");
    // With resource binding the token has an `aud`, which is then checked.
    let bound = api(verifier(&server, API).with_profile(TokenProfile::Cognito));
    let token = plain(&with(&cognito(), "aud", API));
    assert_eq!(present(&bound, &token).await.outcome(), Outcome::Accepted);
    assert_eq!(
        present(&bound, &plain(&cognito())).await.outcome(),
        AUDIENCE
    );
    for invalid in [
        Audience::clients([""]),
        Audience::clients([" ", "a"]),
        Audience::clients([""; 0]),
    ] {
        assert!(JwtVerifier::new(&server.authorization_server(), invalid).is_err());
    }
}

#[tokio::test]
async fn scopes_are_read_only_from_the_configured_claims() {
    let server = vendor(KEYCLOAK);
    let claims = json!({
        "aud": API, "sub": "alice", "azp": "shop", "typ": "Bearer", "scope": ["orders.read"],
        "realm_access": { "roles": ["orders.read", "offline_access"] },
        "resource_access": {
            "orders.api": { "roles": ["orders.write"] },
            "account": { "roles": ["view-profile"] },
        },
        "https://example.com/roles": "admin  editor",
    });
    let keycloak = token(&server, Some("JWT"), &claims);
    let plain = verifier(&server, API).with_profile(TokenProfile::Keycloak);
    let nested = |path: &[&str]| ScopeClaim::nested(path.iter().copied());
    let at = api(plain.clone());
    let logs = logs::Logs::default();
    let recording = logs.record_only("scope_is_an_array");
    // RFC 9068 §2.2.3: an array in `scope` grants nothing unless it is configured.
    assert_eq!(seen(&at, &keycloak).await["scope"], "");
    for claim in ["a", "b"] {
        let another = token(&server, Some("JWT"), &with(&claims, claim, 1));
        let answer = present_at(&at, "/read", &another).await;
        assert_eq!(answer.outcome(), Outcome::InsufficientScope);
    }
    drop(recording);
    let text = logs.text();
    let setting = r#"JwtVerifier::with_scopes_from(["scope"])"#;
    assert_eq!(text.matches(setting).count(), 1, "{text}");
    for (name, from, expected) in [
        ("scope, named", vec!["scope".into()], "orders.read"),
        (
            "realm roles",
            vec![nested(&["realm_access", "roles"])],
            "orders.read offline_access",
        ),
        (
            "the roles of a client",
            vec![nested(&["resource_access", "orders.api", "roles"])],
            "orders.write",
        ),
        (
            "a namespaced claim",
            vec!["https://example.com/roles".into()],
            "admin editor",
        ),
        (
            "several",
            vec![
                "scope".into(),
                nested(&["resource_access", "orders.api", "roles"]),
            ],
            "orders.read orders.write",
        ),
        ("a claim that is not there", vec!["scp".into()], ""),
        ("an object", vec!["realm_access".into()], ""),
    ] {
        let mapped = plain.clone().with_scopes_from(from).unwrap();
        assert_eq!(
            seen(&api(mapped), &keycloak).await["scope"],
            expected,
            "{name}"
        );
    }
    let prefix = plain
        .clone()
        .with_scopes_from([nested(&["resource_access", "orders.api", "roles"])])
        .unwrap();
    assert_eq!(
        present_at(&api(prefix), "/read", &keycloak).await.outcome(),
        Outcome::InsufficientScope,
        "scopes are compared as whole values"
    );
    assert!(plain.clone().with_scopes_from([""; 0]).is_err());
    assert!(
        plain
            .with_scopes_from([nested(&["realm_access", ""])])
            .is_err()
    );
}

#[tokio::test]
async fn the_log_names_the_matching_profile_of_each_vendor() {
    for (issuer, audience, claims, profile) in [
        (ENTRA_V1, ENTRA_API.into(), entra_v1(), "Entra"),
        (ENTRA_V2, ENTRA_API.into(), entra_client(), "Entra"),
        (OKTA, "api://default".into(), okta(), "Okta"),
        (AUTH0, API.into(), auth0(), "Auth0"),
        (COGNITO, Audience::clients(["5t0pq1"]), cognito(), "Cognito"),
        // The same claims from an issuer of none of these vendors.
        (KEYCLOAK, API.into(), auth0(), "Generic"),
        (
            KEYCLOAK,
            API.into(),
            with(&auth0(), "typ", "Bearer"),
            "Keycloak",
        ),
    ] {
        let server = vendor(issuer);
        let handle = server.authorization_server();
        handle.ready().await.unwrap();
        let at = api(JwtVerifier::new(&handle, audience).unwrap());
        let logs = logs::Logs::default();
        let _recording = logs.record();
        let outcome = present(&at, &token(&server, Some("JWT"), &claims)).await;
        assert_eq!(outcome.outcome(), TYPE);
        let text = logs.text();
        assert!(
            text.contains(&format!("TokenProfile::{profile})")),
            "{profile}: {text}"
        );
        assert_eq!(server.count(Endpoint::KeySet), 1);
    }
}

#[tokio::test]
async fn a_profile_rejects_the_tokens_of_other_vendors() {
    let server = vendor(KEYCLOAK);
    let jwt = |claims: Value| token(&server, Some("JWT"), &with(&claims, "aud", API));
    let tokens = [
        ("Entra", jwt(entra_client())),
        ("Okta", jwt(okta())),
        ("Auth0", jwt(auth0())),
        ("Cognito", jwt(cognito())),
    ];
    for (profile, taken) in [
        (TokenProfile::Entra, &["Entra"][..]),
        (TokenProfile::Okta, &["Okta"]),
        (TokenProfile::Cognito, &["Cognito"]),
        (TokenProfile::Keycloak, &[]),
        // The generic profile accepts all but the app roles of Entra.
        (TokenProfile::Auth0, &["Okta", "Auth0", "Cognito"]),
        (TokenProfile::Generic, &["Okta", "Auth0", "Cognito"]),
    ] {
        let at = api(verifier(&server, API).with_profile(profile));
        for (vendor, token) in &tokens {
            let expected = if taken.contains(vendor) {
                Outcome::Accepted
            } else {
                NOT_ACCESS
            };
            let outcome = present(&at, token).await.outcome();
            assert_eq!(outcome, expected, "{vendor} by {profile:?}");
        }
    }
    let nothing = axum::body::Body::empty();
    let at = api(verifier(&server, API));
    assert_eq!(
        ask(&at, http::Request::get("/").body(nothing).unwrap())
            .await
            .outcome(),
        Outcome::NoCredentials
    );
}

/// A serializer may print an empty value for what is not set, and an ID token may have a claim of that name.
#[tokio::test]
async fn a_mark_without_content_or_of_another_type_is_no_mark() {
    let server = vendor(KEYCLOAK);
    let verifier = JwtVerifier::new(&server.authorization_server(), API).unwrap();
    let layer = BearerLayer::new(verifier.with_profile(TokenProfile::Generic));
    let app = Router::new().route("/", get(|| async {})).layer(layer);
    for (name, value, expected) in [
        ("scope", json!("read"), 200),
        ("scope", json!(" "), 401),
        ("scope", json!(1), 401),
        ("scope", json!(true), 401),
        ("scope", json!([""]), 401),
        ("scope", json!([null]), 401),
        ("azp", json!(["shop"]), 401),
        ("azp", json!(1), 401),
        ("appid", json!([API]), 401),
    ] {
        let claims = json!({ "aud": API, "sub": "alice", "scope": "read", "azp": "shop" });
        let mut claims = claims;
        claims[name] = value.clone();
        let answer = present(&app, &token(&server, Some("JWT"), &claims)).await;
        assert_eq!(answer.status, expected, "{name}: {value}");
    }
}
