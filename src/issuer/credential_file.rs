//! A file with the credential of a client.

use std::convert::Infallible;
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::protocol::ClientSecret;
use crate::single_flight::SingleFlight;

/// The maximum length of a file in bytes.
const MAX_FILE: u64 = 64 * 1024;

/// A file that is read when its content is needed. Clones share the reads.
#[derive(Clone)]
pub(super) struct CredentialFile {
    path: Arc<Path>,
    /// One read at a time: if the file system does not respond, each read occupies a thread.
    reads: SingleFlight<(), Result<ClientSecret, ReadError>>,
}

/// Why a credential cannot be read.
#[derive(Clone, Debug)]
pub(super) enum ReadError {
    /// It may be available later.
    Unavailable(String),
    /// Only an operator can correct it.
    Invalid(String),
}

impl CredentialFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path: path.into(),
            reads: SingleFlight::default(),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the file on a thread that may block, or joins a read in progress.
    pub(super) async fn read(&self) -> Result<ClientSecret, ReadError> {
        let path = Arc::clone(&self.path);
        let Ok(waiter) = self.reads.join((), |_| {
            Ok::<_, Infallible>(async move {
                let read = tokio::task::spawn_blocking(move || read_file(&path));
                read.await.unwrap_or_else(|_| Err(cancelled()))
            })
        });
        waiter.outcome().await.unwrap_or_else(|| Err(cancelled()))
    }
}

fn cancelled() -> ReadError {
    ReadError::Unavailable("reading was cancelled".to_owned())
}

fn read_file(path: &Path) -> Result<ClientSecret, ReadError> {
    let invalid = |reason: &str| ReadError::Invalid(reason.to_owned());
    // Opening a named pipe would wait for a writer. A symbolic link is followed.
    let metadata = std::fs::metadata(path).map_err(|error| io_error(&error))?;
    if !metadata.is_file() {
        return Err(invalid("it is not a regular file"));
    }
    let file = File::open(path).map_err(|error| io_error(&error))?;
    let mut bytes = Zeroizing::new(Vec::new());
    let read = file.take(MAX_FILE + 1).read_to_end(&mut bytes);
    let length = read.map_err(|error| io_error(&error))?;
    if u64::try_from(length).is_ok_and(|length| length > MAX_FILE) {
        return Err(invalid("it is longer than 64 KiB"));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| invalid("it is not UTF-8"))?;
    let line = text.strip_suffix('\n').unwrap_or(text);
    Ok(ClientSecret::new(line.strip_suffix('\r').unwrap_or(line)))
}

fn io_error(error: &std::io::Error) -> ReadError {
    match error.kind() {
        ErrorKind::PermissionDenied => ReadError::Invalid(error.to_string()),
        _ => ReadError::Unavailable(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn an_error_is_permanent_only_if_an_operator_must_correct_it() {
        for (kind, is_permanent) in [
            (ErrorKind::PermissionDenied, true),
            (ErrorKind::NotFound, false),
            (ErrorKind::TimedOut, false),
            (ErrorKind::Other, false),
        ] {
            let error = io_error(&kind.into());
            let found = matches!(error, ReadError::Invalid(_));
            assert_eq!(found, is_permanent, "{kind:?}");
        }
    }

    /// A file system that does not respond.
    #[tokio::test]
    async fn one_read_is_in_progress_and_later_ones_share_it() {
        let file = CredentialFile::new("/nonexistent/secret".into());
        let (end, hung) = tokio::sync::oneshot::channel();
        let start = |_| Ok::<_, Infallible>(async move { hung.await.unwrap() });
        let Ok(_first) = file.reads.join((), start);
        let others: Vec<_> = (0..100).map(|_| file.clone()).collect();
        let mut others: Vec<_> = others.iter().map(|one| Box::pin(one.read())).collect();
        for other in &mut others {
            assert!(other.now_or_never().is_none());
        }
        end.send(Ok(ClientSecret::new("secret"))).unwrap();
        for other in others {
            assert_eq!(other.await.unwrap().expose(), "secret");
        }
        assert!(file.read().await.is_err(), "read anew");
    }
}
