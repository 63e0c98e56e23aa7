//! The access token in the `Authorization` field, RFC 6750 §2.1 with the grammar of RFC 9110 §11.4.

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};

use super::field_name::is_token_character;

/// How a token is presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// RFC 6750.
    Bearer,
    /// RFC 9449 §7.1: with a proof of possession beside it.
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

/// A token in the field it came in: no copy of it is made.
#[derive(Clone)]
pub(crate) struct Presented {
    pub(crate) scheme: Scheme,
    value: HeaderValue,
    token_at: usize,
}

impl Presented {
    pub(crate) fn token(&self) -> &str {
        // The token was read as ASCII before this was made.
        std::str::from_utf8(self.bytes()).unwrap_or_default()
    }

    /// Whether it came from elsewhere than `Authorization`, where a scheme precedes every token.
    pub(crate) fn is_elsewhere(&self) -> bool {
        self.token_at == 0
    }

    fn bytes(&self) -> &[u8] {
        self.value
            .as_bytes()
            .get(self.token_at..)
            .unwrap_or_default()
    }
}

/// One thing where a token should be; whether it can be one was not looked at yet.
pub(crate) struct Found(Presented);

impl Found {
    /// What came without a scheme, in a place of its own.
    pub(crate) fn bare(value: HeaderValue) -> Self {
        Self(Presented {
            scheme: Scheme::Bearer,
            value,
            token_at: 0,
        })
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.bytes()
    }

    /// Exactly one token68 (`C1`).
    pub(crate) fn checked(self) -> Result<Presented, InvalidCredentials> {
        if is_token68(self.bytes()) {
            Ok(self.0)
        } else {
            Err(InvalidCredentials)
        }
    }

    /// Whether it came from elsewhere than `Authorization`, where a scheme precedes every token.
    pub(crate) fn is_elsewhere(&self) -> bool {
        self.0.is_elsewhere()
    }

    /// For bytes that are known, every one of them, as those of a good token.
    pub(crate) fn known(self) -> Presented {
        self.0
    }
}

/// What a request presents.
pub(crate) enum Credentials {
    /// Nothing, or a scheme that another layer may own, such as `Basic` (`C4`).
    Absent,
    Token(Found),
    /// An access token by a scheme that is not accepted here; says which.
    Unsupported(&'static str),
}

/// Credentials that cannot be read, or that are there twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the credentials cannot be read, or there is more than one")]
pub(crate) struct InvalidCredentials;

/// Reads the credentials of a request. Only the header is looked at: a token in the query is in logs
/// and histories by then (`C3`).
///
/// The scheme `DPoP` is one of ours where `takes_dpop` says so.
pub(crate) fn read(
    headers: &HeaderMap,
    takes_dpop: bool,
) -> Result<Credentials, InvalidCredentials> {
    let mut lines = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = lines.next() else {
        return Ok(Credentials::Absent);
    };
    // Taking the first of two would let an intermediary that takes the last see another (`C2`).
    if lines.next().is_some() {
        return Err(InvalidCredentials);
    }
    let bytes = value.as_bytes();
    let scheme_length = scheme_length(bytes);
    let (scheme, rest) = bytes.split_at(scheme_length);
    // Whatever the scheme, what follows it is set off by a space.
    if scheme.is_empty() || rest.first().is_some_and(|byte| *byte != b' ') {
        return Err(InvalidCredentials);
    }
    let scheme = if scheme.eq_ignore_ascii_case(b"Bearer") {
        Scheme::Bearer
    } else if takes_dpop && scheme.eq_ignore_ascii_case(b"DPoP") {
        Scheme::Dpop
    } else {
        return other_scheme(scheme, rest);
    };
    // One space at least, then the token and nothing else (`C1`).
    let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
    Ok(Credentials::Token(Found(Presented {
        scheme,
        value: value.clone(),
        token_at: scheme_length + spaces,
    })))
}

/// What a scheme presents that is not accepted here. An access token that is ignored would make the request
/// anonymous, or one of the session beside it.
fn other_scheme(scheme: &[u8], rest: &[u8]) -> Result<Credentials, InvalidCredentials> {
    // Intermediaries join field lines with a comma (RFC 9110 §5.3), so these are two credentials.
    let mut others = rest.split(|byte| *byte == b',').skip(1);
    if others.any(is_access_token) {
        return Err(InvalidCredentials);
    }
    if let Some(found) = token_scheme(scheme) {
        return Ok(Credentials::Unsupported(found));
    }
    // No scheme that makes sense without parameters is as long, or has a dot in it.
    if rest.trim_ascii().is_empty() && (scheme.len() >= 20 || scheme.contains(&b'.')) {
        return Ok(Credentials::Unsupported("a token without a scheme"));
    }
    Ok(Credentials::Absent)
}

/// Whether a part of a list is an access token with its scheme.
fn is_access_token(part: &[u8]) -> bool {
    let part = part.trim_ascii();
    let (scheme, rest) = part.split_at(scheme_length(part));
    rest.first() == Some(&b' ') && token_scheme(scheme).is_some()
}

/// What a scheme that presents access tokens is called in the log.
fn token_scheme(scheme: &[u8]) -> Option<&'static str> {
    let is = |name: &&(&str, _)| scheme.eq_ignore_ascii_case(name.0.as_bytes());
    let known = TOKEN_SCHEMES.iter().find(is).map(|(_, found)| *found);
    known.or_else(|| is_nearly_bearer(scheme).then_some("a scheme that is nearly Bearer"))
}

/// Has the name in it, or differs from it in at most two places.
fn is_nearly_bearer(scheme: &[u8]) -> bool {
    const NAME: &[u8] = b"bearer";
    let scheme = scheme.to_ascii_lowercase();
    let has_name = scheme.windows(NAME.len()).any(|part| part == NAME);
    has_name || scheme.len().abs_diff(NAME.len()) <= 2 && distance(&scheme, NAME) <= 2
}

/// How many characters have to be inserted, removed or replaced (Levenshtein).
fn distance(one: &[u8], other: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, byte) in one.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], at + 1);
        for (column, wanted) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(byte != wanted);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}

/// Schemes that present access tokens: RFC 9449, RFC 9635, RFC 5849, and drafts that became part of products.
const TOKEN_SCHEMES: [(&str, &str); 5] = [
    ("DPoP", "the scheme DPoP; BearerLayer::with_dpop accepts it"),
    ("GNAP", "the scheme GNAP"),
    ("PoP", "the scheme PoP"),
    ("MAC", "the scheme MAC"),
    ("OAuth", "the scheme OAuth"),
];

fn scheme_length(credentials: &[u8]) -> usize {
    // What nearly all send.
    const USUAL: &[u8] = b"Bearer";
    if credentials.starts_with(USUAL) && credentials.get(USUAL.len()) == Some(&b' ') {
        return USUAL.len();
    }
    let characters = credentials.iter();
    characters
        .take_while(|byte| is_token_character(**byte))
        .count()
}

/// `token68` of RFC 9110 §11.2.
fn is_token68(text: &[u8]) -> bool {
    let padding = text.iter().rev().take_while(|byte| **byte == b'=').count();
    let body = &text[..text.len() - padding];
    // Without a branch for each byte, so that the compiler looks at many together.
    let (pieces, rest) = body.as_chunks::<16>();
    let mut good = [true; 16];
    for piece in pieces {
        for (good, byte) in good.iter_mut().zip(piece) {
            *good &= is_token68_character(*byte);
        }
    }
    !body.is_empty() && !good.contains(&false) && rest.iter().copied().all(is_token68_character)
}

fn is_token68_character(byte: u8) -> bool {
    let letter = (byte | 0x20).wrapping_sub(b'a') < 26;
    // `-`, `.`, `/` and the digits stand in a row.
    let digit = byte.wrapping_sub(b'-') < 13;
    letter | digit | (byte == b'_') | (byte == b'~') | (byte == b'+')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn token68_has_its_alphabet_and_padding_only_at_its_end() {
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
        fn any_field_value_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let mut headers = HeaderMap::new();
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                headers.insert(AUTHORIZATION, value);
                if let Ok(Credentials::Token(found)) = read(&headers, true) {
                    let _ = found.checked();
                }
            }
        }

        #[test]
        fn a_token_comes_out_as_it_was_put_in(
            scheme in "[Bb][Ee][Aa][Rr][Ee][Rr]",
            spaces in " {1,4}",
            sent in "[A-Za-z0-9._~+/-]{1,60}={0,2}",
        ) {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, format!("{scheme}{spaces}{sent}").parse().unwrap());
            let Ok(Credentials::Token(found)) = read(&headers, false) else {
                return Err(TestCaseError::fail("refused"));
            };
            let presented = found.checked().unwrap();
            prop_assert_eq!(presented.token(), sent);
        }
    }
}
