//! Keys, records, conditions and results of store operations.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::KeyClass;

/// The key of an entry: a purpose, a colon, and an id.
///
/// Keys of this crate are printable ASCII of at most 128 bytes. Their ids are digests or random values, so a key
/// does not reveal the user.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(Arc<str>);

impl Key {
    /// Creates a key. `purpose` must not contain a colon.
    pub fn new(purpose: &'static str, id: &str) -> Self {
        Self(format!("{purpose}:{id}").into())
    }

    /// Returns the complete key, including the purpose.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the class of the entry, which determines the capacity that it may use.
    pub fn class(&self) -> KeyClass {
        KeyClass::of(self.purpose())
    }

    fn purpose(&self) -> &str {
        self.0.split(':').next().unwrap_or_default()
    }
}

/// Shows the purpose, but not the id.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({}:..)", self.purpose())
    }
}

/// The value and the version of an entry.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    value: Bytes,
    version: u64,
}

impl Record {
    /// Creates a record, for implementations of [`Store`](super::Store).
    pub fn new(value: Bytes, version: u64) -> Self {
        Self { value, version }
    }

    /// Returns the value.
    pub fn value(&self) -> &Bytes {
        &self.value
    }

    /// Returns the version, for [`Expect::Version`].
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Consumes the record and returns the value.
    pub fn into_value(self) -> Bytes {
        self.value
    }
}

/// Shows the length of the value only, since it may be a session.
impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("version", &self.version)
            .field("length", &self.value.len())
            .finish_non_exhaustive()
    }
}

/// The condition under which an operation takes effect, for compare-and-swap.
///
/// The enum is exhaustive, since a store has to handle all conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum Expect {
    /// No condition.
    Anything,
    /// There is no entry, or it has expired.
    Absent,
    /// The entry has this version.
    Version(u64),
}

/// The result of [`put`](super::Store::put).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum Put {
    /// The value is stored with this version.
    Stored(u64),
    /// The condition is not met. The entry is unchanged.
    Conflict,
}

/// The result of [`remove`](super::Store::remove).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum Removed {
    /// The entry was removed.
    Removed,
    /// There was no entry.
    Absent,
    /// The condition is not met. The entry is unchanged.
    Conflict,
}
