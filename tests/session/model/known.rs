//! What the model knows of one session, and what follows from it.

use std::time::Duration;

use http::{HeaderMap, Response};

use super::steps::Cookie;

/// A session as an observer knows it.
#[derive(Debug)]
pub struct KnownSession {
    pub grant: usize,
    pub user: usize,
    began: Duration,
    /// The latest time at which it may have been used.
    used: Duration,
    /// The latest time at which it was certainly used and that was certainly saved.
    noted: Duration,
    /// It has ended and a response has reported that.
    dead: bool,
    /// It may have ended: an operation that could end it was attempted.
    doubtful: bool,
    /// The number of the newest access token that a handler received.
    pub newest_token: u64,
    /// The cookies that the browser sends now and those that it sent before.
    jars: Vec<Cookies>,
}

/// The cookies of a browser at some time.
#[derive(Clone, Debug)]
pub struct Cookies {
    pairs: Vec<(String, String)>,
    /// When they were created.
    made: Duration,
}

impl KnownSession {
    pub fn new(grant: usize, user: usize, answer: &HeaderMap, now: Duration) -> Self {
        let mut known = Self {
            grant,
            user,
            began: now,
            used: now,
            noted: now,
            dead: false,
            doubtful: false,
            newest_token: 0,
            jars: Vec::new(),
        };
        known.deliver(answer, now);
        known
    }

    /// The browser stores what a response sets, which was created at `made`.
    pub fn deliver(&mut self, answer: &HeaderMap, made: Duration) {
        let set = set_cookies(answer);
        if set.is_empty() {
            return;
        }
        let mut pairs = self
            .jars
            .last()
            .map_or_else(Vec::new, |jar| jar.pairs.clone());
        for (name, value) in set {
            pairs.retain(|(other, _)| *other != name);
            if !value.is_empty() && name.contains("-session") {
                pairs.push((name, value));
            }
        }
        if !pairs.is_empty() {
            self.jars.push(Cookies { pairs, made });
        }
    }

    pub fn cookies(&self, cookie: Cookie) -> &Cookies {
        let last = self.jars.len() - 1;
        match cookie {
            Cookie::Newest => &self.jars[last],
            Cookie::Older(number) => &self.jars[last - number % self.jars.len()],
        }
    }

    /// Reports whether the session must be rejected now (invariant 1).
    pub fn must_be_dead(&self, now: Duration) -> bool {
        self.dead || now >= self.began + ABSOLUTE || now >= self.used + IDLE
    }

    /// Reports whether the session must be accepted with these cookies (invariant 2).
    pub fn must_live(&self, cookies: &Cookies, in_store: bool, now: Duration) -> bool {
        let noted = if in_store { self.noted } else { cookies.made };
        !self.dead
            && !self.doubtful
            && now < noted + IDLE - USE_SAVE_INTERVAL
            && now < self.began + ABSOLUTE - CLOCK_SKEW_ALLOWANCE
    }

    pub fn is_dead(&self) -> bool {
        self.dead
    }

    pub fn end(&mut self) {
        self.dead = true;
    }

    pub fn doubt(&mut self) {
        self.doubtful = true;
    }

    /// The session may have been used at this time.
    pub fn touch(&mut self, now: Duration) {
        self.used = self.used.max(now);
    }

    /// The session was used, and no fault kept that from being saved.
    pub fn note(&mut self, now: Duration) {
        self.noted = self.noted.max(now);
    }
}

impl Cookies {
    pub fn header(&self) -> String {
        let pairs: Vec<String> = self
            .pairs
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        pairs.join("; ")
    }
}

/// Returns names and values of `Set-Cookie` fields, with an empty value if they are cleared.
pub fn set_cookies(headers: &HeaderMap) -> Vec<(String, String)> {
    let pair = |value: &http::HeaderValue| {
        let text = value.to_str().unwrap();
        let (name, value) = text.split(';').next().unwrap().split_once('=').unwrap();
        (name.to_owned(), value.to_owned())
    };
    headers.get_all("set-cookie").iter().map(pair).collect()
}

/// Reports whether a response sets a session.
pub fn signs_in<B>(answer: &Response<B>) -> bool {
    set_cookies(answer.headers())
        .iter()
        .any(|(name, value)| name.contains("-session") && !value.is_empty())
}

/// The default limits of the layer.
const ABSOLUTE: Duration = Duration::from_secs(8 * 3600);
const IDLE: Duration = Duration::from_secs(3600);

/// Use is saved when a tenth of the idle limit has passed since the last time.
const USE_SAVE_INTERVAL: Duration = Duration::from_secs(360 + 60);
const CLOCK_SKEW_ALLOWANCE: Duration = Duration::from_secs(60);
