//! The end of sessions of several providers.

use http::StatusCode;
use tower_oauth::testing::{Endpoint, TokenMint};

use super::*;
use crate::support::modes::session_modes;
use crate::support::shop::{Answer, Ask, send};

session_modes! {
    with_store: [a_logout_token_ends_the_sessions_of_its_issuer_only],
}

async fn report(shop: &TwoProviders, token: TokenMint) -> Answer {
    let ask = Ask::new("POST", "/auth/backchannel-logout");
    let ask = ask.with(&[("content-type", "application/x-www-form-urlencoded")]);
    send(
        &shop.app,
        ask.body(&format!("logout_token={}", token.sign())),
    )
    .await
}

async fn a_logout_token_ends_the_sessions_of_its_issuer_only(mode: Mode) {
    for (name, other) in [("staff", "partner"), ("partner", "staff")] {
        let shop = TwoProviders::kept(mode);
        let (ending, staying) = (shop.browser(), shop.browser());
        shop.sign_in(&ending, name).await;
        shop.sign_in(&staying, other).await;
        let (server, foreign) = match name {
            "staff" => (&shop.staff, &shop.partner),
            _ => (&shop.partner, &shop.staff),
        };
        // In the name of the one, signed with the keys of the other.
        let forged = foreign.logout_token("shop").with_issuer(server.issuer());
        assert_eq!(report(&shop, forged).await.status, StatusCode::BAD_REQUEST);
        let unknown = server
            .logout_token("shop")
            .with_issuer("https://evil.example");
        assert_eq!(report(&shop, unknown).await.status, StatusCode::BAD_REQUEST);
        assert_eq!(greeting(&ending).await, format!("alice at {name}"));

        let answer = report(&shop, server.logout_token("shop")).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        assert_eq!(greeting(&ending).await, "offers");
        assert_eq!(greeting(&staying).await, format!("alice at {other}"));
    }
}

/// Both clients are known to the server by the same user, and the audience of the token says which one is meant.
#[tokio::test]
async fn a_logout_token_for_one_client_ends_no_session_of_another_client() {
    let shop = TwoProviders::two_clients(|login| {
        login.with_session_store(MemoryStore::new().with_single_process())
    });
    let (at_staff, at_desk) = (shop.browser(), shop.browser());
    shop.sign_in(&at_staff, "staff").await;
    shop.sign_in(&at_desk, "desk").await;
    let answer = report(&shop, shop.staff.logout_token("desk")).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(greeting(&at_desk).await, "offers");
    assert_eq!(greeting(&at_staff).await, "alice at staff");
    let other = report(&shop, shop.staff.logout_token("unknown")).await;
    assert_eq!(other.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_sign_out_is_at_the_provider_of_the_session() {
    let shop = TwoProviders::new();
    for (name, server, other) in [
        ("partner", &shop.partner, &shop.staff),
        ("staff", &shop.staff, &shop.partner),
    ] {
        let browser = shop.browser();
        shop.sign_in(&browser, name).await;
        let counts = |server: &TestServer| {
            [Endpoint::Revocation, Endpoint::EndSession].map(|one| server.count(one))
        };
        let (before, other_before) = (counts(server), counts(other));
        let page = open(&browser, "/auth/logout").await;
        let page = page.form("").unwrap().submit().await.unwrap();
        assert!(
            page.redirects()
                .iter()
                .chain([&page.url().to_owned()])
                .any(|url| url.starts_with(server.issuer()))
        );
        assert_eq!(greeting(&browser).await, "offers");
        assert!(
            counts(server)[0] > before[0] && counts(server)[1] > before[1],
            "{name}"
        );
        assert_eq!(counts(other), other_before, "{name}");
    }
}

/// The frame of one provider.
#[tokio::test]
async fn a_front_channel_logout_ends_the_session_of_its_issuer_only() {
    let shop = TwoProviders::new();
    let browser = shop.browser();
    shop.sign_in(&browser, "partner").await;
    let [sid] = &shop.partner.session_ids("alice")[..] else {
        panic!("no session at the partner");
    };
    let frame = async |issuer: &str| {
        let page = open(
            &browser,
            &format!("/auth/frontchannel-logout?iss={issuer}&sid={sid}"),
        )
        .await;
        page.header("content-security-policy").unwrap().to_owned()
    };
    let policy = frame(ISSUER).await;
    assert_eq!(
        policy,
        format!("default-src 'none'; frame-ancestors {ISSUER} {PARTNER}")
    );
    assert_eq!(greeting(&browser).await, "alice at partner");
    frame(PARTNER).await;
    assert_eq!(greeting(&browser).await, "offers");
}
