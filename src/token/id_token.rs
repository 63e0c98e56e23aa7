//! The ID token of a login, OpenID Connect Core §3.1.3.7.
//!
//! It came over TLS from the token endpoint, which would excuse from checking its signature; it is
//! checked all the same. Encrypted ID tokens are not read.

use super::error::{VerifyError, VerifyErrorKind};
use super::jws::{self, Rules, Signed};
use crate::clock::unix_seconds;
use crate::crypto::{Algorithm, DEFAULT_ALGORITHMS, Jws, base64url, digest, same_media_type};
use crate::issuer::{AuthorizationServer, TokenSource, Unavailable};
use crate::protocol::claims::{Registered, seconds};
use crate::protocol::json::{Json, Object, parse_object};
use crate::protocol::{AccessToken, AuthorizationCode, Claims, IdToken, Nonce, State};

/// How far the clocks may be apart, in seconds.
pub(crate) const LEEWAY: i64 = 30;

/// How old an ID token may be at a login, in seconds (`L24`): it was issued a moment ago.
const MAX_AGE: i64 = 600;

/// What this very login asked for, which the ID token must answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected<'a> {
    pub(crate) client_id: &'a str,
    /// `None` where none was sent: then none may come back.
    pub(crate) nonce: Option<&'a Nonce>,
    pub(crate) access_token: &'a AccessToken,
    pub(crate) code: &'a AuthorizationCode,
    pub(crate) state: &'a State,
    pub(crate) max_age: Option<u32>,
    /// When the login was started, in seconds since 1970: `max_age` counts back from there.
    pub(crate) asked_at: i64,
    /// Space-separated.
    pub(crate) acr_values: Option<&'a str>,
}

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
}

/// Verifies an ID token of this server for this login.
pub(crate) async fn verify(
    server: &AuthorizationServer,
    id_token: &IdToken,
    expected: &Expected<'_>,
) -> Result<Claims, IdTokenError> {
    let rules = Rules {
        algorithms: DEFAULT_ALGORITHMS.to_vec(),
        media_type: is_id_token_type,
        leeway: LEEWAY,
        needs_expiry: true,
        source: TokenSource::BackChannel,
    };
    let now = unix_seconds(&**server.clock());
    let signed = jws::verify(server, id_token.expose(), &rules)
        .await
        .map_err(|error| explain(&error, id_token, now))?;
    check(&signed, expected, now)?;
    Ok(Claims::new(signed.payload, signed.registered))
}

/// An ID token has no type of its own. One that says to be an access token, a logout token or
/// whatever else is that (RFC 8725 §3.12).
pub(crate) fn is_id_token_type(media_type: Option<&str>) -> bool {
    media_type.is_none_or(|sent| same_media_type(sent, "JWT"))
}

/// The checks that need to know the login.
fn check(signed: &Signed, expected: &Expected<'_>, now: i64) -> Result<(), IdTokenError> {
    let payload = parse_object(signed.payload.as_bytes())
        .map_err(|_| IdTokenError::Token(VerifyErrorKind::Malformed))?;
    check_subject(&signed.registered)?;
    check_audience(&payload, &signed.registered, expected.client_id)?;

    // OpenID Connect Core §2: `iat` is required; `L24`: and recent.
    let issued_at = signed.registered.issued_at.ok_or(IdTokenError::IssuedAt)?;
    if issued_at < now.saturating_sub(MAX_AGE + LEEWAY) {
        return Err(IdTokenError::IssuedLongAgo);
    }
    check_nonce(payload.member("nonce"), expected.nonce)?;
    check_hashes(&payload, signed.algorithm, expected)?;
    check_authentication(&payload, expected)
}

/// OpenID Connect Core §2: at most 255 ASCII characters. A NUL ends a string in too many databases.
fn check_subject(claims: &Registered) -> Result<(), IdTokenError> {
    let subject = claims.subject.as_deref().ok_or(IdTokenError::Subject)?;
    if !(1..=255).contains(&subject.len()) || !subject.is_ascii() || subject.contains('\0') {
        return Err(IdTokenError::Subject);
    }
    Ok(())
}

/// OpenID Connect Core §3.1.3.7, steps 3 to 5 (`L23`): for us, for no one else, and not because
/// somebody else asked for it.
pub(super) fn check_audience(
    payload: &Object<'_>,
    claims: &Registered,
    client_id: &str,
) -> Result<(), IdTokenError> {
    if !claims.audience.iter().any(|one| **one == *client_id) {
        return Err(IdTokenError::Audience);
    }
    match payload.member("azp") {
        Some(azp) if azp.as_str() != Some(client_id) => Err(IdTokenError::AuthorizedParty),
        None if claims.audience.len() > 1 => Err(IdTokenError::NoAuthorizedParty),
        _ if claims.audience.iter().any(|one| **one != *client_id) => {
            Err(IdTokenError::UntrustedAudience)
        }
        _ => Ok(()),
    }
}

/// OpenID Connect Core §3.1.3.7, step 11 (`L25`): the token was made for this login.
fn check_nonce(sent: Option<&Json<'_>>, expected: Option<&Nonce>) -> Result<(), IdTokenError> {
    match (sent, expected) {
        (None, None) => Ok(()),
        (None, Some(_)) => Err(IdTokenError::NoNonce),
        (Some(_), None) => Err(IdTokenError::UnexpectedNonce),
        // Equality of secrets takes the same time wherever two differ.
        (Some(sent), Some(expected))
            if sent.as_str().map(Nonce::new).as_ref() == Some(expected) =>
        {
            Ok(())
        }
        _ => Err(IdTokenError::Nonce),
    }
}

/// OpenID Connect Core §3.1.3.8 and §3.3.2.11 (`L26`): what is there must fit, though a code flow may
/// leave each of them out.
fn check_hashes(
    payload: &Object<'_>,
    algorithm: Algorithm,
    expected: &Expected<'_>,
) -> Result<(), IdTokenError> {
    let fits = |name, value: &str| {
        payload
            .member(name)
            .is_none_or(|sent| sent.as_str() == Some(&*half_hash(algorithm, value.as_bytes())))
    };
    if !fits("at_hash", expected.access_token.expose()) {
        return Err(IdTokenError::AccessTokenHash);
    }
    if !fits("c_hash", expected.code.expose()) {
        return Err(IdTokenError::CodeHash);
    }
    if !fits("s_hash", expected.state.expose()) {
        return Err(IdTokenError::StateHash);
    }
    Ok(())
}

/// The left half of the digest that the signature's algorithm uses, in base64url.
pub(crate) fn half_hash(algorithm: Algorithm, value: &[u8]) -> String {
    let half = |digest: &[u8]| base64url::encode(&digest[..digest.len() / 2]);
    match algorithm {
        Algorithm::Rs384 | Algorithm::Ps384 | Algorithm::Es384 => half(&digest::sha384(value)),
        // Ed25519 names no digest of its own; everyone uses the one inside it.
        Algorithm::Rs512 | Algorithm::Ps512 | Algorithm::EdDsa => half(&digest::sha512(value)),
        Algorithm::Rs256 | Algorithm::Ps256 | Algorithm::Es256 => half(&digest::sha256(value)),
    }
}

/// OpenID Connect Core §3.1.3.7, steps 12 and 13 (`L27`): what was asked of the sign-in happened.
fn check_authentication(payload: &Object<'_>, expected: &Expected<'_>) -> Result<(), IdTokenError> {
    let auth_time =
        seconds(payload.member("auth_time"), f64::floor).map_err(|_| IdTokenError::AuthTime)?;
    if let Some(max_age) = expected.max_age {
        let auth_time = auth_time.ok_or(IdTokenError::AuthTime)?;
        // Counted from the start of the login: reading the consent page makes no sign-in older.
        if auth_time
            < expected
                .asked_at
                .saturating_sub(i64::from(max_age) + LEEWAY)
        {
            return Err(IdTokenError::AuthenticatedLongAgo);
        }
    }
    if let Some(wanted) = expected.acr_values {
        let acr = payload.member("acr").and_then(Json::as_str);
        if !acr.is_some_and(|acr| wanted.split(' ').any(|one| one == acr)) {
            return Err(IdTokenError::AuthenticationContext);
        }
    }
    Ok(())
}

/// Names the claim where the common checks of all tokens only say that one was wrong: an operator
/// reads it in the log. The token is refused already.
fn explain(error: &VerifyError, id_token: &IdToken, now: i64) -> IdTokenError {
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
        }
    }
}
