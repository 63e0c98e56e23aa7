//! The URL that the `htu` of a proof must match (RFC 9449 §4.3 (9)).
//!
//! Scheme, host and port come from the configuration. `Host` and forwarding headers are controlled by the client: if
//! they were used, a proof made for another host would be accepted.

use super::normal_url::{normalize, normalize_path};
use crate::ConfigError;
use crate::issuer::is_loopback;

/// The normalized base URL of this server, without a trailing slash.
#[derive(Clone, Debug)]
pub(super) struct BaseUrl(Box<str>);

/// The normalized URL of a request, without query and fragment.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ProofTarget(String);

impl BaseUrl {
    pub(super) fn new(url: &str) -> Result<Self, ConfigError> {
        let reject = |reason| {
            Err(ConfigError::Url {
                setting: "external base URL",
                value: url.to_owned(),
                reason,
            })
        };
        let Ok(parsed) = url::Url::parse(url) else {
            return reject("it is not a URL");
        };
        match parsed.scheme() {
            "https" => {}
            "http" if is_loopback(&parsed) => {}
            _ => return reject("it must be https, or http on a loopback host"),
        }
        if url.contains(['?', '#', '@']) {
            return reject("it must have no query, no fragment and no user name");
        }
        // `url::Url` also accepts backslashes and spaces, and converts host names to ASCII.
        let Some(normal) = normalize(url).filter(|_| !url.contains('\\')) else {
            return reject("it must be an absolute URL in ASCII, without backslash");
        };
        Ok(Self(normal.trim_end_matches('/').into()))
    }

    /// Returns the URL of a request for this path, or `None` if it is not a path, as in `OPTIONS *`.
    pub(super) fn target(&self, path: &str) -> Option<ProofTarget> {
        if !path.starts_with('/') {
            return None;
        }
        // Dot segments are removed before joining, so that none removes a segment of the base.
        Some(ProofTarget(format!("{}{}", self.0, normalize_path(path)?)))
    }
}

impl ProofTarget {
    /// Returns whether `htu` is this URL after normalization. Query and fragment are ignored.
    pub(super) fn matches(&self, htu: &str) -> bool {
        normalize(htu).is_some_and(|htu| htu == self.0)
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn equivalent_urls_have_the_same_normal_form() {
        for (url, normal) in [
            ("https://a.example", Some("https://a.example/")),
            (
                "HTTPS://A.Example:443/a%7eb?x#y",
                Some("https://a.example/a~b"),
            ),
            ("https://a.example:/x", Some("https://a.example/x")),
            ("https://a.example:0443/x", Some("https://a.example/x")),
            ("https://a.example:8443", Some("https://a.example:8443/")),
            ("http://[::1]:80/x", Some("http://[::1]/x")),
            ("http://[::1]:8080/x", Some("http://[::1]:8080/x")),
            // RFC 3986 §5.2.4 and §6.2.2.
            ("https://a/a/b/c/./../../g", Some("https://a/a/g")),
            ("https://a/mid/content=5/../6", Some("https://a/mid/6")),
            ("https://a/b/c/%7Bfoo%7d", Some("https://a/b/c/%7Bfoo%7D")),
            (
                "https://a/./b/../b/%63/%7bfoo%7d",
                Some("https://a/b/c/%7Bfoo%7D"),
            ),
            ("https://a/b/..", Some("https://a/")),
            ("https://a/b/.", Some("https://a/b/")),
            ("https://a/../../b", Some("https://a/b")),
            ("https://a/%2e%2E/b", Some("https://a/b")),
            ("https://a//b", Some("https://a//b")),
            ("https://a/b%2fc", Some("https://a/b%2Fc")),
            ("https://a/B", Some("https://a/B")),
            ("https://a?x", Some("https://a/")),
            ("https://a#x", Some("https://a/")),
            ("https:///x", None),
            ("https://:443/x", None),
            ("https://user@a/x", None),
            ("https://a@/x", None),
            ("https://a:x/", None),
            ("https://a:65536/", None),
            ("https://a:+443/", None),
            ("https://a/%", None),
            ("https://a/%4", None),
            ("https://a/%+1", None),
            ("https://a/\u{e9}", None),
            ("https://a/ b", None),
            ("https://a/\n", None),
            ("ftp://a/", None),
            ("//a/x", None),
            ("/x", None),
            ("https:a", None),
            ("", None),
        ] {
            assert_eq!(normalize(url).as_deref(), normal, "{url}");
        }
    }

    #[test]
    fn a_base_url_is_an_origin_with_an_optional_path() {
        for (base, path, target) in [
            ("https://a.example", "/", "https://a.example/"),
            ("https://A.example/", "/x", "https://a.example/x"),
            ("https://a.example/api", "/x", "https://a.example/api/x"),
            ("https://a.example/api/", "/", "https://a.example/api/"),
            ("https://a.example/api", "/../x", "https://a.example/api/x"),
            ("https://a.example:443", "//x", "https://a.example//x"),
            ("http://localhost:3000", "/x", "http://localhost:3000/x"),
        ] {
            let target_of = BaseUrl::new(base).unwrap().target(path).unwrap();
            assert_eq!(target_of.as_str(), target, "{base} {path}");
        }
        assert_eq!(BaseUrl::new("https://a.example").unwrap().target("*"), None);
        for base in [
            "",
            "a.example",
            "/api",
            "http://a.example",
            "https://u@a.example",
            "https://a.example?x",
            "https://a.example#x",
            "https:a.example",
            "https:\\\\a.example",
            "https://a.example\\x",
            "https://b\u{fc}cher.example",
            " https://a.example",
            "https://a.example:99999",
            "ftp://a.example",
            "https://a.example/%zz",
        ] {
            assert!(BaseUrl::new(base).is_err(), "{base}");
        }
    }

    proptest! {
        #[test]
        fn normalization_is_idempotent(path in "(/|\\.|\\.\\.|%2[eEfF]|%4[0-9a-f]|[a-c]|%7[eE]){0,24}") {
            let url = format!("https://a.example/{path}");
            let once = normalize(&url).unwrap();
            prop_assert_eq!(normalize(&once), Some(once.clone()));
        }

        #[test]
        fn no_text_makes_normalization_panic(text in "\\PC{0,60}") {
            let _ = normalize(&text);
            let _ = BaseUrl::new("https://a.example").unwrap().target(&text);
        }
    }
}
