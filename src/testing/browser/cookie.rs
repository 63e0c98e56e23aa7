//! Cookies and the parser of `Set-Cookie` (RFC 6265bis §5.6).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A cookie in the cookie jar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cookie {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) host: String,
    pub(super) host_only: bool,
    pub(super) path: String,
    pub(super) secure: bool,
    pub(super) http_only: bool,
    pub(super) same_site: CookieSameSite,
    /// `None` for a session cookie.
    pub(super) expires: Option<SystemTime>,
}

/// The `SameSite` attribute of a cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CookieSameSite {
    /// The cookie is sent with all cross-site requests.
    None,
    /// The cookie is sent with cross-site top-level navigations by a safe method. This is the default.
    Lax,
    /// The cookie is not sent with cross-site requests.
    Strict,
}

impl Cookie {
    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the value.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Returns the path.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the host, or the domain if [`is_host_only`](Self::is_host_only) is false.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns whether the cookie was set without `Domain`.
    pub fn is_host_only(&self) -> bool {
        self.host_only
    }

    /// Returns whether the cookie has the attribute `Secure`.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// Returns whether the cookie has the attribute `HttpOnly`.
    pub fn is_http_only(&self) -> bool {
        self.http_only
    }

    /// Returns the `SameSite` attribute.
    pub fn same_site(&self) -> CookieSameSite {
        self.same_site
    }

    /// Returns the expiry, or `None` for a session cookie.
    pub fn expires(&self) -> Option<SystemTime> {
        self.expires
    }
}

/// The parts of a `Set-Cookie` header, before they are checked against the URL of the response.
#[derive(Debug, Default)]
pub(super) struct SetCookie<'a> {
    pub(super) name: &'a str,
    pub(super) value: &'a str,
    pub(super) domain: Option<&'a str>,
    pub(super) path: Option<&'a str>,
    pub(super) secure: bool,
    pub(super) http_only: bool,
    pub(super) same_site: Option<&'a str>,
    pub(super) expires: Option<SystemTime>,
}

/// Browsers limit the lifetime of cookies to 400 days (in seconds).
const MAX_AGE: u64 = 400 * 24 * 3600;

impl<'a> SetCookie<'a> {
    /// Parses a header. `None` if browsers ignore it: no name, control characters, or more than 4096
    /// bytes.
    pub(super) fn parse(field: &'a str, now: SystemTime) -> Option<Self> {
        if field
            .bytes()
            .any(|byte| byte.is_ascii_control() && byte != b'\t')
        {
            return None;
        }
        let mut parts = field.split(';');
        let (name, value) = parts.next()?.split_once('=')?;
        let (name, value) = (name.trim(), value.trim());
        if name.is_empty() || name.len() + value.len() > 4096 {
            return None;
        }
        let mut cookie = SetCookie {
            name,
            value,
            ..SetCookie::default()
        };
        let mut max_age = None;
        for attribute in parts {
            let (name, value) = attribute.split_once('=').unwrap_or((attribute, ""));
            let (name, value) = (name.trim(), value.trim());
            match name.to_ascii_lowercase().as_str() {
                "domain" => cookie.domain = Some(value.strip_prefix('.').unwrap_or(value)),
                "path" => cookie.path = value.starts_with('/').then_some(value),
                "secure" => cookie.secure = true,
                "httponly" => cookie.http_only = true,
                "samesite" => cookie.same_site = Some(value),
                "expires" => cookie.expires = parse_date(value).or(cookie.expires),
                "max-age" => max_age = value.parse::<i64>().ok().or(max_age),
                _ => {}
            }
        }
        // Max-Age takes precedence over Expires (§5.7 step 3).
        if let Some(seconds) = max_age {
            let seconds = u64::try_from(seconds).unwrap_or(0).min(MAX_AGE);
            let lifetime = Duration::from_secs(seconds);
            cookie.expires = Some(if seconds == 0 {
                UNIX_EPOCH
            } else {
                now + lifetime
            });
        }
        Some(cookie)
    }
}

/// Parses an IMF-fixdate like `Thu, 01 Jan 1970 00:00:00 GMT` (RFC 9110 §5.6.7); obsolete forms are not
/// supported.
fn parse_date(text: &str) -> Option<SystemTime> {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let mut words = text.split_once(", ")?.1.split([' ', ':']);
    let mut number = || words.next()?.parse::<u64>().ok();
    let day = number()?;
    let month = u64::try_from(MONTHS.find(words.next()?)? / 3).ok()?;
    let mut number = || words.next()?.parse::<u64>().ok();
    let (year, hours, minutes, seconds) = (number()?, number()?, number()?, number()?);
    if !(1970..=9999).contains(&year) || !(1..=31).contains(&day) || hours > 23 {
        return Some(UNIX_EPOCH);
    }
    // Days since 1970, with years that begin in March so that a leap day is the last day.
    let (year, month) = if month < 2 {
        (year - 1, month + 10)
    } else {
        (year, month - 2)
    };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day;
    let days = days.saturating_sub(719_469);
    Some(UNIX_EPOCH + Duration::from_secs(((days * 24 + hours) * 60 + minutes) * 60 + seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_seconds_since_1970() {
        for (text, seconds) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777),
            ("Tue, 29 Feb 2000 23:59:59 GMT", 951_868_799),
            ("Fri, 15 Jan 2027 08:00:00 GMT", 1_800_000_000),
        ] {
            assert_eq!(
                parse_date(text),
                Some(UNIX_EPOCH + Duration::from_secs(seconds)),
                "{text}"
            );
        }
        assert_eq!(parse_date("tomorrow"), None);
    }
}
