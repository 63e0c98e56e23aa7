//! Errors of Redis commands. Of an error response only the code is kept: its text may repeat arguments, such as
//! passwords.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use super::address::Address;
use crate::store::StoreError;
use crate::store::error::KnownFailure;
use crate::telemetry::StoreFailure;

const MAX_CODE: usize = 32;

#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum CommandError {
    /// The command was not sent.
    #[error("no connection: {reason}")]
    NoConnection {
        failure: StoreFailure,
        reason: String,
    },
    /// The command may have been executed.
    #[error("the command timed out")]
    TimedOut,
    /// The command may have been executed.
    #[error("the connection was closed")]
    Disconnected,
    #[error("the server rejected user name or password")]
    AuthenticationFailed,
    #[error("the server returned error {0}")]
    Rejected(String),
    #[error("the server returned an unexpected response")]
    Unreadable,
    #[error("the value of this key was not written by this store")]
    Foreign,
    #[error("the server is out of memory")]
    OutOfMemory,
    #[error("the server does not have the script")]
    NoScript,
    /// The slot has moved to this host and port. An empty host is that of the responding server.
    #[error("the slot has moved")]
    Moved(String, u16),
    /// The slot is migrating, and the key has already moved to this host and port.
    #[error("the slot is migrating")]
    Ask(String, u16),
    /// The slot is migrating, and only one of two keys has moved.
    #[error("the slot is migrating")]
    TryAgain,
    #[error("no node of the cluster owns the slot")]
    NoOwner,
}

impl CommandError {
    /// Returns whether the connection must not be used again.
    pub(super) fn ends_connection(&self) -> bool {
        match self {
            Self::TimedOut | Self::Disconnected | Self::Unreadable => true,
            // The server has become a replica, so its host name may refer to another server now.
            Self::Rejected(code) => code == "READONLY",
            _ => false,
        }
    }

    pub(super) fn no_connection(failure: StoreFailure, reason: String) -> Self {
        Self::NoConnection { failure, reason }
    }

    /// Converts an error that occurred before the command was sent.
    pub(super) fn before_sending(self) -> Self {
        match self {
            Self::NoConnection { .. } => self,
            other => Self::no_connection(other.failure(), other.to_string()),
        }
    }

    fn failure(&self) -> StoreFailure {
        match self {
            Self::NoConnection { failure, .. } => *failure,
            Self::TimedOut => StoreFailure::TimedOut,
            Self::AuthenticationFailed => StoreFailure::Authentication,
            Self::OutOfMemory => StoreFailure::Full,
            Self::Rejected(code) => match code.as_str() {
                "NOAUTH" | "WRONGPASS" | "NOPERM" => StoreFailure::Authentication,
                "READONLY" => StoreFailure::ReadOnly,
                _ => StoreFailure::Unavailable,
            },
            _ => StoreFailure::Unavailable,
        }
    }
}

impl From<RedisError> for CommandError {
    fn from(error: RedisError) -> Self {
        if error.is_io_error() || error.is_connection_dropped() || error.is_timeout() {
            return Self::Disconnected;
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
            ErrorKind::AuthenticationFailed => Self::AuthenticationFailed,
            ErrorKind::Server(_) | ErrorKind::Extension => rejected(&error),
            _ => Self::Unreadable,
        }
    }
}

fn redirect(error: &RedisError) -> Option<(String, u16)> {
    let (node, _) = error.redirect_node()?;
    let (host, port) = node.rsplit_once(':')?;
    Some((host.to_owned(), port.parse().ok()?))
}

fn rejected(error: &RedisError) -> CommandError {
    let code = error.code().unwrap_or_default();
    // Redis 6 wraps the error of a command in a script.
    if code == "OOM" || error.detail().is_some_and(|text| text.contains("-OOM ")) {
        return CommandError::OutOfMemory;
    }
    let letters = code.chars().filter(char::is_ascii_uppercase);
    CommandError::Rejected(letters.take(MAX_CODE).collect())
}

impl From<CommandError> for StoreError {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::OutOfMemory => Self::Full,
            other => Self::unavailable(KnownFailure {
                failure: other.failure(),
                message: other.to_string(),
            }),
        }
    }
}

impl Address {
    /// Returns the target of a redirect from this server.
    pub(super) fn redirected(&self, host: String, port: u16) -> Self {
        match self {
            Self::Tcp(same, _) if host.is_empty() => Self::Tcp(same.clone(), port),
            _ => Self::Tcp(host, port),
        }
    }
}
