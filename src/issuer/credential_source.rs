//! Where the credential of a client comes from: a fixed text, a file, or a function of the application.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use tower::BoxError;

use super::application_call::call_application;
use super::credential_file::{CredentialFile, ReadError};
use super::error::AuthenticationError;
use crate::clock::{Clock, unix_seconds};
use crate::protocol::ClientSecret;
use crate::protocol::sanitize::{log_safe, without_secrets};

type ReadFuture = Pin<Box<dyn Future<Output = Result<ClientSecret, BoxError>> + Send>>;

/// The source of a client secret, bearer token or client assertion: a fixed text, a file, or a function.
///
/// A file or a function is read when a request to the authorization server needs the credential, so a replaced secret is
/// used by the next request, without a restart. If the authorization server rejects the credential (`invalid_client`)
/// and the source then returns another one, the request is sent once more with it. Nothing was used up by the first
/// request: client authentication comes before everything else ([RFC 6749 §3.2.1]).
///
/// If the credential cannot be read, the request to the authorization server is not sent, and the log has the path and
/// the reason. The caller gets 503 if this may pass: the file is missing or empty, or the source takes more than 5
/// seconds. It gets 500 if only an operator can correct it: the path is not a regular file, the process may not read it,
/// or the content is longer than 64 KiB or not UTF-8.
///
/// ```
/// use tower_oauth::{Client, CredentialSource};
///
/// // Fixed for the life of the process.
/// let client = Client::confidential("shop", "a secret from the environment");
/// // A mounted secret of Kubernetes or Docker.
/// let client = Client::confidential("shop", CredentialSource::file("/run/secrets/shop"));
/// // A secret manager.
/// let vault = std::sync::Arc::new(tokio::sync::RwLock::new(String::from("secret")));
/// let source = CredentialSource::from_fn(move || {
///     let vault = vault.clone();
///     async move { Ok(vault.read().await.clone()) }
/// });
/// let client = Client::confidential("shop", source);
/// ```
///
/// [RFC 6749 §3.2.1]: https://www.rfc-editor.org/rfc/rfc6749#section-3.2.1
#[derive(Clone)]
pub struct CredentialSource(Kind);

#[derive(Clone)]
enum Kind {
    Fixed(ClientSecret),
    File(CredentialFile),
    Function(Arc<dyn Fn() -> ReadFuture + Send + Sync>),
    Signed(SignSecret),
}

/// Returns a secret that is valid at a time, in seconds since the Unix epoch. `None` for lack of randomness.
type SignSecret = Arc<dyn Fn(i64) -> Option<ClientSecret> + Send + Sync>;

impl CredentialSource {
    /// Creates a source that reads a file of at most 64 KiB of UTF-8. One line break at its end is removed.
    ///
    /// Replace the file by renaming another one to its path, or by a symbolic link as Kubernetes does: a file that is
    /// written in place can be read while it is empty. The file need not exist when the client is created.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Kind::File(CredentialFile::new(path.into())))
    }

    /// Creates a source that calls `function`. It should cache: it is called for each request to the authorization
    /// server, by concurrent requests at the same time, and once more after a rejected credential.
    ///
    /// The request is not sent, and the caller gets 503, if the function returns an error, if it panics, or if it takes
    /// longer than 5 seconds. The text of the error is logged, so it must not contain the credential.
    pub fn from_fn<F, R, S>(function: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<S, Box<dyn Error + Send + Sync>>> + Send + 'static,
        S: Into<ClientSecret>,
    {
        Self(Kind::Function(Arc::new(move || {
            let credential = function();
            Box::pin(async move { credential.await.map(Into::into) })
        })))
    }

    /// Creates a source for a secret that this process signs.
    pub(crate) fn from_time(
        sign: impl Fn(i64) -> Option<ClientSecret> + Send + Sync + 'static,
    ) -> Self {
        Self(Kind::Signed(Arc::new(sign)))
    }

    /// Returns the text, if it never changes.
    pub(super) fn fixed(&self) -> Option<&ClientSecret> {
        match &self.0 {
            Kind::Fixed(text) => Some(text),
            Kind::File(_) | Kind::Function(_) | Kind::Signed(_) => None,
        }
    }

    /// Reads the credential. An empty one is an outage: a file that is written at the moment is empty.
    pub(super) async fn read(
        &self,
        clock: &dyn Clock,
        what: &str,
    ) -> Result<ClientSecret, AuthenticationError> {
        if let Kind::Fixed(text) = &self.0 {
            return Ok(text.clone());
        }
        let describe = |reason: &str| format!("the {what} {self}: {reason}");
        let outage = |reason: &str| AuthenticationError::Unavailable(describe(reason));
        let read = async {
            match &self.0 {
                Kind::Fixed(text) => Ok(text.clone()),
                Kind::File(file) => file.read().await,
                Kind::Signed(sign) => sign(unix_seconds(clock)).ok_or_else(|| {
                    ReadError::Unavailable("it cannot be signed, for lack of randomness".to_owned())
                }),
                Kind::Function(function) => function().await.map_err(|error| {
                    ReadError::Unavailable(log_safe(&without_secrets(&error.to_string())))
                }),
            }
        };
        match call_application(clock, read).await.map_err(outage)? {
            Ok(credential) if credential.expose().trim().is_empty() => {
                Err(outage("it is empty or blank"))
            }
            Ok(credential) => Ok(credential),
            Err(ReadError::Unavailable(reason)) => Err(outage(&reason)),
            Err(ReadError::Invalid(reason)) => {
                Err(AuthenticationError::Configuration(describe(&reason)))
            }
        }
    }
}

/// Names the source in a sentence: "from the file …", "from a function".
impl fmt::Display for CredentialSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Fixed(_) => f.write_str("in the configuration"),
            Kind::File(file) => write!(f, "from the file {:?}", file.path()),
            Kind::Signed(_) => f.write_str("that this process signs"),
            Kind::Function(_) => f.write_str("from the function of `CredentialSource::from_fn`"),
        }
    }
}

/// Omits a fixed text.
impl fmt::Debug for CredentialSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Fixed(_) => f.write_str("CredentialSource(..)"),
            Kind::File(file) => write!(f, "CredentialSource({:?})", file.path()),
            Kind::Function(_) => f.write_str("CredentialSource(function)"),
            Kind::Signed(_) => f.write_str("CredentialSource(signed)"),
        }
    }
}

impl From<ClientSecret> for CredentialSource {
    fn from(text: ClientSecret) -> Self {
        Self(Kind::Fixed(text))
    }
}

impl From<String> for CredentialSource {
    fn from(text: String) -> Self {
        ClientSecret::from(text).into()
    }
}

impl From<&str> for CredentialSource {
    fn from(text: &str) -> Self {
        ClientSecret::from(text).into()
    }
}

impl From<&String> for CredentialSource {
    fn from(text: &String) -> Self {
        text.as_str().into()
    }
}
