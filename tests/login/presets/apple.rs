//! Apple: a secret that is signed here, a response as a form, and a name that is not signed.

use serde_json::{Value, json};
use tower_oauth::session::{LoginDecision, NewLogin};
use tower_oauth::{Provider, SigningKey};

use super::documents;
use super::imitation::{App, Imitation, NOW, id_token};
use crate::support::authorization_server::part;
use crate::support::keys::ed25519;
use crate::support::shop::{Answer, Ask, PAGE};

/// `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256`, as a `.p8` file of Apple has it.
const P8: &str = "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgS/oz7trHe83gxMD1
3Kbk1dwV8z9ow+wQ4jKofHwleMKhRANCAAQhFoZq8BD6DGNj6373d8GeNnBHFKRk
qBoy4d1Kd8gI7UF22RUlEvMU6EVP8p+F1W+91SxIqCyKukqrugDAKIID
-----END PRIVATE KEY-----";

const TOKEN: &str = "https://appleid.apple.com/auth/token";

fn key() -> SigningKey {
    SigningKey::from_pem(P8).unwrap().with_key_id("ABC123DEFG")
}

fn apple() -> App {
    let provider = Imitation::of(
        "https://appleid.apple.com/.well-known/openid-configuration",
        &documents::apple(),
    );
    let preset = Provider::apple("com.example.shop", "TEAM123456", key()).unwrap();
    App::with(&provider, preset, |login| {
        login.with_on_login(|new: NewLogin| async move {
            LoginDecision::allow_with(&new.unverified_user())
        })
    })
}

/// https://developer.apple.com/documentation/signinwithapplerestapi/authenticating-users-with-sign-in-with-apple:
/// `email_verified` and `is_private_email` are a string or a boolean.
fn claims() -> Value {
    json!({
        "iss": "https://appleid.apple.com", "aud": "com.example.shop", "sub": "001234.5b3a3bdf9c0b4f049c1471cae1cd1d8d.0001",
        "email": "abc123@privaterelay.appleid.com", "email_verified": "true", "is_private_email": "true",
        "nonce_supported": true, "auth_time": NOW - 5,
    })
}

/// Posts the response as a page of Apple does, and follows the redirect.
async fn post(app: &mut App, fields: &[(&str, &str)]) -> Answer {
    let form = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields)
        .finish();
    let ask = Ask::new("POST", "/auth/callback")
        .with(&PAGE)
        .set("sec-fetch-site", "cross-site")
        .set("origin", "https://appleid.apple.com")
        .set("content-type", "application/x-www-form-urlencoded")
        .body(&form);
    // Browsers send no Lax cookies with the form.
    let answer = crate::support::shop::send(&app.router, ask).await;
    assert_eq!(answer.status, 303, "{}", answer.text());
    let location = answer.location().to_owned();
    app.send(Ask::page(&location)).await
}

fn answer_with_tokens(app: &App, nonce: &str, claims: &Value) {
    app.provider.answer(
        TOKEN,
        json!({
            "access_token": "adg61", "token_type": "Bearer", "expires_in": 3600, "refresh_token": "rca7",
            "id_token": id_token(nonce, claims),
        }),
    );
}

/// https://developer.apple.com/documentation/signinwithapple/request-an-authorization-to-the-sign-in-with-apple-server:
/// the user object comes with the first authorization.
#[tokio::test]
async fn the_email_address_is_that_of_the_id_token_and_the_name_is_unverified() {
    let forged = r#"{"name":{"firstName":"Mallory","lastName":"M"},"email":"ceo@example.com"}"#;
    let relayed = json!("abc123@privaterelay.appleid.com");
    for (user, signed) in [
        (Some(forged), &relayed),
        (None, &relayed),
        (Some(forged), &Value::Null),
    ] {
        let mut app = apple();
        let started = app.start().await;
        assert!(started.location.contains("response_mode=form_post"));
        assert!(started.location.contains("scope=openid+name+email"));
        let mut claims = claims();
        claims["email"] = signed.clone();
        answer_with_tokens(&app, &started.nonce, &claims);
        let mut fields = vec![("code", "the-code"), ("state", &*started.state)];
        fields.extend(user.map(|user| ("user", user)));
        let answer = post(&mut app, &fields).await;
        assert_eq!(answer.status, 303, "{}", answer.text());

        let me = app.me().await;
        assert_eq!(
            me["subject"],
            "001234.5b3a3bdf9c0b4f049c1471cae1cd1d8d.0001"
        );
        assert_eq!(&me["email"], signed);
        assert_eq!(
            me["email_verified"],
            json!(signed.is_string().then_some(true))
        );
        assert_eq!(me["name"], Value::Null);
        assert_eq!(me["app_data"], json!(user));
    }
}

#[tokio::test]
async fn a_user_object_that_is_too_long_is_ignored_and_two_are_rejected() {
    let long = "x".repeat(2100);
    let mut app = apple();
    let started = app.start().await;
    answer_with_tokens(&app, &started.nonce, &claims());
    let fields = [("code", "c"), ("state", &*started.state), ("user", &long)];
    assert_eq!(post(&mut app, &fields).await.status, 303);
    assert_eq!(app.me().await["app_data"], Value::Null);

    let mut app = apple();
    let started = app.start().await;
    let body = format!("code=c&state={}&user=a&user=b", started.state);
    let ask = Ask::new("POST", "/auth/callback")
        .with(&PAGE)
        .set("origin", "https://appleid.apple.com")
        .set("content-type", "application/x-www-form-urlencoded")
        .body(&body);
    let answer = crate::support::shop::send(&app.router, ask).await;
    assert_eq!(answer.status, 400);
    assert_eq!(app.provider.count(TOKEN), 0);
}

/// https://developer.apple.com/documentation/accountorganizationaldatasharing/creating-a-client-secret
#[tokio::test]
async fn the_secret_is_signed_for_apple_and_renewed_before_its_end() {
    let mut app = apple();
    let mut secrets: Vec<String> = Vec::new();
    for at in [0, 11, 13, 14].map(|hours| hours * 3600) {
        app.clock
            .adjust_wall_clock(NOW + at - app.clock.unix_seconds());
        let started = app.start().await;
        // No ID token: the secret of the request is what counts here.
        app.provider
            .answer(TOKEN, json!({ "error": "invalid_grant" }));
        let fields = [("code", "c"), ("state", &*started.state)];
        post(&mut app, &fields).await;
        let sent = app.provider.requests().pop().unwrap();
        assert_eq!(sent.url, TOKEN);
        assert_eq!(sent.header("authorization"), "");
        let form = sent.form();
        assert_eq!(form["client_id"], "com.example.shop");
        let secret = &form["client_secret"];
        assert_eq!(
            part(secret, 0),
            json!({ "alg": "ES256", "kid": "ABC123DEFG" })
        );
        let claims = part(secret, 1);
        assert_eq!(claims["iss"], "TEAM123456");
        assert_eq!(claims["sub"], "com.example.shop");
        assert_eq!(claims["aud"], "https://appleid.apple.com");
        let [issued_at, expires_at] = ["iat", "exp"].map(|name| claims[name].as_i64().unwrap());
        let now = NOW + at;
        assert!(
            issued_at <= now && now + 12 * 3600 <= expires_at,
            "{claims}"
        );
        // "Not more than 15777000 (6 months in seconds)".
        assert!(expires_at - issued_at <= 15_777_000);
        secrets.push(secret.clone());
    }
    assert_eq!(secrets[0], secrets[1], "one for many requests");
    assert_ne!(secrets[1], secrets[2], "renewed");
    assert_eq!(secrets[2], secrets[3]);
}

/// https://developer.apple.com/documentation/signinwithapplerestapi/verifying-a-user: "up to once a day".
#[tokio::test]
async fn a_refresh_token_of_apple_is_never_sent() {
    let mut app = apple();
    let started = app.start().await;
    answer_with_tokens(&app, &started.nonce, &claims());
    let fields = [("code", "the-code"), ("state", &*started.state)];
    assert_eq!(post(&mut app, &fields).await.status, 303);
    assert_eq!(app.me().await["access_token"], true);
    for _ in 0..2 {
        // Twice, so that the session does not become idle.
        app.clock.advance(std::time::Duration::from_secs(1850));
        assert!(app.is_signed_in().await);
    }
    let me = app.me().await;
    assert_eq!(
        me["subject"],
        "001234.5b3a3bdf9c0b4f049c1471cae1cd1d8d.0001"
    );
    assert_eq!(me["access_token"], false);
    assert_eq!(app.provider.count(TOKEN), 1);
}

#[test]
fn the_key_is_for_es256_and_has_an_id() {
    let nameless = SigningKey::from_pem(P8).unwrap();
    for (key, accepted) in [(key(), true), (nameless, false), (ed25519(), false)] {
        let apple = Provider::apple("com.example.shop", "TEAM123456", key);
        assert_eq!(apple.is_ok(), accepted);
    }
}
