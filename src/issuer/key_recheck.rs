//! Limits the fetches after signatures that did not verify: a key may have been replaced under the same `kid`.

use std::time::Duration;

use super::key_set::SelectedKey;

/// The shortest time between two such fetches because of one key.
const RECHECK_INTERVAL: Duration = Duration::from_secs(300);

/// The keys because of which the key set was fetched again, each with the time until which it causes no further fetch.
///
/// Any caller can send a token with an invalid signature. If the server still has the same key, the key set is not
/// fetched because of it again before the set is refreshed anyway. A key that replaced it is another key.
#[derive(Debug, Default)]
pub(super) struct Rechecks(Vec<(SelectedKey, Duration)>);

impl Rechecks {
    /// Returns whether the key set is to be fetched because of `key`. Its lifetime is `lifetime`.
    pub(super) fn allow(&mut self, key: &SelectedKey, lifetime: Duration, now: Duration) -> bool {
        self.0.retain(|(_, until)| *until > now);
        let is_allowed = !self.0.iter().any(|(known, _)| known.is_same(key));
        if is_allowed {
            let until = now + lifetime.max(RECHECK_INTERVAL);
            self.0.push((key.clone(), until));
        }
        is_allowed
    }
}
