//! Which URL a request is for, as the client wrote it: `htu` (RFC 9449 §4.3).
//!
//! Scheme, host and port come from the configuration alone. What a request says of its host, in whatever
//! field, is the caller's word, and a proof made for another host would then fit (`C15`).

use super::normal_url::{normal_path, normalise};
use crate::ConfigError;
use crate::issuer::is_loopback;

/// Where clients reach this server, normalised, without a slash at the end.
#[derive(Clone, Debug)]
pub(super) struct Base(Box<str>);

/// The URL of one request, normalised, without query and fragment.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target(String);

impl Base {
    pub(super) fn new(url: &str) -> Result<Self, ConfigError> {
        let refuse = |reason| {
            Err(ConfigError::Url {
                setting: "external base URL",
                value: url.to_owned(),
                reason,
            })
        };
        let Ok(parsed) = url::Url::parse(url) else {
            return refuse("it is not a URL");
        };
        match parsed.scheme() {
            "https" => {}
            "http" if is_loopback(&parsed) => {}
            _ => return refuse("it must be https, or http on a loopback host"),
        }
        if url.contains(['?', '#', '@']) {
            return refuse("it must have no query, no fragment and no user name");
        }
        // The reader above forgives turned slashes, spaces, and spells names in ASCII that are not.
        let Some(normal) = normalise(url).filter(|_| !url.contains('\\')) else {
            return refuse("it must be written out in full, in ASCII and without backslash");
        };
        Ok(Self(normal.trim_end_matches('/').into()))
    }

    /// The URL of a request for this path; `None` for what is no path, as in `OPTIONS *`.
    pub(super) fn target(&self, path: &str) -> Option<Target> {
        if !path.starts_with('/') {
            return None;
        }
        // Dot segments go first: none of them climbs over the base.
        Some(Target(format!("{}{}", self.0, normal_path(path)?)))
    }
}

impl Target {
    /// Whether `htu` names this URL, whatever query and fragment it has (`D9`).
    pub(super) fn is_named_by(&self, htu: &str) -> bool {
        normalise(htu).is_some_and(|htu| htu == self.0)
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
    fn urls_of_one_place_have_one_spelling() {
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
            assert_eq!(normalise(url).as_deref(), normal, "{url}");
        }
    }

    #[test]
    fn a_base_is_an_origin_and_perhaps_a_prefix() {
        for (base, path, target) in [
            ("https://a.example", "/", "https://a.example/"),
            ("https://A.example/", "/x", "https://a.example/x"),
            ("https://a.example/api", "/x", "https://a.example/api/x"),
            ("https://a.example/api/", "/", "https://a.example/api/"),
            ("https://a.example/api", "/../x", "https://a.example/api/x"),
            ("https://a.example:443", "//x", "https://a.example//x"),
            ("http://localhost:3000", "/x", "http://localhost:3000/x"),
        ] {
            let target_of = Base::new(base).unwrap().target(path).unwrap();
            assert_eq!(target_of.as_str(), target, "{base} {path}");
        }
        assert_eq!(Base::new("https://a.example").unwrap().target("*"), None);
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
            assert!(Base::new(base).is_err(), "{base}");
        }
    }

    proptest! {
        #[test]
        fn normalising_twice_is_normalising_once(path in "(/|\\.|\\.\\.|%2[eEfF]|%4[0-9a-f]|[a-c]|%7[eE]){0,24}") {
            let url = format!("https://a.example/{path}");
            let once = normalise(&url).unwrap();
            prop_assert_eq!(normalise(&once), Some(once.clone()));
        }

        #[test]
        fn any_text_is_a_url_or_none(text in "\\PC{0,60}") {
            let _ = normalise(&text);
            let _ = Base::new("https://a.example").unwrap().target(&text);
        }
    }
}
