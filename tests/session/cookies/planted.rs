//! Cookies that were planted beside the real ones by a sibling subdomain, another application on the host, or
//! an attacker in the network.

use http::StatusCode;

use crate::support::modes::{Mode, session_modes};
use crate::support::nodes::*;
use crate::support::shop::*;

session_modes! {
    all: [
        a_planted_cookie_neither_signs_out_nor_prevents_a_sign_out,
        a_flood_of_planted_cookies_prevents_no_sign_out,
        a_sign_out_ends_every_session_that_the_cookies_open,
        a_sign_out_that_could_read_no_cookie_says_so,
        the_front_channel_ends_its_session_beside_planted_cookies,
        cookies_planted_beside_that_of_a_login_do_not_break_it,
        many_values_with_the_name_of_the_session_neither_hide_it_nor_prevent_a_sign_out,
        a_planted_session_of_the_attacker_prevents_no_sign_out,
    ],
}

/// Suffix of the name and value of each planted cookie.
const PLANTED: [(&str, &str); 10] = [
    (".7", "x"),
    (".0", "x"),
    (".1", ""),
    (".8", "x"),
    (".00", "x"),
    (".-1", "x"),
    (".0x1", "x"),
    (".2147483648", "x"),
    ("", "x"),
    ("", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
];

/// Returns the cookies of a browser with one more, before or after the others.
fn beside(jar: &Jar, name: &str, value: &str, before: bool) -> Jar {
    let mut planted = jar.clone().and(name, value);
    if before {
        planted.0.rotate_right(1);
    }
    planted
}

async fn a_planted_cookie_neither_signs_out_nor_prevents_a_sign_out(mode: Mode) {
    for (rest, value) in PLANTED {
        for before in [true, false] {
            let name = format!("{rest}={value} {before}");
            let nodes = Nodes::new(mode);
            let jar = nodes.signed_in("alice").await;
            let planted = beside(&jar, &format!("{SESSION}{rest}"), value, before);

            let answer = nodes.first.send(Ask::page("/").jar(&planted)).await;
            assert_eq!(answer.text(), ALICE, "{name}");
            let mut left = planted.clone();
            left.take(&answer);
            assert_eq!(left.value(SESSION), planted.value(SESSION), "{name}");
            let answer = nodes
                .first
                .send(Ask::new("GET", "/auth/session").jar(&planted))
                .await;
            assert_eq!(answer.status, StatusCode::OK, "{name}");

            let answer = nodes.first.send(sign_out().jar(&planted)).await;
            assert_eq!(answer.status, StatusCode::SEE_OTHER, "{name}");
            assert!(answer.location().starts_with(ISSUER), "{name}");
            assert!(answer.clears().contains(&SESSION), "{name}");
            assert_eq!(
                revoked(&nodes.server),
                ["refresh_token", "access_token"],
                "{name}"
            );
            assert_eq!(nodes.first.greeting(&jar).await, STRANGER, "{name}");
            let mut left = planted.clone();
            left.take(&answer);
            assert!(
                left.only(|name| name.starts_with(SESSION)).0.is_empty(),
                "{name}"
            );
        }
    }
}

async fn a_flood_of_planted_cookies_prevents_no_sign_out(mode: Mode) {
    let nodes = Nodes::new(mode);
    let jar = nodes.signed_in("alice").await;
    let flood = (8..200).map(|n| (format!("{SESSION}.{n}"), "x".to_owned()));
    let planted = Jar(flood.chain(jar.0.clone()).collect());
    assert_eq!(nodes.first.greeting(&planted).await, ALICE);
    let answer = nodes.first.send(sign_out().jar(&planted)).await;
    assert!(answer.location().starts_with(ISSUER));
    assert!(answer.clears().contains(&SESSION));
    assert_eq!(nodes.first.greeting(&jar).await, STRANGER);
}

async fn a_sign_out_ends_every_session_that_the_cookies_open(mode: Mode) {
    let nodes = Nodes::new(mode);
    let (alice, bob) = (nodes.signed_in("alice").await, nodes.signed_in("bob").await);
    let both = Jar([bob.0.clone(), alice.0.clone()].concat());
    // It cannot be determined to which session the request belongs.
    assert_eq!(nodes.first.greeting(&both).await, STRANGER);
    let answer = nodes.first.send(sign_out().jar(&both)).await;
    assert!(answer.location().starts_with(ISSUER));
    assert_eq!(revoked(&nodes.server).len(), 4);
    for jar in [&alice, &bob] {
        assert_eq!(nodes.first.greeting(jar).await, STRANGER);
    }
}

async fn a_sign_out_that_could_read_no_cookie_says_so(mode: Mode) {
    for (rest, value) in [("", "x"), (".7", "x"), (".0", "x"), (".99", "x")] {
        let name = format!("{rest}={value}");
        let nodes = Nodes::new(mode);
        let cookie = format!("{SESSION}{rest}");
        let jar = Jar::of(&[(&cookie, value)]);
        let answer = nodes.first.send(sign_out().jar(&jar)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{name}");
        assert_eq!(answer.json()["code"], "session_cookie_unreadable", "{name}");
        assert_eq!(answer.clears(), [cookie.as_str()], "{name}");
        let (accept, html) = accept_html();
        let answer = nodes
            .first
            .send(sign_out().set(accept, html).jar(&jar))
            .await;
        assert!(answer.text().contains("no session was ended"), "{name}");
        // Without a cookie, or with one of an ended session, there is nothing to report.
        let answer = nodes.first.send(sign_out()).await;
        assert_eq!(answer.location(), "/notes", "{name}");
    }
}

async fn the_front_channel_ends_its_session_beside_planted_cookies(mode: Mode) {
    let nodes = Nodes::new(mode);
    let bob = nodes.signed_in("bob").await;
    let jar = nodes.signed_in("alice").await;
    let sid = nodes.sid_besides("alice", &[]);
    let planted = beside(&jar, &format!("{SESSION}.7"), "x", true);
    let planted = Jar([bob.0.clone(), planted.0].concat());
    let path = format!("/auth/frontchannel-logout?iss={ISSUER}&sid={sid}");
    let answer = nodes.first.send(Ask::new("GET", &path).jar(&planted)).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(answer.clears().contains(&SESSION));
    assert_eq!(nodes.first.greeting(&jar).await, STRANGER);
    assert_eq!(nodes.first.greeting(&bob).await, "hello bob");
}

async fn cookies_planted_beside_that_of_a_login_do_not_break_it(mode: Mode) {
    let nodes = Nodes::new(mode);
    let mut jar = Jar::default();
    let start = nodes.first.start("/auth/login", &mut jar).await;
    let name = jar.transactions()[0].to_owned();
    let callback = nodes.first.approve(start.location(), "alice").await;
    let flood = (0..10).map(|n| (format!("{SLOT}{}", n % 5), n.to_string()));
    let planted = flood.chain([(name.clone(), "x".to_owned())]);
    let planted = Jar(planted.chain(jar.0.clone()).collect());
    let answer = nodes.first.send(Ask::page(&callback).jar(&planted)).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert_eq!(answer.sets(), [SESSION]);
}

/// Each value of a name is tried, in any position.
async fn many_values_with_the_name_of_the_session_neither_hide_it_nor_prevent_a_sign_out(
    mode: Mode,
) {
    for count in [1, 3, 4, 5, 15] {
        let name = format!("{count}");
        let nodes = Nodes::new(mode);
        let jar = nodes.signed_in("alice").await;
        let flood = (0..count).map(|n| (SESSION.to_owned(), format!("x{n}")));
        let planted = Jar(flood.chain(jar.0.clone()).collect());
        assert_eq!(nodes.first.greeting(&planted).await, ALICE, "{name}");
        let answer = nodes.first.send(sign_out().jar(&planted)).await;
        assert!(answer.location().starts_with(ISSUER), "{name}");
        assert_eq!(revoked(&nodes.server).len(), 2, "{name}");
        assert_eq!(nodes.first.greeting(&jar).await, STRANGER, "{name}");
    }
}

/// A session of the attacker beside that of the user, in the same chunks.
async fn a_planted_session_of_the_attacker_prevents_no_sign_out(mode: Mode) {
    for junk in [0, 8] {
        let name = format!("{junk}");
        let nodes = Nodes::new(mode);
        let (bob, alice) = (nodes.signed_in("bob").await, nodes.signed_in("alice").await);
        let flood = (0..junk).map(|n| (SESSION.to_owned(), format!("x{n}")));
        let planted = Jar(bob
            .0
            .iter()
            .cloned()
            .chain(flood)
            .chain(alice.0.clone())
            .collect());
        let answer = nodes.first.send(sign_out().jar(&planted)).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{name}");
        assert_eq!(nodes.first.greeting(&alice).await, STRANGER, "{name}");
        assert!(nodes.server.refresh_tokens("alice").is_empty(), "{name}");
    }
}
