//! The session that a handler receives.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::json;

use super::{Session, SessionError, SessionManager};
use crate::crypto::CookieKey;
use crate::flow::tests::support::{ISSUER, NOW, Server, sign_in};

async fn session(server: &Server) -> Session {
    let (flow, record) = sign_in(server).await;
    let manager = Arc::new(SessionManager::new(
        Arc::new(flow),
        CookieKey::generate().unwrap(),
    ));
    let loaded = manager.begin(record).await.unwrap();
    {
        let now = manager.time();
        Session::new(manager, loaded, &now)
    }
}

#[tokio::test]
async fn a_session_has_the_user_and_the_times_and_hides_its_tokens() {
    let session = session(&Server::new()).await;
    assert_eq!(
        (session.user_key().issuer, session.user_key().subject),
        (ISSUER, "alice")
    );
    assert_eq!(session.claims().get("sub"), Some(json!("alice")));
    assert_eq!(session.email(), None);
    let time = |seconds: i64| UNIX_EPOCH + Duration::from_secs(seconds.try_into().unwrap());
    assert_eq!(session.signed_in_at(), time(NOW));
    assert_eq!(session.expires_at(), time(NOW + 3600));
    assert_eq!(
        session.access_token().await.unwrap().expose(),
        "the-access-token"
    );
    assert!(!format!("{session:?}").contains("the-access-token"));
}

#[tokio::test]
async fn an_expired_access_token_is_not_used() {
    let server = Server::new();
    let session = session(&server).await;
    server.clock.advance(600);
    server.answer_token_request(400, r#"{"error":"invalid_grant"}"#);
    assert!(matches!(
        session.access_token().await,
        Err(SessionError::Ended)
    ));
    assert!(matches!(session.userinfo().await, Err(SessionError::Ended)));
    assert_eq!(server.requests("/userinfo").len(), 0);
}
