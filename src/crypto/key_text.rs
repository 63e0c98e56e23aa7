//! Keys as people hand them over: 32 bytes or more, in base64 or hexadecimal, several with commas.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use crate::config_error::ConfigError;
use crate::random::Random;

pub(crate) const MIN_BYTES: usize = 32;

/// The value of an environment variable.
pub(crate) fn from_env(
    setting: &'static str,
    name: &str,
) -> Result<Zeroizing<String>, ConfigError> {
    std::env::var(name).map(Zeroizing::new).map_err(|error| {
        let reason = match error {
            std::env::VarError::NotPresent => MISSING,
            std::env::VarError::NotUnicode(_) => NOT_ENCODED,
        };
        ConfigError::Secret { setting, reason }
    })
}

/// The keys of a text, at least one.
pub(crate) fn read(
    setting: &'static str,
    text: &str,
) -> Result<Vec<Zeroizing<Vec<u8>>>, ConfigError> {
    let keys = text.split(',').map(|word| {
        let reason = NOT_ENCODED;
        let key = decode(word.trim()).ok_or(ConfigError::Secret { setting, reason })?;
        check_length(setting, &key)?;
        Ok(key)
    });
    keys.collect()
}

/// Whether there is enough of it.
pub(crate) fn check_length(setting: &'static str, material: &[u8]) -> Result<(), ConfigError> {
    if material.len() < MIN_BYTES {
        let reason = TOO_SHORT;
        return Err(ConfigError::Secret { setting, reason });
    }
    Ok(())
}

/// A key that nobody else has.
pub(crate) fn generate(setting: &'static str) -> Result<Zeroizing<[u8; MIN_BYTES]>, ConfigError> {
    let reason = "the operating system gave no randomness";
    Random::system()
        .bytes()
        .map(Zeroizing::new)
        .map_err(|_| ConfigError::Secret { setting, reason })
}

/// Text made of hexadecimal digits alone is hexadecimal: as base64 it would be a truncated key more
/// often than a whole one.
fn decode(word: &str) -> Option<Zeroizing<Vec<u8>>> {
    let material = if !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        from_hex(word)
    } else {
        let standard = BASE64.decode(word);
        standard.or_else(|_| BASE64_URL.decode(word)).ok()
    };
    material.map(Zeroizing::new)
}

fn from_hex(word: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = word
        .chars()
        .map(|digit| {
            digit
                .to_digit(16)
                .and_then(|value| u8::try_from(value).ok())
        })
        .collect::<Option<_>>()?;
    let (pairs, []) = digits.as_chunks::<2>() else {
        return None;
    };
    Some(pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

const MISSING: &str = "the environment variable is not set; `openssl rand -base64 32` makes a key";
const TOO_SHORT: &str = "fewer than 32 bytes; `openssl rand -base64 32` makes a key";
const NOT_ENCODED: &str = "neither base64 nor hexadecimal; `openssl rand -base64 32` makes a key";

const CONFIG: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const BASE64: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, CONFIG);
const BASE64_URL: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, CONFIG);
