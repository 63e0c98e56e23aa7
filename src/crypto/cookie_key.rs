//! The keys that seal cookies: where they come from and how they are rotated.

use std::fmt;
use std::path::Path;

use zeroize::Zeroizing;

use super::digest::sha256;
use super::seal::SealingKey;
use super::{key_file, key_text};
use crate::config_error::ConfigError;

/// The key that seals the cookies of a [`LoginLayer`](crate::LoginLayer), and older ones that may
/// still open them.
///
/// At least 32 bytes that nobody can guess, the same on every machine that serves the application.
/// Whoever holds the key can make a session for any user: keep it where the client secret is kept.
///
/// | where the key is | how it comes in |
/// | --- | --- |
/// | nowhere yet: tests, first steps | [`generate`](Self::generate): everybody is signed out at a restart |
/// | on one machine with a disk | [`from_file_or_create`](Self::from_file_or_create): made at the first start |
/// | in an environment variable | [`from_env`](Self::from_env) |
/// | in a mounted secret | [`from_file`](Self::from_file) |
/// | in a secret manager | [`from_text`](Self::from_text), [`from_bytes`](Self::from_bytes) |
///
/// A key for any of them is printed by `openssl rand -base64 32`, and by
/// [`generate_text`](Self::generate_text) where there is no `openssl`.
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
    /// Several keys are separated by commas or stand on lines of their own: the first seals, the others only open. A passphrase is
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

    /// The same from a text that came some other way, from a secret manager for example.
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

    /// The same from a file, such as a secret that is mounted into a container. It is read once, at this
    /// call, which waits for the disk.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Secret`] where the file cannot be read, is longer than 64 KiB or holds anything but
    /// keys. The message repeats neither the content nor the path.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let text = key_text::from_file(SETTING, path.as_ref())?;
        Self::from_text(&text)
    }

    /// The same, and where there is no file yet, one is made with a new key: nothing to prepare, and
    /// sessions live on over restarts.
    ///
    /// For one machine whose disk outlives the process. Several machines would each make a key of their
    /// own, and each would sign out whom another signed in. On Unix only its owner can read the file.
    /// Processes that start at once agree on one key.
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
    /// As [`from_file`](Self::from_file), and where the file cannot be written.
    pub fn from_file_or_create(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        if !path.exists() {
            let text = key_text::write(&*key_text::generate(SETTING)?);
            key_file::create(SETTING, path, &text)?;
        }
        Self::from_file(path)
    }

    /// A new key as text, for where the others read it from: print it once, and keep it.
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
    /// [`ConfigError::Secret`] when the operating system gives no randomness.
    pub fn generate_text() -> Result<String, ConfigError> {
        let text = key_text::write(&*key_text::generate(SETTING)?);
        Ok(text.as_str().to_owned())
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
