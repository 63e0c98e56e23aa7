//! The keys that seal cookies: where they come from and how they are rotated.

use std::fmt;

use zeroize::Zeroizing;

use super::digest::sha256;
use super::key_text;
use super::seal::SealingKey;
use crate::config_error::ConfigError;

/// The key that seals the cookies of a [`LoginLayer`](crate::LoginLayer), and older ones that may
/// still open them.
///
/// At least 32 bytes that nobody can guess, the same on every machine that serves the application.
/// Whoever holds the key can make a session for any user: keep it where the client secret is kept.
///
/// To rotate: put the new key first and keep the old one behind it until the sessions sealed with it
/// have ended (8 hours by default), as in `COOKIE_KEY=new,old` or with [`add_previous`](Self::add_previous).
/// A session is sealed with the new key the next time it is written.
///
/// ```
/// use tower_oauth::CookieKey;
///
/// let key = CookieKey::generate()?;
/// assert_eq!(format!("{key:?}"), "CookieKey(..)");
/// assert!(CookieKey::from_bytes(b"too short").is_err());
/// # Ok::<_, tower_oauth::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct CookieKey {
    /// The first seals; all open (`L41`).
    ring: Vec<SealingKey>,
}

impl CookieKey {
    /// Takes 32 or more bytes of key material, as they come out of a random generator.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Secret`] for fewer than 32 bytes.
    pub fn from_bytes(material: &[u8]) -> Result<Self, ConfigError> {
        key_text::check_length(SETTING, material)?;
        Ok(Self {
            ring: vec![SealingKey::derive(material)],
        })
    }

    /// Reads the environment variable `name`: 32 or more bytes in base64 (either alphabet, padded or
    /// not) or in hexadecimal, as `openssl rand -base64 32` prints them.
    ///
    /// Several keys are separated by commas: the first seals, the others only open. A passphrase is
    /// refused, since what one can remember another can guess.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Secret`] when the variable is missing or holds anything else. The message never
    /// repeats the value.
    pub fn from_env(name: &str) -> Result<Self, ConfigError> {
        let value = key_text::from_env(SETTING, name)?;
        Self::from_text(&value)
    }

    /// The same from a text that came some other way, from a mounted file for example.
    ///
    /// # Errors
    ///
    /// As [`from_env`](Self::from_env).
    pub fn from_text(text: &str) -> Result<Self, ConfigError> {
        let keys = key_text::read(SETTING, text)?;
        let ring = keys
            .iter()
            .map(|material| SealingKey::derive(material))
            .collect();
        Ok(Self { ring })
    }

    /// A key that lives as long as this process: every restart signs everybody out, and no two
    /// machines share it. Good for tests and first steps.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Secret`] when the operating system gives no randomness.
    pub fn generate() -> Result<Self, ConfigError> {
        let material = key_text::generate(SETTING)?;
        Self::from_bytes(&*material)
    }

    /// Adds a key that no longer seals but still opens what it sealed.
    #[must_use]
    pub fn add_previous(mut self, previous: Self) -> Self {
        self.ring.extend(previous.ring);
        self
    }

    #[cfg(test)]
    pub(super) fn of_ring(ring: Vec<SealingKey>) -> Self {
        Self { ring }
    }

    pub(super) fn ring(&self) -> &[SealingKey] {
        &self.ring
    }
}

impl fmt::Debug for CookieKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CookieKey(..)")
    }
}

impl SealingKey {
    /// The key and its id come from the material by digests with different prefixes, so that neither
    /// tells the other.
    fn derive(material: &[u8]) -> Self {
        let mut key = Zeroizing::new([0; 32]);
        key.copy_from_slice(&prefixed(b"tower-oauth cookie key 1\0", material));
        let mut root = Zeroizing::new([0; 32]);
        root.copy_from_slice(&prefixed(b"tower-oauth ticket root 1\0", material));
        let mut id = [0; 4];
        id.copy_from_slice(&prefixed(b"tower-oauth cookie key id 1\0", material)[..4]);
        Self::new(id, &key, root)
    }
}

fn prefixed(prefix: &[u8], material: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut input = Zeroizing::new(Vec::with_capacity(prefix.len() + material.len()));
    input.extend_from_slice(prefix);
    input.extend_from_slice(material);
    Zeroizing::new(sha256(&input))
}

const SETTING: &str = "cookie key";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::base64url;

    #[test]
    fn a_key_is_32_bytes_in_base64_or_hexadecimal_and_nothing_else() {
        let hex = "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF";
        for (text, good) in [
            (hex, true),
            (&hex[..62], false),
            (&hex[..63], false),
            ("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", true),
            ("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8", true),
            ("--__AwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", true),
            ("++//AwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", true),
            ("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg==", false),
            ("correct horse battery staple correct horse battery", false),
            ("", false),
            (",", false),
        ] {
            let key = CookieKey::from_text(text);
            assert_eq!(key.is_ok(), good, "{text}");
            if let Err(error) = key {
                assert!(
                    text.len() < 2 || !error.to_string().contains(text),
                    "{error}"
                );
            }
        }
        let two = format!("{hex}, AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n");
        assert_eq!(CookieKey::from_text(&two).unwrap().ring.len(), 2);
        assert!(CookieKey::from_text(&format!("{hex},short")).is_err());
    }

    #[test]
    fn one_key_in_two_spellings_is_one_key() {
        let material = [7_u8; 32];
        let spellings = [
            CookieKey::from_bytes(&material).unwrap(),
            CookieKey::from_text(&"07".repeat(32)).unwrap(),
            CookieKey::from_text(&base64url::encode(&material)).unwrap(),
        ];
        assert!(
            spellings
                .iter()
                .all(|key| key.ring[0].id() == spellings[0].ring[0].id())
        );
    }
}
