//! Which room of a store an entry may use.

/// Who can cause an entry to be created. Derived from the purpose of its [`Key`](super::Key).
///
/// A store that is short of room uses it to decide what it still accepts: entries of one class must
/// never fill the room of a more important one. See ["Room"](super#room) for the contract.
///
/// Not extended later: a store has to know all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums)]
pub enum KeyClass {
    /// Callers without credentials can create any number of these: the claimed `state` values of
    /// logins (purpose `state`), which a callback with a made-up code needs as well.
    Unauthenticated,
    /// Callers that were authenticated create these: sessions and the lists of them (`session`,
    /// `user`, `sid`), replay entries of DPoP proofs (`dpop`), which are written only after the access
    /// token was validated, and every purpose of an application.
    Authenticated,
    /// These end sessions or protect them while they change: sign-outs and the newest records of cookie
    /// sessions (`cookie`), refresh leases (`lease`), logout watermarks (`ended-…`) and the `jti` of
    /// logout tokens, which need a valid signature (`logout`).
    Protected,
}

impl KeyClass {
    /// The one place that decides. An unknown purpose never gets the room of protected entries.
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
    fn the_class_follows_from_the_purpose_and_from_nothing_else() {
        for (purpose, class) in [
            ("state", KeyClass::Unauthenticated),
            ("session", KeyClass::Authenticated),
            ("user", KeyClass::Authenticated),
            ("sid", KeyClass::Authenticated),
            ("dpop", KeyClass::Authenticated),
            ("an application's own", KeyClass::Authenticated),
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
