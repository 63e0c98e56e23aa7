//! Who has to make room for whom.

use super::*;
use crate::flow::tests::support::{Login, Server, sign_in};
use serde_json::json;

const HOUR: Duration = Duration::from_secs(3600);

async fn record_of(user: &str) -> SessionRecord {
    let login = Login::start(&Server::new()).await;
    let mut claims = login.claims();
    claims["sub"] = json!(user);
    login.grant_claims(&claims);
    login.call_back().await.unwrap()
}

fn numbered(record: &SessionRecord, number: usize) -> (SessionRecord, Arc<SessionRecord>) {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&number.to_be_bytes());
    let before = record.clone().with_id(SessionId::new(id));
    let after = before.clone().with_app_data(Some("1".to_owned()));
    (before, Arc::new(after))
}

fn keep(successors: &LatestRecords, record: &SessionRecord, number: usize) -> SessionRecord {
    let (before, after) = numbered(record, number);
    assert!(successors.replace(&before, &after, Duration::ZERO, HOUR));
    before
}

#[tokio::test]
async fn one_user_with_many_sessions_pushes_out_no_record_of_another() {
    let (_, alice) = sign_in(&Server::new()).await;
    let mallory = record_of("mallory").await;
    let successors = LatestRecords::default();
    let before = keep(&successors, &alice, usize::MAX);
    for number in 0..3 * MAX {
        keep(&successors, &mallory, number);
    }
    assert!(successors.of(&before).is_some());
    assert_eq!(successors.lock().by_id.len(), MAX);
    assert!(successors.has_room(before.id(), Duration::ZERO));
}

#[tokio::test]
async fn what_a_browser_has_makes_room_and_what_no_response_carried_never_does() {
    let (_, alice) = sign_in(&Server::new()).await;
    let user = |number: usize| UserDigest::new("https://id.example.com", &number.to_string());
    let successors = LatestRecords::default();
    for number in 0..MAX {
        keep(&successors, &alice, number);
        // As if each were of another user.
        let mut records = successors.lock();
        let (before, _) = numbered(&alice, number);
        let mut kept = records.remove(before.id()).unwrap();
        kept.user = user(number);
        records.put(*before.id(), kept);
    }
    let other = SessionId::new([9; 32]);
    let (first, newest) = numbered(&alice, 0);
    assert!(!successors.has_room(&other, Duration::ZERO));
    assert!(
        successors.has_room(first.id(), Duration::ZERO),
        "its own place"
    );
    successors.note_sent(&first);
    assert!(
        !successors.has_room(&other, Duration::ZERO),
        "an older cookie"
    );
    successors.note_sent(&newest);
    assert!(successors.has_room(&other, Duration::ZERO));
    let (second, presented) = numbered(&alice, 1);
    assert!(successors.of(&presented).is_none());
    let before = keep(&successors, &alice, MAX);
    assert!(successors.of(&second).is_none(), "the browser has it");
    assert!(successors.of(&first).is_some());
    assert!(successors.of(&before).is_some());
    // Time makes room as well.
    assert!(successors.has_room(&other, HOUR));
    assert!(successors.lock().by_id.is_empty());
    assert!(successors.lock().ranking.is_empty() && successors.lock().order.is_empty());
}
