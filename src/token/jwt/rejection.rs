//! Explains why tokens are rejected, for operators: the values of a token whose signature is valid, and otherwise only
//! what kind of value was found.
//!
//! A token with a valid signature that is rejected for its type, its audience or its issuer is a mistake in the
//! configuration, here or at the authorization server. It is logged once for each verifier and kind.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::runtime::Handle;

use super::settings::JwtSettings;
use crate::clock::Now;
use crate::crypto::{Jws, same_media_type};
use crate::issuer::KeySetHealth;
use crate::protocol::json::{Json, parse_object};
use crate::protocol::sanitize::log_safe;
use crate::token::error::{VerifyError, VerifyErrorKind};
use crate::token::explanation::{Explanation, ahead, past};
use crate::token::jws::{Signed, UnverifiedToken};
use crate::token::profile::TokenProfile;
use crate::verification::{PendingVerification, Verification};

/// The profiles for authorization servers that do not send `at+jwt`, the most specific first.
const CANDIDATES: [TokenProfile; 6] = [
    TokenProfile::Keycloak,
    TokenProfile::Cognito,
    TokenProfile::Entra,
    TokenProfile::Okta,
    TokenProfile::Auth0,
    TokenProfile::Generic,
];

const CLOCKS: &str =
    "JwtVerifier::with_leeway, or the clock of this or of the authorization server";

/// Explains the rejection of a token whose signature was not verified: with its values, if its key is cached and its
/// signature is valid.
///
/// If no key set was ever requested, one fetch is started, so that the first token of an application that is configured
/// for other tokens is explained.
#[cold]
pub(super) fn explain(
    settings: &Arc<JwtSettings>,
    error: VerifyError,
    compact: &str,
    now: &Now<'_>,
) -> VerifyError {
    let kind = error.kind();
    if error.is_explained() {
        return error;
    }
    let Some(explanation) = explain_kind(settings, kind, compact) else {
        return error;
    };
    if let Some(token) = UnverifiedToken::read_rejected(compact) {
        match token.verify(
            &settings.server,
            settings.rules.fetch_budget,
            |_: &_| false,
            now,
        ) {
            Verification::Ready(Ok(signed)) => {
                return explain_signed(settings, kind, compact, &signed, now);
            }
            Verification::Ready(Err(_)) => {}
            Verification::Pending(signed) => {
                report_after_fetch(settings, kind, compact, signed);
            }
        }
    }
    VerifyError::explained(kind, explanation)
}

/// Explains the rejection of a token with a valid signature, and logs it if the configuration is the likely reason.
#[cold]
pub(super) fn explain_signed(
    settings: &JwtSettings,
    kind: VerifyErrorKind,
    compact: &str,
    signed: &Signed,
    now: &Now<'_>,
) -> VerifyError {
    let now = now.unix_seconds(settings.server.clock());
    let Some(mut explanation) = explain_values(settings, kind, compact, signed, now) else {
        return kind.into();
    };
    if let Some(bit) = report_bit(settings, kind, compact, signed)
        && settings.reports.is_first(bit)
    {
        report(settings, kind, &explanation);
        explanation.is_reported = true;
    }
    VerifyError::explained(kind, explanation)
}

/// Returns the bit of what is logged when it first occurs. Expired tokens occur in every application.
fn report_bit(
    settings: &JwtSettings,
    kind: VerifyErrorKind,
    compact: &str,
    signed: &Signed,
) -> Option<u32> {
    match kind {
        // A client that sends its ID token must not hide the advice for access tokens.
        VerifyErrorKind::Type | VerifyErrorKind::NotAnAccessToken => {
            match fitting_profile(settings, compact, signed) {
                Some(_) => Some(1),
                None if signed.markers.states_other_type() => Some(2),
                None => Some(4),
            }
        }
        VerifyErrorKind::Audience => Some(8),
        VerifyErrorKind::Issuer => Some(16),
        VerifyErrorKind::Algorithm => Some(32),
        VerifyErrorKind::Claims => Some(64),
        _ => None,
    }
}

fn report(settings: &JwtSettings, kind: VerifyErrorKind, explanation: &Explanation) {
    tracing::warn!(
        name: "valid_token_rejected",
        target: "tower_oauth::bearer",
        issuer = settings.server.issuer(),
        kind = kind.counter().label(),
        found = %explanation.found,
        expected = %explanation.expected,
        setting = %explanation.setting,
        "rejected a token that the authorization server has signed"
    );
}

/// Fetches the keys in the background and then logs why the token was rejected, whatever the kind.
fn report_after_fetch(
    settings: &Arc<JwtSettings>,
    kind: VerifyErrorKind,
    compact: &str,
    signed: PendingVerification<Result<Signed, VerifyError>>,
) {
    let has_fetched = &settings.reports.has_fetched;
    if has_fetched.load(Ordering::Relaxed) {
        return;
    }
    let Ok(runtime) = Handle::try_current() else {
        return;
    };
    let health = settings.server.health();
    let was_requested = health.failures > 0 || !matches!(health.keys, KeySetHealth::Empty);
    if has_fetched.swap(true, Ordering::Relaxed) || was_requested {
        return;
    }
    let (settings, compact) = (Arc::clone(settings), compact.to_owned());
    runtime.spawn(async move {
        let Ok(signed) = signed.await else {
            return;
        };
        let now = Now::new(settings.server.clock());
        if report_bit(&settings, kind, &compact, &signed).is_some() {
            explain_signed(&settings, kind, &compact, &signed, &now);
            return;
        }
        let now = now.unix_seconds(settings.server.clock());
        if let Some(explanation) = explain_values(&settings, kind, &compact, &signed, now) {
            report(&settings, kind, &explanation);
        }
    });
}

/// Explains a rejection without any value of the token.
fn explain_kind(
    settings: &JwtSettings,
    kind: VerifyErrorKind,
    compact: &str,
) -> Option<Explanation> {
    let leeway = settings.rules.leeway;
    Some(match kind {
        VerifyErrorKind::Malformed => Explanation::new(
            "a token that is not a JWT with strict JSON",
            "a JWT",
            "BearerLayer::introspect or Verifier::jwt_or_opaque, if the tokens are opaque",
        ),
        VerifyErrorKind::Algorithm => {
            let name = Jws::read(compact).map(|jws| jws.algorithm().name());
            let allowed = settings.rules.algorithms.iter().map(|one| one.name());
            Explanation::new(
                format!("alg {}", name.unwrap_or("that is not supported")),
                format!("alg {}", allowed.collect::<Vec<_>>().join(", ")),
                "JwtVerifier::with_algorithms",
            )
        }
        VerifyErrorKind::Type => Explanation::new(
            stated_type(compact),
            settings.expected_type(),
            "JwtVerifier::with_profile",
        ),
        VerifyErrorKind::Issuer => Explanation::new(
            compare_issuer(compact, settings.server.issuer()),
            format!("iss {}", log_safe(settings.server.issuer())),
            "the issuer of AuthorizationServer::new, or of the authorization server",
        ),
        VerifyErrorKind::Claims => Explanation::new(
            "a registered claim that is missing or has another type",
            "exp, and registered claims of the types of RFC 7519 §4.1",
            "",
        ),
        VerifyErrorKind::Expired => Explanation::new(
            "exp in the past",
            format!("exp at most {leeway} seconds ago"),
            CLOCKS,
        ),
        VerifyErrorKind::NotYetValid => Explanation::new(
            "nbf or iat in the future",
            format!("nbf and iat at most {leeway} seconds ahead"),
            CLOCKS,
        ),
        _ => return None,
    })
}

/// Explains a rejection with the values of a token whose signature is valid.
fn explain_values(
    settings: &JwtSettings,
    kind: VerifyErrorKind,
    compact: &str,
    signed: &Signed,
    now: i64,
) -> Option<Explanation> {
    let claims = &signed.registered;
    let general = explain_kind(settings, kind, compact);
    Some(match kind {
        VerifyErrorKind::Type | VerifyErrorKind::NotAnAccessToken => {
            explain_type(settings, compact, signed)
        }
        VerifyErrorKind::Audience => settings.audience.explain(claims),
        VerifyErrorKind::Issuer => {
            let issuer = claims.issuer.as_deref().map(log_safe);
            let found = format!("iss {}", issuer.as_deref().unwrap_or("missing"));
            Explanation {
                found: found.into(),
                ..general?
            }
        }
        VerifyErrorKind::Expired => Explanation {
            found: past("exp", claims.expires_at?, now).into(),
            ..general?
        },
        VerifyErrorKind::NotYetValid => {
            let begins = claims.not_before.into_iter().chain(claims.issued_at).max();
            Explanation {
                found: ahead("nbf or iat", begins?, now).into(),
                ..general?
            }
        }
        VerifyErrorKind::TooOld => Explanation::new(
            past("iat", claims.issued_at?, now),
            format!("iat at most {} seconds ago", settings.max_age?),
            "JwtVerifier::with_max_age",
        ),
        VerifyErrorKind::Claims if claims.expires_at.is_none() => Explanation::new(
            "no exp",
            "exp (RFC 7519 §4.1.4)",
            "the lifetime of tokens at the authorization server",
        ),
        VerifyErrorKind::Claims
            if settings.profile == TokenProfile::Rfc9068Full && settings.mark.is_none() =>
        {
            Explanation::new(
                "a token without one of these claims",
                settings.expected_mark(),
                "JwtVerifier::with_profile",
            )
        }
        _ => return general,
    })
}

/// Names the profile that would accept the token, and the audience if that does not match either.
fn explain_type(settings: &JwtSettings, compact: &str, signed: &Signed) -> Explanation {
    let markers = &signed.markers;
    if markers.states_other_type() {
        let found = "a token that states that it is an ID, refresh or logout token";
        return Explanation::new(found, "an access token", "the token that the client sends");
    }
    let has_type = settings
        .rules
        .media_types
        .accepts(header_type(compact).as_deref());
    let mut explanation = Explanation::new(
        stated_type(compact),
        match has_type {
            true => settings.expected_mark(),
            false => settings.expected_type(),
        },
        match fitting_profile(settings, compact, signed) {
            Some(profile) => {
                format!("JwtVerifier::new(..)?.with_profile(TokenProfile::{profile:?})").into()
            }
            None => Cow::Borrowed(
                "no TokenProfile accepts this token, use BearerLayer::introspect or JwtVerifier::with_token_mark",
            ),
        },
    );
    if !settings.audience.accepts(&signed.registered) {
        let audience = settings.audience.explain(&signed.registered);
        explanation.found = format!("{}, {}", explanation.found, audience.found).into();
        explanation.expected = format!("{}, {}", explanation.expected, audience.expected).into();
        explanation.setting = format!("{}, {}", explanation.setting, audience.setting).into();
    }
    explanation
}

/// Returns the profile that accepts the type and the claims of a token.
fn fitting_profile(settings: &JwtSettings, compact: &str, signed: &Signed) -> Option<TokenProfile> {
    let media_type = header_type(compact);
    let accepts = |profile: &TokenProfile| {
        profile.is_plausible(settings.server.issuer(), &signed.markers)
            && profile.media_type()(media_type.as_deref())
            && profile.check(&signed.registered, &signed.markers).is_ok()
    };
    CANDIDATES.into_iter().find(accepts)
}

fn header_type(compact: &str) -> Option<String> {
    let jws = Jws::read(compact).ok()?;
    jws.media_type().map(str::to_owned)
}

/// Returns the `typ` of the header if it is a usual one.
fn stated_type(compact: &str) -> &'static str {
    match header_type(compact).as_deref() {
        None => "no typ",
        Some(sent) if same_media_type(sent, "JWT") => "typ JWT",
        Some(sent) if same_media_type(sent, "at+jwt") => "typ at+jwt",
        Some(_) => "another typ",
    }
}

/// Describes how the `iss` of a token, which is not verified, differs from the configured issuer.
fn compare_issuer(compact: &str, expected: &str) -> &'static str {
    let Ok(jws) = Jws::read(compact) else {
        return "no iss";
    };
    let payload = parse_object(jws.payload()).unwrap_or_default();
    let Some(sent) = payload.member("iss").and_then(Json::as_str) else {
        return "no iss that is a string";
    };
    let bare = |issuer: &str| issuer.trim_end_matches('/').to_owned();
    let rest = |issuer: &str| issuer.split_once("://").map(|(_, rest)| rest.to_owned());
    if bare(sent) == bare(expected) {
        match sent.ends_with('/') {
            true => "iss with a slash at its end",
            false => "iss without the slash at its end",
        }
    } else if rest(sent) == rest(expected) {
        "iss with another scheme"
    } else if sent.eq_ignore_ascii_case(expected) {
        "iss with upper and lower case letters exchanged"
    } else {
        "another iss"
    }
}
