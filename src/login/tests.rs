//! Transactions that another version of this layer could have encrypted.

use bytes::Bytes;
use http::header::{COOKIE, LOCATION};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tower::{ServiceExt as _, service_fn};
use tower_layer::Layer as _;

use super::{LoginLayer, transactions};
use crate::config_error::ConfigError;
use crate::crypto::CookieKey;
use crate::crypto::seal::Purpose;
use crate::flow::Transaction;
use crate::issuer::{AuthorizationServer, Client};
use crate::protocol::{CodeVerifier, Nonce, State};

const ISSUER: &str = "https://id.example.com";
const REDIRECT_URI: &str = "https://shop.example.com/auth/callback";

/// A release with a weaker check may have encrypted these.
#[tokio::test]
async fn an_encrypted_return_target_is_checked_again_before_the_redirect() {
    for (target, expected) in [
        ("/notes?x=1#y", "/notes?x=1#y"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("/%2f/evil.example", "/"),
        ("https://evil.example/", "/"),
        ("javascript:alert(1)", "/"),
        ("/a\r\nSet-Cookie: x=y", "/"),
        ("/auth/login", "/"),
        ("", "/"),
    ] {
        let layer = layer().unwrap();
        // A failed silent login and a denied one: neither needs a token request.
        let silent = callback(&layer, target, "login_required").await;
        assert_eq!(silent.status(), StatusCode::SEE_OTHER, "{target:?}");
        assert_eq!(silent.headers()[LOCATION], expected, "{target:?}");

        let denied = callback(&layer, target, "access_denied").await;
        assert_eq!(denied.status(), StatusCode::FORBIDDEN, "{target:?}");
        let body: serde_json::Value = serde_json::from_slice(denied.body()).unwrap();
        let login_url = layer.settings.login_url(Some(expected));
        assert_eq!(body["login_url"], login_url, "{target:?}");
    }
}

fn layer() -> Result<LoginLayer, ConfigError> {
    let server = AuthorizationServer::new(ISSUER)?;
    let key = CookieKey::from_bytes(&[7; 32])?;
    LoginLayer::new(&server, Client::public("shop"), REDIRECT_URI, key)
}

async fn callback(layer: &LoginLayer, target: &str, error: &str) -> Response<Bytes> {
    let settings = &layer.settings;
    let transaction = Transaction {
        state: State::new(error),
        nonce: Nonce::new("n"),
        verifier: CodeVerifier::new("v".repeat(43)),
        issuer: ISSUER.to_owned(),
        redirect_uri: REDIRECT_URI.to_owned(),
        return_to: target.to_owned(),
        started_at: settings.manager.time().wall(),
        by_person: true,
        replaces: None,
        silent: true,
        max_age: None,
        acr_values: None,
    };
    let name = transactions::suffix(&transaction.state);
    let cookies = &settings.cookies;
    let sealed = cookies.seal(Purpose::Transaction, &name, &transaction.to_bytes());
    let cookie = format!("{}={}", cookies.name(&name), sealed.unwrap());
    let request = Request::get(format!(
        "/auth/callback?error={error}&state={error}&iss={ISSUER}"
    ))
    .header(COOKIE, cookie)
    .body(Full::new(Bytes::new()))
    .unwrap();
    let inner = service_fn(async |_: Request<Full<Bytes>>| {
        Ok::<_, std::convert::Infallible>(Response::new(Bytes::new()))
    });
    layer.layer(inner).oneshot(request).await.unwrap()
}
