//! Validation of logout tokens (OpenID Connect Back-Channel Logout 1.0 §2.6).
//!
//! The back-channel logout route is public, so a logout token is untrusted until its signature is verified, and unknown
//! keys are fetched from a separate budget.

use crate::clock::unix_seconds;
use crate::crypto::same_media_type;
use crate::issuer::{AuthorizationServer, FetchBudget, Unavailable};
use crate::protocol::claims::RegisteredClaims;
use crate::protocol::json::{Json, Object, parse_object};
use crate::protocol::limits::MAX_PRESENTED_TOKEN;
use crate::token::error::{VerifyError, VerifyErrorKind};
use crate::token::expected_issuer::ExpectedIssuer;
use crate::token::id_token::{self, IdTokenSettings};
use crate::token::jws::{MediaTypes, Rules, Signed};

/// The maximum age of a logout token in seconds, independent of `exp`. Servers retry for some minutes, and each `jti` is
/// kept for this time.
const MAX_AGE: i64 = 600;

/// In bytes: the limit of `sub` (OpenID Connect Core §2), also applied to `sid` and `jti`.
const MAX_IDENTIFIER: usize = 255;

/// The member of `events` that makes a token a logout token.
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// The claims of a validated logout token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogoutToken {
    /// The issuer of the users that it concerns: that of their sessions.
    pub(crate) issuer: String,
    /// `jti`, which identifies a repeated delivery.
    pub(crate) jwt_id: String,
    /// `iat`, in seconds since the Unix epoch, by the clock of the authorization server.
    pub(crate) issued_at: i64,
    /// When the token expires or exceeds the maximum age. Its `jti` is not needed after this time.
    pub(crate) valid_until: i64,
    /// At least one of `subject` and `session_id` is present.
    pub(crate) subject: Option<String>,
    pub(crate) session_id: Option<String>,
}

/// Why a logout token was rejected.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum LogoutTokenError {
    #[error("the key set is unavailable")]
    Unavailable(#[source] Unavailable),
    #[error("{0}")]
    Token(VerifyErrorKind),
    #[error("aud is missing or has other values than this client and trusted audiences")]
    Audience,
    #[error("iat is missing")]
    IssuedAt,
    #[error("iat is too old")]
    IssuedLongAgo,
    #[error("jti is missing, empty or too long")]
    JwtId,
    #[error("events has no logout event that is an object")]
    Event,
    #[error("nonce is present, as in an ID token")]
    Nonce,
    #[error("sub is empty, too long or not ASCII")]
    Subject,
    #[error("sid is empty, too long or not a string")]
    SessionId,
    #[error("sub and sid are missing")]
    NoSubject,
}

/// Returns the issuer of a logout token, which is **not verified**: it only selects the server whose keys verify it.
pub(crate) fn claimed_issuer(token: &str) -> Option<Box<str>> {
    super::issuers::claimed_issuer(token).ok()
}

/// Validates a logout token of this server for this client. Replay is not checked.
pub(crate) async fn verify(
    server: &AuthorizationServer,
    token: &str,
    client_id: &str,
    settings: &IdTokenSettings,
) -> Result<LogoutToken, LogoutTokenError> {
    let rules = Rules {
        max_length: MAX_PRESENTED_TOKEN,
        algorithms: Vec::new(),
        media_types: MediaTypes::Checked(is_logout_token_type),
        leeway: 0,
        // `exp` is required only since 2022, so older servers omit it. The maximum age applies in any case.
        requires_expiry: false,
        accepts_repeats: false,
        issuer: ExpectedIssuer::Exact,
        fetch_budget: FetchBudget::LogoutToken,
    };
    let signed = settings.verify(server, token, rules).await?;
    read(
        &signed,
        client_id,
        settings,
        unix_seconds(&**server.clock()),
    )
}

/// Returns whether `typ` is accepted. Back-Channel Logout §2.4 recommends `logout+jwt` and allows tokens without it for
/// compatibility. The type of another token is rejected (RFC 8725 §3.12).
fn is_logout_token_type(media_type: Option<&str>) -> bool {
    media_type.is_none_or(|sent| {
        ["logout+jwt", "JWT"]
            .into_iter()
            .any(|one| same_media_type(sent, one))
    })
}

/// Checks the claims and returns those that are needed.
fn read(
    signed: &Signed,
    client_id: &str,
    settings: &IdTokenSettings,
    now: i64,
) -> Result<LogoutToken, LogoutTokenError> {
    let claims = &signed.registered;
    let payload = parse_object(signed.payload.as_bytes())
        .map_err(|_| LogoutTokenError::Token(VerifyErrorKind::Malformed))?;
    // §2.6 (3): as for an ID token, but a logout token has no `azp`.
    check_audience(settings, &payload, claims, client_id)?;
    let issued_at = claims.issued_at.ok_or(LogoutTokenError::IssuedAt)?;
    let too_old = issued_at.saturating_add(MAX_AGE + settings.leeway);
    if now >= too_old {
        return Err(LogoutTokenError::IssuedLongAgo);
    }
    // §2.6 (5): the event that makes it a logout token. Other events are ignored.
    if !has_event(&payload) {
        return Err(LogoutTokenError::Event);
    }
    // §2.6 (6): distinguishes it from an ID token.
    if payload.member("nonce").is_some() {
        return Err(LogoutTokenError::Nonce);
    }
    // §2.4: required, to detect a repeated delivery.
    let jwt_id = claims
        .jwt_id
        .as_deref()
        .filter(|id| (1..=MAX_IDENTIFIER).contains(&id.len()))
        .ok_or(LogoutTokenError::JwtId)?;
    let (subject, session_id) = subject_and_session(&payload)?;
    let expires_at = claims.expires_at.unwrap_or(i64::MAX);
    let issuer = claims.issuer.as_deref();
    let issuer = issuer.ok_or(LogoutTokenError::Token(VerifyErrorKind::Issuer))?;
    Ok(LogoutToken {
        issuer: issuer.to_owned(),
        jwt_id: jwt_id.to_owned(),
        issued_at,
        valid_until: too_old.min(expires_at.saturating_add(settings.leeway)),
        subject,
        session_id,
    })
}

fn check_audience(
    settings: &IdTokenSettings,
    payload: &Object<'_>,
    claims: &RegisteredClaims,
    client_id: &str,
) -> Result<(), LogoutTokenError> {
    let is_ours = claims.has_audience(client_id);
    let is_of_other = payload
        .value("azp")
        .is_some_and(|azp| azp.as_str() != Some(client_id));
    if !is_ours || is_of_other {
        return Err(LogoutTokenError::Audience);
    }
    id_token::check_other_audiences(settings, claims, client_id)
        .map_err(|_| LogoutTokenError::Audience)
}

fn has_event(payload: &Object<'_>) -> bool {
    payload
        .member("events")
        .and_then(Json::as_object)
        .and_then(|events| events.member(EVENT))
        .is_some_and(|event| event.as_object().is_some())
}

/// §2.6 (4): `sub`, `sid` or both.
fn subject_and_session(
    payload: &Object<'_>,
) -> Result<(Option<String>, Option<String>), LogoutTokenError> {
    let is_invalid = |text: &&str| text.len() > MAX_IDENTIFIER || text.contains('\0');
    let subject = payload.identifier("sub");
    let subject = subject.map_err(|_| LogoutTokenError::Subject)?;
    if subject.is_some_and(|one| is_invalid(&one) || !one.is_ascii()) {
        return Err(LogoutTokenError::Subject);
    }
    let session_id = payload.text("sid");
    let session_id = session_id.map_err(|_| LogoutTokenError::SessionId)?;
    if session_id.as_ref().is_some_and(is_invalid) {
        return Err(LogoutTokenError::SessionId);
    }
    if subject.is_none() && session_id.is_none() {
        return Err(LogoutTokenError::NoSubject);
    }
    Ok((subject.map(str::to_owned), session_id.map(str::to_owned)))
}

impl From<VerifyError> for LogoutTokenError {
    fn from(error: VerifyError) -> Self {
        match error.unavailable() {
            Some(unavailable) => Self::Unavailable(unavailable.clone()),
            None => Self::Token(error.kind()),
        }
    }
}

impl LogoutTokenError {
    /// Returns the stable code of the reason, for logs.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "keys_unavailable",
            Self::Token(kind) => match kind {
                VerifyErrorKind::TooLong => "logout_token_too_long",
                VerifyErrorKind::Algorithm => "logout_token_algorithm",
                VerifyErrorKind::Extension => "logout_token_extension",
                VerifyErrorKind::Type => "logout_token_type",
                VerifyErrorKind::Issuer => "logout_token_issuer",
                VerifyErrorKind::UnknownKey => "logout_token_key_unknown",
                VerifyErrorKind::UnfitKey => "logout_token_key_unfit",
                VerifyErrorKind::AmbiguousKey => "logout_token_key_ambiguous",
                VerifyErrorKind::Signature => "logout_token_signature",
                VerifyErrorKind::Claims => "logout_token_claims",
                VerifyErrorKind::Expired => "logout_token_expired",
                VerifyErrorKind::NotYetValid => "logout_token_not_yet_valid",
                _ => "logout_token_malformed",
            },
            Self::Audience => "logout_token_audience",
            Self::IssuedAt => "logout_token_issued_at",
            Self::IssuedLongAgo => "logout_token_issued_long_ago",
            Self::JwtId => "logout_token_jwt_id",
            Self::Event => "logout_token_event",
            Self::Nonce => "logout_token_nonce",
            Self::Subject => "logout_token_subject",
            Self::SessionId => "logout_token_session_id",
            Self::NoSubject => "logout_token_no_subject",
        }
    }
}

#[cfg(feature = "testing")]
#[cfg(test)]
mod tests;
