//! Our cookies: their names and attributes, and how they are found in a request.
//!
//! https gives the prefix `__Host-Http-` (older browsers still enforce its `__Host-` part): Secure,
//! HttpOnly, Path=/ and no Domain. http, which is for loopback only, can have neither prefix nor Secure.

use std::time::Duration;

use http::header::{HeaderMap, HeaderValue};

use super::SameSite;
use crate::crypto::base64url;
use crate::crypto::digest::sha256;
use crate::protocol::State;
use crate::protocol::cookie::pairs;

/// What our cookies are called, and the attributes they all have (`L2`, `L38`).
#[derive(Clone, Debug)]
pub(super) struct CookieNames {
    /// All names begin with it.
    prefix: String,
    logout: String,
    secure: bool,
}

/// The cookies of ours that a request carries, by what follows the prefix in their names.
#[derive(Debug, Default)]
pub(super) struct Jar<'a> {
    entries: Vec<(&'a str, &'a str)>,
    overflow: bool,
    headers: Option<&'a HeaderMap>,
}

impl CookieNames {
    pub(super) fn new(app: &str, secure: bool) -> Self {
        let prefix = format!("{}{app}-", if secure { "__Host-Http-" } else { "" });
        Self {
            logout: format!("{prefix}{LOGOUT}"),
            prefix,
            secure,
        }
    }

    pub(super) fn logout(&self) -> &str {
        &self.logout
    }

    pub(super) fn full(&self, rest: &str) -> String {
        format!("{}{rest}", self.prefix)
    }

    /// A login's cookie is found by its state; the name is a digest, so that it tells nothing (`L2`).
    pub(super) fn transaction(state: &State) -> String {
        let digest = sha256(state.expose().as_bytes());
        format!("{TRANSACTION}{}", base64url::encode(&digest[..9]))
    }

    /// A `Set-Cookie` value, marked as not to be shown; nothing when the value fits no header, which ours
    /// always do.
    pub(super) fn set(
        &self,
        name: &str,
        value: &str,
        lifetime: Duration,
        same_site: SameSite,
    ) -> Option<HeaderValue> {
        let secure = if self.secure { "; Secure" } else { "" };
        let same_site = same_site.as_str();
        let seconds = lifetime.as_secs();
        let text = format!(
            "{name}={value}; Path=/{secure}; HttpOnly; SameSite={same_site}; Max-Age={seconds}"
        );
        let mut cookie = HeaderValue::try_from(text).ok()?;
        cookie.set_sensitive(true);
        Some(cookie)
    }

    pub(super) fn clear(&self, name: &str) -> Option<HeaderValue> {
        self.set(name, "", Duration::ZERO, SameSite::Lax)
    }

    /// Takes the bytes a cookie costs in a request.
    pub(super) fn cost(name: &str, value: &str) -> usize {
        name.len() + value.len() + "=; ".len()
    }
}

impl<'a> Jar<'a> {
    /// Reads every `Cookie` field; what is not ours, or is no pair, is passed over.
    pub(super) fn read(headers: &'a HeaderMap, names: &CookieNames) -> Self {
        let mut jar = Self {
            headers: Some(headers),
            ..Self::default()
        };
        scan(headers, names, |name, value| jar.add(name, value));
        jar
    }

    fn add(&mut self, name: &'a str, value: &'a str) {
        let session = is_session(name);
        if !(session || is_transaction(name) || name == LOGOUT) {
            return;
        }
        // Counted apart: neither a flood of logins on their way nor one of names that we never write hides the session.
        let known = is_known(name);
        let alike = self.entries.iter().filter(|(other, _)| match known {
            true => *other == name,
            false => is_session(other) == session && !is_known(other),
        });
        let most = if known { MAX_VALUES } else { MAX_OURS };
        let mut count = 0;
        for entry in alike {
            // The same cookie twice is one.
            if session && *entry == (name, value) {
                return;
            }
            count += 1;
        }
        match count < most {
            true => self.entries.push((name, value)),
            false => self.overflow |= session,
        }
    }

    /// More session cookies than we ever set: some were not read.
    pub(super) fn overflow(&self) -> bool {
        self.overflow
    }

    /// The one value of this name; two are as good as none (`L43`).
    pub(super) fn one(&self, rest: &str) -> Option<&'a str> {
        let mut values = self.entries.iter().filter(|(name, _)| *name == rest);
        match (values.next(), values.next()) {
            (Some((_, value)), None) => Some(value),
            _ => None,
        }
    }

    /// The different values of this name, wherever they stand among planted cookies.
    pub(super) fn values(&self, names: &CookieNames, rest: &str) -> Vec<&'a str> {
        let mut values = Vec::new();
        if let Some(headers) = self.headers {
            scan(headers, names, |name, value| {
                if name == rest && values.len() < MAX_VALUES && !values.contains(&value) {
                    values.push(value);
                }
            });
        }
        values
    }

    pub(super) fn has(&self, rest: &str) -> bool {
        self.entries.iter().any(|(name, _)| *name == rest)
    }

    /// The session's cookies: the rest of the name behind `session`, and the value.
    pub(super) fn session_parts(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.entries
            .iter()
            .filter(|(name, _)| is_session(name))
            .filter_map(|&(name, value)| Some((name.strip_prefix(SESSION)?, value)))
    }

    /// The names they are under, each once, as far as they can be cleared.
    pub(super) fn session_names(&self) -> impl Iterator<Item = &'a str> {
        // What a flood hides is cleared unseen.
        let hidden: &'static [&'static str] = if self.overflow { &SESSION_NAMES } else { &[] };
        let seen = self.distinct(move |name| is_session(name) && !hidden.contains(&name));
        hidden.iter().copied().chain(seen).take(MAX_CLEARED)
    }

    /// Each transaction's name once, and its value unless there are two.
    pub(super) fn transactions(&self) -> impl Iterator<Item = (&'a str, Option<&'a str>)> {
        self.distinct(is_transaction)
            .map(|name| (name, self.one(name)))
    }

    /// Every name that can be cleared, each once, and only as many as fit a response: the session first,
    /// so that nothing that was planted keeps it alive.
    pub(super) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.session_names()
            .chain(self.distinct(|name| !is_session(name)))
            .take(MAX_CLEARED)
    }

    fn distinct(&self, wanted: impl Fn(&str) -> bool) -> impl Iterator<Item = &'a str> {
        self.entries
            .iter()
            .enumerate()
            .filter(move |(at, (name, _))| {
                wanted(name) && !self.entries[..*at].iter().any(|(other, _)| other == name)
            })
            .map(|(_, &(name, _))| name)
    }
}

/// Goes through the pairs of every `Cookie` field whose names begin with our prefix, which is cut off.
fn scan<'a>(headers: &'a HeaderMap, names: &CookieNames, mut each: impl FnMut(&'a str, &'a str)) {
    let mut budget = MAX_SCANNED;
    for pair in pairs(headers) {
        let Some(left) = budget.checked_sub(pair.text().len() + 1) else {
            return;
        };
        budget = left;
        // A name is ours byte for byte: this layer never set one with white space around it.
        let name = pair
            .name()
            .and_then(|name| name.strip_prefix(names.prefix.as_bytes()));
        if let Some(Ok(name)) = name.map(std::str::from_utf8) {
            // A value of foreign bytes is there, and opens as nothing.
            let value = std::str::from_utf8(pair.value().trim_ascii_start()).unwrap_or_default();
            each(name, value);
        }
    }
}

/// The session, or a part of it. A name that only begins alike is not ours to count or to clear (`H53`):
/// another application's word may begin with ours (`shop`, `shop-admin`).
fn is_session(name: &str) -> bool {
    name.strip_prefix(SESSION)
        .is_some_and(|index| index.is_empty() || is_index(index))
}

/// A name that a session may be read from.
fn is_known(name: &str) -> bool {
    name.strip_prefix(SESSION)
        .is_some_and(|index| matches!(index.as_bytes(), [] | [b'.', b'0'..=b'7']))
}

fn is_transaction(name: &str) -> bool {
    name.strip_prefix(TRANSACTION)
        .is_some_and(|id| id.len() == TRANSACTION_ID && id.bytes().all(is_base64url))
}

fn is_base64url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

/// A `.` and what could be meant as a number (`H52`); any other ending is somebody else's cookie (`H53`).
fn is_index(rest: &str) -> bool {
    let Some(index) = rest.strip_prefix('.').filter(|index| index.len() <= 32) else {
        return false;
    };
    let digits = index.trim_start_matches(['+', '-']);
    let decimal = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let hexadecimal = digits
        .strip_prefix("0x")
        .is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_hexdigit()));
    decimal || hexadecimal
}

pub(super) const SESSION: &str = "session";
/// Every name a session is ever written under.
pub(super) const SESSION_NAMES: [&str; 3] = [SESSION, "session.0", "session.1"];
pub(super) const LOGOUT: &str = "logout";
const TRANSACTION: &str = "tx-";

/// 72 bits of the state's digest, in base64url.
const TRANSACTION_ID: usize = 12;

/// Servers limit header fields on their own; this bounds the work where they do not.
const MAX_SCANNED: usize = 64 * 1024;
/// Of one name that a session may be read from. A browser sends several only if they were planted, with other paths or
/// for the parent domain; each is tried.
pub(super) const MAX_VALUES: usize = 16;

/// Of each other kind.
const MAX_OURS: usize = 32;
const MAX_CLEARED: usize = 24;

#[cfg(test)]
mod tests {
    use http::header::COOKIE;

    use super::*;

    fn headers(fields: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(COOKIE, HeaderValue::from_bytes(field).unwrap());
        }
        headers
    }

    #[test]
    fn our_cookies_are_found_among_anything() {
        let names = CookieNames::new("shop", true);
        let headers = headers(&[
            b"a=b; __Host-Http-shop-session=x=y ;;=; lonely; \xff=\xfe; __Host-Http-shop-tx-one-48_chars=t",
            b"__Host-Http-shop-logout=;__Host-Http-shop-\xff=1; shop-session=no; __Host-Http-shops-session=no",
            b"__Host-Http-shop-tx-two-48_chars=\xff\xfe",
        ]);
        let jar = Jar::read(&headers, &names);
        assert_eq!(jar.one(SESSION), Some("x=y"));
        assert_eq!(jar.one(LOGOUT), Some(""));
        let found: Vec<_> = jar.transactions().collect();
        assert_eq!(
            found,
            [
                ("tx-one-48_chars", Some("t")),
                ("tx-two-48_chars", Some(""))
            ]
        );
    }

    #[test]
    fn two_values_for_one_name_are_none() {
        let names = CookieNames::new("shop", false);
        let headers = headers(&[
            b"shop-session=a; shop-tx-123456789012=a",
            b"shop-session=b; shop-tx-123456789012=a",
        ]);
        let jar = Jar::read(&headers, &names);
        assert_eq!(jar.one(SESSION), None);
        assert!(jar.has(SESSION));
        assert_eq!(
            jar.transactions().collect::<Vec<_>>(),
            [("tx-123456789012", None)]
        );
    }

    #[test]
    fn an_index_is_a_number_however_it_is_written() {
        for (rest, index) in [
            (".0", true),
            (".1", true),
            (".99999999", true),
            (".-1", true),
            (".0x1", true),
            (".00", true),
            ("X", false),
            (".0evil", false),
            (".", false),
            (".x", false),
            ("-1", false),
        ] {
            assert_eq!(is_index(rest), index, "{rest}");
        }
    }

    #[test]
    fn a_flood_of_cookies_is_cut() {
        let names = CookieNames::new("shop", false);
        let many: String = (0..5000).map(|n| format!("shop-session.{n}=x; ")).collect();
        let headers = headers(&[many.as_bytes()]);
        let jar = Jar::read(&headers, &names);
        assert!(jar.overflow());
        assert!(jar.session_parts().count() <= MAX_OURS + 8 * MAX_VALUES);
        assert_eq!(jar.names().count(), MAX_CLEARED);
        let cleared: Vec<_> = jar.session_names().take(3).collect();
        assert_eq!(cleared, SESSION_NAMES);
    }

    #[test]
    fn logins_on_their_way_do_not_hide_the_session() {
        let names = CookieNames::new("shop", false);
        let mut many: String = (0..100).map(|n| format!("shop-tx-{n:012}=x; ")).collect();
        many.push_str("shop-session=s");
        let headers = headers(&[many.as_bytes()]);
        let jar = Jar::read(&headers, &names);
        assert!(!jar.overflow());
        assert_eq!(jar.one(SESSION), Some("s"));
        assert_eq!(jar.names().next(), Some(SESSION));
    }

    #[test]
    fn the_cookies_of_an_application_whose_word_begins_alike_are_not_ours() {
        let names = CookieNames::new("shop", false);
        for theirs in [
            "shop-cart",
            "shop-admin-session",
            "shop-admin-tx-123456789012",
            "shop-tx-session",
            "shop-tx-tx-123456789012",
            "shop-tx-logout",
            "shop-session-session",
            "shop-logout-logout",
        ] {
            let headers = headers(&[format!("{theirs}=x").as_bytes()]);
            let jar = Jar::read(&headers, &names);
            assert_eq!(jar.entries, [], "{theirs}");
        }
    }

    #[test]
    fn the_attributes_follow_the_scheme() {
        let secure = CookieNames::new("shop", true);
        let value = secure.set(
            &secure.full(SESSION),
            "v",
            Duration::from_secs(60),
            SameSite::Lax,
        );
        assert_eq!(
            value.unwrap(),
            "__Host-Http-shop-session=v; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=60"
        );
        let plain = CookieNames::new("shop", false);
        assert_eq!(
            plain.clear(&plain.full(SESSION)).unwrap(),
            "shop-session=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0"
        );
    }
}
