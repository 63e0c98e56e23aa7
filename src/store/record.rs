//! The words of a store: keys, records, conditions and what came of them.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::KeyClass;

/// The name of an entry: a purpose, a colon, and an id.
///
/// Keys that this crate makes are printable ASCII of at most 128 bytes. Ids are digests or random: a key
/// tells nobody whose entry it is.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(Arc<str>);

impl Key {
    /// The key of this id within this purpose. The purpose has no colon.
    pub fn new(purpose: &'static str, id: &str) -> Self {
        Self(format!("{purpose}:{id}").into())
    }

    /// The whole key.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns who can cause this entry to be created, which decides the room it may use.
    pub fn class(&self) -> KeyClass {
        KeyClass::of(self.purpose())
    }

    fn purpose(&self) -> &str {
        self.0.split(':').next().unwrap_or_default()
    }
}

/// Shows what the entry is for, not which one it is.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({}:..)", self.purpose())
    }
}

/// A live entry: what was stored, and the version that it was stored as.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    value: Bytes,
    version: u64,
}

impl Record {
    /// For those who write a store.
    pub fn new(value: Bytes, version: u64) -> Self {
        Self { value, version }
    }

    /// What was stored.
    pub fn value(&self) -> &Bytes {
        &self.value
    }

    /// The version, for [`Expect::Version`].
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The value alone.
    pub fn into_value(self) -> Bytes {
        self.value
    }
}

/// A value may be a session: its size is all that is shown.
impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("version", &self.version)
            .field("length", &self.value.len())
            .finish_non_exhaustive()
    }
}

/// What an entry has to be for a verb to take effect.
///
/// Not extended later: a store has to know all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum Expect {
    /// Whatever is there, or nothing.
    Anything,
    /// Nothing, or something whose time is over.
    Absent,
    /// Exactly what was stored as this version.
    Version(u64),
}

/// What came of a [`put`](super::Store::put).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum Put {
    /// It is stored, as this version, which the key never had before.
    Stored(u64),
    /// The entry was not as expected, and is as it was.
    Conflict,
}

/// What came of a [`remove`](super::Store::remove).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum Removed {
    /// There was an entry, and it is gone.
    Removed,
    /// There was none.
    Absent,
    /// There is one that was not expected, and it stays.
    Conflict,
}
