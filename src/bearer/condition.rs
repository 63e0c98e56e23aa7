//! The conditions of a policy on claims other than scopes.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::refusal::{Refusal, is_description};
use crate::ConfigError;
use crate::protocol::json::{Object, parse_object};
use crate::protocol::{AuthorizationDetail, Claims, ScopeSet};
use crate::token::{ConditionId, ScopeClaim, TokenInfo};

/// A condition on the claims.
#[derive(Clone)]
pub(super) enum Condition {
    Role {
        from: ScopeClaim,
        role: Box<str>,
        /// The organization in which the role is required, if the claim states it.
        organization: Option<Box<str>>,
        id: Option<ConditionId>,
    },
    Claim {
        /// The `error_description` if the condition is not met.
        description: &'static str,
        check: ClaimCheck,
    },
    AuthorizationDetail {
        detail_type: Box<str>,
        check: DetailCheck,
    },
}

/// Returns `None` if the claims are of another type than the condition expects.
type ClaimCheck = Arc<dyn Fn(&dyn Any) -> Option<bool> + Send + Sync>;

type DetailCheck = Arc<dyn Fn(&AuthorizationDetail) -> bool + Send + Sync>;

impl Condition {
    /// Requires one of the values of the claim to equal `role`, in this organization if there is one.
    pub(super) fn role(
        from: ScopeClaim,
        role: &str,
        organization: Option<&str>,
    ) -> Result<Self, ConfigError> {
        if role.is_empty() || organization == Some("") || !from.is_named() {
            return Err(ConfigError::Setting {
                setting: "role",
                value: format!("{role} in {}", from.describe()),
                reason: "the role, the organization and the claim must not be empty",
            });
        }
        Ok(Self::Role {
            from,
            role: role.into(),
            organization: organization.map(Box::from),
            id: ConditionId::next(),
        })
    }

    /// `C` is `Claims` or the claims type of the layer.
    pub(super) fn claim<C: Send + Sync + 'static>(
        description: &'static str,
        check: impl Fn(&C) -> bool + Send + Sync + 'static,
    ) -> Result<Self, ConfigError> {
        if !is_description(description) {
            return Err(ConfigError::Setting {
                setting: "description of a policy",
                value: description.to_owned(),
                reason: "it must not be empty, and must be printable ASCII without quotes, backslashes and percent \
                         signs",
            });
        }
        let check: ClaimCheck = Arc::new(move |claims| claims.downcast_ref().map(&check));
        Ok(Self::Claim { description, check })
    }

    /// Requires an authorization detail of this type that `check` accepts.
    pub(super) fn authorization_detail(
        detail_type: &str,
        check: impl Fn(&AuthorizationDetail) -> bool + Send + Sync + 'static,
    ) -> Result<Self, ConfigError> {
        if detail_type.is_empty() {
            return Err(ConfigError::Setting {
                setting: "type of an authorization detail",
                value: String::new(),
                reason: "it must not be empty",
            });
        }
        Ok(Self::AuthorizationDetail {
            detail_type: detail_type.into(),
            check: Arc::new(check),
        })
    }

    /// Returns whether only a token can meet the condition, and no session.
    pub(super) fn is_about_grants(&self) -> bool {
        matches!(self, Self::AuthorizationDetail { .. })
    }

    /// Checks a token. `typed_claims` are the claims as the type of the layer.
    pub(super) fn check<'a>(
        &self,
        token_info: &TokenInfo,
        typed_claims: impl Fn() -> Option<&'a dyn Any>,
    ) -> Result<(), Refusal> {
        let claims = &*token_info.claims;
        let (is_met, description) = match self {
            Self::Role { id, .. } => {
                let has_role = || self.has_role(claims);
                (token_info.cache.meets(*id, has_role), NO_ROLE)
            }
            Self::Claim { description, check } => {
                let is_met = check(claims).or_else(|| check(typed_claims()?));
                (
                    is_met.ok_or(Refusal::MissingLayer(WRONG_TYPE))?,
                    *description,
                )
            }
            Self::AuthorizationDetail { detail_type, check } => {
                let details = token_info.authorization_details();
                (
                    details.of_type(detail_type).any(|one| check(one)),
                    NO_DETAIL,
                )
            }
        };
        if is_met {
            return Ok(());
        }
        let required = match self {
            Self::Role { from, .. } if !from.is_present(&parsed(claims)) => {
                Some(format!("{self}; the token has no such claim"))
            }
            Self::Role { .. } | Self::AuthorizationDetail { .. } => Some(self.to_string()),
            Self::Claim { .. } => None,
        };
        Err(Refusal::Policy {
            description,
            required,
        })
    }

    /// Checks a session, which may be the argument of a condition too.
    pub(super) fn check_session(
        &self,
        claims: &Claims,
        session: &dyn Any,
    ) -> Result<(), UnmetBySession> {
        let is_met = match self {
            Self::Role { .. } => self.has_role(claims),
            Self::Claim { check, .. } => check(claims)
                .or_else(|| check(session))
                .ok_or(UnmetBySession::WrongType)?,
            Self::AuthorizationDetail { .. } => {
                return Err(UnmetBySession::Grants(self.to_string()));
            }
        };
        if is_met {
            return Ok(());
        }
        Err(UnmetBySession::Condition(match self {
            Self::Role { from, .. } if !from.is_present(&parsed(claims)) => {
                format!("{self}; the ID token has no such claim")
            }
            _ => self.to_string(),
        }))
    }

    fn has_role(&self, claims: &Claims) -> bool {
        let Self::Role {
            from,
            role,
            organization,
            ..
        } = self
        else {
            return false;
        };
        let claims = parsed(claims);
        match organization {
            Some(organization) => from.has_role_in(&claims, role, organization),
            None => from.has_role(&claims, role),
        }
    }
}

/// Cannot fail: the claims were parsed when the token was verified.
fn parsed(claims: &Claims) -> Object<'_> {
    parse_object(claims.as_json().as_bytes()).unwrap_or_default()
}

/// What a session lacks, for the log.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnmetBySession {
    #[error(
        "{0}: a session meets no scope and no authorization detail, because those granted to it say what this application \
         may do at other APIs, and not what the user may do here; require a role or a condition on the claims"
    )]
    Grants(String),
    #[error("{0}")]
    Condition(String),
    #[error("{0}, and the ID token says less or nothing about it")]
    Authentication(String),
    #[error(
        "a Policy expects claims of a type that a session does not have: it has Claims, those of its ID token, and Session"
    )]
    WrongType,
}

const NO_ROLE: &str = "the access token lacks a required role";
const NO_DETAIL: &str = "the access token lacks a required authorization detail";
const WRONG_TYPE: &str =
    "a Policy expects claims of another type than the BearerLayer deserializes";

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Role {
                from,
                role,
                organization,
                ..
            } => {
                write!(f, "role {role}")?;
                if let Some(organization) = organization {
                    write!(f, " of organization {organization}")?;
                }
                write!(f, " in {}", from.describe())
            }
            Self::Claim { description, .. } => write!(f, "unless: {description}"),
            Self::AuthorizationDetail { detail_type, .. } => {
                write!(f, "authorization detail of type {detail_type}")
            }
        }
    }
}

/// The required authentication of the user (RFC 9470).
#[derive(Clone, Default)]
pub(crate) struct RequiredAuthentication {
    /// Space-separated, in order of preference.
    acr_values: Option<Box<str>>,
    /// In seconds.
    max_age: Option<u64>,
}

/// The allowed clock skew, in seconds.
const CLOCK_SKEW: i64 = 30;

impl RequiredAuthentication {
    pub(super) fn add_acr(&mut self, values: &[&str]) -> Result<(), ConfigError> {
        let invalid = |reason| {
            Err(ConfigError::Setting {
                setting: "acr values",
                value: format!("{values:?}"),
                reason,
            })
        };
        let is_value = |value: &&str| {
            !value.is_empty()
                && !value.contains(' ')
                && ScopeSet::parse(value).is_ok_and(|one| !one.is_empty())
        };
        if values.is_empty() || !values.iter().all(is_value) {
            return invalid(
                "there must be at least one, each printable ASCII without spaces, quotes and backslashes",
            );
        }
        // A challenge has only one list, and a token only one value.
        if self.acr_values.is_some() {
            return invalid("the policy already requires an acr");
        }
        self.acr_values = Some(values.join(" ").into());
        Ok(())
    }

    /// A policy only narrows, so the shortest age counts.
    pub(super) fn add_max_age(&mut self, max_age: Duration) -> Result<(), ConfigError> {
        let seconds = max_age.as_secs();
        if seconds == 0 {
            return Err(ConfigError::Setting {
                setting: "max age of an authentication",
                value: format!("{max_age:?}"),
                reason: "it must be at least one second",
            });
        }
        self.max_age = Some(self.max_age.map_or(seconds, |before| before.min(seconds)));
        Ok(())
    }

    /// Returns the accepted `acr` in order of preference, if there are any.
    pub(crate) fn acr_values(&self) -> Option<impl Iterator<Item = &str>> {
        self.acr_values.as_deref().map(|values| values.split(' '))
    }

    /// Returns the maximum age in seconds.
    pub(crate) fn max_age(&self) -> Option<u64> {
        self.max_age
    }

    /// RFC 9470 §6.1: a token whose claim is missing or malformed does not meet the requirement.
    pub(super) fn check(&self, claims: &Claims, now: i64) -> Result<(), Refusal> {
        let claims = claims.registered();
        let is_strong = self.acr_values.as_ref().is_none_or(|values| {
            let acr = claims.acr.as_deref();
            acr.is_some_and(|acr| values.split(' ').any(|one| one == acr))
        });
        let is_recent = self.max_age.is_none_or(|max_age| {
            let max_age = i64::try_from(max_age).unwrap_or(i64::MAX);
            claims.auth_time.is_some_and(|at| {
                at <= now.saturating_add(CLOCK_SKEW)
                    && now <= at.saturating_add(max_age).saturating_add(CLOCK_SKEW)
            })
        });
        if is_strong && is_recent {
            return Ok(());
        }
        Err(Refusal::InsufficientUserAuthentication {
            acr_values: self.acr_values.as_deref().map(str::to_owned),
            max_age: self.max_age.map(Duration::from_secs),
        })
    }
}

impl fmt::Display for RequiredAuthentication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(acr_values) = &self.acr_values {
            write!(f, "acr {}", acr_values.replace(' ', " or "))?;
        }
        if self.acr_values.is_some() && self.max_age.is_some() {
            f.write_str("; ")?;
        }
        match self.max_age {
            Some(max_age) => write!(f, "authentication at most {max_age} seconds ago"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::bearer::policy::Policy;
    use crate::protocol::claims::RegisteredClaims;
    use crate::protocol::credentials::PresentedToken;
    use crate::protocol::json::parse_object;
    use crate::token::VerifiedToken;

    fn token(json: &str) -> VerifiedToken {
        let registered = RegisteredClaims::read(&parse_object(json.as_bytes()).unwrap()).unwrap();
        let claims = Arc::new(Claims::new(json.into(), registered));
        let token_info = TokenInfo {
            claims: Arc::clone(&claims),
            scopes: None,
            confirmation: None,
            audience: Arc::new("https://api.example.com".into()),
            cache: Default::default(),
        };
        let presented = PresentedToken::bare(http::HeaderValue::from_static("token"));
        VerifiedToken::new(Arc::new(token_info), claims, presented, 1000)
    }

    #[test]
    fn a_refusal_states_what_is_required_and_authentication_is_checked_last() {
        let policy = Policy::any_of_all(["a b", "c"])
            .unwrap()
            .and_role("roles", "clerk")
            .unwrap()
            .and_acr(["phrh", "phr"])
            .unwrap()
            .and_max_age(Duration::from_secs(300))
            .unwrap()
            .and_max_age(Duration::from_secs(600))
            .unwrap();
        assert_eq!(
            policy.to_string(),
            "scope a b or c; role clerk in roles; acr phrh or phr; authentication at most 300 seconds ago"
        );
        let step_up =
            "a more recent or stronger authentication is required: acr phrh phr, max_age 300";
        for (claims, expected) in [
            (r#"{"scope":"a"}"#, "the scope \"a b\" is required"),
            (
                r#"{"scope":"c"}"#,
                "a policy is not met: the access token lacks a required role: role clerk in roles; the token has no such claim",
            ),
            (
                r#"{"scope":"c","roles":"baker"}"#,
                "a policy is not met: the access token lacks a required role: role clerk in roles",
            ),
            (r#"{"scope":"c","roles":"clerk"}"#, step_up),
            (
                r#"{"scope":"c","roles":"clerk","acr":"phr","auth_time":669}"#,
                step_up,
            ),
            (
                r#"{"scope":"c","roles":"clerk","acr":"phr","auth_time":670}"#,
                "",
            ),
        ] {
            let token = token(claims);
            // The result of a condition is cached with the token.
            for _ in 0..2 {
                let refusal = policy.check(&token).err();
                let refusal = refusal.map(|one| one.to_string()).unwrap_or_default();
                assert_eq!(refusal, expected, "{claims}");
            }
        }
        assert!(policy.and_acr(["phr"]).is_err());
    }

    #[test]
    fn results_of_more_roles_than_can_be_cached_are_never_confused() {
        let roles: Vec<_> = (0..150).map(|number| format!("role{number}")).collect();
        let policies: Vec<_> = roles
            .iter()
            .map(|role| Policy::role("roles", role).unwrap())
            .collect();
        let odd: Vec<_> = roles.iter().skip(1).step_by(2).collect();
        let token = token(&format!(r#"{{"roles":{odd:?}}}"#));
        for _ in 0..3 {
            for (number, policy) in policies.iter().enumerate() {
                assert_eq!(policy.check(&token).is_ok(), number % 2 == 1, "{number}");
            }
        }
    }
}
