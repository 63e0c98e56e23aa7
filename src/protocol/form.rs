//! `application/x-www-form-urlencoded`, as RFC 6749 Appendix B uses it in queries and bodies.
//!
//! Read as browsers write it: `+` is a space, and a `%` that starts no escape stands for itself. Text
//! that is not UTF-8 once decoded is an error, never replaced: two readers would otherwise see two values.

use std::borrow::Cow;

use url::form_urlencoded::byte_serialize;

/// More than any request or answer of the flow needs; hyper takes no longer URI either.
const MAX_TEXT: usize = 64 * 1024;

const MAX_PAIRS: usize = 128;

/// Text that is no form: not UTF-8 once decoded, or beyond the limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidForm {
    #[error("not UTF-8")]
    NotUtf8,
    #[error("too long")]
    TooLong,
}

/// Reads the pairs in their order, repeated names included; at most 64 KiB and 128 pairs.
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

/// Prints pairs in their order, spaces as `+`.
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

/// Prints one name or value, as the halves of `client_secret_basic` are (RFC 6749 §2.3.1).
pub(crate) fn encode_word(word: &str) -> String {
    byte_serialize(word.as_bytes()).collect()
}

fn decode(word: &str) -> Result<String, InvalidForm> {
    let mut bytes = Cow::Borrowed(word.as_bytes());
    if word.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        bytes = Cow::Owned(unescape(word.as_bytes()));
    }
    String::from_utf8(bytes.into_owned()).map_err(|_| InvalidForm::NotUtf8)
}

fn unescape(word: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word;
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
    fn the_six_characters_of_the_appendix_are_printed_as_it_says() {
        assert_eq!(encode_word(" %&+£€"), "+%25%26%2B%C2%A3%E2%82%AC");
    }

    #[test]
    fn queries_are_read_as_browsers_write_them() {
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
    fn what_is_not_utf8_or_too_long_is_refused() {
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
        fn parse_and_print_are_inverse(
            pairs in prop::collection::vec((any::<String>(), any::<String>()), 0..8),
        ) {
            // A pair without a name and without a value prints as `=`, which is still a pair.
            prop_assert_eq!(parse(&encode(pairs.clone())).unwrap(), pairs);
        }

        #[test]
        fn any_text_is_a_form_or_an_error(text in any::<String>()) {
            let _ = parse(&text);
        }
    }
}
