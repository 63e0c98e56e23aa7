//! [`StepUpLayer`]: step-up authentication for a route (RFC 9470).

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Extensions, Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use super::challenge_params::AuthState;
use super::refusal::{ChallengeHints, Refusal};
use super::require::{self, Requirement};
use crate::ConfigError;
use crate::clock::unix_seconds;
use crate::protocol::ScopeSet;
use crate::protocol::claims::RegisteredClaims;
use crate::response_future::ResponseFuture;
use crate::token::TokenInfo;

/// Requires a recent or a strong authentication of the user ([RFC 9470]).
///
/// Add it inside of a [`BearerLayer`](crate::BearerLayer), like a [`ScopeLayer`](crate::ScopeLayer). A token whose `acr`
/// is not one of the values, or whose `auth_time` is older than the maximum age, is rejected with 401
/// `insufficient_user_authentication`, `acr_values` and `max_age`, so that the client can have the user authenticate
/// again and obtain a new token. A token without the claim is rejected too. The response reveals the requirement only to
/// callers with a valid token.
///
/// ```
/// use std::time::Duration;
/// use tower_oauth::bearer::StepUpLayer;
///
/// let strong = StepUpLayer::acr(["phrh", "phr"])?; // in order of preference
/// let recent = StepUpLayer::max_age(Duration::from_secs(300))?;
/// let both = StepUpLayer::acr(["phrh", "phr"])?.with_max_age(Duration::from_secs(300))?;
/// # Ok::<(), tower_oauth::ConfigError>(())
/// ```
///
/// The age is measured from `auth_time`, which a token refresh does not change, and not from `iat`; 30 seconds of clock
/// skew are allowed. With introspection, `acr` and `auth_time` are read from the introspection response.
///
/// [RFC 9470]: https://www.rfc-editor.org/rfc/rfc9470
#[derive(Clone, Debug)]
pub struct StepUpLayer {
    required: Arc<RequiredAuthentication>,
}

#[derive(Clone, Debug, Default)]
struct RequiredAuthentication {
    /// Space-separated, in order of preference.
    acr_values: Option<Box<str>>,
    max_age: Option<u64>,
}

impl StepUpLayer {
    /// Requires one of these authentication context class references (`acr`), compared byte for byte. The challenge
    /// contains them in this order; put the preferred one first.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] if the list is empty, or a value is empty or contains a space, a quote, a backslash or a
    /// character that is not printable ASCII.
    pub fn acr<'a>(values: impl IntoIterator<Item = &'a str>) -> Result<Self, ConfigError> {
        let values: Vec<&str> = values.into_iter().collect();
        let is_value = |value: &&str| {
            !value.is_empty()
                && !value.contains(' ')
                && ScopeSet::parse(value).is_ok_and(|one| !one.is_empty())
        };
        if values.is_empty() || !values.iter().all(is_value) {
            return Err(ConfigError::Setting {
                setting: "acr values",
                value: format!("{values:?}"),
                reason: "there must be at least one, each printable ASCII without spaces, quotes and \
                         backslashes",
            });
        }
        Ok(Self::with_required(RequiredAuthentication {
            acr_values: Some(values.join(" ").into()),
            max_age: None,
        }))
    }

    /// Requires an authentication that is at most `max_age` ago, with any `acr`; see [`with_max_age`](Self::with_max_age).
    ///
    /// # Errors
    ///
    /// As [`with_max_age`](Self::with_max_age).
    pub fn max_age(max_age: Duration) -> Result<Self, ConfigError> {
        Self::with_required(RequiredAuthentication::default()).with_max_age(max_age)
    }

    /// Also requires an authentication that is at most `max_age` ago, in whole seconds.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] if it is less than a second.
    pub fn with_max_age(mut self, max_age: Duration) -> Result<Self, ConfigError> {
        if max_age.as_secs() == 0 {
            return Err(ConfigError::Setting {
                setting: "max age of an authentication",
                value: format!("{max_age:?}"),
                reason: "it must be at least one second",
            });
        }
        Arc::make_mut(&mut self.required).max_age = Some(max_age.as_secs());
        Ok(self)
    }

    fn with_required(required: RequiredAuthentication) -> Self {
        Self {
            required: Arc::new(required),
        }
    }
}

impl Requirement for StepUpLayer {
    const NO_LAYER: &'static str = "StepUpLayer requires an outer BearerLayer";

    fn enforce(
        &self,
        state: &AuthState,
        token_info: &TokenInfo,
        _: &Extensions,
    ) -> Result<(), Refusal> {
        let now = unix_seconds(&*state.challenge.clock);
        if self.required.is_met(token_info.claims.registered(), now) {
            Ok(())
        } else {
            Err(Refusal::InsufficientUserAuthentication)
        }
    }

    fn hints(&self) -> ChallengeHints<'_> {
        ChallengeHints {
            acr_values: self.required.acr_values.as_deref(),
            max_age: self.required.max_age,
            ..ChallengeHints::default()
        }
    }
}

/// The allowed clock skew, in seconds.
const CLOCK_SKEW: i64 = 30;

impl RequiredAuthentication {
    /// RFC 9470 §6.1: a token whose claim is missing or malformed does not meet the requirement.
    fn is_met(&self, claims: &RegisteredClaims, now: i64) -> bool {
        let acr = claims.acr.as_deref();
        let is_strong = self
            .acr_values
            .as_ref()
            .is_none_or(|values| acr.is_some_and(|acr| values.split(' ').any(|one| one == acr)));
        let Some(max_age) = self.max_age else {
            return is_strong;
        };
        let max_age = i64::try_from(max_age).unwrap_or(i64::MAX);
        let is_recent = claims.auth_time.is_some_and(|at| {
            at <= now.saturating_add(CLOCK_SKEW)
                && now <= at.saturating_add(max_age).saturating_add(CLOCK_SKEW)
        });
        is_strong && is_recent
    }
}

impl<S> Layer<S> for StepUpLayer {
    type Service = RequireStepUp<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RequireStepUp {
            inner,
            layer: self.clone(),
        }
    }
}

/// The service created by [`StepUpLayer`].
#[derive(Clone, Debug)]
pub struct RequireStepUp<S> {
    inner: S,
    layer: StepUpLayer,
}

impl<S, B, R> Service<Request<B>> for RequireStepUp<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Default,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        require::call(&self.layer, &mut self.inner, request)
    }
}
