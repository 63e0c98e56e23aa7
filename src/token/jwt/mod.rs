//! Validation of JWT access tokens (RFC 9068 §4, RFC 8725).

mod rejection;
pub(super) mod settings;

use std::sync::Arc;
use std::time::Duration;

use crate::ConfigError;
use crate::clock::Now;
use crate::crypto::{Algorithm, DEFAULT_ALGORITHMS};
use crate::issuer::{AuthorizationServer, FetchBudget};
use crate::protocol::Claims;
use crate::protocol::limits::MAX_PRESENTED_TOKEN;
use crate::telemetry::{self, Stopwatch};
use crate::token::audience::Audience;
use crate::token::error::VerifyError;
use crate::token::expected_issuer::ExpectedIssuer;
use crate::token::fapi2;
use crate::token::jws::{MediaTypes, Rules, Signed, UnverifiedToken};
use crate::token::profile::TokenProfile;
use crate::token::scope_mapping::{ScopeClaim, ScopeMapping, report_array};
use crate::token::token_info::{CacheData, Provenance, TokenInfo};
use crate::token::token_mark::TokenMark;
use crate::token::verified::VerifiedToken;
use crate::verification::Verification;

use self::settings::{JwtSettings, SCOPE_ARRAY};

/// In seconds.
const DEFAULT_LEEWAY: i64 = 30;
const MAX_LEEWAY: Duration = Duration::from_secs(300);

/// Validates JWT access tokens of one issuer for one audience ([RFC 9068 §4]).
///
/// The audience is the identifier of *this* API, as the authorization server sends it in `aud`. The defaults are
/// [`TokenProfile::Rfc9068`], the algorithms RS256, PS256, ES256, ES384 and EdDSA, and a leeway of 30 seconds.
///
/// ```
/// use tower_oauth::token::{JwtVerifier, TokenProfile};
/// use tower_oauth::{AuthorizationServer, BearerLayer};
///
/// let server = AuthorizationServer::new("https://id.example.com/realms/shop")?;
/// let verifier = JwtVerifier::new(&server, "api")?.with_profile(TokenProfile::Keycloak);
/// let layer = BearerLayer::new(verifier);
/// # Ok::<(), tower_oauth::ConfigError>(())
/// ```
///
/// [RFC 9068 §4]: https://www.rfc-editor.org/rfc/rfc9068#section-4
#[derive(Clone, Debug)]
pub struct JwtVerifier {
    settings: Arc<JwtSettings>,
}

impl JwtVerifier {
    /// Creates a verifier for the tokens that `server` issues for `audience`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Audience`] if the audience is empty.
    pub fn new(
        server: &AuthorizationServer,
        audience: impl Into<Audience>,
    ) -> Result<Self, ConfigError> {
        let profile = TokenProfile::default();
        let settings = JwtSettings {
            server: server.clone(),
            audience: Arc::new(audience.into().checked()?),
            profile,
            mark: None,
            scopes: None,
            mapping: profile.claim_mapping(),
            rules: Rules {
                max_length: MAX_PRESENTED_TOKEN,
                algorithms: DEFAULT_ALGORITHMS.to_vec(),
                media_types: MediaTypes::Checked(profile.media_type()),
                leeway: DEFAULT_LEEWAY,
                requires_expiry: true,
                accepts_repeats: false,
                issuer: ExpectedIssuer::Exact,
                fetch_budget: FetchBudget::Request,
            },
            max_age: None,
            reports: Arc::default(),
        };
        Ok(Self {
            settings: Arc::new(settings),
        })
    }

    /// Sets how the authorization server marks its access tokens. The default is [`TokenProfile::Rfc9068`].
    #[must_use]
    pub fn with_profile(mut self, profile: TokenProfile) -> Self {
        let settings = self.settings_mut();
        settings.profile = profile;
        settings.update_types();
        settings.update_mapping();
        self
    }

    /// Replaces the mark of the profile with one of the application, in any order of both calls. Scopes and the client are
    /// still read as the profile reads them.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Audience`] unless the audience is one of this API: for `Audience::clients` and
    /// `Audience::Unchecked`, and for an audience that may be a client and is not
    /// [named](TokenMark::with_client_audience).
    pub fn with_token_mark(mut self, mark: TokenMark) -> Result<Self, ConfigError> {
        mark.check_audience(&self.settings.audience)?;
        let settings = self.settings_mut();
        settings.mark = Some(mark);
        settings.update_types();
        Ok(self)
    }

    /// Reads scopes from these claims instead of `scope` or the claim of the profile (`scp` for Entra and Okta).
    ///
    /// [`ScopeClaim`] documents the accepted forms. The scopes apply to [`ScopeLayer`](crate::ScopeLayer) and
    /// [`VerifiedToken::scopes`](crate::token::VerifiedToken::scopes).
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] if the list is empty, or the name of a claim is.
    pub fn with_scopes_from<S: Into<ScopeClaim>>(
        mut self,
        claims: impl IntoIterator<Item = S>,
    ) -> Result<Self, ConfigError> {
        let mapping = ScopeMapping::new(claims)?;
        let settings = self.settings_mut();
        settings.scopes = Some(mapping);
        settings.update_mapping();
        Ok(self)
    }

    /// Replaces the allowed signature algorithms.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] if the list is empty.
    pub fn with_algorithms(
        mut self,
        algorithms: impl IntoIterator<Item = Algorithm>,
    ) -> Result<Self, ConfigError> {
        let algorithms: Vec<_> = algorithms.into_iter().collect();
        if algorithms.is_empty() {
            return Err(ConfigError::Setting {
                setting: "algorithms",
                value: "[]".to_owned(),
                reason: "at least one is required",
            });
        }
        self.settings_mut().rules.algorithms = algorithms;
        Ok(self)
    }

    /// Sets the allowed clock skew between this server and the authorization server. The default is 30 seconds, the
    /// maximum 5 minutes. Fractions of a second are truncated.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] if it is longer than 5 minutes.
    pub fn with_leeway(mut self, leeway: Duration) -> Result<Self, ConfigError> {
        let (allowed, reason) = (Duration::ZERO..=MAX_LEEWAY, "it must be at most 5 minutes");
        let seconds = ConfigError::check_duration("leeway", leeway, allowed, reason)?;
        self.settings_mut().rules.leeway = seconds;
        Ok(self)
    }

    /// Rejects tokens that were issued longer ago than this (plus the leeway), even if they have not expired, and
    /// tokens without `iat`. The default is no limit. Fractions of a second are truncated.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] if it is shorter than 1 second.
    pub fn with_max_age(mut self, max_age: Duration) -> Result<Self, ConfigError> {
        let allowed = Duration::from_secs(1)..=Duration::MAX;
        let reason = "it must be at least 1 second";
        let seconds = ConfigError::check_duration("max age", max_age, allowed, reason)?;
        self.settings_mut().max_age = Some(seconds);
        Ok(self)
    }

    /// Validates a token that did not arrive in a request, such as one in a message of a queue or a WebSocket.
    ///
    /// Waits at most 2 seconds if a key has to be fetched. The result is not cached: if tokens arrive repeatedly, convert
    /// this verifier into a [`Verifier`](crate::token::Verifier) and call [`Verifier::verify`](crate::token::Verifier::verify).
    ///
    /// ```
    /// use tower_oauth::VerifiedToken;
    /// use tower_oauth::token::{JwtVerifier, VerifyErrorKind};
    ///
    /// /// Returns the user of a message, or `None` if the message has to be dropped.
    /// async fn user_of(verifier: &JwtVerifier, token: &str) -> Result<Option<String>, String> {
    ///     match verifier.verify(token).await {
    ///         Ok(token) if token.scopes().contains("orders:write") => {
    ///             Ok(token.subject().map(str::to_owned))
    ///         }
    ///         Ok(_) => Ok(None),
    ///         // The token was not validated: deliver the message again later.
    ///         Err(error) if error.kind() == VerifyErrorKind::Unavailable => Err(error.to_string()),
    ///         Err(_) => Ok(None),
    ///     }
    /// }
    /// ```
    ///
    /// # Not checked
    ///
    /// Scopes, and revocation before `exp`. Nor is it checked that the sender of the message is the client of the token:
    /// sender-constrained tokens are rejected, since their proof of possession is part of a request.
    ///
    /// # Errors
    ///
    /// [`VerifyErrorKind::Unavailable`](crate::token::VerifyErrorKind::Unavailable) if the keys could not be fetched, [`VerifyErrorKind::Bound`](crate::token::VerifyErrorKind::Bound) if the token is
    /// sender-constrained (`cnf`), and the other kinds if the token is not valid.
    pub async fn verify(&self, token: &str) -> Result<VerifiedToken, VerifyError> {
        let verification = self.verify_at(token, &Now::new(self.server().clock()));
        VerifiedToken::without_request(
            verification.outcome().await?,
            token,
            &**self.server().clock(),
        )
    }

    pub(super) fn restricted_to_fapi2(mut self) -> Result<Self, ConfigError> {
        let settings = self.settings_mut();
        let rules = &mut settings.rules;
        let (server, audience) = (&settings.server, &settings.audience);
        fapi2::restrict(server, audience, rules.leeway, &mut rules.algorithms)?;
        Ok(self)
    }

    /// Layers share the settings, so they are copied on write.
    fn settings_mut(&mut self) -> &mut JwtSettings {
        Arc::make_mut(&mut self.settings)
    }

    pub(super) fn audience(&self) -> &Audience {
        &self.settings.audience
    }

    /// Returns whether these are the settings of this verifier or of a clone.
    pub(super) fn has_settings(&self, settings: &Arc<JwtSettings>) -> bool {
        Arc::ptr_eq(&self.settings, settings)
    }

    /// Uses the cached metadata and keys of `previous` if its server is the same.
    pub(super) fn take_over_keys(&mut self, previous: &Self) {
        if self.server().may_take_over(previous.server()) {
            let previous = previous.server();
            self.settings_mut().server.take_over(previous);
        }
    }

    pub(super) fn server(&self) -> &AuthorizationServer {
        &self.settings.server
    }

    /// Validates a token: immediately if its key is cached.
    pub(super) fn verify_at(
        &self,
        compact: &str,
        now: &Now<'_>,
    ) -> Verification<Result<Arc<TokenInfo>, VerifyError>> {
        let settings = &*self.settings;
        let (server, rules) = (&settings.server, &settings.rules);
        let clock = server.clock();
        let watch = Stopwatch::start(|| clock.monotonic());
        let mapping = Some(&settings.mapping);
        let token = match UnverifiedToken::read(server, compact, rules, mapping, now) {
            Ok(token) => token,
            Err(error) => {
                let error = rejection::explain(&self.settings, error, compact, now);
                return Verification::Ready(Err(error));
            }
        };
        let is_for_us = |claims: &_| settings.audience.accepts(claims);
        match token.verify(server, rules.fetch_budget, is_for_us, now) {
            Verification::Ready(signed) => {
                let token_info = signed.and_then(|signed| self.accept(signed, compact, now));
                watch.verification(|| clock.monotonic());
                Verification::Ready(token_info)
            }
            Verification::Pending(signed) => {
                let (verifier, compact) = (self.clone(), compact.to_owned());
                Verification::pending(async move {
                    let signed = signed.await?;
                    // The request waited for the key.
                    verifier.accept(signed, &compact, &Now::new(verifier.server().clock()))
                })
            }
        }
    }

    /// Runs the checks that follow the signature check, and counts the accepted token.
    fn accept(
        &self,
        signed: Signed,
        compact: &str,
        now: &Now<'_>,
    ) -> Result<Arc<TokenInfo>, VerifyError> {
        let profile = self.settings.profile;
        let validity = self.settings.check(&signed, profile, now);
        let validity = validity.map_err(|kind| {
            rejection::explain_signed(&self.settings, kind, compact, &signed, now)
        })?;
        telemetry::TokenOrigin::Verified.count();
        if signed.markers.scope_is_array
            && self.settings.mapping.scopes.is_none()
            && self.settings.reports.is_first(SCOPE_ARRAY)
        {
            let setting = "JwtVerifier::with_scopes_from([\"scope\"])";
            report_array(self.server().issuer(), setting);
        }
        let Signed {
            payload,
            mut registered,
            markers,
            key,
            mapped,
            ..
        } = signed;
        if let Some(client) = mapped.client {
            registered.client_id = Some((&*client).into());
        }
        registered.client_only = profile.is_client_only(&markers);
        Ok(Arc::new(TokenInfo {
            claims: Arc::new(Claims::new(payload, registered)),
            scopes: mapped.scopes,
            confirmation: markers.confirmation.flatten().map(Box::new),
            audience: Arc::clone(&self.settings.audience),
            cache: CacheData::new(Provenance {
                verifier: Arc::clone(&self.settings),
                key: self.server().key_ref(key),
                validity,
            }),
        }))
    }
}
