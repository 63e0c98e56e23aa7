//! The three verbs as commands of Redis.
//!
//! An entry is a string: its version as 16 decimal digits, then the value. `put` and `remove` are scripts,
//! which Redis runs one after another and whole.

use std::time::Duration;

use bytes::Bytes;
use redis::{Cmd, Script, Value};

use super::Servers;
use super::failure::Failure;
use super::names::Names;
use crate::store::{Expect, KeyClass, Put, Record, Removed};

const PUT: &str = include_str!("put.lua");
const REMOVE: &str = include_str!("remove.lua");

/// Those of a version before the value.
const DIGITS: usize = 16;

/// A hundred years: what Redis adds to its own time must not overflow.
const LONGEST: u64 = 100 * 365 * 86_400 * 1000;

/// The names by which a server knows the scripts once it was sent them.
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

pub(super) async fn get(servers: &Servers, names: &Names) -> Result<Option<Record>, Failure> {
    let mut command = redis::cmd("GET");
    command.arg(&names.entry);
    match servers.ask(names.slot, &command).await? {
        Value::Nil => Ok(None),
        Value::BulkString(entry) => {
            let version = entry.get(..DIGITS).and_then(number);
            let version = version.ok_or(Failure::Foreign)?;
            let value = Bytes::from(entry).slice(DIGITS..);
            Ok(Some(Record::new(value, version)))
        }
        _ => Err(Failure::Unreadable),
    }
}

pub(super) async fn put(
    servers: &Servers,
    scripts: &Scripts,
    names: &Names,
    value: &Bytes,
    ttl: Duration,
    expect: Expect,
) -> Result<Put, Failure> {
    let (keys, expect, ttl) = (
        [&names.entry, &names.counter],
        expected(expect),
        milliseconds(ttl),
    );
    let complete = |command: &mut Cmd| {
        command
            .arg(keys.len())
            .arg(&keys)
            .arg(&expect)
            .arg(ttl)
            .arg(&value[..])
            .arg(class(names.class));
    };
    match run(servers, names, &scripts.put, PUT, complete).await? {
        Value::Int(0) => Ok(Put::Conflict),
        Value::BulkString(version) => {
            let version = number(&version).ok_or(Failure::Unreadable)?;
            Ok(Put::Stored(version))
        }
        _ => Err(Failure::Unreadable),
    }
}

pub(super) async fn remove(
    servers: &Servers,
    scripts: &Scripts,
    names: &Names,
    expect: Expect,
) -> Result<Removed, Failure> {
    let expect = expected(expect);
    let complete = |command: &mut Cmd| {
        command.arg(1).arg(&names.entry).arg(&expect);
    };
    match run(servers, names, &scripts.remove, REMOVE, complete).await? {
        Value::Int(1) => Ok(Removed::Removed),
        Value::Int(0) => Ok(Removed::Absent),
        Value::Int(-1) => Ok(Removed::Conflict),
        _ => Err(Failure::Unreadable),
    }
}

/// By the name of the script, and only to a server that does not know it yet with its text.
async fn run(
    servers: &Servers,
    names: &Names,
    script: &Script,
    text: &str,
    complete: impl Fn(&mut Cmd),
) -> Result<Value, Failure> {
    let mut command = redis::cmd("EVALSHA");
    complete(command.arg(script.get_hash()));
    match servers.ask(names.slot, &command).await {
        Err(Failure::NoScript) => {
            let mut command = redis::cmd("EVAL");
            complete(command.arg(text));
            servers.ask(names.slot, &command).await
        }
        answer => answer,
    }
}

/// The word that the script knows.
fn class(class: KeyClass) -> &'static str {
    match class {
        KeyClass::Unauthenticated => "unauthenticated",
        KeyClass::Authenticated => "authenticated",
        KeyClass::Protected => "protected",
    }
}

fn expected(expect: Expect) -> String {
    match expect {
        Expect::Anything => "*".to_owned(),
        Expect::Absent => "-".to_owned(),
        Expect::Version(version) => format!("{version:0DIGITS$}"),
    }
}

/// Parts of a millisecond count as a whole one: only what has no time to live at all is gone at once.
fn milliseconds(ttl: Duration) -> u64 {
    let whole = ttl.as_nanos().div_ceil(1_000_000);
    u64::try_from(whole).map_or(LONGEST, |whole| whole.min(LONGEST))
}

fn number(digits: &[u8]) -> Option<u64> {
    if digits.len() != DIGITS || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_to_live_are_whole_milliseconds_and_end_some_day() {
        for (ttl, expected) in [
            (Duration::ZERO, 0),
            (Duration::from_nanos(1), 1),
            (Duration::from_millis(1), 1),
            (Duration::from_micros(1001), 2),
            (Duration::from_secs(60), 60_000),
            (Duration::MAX, LONGEST),
        ] {
            assert_eq!(milliseconds(ttl), expected, "{ttl:?}");
        }
    }

    #[test]
    fn a_version_is_sixteen_digits() {
        assert_eq!(expected(Expect::Version(7)), "0000000000000007");
        assert_eq!(number(b"0000000000000007"), Some(7));
        for other in [
            &b"7"[..],
            b"000000000000007x",
            b"+000000000000007",
            b"00000000000000077",
        ] {
            assert_eq!(number(other), None);
        }
    }
}
