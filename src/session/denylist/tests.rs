//! Floods of the denylist by one user, by many users, and by a clock that jumps.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::entries::{MAX, MAX_PER_USER};
use super::{Denylist, WatermarkScope};
use crate::clock::{Clock, Sleep};
use crate::flow::tests::support::{ISSUER, NOW, Server, sign_in};
use crate::record::{SessionId, SessionRecord, SessionRef, UserDigest};

const HOUR: Duration = Duration::from_secs(3600);

/// Monotonic and wall-clock time, in seconds.
#[derive(Clone, Copy, Debug)]
struct At(u64, i64);

impl Clock for At {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.1.unsigned_abs())
    }

    fn monotonic(&self) -> Duration {
        Duration::from_secs(self.0)
    }

    fn sleep(&self, _: Duration) -> Sleep {
        Box::pin(std::future::pending())
    }
}

fn session(user: &str, number: u32, created_at: i64) -> SessionRef {
    let mut id = [9; 32];
    id[..4].copy_from_slice(&number.to_be_bytes());
    id[4..8].copy_from_slice(&UserDigest::new(ISSUER, user).as_bytes()[..4]);
    SessionRef {
        id: SessionId::new(id),
        user: UserDigest::new(ISSUER, user),
        created_at,
    }
}

/// Returns a session of alice, created at `NOW`.
async fn alice() -> SessionRecord {
    sign_in(&Server::new()).await.1
}

#[tokio::test]
async fn an_entry_expires_when_both_clocks_have_passed_it() {
    let (record, denylist) = (alice().await, Denylist::default());
    denylist.insert(&SessionRef::from(&record), &At(0, NOW), HOUR);
    for (name, clock, denied) in [
        ("the wall clock jumped ahead", At(10, NOW + 1_000_000), true),
        ("the wall clock was set back", At(1_000_000, NOW - 10), true),
        ("a second before", At(3600, NOW + 3600), true),
        ("both", At(3601, NOW + 3600), false),
    ] {
        // An insert removes expired entries.
        denylist.insert_id(&SessionId::new([7; 32]), &clock, HOUR);
        assert_eq!(denylist.contains(&record), denied, "{name}");
    }
}

#[tokio::test]
async fn one_user_who_signs_out_100_000_times_has_few_entries_and_ends_no_other_session() {
    let (record, denylist) = (alice().await, Denylist::default());
    let ended = session("carol", 0, NOW);
    denylist.insert(&ended, &At(0, NOW), HOUR);
    let mut warnings = Vec::new();
    for number in 0..100_000 {
        let seconds = u64::from(number / 1000);
        let clock = At(seconds, NOW + i64::from(number / 1000));
        let one = session("mallory", number, clock.1);
        warnings.extend(denylist.insert(&one, &clock, HOUR));
    }
    let entries = denylist.lock();
    assert!(entries.len() <= MAX_PER_USER + 2, "{}", entries.len());
    assert!(entries.contains(&ended.id));
    drop(entries);
    assert!(!denylist.contains(&record));
    // At most one warning a minute, and none about all users.
    assert_eq!(warnings, [WatermarkScope::OneUser; 2]);
}

#[tokio::test]
async fn beyond_the_limit_per_user_older_sessions_are_rejected_and_newer_ones_are_not() {
    let denylist = Denylist::default();
    let old = alice().await;
    let new = old.clone().created_after(NOW + 200);
    for number in 0..100_u32 {
        let at = NOW + i64::from(number);
        denylist.insert(&session("alice", number, at), &At(0, at), HOUR);
    }
    assert!(denylist.contains(&old));
    assert!(!denylist.contains(&new));
    let level = denylist.watermark(&new);
    assert_eq!(level, Some(NOW + 35));
    // An older session does not lower the watermark.
    denylist.insert(&session("alice", 500, NOW - 50), &At(0, NOW + 100), HOUR);
    assert_eq!(denylist.watermark(&new), level);
    // The watermark expires with the sessions that it covers.
    denylist.insert_id(&SessionId::new([7; 32]), &At(10_000, NOW + 10_000), HOUR);
    assert_eq!(denylist.watermark(&new), None);
}

#[tokio::test]
async fn entries_of_users_with_many_are_evicted_before_those_of_users_with_one() {
    let denylist = Denylist::default();
    let (old, honest) = (alice().await, session("honest", 0, NOW - 100));
    denylist.insert(&honest, &At(0, NOW), HOUR);
    let clock = At(0, NOW + 10);
    for number in 0..u32::try_from(3 * MAX).unwrap() {
        let user = format!("attacker {}", number % 4000);
        denylist.insert(&session(&user, number, NOW + 5), &clock, HOUR);
    }
    assert!(denylist.lock().len() <= MAX);
    assert!(denylist.lock().contains(&honest.id));
    assert!(!denylist.contains(&old), "a user who did nothing");
}

#[tokio::test]
async fn the_watermark_of_all_users_is_raised_only_if_the_denylist_is_full_of_users() {
    let denylist = Denylist::default();
    let old = alice().await;
    let new = old.clone().created_after(NOW + 1000);
    let count = u32::try_from(MAX).unwrap();
    let mut raised = None;
    for number in 0..=count {
        assert_eq!(raised, None, "{number}");
        let one = session(&number.to_string(), number, NOW + i64::from(number % 100));
        raised = denylist.insert(&one, &At(0, NOW + 100), HOUR);
    }
    assert_eq!(raised, Some(WatermarkScope::AllUsers));
    assert!(denylist.lock().len() <= MAX);
    assert!(denylist.contains(&old));
    assert!(!denylist.contains(&new));
    // A wrong clock does not lock out later users.
    for number in 0..=count {
        let one = session("", count + number, NOW + 1_000_000_000);
        let one = SessionRef {
            user: UserDigest::new(ISSUER, &number.to_string()),
            ..one
        };
        denylist.insert(&one, &At(200, NOW + 100), HOUR);
    }
    assert!(denylist.lock().len() <= MAX);
    assert!(!denylist.contains(&new));
}
