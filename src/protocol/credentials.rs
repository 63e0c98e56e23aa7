//! The access token in the `Authorization` field, RFC 6750 §2.1 with the grammar of RFC 9110 §11.4.

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};

/// What a request presents.
#[derive(Debug, PartialEq)]
pub(crate) enum Credentials<'a> {
    /// Nothing, or a scheme that is not ours (`C4`).
    Absent,
    /// A token; it begins at `token_at` in the field's value.
    Bearer {
        value: &'a HeaderValue,
        token: &'a str,
        token_at: usize,
    },
}

/// Credentials that cannot be read, or that are there twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the credentials cannot be read, or there is more than one")]
pub(crate) struct InvalidCredentials;

/// Reads the credentials of a request. Only the header is looked at: a token in the query is in logs
/// and histories by then (`C3`).
pub(crate) fn read(headers: &HeaderMap) -> Result<Credentials<'_>, InvalidCredentials> {
    let mut lines = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = lines.next() else {
        return Ok(Credentials::Absent);
    };
    // Taking the first of two would let an intermediary that takes the last see another (`C2`).
    if lines.next().is_some() {
        return Err(InvalidCredentials);
    }
    let bytes = value.as_bytes();
    let scheme_length = bytes
        .iter()
        .take_while(|byte| is_token_character(**byte))
        .count();
    let (scheme, rest) = bytes.split_at(scheme_length);
    // Whatever the scheme, what follows it is set off by a space.
    if scheme.is_empty() || rest.first().is_some_and(|byte| *byte != b' ') {
        return Err(InvalidCredentials);
    }
    if !scheme.eq_ignore_ascii_case(b"Bearer") {
        return Ok(Credentials::Absent);
    }
    // One space at least, then one token68 and nothing else (`C1`).
    let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
    let token = &rest[spaces..];
    let token = std::str::from_utf8(token).map_err(|_| InvalidCredentials)?;
    if !is_token68(token.as_bytes()) {
        return Err(InvalidCredentials);
    }
    Ok(Credentials::Bearer {
        value,
        token,
        token_at: scheme_length + spaces,
    })
}

/// `tchar` of RFC 9110 §5.6.2.
fn is_token_character(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// `token68` of RFC 9110 §11.2.
fn is_token68(text: &[u8]) -> bool {
    let body = text
        .iter()
        .take_while(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(byte))
        .count();
    body > 0 && text[body..].iter().all(|byte| *byte == b'=')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_field_value_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let mut headers = HeaderMap::new();
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                headers.insert(AUTHORIZATION, value);
                let _ = read(&headers);
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
            let Ok(Credentials::Bearer { token, .. }) = read(&headers) else {
                return Err(TestCaseError::fail("refused"));
            };
            prop_assert_eq!(token, sent);
        }
    }
}
