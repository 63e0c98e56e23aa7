//! The bucket that bounds what unknown key ids may cost.

use std::time::Duration;

/// How many fetches for unknown keys may follow one another at once.
const BURST: u32 = 3;

/// How long the bucket takes to gain one fetch.
const REFILL: Duration = Duration::from_secs(30);

/// How a token came to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FetchBudget {
    /// With a request, from whoever.
    Request,
    /// From the authorization server itself, over the back channel.
    BackChannel,
    /// With a request that tells of a sign-out, from whoever.
    LogoutToken,
}

/// A bucket for each source, so that junk which strangers send to an API uses up nothing that somebody
/// who signs in needs, and junk told of sign-outs nothing of either (`H103`).
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

    /// Takes one fetch, if there is one.
    pub(super) fn take(&mut self, source: FetchBudget, now: Duration) -> bool {
        match source {
            FetchBudget::Request => self.request.take(now),
            FetchBudget::BackChannel => self.back_channel.take(now),
            FetchBudget::LogoutToken => self.logout_token.take(now),
        }
    }
}

/// A bucket of three fetches that gains one every 30 seconds (`J4`, `J6`).
///
/// A burst, not a single fetch, so that one junk key id does not hide a rotation that follows it.
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

    /// Takes one fetch, if there is one.
    fn take(&mut self, now: Duration) -> bool {
        while self.left < BURST && now.saturating_sub(self.refilled_at) >= REFILL {
            self.left += 1;
            self.refilled_at += REFILL;
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
        // 300 seconds of flood.
        assert_eq!(granted, 3 + 9);
    }
}
