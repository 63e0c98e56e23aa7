//! The names of login cookies: a fixed small number, so that logins which start at the same time
//! leave a bounded number of cookies.

/// The place of a login among the cookies of a browser.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Slot(u8);

impl Slot {
    pub(super) fn new(index: u8) -> Option<Self> {
        (index < COUNT).then_some(Self(index))
    }

    pub(super) fn all() -> impl Iterator<Item = Self> {
        (0..COUNT).map(Self)
    }

    pub(super) fn index(self) -> u8 {
        self.0
    }

    /// Returns the name of the cookie of a login in this slot, without prefix.
    pub(super) fn name(self, login_tag: &str) -> String {
        format!("{TRANSACTION}{login_tag}-{}", self.0)
    }
}

/// Returns whether this is the name of a login cookie, or of the cookie for long return targets.
pub(super) fn is_login_cookie(name: &str, login_tag: &str) -> bool {
    let tagged = |kind| name.strip_prefix(kind)?.strip_prefix(login_tag);
    let slot = tagged(TRANSACTION).and_then(|rest| rest.strip_prefix('-'));
    slot.is_some_and(
        |slot| matches!(slot.as_bytes(), [digit] if (b'0'..b'0' + COUNT).contains(digit)),
    ) || tagged(RETURN_TO) == Some("")
}

/// Returns the name of the cookie for long return targets, without prefix.
pub(super) fn return_to_name(login_tag: &str) -> String {
    format!("{RETURN_TO}{login_tag}")
}

const TRANSACTION: &str = "tx-";
const RETURN_TO: &str = "return-to-";

/// All login cookies together stay below 2 KiB.
const COUNT: u8 = 5;
