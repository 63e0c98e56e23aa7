//! Results of redemptions by state, kept in this process within fixed limits.
//!
//! Sessions and failures have separate limits: forged codes cannot evict the result of an honest
//! login. A redemption in flight is never evicted.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::redemptions::RedemptionResult;
use crate::clock::{Clock, unix_seconds};
use crate::flow::Transaction;

/// A truncated digest of the state.
pub(super) type StateDigest = [u8; 16];

/// Sends the result to the requests that wait for it.
pub(super) type RedemptionWaiters = watch::Sender<Option<RedemptionResult>>;

#[derive(Debug, Default)]
pub(super) struct RedemptionTable {
    entries: HashMap<StateDigest, RedemptionEntry>,
    sessions: FinishedRedemptions,
    failures: FinishedRedemptions,
}

#[derive(Debug)]
pub(super) enum RedemptionEntry {
    InFlight(Arc<RedemptionWaiters>),
    Done(RedemptionResult),
    /// The result was dropped; only the fact that the code was sent is kept.
    Used,
}

/// Finished redemptions, in order of completion.
#[derive(Debug, Default)]
struct FinishedRedemptions {
    /// Expiry of results.
    results: ExpiryOrder,
    /// Expiry of whole entries.
    entries: ExpiryOrder,
}

/// A point in time on both clocks. The lifetime of a state is measured by the wall clock, so an
/// entry expires only when the wall clock has passed it too: setting the clock back must not allow
/// a code to be sent again.
#[derive(Clone, Copy, Debug)]
pub(super) struct BothClocks {
    monotonic: Duration,
    /// Unix time in seconds.
    wall: i64,
}

/// Keys by expiry.
type ExpiryOrder = VecDeque<(BothClocks, StateDigest)>;

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

    fn has_passed_on_both_clocks(self, now: Self) -> bool {
        self.monotonic <= now.monotonic && self.wall <= now.wall
    }
}

impl RedemptionTable {
    pub(super) fn get(&self, key: &StateDigest) -> Option<&RedemptionEntry> {
        self.entries.get(key)
    }

    pub(super) fn begin(&mut self, key: StateDigest, waiters: Arc<RedemptionWaiters>) {
        self.entries.insert(key, RedemptionEntry::InFlight(waiters));
    }

    /// Removes a redemption whose code was not sent: it can be repeated.
    pub(super) fn abandon(&mut self, key: &StateDigest) {
        self.entries.remove(key);
    }

    /// Stores a result; `None` if the redemption was aborted.
    pub(super) fn end(
        &mut self,
        key: StateDigest,
        result: Option<RedemptionResult>,
        now: BothClocks,
    ) {
        let succeeded = result.as_ref().is_some_and(|result| result.is_ok());
        let has_result = result.is_some();
        self.entries.insert(
            key,
            result.map_or(RedemptionEntry::Used, RedemptionEntry::Done),
        );
        let Self {
            entries,
            sessions,
            failures,
        } = self;
        let ended = match succeeded {
            true => sessions,
            false => failures,
        };
        ended.entries.push_back((now.after(ENTRY_TTL), key));
        if has_result {
            let until = now.after(RESULT_TTL);
            ended.results.push_back((until, key));
        }
        if ended.results.len() > MAX_RESULTS
            && let Some((_, oldest)) = ended.results.pop_front()
        {
            drop_result(entries, &oldest);
        }
        if ended.entries.len() > MAX_ENTRIES
            && let Some((_, oldest)) = ended.entries.pop_front()
        {
            entries.remove(&oldest);
        }
    }

    pub(super) fn remove_expired(&mut self, now: BothClocks) {
        let Self {
            entries,
            sessions,
            failures,
        } = self;
        for ended in [sessions, failures] {
            let has_expired = |until: BothClocks| until.monotonic <= now.monotonic;
            while let Some(key) = take_expired(&mut ended.results, has_expired) {
                drop_result(entries, &key);
            }
            let has_expired = |until: BothClocks| until.has_passed_on_both_clocks(now);
            while let Some(key) = take_expired(&mut ended.entries, has_expired) {
                entries.remove(&key);
            }
        }
    }

    /// Returns the monotonic time at which the next result expires; `None` if there are none.
    pub(super) fn next_expiry(&self) -> Option<Duration> {
        let fronts = [self.sessions.results.front(), self.failures.results.front()];
        let untils = fronts.into_iter().flatten();
        untils.map(|&(until, _)| until.monotonic).min()
    }
}

fn drop_result(entries: &mut HashMap<StateDigest, RedemptionEntry>, key: &StateDigest) {
    if let Some(entry @ RedemptionEntry::Done(_)) = entries.get_mut(key) {
        *entry = RedemptionEntry::Used;
    }
}

/// Removes and returns the first key if it has expired.
fn take_expired(
    queue: &mut ExpiryOrder,
    has_expired: impl Fn(BothClocks) -> bool,
) -> Option<StateDigest> {
    queue.front().filter(|(until, _)| has_expired(*until))?;
    queue.pop_front().map(|(_, key)| key)
}

/// How long a result is cached for further requests with the same code.
pub(super) const RESULT_TTL: Duration = Duration::from_secs(60);

/// The lifetime of a transaction, plus the time to redeem it.
const ENTRY_TTL: Duration = Transaction::LIFETIME.saturating_add(RESULT_TTL);

/// Limit on results per kind; a session is as large as its tokens. Beyond it the oldest is dropped,
/// and a repeated callback gets `login_used`.
pub(super) const MAX_RESULTS: usize = 1000;

/// Limit on entries per kind, about 10 MB. Beyond it the oldest is dropped; its code can be sent
/// again, which the authorization server rejects.
const MAX_ENTRIES: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::FlowError;
    use crate::protocol::authorization_response::AuthorizationResponse;
    use crate::session::SignInError;

    fn key(n: usize) -> StateDigest {
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

    fn failure() -> Option<RedemptionResult> {
        let error = AuthorizationResponse::parse("").map(|_| ()).unwrap_err();
        let error = SignInError::Flow(FlowError::from(error));
        Some(Arc::new(Err(error)))
    }

    #[test]
    fn failures_are_bounded_and_evict_no_redemption_in_flight() {
        let mut table = RedemptionTable::default();
        table.begin(key(0), Arc::new(watch::Sender::new(None)));
        for n in 1..=2 * MAX_ENTRIES {
            table.begin(key(n), Arc::new(watch::Sender::new(None)));
            table.end(key(n), failure(), at(0));
        }
        assert_eq!(table.entries.len(), MAX_ENTRIES + 1);
        let results = table.entries.values();
        let results = results.filter(|entry| matches!(entry, RedemptionEntry::Done(_)));
        assert_eq!(results.count(), MAX_RESULTS);
        assert!(matches!(
            table.get(&key(0)),
            Some(RedemptionEntry::InFlight(_))
        ));
        assert!(table.get(&key(1)).is_none());
        assert!(matches!(
            table.get(&key(MAX_ENTRIES + 1)),
            Some(RedemptionEntry::Used)
        ));
        table.remove_expired(at(ENTRY_TTL.as_secs()));
        assert_eq!(table.entries.len(), 1);
        assert_eq!(table.next_expiry(), None);
    }

    #[test]
    fn an_aborted_redemption_is_used_and_one_that_sent_nothing_is_not() {
        let mut table = RedemptionTable::default();
        for n in 0..2 {
            table.begin(key(n), Arc::new(watch::Sender::new(None)));
        }
        table.end(key(0), None, at(0));
        table.abandon(&key(1));
        assert!(matches!(table.get(&key(0)), Some(RedemptionEntry::Used)));
        assert!(table.get(&key(1)).is_none());
    }

    #[test]
    fn a_state_stays_used_until_both_clocks_have_passed_its_end() {
        let end = ENTRY_TTL.as_secs();
        let clocks = |monotonic, wall| BothClocks {
            monotonic: at(monotonic).monotonic,
            wall: at(wall).wall,
        };
        for (now, is_kept) in [
            (at(end - 1), true),
            (clocks(end, end - 1), true),
            (clocks(10 * end, 0), true),
            (clocks(end - 1, 10 * end), true),
            (at(end), false),
        ] {
            let mut table = RedemptionTable::default();
            table.begin(key(0), Arc::new(watch::Sender::new(None)));
            table.end(key(0), failure(), at(0));
            table.remove_expired(now);
            assert_eq!(table.get(&key(0)).is_some(), is_kept, "{now:?}");
        }
    }
}
