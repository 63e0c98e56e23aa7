//! `Cache-Control` and `Vary` of responses that depend on the caller (RFC 9111, RFC 9213).

use http::HeaderValue;
use http::header::{CACHE_CONTROL, HeaderMap, HeaderName, VARY};

/// Restricts the response to private caches. Directives that do not permit shared caching stay, such as `max-age`
/// and `no-store`. Returns whether the response permitted shared caching before.
pub(crate) fn make_private(headers: &mut HeaderMap) -> bool {
    remove_targeted(headers);
    if is_private(headers) {
        return false;
    }
    let shared = is_shared(headers);
    let mut kept = b"private".to_vec();
    for directive in headers.get_all(CACHE_CONTROL).iter().flat_map(elements) {
        // `private="set-cookie"` restricts only that field (RFC 9111 §5.2.2.7).
        if !["public", "private", "s-maxage"]
            .iter()
            .any(|name| is_named(directive, name))
        {
            kept.extend_from_slice(b", ");
            kept.extend_from_slice(directive);
        }
    }
    let value = HeaderValue::from_bytes(&kept).unwrap_or(HeaderValue::from_static("private"));
    headers.insert(CACHE_CONTROL, value);
    shared
}

/// Returns whether `Cache-Control` keeps the response out of shared caches and does not contradict itself.
pub(crate) fn is_private(headers: &HeaderMap) -> bool {
    lists_any(headers, &CACHE_CONTROL, &["private", "no-store"]) && !is_shared(headers)
}

fn is_shared(headers: &HeaderMap) -> bool {
    let mut directives = headers.get_all(CACHE_CONTROL).iter().flat_map(elements);
    directives.any(|one| is_named(one, "public") || is_named(one, "s-maxage"))
}

/// Removes the fields that shared caches read instead of `Cache-Control` (RFC 9213 §2.2): they override `private`
/// and `no-store`.
pub(crate) fn remove_targeted(headers: &mut HeaderMap) {
    let is_targeted = |name: &&HeaderName| {
        let name = name.as_str();
        name.ends_with("-cache-control") || SHARED_CACHE_FIELDS.contains(&name)
    };
    let targeted: Vec<_> = headers.keys().filter(is_targeted).cloned().collect();
    for name in targeted {
        headers.remove(name);
    }
}

const SHARED_CACHE_FIELDS: [&str; 3] = ["edge-control", "surrogate-control", "x-accel-expires"];

/// Adds a member to `Vary` unless it is already listed.
pub(crate) fn vary_by(headers: &mut HeaderMap, member: &HeaderValue) {
    if !lists_any(headers, &VARY, &["*", member.to_str().unwrap_or("*")]) {
        headers.append(VARY, member.clone());
    }
}

/// Returns whether a list field has one of `members`, ignoring case.
fn lists_any(headers: &HeaderMap, field: &HeaderName, members: &[&str]) -> bool {
    let mut elements = headers.get_all(field).iter().flat_map(elements);
    elements.any(|element| {
        let mut members = members.iter();
        members.any(|member| element.eq_ignore_ascii_case(member.as_bytes()))
    })
}

/// Returns the elements of a list (RFC 9110 §5.6.1). A comma inside a quoted string does not separate elements.
fn elements(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    let elements = value.as_bytes().split(move |byte| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' => return !quoted,
            _ => {}
        }
        false
    });
    elements
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
}

fn is_named(directive: &[u8], name: &str) -> bool {
    let found = directive.split(|byte| *byte == b'=').next();
    let found = found.unwrap_or_default().trim_ascii();
    found.eq_ignore_ascii_case(name.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_response_keeps_directives_that_do_not_permit_shared_caching() {
        for (sent, expected) in [
            (&[][..], "private"),
            (&["private"], "private"),
            (&["no-store"], "no-store"),
            (&["Private, max-age=60"], "Private, max-age=60"),
            (&["max-age=60"], "private, max-age=60"),
            (
                &["no-cache", "must-revalidate"],
                "private, no-cache, must-revalidate",
            ),
            (&["public, max-age=60"], "private, max-age=60"),
            (&["PUBLIC", "S-MaxAge=9, immutable"], "private, immutable"),
            (&["private, s-maxage=600"], "private"),
            (&["public, no-store"], "private, no-store"),
            (&["private=\"set-cookie\", max-age=1"], "private, max-age=1"),
            (
                &["ext=\"a, private, no-store\""],
                "private, ext=\"a, private, no-store\"",
            ),
            (
                &["ext=\"\\\", no-store\", public"],
                "private, ext=\"\\\", no-store\"",
            ),
            (&[" , ,max-age=1,"], "private, max-age=1"),
        ] {
            let mut headers = HeaderMap::new();
            for line in sent {
                headers.append(CACHE_CONTROL, HeaderValue::from_static(line));
            }
            make_private(&mut headers);
            assert_eq!(headers[CACHE_CONTROL], expected, "{sent:?}");
            assert_eq!(headers.get_all(CACHE_CONTROL).iter().count(), 1, "{sent:?}");
        }
    }

    #[test]
    fn a_member_of_vary_is_added_once() {
        for (sent, expected) in [
            (&[][..], &["cookie"][..]),
            (&["accept"], &["accept", "cookie"]),
            (&["Accept, Cookie"], &["Accept, Cookie"]),
            (&["*"], &["*"]),
            (&["x-cookie"], &["x-cookie", "cookie"]),
        ] {
            let mut headers = HeaderMap::new();
            for line in sent {
                headers.append(VARY, HeaderValue::from_static(line));
            }
            for _ in 0..2 {
                vary_by(&mut headers, &HeaderValue::from_static("cookie"));
            }
            let lines: Vec<_> = headers.get_all(VARY).iter().collect();
            assert_eq!(lines, expected, "{sent:?}");
        }
    }
}
