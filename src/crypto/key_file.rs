//! Creation of a key file.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use super::base64url;
use crate::config_error::ConfigError;
use crate::random::Random;

/// Creates the file atomically. If another process has created it in the meantime, that file stays.
pub(super) fn create(setting: &'static str, path: &Path, text: &str) -> Result<(), ConfigError> {
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
