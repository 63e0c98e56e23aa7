//! A file for a key that nobody has yet.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use super::base64url;
use crate::config_error::ConfigError;
use crate::random::Random;

/// Makes the file, whole and at once. Where somebody else made it meanwhile, theirs stays.
pub(super) fn create(setting: &'static str, path: &Path, text: &str) -> Result<(), ConfigError> {
    let refused = |_| ConfigError::Secret {
        setting,
        reason: "the file is not there and cannot be made",
    };
    let draft = draft_beside(setting, path)?;
    // A link appears with all of the text in it, and is refused where there is a file: whoever reads
    // finds a whole key, and the same as everybody else.
    let made = write(&draft, text).and_then(|()| match fs::hard_link(&draft, path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        // Some file systems know no links; two processes that start at once on one of them may each make
        // a key.
        Err(_) => fs::rename(&draft, path),
        Ok(()) => Ok(()),
    });
    // The draft is gone already where it was renamed, and a key that is left lying about helps nobody.
    let _ = fs::remove_file(&draft);
    made.map_err(refused)
}

fn draft_beside(setting: &'static str, path: &Path) -> Result<PathBuf, ConfigError> {
    let salt = Random::system()
        .bytes::<9>()
        .map_err(|_| ConfigError::Secret {
            setting,
            reason: "the operating system gave no randomness",
        })?;
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(base64url::encode(&salt));
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
