//! Validation of logout tokens (OpenID Connect Back-Channel Logout 1.0 §2.6).
//!
//! The back-channel logout route is public, so a logout token is untrusted until its signature is verified, and unknown
//! keys are fetched from a separate budget.

use super::error::{VerifyError, VerifyErrorKind};
use super::id_token::{self, LEEWAY};
use super::jws::{self, Rules, Signed};
use crate::clock::unix_seconds;
use crate::crypto::{DEFAULT_ALGORITHMS, same_media_type};
use crate::issuer::{AuthorizationServer, FetchBudget, Unavailable};
use crate::protocol::json::{Json, Object, parse_object};

/// In bytes. A logout token contains little more than a session or a subject.
pub(crate) const MAX_LOGOUT_TOKEN: usize = 8 * 1024;

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
    #[error("aud is missing or has other values than this client")]
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

/// Validates a logout token of this server for this client. Replay is not checked.
pub(crate) async fn verify(
    server: &AuthorizationServer,
    token: &str,
    client_id: &str,
) -> Result<LogoutToken, LogoutTokenError> {
    if token.len() > MAX_LOGOUT_TOKEN {
        return Err(LogoutTokenError::Token(VerifyErrorKind::TooLong));
    }
    let rules = Rules {
        algorithms: DEFAULT_ALGORITHMS.to_vec(),
        media_type: is_logout_token_type,
        leeway: LEEWAY,
        // `exp` is required only since 2022, so older servers omit it. The maximum age applies in any case.
        requires_expiry: false,
        fetch_budget: FetchBudget::LogoutToken,
    };
    let signed = jws::verify(server, token, &rules).await?;
    read(&signed, client_id, unix_seconds(&**server.clock()))
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
fn read(signed: &Signed, client_id: &str, now: i64) -> Result<LogoutToken, LogoutTokenError> {
    let claims = &signed.registered;
    let payload = parse_object(signed.payload.as_bytes())
        .map_err(|_| LogoutTokenError::Token(VerifyErrorKind::Malformed))?;
    // §2.6 (3): as for an ID token.
    id_token::check_audience(&payload, claims, client_id)
        .map_err(|_| LogoutTokenError::Audience)?;
    let issued_at = claims.issued_at.ok_or(LogoutTokenError::IssuedAt)?;
    let too_old = issued_at.saturating_add(MAX_AGE + LEEWAY);
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
    Ok(LogoutToken {
        jwt_id: jwt_id.to_owned(),
        issued_at,
        valid_until: too_old.min(expires_at.saturating_add(LEEWAY)),
        subject,
        session_id,
    })
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
    let identifier = |name| match payload.member(name) {
        None => Ok(None),
        Some(value) => value
            .as_str()
            .filter(|text| (1..=MAX_IDENTIFIER).contains(&text.len()) && !text.contains('\0'))
            .map(|text| Some(text.to_owned()))
            .ok_or(()),
    };
    let subject: Option<String> = identifier("sub").map_err(|()| LogoutTokenError::Subject)?;
    if subject.as_ref().is_some_and(|subject| !subject.is_ascii()) {
        return Err(LogoutTokenError::Subject);
    }
    let session_id = identifier("sid").map_err(|()| LogoutTokenError::SessionId)?;
    if subject.is_none() && session_id.is_none() {
        return Err(LogoutTokenError::NoSubject);
    }
    Ok((subject, session_id))
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
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::Algorithm;
    use crate::testing::{Endpoint, Fault, TestServer, TokenMint};

    const ISSUER: &str = "https://id.example.test";

    fn good(server: &TestServer) -> TokenMint {
        server
            .id_token("shop")
            .with_header("typ", "logout+jwt")
            .with_claim("jti", "one")
            .with_claim("sid", "s-1")
            .with_claim("events", json!({ EVENT: {} }))
    }

    async fn code(server: &TestServer, token: &str) -> &'static str {
        match verify(&server.authorization_server(), token, "shop").await {
            Ok(_) => "ok",
            Err(error) => {
                assert!(!error.to_string().contains("evil"), "{error}");
                error.code()
            }
        }
    }

    /// OpenID Connect Back-Channel Logout §2.4, §2.6.
    #[tokio::test]
    async fn each_violation_has_its_own_error_code() {
        let server = TestServer::new(ISSUER).unwrap();
        let now = server.clock().unix_seconds();
        let long = "a".repeat(256);
        let fits = "a".repeat(255);
        let mint = || good(&server);
        let claim = |name: &str, value: serde_json::Value| mint().with_claim(name, value);
        let cases = [
            ("good", mint(), "ok"),
            ("typ JWT", mint().with_header("typ", "JWT"), "ok"),
            ("no typ", mint().without_header("typ"), "ok"),
            (
                "typ in full",
                mint().with_header("typ", "application/logout+JWT"),
                "ok",
            ),
            (
                "an access token",
                mint().with_header("typ", "at+jwt"),
                "logout_token_type",
            ),
            (
                "another event",
                mint().with_header("typ", "secevent+jwt"),
                "logout_token_type",
            ),
            ("no exp", mint().without_claim("exp"), "ok"),
            ("only sub", mint().without_claim("sid"), "ok"),
            ("only sid", mint().without_claim("sub"), "ok"),
            ("aud as a list", claim("aud", json!(["shop"])), "ok"),
            ("an unknown claim", claim("evil", json!([1])), "ok"),
            (
                "other events beside it",
                claim("events", json!({ "x": 1, EVENT: { "y": 2 } })),
                "ok",
            ),
            ("a sid of 255 characters", claim("sid", json!(fits)), "ok"),
            (
                "neither sub nor sid",
                mint().without_claim("sub").without_claim("sid"),
                "logout_token_no_subject",
            ),
            (
                "sub a number",
                claim("sub", json!(1)),
                "logout_token_claims",
            ),
            ("sub null", claim("sub", json!(null)), "logout_token_claims"),
            ("sub empty", claim("sub", json!("")), "logout_token_subject"),
            (
                "sub too long",
                claim("sub", json!(long)),
                "logout_token_subject",
            ),
            (
                "sub not ASCII",
                claim("sub", json!("é")),
                "logout_token_subject",
            ),
            (
                "sub with NUL",
                claim("sub", json!("a\0")),
                "logout_token_subject",
            ),
            (
                "sid a list",
                claim("sid", json!(["s"])),
                "logout_token_session_id",
            ),
            (
                "sid null",
                claim("sid", json!(null)),
                "logout_token_session_id",
            ),
            (
                "sid empty",
                claim("sid", json!("")),
                "logout_token_session_id",
            ),
            (
                "sid too long",
                claim("sid", json!(long)),
                "logout_token_session_id",
            ),
            ("no iss", mint().without_claim("iss"), "logout_token_issuer"),
            (
                "another iss",
                mint().with_issuer("https://evil.example"),
                "logout_token_issuer",
            ),
            (
                "no aud",
                mint().without_claim("aud"),
                "logout_token_audience",
            ),
            (
                "another aud",
                mint().with_audience("evil"),
                "logout_token_audience",
            ),
            (
                "another client in aud",
                claim("aud", json!(["shop", "evil"])),
                "logout_token_audience",
            ),
            (
                "azp of another",
                claim("azp", json!("evil")),
                "logout_token_audience",
            ),
            (
                "no iat",
                mint().without_claim("iat"),
                "logout_token_issued_at",
            ),
            (
                "iat as text",
                claim("iat", json!("1")),
                "logout_token_claims",
            ),
            (
                "iat of just now",
                claim("iat", json!(now - MAX_AGE - LEEWAY + 1)),
                "ok",
            ),
            (
                "iat too long ago",
                claim("iat", json!(now - MAX_AGE - LEEWAY)),
                "logout_token_issued_long_ago",
            ),
            (
                "iat ahead",
                claim("iat", json!(now + LEEWAY + 1)),
                "logout_token_not_yet_valid",
            ),
            (
                "expired",
                mint().with_expires_in(-LEEWAY),
                "logout_token_expired",
            ),
            (
                "exp as text",
                claim("exp", json!("x")),
                "logout_token_claims",
            ),
            ("no jti", mint().without_claim("jti"), "logout_token_jwt_id"),
            ("jti empty", claim("jti", json!("")), "logout_token_jwt_id"),
            (
                "jti a number",
                claim("jti", json!(7)),
                "logout_token_claims",
            ),
            (
                "jti too long",
                claim("jti", json!(long)),
                "logout_token_jwt_id",
            ),
            (
                "no events",
                mint().without_claim("events"),
                "logout_token_event",
            ),
            (
                "events a list",
                claim("events", json!([EVENT])),
                "logout_token_event",
            ),
            (
                "events a string",
                claim("events", json!(EVENT)),
                "logout_token_event",
            ),
            (
                "the event a string",
                claim("events", json!({ EVENT: "" })),
                "logout_token_event",
            ),
            (
                "the event true",
                claim("events", json!({ EVENT: true })),
                "logout_token_event",
            ),
            (
                "the event null",
                claim("events", json!({ EVENT: null })),
                "logout_token_event",
            ),
            (
                "another event alone",
                claim("events", json!({ "https://evil.example": {} })),
                "logout_token_event",
            ),
            ("an ID token", server.id_token("shop"), "logout_token_event"),
            ("a nonce", claim("nonce", json!("n")), "logout_token_nonce"),
            (
                "a nonce of null",
                claim("nonce", json!(null)),
                "logout_token_nonce",
            ),
            (
                "a duplicate claim",
                mint().add_raw_claim("sid", "\"evil\""),
                "logout_token_malformed",
            ),
            (
                "a duplicate event",
                mint().with_raw_claim("events", &format!("{{\"{EVENT}\":{{}},\"{EVENT}\":{{}}}}")),
                "logout_token_malformed",
            ),
            (
                "no signature",
                mint().without_signature(),
                "logout_token_algorithm",
            ),
            (
                "another server's key",
                mint().with_wrong_key(),
                "logout_token_signature",
            ),
            (
                "crit",
                mint().with_header("crit", json!(["evil"])),
                "logout_token_extension",
            ),
            (
                "too long",
                claim("padding", json!("a".repeat(MAX_LOGOUT_TOKEN))),
                "logout_token_too_long",
            ),
        ];
        for (name, mint, expected) in cases {
            assert_eq!(code(&server, &mint.sign()).await, expected, "{name}");
        }
        for (name, text) in [("empty", ""), ("not a JWT", "evil"), ("dots", "..")] {
            assert_eq!(
                code(&server, text).await,
                "logout_token_malformed",
                "{name}"
            );
        }
    }

    /// Back-Channel Logout §2.6: the algorithms are those of ID tokens.
    #[tokio::test]
    async fn each_asymmetric_algorithm_is_accepted_and_hmac_is_rejected() {
        for algorithm in [
            Algorithm::Rs256,
            Algorithm::Ps256,
            Algorithm::Es256,
            Algorithm::EdDsa,
        ] {
            let server = TestServer::new(ISSUER).unwrap().with_algorithm(algorithm);
            assert_eq!(
                code(&server, &good(&server).sign()).await,
                "ok",
                "{algorithm:?}"
            );
        }
        let server = TestServer::new(ISSUER).unwrap();
        let mac = good(&server).with_hmac(b"shop-secret").sign();
        assert_eq!(code(&server, &mac).await, "logout_token_algorithm");
    }

    #[tokio::test]
    async fn a_token_is_valid_until_its_exp_or_its_maximum_age() {
        let server = TestServer::new(ISSUER).unwrap();
        let now = server.clock().unix_seconds();
        let handle = server.authorization_server();
        for (name, mint, until) in [
            ("exp is sooner", good(&server), now + 300 + LEEWAY),
            (
                "exp is later",
                good(&server).with_expires_in(86_400),
                now + MAX_AGE + LEEWAY,
            ),
            (
                "no exp",
                good(&server).without_claim("exp"),
                now + MAX_AGE + LEEWAY,
            ),
        ] {
            let read = verify(&handle, &mint.sign(), "shop").await.unwrap();
            assert_eq!(read.valid_until, until, "{name}");
            assert_eq!(
                (
                    read.jwt_id.as_str(),
                    read.issued_at,
                    read.subject.as_deref()
                ),
                ("one", now, Some("alice")),
                "{name}"
            );
        }
    }

    /// Unknown keys cause a burst of three fetches and one every 30 seconds, without reducing the budget of other tokens.
    #[tokio::test]
    async fn a_flood_of_unknown_keys_causes_few_fetches() {
        let server = TestServer::new(ISSUER)
            .unwrap()
            .with_algorithm(Algorithm::EdDsa);
        let handle = server.authorization_server();
        assert!(verify(&handle, &good(&server).sign(), "shop").await.is_ok());
        let before = server.count(Endpoint::KeySet);
        for n in 0..10_000 {
            let junk = good(&server).with_header("kid", format!("evil-{n}")).sign();
            assert!(verify(&handle, &junk, "shop").await.is_err());
            server.clock().advance(Duration::from_millis(1));
        }
        assert_eq!(server.count(Endpoint::KeySet) - before, 3);
        assert!(verify(&handle, &good(&server).sign(), "shop").await.is_ok());
    }

    #[tokio::test]
    async fn an_outage_of_the_keys_is_reported_as_unavailable() {
        let server = TestServer::new(ISSUER).unwrap();
        server.fail(Endpoint::KeySet, Fault::status(500));
        assert_eq!(
            code(&server, &good(&server).sign()).await,
            "keys_unavailable"
        );
    }
}
