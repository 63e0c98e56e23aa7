//! The text format of keys: 32 bytes or more in base64 or hexadecimal, several of them separated by commas or line
//! breaks.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::{Engine as _, alphabet};
use zeroize::Zeroizing;

use super::base64url;
use crate::config_error::ConfigError;
use crate::random::Random;

pub(crate) const MIN_BYTES: usize = 32;

/// Returns the value of an environment variable.
pub(crate) fn from_env(
    setting: &'static str,
    name: &str,
) -> Result<Zeroizing<String>, ConfigError> {
    std::env::var(name).map(Zeroizing::new).map_err(|error| {
        let reason = match error {
            std::env::VarError::NotPresent => MISSING,
            std::env::VarError::NotUnicode(_) => NOT_ENCODED,
        };
        // A key that was passed as the name by mistake is longer than this in any encoding.
        if name.len() > MIN_BYTES {
            return ConfigError::Secret { setting, reason };
        }
        ConfigError::Setting {
            setting,
            value: name.to_owned(),
            reason,
        }
    })
}

/// Reads a file with blocking I/O. No error contains the path or the text: a key may have been passed as the path by
/// mistake.
pub(crate) fn from_file(
    setting: &'static str,
    path: &Path,
) -> Result<Zeroizing<String>, ConfigError> {
    let invalid = |reason| ConfigError::Secret { setting, reason };
    let file = File::open(path).map_err(|error| {
        invalid(match error.kind() {
            ErrorKind::NotFound => NOT_FOUND,
            _ => UNREADABLE,
        })
    })?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(TYPICAL_FILE));
    let limit = u64::try_from(MAX_FILE).unwrap_or(u64::MAX);
    file.take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|_| invalid(UNREADABLE))?;
    if bytes.len() > MAX_FILE {
        return Err(invalid(TOO_LONG));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| invalid(NOT_ENCODED))?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// Parses the keys of a text, at least one.
pub(crate) fn read(
    setting: &'static str,
    text: &str,
) -> Result<Vec<Zeroizing<Vec<u8>>>, ConfigError> {
    // Blank lines, and the line break at the end, are ignored.
    let lines = text.trim().lines().filter(|line| !line.trim().is_empty());
    let words = lines.flat_map(|line| line.split(','));
    let keys: Vec<_> = words
        .map(|word| {
            let reason = NOT_ENCODED;
            let key = decode(word.trim()).ok_or(ConfigError::Secret { setting, reason })?;
            check(setting, &key)?;
            // A placeholder of a configuration file, such as `AAAA…` or `0101…`.
            if key.iter().all(|byte| *byte == key[0]) {
                let reason = CONSTANT;
                return Err(ConfigError::Secret { setting, reason });
            }
            Ok(key)
        })
        .collect::<Result<_, _>>()?;
    if keys.is_empty() {
        let reason = NOT_ENCODED;
        return Err(ConfigError::Secret { setting, reason });
    }
    Ok(keys)
}

/// Encodes a key in the format of [`read`].
pub(crate) fn encode(material: &[u8]) -> Zeroizing<String> {
    Zeroizing::new(BASE64.encode(material))
}

/// Rejects a key that is too short, and a buffer that was never filled.
pub(crate) fn check(setting: &'static str, material: &[u8]) -> Result<(), ConfigError> {
    let reason = match material {
        short if short.len() < MIN_BYTES => TOO_SHORT,
        material if material.iter().all(|byte| *byte == 0) => CONSTANT,
        _ => return Ok(()),
    };
    Err(ConfigError::Secret { setting, reason })
}

/// Generates a random key.
pub(crate) fn generate(setting: &'static str) -> Result<Zeroizing<[u8; MIN_BYTES]>, ConfigError> {
    let reason = "the random number generator of the operating system failed";
    Random::system()
        .bytes()
        .map(Zeroizing::new)
        .map_err(|_| ConfigError::Secret { setting, reason })
}

/// Decodes a key. Text of hexadecimal digits alone is hexadecimal: as base64 it would more often be a truncated key than
/// a complete one.
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

const MISSING: &str = "the environment variable is not set; create a key with \
                       `openssl rand -base64 32` or CookieKey::generate_text()";
const TOO_SHORT: &str = "it has fewer than 32 bytes; create a key with `openssl rand -base64 32` \
                         or CookieKey::generate_text()";
const CONSTANT: &str = "all of its bytes are the same, so it can be guessed; create a key with \
                        `openssl rand -base64 32` or CookieKey::generate_text()";
const NOT_FOUND: &str = "the file does not exist";
const UNREADABLE: &str = "the file cannot be read";
const TOO_LONG: &str = "the file is longer than 64 KiB";
const NOT_ENCODED: &str = "it is neither base64 nor hexadecimal; create a key with \
                           `openssl rand -base64 32` or CookieKey::generate_text()";

/// Bounds the memory for a file that is not a key file.
const MAX_FILE: usize = 64 * 1024;
/// The initial capacity: growing the buffer would leave copies of the key in memory.
const TYPICAL_FILE: usize = 4096;

const CONFIG: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const BASE64: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, CONFIG);
const BASE64_URL: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, CONFIG);

/// Creates the file atomically. If another process has created it in the meantime, that file stays.
pub(super) fn create_file(
    setting: &'static str,
    path: &Path,
    text: &str,
) -> Result<(), ConfigError> {
    let failed = |_| ConfigError::Secret {
        setting,
        reason: "the file does not exist and cannot be created",
    };
    let temporary = temporary_path(setting, path)?;
    // A hard link appears with its full content and fails if the file exists, so every process reads the same
    // complete key.
    let created = write(&temporary, text).and_then(|()| match fs::hard_link(&temporary, path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        // Some file systems have no hard links. There, two processes that start at the same time can each create a
        // key.
        Err(_) => fs::rename(&temporary, path),
        Ok(()) => Ok(()),
    });
    // No copy of the key may stay behind. After a rename the temporary file no longer exists.
    let _ = fs::remove_file(&temporary);
    created.map_err(failed)
}

fn temporary_path(setting: &'static str, path: &Path) -> Result<PathBuf, ConfigError> {
    let suffix = Random::system()
        .bytes::<9>()
        .map_err(|_| ConfigError::Secret {
            setting,
            reason: "the random number generator of the operating system failed",
        })?;
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(base64url::encode(&suffix));
    Ok(name.into())
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    writeln!(file, "{text}")?;
    file.sync_all()
}
