//! Sessions that were ended before their time: a cookie that comes back later is nobody's (`L47`).

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::flow::SessionId;

/// The ids of sessions ended in this process, for as long as their cookies could still be alive.
#[derive(Debug, Default)]
pub(super) struct Tombstones(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    ids: HashSet<SessionId>,
    /// Oldest first, with the monotonic time at which it can be forgotten.
    order: VecDeque<(Duration, SessionId)>,
}

impl Tombstones {
    pub(super) fn bury(&self, id: SessionId, now: Duration, lifetime: Duration) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(&(until, oldest)) = inner.order.front() {
            if until > now && inner.order.len() < MAX {
                break;
            }
            inner.order.pop_front();
            inner.ids.remove(&oldest);
        }
        if inner.ids.insert(id) {
            inner.order.push_back((now.saturating_add(lifetime), id));
        }
    }

    pub(super) fn holds(&self, id: &SessionId) -> bool {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.ids.contains(id)
    }
}

/// Ended sessions that are remembered: about 10 MB. Beyond that the oldest is forgotten, and only its own
/// limits end it for a browser that kept the cookie.
const MAX: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn id(byte: u8) -> SessionId {
        SessionId::new([byte; 32])
    }

    #[test]
    fn an_ended_session_is_remembered_for_its_lifetime_and_the_memory_is_bounded() {
        let second = Duration::from_secs(1);
        let tombstones = Tombstones::default();
        tombstones.bury(id(1), Duration::ZERO, second);
        tombstones.bury(id(1), Duration::ZERO, second);
        assert!(tombstones.holds(&id(1)));
        assert!(!tombstones.holds(&id(2)));
        tombstones.bury(id(2), second, second);
        assert!(!tombstones.holds(&id(1)));
        for n in 0..MAX {
            let mut id = [9; 32];
            id[..8].copy_from_slice(&n.to_be_bytes());
            tombstones.bury(SessionId::new(id), second, second);
        }
        assert!(!tombstones.holds(&id(2)));
        assert_eq!(tombstones.0.lock().unwrap().ids.len(), MAX);
    }
}
