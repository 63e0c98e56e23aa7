//! An API that requires another authentication of the user (RFC 9470 §3, §4).

use http::StatusCode;
use tower_oauth::login::SameSite;
use tower_oauth::testing::TestUser;

use super::*;
use crate::support::logs::Logs;

const STRONG: Fields = &[(
    "www-authenticate",
    "Bearer error=\"insufficient_user_authentication\", acr_values=\"phrh phr\", max_age=\"300\"",
)];

fn relay(fields: Fields) -> (Upstream, Shop) {
    let upstream = Upstream::responding(401, fields);
    let shop = shop_with(&upstream, Relay::with_downloads, |login| login);
    for (name, password) in [("alice", "wonderland"), ("bob", "builder")] {
        let user = TestUser::new(name, password).with_acr_values(["pwd", "phr"]);
        let _ = shop.server.clone().add_user(user);
    }
    (upstream, shop)
}

/// A click on a link of the page `/reports`.
fn download() -> Ask {
    Ask::page("/api/report?x=1")
        .set("sec-fetch-site", "same-origin")
        .with(&[("referer", "https://shop.example.com/reports?y=2")])
}

#[tokio::test]
async fn a_script_gets_the_url_of_a_login_that_meets_the_challenge() {
    for (scheme, expected) in [("Bearer", 401), ("DPoP", 401)] {
        let fields = match scheme {
            "Bearer" => STRONG,
            _ => &[(
                "www-authenticate",
                "DPoP error=\"insufficient_user_authentication\", acr_values=\"phrh phr\", max_age=300",
            )],
        };
        let (_, shop) = relay(fields);
        let mut jar = shop.signed_in().await;
        let old = jar.value(SESSION).to_owned();
        let answer = shop
            .send(Ask::new("GET", "/api/orders").with(&SCRIPT).jar(&jar))
            .await;
        assert_eq!(answer.status.as_u16(), expected, "{scheme}");
        let problem = answer.json();
        assert_eq!(problem["code"], "authentication_too_weak", "{problem}");
        assert_eq!(answer.header("www-authenticate"), "Cookie realm=\"login\"");
        assert_eq!(answer.header("cache-control"), "no-store");
        let login_url = problem["login_url"].as_str().unwrap();
        let answer = shop
            .start(&format!("{login_url}&return_to=/token"), &mut jar)
            .await;
        assert_eq!(answer.parameter("acr_values").as_deref(), Some("phrh phr"));
        assert_eq!(answer.parameter("max_age").as_deref(), Some("300"));
        // Another user cannot complete it.
        let callback = shop.approve(answer.location(), "bob").await;
        let answer = shop.send(Ask::page(&callback).jar(&jar)).await;
        assert!(
            answer.text().contains("step_up_other_user"),
            "{}",
            answer.text()
        );
        jar.take(&answer);
        assert_eq!(jar.value(SESSION), old);
        let answer = shop
            .start(&format!("{login_url}&return_to=/token"), &mut jar)
            .await;
        let callback = shop.approve(answer.location(), "alice").await;
        let answer = shop.send(Ask::page(&callback).jar(&jar)).await;
        assert_eq!(answer.location(), "/token");
        jar.take(&answer);
        assert_ne!(jar.value(SESSION), old);
    }
}

/// The redirect to the download itself would come from the authorization server, and is not relayed.
#[tokio::test]
async fn a_download_is_redirected_once() {
    let (upstream, shop) = relay(STRONG);
    let mut jar = shop.signed_in().await;
    let answer = shop.send(download().jar(&jar)).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert_eq!(
        answer.parameter("return_to").as_deref(),
        Some("/reports?y=2")
    );
    let answer = shop.start(answer.location(), &mut jar).await;
    let callback = shop.approve(answer.location(), "alice").await;
    let answer = shop.send(Ask::page(&callback).jar(&jar)).await;
    assert_eq!(answer.location(), "/reports?y=2");
    jar.take(&answer);
    // The user follows the link again, and the API requires it again.
    let answer = shop.send(download().jar(&jar)).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert!(answer.text().contains("authentication_too_weak"));
    assert_eq!(answer.header("location"), "");
    assert_eq!(upstream.received().len(), 2);
}

#[tokio::test]
async fn after_a_login_for_a_download_the_user_returns_to_the_page_with_the_link() {
    let (upstream, shop) = relay(STRONG);
    let jar = shop.signed_in().await;
    for (referrer, expected) in [
        ("https://shop.example.com/reports?y=2", Some("/reports?y=2")),
        ("https://shop.example.com/", Some("/")),
        ("https://shop.example.com.evil.example/x", None),
        ("https://evil.example/reports", None),
        ("https://shop.example.com//evil.example", None),
        ("/reports", None),
        ("", None),
    ] {
        for jar in [Jar::default(), jar.clone()] {
            let answer = shop
                .send(download().set("referer", referrer).jar(&jar))
                .await;
            assert_eq!(answer.status, StatusCode::SEE_OTHER, "{referrer}");
            let target = answer.parameter("return_to");
            let is_default = target.is_none() || target.as_deref() == Some("/");
            match expected {
                Some(page) if page != "/" => assert_eq!(target.as_deref(), Some(page)),
                _ => assert!(is_default, "{referrer}: {target:?}"),
            }
        }
    }
    // No user action: a redirect, or the page that continues after a login with a Strict cookie.
    let before = upstream.received().len();
    let answer = shop
        .send(download().without("sec-fetch-user").jar(&jar))
        .await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert_eq!(upstream.received().len(), before);
}

/// The page that continues after a login with a Strict cookie is one of this application, and its target may be that of a
/// link.
#[tokio::test]
async fn a_link_of_another_site_through_the_login_is_not_relayed() {
    for (same_site, site) in [
        (SameSite::Lax, "cross-site"),
        (SameSite::Strict, "same-origin"),
    ] {
        let upstream = Upstream::default();
        let shop = shop_with(&upstream, Relay::with_downloads, |login| {
            login.with_same_site(same_site)
        });
        let mut jar = Jar::default();
        let link = Ask::page("/auth/login?return_to=/api/report");
        let answer = shop.send(link.set("sec-fetch-site", "cross-site")).await;
        jar.take(&answer);
        let callback = shop.approve(answer.location(), "alice").await;
        let answer = shop.send(Ask::page(&callback).jar(&jar)).await;
        jar.take(&answer);
        // What the browser does with the response.
        match same_site {
            SameSite::Strict => assert!(answer.text().contains("url=/api/report")),
            _ => assert_eq!(answer.location(), "/api/report"),
        }
        let next = Ask::page("/api/report").set("sec-fetch-site", site);
        let answer = shop.send(next.without("sec-fetch-user").jar(&jar)).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{site}");
        assert!(upstream.received().is_empty());
    }
}

#[tokio::test]
async fn what_an_api_requires_never_lowers_the_acr_of_every_login() {
    for (configured, status, expected) in [("phr gold", 303, Some("phr")), ("gold", 403, None)] {
        let upstream = Upstream::responding(401, STRONG);
        let shop = shop_with(&upstream, Relay::with_downloads, |login| login);
        let alice = TestUser::new("alice", "wonderland").with_acr_values(["gold", "phr"]);
        let _ = shop.server.clone().add_user(alice);
        let relay = Relay::new(API).unwrap().with_transport(upstream.clone());
        let layer = login(&shop.server)
            .with_authorization_parameter("acr_values", configured)
            .unwrap();
        let app = Router::new()
            .nest_service("/api", relay.with_downloads())
            .layer(layer);
        let shop = Shop { app, ..shop };
        let mut jar = shop.signed_in().await;
        let answer = shop.send(download().jar(&jar)).await;
        assert_eq!(answer.status.as_u16(), status, "{}", answer.text());
        if expected.is_some() {
            let answer = shop.start(answer.location(), &mut jar).await;
            assert_eq!(answer.parameter("acr_values").as_deref(), expected);
        }
    }
}

#[tokio::test]
async fn other_challenges_are_forwarded_as_before() {
    for (name, fields, status, is_logged) in [
        ("no challenge", &[][..], 401, false),
        (
            "another error",
            &[("www-authenticate", "Bearer error=\"invalid_token\"")],
            401,
            false,
        ),
        (
            "another scheme",
            &[(
                "www-authenticate",
                "Basic error=\"insufficient_user_authentication\"",
            )],
            401,
            false,
        ),
        (
            "a malformed age",
            &[(
                "www-authenticate",
                "Bearer error=\"insufficient_user_authentication\", max_age=\"soon\"",
            )],
            401,
            true,
        ),
        ("another status", STRONG, 403, false),
    ] {
        let (mut upstream, _) = relay(fields);
        upstream.status = Some(StatusCode::from_u16(status).unwrap());
        let shop = shop_with(&upstream, |relay| relay, |login| login);
        let jar = shop.signed_in().await;
        let logs = Logs::default();
        let recording = logs.record_only("relay_step_up_ignored");
        let answer = shop
            .send(Ask::new("GET", "/api/orders").with(&SCRIPT).jar(&jar))
            .await;
        drop(recording);
        assert_eq!(answer.status.as_u16(), status, "{name}");
        assert_eq!(answer.text(), "from the upstream", "{name}");
        assert_eq!(logs.take().contains("max_age"), is_logged, "{name}");
    }
    let upstream = Upstream::responding(401, STRONG);
    let shop = shop_with(&upstream, Relay::without_step_up, |login| login);
    let jar = shop.signed_in().await;
    let answer = shop
        .send(Ask::new("GET", "/api/orders").with(&SCRIPT).jar(&jar))
        .await;
    assert_eq!(answer.text(), "from the upstream");
}
