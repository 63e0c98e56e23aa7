//! URLs in responses of the upstream, as paths of the relay.
//!
//! A URL is resolved first, as a browser does (RFC 9110 §10.2.2), and mapped only if the relay would
//! forward a request for the result: a script that follows any other URL leaves the relay.

use http::header::{CONTENT_LOCATION, HeaderMap, HeaderName, LOCATION};
use http::{HeaderValue, Uri};
use url::Url;

use crate::protocol::request_target::find_ambiguity;
use crate::protocol::sanitize::log_safe;

/// What a request was forwarded to, and where it came in.
#[derive(Clone, Debug)]
pub(super) struct RelayedUrl {
    /// The URL that was requested from the upstream. Few responses need it parsed.
    upstream: Uri,
    /// The path of the upstream that requests are forwarded below, without a slash at the end.
    base: String,
    /// The path of the relay as browsers see it, without a slash at the end.
    mount: String,
}

impl RelayedUrl {
    /// `outer` is the path of the request as browsers see it, `inner` the path that the relay
    /// forwards below `base`. Returns `None` if the one does not end with the other, because a
    /// service in between has changed the path.
    pub(super) fn new(upstream: &Uri, base: &str, outer: &str, inner: &str) -> Option<Self> {
        let mount = match outer.strip_suffix(inner) {
            Some(mount) => mount,
            // A nested router turns `/api` into `/`.
            None if inner == "/" => outer,
            None => return None,
        };
        Some(Self {
            upstream: upstream.clone(),
            base: base.to_owned(),
            mount: mount.trim_end_matches('/').to_owned(),
        })
    }

    /// Maps the URLs of a response. A foreign `Location` is an error, with the reason for the log;
    /// other fields with a foreign URL are removed.
    pub(super) fn rewrite(relayed: Option<&Self>, headers: &mut HeaderMap) -> Result<(), String> {
        for name in [
            LOCATION,
            CONTENT_LOCATION,
            OPERATION_LOCATION,
            ODATA_ENTITY_ID,
        ] {
            let mut values = headers.get_all(&name).iter();
            let (Some(value), more) = (values.next(), values.next()) else {
                continue;
            };
            let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
            let mapped = relayed
                .filter(|_| more.is_none())
                .and_then(|relayed| relayed.map(&text))
                .and_then(|path| HeaderValue::try_from(path).ok());
            match mapped {
                Some(path) => {
                    headers.insert(name, path);
                }
                None if name == LOCATION => {
                    return Err(relayed.map_or_else(
                        || PATH_CHANGED.to_owned(),
                        |relayed| relayed.describe(&text),
                    ));
                }
                None => {
                    headers.remove(name);
                }
            }
        }
        Ok(())
    }

    fn upstream(&self) -> Option<Url> {
        Url::parse(&self.upstream.to_string()).ok()
    }

    /// Describes a foreign URL for the log, without its query, fragment and credentials.
    fn describe(&self, location: &str) -> String {
        let origin = |url: &Url| url.origin().ascii_serialization();
        let upstream = self.upstream();
        let found = upstream.as_ref().and_then(|url| url.join(location).ok());
        let found = found.map_or_else(
            || "no URL".to_owned(),
            |url| format!("{}{}", origin(&url), url.path()),
        );
        let expected = upstream.as_ref().map_or_else(String::new, origin);
        let base = &self.base;
        log_safe(&format!(
            "found {found}, expected one URL below {expected}{base}"
        ))
    }

    fn map(&self, location: &str) -> Option<String> {
        if !location.bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        let upstream = self.upstream()?;
        let url = upstream.join(location).ok()?;
        let has_credentials = !url.username().is_empty() || url.password().is_some();
        if url.origin() != upstream.origin() || has_credentials {
            return None;
        }
        let below = url.path().strip_prefix(self.base.as_str())?;
        if !below.is_empty() && !below.starts_with('/') {
            return None;
        }
        let mut path = format!("{}{below}", self.mount);
        if path.is_empty() {
            path.push('/');
        }
        if find_ambiguity(&path).is_some() {
            return None;
        }
        let [query, fragment] = [("?", url.query()), ("#", url.fragment())]
            .map(|(mark, part)| part.map_or_else(String::new, |part| format!("{mark}{part}")));
        Some(path + &query + &fragment)
    }
}

const PATH_CHANGED: &str =
    "a service between the login layer and the relay changed the path, so no URL can be mapped";

const OPERATION_LOCATION: HeaderName = HeaderName::from_static("operation-location");
const ODATA_ENTITY_ID: HeaderName = HeaderName::from_static("odata-entityid");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_urls_below_the_upstream_become_paths_of_the_relay() {
        for (location, expected) in [
            ("/v1/orders/7", Some("/app/api/orders/7")),
            (
                "https://api.example.com/v1/orders/",
                Some("/app/api/orders/"),
            ),
            ("https://API.example.com:443/v1/x", Some("/app/api/x")),
            ("//api.example.com/v1/x", Some("/app/api/x")),
            ("7?a=%2F..#b", Some("/app/api/orders/7?a=%2F..#b")),
            ("?page=2", Some("/app/api/orders/?page=2")),
            ("..", Some("/app/api/")),
            ("/v1", Some("/app/api")),
            ("/v1/a/../b", Some("/app/api/b")),
            ("", Some("/app/api/orders/")),
            ("/v1x/orders", None),
            ("/orders", None),
            ("../..", None),
            ("/v1/../admin", None),
            ("/v1/%2e%2e/admin", None),
            ("/v1/..%2fadmin", None),
            ("/v1//evil.example", None),
            ("/v1/%2f/evil.example", None),
            ("/v1/;x", None),
            ("\\\\evil.example", None),
            ("//evil.example/v1/x", None),
            ("https://evil.example/v1/x", None),
            ("https://api.example.com.evil.example/v1/x", None),
            ("http://api.example.com/v1/x", None),
            ("https://api.example.com:8443/v1/x", None),
            ("https://user@api.example.com/v1/x", None),
            ("javascript:alert(1)", None),
            ("/v1/\u{ff0e}\u{ff0e}/x", None),
            ("/v1/a b", None),
            ("https://", None),
        ] {
            let upstream = Uri::from_static("https://api.example.com/v1/orders/");
            let relayed = RelayedUrl::new(&upstream, "/v1", "/app/api/orders/", "/orders/");
            let mapped = relayed.unwrap().map(location);
            assert_eq!(mapped.as_deref(), expected, "{location}");
        }
    }

    #[test]
    fn the_path_of_the_relay_is_what_browsers_see_before_the_forwarded_path() {
        for (outer, inner, expected) in [
            ("/api/orders", "/orders", Some("/api/x")),
            ("/api", "/", Some("/api/x")),
            ("/api/", "/", Some("/api/x")),
            ("/api", "", Some("/api/x")),
            ("/orders", "/orders", Some("/x")),
            ("/", "/", Some("/x")),
            ("/api/orders", "/items", None),
        ] {
            let upstream = Uri::from_static("https://api.example.com/orders");
            let relayed = RelayedUrl::new(&upstream, "", outer, inner);
            let mapped = relayed.and_then(|relayed| relayed.map("/x"));
            assert_eq!(mapped.as_deref(), expected, "{outer} {inner}");
        }
    }
}
