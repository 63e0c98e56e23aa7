//! Stateless nonces: a time and an HMAC over it (RFC 9449 §8, §9).

use std::fmt;

use http::HeaderValue;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::ConfigError;
use crate::crypto::{base64url, hmac_sha256, key_text, sha256_start};

/// In seconds: how long a nonce is issued. It is accepted for one more period.
const PERIOD: i64 = 120;

/// In seconds: the longest time that a nonce is accepted for, one of a replica whose clock is ahead included.
pub(super) const NONCE_LIFETIME: i64 = 3 * PERIOD;

/// The key for DPoP nonces, with previous keys whose nonces are still accepted.
///
/// The key material is at least 32 random bytes. Use the same key in every replica of the API, so that a nonce of one
/// is accepted by all; replicas share nothing else, and nonces are not stored. Do not use the key for other purposes.
///
/// A nonce is issued for 2 minutes and accepted for 2 more. To rotate the key, first add the new key to every replica
/// with [`add_previous`](Self::add_previous), then make it the first one.
///
/// ```
/// use tower_oauth::token::{Dpop, DpopNonceKey};
///
/// let dpop = Dpop::new("https://api.example.com")?.with_nonces(DpopNonceKey::generate()?);
/// # let _ = dpop;
/// # Ok::<_, tower_oauth::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct DpopNonceKey {
    /// The first key issues nonces. A nonce is validated with the keys that have its key id.
    ring: Vec<(KeyId, Zeroizing<Vec<u8>>)>,
}

type KeyId = [u8; 4];

impl DpopNonceKey {
    /// Creates a key from 32 or more bytes of key material.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Secret`] if there are fewer than 32 bytes, or all of them are zero.
    pub fn from_bytes(material: &[u8]) -> Result<Self, ConfigError> {
        key_text::check(SETTING, material)?;
        Ok(Self {
            ring: vec![with_id(material)],
        })
    }

    /// Reads the key from the environment variable `name`: 32 or more bytes in base64 or hexadecimal. The variable may
    /// contain several keys, separated by commas; the first issues nonces.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`], which names the variable, if it is not set; [`ConfigError::Secret`] if it has another
    /// format, or a key whose bytes are all the same. The message does not contain the value.
    pub fn from_env(name: &str) -> Result<Self, ConfigError> {
        Self::from_text(&key_text::from_env(SETTING, name)?)
    }

    /// Parses a text in the format of [`from_env`](Self::from_env).
    ///
    /// # Errors
    ///
    /// [`ConfigError::Secret`] if the text has another format.
    pub fn from_text(text: &str) -> Result<Self, ConfigError> {
        let keys = key_text::read(SETTING, text)?;
        Ok(Self {
            ring: keys.iter().map(|material| with_id(material)).collect(),
        })
    }

    /// Generates a random key, for an API with a single process. After a restart, each client repeats one request.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Secret`] if the operating system provides no randomness.
    pub fn generate() -> Result<Self, ConfigError> {
        Self::from_bytes(&*key_text::generate(SETTING)?)
    }

    /// Adds a key that issues no nonces but whose nonces are accepted.
    #[must_use]
    pub fn add_previous(mut self, previous: Self) -> Self {
        self.ring.extend(previous.ring);
        self
    }

    /// Returns the current nonce: `NQCHAR` characters, unpredictable without the key (RFC 9449 §8.1).
    pub(super) fn issue(&self, now: i64) -> Option<HeaderValue> {
        let (id, key) = self.ring.first()?;
        let period = now.div_euclid(PERIOD).to_be_bytes();
        let nonce = [&id[..], &period, &tag(id, key, period)].concat();
        HeaderValue::try_from(base64url::encode(&nonce)).ok()
    }

    /// Validates a nonce. Returns `None` if it has expired, is forged or is from another server.
    pub(super) fn check(&self, nonce: &str, now: i64) -> Option<Freshness> {
        let bytes: [u8; LENGTH] = base64url::decode(nonce)?.try_into().ok()?;
        let (head, sent) = bytes.split_at(LENGTH - TAG);
        let (id, period) = head.split_first_chunk::<4>()?;
        let period: [u8; 8] = period.try_into().ok()?;
        let is_genuine = self
            .ring
            .iter()
            .filter(|(one, _)| one == id)
            .any(|(id, key)| tag(id, key, period).ct_eq(sent).into());
        if !is_genuine {
            return None;
        }
        match now
            .div_euclid(PERIOD)
            .checked_sub(i64::from_be_bytes(period))?
        {
            // A replica whose clock is ahead may already issue the next nonce.
            -1 | 0 => Some(Freshness::Current),
            1 => Some(Freshness::Previous),
            _ => None,
        }
    }
}

/// The age of an accepted nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Freshness {
    Current,
    /// Still accepted; the response has the current one.
    Previous,
}

/// Omits the keys.
impl fmt::Debug for DpopNonceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DpopNonceKey(..)")
    }
}

/// Adds the key id, which is part of a digest so that it reveals nothing about the key.
fn with_id(material: &[u8]) -> (KeyId, Zeroizing<Vec<u8>>) {
    let mut input = Zeroizing::new(ID_PREFIX.to_vec());
    input.extend_from_slice(material);
    (sha256_start(&input), Zeroizing::new(material.to_vec()))
}

fn tag(id: &KeyId, key: &[u8], period: [u8; 8]) -> [u8; TAG] {
    let input = [PREFIX, &id[..], &period].concat();
    let mut tag = [0; TAG];
    tag.copy_from_slice(&hmac_sha256(key, &input)[..TAG]);
    tag
}

const SETTING: &str = "DPoP nonce key";
const PREFIX: &[u8] = b"tower-oauth dpop nonce 1\0";
const ID_PREFIX: &[u8] = b"tower-oauth dpop nonce key id 1\0";
const TAG: usize = 16;
const LENGTH: usize = 4 + 8 + TAG;
