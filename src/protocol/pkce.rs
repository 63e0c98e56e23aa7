//! Proof Key for Code Exchange (RFC 7636): syntax of the code challenge.
//!
//! Only the method `S256` is supported (RFC 9700 §2.1.1). The flow computes the digest.

use std::fmt;

/// `code_challenge_method`. Always sent, because the default is `plain` (RFC 7636 §4.3).
pub(crate) const CODE_CHALLENGE_METHOD: &str = "S256";

/// A code challenge: a SHA-256 digest in base64url (RFC 7636 §4.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CodeChallenge(Box<str>);

/// A code challenge has an invalid length or an invalid character.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a valid code challenge")]
pub(crate) struct InvalidPkce;

impl CodeChallenge {
    /// Parses 43 characters of base64url, the length of an `S256` challenge.
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidPkce> {
        let in_alphabet = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if text.len() == 43 && text.bytes().all(in_alphabet) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidPkce)
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CodeChallenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_example_of_rfc_7636_appendix_b_is_valid() {
        assert!(CodeChallenge::parse("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM").is_ok());
    }

    #[test]
    fn invalid_lengths_and_characters_are_rejected() {
        for length in [0, 42, 44] {
            let text = "a".repeat(length);
            assert_eq!(CodeChallenge::parse(&text), Err(InvalidPkce), "{length}");
        }
        for last in ['=', '+', '/', ' ', 'é', '\n'] {
            let text = format!("{}{last}", "a".repeat(42));
            assert_eq!(CodeChallenge::parse(&text), Err(InvalidPkce), "{last:?}");
        }
    }

    proptest! {
        #[test]
        fn parse_and_print_are_inverse(text in "[A-Za-z0-9_-]{43}") {
            prop_assert_eq!(CodeChallenge::parse(&text).unwrap().to_string(), text);
        }
    }
}
