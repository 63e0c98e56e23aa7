//! The store operations as Redis commands.
//!
//! An entry is a string: the version as 16 decimal digits, followed by the value. `put` and `remove` are scripts,
//! which Redis executes atomically.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use redis::{Cmd, Script, Value};

use super::error::CommandError;
use super::servers::Servers;
use crate::store::{Expect, Key, KeyClass, Put, Record, Removed};

const PUT: &str = include_str!("put.lua");
const REMOVE: &str = include_str!("remove.lua");

/// The number of digits of a version.
const DIGITS: usize = 16;

/// A hundred years in milliseconds. Redis adds the TTL to its clock, which must not overflow.
const MAX_TTL: u64 = 100 * 365 * 86_400 * 1000;

/// The scripts with their SHA-1 digests.
pub(super) struct Scripts {
    put: Script,
    remove: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            put: Script::new(PUT),
            remove: Script::new(REMOVE),
        }
    }
}

pub(super) async fn get(
    servers: &Servers,
    names: &KeyNames,
) -> Result<Option<Record>, CommandError> {
    let mut command = redis::cmd("GET");
    command.arg(&names.entry);
    match servers.send(names.slot, &command).await? {
        Value::Nil => Ok(None),
        Value::BulkString(entry) => {
            let version = entry.get(..DIGITS).and_then(parse_version);
            let version = version.ok_or(CommandError::Foreign)?;
            let value = Bytes::from(entry).slice(DIGITS..);
            Ok(Some(Record::new(value, version)))
        }
        _ => Err(CommandError::Unreadable),
    }
}

pub(super) async fn put(
    servers: &Servers,
    scripts: &Scripts,
    names: &KeyNames,
    value: &Bytes,
    ttl: Duration,
    expect: Expect,
) -> Result<Put, CommandError> {
    let (keys, expect, ttl) = (
        [&names.entry, &names.counter],
        expect_argument(expect),
        milliseconds(ttl),
    );
    let add_arguments = |command: &mut Cmd| {
        command
            .arg(keys.len())
            .arg(&keys)
            .arg(&expect)
            .arg(ttl)
            .arg(&value[..])
            .arg(class_argument(names.class));
    };
    match run(servers, names, &scripts.put, PUT, add_arguments).await? {
        Value::Int(0) => Ok(Put::Conflict),
        Value::BulkString(version) => {
            let version = parse_version(&version).ok_or(CommandError::Unreadable)?;
            Ok(Put::Stored(version))
        }
        _ => Err(CommandError::Unreadable),
    }
}

pub(super) async fn remove(
    servers: &Servers,
    scripts: &Scripts,
    names: &KeyNames,
    expect: Expect,
) -> Result<Removed, CommandError> {
    let expect = expect_argument(expect);
    let add_arguments = |command: &mut Cmd| {
        command.arg(1).arg(&names.entry).arg(&expect);
    };
    match run(servers, names, &scripts.remove, REMOVE, add_arguments).await? {
        Value::Int(1) => Ok(Removed::Removed),
        Value::Int(0) => Ok(Removed::Absent),
        Value::Int(-1) => Ok(Removed::Conflict),
        _ => Err(CommandError::Unreadable),
    }
}

/// Runs a script by its digest, and sends its text only if the server does not have it.
async fn run(
    servers: &Servers,
    names: &KeyNames,
    script: &Script,
    text: &str,
    add_arguments: impl Fn(&mut Cmd),
) -> Result<Value, CommandError> {
    let mut command = redis::cmd("EVALSHA");
    add_arguments(command.arg(script.get_hash()));
    match servers.send(names.slot, &command).await {
        Err(CommandError::NoScript) => {
            let mut command = redis::cmd("EVAL");
            add_arguments(command.arg(text));
            servers.send(names.slot, &command).await
        }
        result => result,
    }
}

fn class_argument(class: KeyClass) -> &'static str {
    match class {
        KeyClass::Unauthenticated => "unauthenticated",
        KeyClass::Authenticated => "authenticated",
        KeyClass::Protected => "protected",
    }
}

fn expect_argument(expect: Expect) -> String {
    match expect {
        Expect::Anything => "*".to_owned(),
        Expect::Absent => "-".to_owned(),
        Expect::Version(version) => format!("{version:0DIGITS$}"),
    }
}

/// Rounds up, so that only a TTL of zero expires immediately.
fn milliseconds(ttl: Duration) -> u64 {
    let whole = ttl.as_nanos().div_ceil(1_000_000);
    u64::try_from(whole).map_or(MAX_TTL, |whole| whole.min(MAX_TTL))
}

fn parse_version(digits: &[u8]) -> Option<u64> {
    if digits.len() != DIGITS || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

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
    fn times_to_live_are_rounded_up_and_limited() {
        for (ttl, expected) in [
            (Duration::ZERO, 0),
            (Duration::from_nanos(1), 1),
            (Duration::from_millis(1), 1),
            (Duration::from_micros(1001), 2),
            (Duration::from_secs(60), 60_000),
            (Duration::MAX, MAX_TTL),
        ] {
            assert_eq!(milliseconds(ttl), expected, "{ttl:?}");
        }
    }

    #[test]
    fn a_version_has_sixteen_digits() {
        assert_eq!(expect_argument(Expect::Version(7)), "0000000000000007");
        assert_eq!(parse_version(b"0000000000000007"), Some(7));
        for other in [
            &b"7"[..],
            b"000000000000007x",
            b"+000000000000007",
            b"00000000000000077",
        ] {
            assert_eq!(parse_version(other), None);
        }
    }

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
