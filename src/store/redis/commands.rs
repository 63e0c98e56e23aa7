//! The store operations as Redis commands.
//!
//! An entry is a string: the version as 16 decimal digits, followed by the value. `put` and `remove` are scripts,
//! which Redis executes atomically.

use std::time::Duration;

use bytes::Bytes;
use redis::{Cmd, Script, Value};

use super::error::CommandError;
use super::key_names::KeyNames;
use super::servers::Servers;
use crate::store::{Expect, KeyClass, Put, Record, Removed};

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
}
