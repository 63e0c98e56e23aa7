//! [`Policy`]: what a token must say for a route.

use std::fmt;

use http::Extensions;

use super::condition::Condition;
use crate::ConfigError;
use crate::protocol::ScopeSet;
use crate::token::{ScopeClaim, TokenInfo};

/// What a token must say for a route: scopes, and whatever else its claims tell.
///
/// It is a value: built where the routes are, shared by several of them, printed into a log. Every
/// part has to be met. There is no empty policy and no way to take a part back, so a policy only ever
/// narrows what the layer around it lets through.
///
/// What is asked for is told to a caller who lacks it: scopes stand in the `scope` of the challenge
/// ([RFC 6750 §3]), a claim's sentence in its `error_description`. Do not put into such a sentence what
/// a stranger must not know.
///
/// ```
/// use tower_oauth::bearer::Policy;
/// use tower_oauth::{Claims, ScopeLayer};
///
/// let policy = Policy::all("orders:read")?
///     .and_role("roles", "clerk")?
///     .and_claim("the account has no paid plan", |claims: &Claims| {
///         claims.get("plan").is_some_and(|plan| plan != "free")
///     })?;
/// assert_eq!(
///     policy.to_string(),
///     "scope orders:read; role clerk in roles; unless: the account has no paid plan"
/// );
/// let layer = ScopeLayer::new(policy);
/// # Ok::<(), tower_oauth::ConfigError>(())
/// ```
///
/// [RFC 6750 §3]: https://www.rfc-editor.org/rfc/rfc6750#section-3
#[derive(Clone)]
pub struct Policy {
    /// Every scope of at least one of these; empty where none are asked for.
    alternatives: Vec<ScopeSet>,
    conditions: Vec<Condition>,
}

/// Why a policy is not met.
#[derive(Debug)]
pub(super) enum Unmet<'a> {
    /// The alternative that lacks least: what the caller is told to ask for.
    Scope(&'a ScopeSet),
    Condition(&'static str),
    /// The application's own mistake.
    WrongType,
}

impl Policy {
    /// Every scope of this space-separated list.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Scope`] where the list is empty or holds something that is no scope.
    pub fn all(scopes: &str) -> Result<Self, ConfigError> {
        Self::any_of_all([scopes])
    }

    /// At least one scope of this space-separated list.
    ///
    /// # Errors
    ///
    /// As [`all`](Self::all).
    pub fn any(scopes: &str) -> Result<Self, ConfigError> {
        let list = parse(scopes)?;
        Self::any_of_all(list.iter())
    }

    /// Every scope of at least one of these space-separated lists.
    ///
    /// # Errors
    ///
    /// As [`all`](Self::all); and where there is no list.
    pub fn any_of_all<'a>(
        alternatives: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, ConfigError> {
        let alternatives: Vec<_> = alternatives
            .into_iter()
            .map(parse)
            .collect::<Result<_, _>>()?;
        if alternatives.is_empty() {
            return Err(ConfigError::Scope {
                value: String::new(),
                reason: EMPTY,
            });
        }
        Ok(Self {
            alternatives,
            conditions: Vec::new(),
        })
    }

    /// A condition on the claims alone, without any scope; see [`and_claim`](Self::and_claim).
    ///
    /// # Errors
    ///
    /// As [`and_claim`](Self::and_claim).
    pub fn claim<C: Send + Sync + 'static>(
        sentence: &'static str,
        check: impl Fn(&C) -> bool + Send + Sync + 'static,
    ) -> Result<Self, ConfigError> {
        Self::nothing().and_claim(sentence, check)
    }

    /// A role alone, without any scope; see [`and_role`](Self::and_role).
    ///
    /// # Errors
    ///
    /// As [`and_role`](Self::and_role).
    pub fn role(from: impl Into<ScopeClaim>, role: &str) -> Result<Self, ConfigError> {
        Self::nothing().and_role(from, role)
    }

    /// And a role, compared whole: one of the values that the claim holds, in the forms that
    /// [`ScopeClaim`] reads. For instance `"roles"`, or
    /// `ScopeClaim::nested(["realm_access", "roles"])` for Keycloak.
    ///
    /// A token without it gets 403 with `insufficient_scope`; the role is not told.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] where the claim has no name, or the role is empty or holds a space.
    pub fn and_role(
        mut self,
        from: impl Into<ScopeClaim>,
        role: &str,
    ) -> Result<Self, ConfigError> {
        self.conditions.push(Condition::role(from.into(), role)?);
        Ok(self)
    }

    /// And whatever the application asks of the claims.
    ///
    /// `C` is [`Claims`](crate::Claims), or the type that the layer reads them as by
    /// [`with_claims`](crate::BearerLayer::with_claims); where it is neither, requests get 500. The
    /// function runs at every request and must not block. Where it says no, the caller gets 403 with
    /// `insufficient_scope` and the sentence as description.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] where the sentence is empty or holds a quote, a backslash, a percent
    /// sign or anything that is not printable ASCII: it stands in header fields as it is.
    pub fn and_claim<C: Send + Sync + 'static>(
        mut self,
        sentence: &'static str,
        check: impl Fn(&C) -> bool + Send + Sync + 'static,
    ) -> Result<Self, ConfigError> {
        self.conditions.push(Condition::claim(sentence, check)?);
        Ok(self)
    }

    /// Only to be handed on with a condition (`X2`).
    fn nothing() -> Self {
        Self {
            alternatives: Vec::new(),
            conditions: Vec::new(),
        }
    }

    /// Looks at scopes first: what a client can ask for comes before what it cannot change.
    pub(super) fn check(
        &self,
        token_info: &TokenInfo,
        extensions: &Extensions,
    ) -> Result<(), Unmet<'_>> {
        let granted = token_info.scopes();
        let missing = |one: &&ScopeSet| one.iter().filter(|scope| !granted.contains(scope)).count();
        if let Some(nearest) = self.alternatives.iter().min_by_key(missing)
            && !granted.contains_all(nearest)
        {
            return Err(Unmet::Scope(nearest));
        }
        self.conditions
            .iter()
            .try_for_each(|condition| condition.check(token_info, extensions))
    }
}

const EMPTY: &str = "there must be at least one scope";

fn parse(scopes: &str) -> Result<ScopeSet, ConfigError> {
    let set = ScopeSet::parse(scopes).map_err(|error| ConfigError::Scope {
        value: error.value().to_owned(),
        reason: "it must be printable ASCII without quote and backslash",
    })?;
    if set.is_empty() {
        return Err(ConfigError::Scope {
            value: scopes.to_owned(),
            reason: EMPTY,
        });
    }
    Ok(set)
}

/// What has to be met, part by part, for people.
impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if !self.alternatives.is_empty() {
            let alternatives: Vec<_> = self.alternatives.iter().map(ToString::to_string).collect();
            parts.push(format!("scope {}", alternatives.join(" or ")));
        }
        for condition in &self.conditions {
            parts.push(condition.to_string());
        }
        f.write_str(&parts.join("; "))
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Policy({self})")
    }
}
