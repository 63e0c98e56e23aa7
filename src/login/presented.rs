//! The sessions that the cookies of a request hold, among cookies that were planted beside them.

use super::chunks::{MAX_CHUNKS, read};
use super::cookie_cipher::CookieCipher;
use super::cookies::{Jar, MAX_VALUES, SESSION};
use crate::flow::SessionRecord;
use crate::session::{PresentedSession, PresentedSessions};

/// What the session cookies of a request hold.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The different sessions that they open, usually one.
    pub(super) presented: Option<PresentedSessions>,
    /// The names of the cookies that these sessions are in.
    pub(super) names: SessionNames,
    /// Whether there are cookies that are part of no session: planted, cut or sealed with another key.
    pub(super) is_broken: bool,
}

/// Some of the names under which sessions are written: `session`, and `session.0` to `session.7`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SessionNames(u16);

impl SessionNames {
    /// `session` alone.
    pub(super) const WHOLE: Self = Self(1);

    fn first(count: usize) -> Self {
        match count {
            1 => Self::WHOLE,
            _ => Self(((1 << count) - 1) << 1),
        }
    }

    fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether this name, without our prefix, is among them.
    pub(super) fn has(self, name: &str) -> bool {
        let index = name.strip_prefix(SESSION);
        index
            .and_then(place)
            .is_some_and(|bit| self.0 & (1 << bit) != 0)
    }

    /// The names without our prefix.
    pub(super) fn iter(self) -> impl Iterator<Item = String> {
        let bits = (0..=MAX_CHUNKS).filter(move |bit| self.0 & (1 << bit) != 0);
        bits.map(|bit| match bit {
            0 => SESSION.to_owned(),
            number => format!("{SESSION}.{}", number - 1),
        })
    }
}

/// Opens every session that the cookies hold. What is part of none is passed over: whoever can plant a cookie must
/// not sign the user out by it.
pub(super) fn open(sealer: &CookieCipher, jar: &Jar<'_>) -> Found {
    let mut parts = jar.session_parts();
    let Some(first) = parts.next() else {
        return Found::default();
    };
    // Nearly always there is one cookie, and it is good.
    if first.0.is_empty() && parts.next().is_none() {
        let record = read(sealer, first.1, 1);
        return Found {
            is_broken: record.is_none() || jar.overflow(),
            names: SessionNames::WHOLE,
            presented: record.map(shown),
        };
    }
    Attempt::new(sealer, jar).open()
}

/// Tries the values of the session cookies in every combination that may be a session.
struct Attempt<'a> {
    sealer: &'a CookieCipher,
    /// The whole session, then its chunks.
    values: [Vec<&'a str>; 1 + MAX_CHUNKS],
    used: Vec<&'a str>,
    records: Vec<SessionRecord>,
    names: SessionNames,
    is_broken: bool,
    tries: usize,
}

impl<'a> Attempt<'a> {
    fn new(sealer: &'a CookieCipher, jar: &Jar<'a>) -> Self {
        let mut values = [const { Vec::new() }; 1 + MAX_CHUNKS];
        let mut is_broken = jar.overflow();
        for (index, value) in jar.session_parts() {
            match place(index) {
                Some(place) => values[place].push(value),
                None => is_broken = true,
            }
        }
        Self {
            sealer,
            values,
            used: Vec::new(),
            records: Vec::new(),
            names: SessionNames::default(),
            is_broken,
            tries: 0,
        }
    }

    fn open(mut self) -> Found {
        for value in self.values[0].clone() {
            self.try_one(&[value]);
        }
        // One chunk is never cut into chunks.
        for count in 2..=MAX_CHUNKS {
            self.try_chunks(&mut Vec::with_capacity(count), count);
        }
        let all = self.values.iter().flatten();
        let unused = all.filter(|value| !self.used.contains(value)).count();
        let mut records = self.records.into_iter();
        let presented = records.next().map(|first| PresentedSessions {
            others: records
                .map(|one| PresentedSession::Record(Box::new(one)))
                .collect(),
            ..shown(first)
        });
        Found {
            presented,
            names: self.names,
            is_broken: self.is_broken || unused > 0,
        }
    }

    fn try_chunks(&mut self, chosen: &mut Vec<&'a str>, count: usize) {
        if self.tries >= MAX_TRIES {
            return;
        }
        if chosen.len() == count {
            return self.try_one(chosen);
        }
        for value in self.values[1 + chosen.len()].clone() {
            chosen.push(value);
            self.try_chunks(chosen, count);
            chosen.pop();
        }
    }

    fn try_one(&mut self, chosen: &[&'a str]) {
        self.tries += 1;
        if self.records.len() == MAX_SESSIONS {
            return;
        }
        let Some(record) = read(self.sealer, &chosen.concat(), chosen.len()) else {
            return;
        };
        self.used.extend_from_slice(chosen);
        self.names = self.names.with(SessionNames::first(chosen.len()));
        match self.records.iter_mut().find(|one| one.id() == record.id()) {
            Some(known) => *known = known.merged(&record),
            None => self.records.push(record),
        }
    }
}

fn shown(record: SessionRecord) -> PresentedSessions {
    PresentedSessions::from(PresentedSession::Record(Box::new(record)))
}

/// Where a cookie stands in a session, by what follows `session` in its name: 0 is the whole of it.
pub(super) fn place(index: &str) -> Option<usize> {
    match index.strip_prefix('.') {
        None => Some(0),
        // One digit, as we write it, or nothing of ours.
        Some(index) => chunk_number(index).map(|number| number + 1),
    }
}

fn chunk_number(index: &str) -> Option<usize> {
    let &[digit @ b'0'..=b'9'] = index.as_bytes() else {
        return None;
    };
    Some(usize::from(digit - b'0')).filter(|&number| number < MAX_CHUNKS)
}

/// Combinations of planted cookies that are tried at one request: every value of the whole session, and every pair of
/// its chunks, of which we never write more.
const MAX_TRIES: usize = MAX_VALUES + MAX_VALUES * MAX_VALUES;

/// Different sessions of one request that are looked at.
pub(super) const MAX_SESSIONS: usize = 4;
