//! What callbacks came to, by state, kept in this process within fixed limits.
//!
//! Sessions and failures have limits of their own: made-up codes cannot evict what an honest login came to, and a
//! redemption that is under way is never evicted.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::redemptions::Outcome;
use crate::clock::{Clock, unix_seconds};
use crate::flow::Transaction;

/// A digest of the state.
pub(super) type Key = [u8; 16];

/// Tells the outcome to the requests that wait for it.
pub(super) type Waiters = watch::Sender<Option<Outcome>>;

#[derive(Debug, Default)]
pub(super) struct Redeemed {
    entries: HashMap<Key, Entry>,
    sessions: Ended,
    failures: Ended,
}

#[derive(Debug)]
pub(super) enum Entry {
    Running(Arc<Waiters>),
    Done(Outcome),
    /// The outcome was forgotten; that the code was sent is not.
    Used,
}

/// Redemptions that have ended, in the order of their end.
#[derive(Debug, Default)]
struct Ended {
    /// When an outcome can be forgotten.
    outcomes: Queue,
    /// When all of an entry can be forgotten.
    entries: Queue,
}

/// A time by both clocks. A state can be presented for as long as the wall clock says, so an entry is due only when the wall
/// clock has passed it too: one that is set back must not let a code be sent again.
#[derive(Clone, Copy, Debug)]
pub(super) struct BothClocks {
    monotonic: Duration,
    /// Seconds since 1970.
    wall: i64,
}

/// By the time at which they are due.
type Queue = VecDeque<(BothClocks, Key)>;

impl BothClocks {
    pub(super) fn now(clock: &dyn Clock) -> Self {
        Self {
            monotonic: clock.monotonic(),
            wall: unix_seconds(clock),
        }
    }

    fn after(self, duration: Duration) -> Self {
        let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        Self {
            monotonic: self.monotonic.saturating_add(duration),
            wall: self.wall.saturating_add(seconds),
        }
    }

    fn has_come_by_both_clocks(self, now: Self) -> bool {
        self.monotonic <= now.monotonic && self.wall <= now.wall
    }
}

impl Redeemed {
    pub(super) fn get(&self, key: &Key) -> Option<&Entry> {
        self.entries.get(key)
    }

    pub(super) fn begin(&mut self, key: Key, waiters: Arc<Waiters>) {
        self.entries.insert(key, Entry::Running(waiters));
    }

    /// Forgets a redemption that ended before the code was sent: it can be tried again.
    pub(super) fn abandon(&mut self, key: &Key) {
        self.entries.remove(key);
    }

    /// Keeps an outcome; `None` where the redemption broke off.
    pub(super) fn end(&mut self, key: Key, outcome: Option<Outcome>, now: BothClocks) {
        let succeeded = outcome.as_ref().is_some_and(|outcome| outcome.is_ok());
        let has_outcome = outcome.is_some();
        self.entries
            .insert(key, outcome.map_or(Entry::Used, Entry::Done));
        let Self {
            entries,
            sessions,
            failures,
        } = self;
        let ended = match succeeded {
            true => sessions,
            false => failures,
        };
        ended.entries.push_back((now.after(ENTRY_KEPT), key));
        if has_outcome {
            let until = now.after(OUTCOME_KEPT);
            ended.outcomes.push_back((until, key));
        }
        if ended.outcomes.len() > MAX_OUTCOMES
            && let Some((_, oldest)) = ended.outcomes.pop_front()
        {
            forget_outcome(entries, &oldest);
        }
        if ended.entries.len() > MAX_ENTRIES
            && let Some((_, oldest)) = ended.entries.pop_front()
        {
            entries.remove(&oldest);
        }
    }

    pub(super) fn forget(&mut self, now: BothClocks) {
        let Self {
            entries,
            sessions,
            failures,
        } = self;
        for ended in [sessions, failures] {
            let is_over = |until: BothClocks| until.monotonic <= now.monotonic;
            while let Some(key) = due(&mut ended.outcomes, is_over) {
                forget_outcome(entries, &key);
            }
            let is_over = |until: BothClocks| until.has_come_by_both_clocks(now);
            while let Some(key) = due(&mut ended.entries, is_over) {
                entries.remove(&key);
            }
        }
    }

    /// Returns when the next outcome can be forgotten, by the monotonic clock; `None` if there are none.
    pub(super) fn next_due(&self) -> Option<Duration> {
        let fronts = [
            self.sessions.outcomes.front(),
            self.failures.outcomes.front(),
        ];
        let untils = fronts.into_iter().flatten();
        untils.map(|&(until, _)| until.monotonic).min()
    }
}

fn forget_outcome(entries: &mut HashMap<Key, Entry>, key: &Key) {
    if let Some(entry @ Entry::Done(_)) = entries.get_mut(key) {
        *entry = Entry::Used;
    }
}

/// Takes out the first, if its time has come.
fn due(queue: &mut Queue, is_over: impl Fn(BothClocks) -> bool) -> Option<Key> {
    queue.front().filter(|(until, _)| is_over(*until))?;
    queue.pop_front().map(|(_, key)| key)
}

/// How long an outcome is kept for requests that bring the same code again.
pub(super) const OUTCOME_KEPT: Duration = Duration::from_secs(60);

/// As long as the transaction could be presented again, and the time to carry it out.
const ENTRY_KEPT: Duration = Transaction::LIFETIME.saturating_add(OUTCOME_KEPT);

/// Outcomes of each kind; a session is as large as its tokens. Beyond that the oldest is forgotten, and a second
/// click on its callback is told that it was used.
pub(super) const MAX_OUTCOMES: usize = 1000;

/// Entries of each kind: about 10 MB. Beyond that the oldest is forgotten; a code sent again after that is
/// one that the authorization server has seen.
const MAX_ENTRIES: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::FlowError;
    use crate::login::redemptions::SignInError;
    use crate::protocol::authorization_response::AuthorizationResponse;

    fn key(n: usize) -> Key {
        let mut key = [9; 16];
        key[..8].copy_from_slice(&n.to_be_bytes());
        key
    }

    fn at(seconds: u64) -> BothClocks {
        let start = BothClocks {
            monotonic: Duration::ZERO,
            wall: 1_800_000_000,
        };
        start.after(Duration::from_secs(seconds))
    }

    fn failure() -> Option<Outcome> {
        let error = AuthorizationResponse::parse("").map(|_| ()).unwrap_err();
        let error = SignInError::Flow(FlowError::from(error));
        Some(Arc::new(Err(error)))
    }

    #[test]
    fn failures_are_bounded_and_evict_no_redemption_that_is_under_way() {
        let mut redeemed = Redeemed::default();
        redeemed.begin(key(0), Arc::new(watch::Sender::new(None)));
        for n in 1..=2 * MAX_ENTRIES {
            redeemed.begin(key(n), Arc::new(watch::Sender::new(None)));
            redeemed.end(key(n), failure(), at(0));
        }
        assert_eq!(redeemed.entries.len(), MAX_ENTRIES + 1);
        let outcomes = redeemed.entries.values();
        let outcomes = outcomes.filter(|entry| matches!(entry, Entry::Done(_)));
        assert_eq!(outcomes.count(), MAX_OUTCOMES);
        assert!(matches!(redeemed.get(&key(0)), Some(Entry::Running(_))));
        assert!(redeemed.get(&key(1)).is_none());
        assert!(matches!(
            redeemed.get(&key(MAX_ENTRIES + 1)),
            Some(Entry::Used)
        ));
        redeemed.forget(at(ENTRY_KEPT.as_secs()));
        assert_eq!(redeemed.entries.len(), 1);
        assert_eq!(redeemed.next_due(), None);
    }

    #[test]
    fn a_redemption_that_broke_off_is_used_and_one_that_sent_nothing_is_not() {
        let mut redeemed = Redeemed::default();
        for n in 0..2 {
            redeemed.begin(key(n), Arc::new(watch::Sender::new(None)));
        }
        redeemed.end(key(0), None, at(0));
        redeemed.abandon(&key(1));
        assert!(matches!(redeemed.get(&key(0)), Some(Entry::Used)));
        assert!(redeemed.get(&key(1)).is_none());
    }

    #[test]
    fn a_state_stays_used_until_both_clocks_have_passed_its_end() {
        let end = ENTRY_KEPT.as_secs();
        let turned = |monotonic, wall| BothClocks {
            monotonic: at(monotonic).monotonic,
            wall: at(wall).wall,
        };
        for (now, is_known) in [
            (at(end - 1), true),
            (turned(end, end - 1), true),
            (turned(10 * end, 0), true),
            (turned(end - 1, 10 * end), true),
            (at(end), false),
        ] {
            let mut redeemed = Redeemed::default();
            redeemed.begin(key(0), Arc::new(watch::Sender::new(None)));
            redeemed.end(key(0), failure(), at(0));
            redeemed.forget(now);
            assert_eq!(redeemed.get(&key(0)).is_some(), is_known, "{now:?}");
        }
    }
}
