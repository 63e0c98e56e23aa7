//! Where requests go: an origin and a path that are fixed when the relay is made (RFC 10017 §6.1.3.6).

use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};
use url::Url;

use crate::config_error::ConfigError;
use crate::issuer::is_loopback;
use crate::protocol::AmbiguousPath;
use crate::protocol::request_target::find_ambiguity;

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
    /// A service behind could read its path as another one.
    Ambiguous(AmbiguousPath),
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
        if !is_unambiguous(base) {
            return Err(refused(
                "its path must not have encoded slashes or dots, dot segments, `;`, `//` and the like",
            ));
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
        if !is_path || !is_unambiguous(name) || name.is_empty() {
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
            return Err(Astray::Ambiguous(AmbiguousPath::NoPath));
        };
        let rest = asked.path().strip_prefix(self.prefix.as_str());
        let rest = rest.ok_or(Astray::Elsewhere)?;
        if !rest.is_empty() && !rest.starts_with('/') {
            return Err(Astray::Elsewhere);
        }
        let mut path = format!("{}{rest}", self.base);
        if path.is_empty() {
            path.push('/');
        }
        // As it is sent on: the prefix and the base were checked when they were set.
        if let Some(found) = find_ambiguity(&path) {
            return Err(Astray::Ambiguous(found));
        }
        if let Some(query) = asked.query() {
            path.push('?');
            path.push_str(query);
        }
        let unusable = Astray::Ambiguous(AmbiguousPath::Control);
        let path = PathAndQuery::try_from(path).map_err(|_| unusable)?;
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(path);
        Uri::from_parts(parts).map_err(|_| unusable)
    }
}

/// Below an upstream without a path there is nothing to check.
fn is_unambiguous(path: &str) -> bool {
    path.is_empty() || find_ambiguity(path).is_none()
}

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
                "/a%3Ab/%E2%82%AC%20c",
                "https://a.example/v1/a%3Ab/%E2%82%AC%20c",
            ),
            (
                "https://a.example/v1",
                "",
                "/x..y/...",
                "https://a.example/v1/x..y/...",
            ),
            (
                "https://a.example/v1",
                "",
                "/100%25",
                "https://a.example/v1/100%25",
            ),
            (
                "https://a.example",
                "",
                "/x@evil.example:80/",
                "https://a.example/x@evil.example:80/",
            ),
            (
                "https://a.example",
                "",
                "/https:/evil.example/?u=https://evil.example/",
                "https://a.example/https:/evil.example/?u=https://evil.example/",
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
            ("/", None),
            ("/apix", None),
            ("/API/x", None),
            ("//api/x", None),
            ("/%61pi/x", None),
            ("/x/../api", None),
            ("*", None),
            ("evil.example:443", Some(AmbiguousPath::NoPath)),
            ("/api/..", Some(AmbiguousPath::DotSegment)),
            ("/api/../admin", Some(AmbiguousPath::DotSegment)),
            ("/api/x/../../admin", Some(AmbiguousPath::DotSegment)),
            ("/api/./x", Some(AmbiguousPath::DotSegment)),
            ("/api/%2e%2e/admin", Some(AmbiguousPath::DotSegment)),
            ("/api/.%2E/admin", Some(AmbiguousPath::DotSegment)),
            ("/api/%252e%252e/admin", Some(AmbiguousPath::DoubleEncoding)),
            (
                "/api/%25252e%25252e/admin",
                Some(AmbiguousPath::DoubleEncoding),
            ),
            (
                "/api/%2525252525252e/admin",
                Some(AmbiguousPath::DoubleEncoding),
            ),
            ("/api/..%2fadmin", Some(AmbiguousPath::DotSegment)),
            ("/api/x%2f..%2f..%2fadmin", Some(AmbiguousPath::DotSegment)),
            ("/api/..%5cadmin", Some(AmbiguousPath::DotSegment)),
            ("/api/..%255cadmin", Some(AmbiguousPath::DoubleEncoding)),
            ("/api/..;/admin", Some(AmbiguousPath::DotSegment)),
            ("/api/..;x=y/admin", Some(AmbiguousPath::DotSegment)),
            ("/api/..%3b/admin", Some(AmbiguousPath::DotSegment)),
            ("/api/..%20/admin", Some(AmbiguousPath::DotSegment)),
            ("/api/%c0%ae%c0%ae/admin", Some(AmbiguousPath::OverlongUtf8)),
            (
                "/api/%e0%80%ae%e0%80%ae/admin",
                Some(AmbiguousPath::OverlongUtf8),
            ),
            ("/api/..%3f/admin", Some(AmbiguousPath::DotSegment)),
            ("/api/..%23/admin", Some(AmbiguousPath::DotSegment)),
            ("/api/x%00", Some(AmbiguousPath::Control)),
            (
                "/api/x%0d%0aHost:%20evil.example",
                Some(AmbiguousPath::Control),
            ),
            ("/api/.%09./x", Some(AmbiguousPath::Control)),
            ("/api/%7f", Some(AmbiguousPath::Control)),
            // With nothing before it, this would be a host to some readers.
            ("/api//evil.example/x", Some(AmbiguousPath::EmptySegment)),
            ("/api/\\", Some(AmbiguousPath::Backslash)),
            ("/api/\\evil.example/x", Some(AmbiguousPath::Backslash)),
            ("/api/%2fevil.example/x", Some(AmbiguousPath::EncodedSlash)),
            ("/api/%5Cevil.example/x", Some(AmbiguousPath::Backslash)),
            (
                "/api/%255cevil.example/x",
                Some(AmbiguousPath::DoubleEncoding),
            ),
            ("/api/%u002e%u002e/admin", Some(AmbiguousPath::PercentU)),
            (
                "/api/\u{ff0e}\u{ff0e}/admin",
                Some(AmbiguousPath::LookAlike),
            ),
            ("/api/x%EF%BC%8Fadmin", Some(AmbiguousPath::LookAlike)),
            ("/api/a%2Fb", Some(AmbiguousPath::EncodedSlash)),
            ("/api/a;v=1", Some(AmbiguousPath::PathParameter)),
            ("/api/x//y", Some(AmbiguousPath::EmptySegment)),
            ("/api/100%", Some(AmbiguousPath::MalformedEscape)),
        ] {
            let found = to("https://a.example", "/api").find(&asked.parse().unwrap());
            let reason = reason.map_or(Astray::Elsewhere, Astray::Ambiguous);
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
