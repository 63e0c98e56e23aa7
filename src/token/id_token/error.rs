//! Why an ID token was not accepted, each reason by its name.

use super::LEEWAY;
use crate::crypto::Jws;
use crate::issuer::Unavailable;
use crate::protocol::IdToken;
use crate::protocol::claims::seconds;
use crate::protocol::json::{Json, parse_object};
use crate::token::error::{VerifyError, VerifyErrorKind};

/// Why an ID token was not accepted.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum IdTokenError {
    #[error("the keys are unavailable")]
    Unavailable(#[source] Unavailable),
    #[error("{0}")]
    Token(VerifyErrorKind),
    #[error("sub is missing, empty, too long or not ASCII")]
    Subject,
    #[error("aud is missing, malformed or does not name this client")]
    Audience,
    #[error("aud also names others, and azp does not say for whom the token is")]
    NoAuthorizedParty,
    #[error("aud also names others, which are not trusted")]
    UntrustedAudience,
    #[error("azp is another client")]
    AuthorizedParty,
    #[error("exp is missing or malformed")]
    Expiry,
    #[error("iat is missing or malformed")]
    IssuedAt,
    #[error("iat is in the future")]
    IssuedLater,
    #[error("iat is too long ago for a login")]
    IssuedLongAgo,
    #[error("nbf is malformed")]
    NotBefore,
    #[error("nonce is missing")]
    NoNonce,
    #[error("nonce is not the one of this login")]
    Nonce,
    #[error("there is a nonce, and none was sent")]
    UnexpectedNonce,
    #[error("at_hash is of another access token")]
    AccessTokenHash,
    #[error("c_hash is of another code")]
    CodeHash,
    #[error("s_hash is of another state")]
    StateHash,
    #[error("auth_time is missing or malformed")]
    AuthTime,
    #[error("auth_time is longer ago than max_age allows")]
    AuthenticatedLongAgo,
    #[error("acr is none of those asked for")]
    AuthenticationContext,
    #[error("sub is another than at the login")]
    OtherSubject,
    #[error("auth_time is another than at the login")]
    OtherAuthTime,
}

/// Names the claim where the common checks of all tokens only say that one was wrong: an operator
/// reads it in the log. The token is refused already.
pub(super) fn explain(error: &VerifyError, id_token: &IdToken, now: i64) -> IdTokenError {
    if let Some(unavailable) = error.unavailable() {
        return IdTokenError::Unavailable(unavailable.clone());
    }
    let general = IdTokenError::Token(error.kind());
    let Ok(jws) = Jws::read(id_token.expose()) else {
        return general;
    };
    let Ok(payload) = parse_object(jws.payload()) else {
        return general;
    };
    let time = |name| seconds(payload.member(name), f64::floor);
    match error.kind() {
        VerifyErrorKind::Claims if !matches!(time("exp"), Ok(Some(_))) => IdTokenError::Expiry,
        VerifyErrorKind::Claims if time("iat").is_err() => IdTokenError::IssuedAt,
        VerifyErrorKind::Claims if time("nbf").is_err() => IdTokenError::NotBefore,
        VerifyErrorKind::Claims if payload.string("sub").is_err() => IdTokenError::Subject,
        VerifyErrorKind::Claims if payload.member("aud").is_some_and(is_no_audience) => {
            IdTokenError::Audience
        }
        VerifyErrorKind::NotYetValid
            if time("iat").is_ok_and(|iat| iat > Some(now.saturating_add(LEEWAY))) =>
        {
            IdTokenError::IssuedLater
        }
        _ => general,
    }
}

fn is_no_audience(aud: &Json<'_>) -> bool {
    match aud {
        Json::String(_) => false,
        Json::Array(many) => many.iter().any(|one| one.as_str().is_none()),
        _ => true,
    }
}

impl IdTokenError {
    /// The stable name of the reason (`L73`).
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "keys_unavailable",
            Self::Token(kind) => match kind {
                VerifyErrorKind::TooLong => "id_token_too_long",
                VerifyErrorKind::Algorithm => "id_token_algorithm",
                VerifyErrorKind::Extension => "id_token_extension",
                VerifyErrorKind::Type => "id_token_type",
                VerifyErrorKind::Issuer => "id_token_issuer",
                VerifyErrorKind::UnknownKey => "id_token_key_unknown",
                VerifyErrorKind::UnfitKey => "id_token_key_unfit",
                VerifyErrorKind::AmbiguousKey => "id_token_key_ambiguous",
                VerifyErrorKind::Signature => "id_token_signature",
                VerifyErrorKind::Claims => "id_token_claims",
                VerifyErrorKind::Expired => "id_token_expired",
                VerifyErrorKind::NotYetValid => "id_token_not_yet_valid",
                _ => "id_token_malformed",
            },
            Self::Subject => "id_token_subject",
            Self::Audience => "id_token_audience",
            Self::NoAuthorizedParty => "id_token_no_authorized_party",
            Self::UntrustedAudience => "id_token_untrusted_audience",
            Self::AuthorizedParty => "id_token_authorized_party",
            Self::Expiry => "id_token_expiry",
            Self::IssuedAt => "id_token_issued_at",
            Self::IssuedLater => "id_token_issued_later",
            Self::IssuedLongAgo => "id_token_issued_long_ago",
            Self::NotBefore => "id_token_not_before",
            Self::NoNonce => "id_token_no_nonce",
            Self::Nonce => "id_token_nonce",
            Self::UnexpectedNonce => "id_token_unexpected_nonce",
            Self::AccessTokenHash => "id_token_access_token_hash",
            Self::CodeHash => "id_token_code_hash",
            Self::StateHash => "id_token_state_hash",
            Self::AuthTime => "id_token_auth_time",
            Self::AuthenticatedLongAgo => "id_token_authenticated_long_ago",
            Self::AuthenticationContext => "id_token_authentication_context",
            Self::OtherSubject => "id_token_other_subject",
            Self::OtherAuthTime => "id_token_other_auth_time",
        }
    }
    /// Whether the token says that it is of another server, of another person or for another client:
    /// what is in the same answer is then not ours to use (`L28`).
    pub(crate) fn is_another_identity(&self) -> bool {
        match self {
            Self::Token(kind) => *kind == VerifyErrorKind::Issuer,
            Self::OtherSubject
            | Self::Audience
            | Self::NoAuthorizedParty
            | Self::UntrustedAudience
            | Self::AuthorizedParty => true,
            _ => false,
        }
    }
}
