//! Validation of signed authorization responses ([JARM]): `response` of the modes `jwt` and `form_post.jwt`.
//!
//! A browser brings them, so nothing of one is used before its signature is verified. Unknown keys are fetched from a
//! separate budget, and only if the browser has a login in progress. Encrypted responses are not supported.
//!
//! [JARM]: https://openid.net/specs/oauth-v2-jarm-final.html

use crate::clock::unix_seconds;
use crate::crypto::{Jws, same_media_type};
use crate::issuer::{AuthorizationServer, FetchBudget, Unavailable};
use crate::protocol::authorization_response::{
    AuthorizationResponse, InvalidAuthorizationResponse,
};
use crate::protocol::claims::{RegisteredClaims, seconds};
use crate::protocol::json::{parse_object, parse_object_with_repeats};
use crate::protocol::limits::MAX_PRESENTED_TOKEN;
use crate::protocol::sanitize::{listed, log_safe};
use crate::token::error::{VerifyError, VerifyErrorKind};
use crate::token::expected_issuer::ExpectedIssuer;
use crate::token::explanation::{Explanation, ahead, past};
use crate::token::id_token::{IdTokenSettings, check_other_audiences};
use crate::token::jws::{MediaTypes, Rules};

/// Why a response JWT was rejected.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum ResponseJwtError {
    #[error("the key set is unavailable")]
    Unavailable(#[source] Unavailable),
    #[error(
        "it has five segments: encrypted responses are not supported, register the client without them"
    )]
    Encrypted,
    #[error("{0}")]
    Token(VerifyErrorKind),
    #[error("{kind}: {explanation}")]
    Explained {
        kind: VerifyErrorKind,
        explanation: Explanation,
    },
    #[error("its aud is not that of this client: {0}")]
    Audience(Explanation),
    #[error("{0}")]
    Response(#[from] InvalidAuthorizationResponse),
}

/// Validates a response JWT of this server for this client and returns the response in it.
///
/// Type, issuer, algorithm and times are checked before a key is fetched (JARM §2.4). Unless `has_login`, whether the
/// browser has a login in progress, neither an unknown key nor a signature that is not valid causes a fetch.
pub(crate) async fn verify(
    server: &AuthorizationServer,
    jwt: &str,
    client_id: &str,
    settings: &IdTokenSettings,
    has_login: bool,
) -> Result<AuthorizationResponse, ResponseJwtError> {
    if jwt.split('.').count() == 5 {
        return Err(ResponseJwtError::Encrypted);
    }
    let rules = Rules {
        max_length: MAX_PRESENTED_TOKEN,
        algorithms: Vec::new(),
        media_types: MediaTypes::Checked(is_response_type),
        leeway: 0,
        requires_expiry: true,
        // Keycloak sends `iss` twice.
        accepts_repeats: true,
        issuer: ExpectedIssuer::Exact,
        fetch_budget: match has_login {
            true => FetchBudget::AuthorizationResponse,
            false => FetchBudget::Empty,
        },
    };
    let is_for_us = |claims: &RegisteredClaims| has_login && claims.has_audience(client_id);
    let signed = settings.verify_with_permitted(server, jwt, rules, is_for_us);
    let explain = |error| explain(settings, server, jwt, &error, has_login);
    let signed = signed.await.map_err(explain)?;
    check_audience(settings, &signed.registered, client_id)?;
    let claims = parse_object_with_repeats(&signed.payload)
        .map_err(|_| ResponseJwtError::Token(VerifyErrorKind::Malformed))?;
    Ok(AuthorizationResponse::from_claims(&claims)?)
}

/// Returns whether `typ` is accepted. JARM defines none, so the type of another token is rejected (RFC 8725 §3.12).
fn is_response_type(media_type: Option<&str>) -> bool {
    media_type.is_none_or(|sent| {
        ["JWT", "oauth-authz-resp+jwt"]
            .into_iter()
            .any(|one| same_media_type(sent, one))
    })
}

/// JARM §2.4 (3): this client, beside it trusted audiences only.
fn check_audience(
    settings: &IdTokenSettings,
    claims: &RegisteredClaims,
    client_id: &str,
) -> Result<(), ResponseJwtError> {
    let others = check_other_audiences(settings, claims, client_id);
    match claims.has_audience(client_id) && others.is_ok() {
        true => Ok(()),
        false => Err(ResponseJwtError::Audience(Explanation::new(
            format!("aud {}", listed(claims.audience.iter().map(|one| &**one))),
            format!("{}, beside it trusted audiences only", log_safe(client_id)),
            "the client id of the Client, or LoginLayer::with_trusted_audiences",
        ))),
    }
}

/// Explains a rejection for the log. Of a response that is not verified only the algorithm and seconds are named.
fn explain(
    settings: &IdTokenSettings,
    server: &AuthorizationServer,
    jwt: &str,
    error: &VerifyError,
    has_login: bool,
) -> ResponseJwtError {
    if let Some(unavailable) = error.unavailable() {
        return ResponseJwtError::Unavailable(unavailable.clone());
    }
    let kind = error.kind();
    let jws = Jws::read(jwt).ok();
    let now = unix_seconds(&**server.clock());
    let time = |name| {
        let payload = parse_object(jws.as_ref()?.payload()).ok()?;
        seconds(payload.value(name), f64::floor).ok().flatten()
    };
    let wrong_time = |found| {
        let expected = format!("a difference of at most {} seconds", settings.leeway);
        let setting =
            "LoginLayer::with_leeway, or the clock of this or of the authorization server";
        Explanation::new(found, expected, setting)
    };
    let explanation = match kind {
        VerifyErrorKind::Malformed => Some(Explanation::new(
            "no JWS in compact serialization with strict JSON, or a member that appears with two values",
            "each member once (RFC 7519 §4)",
            "",
        )),
        VerifyErrorKind::Algorithm => {
            Some(settings.explain_algorithm(jws.as_ref().map(Jws::algorithm)))
        }
        VerifyErrorKind::Expired => time("exp").map(|exp| wrong_time(past("exp", exp, now))),
        VerifyErrorKind::NotYetValid => time("nbf")
            .map(|nbf| ("nbf", nbf))
            .into_iter()
            .chain(time("iat").map(|iat| ("iat", iat)))
            .max_by_key(|(_, at)| *at)
            .map(|(name, at)| wrong_time(ahead(name, at, now))),
        VerifyErrorKind::UnknownKey if !has_login => Some(Explanation::new(
            "a key that is not cached, and no cookie of a login in progress, so the key set was not fetched",
            "the browser that started the login",
            "",
        )),
        _ => None,
    };
    match explanation {
        Some(explanation) => ResponseJwtError::Explained { kind, explanation },
        None => ResponseJwtError::Token(kind),
    }
}
