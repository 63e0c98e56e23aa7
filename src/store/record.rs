//! Keys and their classes, records, conditions and results of store operations.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

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

/// The class of an entry: which callers can cause it to be created. Derived from the purpose of its
/// [`Key`](super::Key).
///
/// A store with limited capacity uses the class to decide which new entries it accepts: entries of one class must
/// not use up the capacity of a more important one. See ["Capacity"](super#capacity) for the contract.
///
/// The enum is exhaustive, since a store has to handle all classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums)]
pub enum KeyClass {
    /// Entries that callers without credentials can create in any number: the consumed `state` values of logins
    /// (purpose `state`). A callback with an invalid code creates one as well.
    Unauthenticated,
    /// Entries that only authenticated callers can create: sessions and their indexes (`session`, `user`,
    /// `sid`), replay entries of DPoP proofs (`dpop`), which are written after the access token was validated,
    /// and all purposes of an application.
    Authenticated,
    /// Entries that end sessions or protect their changes: the denylist and the newest records of cookie
    /// sessions (`cookie`), refresh leases (`lease`), logout watermarks (`ended-…`) and the `jti` of logout
    /// tokens, which require a valid signature (`logout`).
    Protected,
}

impl KeyClass {
    /// Returns the class of a purpose. An unknown purpose is never protected.
    pub(super) fn of(purpose: &str) -> Self {
        match purpose {
            "state" => Self::Unauthenticated,
            "cookie" | "lease" | "logout" => Self::Protected,
            _ if purpose.starts_with("ended-") => Self::Protected,
            _ => Self::Authenticated,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Key;

    #[test]
    fn the_class_depends_only_on_the_purpose() {
        for (purpose, class) in [
            ("state", KeyClass::Unauthenticated),
            ("session", KeyClass::Authenticated),
            ("user", KeyClass::Authenticated),
            ("sid", KeyClass::Authenticated),
            ("dpop", KeyClass::Authenticated),
            ("purpose of an application", KeyClass::Authenticated),
            ("", KeyClass::Authenticated),
            ("cookie", KeyClass::Protected),
            ("lease", KeyClass::Protected),
            ("logout", KeyClass::Protected),
            ("ended-user", KeyClass::Protected),
            ("ended-sid", KeyClass::Protected),
        ] {
            for id in ["", "4711", "state:x", ":lease"] {
                assert_eq!(Key::new(purpose, id).class(), class, "{purpose}:{id}");
            }
        }
    }
}
