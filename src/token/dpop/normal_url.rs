//! URL normalization (RFC 3986 §6.2.2, §6.2.3).

use std::borrow::Cow;
use std::fmt::Write as _;

/// Normalizes an absolute http or https URL and removes its query and fragment.
///
/// The result has scheme and host in lower case, no default port, percent-encoding in upper case and only if it is
/// required, no dot segments, and `/` instead of an empty path. Returns `None` if the URL is not valid.
pub(super) fn normalize(url: &str) -> Option<String> {
    if !url.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    let (scheme, rest) = url.split_once("://")?;
    let default_port = match scheme.to_ascii_lowercase().as_str() {
        "https" => 443,
        "http" => 80,
        _ => return None,
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    let path = rest.split(['?', '#']).next().unwrap_or_default();
    // A user name can make a URL look like one of another host.
    if authority.contains('@') {
        return None;
    }
    // An IPv6 address contains colons, in brackets.
    let (host, port) = match authority.rfind(':') {
        Some(colon) if !authority[colon..].contains(']') => {
            (&authority[..colon], &authority[colon + 1..])
        }
        _ => (authority, ""),
    };
    if host.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let port: u16 = if port.is_empty() {
        default_port
    } else {
        port.parse().ok()?
    };
    let mut normal = format!("{scheme}://{host}").to_ascii_lowercase();
    if port != default_port {
        let _ = write!(normal, ":{port}");
    }
    normal.push_str(&normalize_path(path)?);
    Some(normal)
}

/// Normalizes a path. Returns `None` for invalid percent-encoding and for characters other than printable ASCII.
pub(super) fn normalize_path(path: &str) -> Option<String> {
    if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    Some(without_dot_segments(&with_normalized_escapes(path)?))
}

/// RFC 3986 §6.2.2.1 and §6.2.2.2: decodes unreserved characters and writes other escapes in upper case. `%2F` is not
/// decoded: it is data in a segment, not a separator.
fn with_normalized_escapes(path: &str) -> Option<Cow<'_, str>> {
    if !path.contains('%') {
        return Some(Cow::Borrowed(path));
    }
    let mut normal = String::with_capacity(path.len());
    let mut pieces = path.split('%');
    normal.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        let (digits, rest) = piece.split_at_checked(2)?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let byte = char::from(u8::from_str_radix(digits, 16).ok()?);
        if byte.is_ascii_alphanumeric() || "-._~".contains(byte) {
            normal.push(byte);
        } else {
            let _ = write!(normal, "%{}", digits.to_ascii_uppercase());
        }
        normal.push_str(rest);
    }
    Some(Cow::Owned(normal))
}

/// Removes dot segments (RFC 3986 §5.2.4) from a path that is empty or begins with a slash. Empty segments are kept.
fn without_dot_segments(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                // A final dot segment leaves a trailing slash.
                if segments.peek().is_none() {
                    kept.push("");
                }
            }
            _ => kept.push(segment),
        }
    }
    format!("/{}", kept.join("/"))
}
