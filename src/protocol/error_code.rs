//! The error codes of a resource server (RFC 6750 §3.1, RFC 9449 §7.1 and §9, RFC 9470 §3).

/// The error code of a challenge that a resource server sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BearerErrorCode {
    /// `invalid_request`: the request is malformed. Status 400 (RFC 6750 §3.1).
    InvalidRequest,
    /// `invalid_token`: the token is expired, revoked, malformed or issued for another audience. Status 401
    /// (RFC 6750 §3.1).
    InvalidToken,
    /// `insufficient_scope`: the token is valid but lacks a required scope. Status 403 (RFC 6750 §3.1).
    InsufficientScope,
    /// `invalid_dpop_proof`: the DPoP proof is invalid. Status 401 (RFC 9449 §7.1).
    InvalidDpopProof,
    /// `use_dpop_nonce`: the DPoP proof must contain the nonce of this response. Status 401 (RFC 9449 §9).
    UseDpopNonce,
    /// `insufficient_user_authentication`: the authentication is too old or too weak. Status 401
    /// (RFC 9470 §3).
    InsufficientUserAuthentication,
}

impl BearerErrorCode {
    /// Returns the code as it is sent in a challenge.
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
