//! What entries are called in Redis, and where a cluster has them.

use std::sync::Arc;

use crate::store::{Key, KeyClass};

/// Enough that they spread over the servers of a cluster, and few enough to leave a counter for each.
const BUCKETS: u16 = 1024;

const SLOTS: u16 = 16384;

/// The names that one verb touches. All of them are in one slot.
pub(super) struct Names {
    pub(super) entry: String,
    /// The last version that any entry of the bucket was given.
    pub(super) counter: String,
    pub(super) slot: u16,
    pub(super) class: KeyClass,
}

impl Names {
    /// `prefix:{2a1}:session:...`. A cluster reads between the braces alone which slot a name is in, so a
    /// bucket is in one slot whole.
    pub(super) fn new(prefix: &Arc<str>, key: &Key) -> Self {
        let class = key.class();
        let key = key.as_str();
        let bucket = format!("{:03x}", crc16(key.as_bytes()) % BUCKETS);
        Self {
            entry: format!("{prefix}:{{{bucket}}}:{key}"),
            // No entry is called so: their names have a colon more.
            counter: format!("{prefix}:{{{bucket}}}:version"),
            slot: crc16(bucket.as_bytes()) % SLOTS,
            class,
        }
    }
}

/// CRC-16/XMODEM, which is what a cluster counts slots by.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |mut sum, byte| {
        sum ^= u16::from(*byte) << 8;
        for _ in 0..8 {
            let carry = sum & 0x8000 != 0;
            sum <<= 1;
            if carry {
                sum ^= 0x1021;
            }
        }
        sum
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_counted_as_the_cluster_does() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(crc16(b"foo") % SLOTS, 12182);
    }

    #[test]
    fn buckets_spread_over_the_servers_of_a_cluster() {
        for servers in [3, 5, 8] {
            let mut counts = vec![0; servers];
            for bucket in 0..BUCKETS {
                let slot = crc16(format!("{bucket:03x}").as_bytes()) % SLOTS;
                counts[usize::from(slot) * servers / usize::from(SLOTS)] += 1;
            }
            let fair = usize::from(BUCKETS) / servers;
            assert!(
                counts
                    .iter()
                    .all(|count| (fair * 7 / 10..=fair * 13 / 10).contains(count)),
                "{counts:?}"
            );
        }
    }

    #[test]
    fn an_entry_and_its_counter_have_one_tag() {
        let names = Names::new(&"app".into(), &Key::new("session", "{x}"));
        let tag = names
            .counter
            .strip_prefix("app:")
            .and_then(|rest| rest.strip_suffix("version"));
        assert_eq!(tag.map(str::len), Some(6));
        assert_eq!(
            names.entry,
            format!("app:{}session:{{x}}", tag.unwrap_or_default())
        );
    }
}
