//! Sessions of several providers: whose user, whose tokens, and what happens to them if the providers of the layer change.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tower_oauth::session::{LoginDecision, NewLogin, SessionAdminError, SubjectSource, UserKey};
use tower_oauth::testing::{Endpoint, GrantType};

use super::*;
use crate::support::modes::session_modes;

session_modes! {
    all: [
        a_refresh_is_sent_to_the_provider_of_the_session,
        a_provider_that_is_added_later_keeps_the_sessions_of_the_first_one,
        sessions_of_a_provider_that_was_removed_have_ended,
    ],
    with_store: [
        the_same_subject_at_two_providers_is_two_users,
        a_user_key_names_the_user_at_any_provider,
    ],
}

async fn the_same_subject_at_two_providers_is_two_users(mode: Mode) {
    let shop = TwoProviders::with(|login| {
        let login = mode.place_in(login, MemoryStore::new());
        login.with_max_sessions_per_user(1).unwrap()
    });
    let (at_staff, at_partner) = (shop.browser(), shop.browser());
    shop.sign_in(&at_staff, "staff").await;
    shop.sign_in(&at_partner, "partner").await;
    // Neither login has replaced the session of the other user.
    assert_eq!(greeting(&at_staff).await, "alice at staff");
    assert_eq!(greeting(&at_partner).await, "alice at partner");

    let sessions = shop.login.sessions();
    let of_staff = sessions.of_user("alice").await.unwrap();
    let of_partner = sessions
        .at_provider("partner")
        .of_user("alice")
        .await
        .unwrap();
    assert_eq!((of_staff.len(), of_partner.len()), (1, 1));
    assert_ne!(of_staff[0].id(), of_partner[0].id());
    assert_eq!(
        sessions
            .at_provider("staff")
            .of_user("alice")
            .await
            .unwrap(),
        of_staff
    );
    let unknown = sessions.at_provider("other").end_user("alice").await;
    assert!(matches!(unknown, Err(SessionAdminError::UnknownProvider(name)) if name == "other"));

    assert_eq!(
        sessions
            .at_provider("partner")
            .end_user("alice")
            .await
            .unwrap(),
        1
    );
    assert_eq!(greeting(&at_partner).await, "offers");
    assert_eq!(greeting(&at_staff).await, "alice at staff");
    // The limit counts the sessions of one of them.
    let another = shop.browser();
    shop.sign_in(&another, "staff").await;
    assert_eq!(greeting(&at_staff).await, "offers");
}

/// Both users have the subject `alice`.
async fn a_user_key_names_the_user_at_any_provider(mode: Mode) {
    for (name, issuer, other) in [("staff", ISSUER, "partner"), ("partner", PARTNER, "staff")] {
        let shop = TwoProviders::kept(mode);
        let (ending, staying) = (shop.browser(), shop.browser());
        shop.sign_in(&ending, name).await;
        shop.sign_in(&staying, other).await;
        let (sessions, user) = (shop.login.sessions(), UserKey::new(issuer, "alice"));
        assert_eq!(sessions.of_user_key(user).await.unwrap().len(), 1, "{name}");
        let stranger = UserKey::new("https://evil.example", "alice");
        for (sessions, user) in [(&sessions, stranger), (&sessions.at_provider(other), user)] {
            for refused in [
                sessions.of_user_key(user).await.map(|_| ()),
                sessions.end_user_key(user).await.map(|_| ()),
            ] {
                let error = refused.unwrap_err();
                assert!(
                    matches!(error, SessionAdminError::UnknownIssuer(issuer) if issuer == user.issuer)
                );
            }
        }
        assert_eq!(greeting(&ending).await, format!("alice at {name}"));
        assert_eq!(sessions.end_user_key(user).await.unwrap(), 1, "{name}");
        assert_eq!(greeting(&ending).await, "offers", "{name}");
        assert_eq!(greeting(&staying).await, format!("alice at {other}"));
    }
}

async fn a_refresh_is_sent_to_the_provider_of_the_session(mode: Mode) {
    let shop = TwoProviders::kept(mode);
    let (at_staff, at_partner) = (shop.browser(), shop.browser());
    shop.sign_in(&at_staff, "staff").await;
    shop.sign_in(&at_partner, "partner").await;
    let refreshes =
        || [&shop.staff, &shop.partner].map(|server| server.count_grant(GrantType::RefreshToken));
    let before = open(&at_partner, "/token").await.text();
    shop.staff.clock().advance(Duration::from_secs(600));
    assert_ne!(open(&at_partner, "/token").await.text(), before);
    assert_eq!(refreshes(), [0, 1]);
    let of_staff = open(&at_staff, "/token").await.text();
    assert_eq!(refreshes(), [1, 1]);
    assert_ne!(of_staff, open(&at_partner, "/token").await.text());
    assert_eq!(greeting(&at_staff).await, "alice at staff");
}

async fn a_provider_that_is_added_later_keeps_the_sessions_of_the_first_one(mode: Mode) {
    let staff = staff_server();
    let partner = partner_server(&staff);
    let store = MemoryStore::new();
    let layer = || {
        let login = LoginLayer::new(&staff.authorization_server(), client(), CALLBACK, key());
        mode.place_in(login.unwrap(), store.clone())
    };
    let browser = staff.browser().with_server(&partner);
    let before = browser.clone().with_origin(SHOP, app(&layer())).unwrap();
    let page = open(&before, "/account").await;
    let page = page.sign_in("alice", "wonderland").await.unwrap();
    assert_eq!(page.text(), "alice at default");
    let more = layer().add_provider(provider("partner", &partner)).unwrap();
    let after = browser.with_origin(SHOP, app(&more)).unwrap();
    assert_eq!(greeting(&after).await, "alice at default");
    staff.clock().advance(Duration::from_secs(600));
    assert_eq!(open(&after, "/token").await.status(), StatusCode::OK);
}

async fn sessions_of_a_provider_that_was_removed_have_ended(mode: Mode) {
    let store = MemoryStore::new();
    let shop = TwoProviders::with(|login| mode.place_in(login, store.clone()));
    let browser = shop.browser();
    shop.sign_in(&browser, "partner").await;
    let calls = || [&shop.staff, &shop.partner].map(|server| server.requests().len());
    let before = calls();
    let one = LoginLayer::new(
        &shop.staff.authorization_server(),
        client(),
        CALLBACK,
        key(),
    );
    let one = mode.place_in(one.unwrap(), store);
    let after = browser.clone().with_origin(SHOP, app(&one)).unwrap();
    assert_eq!(greeting(&after).await, "offers");
    // A token of the partner is sent to no other server.
    assert_eq!(calls(), before);
    // The cookie was cleared, so the session does not come back with the provider.
    assert_eq!(greeting(&browser).await, "offers");
}

#[tokio::test]
async fn a_session_says_where_its_user_signed_in() {
    async fn describe(session: Session) -> String {
        assert_eq!(session.subject_source(), SubjectSource::IdToken);
        format!("{} {}", session.provider(), session.issuer())
    }
    let shop = TwoProviders::new();
    let app = Router::new()
        .route("/account", get(greet))
        .route("/about", get(describe))
        .layer(shop.login.clone());
    let shop = TwoProviders { app, ..shop };
    for (name, issuer) in [("staff", ISSUER), ("partner", PARTNER)] {
        let browser = shop.browser();
        shop.sign_in(&browser, name).await;
        assert_eq!(
            open(&browser, "/about").await.text(),
            format!("{name} {issuer}")
        );
    }
}

/// The application alone decides whether two users are one person.
#[tokio::test]
async fn the_application_sees_which_user_a_login_replaces() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let hook = {
        let seen = Arc::clone(&seen);
        move |new: NewLogin| {
            let previous = new.previous_user().map(|user| user.issuer.to_owned());
            seen.lock()
                .unwrap()
                .push((new.provider().to_owned(), previous));
            async { LoginDecision::allow() }
        }
    };
    let shop = TwoProviders::with(|login| login.with_on_login(hook));
    let browser = shop.browser();
    shop.sign_in(&browser, "staff").await;
    shop.sign_in(&browser, "partner").await;
    shop.sign_in(&shop.browser(), "partner").await;
    let expected = [
        ("staff", None),
        ("partner", Some(ISSUER)),
        ("partner", None),
    ];
    let expected = expected.map(|(name, previous)| (name.to_owned(), previous.map(str::to_owned)));
    assert_eq!(*seen.lock().unwrap(), expected);
    assert_eq!(greeting(&browser).await, "alice at partner");
}

/// Pages that are open to all.
#[tokio::test]
async fn a_silent_login_is_at_the_first_provider() {
    let shop = TwoProviders::new();
    let app = Router::new()
        .route("/", get(greet).layer(shop.login.silent_login()))
        .route("/account", get(greet))
        .layer(shop.login.clone());
    let shop = TwoProviders { app, ..shop };
    assert_eq!(greeting(&shop.browser()).await, "offers");
    let attempts = [&shop.staff, &shop.partner].map(|server| server.count(Endpoint::Authorization));
    assert_eq!(attempts, [1, 0]);
}
