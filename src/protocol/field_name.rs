//! Names of header fields, as those read them who cannot tell them apart.

use http::header::{TE, TRAILER};
use http::{HeaderMap, HeaderName, HeaderValue};

/// The one spelling of all names that a reader behind may take for the same: CGI and the like make one
/// variable of `X-User`, `x_user` and `X.User`.
pub(crate) fn folded(name: &str) -> String {
    name.bytes().map(fold).map(char::from).collect()
}

/// Removes the field of this folded name in every spelling.
pub(crate) fn remove_spellings(headers: &mut HeaderMap, folded_name: &str) {
    let is_spelling = |name: &&HeaderName| name.as_str().bytes().map(fold).eq(folded_name.bytes());
    let names: Vec<_> = headers.keys().filter(is_spelling).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

fn fold(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() {
        byte.to_ascii_lowercase()
    } else {
        b'-'
    }
}

/// Whether a folded name is one of `names`: folded names, and prefixes if they end with `-`.
pub(crate) fn is_one_of<N: AsRef<str>>(names: &[N], folded_name: &str) -> bool {
    names.iter().map(AsRef::as_ref).any(|name| {
        if name.ends_with('-') {
            folded_name.starts_with(name)
        } else {
            folded_name == name
        }
    })
}

/// Removes every field whose folded name is unwanted.
pub(crate) fn remove(headers: &mut HeaderMap, is_unwanted: impl Fn(&HeaderName, &str) -> bool) {
    let unwanted: Vec<_> = headers
        .keys()
        .filter(|name| is_unwanted(name, &folded(name.as_str())))
        .cloned()
        .collect();
    for name in unwanted {
        headers.remove(name);
    }
}

/// Removes from a list of field names, such as `Connection`, the members whose folded name is unwanted.
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

/// Whether `Trailer` or `TE` names a field whose folded name is unwanted.
///
/// `Trailer` announces fields that follow the body (RFC 9110 §6.6.2). `TE` lists transfer codings, and `trailers`
/// for those of the *response* (§10.1.4): a field name in it has no purpose. Every token counts, wherever
/// it stands in the field, since readers do not agree on malformed lists.
pub(crate) fn announces_trailer(headers: &HeaderMap, is_unwanted: impl Fn(&str) -> bool) -> bool {
    [TRAILER, TE].iter().any(|field| {
        let lines = headers.get_all(field).iter();
        lines
            .flat_map(|line| tokens(line.as_bytes()))
            .any(|name| is_unwanted(&name))
    })
}

/// The tokens of RFC 9110 §5.6.2 in a field value, folded.
fn tokens(value: &[u8]) -> impl Iterator<Item = String> {
    value
        .split(|byte| !is_token_character(*byte))
        .filter_map(|token| std::str::from_utf8(token).ok())
        .filter(|token| !token.is_empty())
        .map(folded)
}

/// `tchar` of RFC 9110 §5.6.2.
pub(crate) fn is_token_character(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
