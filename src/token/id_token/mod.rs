//! The ID token of a login, OpenID Connect Core §3.1.3.7, and that of a refresh, §12.2.
//!
//! It came over TLS from the token endpoint, which would excuse from checking its signature; it is
//! checked all the same. Encrypted ID tokens are not read.

mod error;
pub(crate) mod refreshed;

use super::error::VerifyErrorKind;
use super::jws::{self, Rules, Signed};
use crate::clock::unix_seconds;
use crate::crypto::{Algorithm, DEFAULT_ALGORITHMS, base64url, digest, same_media_type};
use crate::issuer::{AuthorizationServer, FetchBudget};
use crate::protocol::claims::{RegisteredClaims, seconds};
use crate::protocol::json::{Json, Object, parse_object};
use crate::protocol::{AccessToken, AuthorizationCode, Claims, IdToken, Nonce, State};

pub(crate) use error::IdTokenError;
use error::explain;

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

/// Verifies an ID token of this server for this login.
pub(crate) async fn verify(
    server: &AuthorizationServer,
    id_token: &IdToken,
    expected: &Expected<'_>,
) -> Result<Claims, IdTokenError> {
    let now = unix_seconds(&**server.clock());
    let signed = jws::verify(server, id_token.expose(), &rules())
        .await
        .map_err(|error| explain(&error, id_token, now))?;
    check(&signed, expected, now)?;
    Ok(Claims::new(signed.payload, signed.registered))
}

/// The rules of every ID token, whenever it came.
fn rules() -> Rules {
    Rules {
        algorithms: DEFAULT_ALGORITHMS.to_vec(),
        media_type: is_id_token_type,
        leeway: LEEWAY,
        needs_expiry: true,
        source: FetchBudget::BackChannel,
    }
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

    check_age(&signed.registered, now)?;
    check_nonce(payload.member("nonce"), expected.nonce)?;
    check_hashes(&payload, signed.algorithm, expected)?;
    check_authentication(&payload, expected)
}

/// OpenID Connect Core §2: `iat` is required; `L24`: and recent.
fn check_age(claims: &RegisteredClaims, now: i64) -> Result<(), IdTokenError> {
    let issued_at = claims.issued_at.ok_or(IdTokenError::IssuedAt)?;
    if issued_at < now.saturating_sub(MAX_AGE + LEEWAY) {
        return Err(IdTokenError::IssuedLongAgo);
    }
    Ok(())
}

/// OpenID Connect Core §2: at most 255 ASCII characters. A NUL ends a string in too many databases.
fn check_subject(claims: &RegisteredClaims) -> Result<(), IdTokenError> {
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
    claims: &RegisteredClaims,
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
    if !fits(
        payload,
        algorithm,
        "at_hash",
        expected.access_token.expose(),
    ) {
        return Err(IdTokenError::AccessTokenHash);
    }
    if !fits(payload, algorithm, "c_hash", expected.code.expose()) {
        return Err(IdTokenError::CodeHash);
    }
    if !fits(payload, algorithm, "s_hash", expected.state.expose()) {
        return Err(IdTokenError::StateHash);
    }
    Ok(())
}

fn fits(payload: &Object<'_>, algorithm: Algorithm, name: &str, value: &str) -> bool {
    payload
        .member(name)
        .is_none_or(|sent| sent.as_str() == Some(&*half_hash(algorithm, value.as_bytes())))
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
