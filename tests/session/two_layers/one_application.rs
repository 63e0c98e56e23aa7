//! Customers and staff sign in at two issuers, in one application:
//! `.layer(customers).layer(staff)`.

use axum::Router;
use axum::routing::get;
use http::StatusCode;
use tower_oauth::extract::Principal;
use tower_oauth::testing::{Browser, TestClient, TestServer, TestUser};
use tower_oauth::{BearerLayer, Client, CookieKey, LoginLayer, Session};

use crate::support::logs::Logs;
use crate::support::shop::*;

const STAFF_ISSUER: &str = "https://staff-id.example.test";
const STAFF_CALLBACK: &str = "https://shop.example.com/staff/auth/callback";

/// An authorization server with the client `shop`, and its login layer.
fn realm(issuer: &str, user: &str, redirect_uri: &str) -> (TestServer, LoginLayer) {
    let client = TestClient::confidential("shop", "secret").without_consent();
    let server = crate::support::still_server(issuer)
        .unwrap()
        .add_client(client.add_redirect_uri(redirect_uri).unwrap())
        .add_user(TestUser::new(user, "password"));
    let (client, key) = (
        Client::confidential("shop", "secret"),
        CookieKey::from_bytes(&KEY),
    );
    let login = LoginLayer::new(
        &server.authorization_server(),
        client,
        redirect_uri,
        key.unwrap(),
    );
    (server, login.unwrap())
}

struct Application {
    customers: LoginLayer,
    staff: LoginLayer,
    routes: Router,
    browser: Browser,
}

async fn who(session: Option<Session>) -> String {
    session.map_or_else(
        || "stranger".to_owned(),
        |session| session.subject().to_owned(),
    )
}

impl Application {
    fn new(staff_is_outside: bool) -> Self {
        let (server, customers) = realm(ISSUER, "alice", CALLBACK);
        let (staff_server, staff) = realm(STAFF_ISSUER, "bob", STAFF_CALLBACK);
        let bearer = BearerLayer::jwt(&server.authorization_server(), SHOP).unwrap();
        let principal =
            |principal: Principal| async move { principal.subject().unwrap().to_owned() };
        let login_path = |login: LoginLayer| async move { login.login_path().to_owned() };
        let of_both = get(who).layer((customers.required(), staff.required()));
        let routes = Router::new()
            .route("/", get(who))
            .route("/account", get(who).post(who).layer(customers.required()))
            .route("/desk", get(who).post(who).layer(staff.required()))
            .route("/both", of_both)
            .route("/login-path", get(login_path).layer(staff.required()))
            .route(
                "/principal",
                get(principal).layer((bearer.optional(), staff.required())),
            );
        let app = match staff_is_outside {
            true => routes.clone().layer(customers.clone()).layer(staff.clone()),
            false => routes.clone().layer(staff.clone()).layer(customers.clone()),
        };
        let browser = server.browser().with_origin(SHOP, app).unwrap();
        let browser = browser.with_server(&staff_server);
        Self {
            customers,
            staff,
            routes,
            browser,
        }
    }

    async fn text(&self, path: &str) -> String {
        self.browser
            .navigate(&format!("{SHOP}{path}"))
            .await
            .unwrap()
            .text()
    }

    async fn sign_in(&self, path: &str, user: &str) -> String {
        let page = self
            .browser
            .navigate(&format!("{SHOP}{path}"))
            .await
            .unwrap();
        page.sign_in(user, "password").await.unwrap().text()
    }

    fn sessions(&self) -> usize {
        let cookies = self.browser.cookies(SHOP);
        cookies
            .iter()
            .filter(|cookie| cookie.name().ends_with("-session"))
            .count()
    }
}

#[tokio::test]
async fn each_layer_signs_its_users_in_and_out_and_leaves_the_other_session_alone() {
    for staff_is_outside in [true, false] {
        let shop = Application::new(staff_is_outside);
        assert_eq!(shop.sign_in("/account", "alice").await, "alice");
        // A route of the staff needs a session of the staff, and gets it.
        assert_eq!(shop.sign_in("/desk", "bob").await, "bob");
        assert_eq!(shop.sessions(), 2);
        for _ in 0..2 {
            for (path, expected) in [
                ("/account", "alice"),
                ("/desk", "bob"),
                // The innermost `required()`, and else the innermost layer.
                ("/both", "bob"),
                ("/", if staff_is_outside { "alice" } else { "bob" }),
                ("/principal", "bob"),
                ("/login-path", "/staff/auth/login"),
            ] {
                assert_eq!(shop.text(path).await, expected, "{path} {staff_is_outside}");
            }
        }
        for (logout, own, other) in [
            (shop.staff.logout_path(), "/desk", ("/account", "alice")),
            (shop.customers.logout_path(), "/account", ("", "")),
        ] {
            let page = shop
                .browser
                .navigate(&format!("{SHOP}{logout}"))
                .await
                .unwrap();
            page.form("").unwrap().press("Sign out").await.unwrap();
            let page = shop
                .browser
                .navigate(&format!("{SHOP}{own}"))
                .await
                .unwrap();
            assert_ne!(page.url(), format!("{SHOP}{own}"), "{staff_is_outside}");
            if let (path, user @ "alice") = other {
                assert_eq!(shop.text(path).await, user, "{staff_is_outside}");
            }
        }
        assert_eq!(shop.sessions(), 0);
    }
}

/// The outer layer would answer for the inner one, or each would clear the cookies of the other.
#[tokio::test]
async fn layers_with_equal_routes_or_cookie_names_are_reported_as_a_500() {
    let logs = Logs::default();
    let _recording = logs.record_only("login_misconfigured");
    let shop = Application::new(true);
    let renamed = |login: &LoginLayer| login.clone().with_cookie_name("shop").unwrap();
    let (_, same_routes) = realm(STAFF_ISSUER, "bob", CALLBACK);
    for (name, one, two) in [
        ("route", shop.customers.clone(), same_routes),
        (
            "cookie names",
            renamed(&shop.customers),
            renamed(&shop.staff),
        ),
    ] {
        let app = shop.routes.clone().layer(one).layer(two);
        for path in ["/account", "/desk"] {
            let answer = send(&app, Ask::page(path)).await;
            let is_own = answer.text().contains(name) || name == "route" && path == "/desk";
            assert!(is_own, "{path} {}", answer.text());
        }
        let answer = send(&app, Ask::page("/account")).await;
        assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "{name}");
        assert!(answer.text().contains(name), "{}", answer.text());
        assert!(logs.take().contains(name));
    }
}
