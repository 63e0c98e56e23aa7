//! An API that requires another authentication of the user (RFC 9470 §3, §4).

use http::StatusCode;
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

fn download() -> Ask {
    Ask::page("/api/report?x=1").set("sec-fetch-site", "same-origin")
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

#[tokio::test]
async fn a_download_is_redirected_once() {
    let (upstream, shop) = relay(STRONG);
    let mut jar = shop.signed_in().await;
    let answer = shop.send(download().jar(&jar)).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert_eq!(
        answer.parameter("return_to").as_deref(),
        Some("/api/report?x=1")
    );
    let answer = shop.start(answer.location(), &mut jar).await;
    let callback = shop.approve(answer.location(), "alice").await;
    let answer = shop.send(Ask::page(&callback).jar(&jar)).await;
    assert_eq!(answer.location(), "/api/report?x=1");
    jar.take(&answer);
    // The API requires it again.
    let answer = shop.send(download().jar(&jar)).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert!(answer.text().contains("authentication_too_weak"));
    assert_eq!(answer.header("location"), "");
    assert_eq!(upstream.received().len(), 2);
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
