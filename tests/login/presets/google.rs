//! Google's two texts for one issuer.

use serde_json::json;
use tower_oauth::Provider;
use tower_oauth::session::UserKey;
use tower_oauth::store::MemoryStore;

use super::documents;
use super::imitation::{App, Imitation, NOW, logout_token, report};
use crate::support::shop::parameter;

const DOCUMENT: &str = "https://accounts.google.com/.well-known/openid-configuration";
const TOKEN: &str = "https://oauth2.googleapis.com/token";

/// https://developers.google.com/identity/openid-connect/openid-connect#an-id-tokens-payload: `iss` is "always
/// https://accounts.google.com or accounts.google.com".
#[tokio::test]
async fn both_forms_of_the_issuer_are_one_user_and_no_other_form_is_accepted() {
    let provider = Imitation::of(DOCUMENT, &documents::google());
    let mut users = Vec::new();
    for (iss, accepted) in [
        ("https://accounts.google.com", true),
        ("accounts.google.com", true),
        ("http://accounts.google.com", false),
        ("https://accounts.google.com/", false),
        ("accounts.google.com.evil.example", false),
        ("https://evil.example", false),
    ] {
        let mut app = App::new(&provider, Provider::google("shop", "secret").unwrap());
        let claims = json!({ "iss": iss, "aud": "shop", "azp": "shop", "sub": "1076915035" });
        let answer = app.sign_in(TOKEN, &claims).await;
        assert_eq!(answer.status == 303, accepted, "{iss} {}", answer.status);
        if accepted {
            let me = app.me().await;
            users.push((me["issuer"].clone(), me["subject"].clone()));
        }
    }
    assert_eq!(users[0], users[1]);
    assert_eq!(users[0].0, "https://accounts.google.com");
}

/// https://developers.google.com/identity/protocols/oauth2/web-server#offline
#[tokio::test]
async fn a_refresh_token_is_requested_with_two_parameters() {
    let provider = Imitation::of(DOCUMENT, &documents::google());
    let preset = Provider::google("shop", "secret").unwrap();
    let preset = preset
        .with_authorization_parameter("access_type", "offline")
        .unwrap()
        .with_authorization_parameter("prompt", "consent")
        .unwrap();
    let started = App::new(&provider, preset).start().await;
    let parameter = |name| parameter(&started.location, name);
    assert_eq!(parameter("access_type").as_deref(), Some("offline"));
    assert_eq!(parameter("prompt").as_deref(), Some("consent"));
}

/// A further provider changes nothing.
#[tokio::test]
async fn both_forms_of_the_issuer_end_the_sessions_of_the_user() {
    for by in ["https://accounts.google.com", "accounts.google.com"] {
        let provider = Imitation::of(DOCUMENT, &documents::google());
        let mut admin = None;
        let mut app = App::with(
            &provider,
            Provider::google("shop", "secret").unwrap(),
            |login| {
                let login = login.with_session_store(MemoryStore::new().with_single_process());
                let github = Provider::github("shop", "secret").unwrap();
                let login = login.add_provider(github).unwrap();
                admin = Some(login.sessions());
                login
            },
        );
        app.login_path = "/auth/login/google";
        let admin = admin.unwrap();
        let mut claims =
            json!({ "iss": "accounts.google.com", "aud": "shop", "azp": "shop", "sub": "1" });
        app.sign_in(TOKEN, &claims).await;
        assert!(app.is_signed_in().await);
        let answer = report(
            &mut app,
            &logout_token(&json!({ "iss": by, "aud": "shop", "sub": "1" })),
        )
        .await;
        assert_eq!(answer.status, 200, "{by}: {}", answer.text());
        assert!(!app.is_signed_in().await, "{by}");

        claims["iat"] = (NOW + 1).into();
        app.clock.advance(std::time::Duration::from_secs(1));
        app.sign_in(TOKEN, &claims).await;
        let user = UserKey::new(by, "1");
        assert_eq!(admin.of_user_key(user).await.unwrap().len(), 1, "{by}");
        assert_eq!(admin.end_user_key(user).await.unwrap(), 1, "{by}");
        assert!(!app.is_signed_in().await, "{by}");
    }
}
