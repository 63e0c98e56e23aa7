//! Validation of the ID token of a refresh response against that of the login (OpenID Connect Core §12.2).

use super::error::IdTokenError;
use super::{
    LEEWAY, check_age, check_audience, check_subject, hash_matches, rules, specific_error,
};
use crate::clock::unix_seconds;
use crate::crypto::Jws;
use crate::issuer::AuthorizationServer;
use crate::protocol::claims::{RegisteredClaims, seconds};
use crate::protocol::json::{Json, Object, parse_object};
use crate::protocol::{AccessToken, Claims, IdToken, Nonce};
use crate::token::error::VerifyErrorKind;
use crate::token::jws;

/// The values that the ID token of a refresh must match.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RefreshExpectations<'a> {
    pub(crate) client_id: &'a str,
    /// The claims of the ID token of the login.
    pub(crate) login_claims: &'a Claims,
    /// The access token of the same response.
    pub(crate) access_token: &'a AccessToken,
}

/// Validates the ID token of a refresh.
///
/// Returns `None` if the keys are unavailable. Then only issuer, subject and audience are checked, without the signature,
/// relying on TLS to the token endpoint (OpenID Connect Core §3.1.3.7 (6)), and no claim is used. The ID token is
/// optional in a refresh response, so an outage of the keys must not cost the rotated refresh token.
pub(crate) async fn verify(
    server: &AuthorizationServer,
    id_token: &IdToken,
    expected: &RefreshExpectations<'_>,
) -> Result<Option<Claims>, IdTokenError> {
    let now = unix_seconds(&**server.clock());
    let signed = jws::verify(server, id_token.expose(), &rules())
        .await
        .map_err(|error| specific_error(&error, id_token, now));
    let signed = match signed {
        Err(IdTokenError::Unavailable(_)) => {
            return check_unverified(id_token, expected).map(|()| None);
        }
        signed => signed?,
    };
    let payload = parse_object(signed.payload.as_bytes()).map_err(|_| malformed())?;
    check_identity(&payload, &signed.registered, expected)?;
    check_age(&signed.registered, now)?;
    check_login(&payload, expected)?;
    // OpenID Connect Core §3.1.3.8.
    if !hash_matches(
        &payload,
        signed.algorithm,
        "at_hash",
        expected.access_token.expose(),
    ) {
        return Err(IdTokenError::AccessTokenHash);
    }
    Ok(Some(Claims::new(signed.payload, signed.registered)))
}

/// Checks the identity only. The issuer was compared before the keys were requested.
fn check_unverified(
    id_token: &IdToken,
    expected: &RefreshExpectations<'_>,
) -> Result<(), IdTokenError> {
    let jws = Jws::read(id_token.expose()).map_err(|_| malformed())?;
    let payload = parse_object(jws.payload()).map_err(|_| malformed())?;
    let registered = RegisteredClaims::read(&payload).map_err(|_| malformed())?;
    check_identity(&payload, &registered, expected)
}

/// §12.2: the same subject and audience. The audience of the first ID token was this client only.
fn check_identity(
    payload: &Object<'_>,
    claims: &RegisteredClaims,
    expected: &RefreshExpectations<'_>,
) -> Result<(), IdTokenError> {
    check_subject(claims)?;
    if claims.subject.as_deref() != expected.login_claims.subject() {
        return Err(IdTokenError::OtherSubject);
    }
    check_audience(payload, claims, expected.client_id)
}

/// §12.2: the nonce is absent or that of the login, and `auth_time` is the time of the original authentication.
fn check_login(
    payload: &Object<'_>,
    expected: &RefreshExpectations<'_>,
) -> Result<(), IdTokenError> {
    let first =
        parse_object(expected.login_claims.as_json().as_bytes()).map_err(|_| malformed())?;
    if let Some(sent) = payload.member("nonce") {
        let nonce = |member: &Json<'_>| member.as_str().map(Nonce::new);
        match first.member("nonce").and_then(nonce) {
            None => return Err(IdTokenError::UnexpectedNonce),
            first if nonce(sent) == first => {}
            Some(_) => return Err(IdTokenError::Nonce),
        }
    }
    let time = |object: &Object<'_>| {
        seconds(object.member("auth_time"), f64::floor).map_err(|_| IdTokenError::AuthTime)
    };
    let agrees = match (time(payload)?, time(&first).unwrap_or_default()) {
        (Some(now), Some(then)) => now == then,
        // The first ID token has no `auth_time`, but the authentication was before it was issued.
        (Some(now), None) => expected
            .login_claims
            .registered()
            .issued_at
            .is_none_or(|issued_at| now <= issued_at.saturating_add(LEEWAY)),
        (None, _) => true,
    };
    if agrees {
        Ok(())
    } else {
        Err(IdTokenError::OtherAuthTime)
    }
}

fn malformed() -> IdTokenError {
    IdTokenError::Token(VerifyErrorKind::Malformed)
}
