//! The `state` of a login (RFC 6749 §4.1.1): where its cookie is and where the user returns to.
//!
//! It is encrypted, so the authorization server learns nothing from it and no value can be made up.
//! It completes no login: that takes the cookie of the browser. Without the cookie it yields a link
//! to a new login, whose target is checked again.

use super::cookies::Cookies;
use super::slots::Slot;
use crate::crypto::seal::Purpose;
use crate::protocol::State;
use crate::random::RandomError;
use crate::record::{Reader, Writer};

/// The contents of the `state` of a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LoginState {
    pub(super) slot: Slot,
    /// In seconds since the Unix epoch.
    pub(super) started_at: i64,
    pub(super) target: StateTarget,
    /// Whether the user continues at the target without the login if it fails.
    pub(super) is_optional: bool,
}

/// The return target of a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum StateTarget {
    Default,
    /// In the state itself: of at most [`MAX_SHORT_TARGET`] bytes.
    Short(String),
    /// In the [cookie for long targets](super::target_cookie).
    InCookie,
}

impl StateTarget {
    pub(super) fn new(target: Option<&str>) -> Self {
        match target {
            None => Self::Default,
            Some(target) if target.len() <= MAX_SHORT_TARGET => Self::Short(target.to_owned()),
            Some(_) => Self::InCookie,
        }
    }
}

impl LoginState {
    pub(super) fn seal(&self, cookies: &Cookies) -> Result<State, RandomError> {
        let (kind, target) = match &self.target {
            StateTarget::Default => (0, ""),
            StateTarget::Short(target) => (1, &**target),
            StateTarget::InCookie => (2, ""),
        };
        let plain = Writer::new(SCHEMA)
            .raw(&[self.slot.index(), kind])
            .number(self.started_at)
            .text(target)
            .flag(self.is_optional)
            .finish();
        cookies.seal(Purpose::State, NAME, &plain).map(State::new)
    }

    /// Returns `None` for a state that this layer did not create, or that was encrypted with a key
    /// which is no longer known.
    pub(super) fn open(cookies: &Cookies, state: &State) -> Option<Self> {
        let plain = cookies.open(Purpose::State, NAME, state.expose())?;
        let mut reader = Reader::new(&plain, SCHEMA)?;
        let [slot, kind] = reader.array()?;
        let started_at = reader.number()?;
        let target = reader.text()?;
        let is_optional = reader.flag()?;
        reader.finish()?;
        Some(Self {
            slot: Slot::new(slot)?,
            started_at,
            target: match kind {
                0 => StateTarget::Default,
                1 => StateTarget::Short(target.to_owned()),
                2 => StateTarget::InCookie,
                _ => return None,
            },
            is_optional,
        })
    }
}

const SCHEMA: u8 = 1;
const NAME: &str = "state";

/// A state has less than 400 characters with it, since some authorization servers cut longer ones.
const MAX_SHORT_TARGET: usize = 224;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_opens_unchanged_and_stays_short() {
        let cookies = Cookies::of_test("shop", true);
        let long = "/".repeat(MAX_SHORT_TARGET + 1);
        for target in [None, Some("/notes"), Some(&long[1..]), Some(&*long)] {
            let state = LoginState {
                slot: Slot::new(3).unwrap(),
                started_at: 1_800_000_000,
                target: StateTarget::new(target),
                is_optional: target.is_some(),
            };
            let sealed = state.seal(&cookies).unwrap();
            assert!(sealed.expose().len() < 400, "{}", sealed.expose().len());
            assert_eq!(LoginState::open(&cookies, &sealed), Some(state));
        }
        assert_eq!(StateTarget::new(Some(&long)), StateTarget::InCookie);
    }

    #[test]
    fn only_a_sealed_state_of_a_known_slot_opens() {
        let cookies = Cookies::of_test("shop", true);
        let seal = |purpose, plain: &[u8]| State::new(cookies.seal(purpose, NAME, plain).unwrap());
        let plain = |slot, kind| [&[SCHEMA, slot, kind][..], &[0; 13]].concat();
        for (name, state, opens) in [
            ("good", seal(Purpose::State, &plain(0, 0)), true),
            (
                "other purpose",
                seal(Purpose::Transaction, &plain(0, 0)),
                false,
            ),
            ("no such slot", seal(Purpose::State, &plain(9, 0)), false),
            ("no such kind", seal(Purpose::State, &plain(0, 3)), false),
            ("empty", seal(Purpose::State, &[]), false),
            ("not sealed", State::new("abc"), false),
        ] {
            let opened = LoginState::open(&cookies, &state);
            assert_eq!(opened.is_some(), opens, "{name}");
        }
    }
}
