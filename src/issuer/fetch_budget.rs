//! Rate limits for the key fetches that unknown key ids cause.

use std::time::Duration;

/// The capacity of a bucket.
const BURST: u32 = 3;

/// The time in which a bucket gains one fetch.
const REFILL_INTERVAL: Duration = Duration::from_secs(30);

/// The budget that a fetch for an unknown key is counted against, by the origin of the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FetchBudget {
    /// An access token in a request, from any caller.
    Request,
    /// A token that the authorization server sent over the back channel.
    BackChannel,
    /// A logout token in a request, from any caller.
    LogoutToken,
}

/// A token bucket per budget, so that forged access tokens cannot exhaust the fetches that logins need, and forged
/// logout tokens those of neither.
#[derive(Debug)]
pub(super) struct Buckets {
    request: Bucket,
    back_channel: Bucket,
    logout_token: Bucket,
}

impl Buckets {
    pub(super) fn new(now: Duration) -> Self {
        Self {
            request: Bucket::new(now),
            back_channel: Bucket::new(now),
            logout_token: Bucket::new(now),
        }
    }

    /// Takes one fetch from the bucket. Returns whether one was left.
    pub(super) fn take(&mut self, budget: FetchBudget, now: Duration) -> bool {
        match budget {
            FetchBudget::Request => self.request.take(now),
            FetchBudget::BackChannel => self.back_channel.take(now),
            FetchBudget::LogoutToken => self.logout_token.take(now),
        }
    }
}

/// A bucket of three fetches that gains one every 30 seconds.
///
/// The burst lets a key rotation be noticed immediately even if a forged key id has just caused a fetch.
#[derive(Debug)]
struct Bucket {
    left: u32,
    refilled_at: Duration,
}

impl Bucket {
    fn new(now: Duration) -> Self {
        Self {
            left: BURST,
            refilled_at: now,
        }
    }

    /// Takes one fetch from the bucket. Returns whether one was left.
    fn take(&mut self, now: Duration) -> bool {
        while self.left < BURST && now.saturating_sub(self.refilled_at) >= REFILL_INTERVAL {
            self.left += 1;
            self.refilled_at += REFILL_INTERVAL;
        }
        if self.left == BURST {
            self.refilled_at = now;
        }
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_of_three_then_one_each_thirty_seconds() {
        let mut bucket = Bucket::new(Duration::ZERO);
        let granted = (0..10_000_u64)
            .filter(|step| bucket.take(Duration::from_millis(step * 30)))
            .count();
        // Attempts over 300 seconds.
        assert_eq!(granted, 3 + 9);
    }
}
