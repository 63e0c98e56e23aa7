//! An access token that is a JWT, verified here (RFC 9068 §4, RFC 8725).

use std::sync::Arc;
use std::time::Duration;

use super::audience::Audience;
use super::cache::Memory;
use super::error::{VerifyError, VerifyErrorKind};
use super::jws::{Candidate, Rules, Signed, check_times};
use super::profile::TokenProfile;
use super::profile_advice::Hint;
use super::scope_mapping::{ClaimMapping, ScopeClaim, ScopeMapping};
use super::verified::TokenInfo;
use crate::ConfigError;
use crate::clock::unix_seconds;
use crate::crypto::{Algorithm, DEFAULT_ALGORITHMS};
use crate::issuer::{AuthorizationServer, FetchBudget, KeyRef, KeyStatus};
use crate::protocol::Claims;
use crate::protocol::claims::Registered;
use crate::telemetry::{self, Stopwatch};

const DEFAULT_LEEWAY: i64 = 30;
const MAX_LEEWAY: Duration = Duration::from_secs(300);

/// Verifies access tokens that are JWTs: of one issuer, for one audience.
///
/// The audience is the identifier of *this* API, as the authorization server puts it into `aud`.
/// Unless set otherwise: [`TokenProfile::Rfc9068`]; RS256, PS256, ES256, ES384 and EdDSA; 30 seconds
/// of leeway.
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
#[derive(Clone, Debug)]
pub struct JwtVerifier {
    settings: Arc<Settings>,
}

#[derive(Clone, Debug)]
struct Settings {
    server: AuthorizationServer,
    audience: Audience,
    profile: TokenProfile,
    /// Where scopes are looked for, if that was said.
    scopes: Option<ScopeMapping>,
    reading: ClaimMapping,
    rules: Rules,
    max_age: Option<i64>,
    hint: Hint,
}

impl JwtVerifier {
    /// For tokens of this issuer, for this audience.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Audience`] where the audience is empty.
    pub fn new(
        server: &AuthorizationServer,
        audience: impl Into<Audience>,
    ) -> Result<Self, ConfigError> {
        let profile = TokenProfile::default();
        let settings = Settings {
            server: server.clone(),
            audience: audience.into().checked()?,
            profile,
            scopes: None,
            reading: profile.reading(),
            rules: Rules {
                algorithms: DEFAULT_ALGORITHMS.to_vec(),
                media_type: profile.media_type(),
                leeway: DEFAULT_LEEWAY,
                needs_expiry: true,
                source: FetchBudget::Request,
            },
            max_age: None,
            hint: Hint::default(),
        };
        Ok(Self {
            settings: Arc::new(settings),
        })
    }

    /// How the authorization server marks its access tokens.
    #[must_use]
    pub fn with_profile(mut self, profile: TokenProfile) -> Self {
        let settings = self.change();
        settings.profile = profile;
        settings.rules.media_type = profile.media_type();
        settings.read_anew();
        self
    }

    /// The claims whose values count as scopes, instead of `scope` or the claim that the profile knows
    /// (`scp` for Entra and Okta).
    ///
    /// [`ScopeClaim`] says what forms are read. What is found counts everywhere scopes do:
    /// [`ScopeLayer`](crate::ScopeLayer), [`VerifiedToken::scopes`](super::VerifiedToken::scopes).
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] for an empty list, and for a claim without a name.
    pub fn with_scopes_from<S: Into<ScopeClaim>>(
        mut self,
        claims: impl IntoIterator<Item = S>,
    ) -> Result<Self, ConfigError> {
        let mapping = ScopeMapping::new(claims)?;
        let settings = self.change();
        settings.scopes = Some(mapping);
        settings.read_anew();
        Ok(self)
    }

    /// The signature algorithms that are allowed, instead of the default ones.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] for an empty list.
    pub fn with_algorithms(
        mut self,
        algorithms: impl IntoIterator<Item = Algorithm>,
    ) -> Result<Self, ConfigError> {
        let algorithms: Vec<_> = algorithms.into_iter().collect();
        if algorithms.is_empty() {
            return Err(ConfigError::Setting {
                setting: "algorithms",
                value: "[]".to_owned(),
                reason: "there must be at least one",
            });
        }
        self.change().rules.algorithms = algorithms;
        Ok(self)
    }

    /// How far the clocks of both servers may be apart: 30 seconds unless said otherwise, 5 minutes
    /// at most. Fractions of a second are cut off.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] above 5 minutes.
    pub fn with_leeway(mut self, leeway: Duration) -> Result<Self, ConfigError> {
        if leeway > MAX_LEEWAY {
            return Err(ConfigError::Setting {
                setting: "leeway",
                value: format!("{leeway:?}"),
                reason: "it must be at most 5 minutes",
            });
        }
        self.change().rules.leeway = i64::try_from(leeway.as_secs()).unwrap_or(DEFAULT_LEEWAY);
        Ok(self)
    }

    /// Refuses tokens that were issued longer ago than this, however long they say they are good, and
    /// tokens without `iat`. No limit unless said otherwise; the leeway comes on top.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] below a second.
    pub fn with_max_age(mut self, max_age: Duration) -> Result<Self, ConfigError> {
        if max_age.as_secs() == 0 {
            return Err(ConfigError::Setting {
                setting: "max age",
                value: format!("{max_age:?}"),
                reason: "it must be at least a second",
            });
        }
        self.change().max_age = Some(i64::try_from(max_age.as_secs()).unwrap_or(i64::MAX));
        Ok(self)
    }

    /// Settings are shared by the layers made from them, so a change makes its own copy.
    fn change(&mut self) -> &mut Settings {
        Arc::make_mut(&mut self.settings)
    }

    pub(super) fn audience(&self) -> &Audience {
        &self.settings.audience
    }

    /// Whether both are one, and not only alike.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.settings, &other.settings)
    }

    pub(super) fn server(&self) -> &AuthorizationServer {
        &self.settings.server
    }

    /// The token_info, where it can be given without waiting for a key.
    pub(super) fn at_hand(&self, compact: &str) -> Option<Result<Arc<TokenInfo>, VerifyError>> {
        let settings = &*self.settings;
        let clock = settings.server.clock();
        let watch = Stopwatch::start(|| clock.monotonic());
        let candidate = match settings.read(compact) {
            Ok(candidate) => candidate,
            Err(error) => {
                if error.kind() == VerifyErrorKind::Type {
                    settings.hint.give(self, &settings.rules, compact);
                }
                return Some(Err(error));
            }
        };
        let key = candidate.cached_key(&settings.server)?;
        let token_info = candidate
            .verify_with(key)
            .and_then(|signed| self.judge(signed, settings.profile));
        watch.verification(|| clock.monotonic());
        Some(token_info.inspect(|_| telemetry::TokenOrigin::Verified.count()))
    }

    /// The token_info, after a fetch of keys where one is needed.
    pub(super) async fn verify(&self, compact: &str) -> Result<Arc<TokenInfo>, VerifyError> {
        let settings = &*self.settings;
        let candidate = settings.read(compact)?;
        let signed = candidate.verify(&settings.server, &settings.rules).await?;
        self.judge(signed, settings.profile)
            .inspect(|_| telemetry::TokenOrigin::Verified.count())
    }

    /// What only makes sense of a token whose signature is good.
    pub(super) fn judge(
        &self,
        signed: Signed,
        profile: TokenProfile,
    ) -> Result<Arc<TokenInfo>, VerifyError> {
        let Signed {
            payload,
            mut registered,
            marks,
            key,
            mapped,
            ..
        } = signed;
        if !self.settings.audience.accepts(&registered) {
            return Err(VerifyErrorKind::Audience.into());
        }
        profile.check(&registered, &marks)?;
        self.check_age(&registered, || {
            unix_seconds(&**self.settings.server.clock())
        })?;
        let confirmation = match marks.confirmation {
            Some(None) => return Err(VerifyErrorKind::Bound.into()),
            Some(confirmation) => confirmation,
            None => None,
        };
        if let Some(client) = mapped.client {
            registered.client_id = Some((&*client).into());
        }
        registered.client_only = profile.says_client_only(&marks);
        Ok(Arc::new(TokenInfo {
            claims: Arc::new(Claims::new(payload, registered)),
            scopes: mapped.scopes,
            confirmation,
            memory: Memory::new(self, KeyRef::new(key)),
        }))
    }

    /// Whether a token_info that was given would be given again: the times against the clock, and the
    /// key against the key set at hand (`A19`, `J19`).
    pub(super) fn key_status(&self, token_info: &TokenInfo, voucher: &KeyRef) -> KeyStatus {
        let registered = token_info.claims.registered();
        let now = unix_seconds(&**self.settings.server.clock());
        let timely = check_times(registered, now, &self.settings.rules).is_ok()
            && self.check_age(registered, || now).is_ok();
        if !timely {
            return KeyStatus::Withdrawn;
        }
        self.settings.server.key_status(voucher)
    }

    /// Where an age was set, `iat` has to be there (`A11`).
    fn check_age(
        &self,
        registered: &Registered,
        now: impl FnOnce() -> i64,
    ) -> Result<(), VerifyErrorKind> {
        let settings = &*self.settings;
        let Some(max_age) = settings.max_age else {
            return Ok(());
        };
        let issued_at = registered.issued_at.ok_or(VerifyErrorKind::Claims)?;
        let limit = max_age.saturating_add(settings.rules.leeway);
        if now() >= issued_at.saturating_add(limit) {
            return Err(VerifyErrorKind::TooOld);
        }
        Ok(())
    }
}

impl Settings {
    fn read<'a>(&self, compact: &'a str) -> Result<Candidate<'a>, VerifyError> {
        Candidate::read(&self.server, compact, &self.rules, Some(&self.reading))
    }

    /// What was said counts, in whatever order, and then what the profile knows.
    fn read_anew(&mut self) {
        self.reading = self.profile.reading();
        if let Some(scopes) = &self.scopes {
            self.reading.scopes = Some(scopes.clone());
        }
    }
}
