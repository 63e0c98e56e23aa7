//! The error codes of a resource server: RFC 6750 §3.1, RFC 9449 §7.1 and §9, RFC 9470 §3.

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
    /// The proof of possession beside the token is bad: 401.
    InvalidDpopProof,
    /// The proof of possession must hold the nonce that comes with this answer: 401.
    UseDpopNonce,
    /// The user must sign in again, or more strongly: 401.
    InsufficientUserAuthentication,
}

impl BearerErrorCode {
    /// The code as it is written in a challenge.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidToken => "invalid_token",
            Self::InsufficientScope => "insufficient_scope",
            Self::InvalidDpopProof => "invalid_dpop_proof",
            Self::UseDpopNonce => "use_dpop_nonce",
            Self::InsufficientUserAuthentication => "insufficient_user_authentication",
        }
    }
}
