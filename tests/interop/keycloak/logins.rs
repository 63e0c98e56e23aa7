//! The authorization code flow with Keycloak's login form.

use std::time::Duration;

use http::StatusCode;
use rcgen::KeyPair;
use serde_json::{Value, json};
use tower_oauth::login::{PushedRequests, ResponseMode};
use tower_oauth::{Client, LoginLayer, SigningKey};

use super::definitions::{ALGORITHMS, KeycloakClient, Keys, User};
use super::realm::{APP, Realm};
use super::world::{World, assert_is_password_form, enter_password, sign_in_with_form};
use crate::provider::SECRET;
use crate::sessions::Mode;

fn confidential(id: &str) -> Client {
    Client::confidential(id, SECRET)
}

/// Signs in, reads the profile and the session, and signs out.
async fn signs_in_and_out(realm: Realm, client: Client, mode: Mode) {
    let name = format!("{} {mode:?}", client.id());
    let world = World::new(realm, client, mode);
    let visitor = world.visitor();
    let form = visitor.open("/profile").await;
    let page = sign_in_with_form(&form, &User::alice()).await;
    let url = format!("{APP}/profile");
    assert_eq!(page.url(), url, "{name}: {}", page.text());
    assert_eq!(page.text(), "alice Liddell", "{name}");
    let session = visitor.fetch("/auth/session").await;
    let session: Value = serde_json::from_slice(session.body()).unwrap();
    let alice = world.realm.user_id(&User::alice()).await;
    assert_eq!(session["subject"], alice, "{name}");
    let home = visitor.sign_out().await;
    assert_eq!(home.url(), format!("{APP}/"), "{name}");
    assert!(home.text().contains("signed out"), "{}", home.text());
    visitor.assert_password_required().await;
}

#[tokio::test]
#[ignore = "needs Keycloak: tests/interop/run"]
async fn sessions_in_cookies_and_in_a_store() {
    for keys in Keys::BOTH {
        for mode in [Mode::Cookie, Mode::Shared, Mode::Store] {
            signs_in_and_out(Realm::shared(keys).await, confidential("web"), mode).await;
        }
    }
}

#[tokio::test]
#[ignore = "needs Keycloak: tests/interop/run"]
async fn clients_that_authenticate_in_other_ways() {
    let pem = KeyPair::generate().unwrap().serialize_pem();
    let key = SigningKey::from_pem(&pem).unwrap().with_key_id("k1");
    let public: Value = serde_json::from_str(&key.public_jwk().to_string()).unwrap();
    let key_set = json!({ "keys": [public] }).to_string();
    let by_key = KeycloakClient::new("by-key")
        .set("clientAuthenticatorType", "client-jwt")
        .attribute("use.jwks.string", "true")
        .attribute("jwks.string", &key_set)
        .attribute("token.endpoint.auth.signing.alg", "ES256");
    // Keycloak requires as many bytes as the hash has.
    let by_secret = KeycloakClient::new("by-secret-jwt")
        .set("clientAuthenticatorType", "client-secret-jwt")
        .attribute("token.endpoint.auth.signing.alg", "HS256");
    let clients = [
        Client::client_secret_jwt("by-secret-jwt", SECRET),
        Client::confidential_post("web", SECRET),
        Client::public("public"),
        Client::private_key_jwt("by-key", key),
        confidential("marked"),
    ];
    for keys in Keys::BOTH {
        Realm::shared(keys).await.add_client(by_key.clone()).await;
        Realm::shared(keys)
            .await
            .add_client(by_secret.clone())
            .await;
        for client in &clients {
            let realm = Realm::shared(keys).await;
            signs_in_and_out(realm, client.clone(), Mode::Store).await;
        }
    }
}

/// RFC 9126, RFC 9101, JARM and the Form Post Response Mode, with a client for which Keycloak requires the first two.
#[tokio::test]
#[ignore = "needs Keycloak: tests/interop/run"]
async fn pushed_and_signed_requests_and_every_response_mode() {
    let pem = KeyPair::generate().unwrap().serialize_pem();
    let key = SigningKey::from_pem(&pem).unwrap().with_key_id("k1");
    let public: Value = serde_json::from_str(&key.public_jwk().to_string()).unwrap();
    let key_set = json!({ "keys": [public] }).to_string();
    for keys in Keys::BOTH {
        for suffix in ["", "-jwt"] {
            let client = |name: &str| {
                KeycloakClient::new(&format!("{name}{suffix}"))
                    .attribute("authorization.signed.response.alg", keys.algorithm())
            };
            let pushed =
                client("pushed").attribute("require.pushed.authorization.requests", "true");
            let signed = client("signed")
                .attribute("use.jwks.string", "true")
                .attribute("jwks.string", &key_set)
                .attribute("request.object.required", "request or request_uri")
                .attribute("request.object.signature.alg", "ES256");
            let realm = Realm::shared(keys).await;
            realm.add_client(pushed).await;
            realm.add_client(signed).await;
        }
        for (name, sends, mode) in [
            ("pushed", PushedRequests::WhenAvailable, ResponseMode::Query),
            ("pushed", PushedRequests::Required, ResponseMode::FormPost),
            ("pushed-jwt", PushedRequests::Required, ResponseMode::Jwt),
            (
                "pushed-jwt",
                PushedRequests::Required,
                ResponseMode::FormPostJwt,
            ),
            ("signed", PushedRequests::Never, ResponseMode::Query),
            (
                "signed-jwt",
                PushedRequests::Required,
                ResponseMode::FormPostJwt,
            ),
        ] {
            let change = |login: LoginLayer| {
                let login = login.with_pushed_requests(sends).with_response_mode(mode);
                match name.starts_with("signed") {
                    true => login.with_signed_requests(key.clone()),
                    false => login,
                }
            };
            let realm = Realm::shared(keys).await;
            let world = World::with(realm, confidential(name), Mode::Store, change);
            let form = world.visitor().open("/profile").await;
            let page = sign_in_with_form(&form, &User::alice()).await;
            // The page of the response mode `form_post`, whose script submits it.
            let page = match page.url().starts_with(APP) {
                true => page,
                false => page.form("").unwrap().submit().await.unwrap(),
            };
            assert_eq!(
                page.text(),
                "alice Liddell",
                "{keys:?} {name} {sends:?} {mode:?}"
            );
        }
    }
}

/// Keycloak does not accept lightweight access tokens at its userinfo endpoint.
#[tokio::test]
#[ignore = "needs Keycloak: tests/interop/run"]
async fn a_client_with_lightweight_tokens_has_sessions_without_userinfo() {
    for keys in Keys::BOTH {
        let realm = Realm::shared(keys).await;
        let visitor = World::new(realm, confidential("light"), Mode::Store).visitor();
        visitor.sign_in(&User::alice()).await;
        let response = visitor.fetch("/profile").await;
        assert_eq!(response.status(), StatusCode::BAD_GATEWAY, "{response:?}");
        assert!(visitor.is_signed_in().await);
    }
}

#[tokio::test]
#[ignore = "needs Keycloak: tests/interop/run"]
async fn id_tokens_in_each_default_algorithm_are_accepted() {
    for algorithm in ALGORITHMS {
        let realm = Realm::shared(Keys::Es256).await;
        signs_in_and_out(realm, confidential(algorithm), Mode::Store).await;
    }
}

#[tokio::test]
#[ignore = "needs Keycloak: tests/interop/run"]
async fn the_form_accepts_the_right_password_after_a_wrong_one() {
    for keys in Keys::BOTH {
        let realm = Realm::shared(keys).await;
        let world = World::new(realm, confidential("web"), Mode::Store);
        let form = world.visitor().open("/profile").await;
        let form = enter_password(&form, &User::alice(), "wrong").await;
        let page = sign_in_with_form(&form, &User::alice()).await;
        assert_eq!(page.url(), format!("{APP}/profile"), "{}", page.text());
    }
}

/// OpenID Connect Core §3.1.2.1.
#[tokio::test]
#[ignore = "needs Keycloak: tests/interop/run"]
async fn parameters_of_a_login_take_effect_at_keycloak() {
    for keys in Keys::BOTH {
        let realm = Realm::shared(keys).await;
        let world = World::new(realm, confidential("web"), Mode::Store);
        let visitor = world.visitor();
        let silent = visitor.open("/auth/login?prompt=none").await;
        assert_eq!(silent.url(), format!("{APP}/"), "not signed in there");
        assert!(silent.text().contains("signed out"), "{}", silent.text());

        visitor.sign_in(&User::alice()).await;
        let silent = visitor.open("/auth/login?prompt=none").await;
        assert_eq!(silent.url(), format!("{APP}/"));
        assert!(silent.text().contains("alice"), "{}", silent.text());
        let form = visitor.open("/auth/login?prompt=login").await;
        assert_is_password_form(&form);

        let other = world.visitor();
        let form = other.open("/auth/login?login_hint=bob").await;
        let form = form.form("#kc-form-login").unwrap();
        assert_eq!(form.value("username"), Some("bob"));

        // The session at Keycloak is older than the permitted second.
        tokio::time::sleep(Duration::from_millis(2500)).await;
        let form = visitor.open("/auth/login?max_age=1").await;
        let home = sign_in_with_form(&form, &User::alice()).await;
        assert_eq!(home.url(), format!("{APP}/"), "{}", home.text());
        assert!(visitor.is_signed_in().await);
    }
}

#[tokio::test]
#[ignore = "needs Keycloak: tests/interop/run"]
async fn a_wrong_client_secret_is_an_error_page() {
    for keys in Keys::BOTH {
        let realm = Realm::shared(keys).await;
        let client = Client::confidential("web", "wrong");
        let world = |realm, pushed| {
            let with = |login: LoginLayer| login.with_pushed_requests(pushed);
            World::with(realm, client.clone(), Mode::Store, with)
        };
        // Before the user signs in there.
        let visitor = world(realm, PushedRequests::Required).visitor();
        let page = visitor.open("/profile").await;
        assert_eq!(page.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert!(
            page.text().contains("pushed_request_refused"),
            "{}",
            page.text()
        );

        let realm = Realm::shared(keys).await;
        let visitor = world(realm, PushedRequests::Never).visitor();
        let form = visitor.open("/profile").await;
        let page = sign_in_with_form(&form, &User::alice()).await;
        assert_eq!(
            page.status(),
            StatusCode::INTERNAL_SERVER_ERROR,
            "{}",
            page.text()
        );
        assert!(page.url().starts_with(&format!("{APP}/auth/callback")));
        assert!(!visitor.is_signed_in().await);
    }
}
