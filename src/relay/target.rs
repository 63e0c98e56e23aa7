//! Where requests go: an origin and a path that are fixed when the relay is made (RFC 10017 §6.1.3.6).

use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};
use url::Url;

use crate::config_error::ConfigError;
use crate::issuer::is_loopback;

#[derive(Clone, Debug)]
pub(super) struct Target {
    scheme: Scheme,
    authority: Authority,
    /// What every path there begins with; no slash at its end.
    base: String,
    /// What is taken off of every path here; no slash at its end.
    prefix: String,
}

/// Why a request goes nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Astray {
    /// It is not below the prefix.
    Elsewhere,
    /// Somebody behind could read its path as another one.
    Unclear,
}

impl Target {
    pub(super) fn new(upstream: &str) -> Result<Self, ConfigError> {
        let refused = |reason| ConfigError::Url {
            setting: "upstream",
            value: upstream.to_owned(),
            reason,
        };
        let printable = |byte: u8| byte.is_ascii_graphic() && byte != b'\\';
        if !upstream.bytes().all(printable) {
            return Err(refused(
                "it must be printable ASCII without spaces and backslashes",
            ));
        }
        let url = Url::parse(upstream).map_err(|_| refused("it is not a URL"))?;
        // RFC 6750 §5.3: the token goes over TLS, or does not leave this machine.
        let scheme = match url.scheme() {
            "https" => Scheme::HTTPS,
            "http" if is_loopback(&url) => Scheme::HTTP,
            _ => return Err(refused("it must be https, or http on a loopback host")),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refused("it must have no user name"));
        }
        if upstream.contains(['?', '#']) {
            return Err(refused("it must have no query and no fragment"));
        }
        let host = url.host_str().unwrap_or_default();
        let authority = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        let base = url.path().trim_end_matches('/');
        if !is_plain(base) || base.starts_with("//") {
            return Err(refused("its path can be read as another one"));
        }
        Ok(Self {
            scheme,
            authority: Authority::try_from(authority)
                .map_err(|_| refused("its host cannot be used"))?,
            base: base.to_owned(),
            prefix: String::new(),
        })
    }

    pub(super) fn with_prefix(mut self, prefix: &str) -> Result<Self, ConfigError> {
        let name = prefix.trim_end_matches('/');
        let is_path = PathAndQuery::try_from(prefix).is_ok_and(|path| path.path() == prefix);
        if !is_path || !name.starts_with('/') || name.starts_with("//") || !is_plain(name) {
            return Err(ConfigError::Setting {
                setting: "prefix",
                value: prefix.to_owned(),
                reason: "it must be a path such as `/api`",
            });
        }
        name.clone_into(&mut self.prefix);
        Ok(self)
    }

    /// `L58`: of the request's target only the path below the prefix and the query go on. Its host, if it
    /// names one, is not looked at.
    pub(super) fn find(&self, uri: &Uri) -> Result<Uri, Astray> {
        let Some(asked) = uri.path_and_query() else {
            return Err(Astray::Unclear);
        };
        let rest = asked.path().strip_prefix(self.prefix.as_str());
        let rest = rest.ok_or(Astray::Elsewhere)?;
        if !rest.is_empty() && !rest.starts_with('/') {
            return Err(Astray::Elsewhere);
        }
        if !is_plain(rest) {
            return Err(Astray::Unclear);
        }
        let mut path = format!("{}{rest}", self.base);
        // A reader of references takes what follows two slashes for a host (RFC 3986 §4.2), and browsers
        // take `\` for one.
        if path.bytes().take(2).filter(is_slash).count() == 2 {
            return Err(Astray::Unclear);
        }
        if path.is_empty() {
            path.push('/');
        }
        if let Some(query) = asked.query() {
            path.push('?');
            path.push_str(query);
        }
        let path = PathAndQuery::try_from(path).map_err(|_| Astray::Unclear)?;
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(path);
        Uri::from_parts(parts).map_err(|_| Astray::Unclear)
    }
}

/// However a server behind decodes the path, it stays below where it begins: no segment is `.` or `..`,
/// also with `\` for `/`, with parameters behind it, or encoded more than once.
fn is_plain(path: &str) -> bool {
    let mut text = path.as_bytes().to_vec();
    for _ in 0..MAX_DECODINGS {
        let has_odd = text.iter().any(u8::is_ascii_control) || has_longer_spelling(&text);
        if has_odd || text.split(is_slash).any(is_dots) {
            return false;
        }
        let decoded = decode(&text);
        if decoded.len() == text.len() {
            return true;
        }
        text = decoded;
    }
    false
}

fn is_slash(byte: &u8) -> bool {
    matches!(byte, b'/' | b'\\')
}

/// What careless readers of UTF-8 take for a character that has a shorter spelling, a dot or a slash above
/// all (RFC 3629 §10).
fn has_longer_spelling(text: &[u8]) -> bool {
    let in_two = |bytes: &[u8]| matches!(bytes, [0xE0, 0x80..=0x9F] | [0xF0, 0x80..=0x8F]);
    let in_one = |byte: &u8| matches!(byte, 0xC0 | 0xC1 | 0xF8..);
    text.iter().any(in_one) || text.windows(2).any(in_two)
}

/// Also where a reader of the decoded path takes what follows for a query or a fragment.
fn is_dots(segment: &[u8]) -> bool {
    let ends_name = |byte: &u8| matches!(byte, b';' | b'?' | b'#');
    let name = segment.split(ends_name).next();
    matches!(name.unwrap_or_default().trim_ascii(), b"." | b"..")
}

/// RFC 3986 §2.1; what is no encoding stays.
fn decode(text: &[u8]) -> Vec<u8> {
    let digit = |byte: Option<&u8>| char::from(*byte?).to_digit(16);
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        let value = match (*first, digit(tail.first()), digit(tail.get(1))) {
            (b'%', Some(high), Some(low)) => u8::try_from(high * 16 + low).ok(),
            _ => None,
        };
        decoded.push(value.unwrap_or(*first));
        rest = tail
            .get(if value.is_some() { 2 } else { 0 }..)
            .unwrap_or_default();
    }
    decoded
}

/// More is nobody's honest path, and would cost time.
const MAX_DECODINGS: usize = 4;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn to(upstream: &str, prefix: &str) -> Target {
        let target = Target::new(upstream).unwrap();
        match prefix {
            "" => target,
            prefix => target.with_prefix(prefix).unwrap(),
        }
    }

    #[test]
    fn only_one_origin_over_tls_or_on_this_machine_is_an_upstream() {
        for good in [
            "https://api.example.com",
            "https://api.example.com/",
            "https://api.example.com:8443/v1/",
            "http://127.0.0.1:4000",
            "http://[::1]:4000/v1",
            "http://localhost:4000",
        ] {
            assert!(Target::new(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "api.example.com",
            "//api.example.com",
            "http://api.example.com",
            "ftp://api.example.com",
            "https://",
            "https://user@api.example.com",
            "https://user:word@api.example.com",
            "https://api.example.com?tenant=1",
            "https://api.example.com/#top",
            "https://api.example.com\\v1",
            "https://api.example.com/v1/%2e%252e/x",
            "https://api.example.com//v1",
            "https://api.example.com /v1",
            "unix:/run/api",
        ] {
            let refused = Target::new(bad);
            assert!(matches!(refused, Err(ConfigError::Url { .. })), "{bad}");
        }
        for bad in [
            "", "/", "api", "//api", "/api?x", "/api/..", "/%2e%2e", "/a b",
        ] {
            let refused = to("https://api.example.com", "").with_prefix(bad);
            assert!(matches!(refused, Err(ConfigError::Setting { .. })), "{bad}");
        }
    }

    #[test]
    fn a_path_is_moved_from_below_the_prefix_to_below_the_upstream() {
        let cases = [
            (
                "https://a.example",
                "",
                "/orders?x=/../y",
                "https://a.example/orders?x=/../y",
            ),
            (
                "https://a.example/v1/",
                "",
                "/orders",
                "https://a.example/v1/orders",
            ),
            (
                "https://a.example/v1",
                "/api/",
                "/api/orders/",
                "https://a.example/v1/orders/",
            ),
            (
                "https://a.example/v1",
                "/api",
                "/api",
                "https://a.example/v1",
            ),
            ("https://a.example", "/api", "/api", "https://a.example/"),
            ("https://a.example", "/api", "/api?", "https://a.example/?"),
            (
                "https://a.example:8443",
                "/api",
                "/api/",
                "https://a.example:8443/",
            ),
            ("http://[::1]:4000", "", "/x", "http://[::1]:4000/x"),
            // The absolute form of a request's target: its host is not looked at.
            (
                "https://a.example",
                "/api",
                "http://evil.example/api/x",
                "https://a.example/x",
            ),
            (
                "https://a.example",
                "/api",
                "https://u:p@evil.example:1/api/x",
                "https://a.example/x",
            ),
            // Encodings stay what they are.
            (
                "https://a.example/v1",
                "",
                "/a%2Fb/%E2%82%AC%20c",
                "https://a.example/v1/a%2Fb/%E2%82%AC%20c",
            ),
            (
                "https://a.example/v1",
                "",
                "/a;v=..;w/x..y/...",
                "https://a.example/v1/a;v=..;w/x..y/...",
            ),
            (
                "https://a.example/v1",
                "",
                "/100%",
                "https://a.example/v1/100%",
            ),
            ("https://a.example/v1", "", "//x", "https://a.example/v1//x"),
            (
                "https://a.example",
                "",
                "/x@evil.example:80/",
                "https://a.example/x@evil.example:80/",
            ),
            (
                "https://a.example",
                "",
                "/https://evil.example/",
                "https://a.example/https://evil.example/",
            ),
        ];
        for (upstream, prefix, asked, expected) in cases {
            let found = to(upstream, prefix).find(&asked.parse().unwrap());
            assert_eq!(
                found.map(|uri| uri.to_string()),
                Ok(expected.to_owned()),
                "{asked}"
            );
        }
    }

    #[test]
    fn no_spelling_of_a_path_leaves_what_is_allowed() {
        for (asked, reason) in [
            ("/", Astray::Elsewhere),
            ("/apix", Astray::Elsewhere),
            ("/API/x", Astray::Elsewhere),
            ("//api/x", Astray::Elsewhere),
            ("/%61pi/x", Astray::Elsewhere),
            ("/x/../api", Astray::Elsewhere),
            ("*", Astray::Elsewhere),
            ("evil.example:443", Astray::Unclear),
            ("/api/..", Astray::Unclear),
            ("/api/../admin", Astray::Unclear),
            ("/api/x/../../admin", Astray::Unclear),
            ("/api/./x", Astray::Unclear),
            ("/api/%2e%2e/admin", Astray::Unclear),
            ("/api/.%2E/admin", Astray::Unclear),
            ("/api/%252e%252e/admin", Astray::Unclear),
            ("/api/%25252e%25252e/admin", Astray::Unclear),
            ("/api/%2525252525252e/admin", Astray::Unclear),
            ("/api/..%2fadmin", Astray::Unclear),
            ("/api/x%2f..%2f..%2fadmin", Astray::Unclear),
            ("/api/..%5cadmin", Astray::Unclear),
            ("/api/..%255cadmin", Astray::Unclear),
            ("/api/..;/admin", Astray::Unclear),
            ("/api/..;x=y/admin", Astray::Unclear),
            ("/api/..%3b/admin", Astray::Unclear),
            ("/api/..%20/admin", Astray::Unclear),
            ("/api/%c0%ae%c0%ae/admin", Astray::Unclear),
            ("/api/%e0%80%ae%e0%80%ae/admin", Astray::Unclear),
            ("/api/..%3f/admin", Astray::Unclear),
            ("/api/..%23/admin", Astray::Unclear),
            ("/api/x%00", Astray::Unclear),
            ("/api/x%0d%0aHost:%20evil.example", Astray::Unclear),
            ("/api/.%09./x", Astray::Unclear),
            ("/api/%7f", Astray::Unclear),
            // With nothing before it, this would be a host to some readers.
            ("/api//evil.example/x", Astray::Unclear),
            ("/api/\\evil.example/x", Astray::Unclear),
        ] {
            let found = to("https://a.example", "/api").find(&asked.parse().unwrap());
            assert_eq!(found, Err(reason), "{asked}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_asked_an_independent_reader_finds_the_configured_origin_and_path(
            pieces in proptest::collection::vec(
                prop_oneof![
                    Just("/"), Just("//"), Just("."), Just(".."), Just("%2e"), Just("%2F"), Just("%5C"),
                    Just("%25"), Just("@"), Just(":"), Just("evil.example"), Just("http:"), Just("%0d%0a"),
                    Just("\\"), Just(";"), Just("?"), Just("#"), Just("%"), Just("x"), Just("/api"), Just("%00"),
                ],
                0..12,
            ),
            base in prop_oneof![Just(""), Just("/v1")],
        ) {
            let target = to(&format!("https://a.example:8443{base}"), "/api");
            for asked in [pieces.concat(), format!("/api{}", pieces.concat())] {
                let Ok(uri) = asked.parse::<Uri>() else { continue };
                let Ok(found) = target.find(&uri) else { continue };
                prop_assert_eq!(found.authority().map(Authority::as_str), Some("a.example:8443"));
                // The whole address, and its path alone as a reference: a reader that resolves either stays.
                let read = Url::parse(&found.to_string()).unwrap();
                let origin = Url::parse("https://a.example:8443").unwrap();
                let relative = origin.join(found.path()).unwrap();
                for read in [read, relative] {
                    prop_assert_eq!(read.origin(), origin.origin());
                    prop_assert!(read.path().starts_with(base), "{} {}", asked, read);
                    prop_assert!(read.username().is_empty());
                }
            }
        }
    }
}
