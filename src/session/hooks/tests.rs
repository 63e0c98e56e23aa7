//! The decisions of an application on refreshed sessions.

use std::sync::{Arc, Mutex};

use super::{EndReason, RefreshDecision, RefreshedSession, SessionHook};
use crate::crypto::CookieKey;
use crate::flow::tests::support::{ISSUER, Server, sign_in};
use crate::session::error::SessionError;
use crate::session::loaded::LoadedSession;
use crate::session::manager::SessionManager;
use crate::session::{OpenedSession, PresentedSession};
use crate::store::{MemoryStore, SharedStore};

/// Creates a session with each backend, with a hook that acts as `name` says. Also returns the reasons that
/// the logout hook received.
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
    for backend in ["cookie", "shared store", "store"] {
        let server = Server::new();
        let (flow, record) = sign_in(&server).await;
        let manager = SessionManager::of_flow(flow, CookieKey::generate().unwrap());
        let store = || SharedStore::new(MemoryStore::new());
        let manager = match backend {
            "cookie" => manager,
            "shared store" => manager.with_shared_store(store()),
            _ => manager.with_session_store(store()),
        };
        let reasons = Arc::new(Mutex::new(Vec::new()));
        let ends = Arc::clone(&reasons);
        let manager = manager.with_hooks(|hooks| {
            hooks.on_refresh = SessionHook::new(move |session| decide(name, session));
            hooks.on_logout = SessionHook::new(move |ended: super::EndedSession| {
                ends.lock().unwrap().push(ended.reason());
                async {}
            });
        });
        let record = record.with_app_data(Some("\"old\"".to_owned()));
        let loaded = manager.begin(record).await.unwrap();
        sessions.push((backend, server, manager, loaded, reasons));
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
async fn a_hook_keeps_a_refreshed_session_and_replaces_its_app_data() {
    for (name, expected) in [
        ("keep", Some("\"old\"")),
        ("new data", Some("\"alice\"")),
        ("no data", None),
        ("too much", Some("\"old\"")),
        ("panic", Some("\"old\"")),
    ] {
        for (backend, _, manager, loaded, reasons) in sessions(name).await {
            let claims = Some(loaded.record().claims().clone());
            let newer = manager.after_refresh(loaded.clone(), claims).await.unwrap();
            assert_eq!(newer.record().app_data(), expected, "{backend} {name}");
            // A request with the cookie from before the refresh has the same data.
            let newest = manager
                .load(&loaded, &manager.time())
                .await
                .unwrap()
                .unwrap();
            assert_eq!(newest.record().app_data(), expected, "{backend} {name}");
            assert_eq!(*reasons.lock().unwrap(), [], "{backend} {name}");
        }
    }
}

#[tokio::test]
async fn a_session_that_the_refresh_hook_ends_is_not_accepted() {
    for (backend, server, manager, loaded, reasons) in sessions("end").await {
        let outcome = manager.after_refresh(loaded.clone(), None).await;
        assert!(matches!(outcome, Err(SessionError::Ended)), "{backend}");
        let presented = match loaded.secret() {
            Some(secret) => PresentedSession::Secret(secret.clone()),
            None => PresentedSession::Record(Arc::clone(loaded.record())),
        };
        let opened = manager
            .open_presented(vec![presented], &manager.time())
            .await
            .unwrap();
        assert!(matches!(opened, OpenedSession::Ended(_)), "{backend}");
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        assert_eq!(*reasons.lock().unwrap(), [EndReason::Hook], "{backend}");
        drop(server);
    }
}

#[tokio::test]
async fn without_a_hook_a_refreshed_session_is_unchanged() {
    let (flow, record) = sign_in(&Server::new()).await;
    let manager = SessionManager::of_flow(flow, CookieKey::generate().unwrap());
    let loaded = manager.begin(record).await.unwrap();
    let newer = manager.after_refresh(loaded.clone(), None).await.unwrap();
    assert!(Arc::ptr_eq(newer.record(), loaded.record()));
}
