//! Nonces that nobody has to remember: a time and an HMAC over it (RFC 9449 §8, §9).

use std::fmt;

use http::HeaderValue;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::ConfigError;
use crate::crypto::{base64url, digest, hmac_sha256, key_text};

/// How long one nonce is handed out. It is taken for as long again.
const PERIOD: i64 = 120;

/// The key that nonces for DPoP proofs are made with, and older ones whose nonces are still taken.
///
/// At least 32 bytes that nobody can guess. Every machine that accepts_resource the API has the same, so that a
/// nonce of one is good at all of them; nothing else is shared and nothing is stored. Use it for nothing
/// else.
///
/// A nonce is handed out for two minutes and taken for two more. To rotate: let every machine know the
/// new key with [`add_previous`](Self::add_previous) first, then put it first.
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
    /// The first makes nonces; all are tried by their id.
    ring: Vec<(KeyId, Zeroizing<Vec<u8>>)>,
}

type KeyId = [u8; 4];

impl DpopNonceKey {
    /// Takes 32 or more bytes of key material.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Secret`] for fewer than 32 bytes.
    pub fn from_bytes(material: &[u8]) -> Result<Self, ConfigError> {
        key_text::check_length(SETTING, material)?;
        Ok(Self {
            ring: vec![named(material)],
        })
    }

    /// Reads the environment variable `name`: 32 or more bytes in base64 or hexadecimal, several keys
    /// separated by commas, of which the first makes nonces.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Secret`] when the variable is missing or holds anything else. The message never
    /// repeats the value.
    pub fn from_env(name: &str) -> Result<Self, ConfigError> {
        Self::from_text(&key_text::from_env(SETTING, name)?)
    }

    /// The same from a text that came some other way.
    ///
    /// # Errors
    ///
    /// As [`from_env`](Self::from_env).
    pub fn from_text(text: &str) -> Result<Self, ConfigError> {
        let keys = key_text::read(SETTING, text)?;
        Ok(Self {
            ring: keys.iter().map(|material| named(material)).collect(),
        })
    }

    /// A key of this process alone: for one machine, where a restart costs each client one more request.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Secret`] when the operating system gives no randomness.
    pub fn generate() -> Result<Self, ConfigError> {
        Self::from_bytes(&*key_text::generate(SETTING)?)
    }

    /// Adds a key that makes no nonces but whose nonces are taken.
    #[must_use]
    pub fn add_previous(mut self, previous: Self) -> Self {
        self.ring.extend(previous.ring);
        self
    }

    /// The nonce of this moment: `NQCHAR` alone, and nobody without the key can tell it (RFC 9449 §8.1).
    pub(super) fn issue(&self, now: i64) -> Option<HeaderValue> {
        let (id, key) = self.ring.first()?;
        let period = now.div_euclid(PERIOD).to_be_bytes();
        let nonce = [&id[..], &period, &tag(id, key, period)].concat();
        HeaderValue::try_from(base64url::encode(&nonce)).ok()
    }

    /// How a nonce stands; `None` for one that is stale, forged, or of another server (`D10`).
    pub(super) fn read(&self, nonce: &str, now: i64) -> Option<Freshness> {
        let bytes: [u8; LENGTH] = base64url::decode(nonce)?.try_into().ok()?;
        let (head, sent) = bytes.split_at(LENGTH - TAG);
        let (id, period) = head.split_first_chunk::<4>()?;
        let period: [u8; 8] = period.try_into().ok()?;
        let genuine = self
            .ring
            .iter()
            .filter(|(one, _)| one == id)
            .any(|(id, key)| tag(id, key, period).ct_eq(sent).into());
        if !genuine {
            return None;
        }
        match now
            .div_euclid(PERIOD)
            .checked_sub(i64::from_be_bytes(period))?
        {
            // One period ahead is that of a machine whose clock is.
            -1 | 0 => Some(Freshness::Current),
            1 => Some(Freshness::Previous),
            _ => None,
        }
    }
}

/// A nonce that is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Freshness {
    Current,
    /// It is taken for a while, and the answer brings the next one.
    Previous,
}

/// Shows nothing of the keys.
impl fmt::Debug for DpopNonceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DpopNonceKey(..)")
    }
}

/// The id comes from a digest, so that it tells nothing of the key.
fn named(material: &[u8]) -> (KeyId, Zeroizing<Vec<u8>>) {
    let mut input = Zeroizing::new(ID_PREFIX.to_vec());
    input.extend_from_slice(material);
    let mut id = KeyId::default();
    id.copy_from_slice(&digest::sha256(&input)[..4]);
    (id, Zeroizing::new(material.to_vec()))
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
