//! One cookie, read from a `Set-Cookie` field (RFC 6265bis §5.6).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A cookie as the jar keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cookie {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) host: String,
    pub(super) host_only: bool,
    pub(super) path: String,
    pub(super) secure: bool,
    pub(super) http_only: bool,
    pub(super) same_site: SameSite,
    /// `None` for the life of the browser.
    pub(super) expires: Option<SystemTime>,
}

/// When a cookie goes along with requests from other sites.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SameSite {
    /// Always.
    None,
    /// Only with navigations by a safe method; so it is too where nothing is said.
    Lax,
    /// Never.
    Strict,
}

impl Cookie {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its value.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// The path it goes along with.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The host it belongs to, or, where [`is_host_only`](Self::is_host_only) is false, the domain.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether it was set without `Domain`.
    pub fn is_host_only(&self) -> bool {
        self.host_only
    }

    /// Whether it goes over https only.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// Whether scripts cannot see it.
    pub fn is_http_only(&self) -> bool {
        self.http_only
    }

    /// When it goes along with requests from other sites.
    pub fn same_site(&self) -> SameSite {
        self.same_site
    }

    /// When it ends; `None` for the life of the browser.
    pub fn expires(&self) -> Option<SystemTime> {
        self.expires
    }
}

/// The pieces of a `Set-Cookie` field, before they are weighed against the URL it came from.
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

/// No browser keeps a cookie longer than 400 days.
const MAX_AGE: u64 = 400 * 24 * 3600;

impl<'a> SetCookie<'a> {
    /// `None` for what every browser drops: no name, control characters, more than 4096 bytes.
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
        // Max-Age wins over Expires (§5.7 step 3).
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

/// A date like `Thu, 01 Jan 1970 00:00:00 GMT` (RFC 9110 §5.6.7); older forms are not read.
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
    // Days since 1970, with years that begin in March so that a leap day comes last.
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
