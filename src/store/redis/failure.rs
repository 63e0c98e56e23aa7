//! Why Redis did not do what it was asked. Nothing that the server says is repeated but the code of its
//! error: it may repeat what it was sent, passwords included.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use super::address::Address;
use crate::store::StoreError;

const MAX_CODE: usize = 32;

#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Failure {
    /// Nothing was asked.
    #[error("no connection: {0}")]
    NoConnection(String),
    /// It may have been carried out.
    #[error("no answer in time")]
    TimedOut,
    /// It may have been carried out.
    #[error("the connection broke")]
    Broken,
    #[error("the server answered {0}")]
    Refused(String),
    #[error("the server answered what it was not asked")]
    Unreadable,
    #[error("what is stored under this key is no entry")]
    Foreign,
    #[error("the server is out of memory")]
    OutOfMemory,
    #[error("the server does not know the script")]
    NoScript,
    /// The slot is elsewhere; an empty host is that of the server which says so.
    #[error("the slot has moved")]
    Moved(String, u16),
    /// The slot is about to be elsewhere, and this key already is.
    #[error("the slot is moving")]
    Ask(String, u16),
    /// The slot is about to be elsewhere, and one key of two already is.
    #[error("the slot is moving")]
    TryAgain,
    #[error("no server of the cluster says that the slot is its own")]
    Lost,
}

impl Failure {
    /// A connection that this came of is used no more.
    pub(super) fn ends_connection(&self) -> bool {
        match self {
            Self::TimedOut | Self::Broken | Self::Unreadable => true,
            // The server was made a replica: its name may be that of another by now.
            Self::Refused(code) => code == "READONLY",
            _ => false,
        }
    }

    /// For those that arise before anything was asked.
    pub(super) fn before_asking(self) -> Self {
        match self {
            Self::NoConnection(_) => self,
            other => Self::NoConnection(other.to_string()),
        }
    }
}

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        if error.is_io_error() || error.is_connection_dropped() || error.is_timeout() {
            return Self::Broken;
        }
        match error.kind() {
            ErrorKind::Server(ServerErrorKind::NoScript) => Self::NoScript,
            ErrorKind::Server(ServerErrorKind::TryAgain) => Self::TryAgain,
            ErrorKind::Server(ServerErrorKind::Moved) => {
                redirect(&error).map_or(Self::Unreadable, |(host, port)| Self::Moved(host, port))
            }
            ErrorKind::Server(ServerErrorKind::Ask) => {
                redirect(&error).map_or(Self::Unreadable, |(host, port)| Self::Ask(host, port))
            }
            ErrorKind::AuthenticationFailed => Self::Refused("no to the login".to_owned()),
            ErrorKind::Server(_) | ErrorKind::Extension => refused(&error),
            _ => Self::Unreadable,
        }
    }
}

fn redirect(error: &RedisError) -> Option<(String, u16)> {
    let (node, _) = error.redirect_node()?;
    let (host, port) = node.rsplit_once(':')?;
    Some((host.to_owned(), port.parse().ok()?))
}

fn refused(error: &RedisError) -> Failure {
    let code = error.code().unwrap_or_default();
    // Redis 6 puts what a command of a script came to into a text of its own.
    if code == "OOM" || error.detail().is_some_and(|text| text.contains("-OOM ")) {
        return Failure::OutOfMemory;
    }
    let letters = code.chars().filter(char::is_ascii_uppercase);
    Failure::Refused(letters.take(MAX_CODE).collect())
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::OutOfMemory => Self::Full,
            other => Self::unavailable(other),
        }
    }
}

impl Address {
    /// Where a redirect of this server leads to.
    pub(super) fn redirected(&self, host: String, port: u16) -> Self {
        match self {
            Self::Tcp(own, _) if host.is_empty() => Self::Tcp(own.clone(), port),
            _ => Self::Tcp(host, port),
        }
    }
}
