//! Validation of the ID tokens of logins (OpenID Connect Core §3.1.3.7) and of refreshes (§12.2).
//!
//! The signature is always verified, although §3.1.3.7 (6) does not require this for a response of the token endpoint
//! over TLS. Encrypted ID tokens are not supported.

mod acr_values;
mod claim_requirements;
mod error;
#[cfg(test)]
mod issuer_tests;
pub(crate) mod refreshed;
mod settings;
#[cfg(test)]
pub(crate) mod tests;

use super::error::{VerifyError, VerifyErrorKind};
use super::expected_issuer::ExpectedIssuer;
use super::explanation::{Explanation, ahead, past};
use super::jws::{MediaTypes, Rules, Signed};
use crate::clock::unix_seconds;
use crate::crypto::{Algorithm, Jws, base64url, digest, same_media_type};
use crate::issuer::{AuthorizationServer, FetchBudget};
use crate::protocol::claims::{RegisteredClaims, auth_time, seconds};
use crate::protocol::json::{Json, Object, parse_object};
use crate::protocol::limits::MAX_RECEIVED_TOKEN;
use crate::protocol::sanitize::listed;
use crate::protocol::{AccessToken, AuthorizationCode, Claims, IdToken, Nonce, State};

pub(crate) use acr_values::AcrValues;
pub(crate) use claim_requirements::ClaimRequirements;
pub(crate) use error::IdTokenError;
pub(crate) use settings::IdTokenSettings;

/// The maximum age of an ID token at a login, in seconds (OpenID Connect Core §3.1.3.7 (10)).
const MAX_AGE: i64 = 600;

/// The values of this login that the ID token must match.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LoginExpectations<'a> {
    pub(crate) settings: &'a IdTokenSettings,
    pub(crate) client_id: &'a str,
    /// `None` if none was sent. The ID token must then have no nonce.
    pub(crate) nonce: Option<&'a Nonce>,
    pub(crate) access_token: &'a AccessToken,
    pub(crate) code: &'a AuthorizationCode,
    pub(crate) state: &'a State,
    pub(crate) max_age: Option<u32>,
    /// The start of the login, in seconds since the Unix epoch: `max_age` is measured back from there.
    pub(crate) started_at: i64,
    pub(crate) acr_values: Option<&'a AcrValues>,
    /// What every login of the application requests, and what this one does.
    pub(crate) claims: [&'a ClaimRequirements; 2],
}

/// Validates an ID token of this server for this login.
pub(crate) async fn verify(
    server: &AuthorizationServer,
    id_token: &IdToken,
    expected: &LoginExpectations<'_>,
) -> Result<Claims, IdTokenError> {
    let now = unix_seconds(&**server.clock());
    let settings = expected.settings;
    let signed = settings
        .verify(server, id_token.expose(), rules())
        .await
        .map_err(|error| specific_error(settings, &error, id_token, now))?;
    check(&signed, expected, now)?;
    let claims = Claims::new(signed.payload, signed.registered);
    for requirements in expected.claims {
        requirements.check(&claims)?;
    }
    Ok(claims)
}

/// Returns the rules for the ID tokens of logins and of refreshes, before those of the settings.
fn rules() -> Rules {
    Rules {
        max_length: MAX_RECEIVED_TOKEN,
        algorithms: Vec::new(),
        media_types: MediaTypes::Checked(is_id_token_type),
        leeway: 0,
        requires_expiry: true,
        accepts_repeats: false,
        issuer: ExpectedIssuer::Exact,
        fetch_budget: FetchBudget::BackChannel,
    }
}

/// Returns whether `typ` is accepted. ID tokens have no explicit type, so the type of another token is rejected
/// (RFC 8725 §3.12).
pub(crate) fn is_id_token_type(media_type: Option<&str>) -> bool {
    media_type.is_none_or(|sent| same_media_type(sent, "JWT"))
}

/// Determines which claim is wrong if the checks for all tokens report only that one is, and by how much a time is wrong:
/// for the log. The token is already rejected. Of its values only the algorithm and seconds are named.
fn specific_error(
    settings: &IdTokenSettings,
    error: &VerifyError,
    id_token: &IdToken,
    now: i64,
) -> IdTokenError {
    if let Some(unavailable) = error.unavailable() {
        return IdTokenError::Unavailable(unavailable.clone());
    }
    let general = IdTokenError::Token(error.kind());
    if let (VerifyErrorKind::Issuer | VerifyErrorKind::UnfitKey, true) =
        (error.kind(), error.is_explained())
    {
        return general.explained(error.explanation().unwrap_or_default());
    }
    let jws = Jws::read(id_token.expose());
    if error.kind() == VerifyErrorKind::Algorithm {
        return general.explained(settings.explain_algorithm(jws.ok().map(|jws| jws.algorithm())));
    }
    let Ok(jws) = jws else {
        return general;
    };
    let Ok(payload) = parse_object(jws.payload()) else {
        return general;
    };
    let time = |name| seconds(payload.value(name), f64::floor);
    match error.kind() {
        VerifyErrorKind::Claims if !matches!(time("exp"), Ok(Some(_))) => IdTokenError::Expiry,
        VerifyErrorKind::Claims if time("iat").is_err() => IdTokenError::IssuedAt,
        VerifyErrorKind::Claims if time("nbf").is_err() => IdTokenError::NotBefore,
        VerifyErrorKind::Claims if payload.identifier("sub").is_err() => IdTokenError::Subject,
        VerifyErrorKind::Claims if payload.value("aud").is_some_and(is_invalid_audience) => {
            IdTokenError::Audience
        }
        VerifyErrorKind::Expired => match time("exp") {
            Ok(Some(exp)) => general.explained(wrong_time(settings, past("exp", exp, now))),
            _ => general,
        },
        VerifyErrorKind::NotYetValid => {
            let latest = now.saturating_add(settings.leeway);
            match (time("iat"), time("nbf")) {
                (Ok(Some(iat)), _) if iat > latest => IdTokenError::IssuedLater
                    .explained(wrong_time(settings, ahead("iat", iat, now))),
                (_, Ok(Some(nbf))) => {
                    general.explained(wrong_time(settings, ahead("nbf", nbf, now)))
                }
                _ => general,
            }
        }
        _ => general,
    }
}

/// Explains a time that is wrong by more than the leeway.
fn wrong_time(settings: &IdTokenSettings, found: String) -> Explanation {
    let expected = format!("a difference of at most {} seconds", settings.leeway);
    let setting = "LoginLayer::with_leeway, or the clock of this or of the authorization server";
    Explanation::new(found, expected, setting)
}

fn is_invalid_audience(aud: &Json<'_>) -> bool {
    match aud {
        Json::String(_) => false,
        Json::Array(many) => many.iter().any(|one| one.as_str().is_none()),
        _ => true,
    }
}

/// Runs the checks that depend on the login.
fn check(signed: &Signed, expected: &LoginExpectations<'_>, now: i64) -> Result<(), IdTokenError> {
    let payload = parse_object(signed.payload.as_bytes())
        .map_err(|_| IdTokenError::Token(VerifyErrorKind::Malformed))?;
    check_subject(&signed.registered)?;
    let settings = expected.settings;
    check_audience(settings, &payload, &signed.registered, expected.client_id)?;

    check_age(settings, &signed.registered, now)?;
    check_nonce(payload.member("nonce"), expected.nonce)?;
    check_hashes(&payload, signed.algorithm, expected)?;
    check_authentication(&payload, &signed.registered, expected)
}

/// OpenID Connect Core §2: `iat` is required. §3.1.3.7 (10): it must be recent.
fn check_age(
    settings: &IdTokenSettings,
    claims: &RegisteredClaims,
    now: i64,
) -> Result<(), IdTokenError> {
    let issued_at = claims.issued_at.ok_or(IdTokenError::IssuedAt)?;
    if issued_at < now.saturating_sub(MAX_AGE + settings.leeway) {
        let mut explanation = wrong_time(settings, past("iat", issued_at, now));
        explanation.expected = format!("iat at most {MAX_AGE} seconds ago").into();
        return Err(IdTokenError::IssuedLongAgo.explained(explanation));
    }
    Ok(())
}

/// OpenID Connect Core §2: at most 255 ASCII characters. NUL is rejected because it terminates strings in some databases.
fn check_subject(claims: &RegisteredClaims) -> Result<(), IdTokenError> {
    let subject = claims.subject.as_deref().ok_or(IdTokenError::Subject)?;
    if !(1..=255).contains(&subject.len()) || !subject.is_ascii() || subject.contains('\0') {
        return Err(IdTokenError::Subject);
    }
    Ok(())
}

/// OpenID Connect Core §3.1.3.7 (3) to (5): this client is the only audience beside trusted ones, and the authorized party
/// if there are others or `azp` is present.
pub(super) fn check_audience(
    settings: &IdTokenSettings,
    payload: &Object<'_>,
    claims: &RegisteredClaims,
    client_id: &str,
) -> Result<(), IdTokenError> {
    if !claims.has_audience(client_id) {
        return Err(IdTokenError::Audience);
    }
    match payload.value("azp") {
        Some(azp) if azp.as_str() != Some(client_id) => Err(IdTokenError::AuthorizedParty),
        None if has_other_audience(claims, client_id) => Err(IdTokenError::NoAuthorizedParty),
        _ => check_other_audiences(settings, claims, client_id),
    }
}

fn has_other_audience(claims: &RegisteredClaims, client_id: &str) -> bool {
    claims.audience.iter().any(|one| **one != *client_id)
}

/// Checks that every audience beside this client is trusted.
pub(super) fn check_other_audiences(
    settings: &IdTokenSettings,
    claims: &RegisteredClaims,
    client_id: &str,
) -> Result<(), IdTokenError> {
    let is_permitted = |one: &str| one == client_id || settings.trusts(one);
    if claims.audience.iter().all(|one| is_permitted(one)) {
        return Ok(());
    }
    let found = listed(claims.audience.iter().map(|one| &**one));
    let explanation = Explanation::new(
        format!("aud {found}"),
        "this client and trusted audiences",
        "LoginLayer::with_trusted_audiences",
    );
    Err(IdTokenError::UntrustedAudience.explained(explanation))
}

/// OpenID Connect Core §3.1.3.7 (11): the nonce is that of this login.
fn check_nonce(sent: Option<&Json<'_>>, expected: Option<&Nonce>) -> Result<(), IdTokenError> {
    match (sent, expected) {
        (None, None) => Ok(()),
        (None, Some(_)) => Err(IdTokenError::NoNonce),
        (Some(_), None) => Err(IdTokenError::UnexpectedNonce),
        // `Nonce` is compared in constant time.
        (Some(sent), Some(expected))
            if sent.as_str().map(Nonce::new).as_ref() == Some(expected) =>
        {
            Ok(())
        }
        _ => Err(IdTokenError::Nonce),
    }
}

/// OpenID Connect Core §3.1.3.8, §3.3.2.11: the hashes are optional in the code flow, and checked if present.
fn check_hashes(
    payload: &Object<'_>,
    algorithm: Algorithm,
    expected: &LoginExpectations<'_>,
) -> Result<(), IdTokenError> {
    if !hash_matches(
        payload,
        algorithm,
        "at_hash",
        expected.access_token.expose(),
    ) {
        return Err(IdTokenError::AccessTokenHash);
    }
    if !hash_matches(payload, algorithm, "c_hash", expected.code.expose()) {
        return Err(IdTokenError::CodeHash);
    }
    if !hash_matches(payload, algorithm, "s_hash", expected.state.expose()) {
        return Err(IdTokenError::StateHash);
    }
    Ok(())
}

fn hash_matches(payload: &Object<'_>, algorithm: Algorithm, name: &str, value: &str) -> bool {
    payload
        .value(name)
        .is_none_or(|sent| sent.as_str() == Some(&*half_hash(algorithm, value.as_bytes())))
}

/// Returns the left half of a digest, in base64url. The hash function is that of the signature algorithm.
pub(crate) fn half_hash(algorithm: Algorithm, value: &[u8]) -> String {
    let half = |digest: &[u8]| base64url::encode(&digest[..digest.len() / 2]);
    match algorithm {
        Algorithm::Rs384 | Algorithm::Ps384 | Algorithm::Es384 => half(&digest::sha384(value)),
        // Not specified for EdDSA; authorization servers use SHA-512, the hash function of Ed25519.
        Algorithm::Rs512 | Algorithm::Ps512 | Algorithm::EdDsa => half(&digest::sha512(value)),
        Algorithm::Rs256 | Algorithm::Ps256 | Algorithm::Es256 => half(&digest::sha256(value)),
    }
}

/// OpenID Connect Core §3.1.3.7 (12), (13): the authentication satisfies `acr_values` and `max_age`.
fn check_authentication(
    payload: &Object<'_>,
    claims: &RegisteredClaims,
    expected: &LoginExpectations<'_>,
) -> Result<(), IdTokenError> {
    if let Some(max_age) = expected.max_age {
        let auth_time = auth_time(payload).ok_or(IdTokenError::AuthTime)?;
        // An authentication precedes its token.
        let issued_at = claims.issued_at.ok_or(IdTokenError::IssuedAt)?;
        if auth_time > issued_at.saturating_add(expected.settings.leeway) {
            return Err(IdTokenError::AuthTime);
        }
        // Measured from the start of the login, so that the time on a consent page does not count.
        if auth_time
            < expected
                .started_at
                .saturating_sub(i64::from(max_age) + expected.settings.leeway)
        {
            return Err(IdTokenError::AuthenticatedLongAgo);
        }
    }
    if let Some(requested) = expected.acr_values {
        let acr = payload.member("acr").and_then(Json::as_str);
        if !acr.is_some_and(|acr| requested.contain(acr)) {
            return Err(IdTokenError::AuthenticationContext);
        }
    }
    Ok(())
}
