//! Opens the sessions in the cookies of a request, among cookies that an attacker may have planted
//! beside them.

use std::sync::Arc;

use super::chunks::{MAX_CHUNKS, open_chunks};
use super::cookies::Cookies;
use super::jar::{Jar, MAX_VALUES, SESSION};
use crate::record::SessionRecord;
use crate::session::{PresentedSession, SessionSecret};

/// What the session cookies of a request contain.
#[derive(Debug, Default)]
pub(super) struct SessionCookieContents {
    /// The distinct sessions: at most one, unless an attacker planted a cookie.
    pub(super) presented: Vec<PresentedSession>,
    /// The names of the cookies that these sessions are in.
    pub(super) names: SessionCookieNames,
    /// Whether any cookie belongs to no session: planted, truncated or encrypted with another key.
    pub(super) has_invalid: bool,
}

/// A set of session cookie names: `session`, and `session.0` to `session.7`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SessionCookieNames(u16);

impl SessionCookieNames {
    /// The name `session` only.
    const WHOLE: Self = Self(1);

    fn first(count: usize) -> Self {
        match count {
            1 => Self::WHOLE,
            _ => Self(((1 << count) - 1) << 1),
        }
    }

    fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns whether the set contains this name (without prefix).
    pub(super) fn contains(self, name: &str) -> bool {
        let index = name.strip_prefix(SESSION);
        index
            .and_then(slot)
            .is_some_and(|bit| self.0 & (1 << bit) != 0)
    }

    /// Returns the names without prefix.
    pub(super) fn iter(self) -> impl Iterator<Item = String> {
        let bits = (0..=MAX_CHUNKS).filter(move |bit| self.0 & (1 << bit) != 0);
        bits.map(|bit| match bit {
            0 => SESSION.to_owned(),
            number => format!("{SESSION}.{}", number - 1),
        })
    }
}

/// Reads the secrets of sessions in a store. Any other cookie under a session name is ignored.
pub(super) fn read_secrets(jar: &Jar<'_>) -> SessionCookieContents {
    let mut count = 0;
    let mut secrets = Vec::new();
    for (index, value) in jar.session_parts() {
        count += 1;
        if index.is_empty()
            && secrets.len() < MAX_SESSIONS
            && let Some(secret) = SessionSecret::parse(value)
        {
            secrets.push(PresentedSession::Secret(secret));
        }
    }
    let has_invalid = jar.overflow() || secrets.len() < count;
    SessionCookieContents {
        presented: secrets,
        names: SessionCookieNames::WHOLE,
        has_invalid,
    }
}

/// Opens every session in the cookies, and ignores cookies that belong to none: an attacker who can
/// plant a cookie (from a subdomain, or over http) must not be able to sign the user out.
pub(super) fn open_sessions(cookies: &Cookies, jar: &Jar<'_>) -> SessionCookieContents {
    let mut parts = jar.session_parts();
    let Some(first) = parts.next() else {
        return SessionCookieContents::default();
    };
    // Fast path: one valid cookie.
    if first.0.is_empty() && parts.next().is_none() {
        let record = open_chunks(cookies, first.1, 1);
        return SessionCookieContents {
            has_invalid: record.is_none() || jar.overflow(),
            names: SessionCookieNames::WHOLE,
            presented: record.map(presented).into_iter().collect(),
        };
    }
    ChunkAssembly::new(cookies, jar).open()
}

/// Tries each combination of cookie values that may be a session.
struct ChunkAssembly<'a> {
    cookies: &'a Cookies,
    /// Values by slot: the whole session, then its chunks.
    values: [Vec<&'a str>; 1 + MAX_CHUNKS],
    used: Vec<&'a str>,
    records: Vec<SessionRecord>,
    names: SessionCookieNames,
    has_invalid: bool,
    attempts: usize,
}

impl<'a> ChunkAssembly<'a> {
    fn new(cookies: &'a Cookies, jar: &Jar<'a>) -> Self {
        let mut values = [const { Vec::new() }; 1 + MAX_CHUNKS];
        let mut has_invalid = jar.overflow();
        for (index, value) in jar.session_parts() {
            match slot(index) {
                Some(place) => values[place].push(value),
                None => has_invalid = true,
            }
        }
        Self {
            cookies,
            values,
            used: Vec::new(),
            records: Vec::new(),
            names: SessionCookieNames::default(),
            has_invalid,
            attempts: 0,
        }
    }

    fn open(mut self) -> SessionCookieContents {
        for value in self.values[0].clone() {
            self.try_open(&[value]);
        }
        // A session is never written as one chunk.
        for count in 2..=MAX_CHUNKS {
            self.try_chunks(&mut Vec::with_capacity(count), count);
        }
        let all = self.values.iter().flatten();
        let unused = all.filter(|value| !self.used.contains(value)).count();
        SessionCookieContents {
            presented: self.records.into_iter().map(presented).collect(),
            names: self.names,
            has_invalid: self.has_invalid || unused > 0,
        }
    }

    fn try_chunks(&mut self, chosen: &mut Vec<&'a str>, count: usize) {
        if self.attempts >= MAX_ATTEMPTS {
            return;
        }
        if chosen.len() == count {
            return self.try_open(chosen);
        }
        for value in self.values[1 + chosen.len()].clone() {
            chosen.push(value);
            self.try_chunks(chosen, count);
            chosen.pop();
        }
    }

    fn try_open(&mut self, chosen: &[&'a str]) {
        self.attempts += 1;
        if self.records.len() == MAX_SESSIONS {
            return;
        }
        let Some(record) = open_chunks(self.cookies, &chosen.concat(), chosen.len()) else {
            return;
        };
        self.used.extend_from_slice(chosen);
        self.names = self.names.with(SessionCookieNames::first(chosen.len()));
        match self.records.iter_mut().find(|one| one.id() == record.id()) {
            Some(existing) => *existing = existing.merged(&record),
            None => self.records.push(record),
        }
    }
}

fn presented(record: SessionRecord) -> PresentedSession {
    PresentedSession::Record(Arc::new(record))
}

/// Returns the slot of a cookie by the part of its name after `session`: 0 is the whole session.
fn slot(index: &str) -> Option<usize> {
    match index.strip_prefix('.') {
        None => Some(0),
        // One digit, as this layer writes it; anything else is not a chunk.
        Some(index) => chunk_number(index).map(|number| number + 1),
    }
}

fn chunk_number(index: &str) -> Option<usize> {
    let &[digit @ b'0'..=b'9'] = index.as_bytes() else {
        return None;
    };
    Some(usize::from(digit - b'0')).filter(|&number| number < MAX_CHUNKS)
}

/// Limit on combinations tried per request: every value of the whole session, and every pair of its
/// two chunks, more than which are never written.
const MAX_ATTEMPTS: usize = MAX_VALUES + MAX_VALUES * MAX_VALUES;

/// Limit on distinct sessions per request.
const MAX_SESSIONS: usize = 4;
