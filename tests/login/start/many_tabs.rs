//! Several logins of one browser: the size of their cookies, and what becomes of evicted ones.

use std::time::Duration;

use http::StatusCode;
use tower_oauth::login::SameSite;

use crate::support::shop::*;

/// Starts logins at the same time: no request sees the cookies of another.
async fn start_at_once(
    shop: &Shop,
    count: usize,
    target: impl Fn(usize) -> String,
) -> (Jar, Vec<String>) {
    let (before, mut jar, mut locations) = (Jar::default(), Jar::default(), Vec::new());
    for number in 0..count {
        let path = format!("/auth/login?return_to={}", encode(&target(number)));
        // Restored tabs are not opened by a click.
        let ask = Ask::page(&path).without("sec-fetch-user").jar(&before);
        let answer = shop.send(ask).await;
        jar.take(&answer);
        locations.push(answer.location().to_owned());
    }
    (jar, locations)
}

/// A browser that restores its tabs.
#[tokio::test]
async fn any_number_of_logins_begun_at_once_leaves_less_than_two_kibibytes() {
    for (name, count, same_site) in [
        ("six", 6, SameSite::Lax),
        ("many", 45, SameSite::Lax),
        ("Strict", 45, SameSite::Strict),
    ] {
        let shop = Shop::with(|login| login.with_same_site(same_site));
        let target = |number| format!("/notes?tab={number}&{}", "x".repeat(200));
        let (mut jar, locations) = start_at_once(&shop, count, target).await;
        assert!(jar.bytes() < 2048, "{name}: {}", jar.bytes());
        let (mut signed_in, mut clicks) = (0, 0);
        for (number, location) in locations.iter().enumerate() {
            assert!(parameter(location, "state").unwrap().len() < 400);
            let (target, own) = (target(number), format!("tab={number}&"));
            let returns =
                |answer: &Answer| answer.head().contains(&own) || answer.text().contains(&own);
            let callback = shop.approve(location, "alice").await;
            let mut browser = jar.clone();
            let answer = shop.send(Ask::page(&callback).jar(&browser)).await;
            if answer.status == StatusCode::BAD_REQUEST {
                clicks += 1;
                // The cookies of other logins stay.
                assert_eq!(answer.set_cookies(), [""; 0], "{name}");
                let link = format!("/auth/login?return_to={}", encode(&target));
                assert!(answer.text().contains(&link), "{name}: {}", answer.text());
                assert!(answer.text().contains("login_replaced"), "{name}");
                let answer = shop.start(&link, &mut browser).await;
                let callback = shop.approve(answer.location(), "alice").await;
                let answer = shop.send(Ask::page(&callback).jar(&browser)).await;
                assert!(answer.sets().contains(&SESSION), "{name}");
                assert!(returns(&answer), "{name}: {answer:?}");
            } else {
                signed_in += 1;
                assert!(answer.sets().contains(&SESSION), "{name}");
                assert!(returns(&answer), "{name}: {answer:?}");
            }
        }
        assert_eq!(signed_in, jar.transactions().len(), "{name}");
        assert_eq!(clicks, count - signed_in, "{name}");
        // The last one begun always has its cookie.
        let callback = shop.approve(locations.last().unwrap(), "bob").await;
        let answer = shop.send(Ask::page(&callback).jar(&jar)).await;
        assert!(answer.sets().contains(&SESSION), "{name}");
        jar.take(&answer);
        assert!(jar.bytes() < 8 * 1024 - 64, "{name}");
    }
}

/// The last long target is kept; the others are the default. All cookies fit into a field of 8 KiB.
#[tokio::test]
async fn long_return_targets_are_kept_while_there_is_room() {
    let shop = Shop::new();
    let target = |number: usize| format!("/{number}{}", "/x,;y".repeat(400));
    let (jar, locations) = start_at_once(&shop, 20, target).await;
    assert!(jar.bytes() < 5 * 1024, "{}", jar.bytes());
    let last = locations.len() - 1;
    for (number, location) in locations.iter().enumerate() {
        let callback = shop.approve(location, "alice").await;
        let answer = shop.send(Ask::page(&callback).jar(&jar)).await;
        assert!(number != last || answer.status == StatusCode::SEE_OTHER);
        if answer.status == StatusCode::SEE_OTHER {
            let expected = if number == last { &*target(last) } else { "/" };
            assert_eq!(answer.location(), expected);
            let is_cleared = answer
                .clears()
                .iter()
                .any(|name| name.contains("return-to"));
            assert_eq!(is_cleared, number == last);
        }
    }
}

/// A login that takes longer than the limit: its cookie is still there to say so.
#[tokio::test]
async fn a_login_that_takes_too_long_keeps_its_return_target() {
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    for (limit, taken, is_late) in [
        (None::<u64>, 9, false),
        (None, 10, true),
        (Some(60), 59, false),
        (Some(60), 60, true),
    ] {
        let shop = Shop::with(|login| match limit {
            None => login,
            Some(limit) => login.with_login_time_limit(minutes(limit)).unwrap(),
        });
        for target in ["/notes".to_owned(), format!("/{}", "n".repeat(1000))] {
            let name = format!("{limit:?} {taken} {target:.10}");
            let mut jar = Jar::default();
            let path = format!("/auth/login?return_to={}", encode(&target));
            let answer = shop.start(&path, &mut jar).await;
            let age = format!("Max-Age={}", 60 * (limit.unwrap_or(10) + 60));
            assert!(
                answer
                    .set_cookies()
                    .iter()
                    .all(|cookie| cookie.contains(&age)),
                "{name}"
            );
            shop.clock().advance(minutes(taken));
            let callback = shop.approve(answer.location(), "alice").await;
            let answer = shop.send(Ask::page(&callback).jar(&jar)).await;
            if !is_late {
                assert_eq!(answer.location(), target, "{name}");
                continue;
            }
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{name}");
            let text = answer.text();
            assert!(
                text.contains("took too long") && text.contains("login_expired"),
                "{text}"
            );
            let link = format!("/auth/login?return_to={}", encode(&target));
            assert!(text.contains(&link), "{name}: {text}");
            assert_eq!(answer.clears().len(), jar.0.len(), "{name}");
            // The same if the browser has dropped the cookies, but for a long target.
            let answer = shop.send(Ask::page(&callback)).await;
            assert!(answer.text().contains("login_expired"), "{name}");
            assert_eq!(
                answer.text().contains("return_to=%2Fnotes"),
                target == "/notes",
                "{name}"
            );
        }
    }
    for limit in [
        Duration::ZERO,
        Duration::from_secs(59),
        Duration::from_secs(3601),
    ] {
        let error = login(&server()).with_login_time_limit(limit).unwrap_err();
        assert!(error.to_string().contains("login time limit"), "{error}");
    }
}

fn encode(target: &str) -> String {
    url::form_urlencoded::byte_serialize(target.as_bytes()).collect()
}
