//! The cookies of this layer in a request, among planted cookies and those of other applications.

use http::header::HeaderMap;

use super::cookies::Cookies;
use super::slots::is_login_cookie;
use crate::protocol::cookie::pairs;

/// The cookies of this layer in a request, by suffix.
#[derive(Debug)]
pub(super) struct Jar<'a> {
    entries: Vec<(&'a str, &'a str)>,
    overflow: bool,
    headers: &'a HeaderMap,
    cookies: &'a Cookies,
}

impl<'a> Jar<'a> {
    /// Reads all `Cookie` fields and ignores other cookies and malformed pairs.
    pub(super) fn read(headers: &'a HeaderMap, cookies: &'a Cookies) -> Self {
        let mut jar = Self {
            entries: Vec::new(),
            overflow: false,
            headers,
            cookies,
        };
        for (suffix, value) in jar.scan() {
            jar.add(suffix, value);
        }
        jar
    }

    /// Returns all cookies whose names have the prefix of this layer.
    fn scan(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let (prefix, mut budget) = (self.cookies.prefix().as_bytes(), MAX_SCANNED_BYTES);
        let read = pairs(self.headers).take_while(move |pair| {
            let left = budget.checked_sub(pair.text().len() + 1);
            budget = left.unwrap_or_default();
            left.is_some()
        });
        read.filter_map(move |pair| {
            // Names must match exactly: this layer never sets a name surrounded by white space.
            let suffix = pair.name()?.strip_prefix(prefix)?;
            // A value that is not UTF-8 is present but cannot be opened.
            let value = std::str::from_utf8(pair.value().trim_ascii_start()).unwrap_or_default();
            Some((std::str::from_utf8(suffix).ok()?, value))
        })
    }

    fn add(&mut self, name: &'a str, value: &'a str) {
        let session = is_session(name);
        let is_login = || is_login_cookie(name, self.cookies.login_tag());
        if !(session || MARKS.contains(&name) || is_login()) {
            return;
        }
        // Separate limits: neither many pending logins nor many unused names may hide the session.
        let is_readable = is_readable_name(name);
        let same_kind = self.entries.iter().filter(|(other, _)| match is_readable {
            true => *other == name,
            false => is_session(other) == session && !is_readable_name(other),
        });
        let limit = if is_readable {
            MAX_VALUES
        } else {
            MAX_OTHER_VALUES
        };
        let mut count = 0;
        for entry in same_kind {
            // An exact duplicate counts once.
            if session && *entry == (name, value) {
                return;
            }
            count += 1;
        }
        match count < limit {
            true => self.entries.push((name, value)),
            false => self.overflow |= session,
        }
    }

    /// Returns whether there were more session cookies than the limit, so that some were not read.
    pub(super) fn overflow(&self) -> bool {
        self.overflow
    }

    /// Returns the value of this name if there is exactly one: which of two is authentic cannot be
    /// told.
    pub(super) fn one(&self, suffix: &str) -> Option<&'a str> {
        let mut values = self.entries.iter().filter(|(name, _)| *name == suffix);
        match (values.next(), values.next()) {
            (Some((_, value)), None) => Some(value),
            _ => None,
        }
    }

    /// Returns the distinct values of this name, also among planted cookies.
    pub(super) fn values(&self, suffix: &str) -> Vec<&'a str> {
        let mut values = Vec::new();
        for (name, value) in self.scan() {
            if name == suffix && values.len() < MAX_VALUES && !values.contains(&value) {
                values.push(value);
            }
        }
        values
    }

    pub(super) fn has(&self, suffix: &str) -> bool {
        self.entries.iter().any(|(name, _)| *name == suffix)
    }

    /// Returns the session cookies as the part of the name after `session`, and the value.
    pub(super) fn session_parts(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.entries
            .iter()
            .filter(|(name, _)| is_session(name))
            .filter_map(|&(name, value)| Some((name.strip_prefix(SESSION)?, value)))
    }

    /// Returns the distinct names of the session cookies, up to the limit on cleared cookies.
    pub(super) fn session_names(&self) -> impl Iterator<Item = &'a str> {
        // With an overflow, names may be missing from the entries; clear them all.
        let unread: &'static [&'static str] = if self.overflow { &SESSION_NAMES } else { &[] };
        let seen = self.distinct(move |name| is_session(name) && !unread.contains(&name));
        unread.iter().copied().chain(seen).take(MAX_CLEARED_COOKIES)
    }

    /// Returns the size of the session cookies in the request.
    pub(super) fn session_bytes(&self) -> usize {
        let sessions = self.entries.iter().filter(|(name, _)| is_session(name));
        sessions
            .map(|(name, value)| self.cookies.cost(name, value))
            .sum()
    }

    /// Returns the names to clear, as many as fit into a response. The session comes first, so that
    /// planted cookies cannot keep it.
    pub(super) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.session_names()
            .chain(self.distinct(|name| !is_session(name)))
            .take(MAX_CLEARED_COOKIES)
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

/// Returns whether this is the name of a session cookie. Other names with the same beginning may
/// belong to another application (`shop`, `shop-admin`), so they are neither counted nor cleared.
fn is_session(name: &str) -> bool {
    name.strip_prefix(SESSION)
        .is_some_and(|index| index.is_empty() || is_index(index))
}

/// Returns whether a session may be read from this name.
fn is_readable_name(name: &str) -> bool {
    name.strip_prefix(SESSION)
        .is_some_and(|index| matches!(index.as_bytes(), [] | [b'.', b'0'..=b'7']))
}

/// Returns whether this is `.` and a number in any notation. Any other suffix belongs to another
/// cookie.
fn is_index(suffix: &str) -> bool {
    let Some(index) = suffix.strip_prefix('.').filter(|index| index.len() <= 32) else {
        return false;
    };
    let digits = index.trim_start_matches(['+', '-']);
    let decimal = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let hexadecimal = digits
        .strip_prefix("0x")
        .is_some_and(|suffix| suffix.bytes().all(|byte| byte.is_ascii_hexdigit()));
    decimal || hexadecimal
}

pub(super) const SESSION: &str = "session";
/// All names that sessions are written to.
pub(super) const SESSION_NAMES: [&str; 3] = [SESSION, "session.0", "session.1"];
pub(super) const LOGOUT: &str = "logout";
/// Marks a recent sign-in.
pub(super) const SIGNED_IN: &str = "signed-in";

/// Marks that the user has just authenticated again for a page.
pub(super) const STEPPED_UP: &str = "stepped-up";

/// Marks that no silent login is started for now. Not only the routes of the layer set it.
pub(super) const NO_SILENT_LOGIN: &str = "no-silent-login";

const MARKS: [&str; 4] = [LOGOUT, SIGNED_IN, STEPPED_UP, NO_SILENT_LOGIN];

/// Limit on the bytes read, for servers that do not limit header fields.
const MAX_SCANNED_BYTES: usize = 64 * 1024;

/// Limit on values per session cookie name; each is tried. A browser sends several only if they
/// were planted, with other paths or for the parent domain.
pub(super) const MAX_VALUES: usize = 16;

/// Limit on values per other kind of cookie.
const MAX_OTHER_VALUES: usize = 32;
const MAX_CLEARED_COOKIES: usize = 24;

#[cfg(test)]
mod tests {
    use http::HeaderValue;
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
    fn cookies_of_the_layer_are_found_among_other_cookies() {
        let cookies = Cookies::of_test("shop", true);
        let headers = headers(&[
            b"a=b; __Host-Http-shop-session=x=y ;;=; lonely; \xff=\xfe; __Host-Http-shop-tx-Tag-0=t",
            b"__Host-Http-shop-logout=;__Host-Http-shop-\xff=1; shop-session=no; __Host-Http-shops-session=no",
            b"__Host-Http-shop-tx-Tag-4=\xff\xfe",
        ]);
        let jar = Jar::read(&headers, &cookies);
        assert_eq!(jar.one(SESSION), Some("x=y"));
        assert_eq!(jar.one(LOGOUT), Some(""));
        assert_eq!(jar.one("tx-Tag-0"), Some("t"));
        assert_eq!(jar.one("tx-Tag-4"), Some(""));
    }

    #[test]
    fn a_name_with_two_values_has_no_value() {
        let cookies = Cookies::of_test("shop", false);
        let headers = headers(&[
            b"shop-session=a; shop-logout=a",
            b"shop-session=b; shop-logout=a",
        ]);
        let jar = Jar::read(&headers, &cookies);
        assert_eq!(jar.one(SESSION), None);
        assert!(jar.has(SESSION));
        assert_eq!(jar.one(LOGOUT), None);
    }

    #[test]
    fn a_chunk_index_is_a_number_in_any_notation() {
        for suffix in [".0", ".1", ".99999999", ".-1", ".0x1", ".00"] {
            assert!(is_index(suffix), "{suffix}");
        }
        for suffix in ["X", ".0evil", ".", ".x", "-1"] {
            assert!(!is_index(suffix), "{suffix}");
        }
    }

    #[test]
    fn a_flood_of_cookies_is_cut() {
        let cookies = Cookies::of_test("shop", false);
        let many: String = (0..5000).map(|n| format!("shop-session.{n}=x; ")).collect();
        let headers = headers(&[many.as_bytes()]);
        let jar = Jar::read(&headers, &cookies);
        assert!(jar.overflow());
        assert!(jar.session_parts().count() <= MAX_OTHER_VALUES + 8 * MAX_VALUES);
        assert_eq!(jar.names().count(), MAX_CLEARED_COOKIES);
        let cleared: Vec<_> = jar.session_names().take(3).collect();
        assert_eq!(cleared, SESSION_NAMES);
    }

    #[test]
    fn logins_on_their_way_do_not_hide_the_session() {
        let cookies = Cookies::of_test("shop", false);
        let mut many: String = (0..100).map(|n| format!("shop-tx-Tag-0={n}; ")).collect();
        many.push_str("shop-session=s");
        let headers = headers(&[many.as_bytes()]);
        let jar = Jar::read(&headers, &cookies);
        assert!(!jar.overflow());
        assert_eq!(jar.one(SESSION), Some("s"));
        assert_eq!(jar.names().next(), Some(SESSION));
    }

    #[test]
    fn cookies_of_an_application_with_a_longer_name_are_ignored() {
        let cookies = Cookies::of_test("shop", false);
        let theirs = "shop-cart shop-admin-session shop-admin-tx-Tag-0 shop-tx-session shop-tx-Tag-5 \
                      shop-tx-Tag-00 shop-tx-tag-0 shop-tx-Tag- shop-return-to-Tag0 shop-tx-logout \
                      shop-session-session shop-logout-logout";
        for theirs in theirs.split(' ') {
            let headers = headers(&[format!("{theirs}=x").as_bytes()]);
            let jar = Jar::read(&headers, &cookies);
            assert_eq!(jar.entries, [], "{theirs}");
        }
    }
}
