//! The access token in the `Authorization` field (RFC 6750 §2.1, grammar of RFC 9110 §11.4).

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};

use super::field_name::is_token_character;

/// The authentication scheme that presents a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// RFC 6750.
    Bearer,
    /// RFC 9449 §7.1: requires a DPoP proof.
    Dpop,
}

impl Scheme {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Bearer => "Bearer",
            Self::Dpop => "DPoP",
        }
    }
}

/// An access token as a request presents it. Shares the memory of the header field.
#[derive(Clone)]
pub(crate) struct PresentedToken {
    pub(crate) scheme: Scheme,
    value: HeaderValue,
    token_at: usize,
}

impl PresentedToken {
    /// Creates the credentials of a token that did not come with a request.
    pub(crate) fn without_request(token: &str) -> Result<Self, InvalidCredentials> {
        let value = HeaderValue::try_from(token).map_err(|_| InvalidCredentials)?;
        let presented = Self::bare(value);
        match presented.is_token68() {
            true => Ok(presented),
            false => Err(InvalidCredentials),
        }
    }

    pub(crate) fn token(&self) -> &str {
        // A `token68` is ASCII, and anything else is rejected.
        std::str::from_utf8(self.bytes()).unwrap_or_default()
    }

    /// Returns whether the token was not sent in `Authorization`, where a scheme precedes every token.
    pub(crate) fn is_elsewhere(&self) -> bool {
        self.token_at == 0
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.value
            .as_bytes()
            .get(self.token_at..)
            .unwrap_or_default()
    }

    /// Wraps a token that was sent without a scheme, such as in a cookie or a header field of its own.
    pub(crate) fn bare(value: HeaderValue) -> Self {
        Self {
            scheme: Scheme::Bearer,
            value,
            token_at: 0,
        }
    }

    /// Returns whether the token is exactly one `token68` (RFC 6750 §2.1).
    pub(crate) fn is_token68(&self) -> bool {
        is_token68(self.bytes())
    }
}

/// The credentials of a request.
pub(crate) enum Credentials {
    /// No credentials, or a scheme that another layer may handle, such as `Basic`.
    Absent,
    /// The syntax of the token is not checked yet.
    Token(PresentedToken),
    /// An access token with a scheme that is not accepted; contains the description for the log.
    Unsupported(&'static str),
}

/// The credentials are malformed, or there is more than one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the credentials are malformed, or there is more than one")]
pub(crate) struct InvalidCredentials;

/// Reads the credentials of a request.
///
/// Reads only the header field. A token in the query is not accepted: queries end up in logs and browser
/// histories (RFC 6750 §2.3, RFC 9700 §4.3.2). The scheme `DPoP` is accepted if `takes_dpop` is true.
pub(crate) fn read(
    headers: &HeaderMap,
    takes_dpop: bool,
) -> Result<Credentials, InvalidCredentials> {
    let mut lines = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = lines.next() else {
        return Ok(Credentials::Absent);
    };
    // Of several fields this service and an intermediary could read different ones (RFC 6750 §2, RFC 9110 §5.3).
    if lines.next().is_some() {
        return Err(InvalidCredentials);
    }
    let bytes = value.as_bytes();
    let scheme_length = scheme_length(bytes);
    let (scheme, rest) = bytes.split_at(scheme_length);
    // RFC 9110 §11.4: a space follows the scheme.
    if scheme.is_empty() || rest.first().is_some_and(|byte| *byte != b' ') {
        return Err(InvalidCredentials);
    }
    // The usual spelling first, because comparing without case takes longer.
    let scheme = if scheme == b"Bearer" || scheme.eq_ignore_ascii_case(b"Bearer") {
        Scheme::Bearer
    } else if takes_dpop && scheme.eq_ignore_ascii_case(b"DPoP") {
        Scheme::Dpop
    } else {
        return other_scheme(scheme, rest);
    };
    // RFC 6750 §2.1: at least one space, then the token and nothing else.
    let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
    Ok(Credentials::Token(PresentedToken {
        scheme,
        value: value.clone(),
        token_at: scheme_length + spaces,
    }))
}

/// Classifies credentials whose scheme is not accepted. If an access token were ignored, the request would be
/// treated as anonymous, or as authenticated by another credential that it also presents.
fn other_scheme(scheme: &[u8], rest: &[u8]) -> Result<Credentials, InvalidCredentials> {
    // Intermediaries join field lines with a comma (RFC 9110 §5.3), so this may be two credentials.
    let mut others = rest.split(|byte| *byte == b',').skip(1);
    if others.any(is_access_token) {
        return Err(InvalidCredentials);
    }
    if let Some(description) = token_scheme(scheme) {
        return Ok(Credentials::Unsupported(description));
    }
    // No registered scheme without parameters is this long or contains a dot, but tokens are.
    if rest.trim_ascii().is_empty() && (scheme.len() >= 20 || scheme.contains(&b'.')) {
        return Ok(Credentials::Unsupported("a token without a scheme"));
    }
    Ok(Credentials::Absent)
}

/// Returns whether an element of a list is an access token with its scheme.
fn is_access_token(part: &[u8]) -> bool {
    let part = part.trim_ascii();
    let (scheme, rest) = part.split_at(scheme_length(part));
    rest.first() == Some(&b' ') && token_scheme(scheme).is_some()
}

/// Returns the description for the log if this scheme presents access tokens.
fn token_scheme(scheme: &[u8]) -> Option<&'static str> {
    let is = |name: &&(&str, _)| scheme.eq_ignore_ascii_case(name.0.as_bytes());
    let listed = TOKEN_SCHEMES.iter().find(is).map(|(_, text)| *text);
    listed.or_else(|| is_misspelled_bearer(scheme).then_some("a misspelled scheme Bearer"))
}

/// Returns whether the scheme contains `bearer`, or differs from it in at most two characters.
fn is_misspelled_bearer(scheme: &[u8]) -> bool {
    const NAME: &[u8] = b"bearer";
    let scheme = scheme.to_ascii_lowercase();
    let has_name = scheme.windows(NAME.len()).any(|part| part == NAME);
    has_name || scheme.len().abs_diff(NAME.len()) <= 2 && distance(&scheme, NAME) <= 2
}

/// Returns the Levenshtein distance: the number of characters to insert, remove or replace.
fn distance(one: &[u8], other: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, byte) in one.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], at + 1);
        for (column, expected) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(byte != expected);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}

/// Schemes that present access tokens (RFC 9449, RFC 9635, RFC 5849, and drafts that products implement), with
/// their descriptions for the log.
const TOKEN_SCHEMES: [(&str, &str); 5] = [
    ("DPoP", "the scheme DPoP; BearerLayer::with_dpop accepts it"),
    ("GNAP", "the scheme GNAP"),
    ("PoP", "the scheme PoP"),
    ("MAC", "the scheme MAC"),
    ("OAuth", "the scheme OAuth"),
];

fn scheme_length(credentials: &[u8]) -> usize {
    // Fast path for the usual spelling.
    const BEARER: &[u8] = b"Bearer";
    if credentials.starts_with(BEARER) && credentials.get(BEARER.len()) == Some(&b' ') {
        return BEARER.len();
    }
    let characters = credentials.iter();
    characters
        .take_while(|byte| is_token_character(**byte))
        .count()
}

/// Returns whether a text is a `token68` (RFC 9110 §11.2).
pub(crate) fn is_token68(text: &[u8]) -> bool {
    let padding = text.iter().rev().take_while(|byte| **byte == b'=').count();
    let body = &text[..text.len() - padding];
    // Branch-free, so that the compiler vectorizes the loop.
    let (chunks, rest) = body.as_chunks::<16>();
    let mut valid = [true; 16];
    for chunk in chunks {
        for (valid, byte) in valid.iter_mut().zip(chunk) {
            *valid &= is_token68_character(*byte);
        }
    }
    !body.is_empty() && !valid.contains(&false) && rest.iter().copied().all(is_token68_character)
}

fn is_token68_character(byte: u8) -> bool {
    let letter = (byte | 0x20).wrapping_sub(b'a') < 26;
    // `-`, `.`, `/` and the digits are consecutive in ASCII.
    let digit = byte.wrapping_sub(b'-') < 13;
    letter | digit | (byte == b'_') | (byte == b'~') | (byte == b'+')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn token68_allows_its_alphabet_and_padding_only_at_the_end() {
        for byte in 0..=255_u8 {
            let expected = byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
            for length in [1, 5, 64, 200] {
                let mut text = vec![b'a'; length];
                text[length / 2] = byte;
                let alone = length == 1;
                let good = expected || (byte == b'=' && !alone && length / 2 == length - 1);
                assert_eq!(is_token68(&text), good, "{byte} in {length}");
            }
        }
        for (text, good) in [
            ("", false),
            ("=", false),
            ("a=", true),
            ("a==", true),
            ("a=a", false),
        ] {
            assert_eq!(is_token68(text.as_bytes()), good, "{text}");
        }
    }

    proptest! {
        #[test]
        fn parsing_is_total(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let mut headers = HeaderMap::new();
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                headers.insert(AUTHORIZATION, value);
                if let Ok(Credentials::Token(presented)) = read(&headers, true) {
                    let _ = presented.is_token68();
                }
            }
        }

        #[test]
        fn the_token_is_read_unchanged(
            scheme in "[Bb][Ee][Aa][Rr][Ee][Rr]",
            spaces in " {1,4}",
            sent in "[A-Za-z0-9._~+/-]{1,60}={0,2}",
        ) {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, format!("{scheme}{spaces}{sent}").parse().unwrap());
            let Ok(Credentials::Token(presented)) = read(&headers, false) else {
                return Err(TestCaseError::fail("rejected"));
            };
            prop_assert!(presented.is_token68());
            prop_assert_eq!(presented.token(), sent);
        }
    }
}
