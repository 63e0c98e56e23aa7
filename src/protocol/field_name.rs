//! Names of header fields, compared as readers compare them that do not distinguish all spellings.

use http::header::{TE, TRAILER};
use http::{HeaderMap, HeaderName, HeaderValue};

/// Returns the normalized name, which all spellings share that an inner service may not distinguish: CGI maps
/// `X-User`, `x_user` and `X.User` to one variable (RFC 3875 §4.1.18).
pub(crate) fn normalize_header_name(name: &str) -> String {
    name.bytes().map(normalize).map(char::from).collect()
}

/// Removes the field with this normalized name in all spellings.
pub(crate) fn remove_spellings(headers: &mut HeaderMap, normalized: &str) {
    let is_spelling =
        |name: &&HeaderName| name.as_str().bytes().map(normalize).eq(normalized.bytes());
    let names: Vec<_> = headers.keys().filter(is_spelling).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

fn normalize(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() {
        byte.to_ascii_lowercase()
    } else {
        b'-'
    }
}

/// Returns whether a normalized name matches one of `names`: normalized names, or prefixes that end with `-`.
pub(crate) fn is_one_of<N: AsRef<str>>(names: &[N], normalized: &str) -> bool {
    names.iter().map(AsRef::as_ref).any(|name| {
        if name.ends_with('-') {
            normalized.starts_with(name)
        } else {
            normalized == name
        }
    })
}

/// Removes all fields whose normalized name is unwanted.
pub(crate) fn remove(headers: &mut HeaderMap, is_unwanted: impl Fn(&HeaderName, &str) -> bool) {
    let unwanted: Vec<_> = headers
        .keys()
        .filter(|name| is_unwanted(name, &normalize_header_name(name.as_str())))
        .cloned()
        .collect();
    for name in unwanted {
        headers.remove(name);
    }
}

/// Removes the members whose normalized name is unwanted from a list of field names, such as `Connection`.
pub(crate) fn remove_members(
    headers: &mut HeaderMap,
    field: &HeaderName,
    is_unwanted: impl Fn(&str) -> bool,
) {
    let lines = headers.get_all(field).iter();
    let members = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let (unwanted, others): (Vec<_>, Vec<_>) =
        members.partition(|member| tokens(member).any(|name| is_unwanted(&name)));
    if unwanted.is_empty() {
        return;
    }
    let others = HeaderValue::from_bytes(&others.join(&b","[..]));
    headers.remove(field);
    if let Some(others) = others.ok().filter(|others| !others.is_empty()) {
        headers.insert(field, others);
    }
}

/// Returns whether `Trailer` or `TE` names a field whose normalized name is unwanted.
///
/// `Trailer` announces fields that follow the body (RFC 9110 §6.6.2). `TE` lists transfer codings, and `trailers`
/// for those of the *response* (§10.1.4): a field name in it has no purpose. All tokens of the field are
/// compared, whatever their position, since parsers disagree on malformed lists.
pub(crate) fn announces_trailer(headers: &HeaderMap, is_unwanted: impl Fn(&str) -> bool) -> bool {
    [TRAILER, TE].iter().any(|field| {
        let lines = headers.get_all(field).iter();
        lines
            .flat_map(|line| tokens(line.as_bytes()))
            .any(|name| is_unwanted(&name))
    })
}

/// Returns the tokens of a field value (RFC 9110 §5.6.2), normalized.
fn tokens(value: &[u8]) -> impl Iterator<Item = String> {
    value
        .split(|byte| !is_token_character(*byte))
        .filter_map(|token| std::str::from_utf8(token).ok())
        .filter(|token| !token.is_empty())
        .map(normalize_header_name)
}

/// Returns whether a byte is a `tchar` (RFC 9110 §5.6.2).
pub(crate) fn is_token_character(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
