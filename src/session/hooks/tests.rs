//! What an application says to new tokens.

use std::sync::{Arc, Mutex};

use super::{EndReason, Hook, RefreshDecision, RefreshedSession};
use crate::crypto::CookieKey;
use crate::flow::tests::support::{ISSUER, Server, sign_in};
use crate::session::loaded::LoadedSession;
use crate::session::manager::SessionManager;
use crate::session::refresh::RefreshError;
use crate::session::{OpenedSession, Presented, PresentedSession};
use crate::store::{MemoryStore, SharedStore};

/// A session in each place, whose hook does what the name says, and the ends that were told.
async fn sessions(
    name: &'static str,
) -> Vec<(
    &'static str,
    Server,
    SessionManager,
    LoadedSession,
    Arc<Mutex<Vec<EndReason>>>,
)> {
    let mut sessions = Vec::new();
    for place in ["cookie", "shared memory", "store"] {
        let server = Server::new();
        let (flow, record) = sign_in(&server).await;
        let keeper = SessionManager::new(Arc::new(flow), CookieKey::generate().unwrap());
        let store = || SharedStore::new(MemoryStore::new());
        let keeper = match place {
            "cookie" => keeper,
            "shared memory" => keeper.with_shared_store(store()),
            _ => keeper.with_session_store(store()),
        };
        let told = Arc::new(Mutex::new(Vec::new()));
        let ends = Arc::clone(&told);
        let keeper = keeper.with_hooks(|hooks| {
            hooks.on_refresh = Hook::new(move |session| decide(name, session));
            hooks.on_logout = Hook::new(move |ended: super::EndedSession| {
                ends.lock().unwrap().push(ended.reason());
                async {}
            });
        });
        let record = record.with_app_data(Some("\"old\"".to_owned()));
        let held = keeper.begin(record).await.unwrap();
        sessions.push((place, server, keeper, held, told));
    }
    sessions
}

async fn decide(name: &'static str, session: RefreshedSession) -> RefreshDecision {
    assert_eq!((session.issuer(), session.subject()), (ISSUER, "alice"));
    assert_eq!(session.user_key().subject, "alice");
    assert_eq!(session.access_token().expose(), "the-access-token");
    let old: Option<String> = session.app_data().unwrap();
    assert_eq!(old.as_deref(), Some("old"));
    assert!(!format!("{session:?}").contains("the-access-token"));
    match name {
        "keep" => RefreshDecision::keep(),
        "new data" => RefreshDecision::keep_with(session.new_claims().unwrap().subject().unwrap()),
        "no data" => RefreshDecision::keep_with(&()),
        "too much" => RefreshDecision::keep_with(&"x".repeat(100_000)),
        "end" => RefreshDecision::end(),
        _ => panic!("a hook of the application"),
    }
}

#[tokio::test]
async fn an_application_keeps_or_ends_a_session_whose_tokens_were_renewed() {
    for (name, expected) in [
        ("keep", Some("\"old\"")),
        ("new data", Some("\"alice\"")),
        ("no data", None),
        ("too much", Some("\"old\"")),
        ("panic", Some("\"old\"")),
    ] {
        for (place, _, keeper, held, told) in sessions(name).await {
            let claims = Some(held.record().claims().clone());
            let newer = keeper.after_refresh(held.clone(), claims).await.unwrap();
            assert_eq!(newer.record().app_data(), expected, "{place} {name}");
            // So it is for everybody who comes with the cookie from before.
            let newest = keeper.load(&held).await.unwrap().unwrap();
            assert_eq!(newest.record().app_data(), expected, "{place} {name}");
            assert_eq!(*told.lock().unwrap(), [], "{place} {name}");
        }
    }
}

#[tokio::test]
async fn a_session_that_the_application_ends_at_a_refresh_is_over() {
    for (place, server, keeper, held, told) in sessions("end").await {
        let outcome = keeper.after_refresh(held.clone(), None).await;
        assert!(matches!(outcome, Err(RefreshError::Ended)), "{place}");
        let shown = match held.ticket() {
            Some(ticket) => PresentedSession::SessionSecret(ticket.clone()),
            None => PresentedSession::Record(Box::new(held.record().as_ref().clone())),
        };
        let opened = keeper.open_presented(Presented::from(shown)).await.unwrap();
        assert!(matches!(opened, OpenedSession::Ended(_)), "{place}");
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        assert_eq!(*told.lock().unwrap(), [EndReason::Hook], "{place}");
        drop(server);
    }
}

#[tokio::test]
async fn without_a_hook_nothing_is_asked_or_changed() {
    let (flow, record) = sign_in(&Server::new()).await;
    let keeper = SessionManager::new(Arc::new(flow), CookieKey::generate().unwrap());
    let held = keeper.begin(record).await.unwrap();
    let newer = keeper.after_refresh(held.clone(), None).await.unwrap();
    assert!(Arc::ptr_eq(newer.record(), held.record()));
}
