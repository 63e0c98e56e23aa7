//! The key names of entries in Redis, and their hash slots.

use std::sync::Arc;

use crate::store::{Key, KeyClass};

/// Number of buckets: enough to distribute entries over the nodes of a cluster, and few enough to keep a counter for
/// each.
const BUCKETS: u16 = 1024;

const SLOTS: u16 = 16384;

/// The key names that an operation accesses. All are in one slot.
pub(super) struct KeyNames {
    pub(super) entry: String,
    /// The key of the last version in the bucket.
    pub(super) counter: String,
    pub(super) slot: u16,
    pub(super) class: KeyClass,
}

impl KeyNames {
    /// Returns names such as `prefix:{2a1}:session:...`. A cluster computes the slot from the hash tag in braces, so
    /// that all keys of a bucket are in one slot.
    pub(super) fn new(prefix: &Arc<str>, key: &Key) -> Self {
        let class = key.class();
        let key = key.as_str();
        let bucket = format!("{:03x}", crc16(key.as_bytes()) % BUCKETS);
        Self {
            entry: format!("{prefix}:{{{bucket}}}:{key}"),
            // Differs from all entries, whose names have one more colon.
            counter: format!("{prefix}:{{{bucket}}}:version"),
            slot: crc16(bucket.as_bytes()) % SLOTS,
            class,
        }
    }
}

/// Computes CRC-16/XMODEM, which a cluster uses to compute slots.
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
    fn slots_are_computed_as_a_cluster_does() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(crc16(b"foo") % SLOTS, 12182);
    }

    #[test]
    fn buckets_are_distributed_over_the_nodes_of_a_cluster() {
        for servers in [3, 5, 8] {
            let mut counts = vec![0; servers];
            for bucket in 0..BUCKETS {
                let slot = crc16(format!("{bucket:03x}").as_bytes()) % SLOTS;
                counts[usize::from(slot) * servers / usize::from(SLOTS)] += 1;
            }
            let average = usize::from(BUCKETS) / servers;
            assert!(
                counts
                    .iter()
                    .all(|count| (average * 7 / 10..=average * 13 / 10).contains(count)),
                "{counts:?}"
            );
        }
    }

    #[test]
    fn an_entry_and_its_counter_have_the_same_hash_tag() {
        let names = KeyNames::new(&"app".into(), &Key::new("session", "{x}"));
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
