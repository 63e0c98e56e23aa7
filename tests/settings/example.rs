//! `examples/settings.rs` with its file.

use http::{Request, StatusCode};
use tower::ServiceExt as _;
use tower_oauth::AuthorizationServer;
use tower_oauth::testing::{TestClient, TestServer, TestUser};

use crate::files::Folder;
use crate::support::keys::ED25519_PEM;
use crate::support::shop::{CALLBACK, SHOP};

#[path = "../../examples/settings.rs"]
#[allow(dead_code)]
mod settings;

const TEXT: &str = include_str!("../../examples/settings.toml");

#[tokio::test]
async fn the_example_signs_users_in_and_protects_its_api() {
    let folder = Folder::new("example");
    folder.cookie_key("cookie-key");
    folder.write("client-secret", "shop-secret");
    folder.write("private-key.pem", ED25519_PEM);
    let text = TEXT.replace("/run/secrets/shop", folder.path().to_str().unwrap());
    let mut config = settings::read(&text).unwrap();
    let client = TestClient::confidential("shop", "shop-secret").without_consent();
    let server = TestServer::new("https://id.example.com")
        .unwrap()
        .add_client(client.add_redirect_uri(CALLBACK).unwrap())
        .add_user(TestUser::new("alice", "wonderland"));
    let staff = TestServer::new("https://staff-id.example.com").unwrap();

    let servers = |one: AuthorizationServer| match one.issuer() {
        "https://id.example.com" => Ok(server.authorization_server()),
        "https://staff-id.example.com" => Ok(staff.authorization_server()),
        _ => Ok(one),
    };
    assert!(settings::application(&config, servers).is_ok());
    // With one provider, users need not choose.
    config.login.further_providers.clear();
    let app = settings::application(&config, servers).unwrap();
    let browser = server.browser().with_origin(SHOP, app.clone()).unwrap();
    let url = format!("{SHOP}/auth/login?return_to=/account");
    let page = browser.navigate(&url).await.unwrap();
    let page = page.sign_in("alice", "wonderland").await.unwrap();
    assert_eq!(page.text(), "alice at customers");

    let ask = |token: String| {
        let request = Request::get("/api/orders").header("authorization", token);
        app.clone()
            .oneshot(request.body(axum::body::Body::empty()).unwrap())
    };
    let token = server
        .access_token()
        .with_audience("https://shop.example.com/api");
    let good = format!("Bearer {}", token.clone().with_scope("orders:read").sign());
    assert_eq!(ask(good).await.unwrap().status(), StatusCode::OK);
    let weak = format!("Bearer {}", token.with_scope("other").sign());
    assert_eq!(ask(weak).await.unwrap().status(), StatusCode::FORBIDDEN);
}

#[test]
fn the_example_reports_the_line_of_an_error_and_not_its_text() {
    let text = TEXT.replacen("secret_file = ", "secrt = ", 1);
    let error = settings::read(&text).unwrap_err().to_string();
    let line = 1 + text
        .lines()
        .position(|line| line.starts_with("secrt"))
        .unwrap();
    assert!(
        error.starts_with(&format!("line {line}: unknown field `secrt`")),
        "{error}"
    );
    assert!(!error.contains("/run/secrets"), "{error}");
}
