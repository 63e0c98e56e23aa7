//! Floods of the denylist by one user, by many users, and by a clock that jumps.

use std::time::Duration;

use super::{Denylist, MAX, MAX_PER_USER, WatermarkScope};
use crate::clock::BothClocks;
use crate::record::{SessionId, SessionRecord, SessionRef, UserDigest, record_of};

const ISSUER: &str = "https://id.example.com";
const NOW: i64 = 1_800_000_000;
const HOUR: Duration = Duration::from_secs(3600);

/// Returns these times on the monotonic and on the wall clock, in seconds.
fn at(monotonic: u64, wall: i64) -> BothClocks {
    BothClocks {
        monotonic: Duration::from_secs(monotonic),
        wall,
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

fn alice() -> SessionRecord {
    record_of("alice", NOW)
}

#[test]
fn an_entry_expires_when_both_clocks_have_passed_it() {
    let (record, denylist) = (alice(), Denylist::default());
    denylist.insert(&SessionRef::from(&record), at(0, NOW), HOUR);
    for (name, clock, denied) in [
        ("the wall clock jumped ahead", at(10, NOW + 1_000_000), true),
        ("the wall clock was set back", at(1_000_000, NOW - 10), true),
        ("a second before", at(3599, NOW + 3599), true),
        ("both", at(3600, NOW + 3600), false),
    ] {
        // An insert removes expired entries.
        denylist.insert_id(&SessionId::new([8; 32]), clock, HOUR);
        assert_eq!(denylist.contains(&record), denied, "{name}");
    }
}

#[test]
fn one_user_who_signs_out_100_000_times_has_few_entries_and_ends_no_other_session() {
    let (record, denylist) = (alice(), Denylist::default());
    let ended = session("carol", 0, NOW);
    denylist.insert(&ended, at(0, NOW), HOUR);
    let mut raised = Vec::new();
    for number in 0..100_000 {
        let seconds = u64::from(number / 1000);
        let clock = at(seconds, NOW + i64::from(number / 1000));
        let one = session("mallory", number, clock.wall);
        raised.extend(denylist.insert(&one, clock, HOUR));
    }
    let entries = denylist.0.read();
    assert!(entries.len() <= MAX_PER_USER + 2, "{}", entries.len());
    assert!(entries.contains(&ended.id));
    drop(entries);
    assert!(!denylist.contains(&record));
    assert!(!raised.is_empty());
    assert!(raised.iter().all(|scope| *scope == WatermarkScope::OneUser));
}

#[test]
fn beyond_the_limit_per_user_older_sessions_are_rejected_and_newer_ones_are_not() {
    let denylist = Denylist::default();
    let old = alice();
    let new = old.clone().created_after(NOW + 200);
    for number in 0..100_u32 {
        let created_at = NOW + i64::from(number);
        let one = session("alice", number, created_at);
        denylist.insert(&one, at(0, created_at), HOUR);
    }
    assert!(denylist.contains(&old));
    assert!(!denylist.contains(&new));
    let level = denylist.watermark(&new);
    assert_eq!(level, Some(NOW + 35));
    // An older session does not lower the watermark.
    denylist.insert(&session("alice", 500, NOW - 50), at(0, NOW + 100), HOUR);
    assert_eq!(denylist.watermark(&new), level);
    // The watermark expires with the sessions that it covers.
    denylist.insert_id(&SessionId::new([8; 32]), at(10_000, NOW + 10_000), HOUR);
    assert_eq!(denylist.watermark(&new), None);
}

#[test]
fn entries_of_users_with_many_are_evicted_before_those_of_users_with_one() {
    let denylist = Denylist::default();
    let (old, honest) = (alice(), session("honest", 0, NOW - 100));
    denylist.insert(&honest, at(0, NOW), HOUR);
    let clock = at(0, NOW + 10);
    for number in 0..u32::try_from(3 * MAX).unwrap() {
        let user = format!("attacker {}", number % (u32::try_from(MAX).unwrap() / 32));
        denylist.insert(&session(&user, number, NOW + 5), clock, HOUR);
    }
    assert!(denylist.0.read().len() <= MAX);
    assert!(denylist.0.read().contains(&honest.id));
    assert!(!denylist.contains(&old), "a user who did nothing");
}

#[test]
fn the_watermark_of_all_users_is_raised_only_if_the_denylist_is_full_of_users() {
    let denylist = Denylist::default();
    let old = alice();
    let new = old.clone().created_after(NOW + 1000);
    let count = u32::try_from(MAX).unwrap();
    let mut raised = None;
    for number in 0..=count {
        assert_eq!(raised, None, "{number}");
        let one = session(&number.to_string(), number, NOW + i64::from(number % 100));
        raised = denylist.insert(&one, at(0, NOW + 100), HOUR);
    }
    assert_eq!(raised, Some(WatermarkScope::AllUsers));
    assert!(denylist.0.read().len() <= MAX);
    assert!(denylist.contains(&old));
    assert!(!denylist.contains(&new));
    // A wrong clock does not lock out later users.
    for number in 0..=count {
        let one = session("", count + number, NOW + 1_000_000_000);
        let one = SessionRef {
            user: UserDigest::new(ISSUER, &number.to_string()),
            ..one
        };
        denylist.insert(&one, at(200, NOW + 100), HOUR);
    }
    assert!(denylist.0.read().len() <= MAX);
    assert!(!denylist.contains(&new));
}
