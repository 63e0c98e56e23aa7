//! The eviction order of the latest records.

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

fn keep(latest: &LatestRecords, record: &SessionRecord, number: usize) -> SessionRecord {
    let (before, after) = numbered(record, number);
    assert!(latest.replace(&before, &after, Duration::ZERO, HOUR));
    before
}

#[tokio::test]
async fn one_user_with_many_sessions_evicts_no_record_of_another() {
    let (_, alice) = sign_in(&Server::new()).await;
    let mallory = record_of("mallory").await;
    let latest = LatestRecords::default();
    let before = keep(&latest, &alice, usize::MAX);
    for number in 0..3 * MAX {
        keep(&latest, &mallory, number);
    }
    assert!(latest.of(&before).is_some());
    assert_eq!(latest.lock().by_id.len(), MAX);
    assert!(latest.has_room(before.id(), Duration::ZERO));
}

#[tokio::test]
async fn records_that_the_browser_has_are_evicted_and_unsent_records_are_not() {
    let (_, alice) = sign_in(&Server::new()).await;
    let user = |number: usize| UserDigest::new("https://id.example.com", &number.to_string());
    let latest = LatestRecords::default();
    for number in 0..MAX {
        keep(&latest, &alice, number);
        // As if each record were of another user.
        let mut records = latest.lock();
        let (before, _) = numbered(&alice, number);
        let mut kept = records.remove(before.id()).unwrap();
        kept.user = user(number);
        records.put(*before.id(), kept);
    }
    let other = SessionId::new([9; 32]);
    let (first, newest) = numbered(&alice, 0);
    assert!(!latest.has_room(&other, Duration::ZERO));
    assert!(
        latest.has_room(first.id(), Duration::ZERO),
        "it replaces its own record"
    );
    latest.note_sent(&first);
    assert!(!latest.has_room(&other, Duration::ZERO), "an older cookie");
    latest.note_sent(&newest);
    assert!(latest.has_room(&other, Duration::ZERO));
    let (second, presented) = numbered(&alice, 1);
    assert!(latest.of(&presented).is_none());
    let before = keep(&latest, &alice, MAX);
    assert!(latest.of(&second).is_none(), "the browser has it");
    assert!(latest.of(&first).is_some());
    assert!(latest.of(&before).is_some());
    // Expired records make room too.
    assert!(latest.has_room(&other, HOUR));
    assert!(latest.lock().by_id.is_empty());
    assert!(latest.lock().ranking.is_empty() && latest.lock().order.is_empty());
}
