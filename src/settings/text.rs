//! The values of settings: secrets, durations and names of algorithms.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};
use zeroize::Zeroizing;

use super::error::invalid;
use crate::config_error::ConfigError;
use crate::crypto::{Algorithm, SigningKey, key_text};

/// A secret in a configuration. It has no `Display`, `Debug` hides it, and it is erased from memory on drop.
///
/// A secret in a file of its own, or in the environment, is easier to protect than one in a configuration file.
#[derive(Clone)]
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for SecretText {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(..)")
    }
}

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_string(SecretVisitor)
    }
}

/// Reads a string. The errors of serde contain the value, so values of other types have an error of their own. The methods
/// that are missing here call these, or have an error that names the type alone.
struct SecretVisitor;

impl SecretVisitor {
    fn reject<E: Error>() -> Result<SecretText, E> {
        Err(E::custom("a secret must be a string"))
    }
}

impl Visitor<'_> for SecretVisitor {
    type Value = SecretText;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<SecretText, E> {
        Ok(text.to_owned().into())
    }

    fn visit_string<E: Error>(self, text: String) -> Result<SecretText, E> {
        Ok(text.into())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<SecretText, E> {
        Self::reject()
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<SecretText, E> {
        Self::reject()
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<SecretText, E> {
        Self::reject()
    }

    fn visit_i128<E: Error>(self, _: i128) -> Result<SecretText, E> {
        Self::reject()
    }

    fn visit_u128<E: Error>(self, _: u128) -> Result<SecretText, E> {
        Self::reject()
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<SecretText, E> {
        Self::reject()
    }

    fn visit_bytes<E: Error>(self, _: &[u8]) -> Result<SecretText, E> {
        Self::reject()
    }
}

/// Reads `90s`, `15m`, `8h` or `30d`: a number and one unit.
pub(super) fn duration<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let invalid = || {
        Error::custom(format_args!(
            "invalid duration {text:?}, expected a number and a unit: `90s`, `15m`, `8h` or `30d`"
        ))
    };
    let unit = text.chars().next_back().ok_or_else(invalid)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return Err(invalid()),
    };
    let number = &text[..text.len() - 1];
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let number: Option<u64> = number.parse().ok().filter(|_| is_number);
    let seconds = number.and_then(|number| number.checked_mul(seconds));
    seconds
        .map(|seconds| Some(Duration::from_secs(seconds)))
        .ok_or_else(invalid)
}

pub(super) fn algorithm(name: &str) -> Result<Algorithm, ConfigError> {
    Algorithm::from_name(name).ok_or_else(|| {
        invalid(
            name,
            "it is not the registered name of a supported signature algorithm, such as `ES256`",
        )
    })
}

pub(super) fn algorithms(names: &[String]) -> Result<Vec<Algorithm>, ConfigError> {
    names.iter().map(|name| algorithm(name)).collect()
}

/// Reads a private key from a file: PEM, or a JWK.
pub(super) fn signing_key_file(path: &Path) -> Result<SigningKey, ConfigError> {
    signing_key(&key_text::from_file("private key", path)?)
}

pub(super) fn signing_key(text: &str) -> Result<SigningKey, ConfigError> {
    match text.trim_start().starts_with('{') {
        true => SigningKey::from_jwk(text),
        false => SigningKey::from_pem(text),
    }
}
