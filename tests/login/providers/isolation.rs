//! Responses of one provider at the callback of another one (RFC 9700 §4.4).

use http::StatusCode;
use tower_oauth::login::ResponseMode;
use tower_oauth::testing::Endpoint;

use super::*;
use crate::support::shop::{Ask, Jar, PAGE, send, with_parameter};

/// Starts a login and returns the callback with the code, which the browser has not opened yet.
async fn callback_of(
    shop: &TwoProviders,
    server: &TestServer,
    path: &str,
    jar: &mut Jar,
) -> String {
    let answer = send(&shop.app, Ask::page(path).jar(jar)).await;
    jar.take(&answer);
    let echo = Router::new().fallback(async |uri: http::Uri| uri.to_string());
    let browser = server.browser().with_origin(SHOP, echo).unwrap();
    let page = browser.navigate(answer.location()).await.unwrap();
    page.sign_in("alice", "wonderland").await.unwrap().text()
}

fn calls(shop: &TwoProviders) -> usize {
    let all = [&shop.staff, &shop.partner].map(|server| server.requests().len());
    all.iter().sum()
}

/// The attack: a provider that is hostile, or compromised, has the browser present the code of another provider at its own
/// callback, and would receive that code at its token endpoint.
#[tokio::test]
async fn a_code_of_one_provider_at_the_callback_of_another_is_sent_to_neither() {
    let shop = TwoProviders::new();
    for (login, server, own, other) in [
        (
            "/auth/login/staff",
            &shop.staff,
            "/auth/callback",
            "/auth/callback/partner",
        ),
        (
            "/auth/login/partner",
            &shop.partner,
            "/auth/callback/partner",
            "/auth/callback",
        ),
    ] {
        let mut jar = Jar::default();
        let callback = callback_of(&shop, server, login, &mut jar).await;
        assert!(callback.starts_with(&format!("{own}?")), "{callback}");
        let moved = callback.replacen(own, other, 1);
        for iss in [None, Some(ISSUER), Some(PARTNER)] {
            let before = calls(&shop);
            let moved = with_parameter(&moved, "iss", iss);
            let answer = send(&shop.app, Ask::page(&moved).jar(&jar)).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{moved}");
            assert!(
                answer.text().contains("transaction_elsewhere"),
                "{}",
                answer.text()
            );
            assert_eq!(answer.sets(), [""; 0], "{moved}");
            assert_eq!(calls(&shop), before, "{moved}");
        }
        assert_eq!(server.count(Endpoint::Token), 0);
    }
}

/// Two clients of one authorization server: `iss` does not distinguish them.
#[tokio::test]
async fn the_code_of_one_client_is_not_redeemed_as_another_one() {
    let shop = TwoProviders::two_clients(|login| login);
    let mut jar = Jar::default();
    let callback = callback_of(&shop, &shop.staff, "/auth/login/staff", &mut jar).await;
    let moved = callback.replacen("/auth/callback", "/auth/callback/desk", 1);
    let answer = send(&shop.app, Ask::page(&moved).jar(&jar)).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(shop.staff.count(Endpoint::Token), 0);
    // Each of them signs in at its own callback.
    let browser = shop.browser();
    shop.sign_in(&browser, "desk").await;
    let page = open(&browser, "/auth/login/staff?return_to=/account").await;
    assert_eq!(page.text(), "alice at staff");
    let clients = shop
        .staff
        .requests()
        .into_iter()
        .filter(|one| one.endpoint() == Endpoint::Token);
    assert_eq!(clients.count(), 2);
}

#[tokio::test]
async fn the_same_issuer_and_client_may_be_two_providers() {
    let second = "https://shop.example.com/auth/callback/consent";
    let staff = server_for(ISSUER, &[CALLBACK, second]);
    let consent = provider("consent", &staff)
        .with_authorization_parameter("prompt", "consent")
        .unwrap();
    let shop = TwoProviders::of(staff.clone(), staff, consent, |login| login);
    let mut jar = Jar::default();
    let callback = callback_of(&shop, &shop.staff, "/auth/login/staff", &mut jar).await;
    let moved = callback.replacen("/auth/callback", "/auth/callback/consent", 1);
    let answer = send(&shop.app, Ask::page(&moved).jar(&jar)).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(answer.text().contains("transaction_elsewhere"));
    assert_eq!(shop.staff.count(Endpoint::Token), 0);
    shop.sign_in(&shop.browser(), "staff").await;
}

/// The form is read, and its code redeemed, with the settings of the provider of the path.
#[tokio::test]
async fn each_provider_has_its_own_response_mode() {
    let staff = staff_server();
    let partner = partner_server(&staff).with_response_modes();
    let form = provider("partner", &partner).with_response_mode(ResponseMode::FormPost);
    let shop = TwoProviders::of(staff, partner, form, |login| login);
    for name in ["staff", "partner"] {
        shop.sign_in(&shop.browser(), name).await;
    }
    let post = |path: &str| {
        let fields = [
            ("content-type", "application/x-www-form-urlencoded"),
            ("origin", "null"),
        ];
        Ask::new("POST", path)
            .with(&PAGE)
            .with(&fields)
            .body("code=c&state=s")
    };
    let answer = send(&shop.app, post("/auth/callback")).await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    let answer = send(&shop.app, post("/auth/callback/partner")).await;
    assert!(
        answer
            .location()
            .starts_with("/auth/callback/partner?form="),
        "{answer:?}"
    );
}

/// A page requires another authentication: that is a matter of the user's provider.
#[tokio::test]
async fn a_user_authenticates_again_at_the_provider_of_the_session() {
    let shop = TwoProviders::new();
    let policy = tower_oauth::bearer::Policy::max_age(std::time::Duration::from_secs(60)).unwrap();
    let required = shop
        .login
        .required()
        .with_policy(policy)
        .unwrap()
        .with_step_up();
    let app = Router::new()
        .route("/account", get(greet))
        .route("/pay", get(greet).layer(required))
        .layer(shop.login.clone());
    let shop = TwoProviders { app, ..shop };
    for (name, server) in [("partner", &shop.partner), ("staff", &shop.staff)] {
        let browser = shop.browser();
        shop.sign_in(&browser, name).await;
        shop.staff
            .clock()
            .advance(std::time::Duration::from_secs(120));
        let page = open(&browser, "/pay").await;
        assert!(
            page.url().starts_with(server.issuer()),
            "{} {}",
            page.url(),
            page.text()
        );
        let page = page.sign_in("alice", "wonderland").await.unwrap();
        assert_eq!(page.text(), format!("alice at {name}"));
    }
}

/// `iss` of a login that another party starts selects the provider, and must be one of them.
#[tokio::test]
async fn a_login_that_another_party_starts_is_at_the_provider_with_its_issuer() {
    let shop = TwoProviders::with(LoginLayer::with_third_party_login);
    for (path, issuer, expected) in [
        ("/auth/login", ISSUER, Some(ISSUER)),
        ("/auth/login", PARTNER, Some(PARTNER)),
        ("/auth/login/partner", PARTNER, Some(PARTNER)),
        ("/auth/login/partner", ISSUER, None),
        ("/auth/login", "https://id.example.test/", None),
        ("/auth/login", "https://evil.example", None),
    ] {
        let query = format!("iss={issuer}&target_link_uri=/account");
        let answer = send(&shop.app, Ask::page(&format!("{path}?{query}"))).await;
        let form = Ask::new("POST", path).with(&PAGE).body(&query);
        let form = form.with(&[("content-type", "application/x-www-form-urlencoded")]);
        let posted = send(&shop.app, form).await;
        match expected {
            Some(issuer) => {
                assert!(answer.location().starts_with(issuer), "{path} {issuer}");
                let answer = send(&shop.app, Ask::page(posted.location())).await;
                assert!(answer.location().starts_with(issuer), "{path} {issuer}");
            }
            None => {
                assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path} {issuer}");
                assert_eq!(posted.status, StatusCode::BAD_REQUEST, "{path} {issuer}");
            }
        }
    }
}
