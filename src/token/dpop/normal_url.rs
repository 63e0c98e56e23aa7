//! One spelling for all URLs of one place (RFC 3986 §6.2).

use std::borrow::Cow;
use std::fmt::Write as _;

/// An absolute http URL without query and fragment, in the one spelling that RFC 3986 §6.2.2 and §6.2.3
/// make of it: scheme and host in lower case, no default port, escapes only where they are needed and in
/// upper case, no dot segments, a path of one slash where it is empty.
pub(super) fn normalise(url: &str) -> Option<String> {
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
    // A user name before the host is no part of a place, and a way to show another one.
    if authority.contains('@') {
        return None;
    }
    // An IPv6 address has colons of its own, within brackets.
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
    normal.push_str(&normal_path(path)?);
    Some(normal)
}

/// `None` for an escape that is none, and for anything but printable ASCII.
pub(super) fn normal_path(path: &str) -> Option<String> {
    if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    Some(without_dot_segments(&with_normal_escapes(path)?))
}

/// RFC 3986 §6.2.2.1 and §6.2.2.2: an escaped letter is the letter, and all other escapes are in upper
/// case. `%2F` stays what it is: a slash in a segment, not between two.
fn with_normal_escapes(path: &str) -> Option<Cow<'_, str>> {
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

/// RFC 3986 §5.2.4, for a path that is empty or begins with a slash. Empty segments are segments.
fn without_dot_segments(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                // A dot segment at the end leaves a slash there.
                if segments.peek().is_none() {
                    kept.push("");
                }
            }
            _ => kept.push(segment),
        }
    }
    format!("/{}", kept.join("/"))
}
