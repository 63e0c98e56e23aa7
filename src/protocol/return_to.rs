//! Validation of redirect targets within the application, against open redirects (RFC 9700 §4.11).
//!
//! A target is a path on the origin of the application. An invalid target is dropped, never repaired: an attacker
//! could choose an input whose repaired form leads elsewhere.

use url::Url;

use super::request_target::percent_decode;

/// Maximum length of a target in bytes.
pub(crate) const MAX_RETURN_TO: usize = 2048;

/// Returns `value` unchanged if a browser that is redirected to it stays on the origin of `base` and does not
/// reach one of `own_routes`, which would cause a redirect loop.
pub(crate) fn check_return_to<'a>(
    value: &'a str,
    base: &Url,
    own_routes: &[&str],
) -> Option<&'a str> {
    if value.len() > MAX_RETURN_TO || !value.bytes().all(is_plain) || !is_rooted(value.as_bytes()) {
        return None;
    }
    let target = resolve(base, value)?;

    // An inner service may decode the path once before it redirects or routes. The decoded path must stay on the
    // origin as well.
    let path = value.split(['?', '#']).next().unwrap_or_default();
    let decoded = percent_decode(path.as_bytes());
    if !is_rooted(&decoded) || decoded.iter().any(u8::is_ascii_control) {
        return None;
    }
    let decoded_target = resolve(base, &String::from_utf8_lossy(&decoded))?;

    let is_own = |path: &[u8]| {
        own_routes
            .iter()
            .any(|own| same_route(path, own.as_bytes()))
    };
    let is_own_route = [&target, &decoded_target].into_iter().any(|url| {
        let path = url.path().as_bytes();
        is_own(path) || is_own(&percent_decode(path))
    });
    (!is_own_route).then_some(value)
}

/// Returns whether a byte is visible ASCII and not a backslash, which browsers treat as a slash.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b'\\'
}

/// Returns whether a text is an absolute path and not a network-path reference: `//host` and `/\host` lead to
/// another origin (RFC 3986 §4.2).
fn is_rooted(path: &[u8]) -> bool {
    path.first() == Some(&b'/') && !matches!(path.get(1), Some(b'/' | b'\\'))
}

/// Returns whether an intermediary could treat two paths as the same: with different case, with duplicate slashes
/// or with path parameters (RFC 3986 §3.3).
fn same_route(path: &[u8], route: &[u8]) -> bool {
    let segments = |path| {
        <[u8]>::split(path, |&byte| byte == b'/' || byte == b'\\')
            .filter_map(|segment| segment.split(|&byte| byte == b';').next())
            .filter(|segment| !segment.is_empty())
            .map(<[u8]>::to_ascii_lowercase)
    };
    segments(path).eq(segments(route))
}

/// Resolves a target as a browser does. Removing dot segments can yield a path that starts with `//`.
fn resolve(base: &Url, value: &str) -> Option<Url> {
    let url = base.join(value).ok()?;
    let stays = url.origin() == base.origin() && !url.path().starts_with("//");
    stays.then_some(url)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OWN: [&str; 3] = ["/auth/login", "/auth/callback", "/auth/logout"];

    fn base() -> Url {
        Url::parse("https://shop.example.com/auth/callback").unwrap()
    }

    fn decode(text: &str) -> String {
        String::from_utf8_lossy(&percent_decode(text.as_bytes())).into_owned()
    }

    fn check(value: &str) -> Option<&str> {
        check_return_to(value, &base(), &OWN)
    }

    #[test]
    fn valid_targets_are_returned_unchanged() {
        for value in [
            "/",
            "/account",
            "/account/",
            "/a/b/c.html",
            "/?",
            "/#",
            "/?q=1&r=2",
            "/search?q=a+b&next=https://other.example/x//y?z=1#top",
            "/search?next=%2F%2Fother.example",
            "/search?q=a%0Ab%5C",
            "/search?q=//evil.example",
            "/p#//evil.example",
            "/p#section-2",
            "/a//b",
            "/a//b//",
            "/a/../b",
            "/./a",
            "/a/%2e%2e/b",
            "/a%20b",
            "/a%2Fb",
            "/a%2f%2fb",
            "/caf%C3%A9",
            "/%E2%82%AC",
            "/%25",
            "/%zz",
            "/100%",
            "/@me",
            "/~user",
            "/a:b",
            "/:8080",
            "/a;v=1",
            "/(x)!*'$,",
            "/{id}|^`\"<>",
            "/auth",
            "/auth/",
            "/auth/session",
            "/auth/loginx",
            "/auth/login/more",
            "/login",
            "/x?y=/auth/login",
            "/javascript:alert(1)",
            "/https://evil.example",
        ] {
            assert_eq!(check(value), Some(value), "{value}");
        }
        let longest = format!("/{}", "a".repeat(MAX_RETURN_TO - 1));
        assert_eq!(check(&longest), Some(longest.as_str()));
        assert_eq!(check(&format!("{longest}a")), None);
    }

    /// Combines all prefixes with all hosts. Each payload must be rejected, or stay on the origin when decoded.
    #[test]
    fn no_payload_leaves_the_origin() {
        let hosts = [
            "evil.example",
            "evil.example:443",
            "evil.example%00",
            "shop.example.com@evil.example",
            "shop.example.com%40evil.example",
            "shop.example.com.evil.example",
            "xn--80ak6aa92e.com",
            "\u{0430}pple.com",
            "127.1",
            "[::1]",
            "2130706433",
            "evil%E3%80%82example",
            "evil.example/%2e%2e",
            "evil.example#@shop.example.com",
            "evil.example?shop.example.com",
        ];
        let prefixes = [
            "//",
            "///",
            "////",
            "/\\",
            "\\/",
            "\\\\",
            "/\\/",
            "\\",
            "/\t/",
            "/\n/",
            "/\r/",
            "\t//",
            " //",
            "//\t",
            "/ /",
            "/%09/",
            "/%0a/",
            "/%0d/",
            "/%0D%0A/",
            "/%00/",
            "/%2f",
            "/%2F",
            "/%5c",
            "/%5C",
            "/%2f%2f",
            "/%5c%5c",
            "/%2f/",
            "/./",
            "/.//",
            "/../",
            "/..//",
            "/a/..//",
            "/a/../..//",
            "/%2e//",
            "/%2e%2e//",
            "/.%2f/",
            "/..%2f/",
            "/a%2f..%2f/",
            "/a/..%2f%2f",
            "/%2e%2f%2f",
            "/.%5c/",
            "/a/..%5c%5c",
            "/a%5c..%5c%5c",
            "https:",
            "https:/",
            "https://",
            "HTTPS://",
            "http://",
            "https:\\\\",
            "ht\ttps://",
            "javascript:",
            "data:text/html,",
            "ftp://",
            "ws://",
            "blob:https://",
            "file://",
            "//user:pw@",
            "https://shop.example.com@",
            "https://shop.example.com:443@",
            "%2f%2f",
            "%2f",
            ".//",
            "..//",
            "a//",
            "",
            "?//",
            "#//",
            "\u{2f}\u{2f}",
            "\u{ff0f}\u{ff0f}",
            "/\u{ff0f}",
            "/\u{2044}",
            "/\u{0}/",
            "/\u{7f}/",
            "/\u{b}/",
            "/\u{85}/",
            "/\u{a0}/",
            "/\u{feff}/",
            "/\u{2028}/",
        ];
        // These stay on the origin; `%2f` does when decoded.
        let harmless = ["/./", "/../", "%2f"];
        for prefix in prefixes {
            for host in hosts {
                let payload = format!("{prefix}{host}");
                let decoded = decode(&payload);
                for text in [payload, decoded] {
                    let Some(target) = check(&text) else {
                        continue;
                    };
                    assert!(harmless.contains(&prefix), "{text:?}");
                    let url = base().join(target).unwrap();
                    assert_eq!(url.origin(), base().origin(), "{text:?}");
                    let once = base().join(&decode(target)).unwrap();
                    assert_eq!(once.origin(), base().origin(), "{text:?}");
                }
            }
        }
    }

    #[test]
    fn targets_that_are_not_absolute_paths_are_rejected() {
        for value in [
            "",
            " ",
            " /",
            "/ ",
            "a",
            "a/b",
            "?a",
            "#a",
            ".",
            "..",
            "/a\\b",
            "/a b",
            "/a\tb",
            "/a\nb",
            "/a\rb",
            "/a\u{0}b",
            "/a\u{7f}",
            "/caf\u{e9}",
            "/a%00",
            "/a%0a",
            "/a%0D%0ASet-Cookie:x",
            "/%7f",
            "*",
            "https://shop.example.com/",
            "//shop.example.com/",
            "mailto:a@b",
        ] {
            assert_eq!(check(value), None, "{value:?}");
        }
    }

    #[test]
    fn own_routes_are_rejected_in_all_spellings() {
        for value in [
            "/auth/login",
            "/auth/login/",
            "/auth/login?return_to=/auth/login",
            "/auth/callback?code=1&state=2",
            "/auth/logout#x",
            "/AUTH/Login",
            "/auth/./login",
            "/auth/x/../login",
            "/x/%2e%2e/auth/login",
            "/auth/%6cogin",
            "/auth%2flogin",
            "/auth%2Flogout",
            "/auth%5clogin",
            "/auth/x/..%2flogin",
            "/./auth/callback",
            "/auth//login",
            "/auth/.//logout//",
            "/auth/login;jsessionid=1",
            "/auth;a=b/login",
            "/auth/%3B/login",
        ] {
            assert_eq!(check(value), None, "{value}");
        }
        let mut nested = "/auth/login".to_owned();
        for _ in 0..1000 {
            nested = format!("/auth/login?return_to={nested}");
        }
        assert_eq!(check(&nested), None);
    }

    proptest! {
        #[test]
        fn an_accepted_target_stays_on_the_origin_and_is_a_valid_header_value(
            value in r"/[/\\%a-f0-9.:@?#;\t\n -~]{0,24}",
        ) {
            if let Some(target) = check(&value) {
                prop_assert_eq!(target, &value);
                prop_assert_eq!(base().join(target).unwrap().origin(), base().origin());
                let header = http::HeaderValue::from_str(target).unwrap();
                prop_assert_eq!(header.as_bytes(), target.as_bytes());
                let path = target.split(['?', '#']).next().unwrap();
                prop_assert_eq!(base().join(&decode(path)).unwrap().origin(), base().origin());
            }
        }

        #[test]
        fn checking_is_total(value in "\\PC*") {
            let _ = check(&value);
        }
    }
}
