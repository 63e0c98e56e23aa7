//! `application/x-www-form-urlencoded` in queries and bodies (RFC 6749 Appendix B).
//!
//! Parsed as browsers do: `+` is a space, and a `%` that does not start an escape is kept. If decoded text is
//! not UTF-8, parsing fails. Replacement characters are never inserted, because another parser would read a
//! different value.

use std::borrow::Cow;

use url::form_urlencoded::byte_serialize;

/// Maximum length in bytes. Hyper does not accept longer URIs either.
const MAX_TEXT: usize = 64 * 1024;

const MAX_PAIRS: usize = 128;

/// A text is not a valid form: decoded it is not UTF-8, or it exceeds a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidForm {
    #[error("not UTF-8")]
    NotUtf8,
    #[error("too long")]
    TooLong,
}

/// Parses the pairs in order, including repeated names. Accepts at most 64 KiB and 128 pairs.
pub(crate) fn parse(text: &str) -> Result<Vec<(String, String)>, InvalidForm> {
    if text.len() > MAX_TEXT {
        return Err(InvalidForm::TooLong);
    }
    let mut pairs = Vec::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        if pairs.len() == MAX_PAIRS {
            return Err(InvalidForm::TooLong);
        }
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        pairs.push((decode(name)?, decode(value)?));
    }
    Ok(pairs)
}

/// Serializes pairs in order, spaces as `+`.
pub(crate) fn encode<N, V>(pairs: impl IntoIterator<Item = (N, V)>) -> String
where
    N: AsRef<str>,
    V: AsRef<str>,
{
    let mut text = String::new();
    for (name, value) in pairs {
        if !text.is_empty() {
            text.push('&');
        }
        text.extend(byte_serialize(name.as_ref().as_bytes()));
        text.push('=');
        text.extend(byte_serialize(value.as_ref().as_bytes()));
    }
    text
}

/// Serializes one name or value, as `client_secret_basic` requires for client id and secret (RFC 6749 §2.3.1).
pub(crate) fn encode_component(component: &str) -> String {
    byte_serialize(component.as_bytes()).collect()
}

fn decode(component: &str) -> Result<String, InvalidForm> {
    let mut bytes = Cow::Borrowed(component.as_bytes());
    if component.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        bytes = Cow::Owned(unescape(component.as_bytes()));
    }
    String::from_utf8(bytes.into_owned()).map_err(|_| InvalidForm::NotUtf8)
}

fn unescape(component: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(component.len());
    let mut rest = component;
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (first, tail) {
            (b'+', _) => bytes.push(b' '),
            (b'%', [high, low, tail @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    bytes.push(high << 4 | low);
                    rest = tail;
                }
                _ => bytes.push(b'%'),
            },
            _ => bytes.push(*first),
        }
    }
    bytes
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_example_of_rfc_6749_appendix_b_is_encoded() {
        assert_eq!(encode_component(" %&+£€"), "+%25%26%2B%C2%A3%E2%82%AC");
    }

    #[test]
    fn queries_are_parsed_as_browsers_serialize_them() {
        for (text, expected) in [
            ("", &[][..]),
            ("a=1&b=2", &[("a", "1"), ("b", "2")]),
            ("&&a=1&", &[("a", "1")]),
            ("a", &[("a", "")]),
            ("=1", &[("", "1")]),
            ("a=1=2", &[("a", "1=2")]),
            ("return%5fto=%2Fx+y", &[("return_to", "/x y")]),
            (
                "a=100%&b=%zz&c=%4",
                &[("a", "100%"), ("b", "%zz"), ("c", "%4")],
            ),
            ("a=1&a=2", &[("a", "1"), ("a", "2")]),
        ] {
            let pairs = parse(text).unwrap();
            let pairs: Vec<_> = pairs
                .iter()
                .map(|(n, v)| (n.as_str(), v.as_str()))
                .collect();
            assert_eq!(pairs, expected, "{text}");
        }
    }

    #[test]
    fn invalid_utf8_and_long_forms_are_rejected() {
        assert_eq!(parse("a=%ff%fe"), Err(InvalidForm::NotUtf8));
        assert_eq!(parse("%c3=1"), Err(InvalidForm::NotUtf8));
        assert_eq!(parse(&"a".repeat(MAX_TEXT + 1)), Err(InvalidForm::TooLong));
        assert_eq!(
            parse(&"a&".repeat(MAX_PAIRS + 1)),
            Err(InvalidForm::TooLong)
        );
    }

    proptest! {
        #[test]
        fn parse_and_encode_are_inverse(
            pairs in prop::collection::vec((any::<String>(), any::<String>()), 0..8),
        ) {
            // A pair without a name and without a value is serialized as `=`, which is still a pair.
            prop_assert_eq!(parse(&encode(pairs.clone())).unwrap(), pairs);
        }

        #[test]
        fn parsing_is_total(text in any::<String>()) {
            let _ = parse(&text);
        }
    }
}
