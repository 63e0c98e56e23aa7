//! The error codes of a resource server, RFC 6750 §3.1.

/// What a resource server says went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BearerErrorCode {
    /// The request is malformed: 400.
    InvalidRequest,
    /// The token is expired, revoked, malformed or for somebody else: 401.
    InvalidToken,
    /// The token is good and grants too little: 403.
    InsufficientScope,
}

impl BearerErrorCode {
    /// The code as it is written in a challenge.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidToken => "invalid_token",
            Self::InsufficientScope => "insufficient_scope",
        }
    }
}
