//! The secret in the cookie of a session that is kept in a store.

use std::fmt;

use zeroize::Zeroizing;

use crate::crypto::base64url;
use crate::crypto::binding::Binding;
use crate::crypto::digest::sha256;
use crate::random::{Random, RandomError};
use crate::record::SessionId;

/// 256 random bits that only the browser has. The store has a digest of them.
#[derive(Clone)]
pub(crate) struct SessionSecret(Zeroizing<[u8; 32]>);

impl SessionSecret {
    pub(super) fn random(random: Random) -> Result<Self, RandomError> {
        Ok(Self(Zeroizing::new(random.bytes()?)))
    }

    /// Parses the value of a cookie. Returns `None` for a value that [`to_text`](Self::to_text) cannot
    /// produce.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let bytes = Zeroizing::new(base64url::decode(text)?);
        let secret = bytes.as_slice().try_into().ok()?;
        Some(Self(Zeroizing::new(secret)))
    }

    /// Returns the value of the cookie.
    pub(crate) fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(base64url::encode(&*self.0))
    }

    pub(super) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns the ID of the session, a digest of the secret and of the binding of the layer: at another
    /// layer the same secret has another ID, which does not exist.
    pub(super) fn id(&self, binding: Binding) -> SessionId {
        let mut input = Zeroizing::new(Vec::with_capacity(PREFIX.len() + 64));
        input.extend_from_slice(PREFIX);
        input.extend_from_slice(binding.as_bytes());
        input.extend_from_slice(&*self.0);
        let mut id = [0; 32];
        id.copy_from_slice(&sha256(&input));
        SessionId::new(id)
    }
}

impl fmt::Debug for SessionSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionSecret(..)")
    }
}

const PREFIX: &[u8] = b"tower-oauth session 2\0";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_43_characters_and_the_session_id_is_a_digest_of_it() {
        let secret = SessionSecret::random(Random::system()).unwrap();
        let text = secret.to_text();
        assert_eq!(text.len(), 43);
        let again = SessionSecret::parse(&text).unwrap();
        let here = Binding::new(&["here"]);
        assert_eq!(again.id(here), secret.id(here));
        assert_ne!(secret.id(here), secret.id(Binding::new(&["there"])));
        assert_ne!(secret.id(here).to_string(), *text);
        assert_eq!(format!("{secret:?}"), "SessionSecret(..)");
        for odd in [
            "",
            "x",
            &text[..42],
            &format!("{}A", *text),
            &"ü".repeat(20),
        ] {
            assert!(SessionSecret::parse(odd).is_none(), "{odd}");
        }
    }
}
