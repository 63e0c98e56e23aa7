//! The upstream of a relay: an origin and a path that are fixed at construction (RFC 10017
//! §6.1.3.6).

use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};
use url::Url;

use super::location::RelayedUrl;
use crate::config_error::ConfigError;
use crate::issuer::is_loopback;
use crate::protocol::AmbiguousPath;
use crate::protocol::request_target::find_ambiguity;

#[derive(Clone, Debug)]
pub(super) struct UpstreamTarget {
    scheme: Scheme,
    authority: Authority,
    /// The prefix of all upstream paths, without trailing slash.
    base: String,
    /// The prefix that is removed from request paths, without trailing slash.
    prefix: String,
}

/// Why a request is not forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TargetError {
    /// The path is not below the prefix.
    NotBelowPrefix,
    /// The upstream could read the path as another one.
    Ambiguous(AmbiguousPath),
}

impl UpstreamTarget {
    pub(super) fn new(upstream: &str) -> Result<Self, ConfigError> {
        let invalid = |reason| ConfigError::Url {
            setting: "upstream",
            value: upstream.to_owned(),
            reason,
        };
        let printable = |byte: u8| byte.is_ascii_graphic() && byte != b'\\';
        if !upstream.bytes().all(printable) {
            return Err(invalid(
                "it must be printable ASCII without spaces and backslashes",
            ));
        }
        let url = Url::parse(upstream).map_err(|_| invalid("it must be an absolute URL"))?;
        // RFC 6750 §5.3: the token is sent over TLS, or does not leave this machine.
        let scheme = match url.scheme() {
            "https" => Scheme::HTTPS,
            "http" if is_loopback(&url) => Scheme::HTTP,
            _ => return Err(invalid("it must be https, or http on a loopback host")),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(invalid("it must not have a user name or password"));
        }
        if upstream.contains(['?', '#']) {
            return Err(invalid("it must not have a query or fragment"));
        }
        let host = url.host_str().unwrap_or_default();
        let authority = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        let base = url.path().trim_end_matches('/');
        if !is_unambiguous(base) {
            return Err(invalid(
                "its path must be unambiguous: no encoded slashes or dots, dot segments, `;` or `//`",
            ));
        }
        Ok(Self {
            scheme,
            authority: Authority::try_from(authority)
                .map_err(|_| invalid("its host is not valid"))?,
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

    /// Returns the upstream URI of a request. Only the path below the prefix and the query are
    /// forwarded; a host in the request target is ignored.
    pub(super) fn find(&self, uri: &Uri) -> Result<Uri, TargetError> {
        let Some(requested) = uri.path_and_query() else {
            return Err(TargetError::Ambiguous(AmbiguousPath::NoPath));
        };
        let rest = self.below_prefix(requested.path());
        let rest = rest.ok_or(TargetError::NotBelowPrefix)?;
        let mut path = format!("{}{rest}", self.base);
        if path.is_empty() {
            path.push('/');
        }
        // Check the path as it is sent; the prefix and the base were checked at construction.
        if let Some(mapped) = find_ambiguity(&path) {
            return Err(TargetError::Ambiguous(mapped));
        }
        if let Some(query) = requested.query() {
            path.push('?');
            path.push_str(query);
        }
        let unusable = TargetError::Ambiguous(AmbiguousPath::Control);
        let path = PathAndQuery::try_from(path).map_err(|_| unusable)?;
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(path);
        Uri::from_parts(parts).map_err(|_| unusable)
    }
}

impl UpstreamTarget {
    /// Returns what a response of the upstream is mapped with. `outer` is the path of the request as
    /// browsers see it.
    pub(super) fn relayed_url(
        &self,
        upstream: &Uri,
        outer: &str,
        path: &str,
    ) -> Option<RelayedUrl> {
        RelayedUrl::new(upstream, &self.base, outer, self.below_prefix(path)?)
    }

    fn below_prefix<'a>(&self, path: &'a str) -> Option<&'a str> {
        let rest = path.strip_prefix(self.prefix.as_str())?;
        (rest.is_empty() || rest.starts_with('/')).then_some(rest)
    }
}

/// An upstream without a path adds nothing to check.
fn is_unambiguous(path: &str) -> bool {
    path.is_empty() || find_ambiguity(path).is_none()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn to(upstream: &str, prefix: &str) -> UpstreamTarget {
        let target = UpstreamTarget::new(upstream).unwrap();
        match prefix {
            "" => target,
            prefix => target.with_prefix(prefix).unwrap(),
        }
    }

    #[test]
    fn an_upstream_is_one_origin_over_tls_or_on_loopback() {
        for good in [
            "https://api.example.com",
            "https://api.example.com/",
            "https://api.example.com:8443/v1/",
            "http://127.0.0.1:4000",
            "http://[::1]:4000/v1",
            "http://localhost:4000",
        ] {
            assert!(UpstreamTarget::new(good).is_ok(), "{good}");
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
            let invalid = UpstreamTarget::new(bad);
            assert!(matches!(invalid, Err(ConfigError::Url { .. })), "{bad}");
        }
        for bad in [
            "", "/", "api", "//api", "/api?x", "/api/..", "/%2e%2e", "/a b",
        ] {
            let invalid = to("https://api.example.com", "").with_prefix(bad);
            assert!(matches!(invalid, Err(ConfigError::Setting { .. })), "{bad}");
        }
    }

    #[test]
    fn a_path_below_the_prefix_is_mapped_to_a_path_below_the_upstream() {
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
            // The host of an absolute request target is ignored.
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
            // Percent-encodings are kept.
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
        for (upstream, prefix, requested, expected) in cases {
            let mapped = to(upstream, prefix).find(&requested.parse().unwrap());
            assert_eq!(
                mapped.map(|uri| uri.to_string()),
                Ok(expected.to_owned()),
                "{requested}"
            );
        }
    }

    #[test]
    fn no_spelling_of_a_path_escapes_the_upstream_path() {
        for (requested, reason) in [
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
            // Without a prefix, some parsers would read this as a host.
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
            let mapped = to("https://a.example", "/api").find(&requested.parse().unwrap());
            let reason = reason.map_or(TargetError::NotBelowPrefix, TargetError::Ambiguous);
            assert_eq!(mapped, Err(reason), "{requested}");
        }
    }

    proptest! {
        #[test]
        fn an_independent_parser_finds_the_configured_origin_and_path_for_any_request(
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
            for requested in [pieces.concat(), format!("/api{}", pieces.concat())] {
                let Ok(uri) = requested.parse::<Uri>() else { continue };
                let Ok(mapped) = target.find(&uri) else { continue };
                prop_assert_eq!(mapped.authority().map(Authority::as_str), Some("a.example:8443"));
                // The whole URL, and its path as a relative reference: both must keep origin and
                // base.
                let read = Url::parse(&mapped.to_string()).unwrap();
                let origin = Url::parse("https://a.example:8443").unwrap();
                let relative = origin.join(mapped.path()).unwrap();
                for read in [read, relative] {
                    prop_assert_eq!(read.origin(), origin.origin());
                    prop_assert!(read.path().starts_with(base), "{} {}", requested, read);
                    prop_assert!(read.username().is_empty());
                }
            }
        }
    }
}
