//! The ID token that a refresh may bring, OpenID Connect Core §12.2: held against the first one.

use super::error::{IdTokenError, explain};
use super::{LEEWAY, check_age, check_audience, check_subject, fits, rules};
use crate::clock::unix_seconds;
use crate::crypto::Jws;
use crate::issuer::AuthorizationServer;
use crate::protocol::claims::{RegisteredClaims, seconds};
use crate::protocol::json::{Json, Object, parse_object};
use crate::protocol::{AccessToken, Claims, IdToken, Nonce};
use crate::token::error::VerifyErrorKind;
use crate::token::jws;

/// What the ID token of a refresh has to agree with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Before<'a> {
    pub(crate) client_id: &'a str,
    /// The claims of the ID token of the login.
    pub(crate) claims: &'a Claims,
    /// The access token of the same answer.
    pub(crate) access_token: &'a AccessToken,
}

/// Verifies the ID token of a refresh (`L28`).
///
/// `None` where its signature cannot be checked for want of the keys: nothing is believed of it then,
/// but that it speaks of the same person for the same client, which TLS to the token endpoint vouches
/// for (§3.1.3.7, step 6). A refresh need not bring an ID token at all, so an outage of the keys is
/// no reason to lose a refresh token that was just replaced.
pub(crate) async fn verify(
    server: &AuthorizationServer,
    id_token: &IdToken,
    before: &Before<'_>,
) -> Result<Option<Claims>, IdTokenError> {
    let now = unix_seconds(&**server.clock());
    let signed = jws::verify(server, id_token.expose(), &rules())
        .await
        .map_err(|error| explain(&error, id_token, now));
    let signed = match signed {
        Err(IdTokenError::Unavailable(_)) => {
            return check_unsigned(id_token, before).map(|()| None);
        }
        signed => signed?,
    };
    let payload = parse_object(signed.payload.as_bytes()).map_err(|_| malformed())?;
    check_identity(&payload, &signed.registered, before)?;
    check_age(&signed.registered, now)?;
    check_first(&payload, before)?;
    // OpenID Connect Core §3.1.3.8 (`L26`).
    if !fits(
        &payload,
        signed.algorithm,
        "at_hash",
        before.access_token.expose(),
    ) {
        return Err(IdTokenError::AccessTokenHash);
    }
    Ok(Some(Claims::new(signed.payload, signed.registered)))
}

/// Its issuer was compared before the keys were asked for.
fn check_unsigned(id_token: &IdToken, before: &Before<'_>) -> Result<(), IdTokenError> {
    let jws = Jws::read(id_token.expose()).map_err(|_| malformed())?;
    let payload = parse_object(jws.payload()).map_err(|_| malformed())?;
    let registered = RegisteredClaims::read(&payload).map_err(|_| malformed())?;
    check_identity(&payload, &registered, before)
}

/// §12.2: the same person, for the same client and for no one else. The audience of the first token
/// was this client alone (`L23`), and so is this one's.
fn check_identity(
    payload: &Object<'_>,
    claims: &RegisteredClaims,
    before: &Before<'_>,
) -> Result<(), IdTokenError> {
    check_subject(claims)?;
    if claims.subject.as_deref() != before.claims.subject() {
        return Err(IdTokenError::OtherSubject);
    }
    check_audience(payload, claims, before.client_id)
}

/// §12.2: no nonce, or that of the login (`L25`); and the time of that sign-in, not of this refresh.
fn check_first(payload: &Object<'_>, before: &Before<'_>) -> Result<(), IdTokenError> {
    let first = parse_object(before.claims.as_json().as_bytes()).map_err(|_| malformed())?;
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
        // The first one did not say, but nobody signed in after it was issued.
        (Some(now), None) => before
            .claims
            .issued_at()
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
