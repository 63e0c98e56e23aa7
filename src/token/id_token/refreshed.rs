//! Validation of the ID token of a refresh response against that of the login (OpenID Connect Core §12.2).

use super::error::IdTokenError;
use super::{
    IdTokenSettings, check_age, check_audience, check_subject, hash_matches, rules, specific_error,
};
use crate::clock::unix_seconds;
use crate::crypto::Jws;
use crate::issuer::AuthorizationServer;
use crate::protocol::claims::{RegisteredClaims, auth_time};
use crate::protocol::json::{Json, Object, parse_object};
use crate::protocol::{AccessToken, Claims, IdToken, Nonce};
use crate::telemetry::may_log;
use crate::token::error::VerifyErrorKind;

/// The values that the ID token of a refresh must match.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RefreshExpectations<'a> {
    pub(crate) settings: &'a IdTokenSettings,
    pub(crate) client_id: &'a str,
    /// The claims of the ID token of the login.
    pub(crate) login_claims: &'a Claims,
    /// The access token of the same response.
    pub(crate) access_token: Option<&'a AccessToken>,
}

/// Validates the ID token of a refresh.
///
/// Returns `None` if the ID token cannot be used, but nothing speaks against the other tokens of the response: the keys
/// are unavailable, or the ID token has expired, for example. Then only issuer, subject and audience are checked, without
/// the signature, relying on TLS to the token endpoint (OpenID Connect Core §3.1.3.7 (6)), and no claim is used. The ID
/// token is optional in a refresh response, so it must not cost the rotated refresh token.
pub(crate) async fn verify(
    server: &AuthorizationServer,
    id_token: &IdToken,
    expected: &RefreshExpectations<'_>,
) -> Result<Option<Claims>, IdTokenError> {
    let error = match verify_signed(server, id_token, expected).await {
        Ok(claims) => return Ok(Some(claims)),
        Err(error) if error.forbids_other_tokens() => return Err(error),
        Err(error) => error,
    };
    check_unverified(server, id_token, expected)?;
    if may_log("refresh_id_token_ignored", error.code()) {
        tracing::warn!(
            name: "refresh_id_token_ignored",
            target: "tower_oauth::session",
            issuer = server.issuer(),
            code = error.code(),
            %error,
            "ignored the ID token of a refresh; the session keeps that of the login"
        );
    }
    Ok(None)
}

async fn verify_signed(
    server: &AuthorizationServer,
    id_token: &IdToken,
    expected: &RefreshExpectations<'_>,
) -> Result<Claims, IdTokenError> {
    let now = unix_seconds(&**server.clock());
    let settings = expected.settings;
    let signed = settings
        .verify(server, id_token.expose(), rules())
        .await
        .map_err(|error| specific_error(settings, &error, id_token, now))?;
    let payload = parse_object(signed.payload.as_bytes()).map_err(|_| malformed())?;
    check_issuer(server, &signed.registered, expected)?;
    check_identity(&payload, &signed.registered, expected)?;
    check_nonce(&payload, expected)?;
    // OpenID Connect Core §3.1.3.8.
    let hash_matches =
        |token: &AccessToken| hash_matches(&payload, signed.algorithm, "at_hash", token.expose());
    if !expected.access_token.is_none_or(hash_matches) {
        return Err(IdTokenError::AccessTokenHash);
    }
    check_age(settings, &signed.registered, now)?;
    check_auth_time(&payload, expected)?;
    Ok(Claims::new(signed.payload, signed.registered))
}

/// Checks whom the tokens are for. A text that is not an ID token says nothing about that.
fn check_unverified(
    server: &AuthorizationServer,
    id_token: &IdToken,
    expected: &RefreshExpectations<'_>,
) -> Result<(), IdTokenError> {
    let Ok(jws) = Jws::read(id_token.expose()) else {
        return Ok(());
    };
    let Ok(payload) = parse_object(jws.payload()) else {
        return Ok(());
    };
    let claims = RegisteredClaims::read_identity(&payload).map_err(|member| match member.0 {
        "iss" => IdTokenError::Token(VerifyErrorKind::Issuer),
        "sub" => IdTokenError::Subject,
        _ => IdTokenError::Audience,
    })?;
    check_issuer(server, &claims, expected)?;
    check_identity(&payload, &claims, expected)
}

/// §12.2: the same issuer, and so the same tenant of a server that has several.
fn check_issuer(
    server: &AuthorizationServer,
    claims: &RegisteredClaims,
    expected: &RefreshExpectations<'_>,
) -> Result<(), IdTokenError> {
    let iss = claims.issuer.as_deref().unwrap_or_default();
    let forms = expected.settings.issuer();
    let issuer = forms.canonical(server.issuer(), iss);
    match issuer.is_some() && issuer == expected.login_claims.issuer() {
        true => Ok(()),
        false => Err(IdTokenError::Token(VerifyErrorKind::Issuer)),
    }
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
    check_audience(expected.settings, payload, claims, expected.client_id)
}

/// §12.2: the nonce is absent or that of the login.
fn check_nonce(
    payload: &Object<'_>,
    expected: &RefreshExpectations<'_>,
) -> Result<(), IdTokenError> {
    let Some(sent) = payload.member("nonce") else {
        return Ok(());
    };
    let first = login_payload(expected)?;
    let nonce = |member: &Json<'_>| member.as_str().map(Nonce::new);
    match first.member("nonce").and_then(nonce) {
        None => Err(IdTokenError::UnexpectedNonce),
        first if nonce(sent) == first => Ok(()),
        Some(_) => Err(IdTokenError::Nonce),
    }
}

/// §12.2: `auth_time` is the time of the original authentication.
fn check_auth_time(
    payload: &Object<'_>,
    expected: &RefreshExpectations<'_>,
) -> Result<(), IdTokenError> {
    let agrees = match (auth_time(payload), auth_time(&login_payload(expected)?)) {
        (Some(now), Some(then)) => now == then,
        // The first ID token has no `auth_time`, but the authentication was before it was issued.
        (Some(now), None) => expected
            .login_claims
            .registered()
            .issued_at
            .is_none_or(|issued_at| now <= issued_at.saturating_add(expected.settings.leeway)),
        (None, _) => true,
    };
    if agrees {
        Ok(())
    } else {
        Err(IdTokenError::OtherAuthTime)
    }
}

fn login_payload<'a>(expected: &RefreshExpectations<'a>) -> Result<Object<'a>, IdTokenError> {
    parse_object(expected.login_claims.as_json().as_bytes()).map_err(|_| malformed())
}

fn malformed() -> IdTokenError {
    IdTokenError::Token(VerifyErrorKind::Malformed)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::crypto::{Algorithm, UnsignedJws};
    use crate::token::id_token::half_hash;
    use crate::token::id_token::tests::{ISSUER, NOW, change, server, sign, signing_key};

    /// Validates the ID token of a refresh at `NOW + 3000`, after a login at `NOW` with these claims.
    async fn validate(login: &Value, token: String) -> &'static str {
        let text: std::sync::Arc<str> = login.to_string().into();
        let registered = RegisteredClaims::read(&parse_object(text.as_bytes()).unwrap());
        let login_claims = Claims::new(std::sync::Arc::clone(&text), registered.unwrap());
        let expected = RefreshExpectations {
            settings: &IdTokenSettings::default(),
            client_id: "shop",
            login_claims: &login_claims,
            access_token: Some(&AccessToken::new("new")),
        };
        match verify(&server(NOW + 3000), &IdToken::new(token), &expected).await {
            Ok(claims) => claims.map_or("unverified", |_| "ok"),
            Err(error) => error.code(),
        }
    }

    fn login_claims() -> Value {
        json!({
            "iss": ISSUER, "sub": "alice", "aud": "shop", "exp": NOW + 300, "iat": NOW,
            "nonce": "n",
        })
    }

    fn refreshed_claims(login: &Value) -> Value {
        let mut claims = login.clone();
        change(
            &mut claims,
            &json!({ "iat": NOW + 3000, "exp": NOW + 3300 }),
        );
        claims
    }

    /// OpenID Connect Core §12.2.
    #[tokio::test]
    async fn the_id_token_of_a_refresh_must_match_that_of_the_login() {
        let at_hash = |token: &str| half_hash(Algorithm::EdDsa, token.as_bytes());
        let before = json!({ "auth_time": NOW - 60 });
        for (login, changes, expected) in [
            (json!({}), json!({}), "ok"),
            (json!({}), json!({ "nonce": null }), "ok"),
            (json!({}), json!({ "nonce": "x" }), "id_token_nonce"),
            (json!({}), json!({ "nonce": 1 }), "id_token_nonce"),
            (
                json!({ "nonce": null }),
                json!({ "nonce": "n" }),
                "id_token_unexpected_nonce",
            ),
            (
                json!({}),
                json!({ "sub": "mallory" }),
                "id_token_other_subject",
            ),
            (
                json!({}),
                json!({ "sub": "Alice" }),
                "id_token_other_subject",
            ),
            (json!({}), json!({ "sub": null }), "id_token_subject"),
            (
                json!({}),
                json!({ "iss": format!("{ISSUER}/") }),
                "id_token_issuer",
            ),
            (json!({}), json!({ "aud": "other" }), "id_token_audience"),
            (
                json!({}),
                json!({ "aud": ["shop", "x"], "azp": "shop" }),
                "id_token_untrusted_audience",
            ),
            (json!({}), json!({ "aud": ["shop"] }), "ok"),
            (
                json!({}),
                json!({ "azp": "other" }),
                "id_token_authorized_party",
            ),
            (before.clone(), json!({}), "ok"),
            (before.clone(), json!({ "auth_time": null }), "ok"),
            (before, json!({ "auth_time": NOW + 3000 }), "unverified"),
            (json!({}), json!({ "auth_time": NOW }), "ok"),
            (json!({}), json!({ "auth_time": NOW + 3000 }), "unverified"),
            (json!({}), json!({ "auth_time": "now" }), "ok"),
            // The ID token of the login again.
            (
                json!({}),
                json!({ "iat": NOW, "exp": NOW + 9000 }),
                "unverified",
            ),
            (json!({}), json!({ "iat": null }), "unverified"),
            (json!({}), json!({ "exp": NOW + 2900 }), "unverified"),
            (json!({}), json!({ "nbf": "x" }), "unverified"),
            (
                json!({}),
                json!({ "exp": NOW + 2900, "sub": "mallory" }),
                "id_token_other_subject",
            ),
            (
                json!({}),
                json!({ "exp": NOW + 2900, "aud": [7] }),
                "id_token_audience",
            ),
            (json!({}), json!({ "at_hash": at_hash("new") }), "ok"),
            (
                json!({}),
                json!({ "at_hash": at_hash("old") }),
                "id_token_access_token_hash",
            ),
        ] {
            let mut first = login_claims();
            change(&mut first, &login);
            let mut second = refreshed_claims(&first);
            change(&mut second, &changes);
            let outcome = validate(&first, sign(&second.to_string())).await;
            assert_eq!(outcome, expected, "{login} {changes}");
        }
    }

    #[tokio::test]
    async fn an_id_token_that_the_server_has_not_signed_is_rejected() {
        let login = login_claims();
        let claims = refreshed_claims(&login).to_string();
        let header = r#"{"alg":"EdDSA","kid":"1"}"#;
        for (token, expected) in [
            (
                signing_key(2)
                    .sign_jws(UnsignedJws::new(header, &claims))
                    .unwrap(),
                "id_token_signature",
            ),
            (
                signing_key(1)
                    .sign_jws(UnsignedJws::new(r#"{"alg":"none"}"#, &claims))
                    .unwrap(),
                "id_token_algorithm",
            ),
            ("a.b.c".to_owned(), "unverified"),
        ] {
            assert_eq!(validate(&login, token).await, expected);
        }
    }
}
