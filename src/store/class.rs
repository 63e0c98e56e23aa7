//! Classes of entries, which have separate capacity in a store.

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
