//! [`CookieKey`]: the keys that encrypt cookies, and their rotation.

use std::fmt;
use std::path::Path;

use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305};
use zeroize::Zeroizing;

use super::digest::sha256;
use super::key_text;
use crate::config_error::ConfigError;

/// The key that encrypts and authenticates the cookies of a [`LoginLayer`](crate::LoginLayer), and previous keys that
/// can still decrypt them.
///
/// A key has at least 32 random bytes and is the same on every machine that serves the application. An attacker with the key
/// can create a session for any user, so protect it like the client secret.
///
/// | Key | Use |
/// | --- | --- |
/// | none yet: tests, development | [`generate`](Self::generate): a restart signs all users out |
/// | file on a single machine | [`from_file_or_create`](Self::from_file_or_create): created on first start |
/// | environment variable | [`from_env`](Self::from_env) |
/// | mounted secret | [`from_file`](Self::from_file) |
/// | secret manager | [`from_text`](Self::from_text), [`from_bytes`](Self::from_bytes) |
///
/// To create a key, run `openssl rand -base64 32` or call [`generate_text`](Self::generate_text).
///
/// To rotate keys, put the new key first and keep the old one until the sessions encrypted with it have ended (8 hours
/// by default): `COOKIE_KEY=new,old`, or [`add_previous`](Self::add_previous). A session is encrypted with the new key
/// the next time its cookie is written. With several processes, deploy `old,new` everywhere first, so that all of them
/// can decrypt with the new key.
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
    /// The first key encrypts; all of them decrypt.
    ring: Vec<SealingKey>,
}

impl CookieKey {
    /// Creates a key from 32 or more bytes of a random number generator.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Secret`] if there are fewer than 32 bytes, or all of them are zero.
    pub fn from_bytes(material: &[u8]) -> Result<Self, ConfigError> {
        key_text::check(SETTING, material)?;
        Ok(Self {
            ring: vec![SealingKey::derive(material)],
        })
    }

    /// Reads keys from the environment variable `name`: 32 or more bytes in base64 (either alphabet, padded or not) or
    /// in hexadecimal, as printed by `openssl rand -base64 32`.
    ///
    /// Separate several keys by commas or line breaks: the first encrypts, the others only decrypt. A passphrase is
    /// rejected, because it can be guessed, and so is a key whose bytes are all the same.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`], which names the variable, if it is not set; [`ConfigError::Secret`] if it contains
    /// anything else. The error does not contain the value.
    pub fn from_env(name: &str) -> Result<Self, ConfigError> {
        let value = key_text::from_env(SETTING, name)?;
        Self::from_text(&value)
    }

    /// Reads keys from a text in the format of [`from_env`](Self::from_env), for example from a secret manager.
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

    /// Reads keys from a file in the format of [`from_env`](Self::from_env), such as a secret that is mounted into a
    /// container. The file is read once, with blocking I/O.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Secret`] if the file cannot be read, is longer than 64 KiB or contains anything but keys. The error
    /// contains neither the content nor the path.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let text = key_text::from_file(SETTING, path.as_ref())?;
        Self::from_text(&text)
    }

    /// Reads keys from a file, and first creates it with a new key if it does not exist. Sessions survive restarts
    /// without any preparation.
    ///
    /// For a single machine with a persistent disk. Several machines would each create a different key and could not
    /// decrypt each other's cookies. On Unix, only the owner can read the file. Processes that start at the same time
    /// use the same key.
    ///
    /// ```
    /// use tower_oauth::CookieKey;
    ///
    /// # let folder = std::env::temp_dir().join(format!("cookie-key-{}", std::process::id()));
    /// # std::fs::create_dir_all(&folder)?;
    /// # let path = folder.join("cookie.key");
    /// let key = CookieKey::from_file_or_create(&path)?;
    /// # assert!(CookieKey::from_file(&path).is_ok());
    /// # std::fs::remove_dir_all(&folder)?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`from_file`](Self::from_file), and if the file cannot be written.
    pub fn from_file_or_create(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        if !path.exists() {
            let text = key_text::encode(&*key_text::generate(SETTING)?);
            key_text::create_file(SETTING, path, &text)?;
        }
        Self::from_file(path)
    }

    /// Generates a new key as text in the format of [`from_env`](Self::from_env). Print it once and store it.
    ///
    /// ```
    /// use tower_oauth::CookieKey;
    ///
    /// let text = CookieKey::generate_text()?;
    /// println!("COOKIE_KEY={text}");
    /// assert!(CookieKey::from_text(&text).is_ok());
    /// # Ok::<_, tower_oauth::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConfigError::Secret`] if the random number generator of the operating system fails.
    pub fn generate_text() -> Result<String, ConfigError> {
        let text = key_text::encode(&*key_text::generate(SETTING)?);
        Ok(text.as_str().to_owned())
    }

    /// Generates a key that exists only in this process: a restart signs all users out, and machines do not share it.
    /// For tests and development.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Secret`] if the random number generator of the operating system fails.
    pub fn generate() -> Result<Self, ConfigError> {
        let material = key_text::generate(SETTING)?;
        Self::from_bytes(&*material)
    }

    /// Adds a previous key, which decrypts cookies but does not encrypt them.
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

/// One key of a key ring, with the id that identifies it in sealed texts.
#[derive(Clone)]
pub(crate) struct SealingKey {
    pub(super) id: [u8; 4],
    pub(super) cipher: XChaCha20Poly1305,
    /// The key material from which the key of each session secret is derived.
    pub(super) root: Zeroizing<[u8; 32]>,
}

impl SealingKey {
    pub(super) fn new(id: [u8; 4], key: &[u8; 32], root: Zeroizing<[u8; 32]>) -> Self {
        Self {
            id,
            cipher: XChaCha20Poly1305::new(key.into()),
            root,
        }
    }

    /// Derives key and id from the material by digests with different prefixes, so that the public id reveals nothing
    /// about the key.
    fn derive(material: &[u8]) -> Self {
        let mut key = Zeroizing::new([0; 32]);
        key.copy_from_slice(&prefixed_digest(b"tower-oauth cookie key 1\0", material));
        let mut root = Zeroizing::new([0; 32]);
        root.copy_from_slice(&prefixed_digest(b"tower-oauth ticket root 1\0", material));
        let mut id = [0; 4];
        id.copy_from_slice(&prefixed_digest(b"tower-oauth cookie key id 1\0", material)[..4]);
        Self::new(id, &key, root)
    }
}

fn prefixed_digest(prefix: &[u8], material: &[u8]) -> Zeroizing<Vec<u8>> {
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
        for (text, is_valid) in [
            (hex, true),
            (&hex[..62], false),
            (&hex[..63], false),
            ("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", true),
            ("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8", true),
            ("--__AwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", true),
            ("++//AwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", true),
            ("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg==", false),
            ("correct horse battery staple correct horse battery", false),
            // Placeholders.
            (
                "0000000000000000000000000000000000000000000000000000000000000000",
                false,
            ),
            (
                "0101010101010101010101010101010101010101010101010101010101010101",
                false,
            ),
            ("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", false),
            ("//////////////////////////////////////////8=", false),
            ("", false),
            (",", false),
        ] {
            let key = CookieKey::from_text(text);
            assert_eq!(key.is_ok(), is_valid, "{text}");
            if let Err(error) = key {
                assert!(
                    text.len() < 2 || !error.to_string().contains(text),
                    "{error}"
                );
            }
        }
        let two = format!("{hex}, AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n");
        assert_eq!(CookieKey::from_text(&two).unwrap().ring.len(), 2);
        for other in ["short", &"00".repeat(32)] {
            assert!(CookieKey::from_text(&format!("{hex},{other}")).is_err());
        }
        assert!(CookieKey::from_bytes(&[0; 64]).is_err());
    }

    #[test]
    fn different_encodings_of_a_key_are_the_same_key() {
        let mut material = [7_u8; 32];
        material[0] = 8;
        let encodings = [
            CookieKey::from_bytes(&material).unwrap(),
            CookieKey::from_text(&format!("08{}", "07".repeat(31))).unwrap(),
            CookieKey::from_text(&base64url::encode(&material)).unwrap(),
        ];
        assert!(
            encodings
                .iter()
                .all(|key| key.ring[0].id() == encodings[0].ring[0].id())
        );
    }
}
