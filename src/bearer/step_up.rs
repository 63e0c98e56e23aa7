//! [`StepUpLayer`]: how the user behind a token must have signed in for a route.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Extensions, Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use super::challenge_params::AuthState;
use super::refusal::{ChallengeHints, Refusal};
use super::require::{self, Requirement, ScopeFuture};
use crate::ConfigError;
use crate::clock::unix_seconds;
use crate::protocol::claims::seconds;
use crate::protocol::json::{Json, parse_object};
use crate::protocol::{Claims, ScopeSet};
use crate::token::TokenInfo;

/// Demands that the user signed in strongly enough, or recently enough ([RFC 9470]): for the few routes
/// that need more than the rest.
///
/// It stands inside a [`BearerLayer`](crate::BearerLayer), like a [`ScopeLayer`](crate::ScopeLayer). A token
/// whose `acr` is none of the values, or whose `auth_time` is longer ago than the age, gets 401 with
/// `insufficient_user_authentication`, `acr_values` and `max_age`: the client sends its user to sign in
/// again and comes back with a better token. A token that does not say how or when its user signed in
/// is one that does not meet it. What is asked for is told only to who brings a good token.
///
/// ```
/// use std::time::Duration;
/// use tower_oauth::bearer::StepUpLayer;
///
/// let strong = StepUpLayer::acr(["phrh", "phr"])?; // by preference, the first is the best
/// let recent = StepUpLayer::max_age(Duration::from_secs(300))?;
/// let both = StepUpLayer::acr(["phrh", "phr"])?.with_max_age(Duration::from_secs(300))?;
/// # Ok::<(), tower_oauth::ConfigError>(())
/// ```
///
/// The age counts from `auth_time`, which a refresh does not renew, not from `iat`; 30 seconds of leeway
/// come on top. With introspection, `acr` and `auth_time` are those of the answer.
///
/// [RFC 9470]: https://www.rfc-editor.org/rfc/rfc9470
#[derive(Clone, Debug)]
pub struct StepUpLayer {
    demand: Arc<Demanded>,
}

#[derive(Clone, Debug, Default)]
struct Demanded {
    /// Space-separated, by preference.
    acr_values: Option<Box<str>>,
    max_age: Option<u64>,
}

impl StepUpLayer {
    /// One of these authentication context classes, compared byte for byte; they stand in the challenge
    /// in this order, the preferred one first.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] for an empty list, and for a value that is empty or holds a space, a quote,
    /// a backslash or anything that is not printable ASCII.
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
                reason: "there must be at least one, each printable ASCII without space, quote and \
                         backslash",
            });
        }
        Ok(Self::demanding(Demanded {
            acr_values: Some(values.join(" ").into()),
            max_age: None,
        }))
    }

    /// A sign-in that is at most so long ago, whatever its class; see
    /// [`with_max_age`](Self::with_max_age).
    ///
    /// # Errors
    ///
    /// As [`with_max_age`](Self::with_max_age).
    pub fn max_age(max_age: Duration) -> Result<Self, ConfigError> {
        Self::demanding(Demanded::default()).with_max_age(max_age)
    }

    /// A sign-in that is at most so long ago, too. Fractions of a second are cut off.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] below a second: a token cannot come back that fast.
    pub fn with_max_age(mut self, max_age: Duration) -> Result<Self, ConfigError> {
        if max_age.as_secs() == 0 {
            return Err(ConfigError::Setting {
                setting: "max age of a sign-in",
                value: format!("{max_age:?}"),
                reason: "it must be at least a second",
            });
        }
        Arc::make_mut(&mut self.demand).max_age = Some(max_age.as_secs());
        Ok(self)
    }

    fn demanding(demand: Demanded) -> Self {
        Self {
            demand: Arc::new(demand),
        }
    }
}

impl Requirement for StepUpLayer {
    const NO_LAYER: &'static str = "a StepUpLayer has no BearerLayer around it";

    fn judge(
        &self,
        judged: &AuthState,
        token_info: &TokenInfo,
        _: &Extensions,
    ) -> Result<(), Refusal> {
        let now = unix_seconds(&*judged.protection.clock);
        if self.demand.is_met(&token_info.claims, now) {
            Ok(())
        } else {
            Err(Refusal::InsufficientUserAuthentication)
        }
    }

    fn demand(&self) -> ChallengeHints<'_> {
        ChallengeHints {
            acr_values: self.demand.acr_values.as_deref(),
            max_age: self.demand.max_age,
            ..ChallengeHints::default()
        }
    }
}

/// How far the clocks may be apart, in seconds.
const LEEWAY: i64 = 30;

impl Demanded {
    /// RFC 9470 §6.1: a claim that is missing, or odd, meets nothing (`C11`).
    fn is_met(&self, claims: &Claims, now: i64) -> bool {
        // It was read before, so it can be read again.
        let Ok(claims) = parse_object(claims.as_json().as_bytes()) else {
            return false;
        };
        let acr = claims.member("acr").and_then(Json::as_str);
        let strong = self
            .acr_values
            .as_ref()
            .is_none_or(|values| acr.is_some_and(|acr| values.split(' ').any(|one| one == acr)));
        let Some(max_age) = self.max_age else {
            return strong;
        };
        let max_age = i64::try_from(max_age).unwrap_or(i64::MAX);
        let recent = seconds(claims.member("auth_time"), f64::floor)
            .ok()
            .flatten()
            .is_some_and(|at| {
                at <= now.saturating_add(LEEWAY)
                    && now <= at.saturating_add(max_age).saturating_add(LEEWAY)
            });
        strong && recent
    }
}

impl<S> Layer<S> for StepUpLayer {
    type Service = RequireStepUp<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RequireStepUp {
            inner,
            policy: self.clone(),
        }
    }
}

/// The service that [`StepUpLayer`] makes.
#[derive(Clone, Debug)]
pub struct RequireStepUp<S> {
    inner: S,
    policy: StepUpLayer,
}

impl<S, B, R> Service<Request<B>> for RequireStepUp<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Default,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = ScopeFuture<S::Future, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        require::call(&self.policy, &mut self.inner, request)
    }
}
