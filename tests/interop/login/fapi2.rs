//! The FAPI 2.0 Security Profile and Message Signing with oidc-provider, which enforces the profile for its clients.

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use http::header::HOST;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use tower::service_fn;
use tower_oauth::testing::Browser;
use tower_oauth::{Algorithm, AuthorizationServer, Client, CookieKey, LoginLayer, SigningKey};

use super::{account, refreshed};
use crate::provider::Provider;

const ISSUER: &str = "https://id.example.test";
const APP: &str = "https://shop.example.test";

/// Sends a request to the provider, as a proxy that terminates TLS does.
async fn forward(
    address: String,
    request: Request<Bytes>,
) -> Result<Response<Bytes>, reqwest::Error> {
    let (mut parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    parts.uri = format!("{address}{path}").parse().unwrap();
    parts
        .headers
        .insert(HOST, "id.example.test".parse().unwrap());
    parts
        .headers
        .insert("x-forwarded-proto", "https".parse().unwrap());
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()?;
    let request = reqwest::Request::try_from(Request::from_parts(parts, body))?;
    let response = Response::from(client.execute(request).await?);
    let (parts, body) = response.into_parts();
    let body = body.collect().await?.to_bytes();
    Ok(Response::from_parts(parts, body))
}

async fn signs_in(client_id: &str, profile: impl FnOnce(LoginLayer, SigningKey) -> LoginLayer) {
    let provider = Provider::start(&[("APP", APP), ("ISSUER", ISSUER), ("DPOP_NONCE", "1")]);
    let address = provider.address().to_owned();
    let back_channel = {
        let address = address.clone();
        service_fn(move |request: Request<Bytes>| forward(address.clone(), request))
    };
    let server = AuthorizationServer::new(ISSUER)
        .unwrap()
        .with_back_channel(back_channel);
    let key = provider.client_key();
    let client = Client::private_key_jwt(client_id, key.clone());
    let redirect_uri = format!("{APP}/auth/callback");
    let cookies = CookieKey::generate().unwrap();
    let login = LoginLayer::new(&server, client, &redirect_uri, cookies).unwrap();
    let login = profile(login.with_scopes("openid profile email").unwrap(), key);
    let login = login.with_id_token_algorithms([Algorithm::Ps256]).unwrap();
    login.ready().await.unwrap();
    let pages = Router::new()
        .route("/account", get(account))
        .route("/refreshed", get(refreshed))
        .layer(login.required())
        .layer(login);
    let front = service_fn(move |request: Request<Full<Bytes>>| {
        let address = address.clone();
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let response = forward(address, Request::from_parts(parts, body)).await?;
            Ok::<_, reqwest::Error>(response.map(Full::new))
        }
    });
    let browser = Browser::new().with_origin(ISSUER, front).unwrap();
    let browser = browser.with_origin(APP, pages).unwrap();
    let page = browser.navigate(&format!("{APP}/account")).await.unwrap();
    let form = page
        .form("")
        .unwrap_or_else(|_| panic!("{} {}", page.url(), page.text()));
    let form = form
        .fill("login", "alice")
        .unwrap()
        .fill("password", "any")
        .unwrap();
    let consent = form.submit().await.unwrap();
    let page = consent.form("").unwrap().submit().await.unwrap();
    assert_eq!(
        page.status(),
        StatusCode::OK,
        "{} {}",
        page.url(),
        page.text()
    );
    assert_eq!(page.text(), "alice is \"Alice Example\"");
}

#[tokio::test]
#[ignore = "needs oidc-provider: tests/interop/run"]
async fn the_security_profile() {
    let profile = |login: LoginLayer, _| login.with_fapi2_security_profile().unwrap();
    signs_in("web-fapi", profile).await;
}

#[tokio::test]
#[ignore = "needs oidc-provider: tests/interop/run"]
async fn message_signing() {
    let profile = |login: LoginLayer, key| login.with_fapi2_message_signing(key).unwrap();
    signs_in("web-fapi-signed", profile).await;
}
