//! Sign-out, and attempts to sign others out.

use http::StatusCode;
use tower_oauth::testing::{Endpoint, Fault, TestClient, TestUser};

use crate::support::shop::*;

const OWN: [(&str, &str); 1] = [("sec-fetch-site", "same-origin")];

/// RP-Initiated Logout: ends the session here and at the authorization server.
#[tokio::test]
async fn signing_out_ends_the_session_here_there_and_for_copies_of_the_cookie() {
    let shop = Shop::new();
    let mut jar = shop.signed_in().await;
    shop.start("/auth/login", &mut jar).await;
    let copy = jar.clone();

    let ask = Ask::new("POST", "/auth/logout?return_to=/notes").with(&OWN);
    let answer = shop.send(ask.jar(&jar)).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert!(
        answer.location().starts_with(ISSUER),
        "{}",
        answer.location()
    );
    assert_eq!(answer.parameter("client_id").as_deref(), Some("shop"));
    assert_eq!(
        answer.parameter("post_logout_redirect_uri").as_deref(),
        Some(LOGOUT)
    );
    assert!(answer.parameter("id_token_hint").is_some());
    let state = answer.parameter("state").unwrap();
    let mut cleared = answer.clears();
    cleared.sort_unstable();
    let mut had = copy.names();
    had.sort_unstable();
    assert_eq!(cleared, had);
    jar.take(&answer);
    assert_eq!(jar.names(), ["__Host-Http-shop-logout"]);
    assert_eq!(shop.greeting(&copy).await, "hello stranger");

    // Back from the authorization server, with and without the cookie.
    let back = format!("/auth/logout?state={state}");
    let other = shop.send(Ask::page(&back)).await;
    assert_eq!(other.location(), "/");
    let other = shop
        .send(Ask::page("/auth/logout?state=other").jar(&jar))
        .await;
    assert_eq!(other.location(), "/");
    let answer = shop.send(Ask::page(&back).jar(&jar)).await;
    assert_eq!(answer.location(), "/notes");
    jar.take(&answer);
    assert_eq!(jar.names(), [""; 0]);
}

#[tokio::test]
async fn signing_out_works_without_an_end_session_endpoint() {
    let shop = Shop::new();
    shop.server.fail(
        Endpoint::Metadata,
        Fault::without_member("end_session_endpoint"),
    );
    let jar = shop.signed_in().await;
    let answer = shop
        .send(Ask::new("POST", "/auth/logout").with(&OWN).jar(&jar))
        .await;
    assert_eq!(answer.location(), "/");
    assert_eq!(answer.clears(), [SESSION]);
    assert_eq!(answer.sets(), [""; 0]);
}

/// Logout CSRF: another site cannot sign a user out.
#[tokio::test]
async fn another_site_cannot_sign_a_user_out() {
    let shop = Shop::new();
    let jar = shop.signed_in().await;
    let html = accept_html();
    let cases = [
        (
            "foreign form",
            Ask::new("POST", "/auth/logout").with(&[html, ("sec-fetch-site", "cross-site")]),
            403,
        ),
        (
            "form of a sibling",
            Ask::new("POST", "/auth/logout").with(&[html, ("sec-fetch-site", "same-site")]),
            403,
        ),
        (
            "form without an origin",
            Ask::new("POST", "/auth/logout").with(&[html, ("origin", "null")]),
            403,
        ),
        ("form with nothing", Ask::new("POST", "/auth/logout"), 403),
        (
            "foreign link",
            Ask::page("/auth/logout").set("sec-fetch-site", "cross-site"),
            200,
        ),
        ("typed address", Ask::page("/auth/logout"), 200),
        (
            "foreign image",
            Ask::page("/auth/logout")
                .set("sec-fetch-site", "cross-site")
                .set("sec-fetch-mode", "no-cors")
                .set("sec-fetch-dest", "image"),
            200,
        ),
        (
            "own image",
            Ask::page("/auth/logout")
                .set("sec-fetch-site", "same-origin")
                .set("sec-fetch-mode", "no-cors")
                .set("sec-fetch-dest", "image"),
            200,
        ),
        (
            "prefetch of an own link",
            Ask::page("/auth/logout")
                .set("sec-fetch-site", "same-origin")
                .set("sec-purpose", "prefetch"),
            200,
        ),
        (
            "no metadata",
            Ask::new("GET", "/auth/logout").with(&[html]),
            200,
        ),
        ("head", Ask::new("HEAD", "/auth/logout").with(&OWN), 405),
    ];
    for (name, ask, status) in cases {
        for cookies in [&jar, &Jar::default()] {
            let answer = shop.send(ask.clone().jar(cookies)).await;
            assert_eq!(answer.set_cookies(), [""; 0], "{name}");
            if !cookies.0.is_empty() {
                assert_eq!(answer.status.as_u16(), status, "{name}");
            }
        }
        assert_eq!(shop.greeting(&jar).await, "hello alice", "{name}");
    }
    assert_eq!(shop.server.count(Endpoint::EndSession), 0);
}

#[tokio::test]
async fn the_confirmation_page_signs_out() {
    let shop = Shop::new();
    let browser = shop.browser();
    let page = browser.navigate(&format!("{SHOP}/account")).await.unwrap();
    page.sign_in("alice", "wonderland").await.unwrap();
    let page = browser
        .navigate(&format!("{SHOP}/auth/logout?return_to=/notes"))
        .await
        .unwrap();
    assert!(page.text().contains("Sign out?"), "{}", page.text());
    // Chromium applies `form-action` to the redirect to the authorization server.
    let policy = page.header("content-security-policy").unwrap();
    assert!(
        policy.contains("default-src 'none'") && !policy.contains("form-action"),
        "{policy}"
    );
    let page = page.form("").unwrap().press("Sign out").await.unwrap();
    assert_eq!(page.url(), format!("{SHOP}/notes"));
    assert_eq!(page.text(), "hello stranger");
}

#[tokio::test]
async fn a_link_in_an_own_page_signs_out() {
    let shop = Shop::new();
    let jar = shop.signed_in().await;
    let ask = Ask::page("/auth/logout").set("sec-fetch-site", "same-origin");
    let answer = shop.send(ask.jar(&jar)).await;
    assert_eq!(answer.clears(), [SESSION]);
}

/// Another site can choose the target of a redirect by a script or a `meta` element of an own page.
#[tokio::test]
async fn a_redirect_without_an_action_of_the_user_asks_before_it_signs_out() {
    let shop = Shop::new();
    let jar = shop.signed_in().await;
    let ask = Ask::page("/auth/logout").set("sec-fetch-site", "same-origin");
    let answer = shop.send(ask.without("sec-fetch-user").jar(&jar)).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.clears(), [""; 0]);
    assert_eq!(shop.greeting(&jar).await, "hello alice");
}

/// Open redirects.
#[tokio::test]
async fn a_hostile_return_target_of_a_sign_out_becomes_the_default() {
    let shop = Shop::new();
    shop.server.fail(
        Endpoint::Metadata,
        Fault::without_member("end_session_endpoint"),
    );
    for (query, form, expected) in [
        ("return_to=/notes", "", "/notes"),
        ("", "return_to=%2Fnotes", "/notes"),
        ("return_to=//evil.example", "", "/"),
        ("", "return_to=%2F%2Fevil.example", "/"),
        ("return_to=/notes", "return_to=%2Fmine", "/"),
        ("return_to=https://evil.example", "", "/"),
        ("return_to=/auth/logout", "", "/"),
    ] {
        let jar = shop.signed_in().await;
        let ask = Ask::new("POST", &format!("/auth/logout?{query}"))
            .with(&OWN)
            .with(&[("content-type", "application/x-www-form-urlencoded")])
            .body(form);
        let answer = shop.send(ask.jar(&jar)).await;
        assert_eq!(answer.location(), expected, "{query} {form}");
    }
}

/// A redirect to another origin fails for a script, and its URL has the ID token.
#[tokio::test]
async fn a_script_that_signs_out_gets_the_location_of_a_redirect_that_works_once() {
    const FETCH: [(&str, &str); 4] = [
        ("accept", "*/*"),
        ("sec-fetch-site", "same-origin"),
        ("sec-fetch-mode", "cors"),
        ("sec-fetch-dest", "empty"),
    ];
    for is_htmx in [false, true] {
        let shop = Shop::new();
        let mut jar = shop.signed_in().await;
        let copy = jar.clone();
        let mut ask = Ask::new("POST", "/auth/logout?return_to=/notes").with(&FETCH);
        if is_htmx {
            ask = ask.set("hx-request", "true");
        }
        let answer = shop.send(ask.jar(&jar)).await;
        jar.take(&answer);
        assert_eq!(answer.status, StatusCode::OK);
        let location = answer.json()["location"].as_str().unwrap().to_owned();
        assert!(location.starts_with("/auth/logout?continue="), "{location}");
        assert_eq!(
            answer.header("hx-redirect"),
            if is_htmx { &location } else { "" }
        );
        assert!(!answer.head().contains("eyJ") && !answer.text().contains("eyJ"));
        assert_eq!(shop.greeting(&copy).await, "hello stranger");

        // A script could read where its own request ends.
        for fields in [
            FETCH.as_slice(),
            &[("accept", "text/html"), ("sec-purpose", "prefetch")],
        ] {
            let answer = shop
                .send(Ask::new("GET", &location).with(fields).jar(&jar))
                .await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{fields:?}");
            assert!(!answer.head().contains("eyJ"));
        }
        for (address, cookies) in [
            (&*location, &Jar::default()),
            ("/auth/logout?continue=other", &jar),
            ("/auth/logout?continue=-", &jar),
            ("/auth/logout?state=-", &jar),
        ] {
            let answer = shop.send(Ask::page(address).jar(cookies)).await;
            assert_eq!(answer.location(), "/", "{address}");
        }
        let used = jar.clone();
        let answer = shop.send(Ask::page(&location).jar(&jar)).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER);
        assert!(
            answer.location().starts_with(ISSUER),
            "{}",
            answer.location()
        );
        assert!(answer.parameter("id_token_hint").is_some());
        jar.take(&answer);
        let again = shop.send(Ask::page(&location).jar(&jar)).await;
        assert_eq!(again.location(), "/", "the browser has another cookie");
        let back = format!("/auth/logout?state={}", answer.parameter("state").unwrap());
        assert_eq!(
            shop.send(Ask::page(&back).jar(&jar)).await.location(),
            "/notes"
        );
        shop.clock().advance(std::time::Duration::from_secs(600));
        assert_eq!(
            shop.send(Ask::page(&location).jar(&used)).await.location(),
            "/"
        );
    }
}

/// Without an ID token in the URL, a script gets it at once.
#[tokio::test]
async fn a_script_gets_a_location_without_an_id_token_directly() {
    let blob = "b".repeat(2600);
    for (name, is_large, expected) in [("no endpoint", false, "/notes"), ("large", true, ISSUER)] {
        let server = server();
        let store = tower_oauth::store::MemoryStore::new().with_single_process();
        let shop = Shop {
            app: app(&login(&server).with_session_store(store)),
            server,
        };
        let (blob, endpoint) = (
            blob.clone(),
            if is_large {
                Endpoint::Token
            } else {
                Endpoint::Metadata
            },
        );
        shop.server.fail(
            endpoint,
            match is_large {
                true => Fault::id_token(move |mint| mint.with_claim("blob", &*blob)),
                false => Fault::without_member("end_session_endpoint"),
            },
        );
        let jar = shop.signed_in().await;
        let script = [
            ("accept", "application/json"),
            ("sec-fetch-site", "same-origin"),
        ];
        let ask = Ask::new("POST", "/auth/logout?return_to=/notes").with(&script);
        let answer = shop.send(ask.jar(&jar)).await;
        assert_eq!(answer.status, StatusCode::OK, "{name}");
        let location = answer.json()["location"].as_str().unwrap().to_owned();
        assert!(location.starts_with(expected), "{name}: {location}");
        assert!(!location.contains("id_token_hint"), "{name}");
        assert!(answer.head().len() < 4096, "{name}");
    }
}

/// The post-logout redirect URI may be a page of the application.
#[tokio::test]
async fn a_sign_out_can_return_to_any_page_and_continues_to_its_target() {
    let home = format!("{SHOP}/");
    let server = crate::support::still_server(ISSUER)
        .unwrap()
        .add_client(
            TestClient::confidential("shop", "shop-secret")
                .add_redirect_uri(CALLBACK)
                .unwrap()
                .add_post_logout_redirect_uri(&home)
                .unwrap()
                .without_consent(),
        )
        .add_user(TestUser::new("alice", "wonderland"));
    let login = login(&server).with_post_logout_redirect_uri(&home).unwrap();
    let shop = Shop {
        app: app(&login),
        server,
    };
    let mut jar = shop.signed_in().await;
    let ask = Ask::new("POST", "/auth/logout?return_to=/notes").with(&OWN);
    let answer = shop.send(ask.jar(&jar)).await;
    let back = format!("/?state={}", answer.parameter("state").unwrap());
    jar.take(&answer);
    for (path, cookies) in [
        (back.as_str(), &Jar::default()),
        ("/?state=other", &jar),
        ("/", &jar),
    ] {
        let answer = shop.send(Ask::page(path).jar(cookies)).await;
        assert_eq!(answer.text(), "hello stranger", "{path}");
    }
    let answer = shop.send(Ask::page(&back).jar(&jar)).await;
    assert_eq!(answer.location(), "/notes");
    assert_eq!(answer.clears(), ["__Host-Http-shop-logout"]);
}

/// The post-logout redirect URI cannot be another route of the layer.
#[test]
fn the_post_logout_uri_cannot_be_another_route_of_the_layer() {
    let server = server();
    for (path, taken) in [
        ("login", false),
        ("callback", false),
        ("session", false),
        ("session?x=y", false),
        ("logout", true),
        ("elsewhere", true),
    ] {
        let uri = format!("{SHOP}/auth/{path}");
        let login = login(&server).with_post_logout_redirect_uri(&uri);
        assert_eq!(login.is_ok(), taken, "{path}");
    }
}
