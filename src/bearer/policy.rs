//! [`Policy`]: the scopes, roles, claims and authentication of the user that a route requires.

use std::any::Any;
use std::fmt;
use std::time::Duration;

use super::condition::{Condition, RequiredAuthentication, UnmetBySession};
use super::refusal::Refusal;
use crate::ConfigError;
use crate::protocol::{AuthorizationDetail, Claims, ScopeSet};
use crate::token::{ScopeClaim, TokenInfo, VerifiedToken};

/// The scopes, roles, conditions on claims, and authentication of the user that a route requires.
///
/// A token or a session must satisfy every part. A policy cannot be empty and parts cannot be removed, so a policy only narrows what
/// the layer around it accepts. Policies can be cloned, shared by routes and printed. [`ScopeLayer`](super::ScopeLayer)
/// enforces a policy on a route, [`check`](Self::check) inside of a handler.
///
/// # Sessions
///
/// [`login.required().with_policy(..)`](crate::login::RequiredLayer::with_policy) enforces a policy on a route of
/// browsers, [`PrincipalLayer`](crate::extract::PrincipalLayer) on a route of browsers and programs, and
/// [`Session::meets`](crate::Session::meets) checks it inside of a handler. Of a session,
///
/// - **roles** and claims are those of the ID token of the login;
/// - a condition on a [`Session`](crate::Session) reads its application data, where a
///   [login hook](crate::LoginLayer::with_on_login) can keep roles from the userinfo endpoint or a database;
/// - `acr` and `auth_time` are those of the ID token;
/// - **scopes** and authorization details are never met. Those granted to a session say what the application may do at
///   other APIs on behalf of the user, and not what the user may do here.
///
/// The requirements are sent to a caller that does not meet them: scopes in the `scope` of the challenge
/// ([RFC 6750 §3]), the description of a condition in its `error_description`. Do not put confidential information
/// into a description.
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
    /// The token must have every scope of at least one of these; empty if no scopes are required.
    alternatives: Vec<ScopeSet>,
    conditions: Vec<Condition>,
    authentication: Option<RequiredAuthentication>,
}

impl Policy {
    /// Requires `scopes` (space-separated; all of them).
    ///
    /// # Errors
    ///
    /// [`ConfigError::Scope`] if the list is empty or a value is not a scope.
    pub fn all(scopes: &str) -> Result<Self, ConfigError> {
        Self::any_of_all([scopes])
    }

    /// Requires at least one of `scopes` (space-separated).
    ///
    /// # Errors
    ///
    /// As [`all`](Self::all).
    pub fn any(scopes: &str) -> Result<Self, ConfigError> {
        let list = parse(scopes)?;
        Self::any_of_all(list.iter())
    }

    /// Requires every scope of at least one of these space-separated lists.
    ///
    /// # Errors
    ///
    /// As [`all`](Self::all), and if there is no list.
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
            ..Self::empty()
        })
    }

    /// Requires a condition on the claims, without any scope; see [`and_claim`](Self::and_claim), also for errors.
    pub fn claim<C: Send + Sync + 'static>(
        description: &'static str,
        check: impl Fn(&C) -> bool + Send + Sync + 'static,
    ) -> Result<Self, ConfigError> {
        Self::empty().and_claim(description, check)
    }

    /// Requires a role, without any scope; see [`and_role`](Self::and_role), also for errors.
    pub fn role(from: impl Into<ScopeClaim>, role: &str) -> Result<Self, ConfigError> {
        Self::empty().and_role(from, role)
    }

    /// Requires a role in one organization, without any scope; see
    /// [`and_role_in_organization`](Self::and_role_in_organization), also for errors.
    pub fn role_in_organization(
        from: impl Into<ScopeClaim>,
        role: &str,
        organization: &str,
    ) -> Result<Self, ConfigError> {
        Self::empty().and_role_in_organization(from, role, organization)
    }

    /// Also requires a role: the claim `from` must be `role`, or an array of strings that contains it. Neither is split
    /// at spaces. Examples of claims: `"roles"`, or `ScopeClaim::nested(["realm_access", "roles"])` for Keycloak.
    ///
    /// A claim that is an object grants no role: the objects of Zitadel state in which organizations a user has a role,
    /// so the name of the role alone would let the administrators of every organization in. Use
    /// [`and_role_in_organization`](Self::and_role_in_organization).
    ///
    /// Other requests are rejected with 403 `insufficient_scope`. The response does not contain the name of the role.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] if the claim has no name, or the role is empty.
    pub fn and_role(
        mut self,
        from: impl Into<ScopeClaim>,
        role: &str,
    ) -> Result<Self, ConfigError> {
        let condition = Condition::role(from.into(), role, None)?;
        self.conditions.push(condition);
        Ok(self)
    }

    /// Also requires a role in one organization, from a claim that maps each role to the organizations in which the user
    /// has it, as in the tokens of Zitadel: `{"admin": {"168096": "acme.example.com"}}`.
    ///
    /// The description of the organization must be a string that is not empty; its content is not compared. Other
    /// requests are rejected with 403 `insufficient_scope`. The response contains neither role nor organization.
    ///
    /// ```
    /// use tower_oauth::bearer::Policy;
    ///
    /// let roles = "urn:zitadel:iam:org:project:roles";
    /// let policy = Policy::role_in_organization(roles, "admin", "168096")?;
    /// # Ok::<(), tower_oauth::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] if the claim has no name, or the role or the organization is empty.
    pub fn and_role_in_organization(
        mut self,
        from: impl Into<ScopeClaim>,
        role: &str,
        organization: &str,
    ) -> Result<Self, ConfigError> {
        let condition = Condition::role(from.into(), role, Some(organization))?;
        self.conditions.push(condition);
        Ok(self)
    }

    /// Also requires that `check` returns `true` for the claims.
    ///
    /// `C` is [`Claims`](crate::Claims) or the type of [`with_claims`](crate::BearerLayer::with_claims), and for sessions
    /// `Claims` or [`Session`](crate::Session); with any other type the response is 500. `check` runs on every request and must not block. If it returns `false`, the request is
    /// rejected with 403 `insufficient_scope` and `description` as `error_description`. State what is wrong, such as
    /// "the account has no paid plan".
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] if the description is empty, or contains a quote, a backslash, a percent sign or a
    /// character that is not printable ASCII, because it is sent in header fields unescaped.
    pub fn and_claim<C: Send + Sync + 'static>(
        mut self,
        description: &'static str,
        check: impl Fn(&C) -> bool + Send + Sync + 'static,
    ) -> Result<Self, ConfigError> {
        self.conditions.push(Condition::claim(description, check)?);
        Ok(self)
    }

    /// Requires an authorization detail, without any scope; see
    /// [`and_authorization_detail`](Self::and_authorization_detail), also for errors.
    pub fn authorization_detail(
        detail_type: &str,
        check: impl Fn(&AuthorizationDetail) -> bool + Send + Sync + 'static,
    ) -> Result<Self, ConfigError> {
        Self::empty().and_authorization_detail(detail_type, check)
    }

    /// Also requires one of the [authorization details](crate::VerifiedToken::authorization_details) of the token to have
    /// this `type`, compared byte for byte, and `check` to return `true` for it ([RFC 9396 §9]).
    ///
    /// A detail with `locations` counts only if they contain an audience of this API, and a token with a malformed detail
    /// has none. What a user grants may be narrower than what the client requested, so `check` must look at every member
    /// that limits the permission, such as `actions` or an amount. `check` runs on every request and must not block.
    ///
    /// Other requests are rejected with 403 `insufficient_scope`, which says that the request requires more than the token
    /// grants ([RFC 6750 §3.1]); RFC 9396 defines no code and no parameter of its own. The response has no `scope`, since no
    /// scope would help, and does not contain the type.
    ///
    /// ```
    /// use tower_oauth::bearer::Policy;
    ///
    /// let initiate = Policy::authorization_detail("payment_initiation", |detail| {
    ///     let actions = detail.get("actions").and_then(|actions| actions.as_array());
    ///     actions.is_some_and(|actions| actions.iter().any(|action| action == "initiate"))
    /// })?;
    /// # Ok::<(), tower_oauth::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] if the type is empty.
    ///
    /// [RFC 9396 §9]: https://www.rfc-editor.org/rfc/rfc9396#section-9
    /// [RFC 6750 §3.1]: https://www.rfc-editor.org/rfc/rfc6750#section-3.1
    pub fn and_authorization_detail(
        mut self,
        detail_type: &str,
        check: impl Fn(&AuthorizationDetail) -> bool + Send + Sync + 'static,
    ) -> Result<Self, ConfigError> {
        let condition = Condition::authorization_detail(detail_type, check)?;
        self.conditions.push(condition);
        Ok(self)
    }

    /// Requires an authentication context class, without any scope; see [`and_acr`](Self::and_acr), also for errors.
    pub fn acr<'a>(values: impl IntoIterator<Item = &'a str>) -> Result<Self, ConfigError> {
        Self::empty().and_acr(values)
    }

    /// Requires a recent authentication, without any scope; see [`and_max_age`](Self::and_max_age), also for errors.
    pub fn max_age(max_age: Duration) -> Result<Self, ConfigError> {
        Self::empty().and_max_age(max_age)
    }

    /// Also requires the user to have authenticated with one of these authentication context class references (`acr`),
    /// compared byte for byte ([RFC 9470]).
    ///
    /// A token with another `acr` or without one is rejected with 401 `insufficient_user_authentication` and `acr_values`
    /// in this order, so that the client can have the user authenticate again and obtain a new token; put the preferred
    /// value first. With introspection, `acr` and `auth_time` are read from the introspection response.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_oauth::bearer::Policy;
    ///
    /// let strong_and_recent = Policy::all("payments:write")?
    ///     .and_acr(["phrh", "phr"])?
    ///     .and_max_age(Duration::from_secs(300))?;
    /// # Ok::<(), tower_oauth::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] if the list is empty, a value is empty or contains a space, a quote, a backslash or a
    /// character that is not printable ASCII, or the policy already requires an `acr`.
    ///
    /// [RFC 9470]: https://www.rfc-editor.org/rfc/rfc9470
    pub fn and_acr<'a>(
        mut self,
        values: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, ConfigError> {
        let values: Vec<&str> = values.into_iter().collect();
        self.authentication
            .get_or_insert_default()
            .add_acr(&values)?;
        Ok(self)
    }

    /// Also requires the user to have authenticated at most `max_age` ago, in whole seconds
    /// ([RFC 9470](https://www.rfc-editor.org/rfc/rfc9470)). Of several ages the shortest counts.
    ///
    /// The age is measured from `auth_time`, which a token refresh does not change, and not from `iat`; 30 seconds of clock
    /// skew are allowed. A token with an older `auth_time` or without one is rejected with 401
    /// `insufficient_user_authentication` and `max_age`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] if it is less than a second.
    pub fn and_max_age(mut self, max_age: Duration) -> Result<Self, ConfigError> {
        self.authentication
            .get_or_insert_default()
            .add_max_age(max_age)?;
        Ok(self)
    }

    /// Private, because a policy without any requirement must not leave this module.
    fn empty() -> Self {
        Self {
            alternatives: Vec::new(),
            conditions: Vec::new(),
            authentication: None,
        }
    }

    /// Checks a token, for services and handlers whose requirements depend on more than the route.
    ///
    /// The maximum age of an authentication is compared with the time when the token was validated. To reject the request,
    /// use [`Refusal::respond_to`].
    ///
    /// # Errors
    ///
    /// What the token lacks; the `Display` output states what is required:
    ///
    /// - [`Refusal::InsufficientScope`], checked first, because a client can request scopes but cannot change claims;
    /// - [`Refusal::Policy`] if a role, a condition or an authorization detail is not met;
    /// - [`Refusal::InsufficientUserAuthentication`], checked last, so that no user authenticates again in vain;
    /// - [`Refusal::MissingLayer`] if a condition expects claims of another type than [`Claims`](crate::Claims) and `C`.
    pub fn check<C: Send + Sync + 'static>(&self, token: &VerifiedToken<C>) -> Result<(), Refusal> {
        self.check_token(token.info(), token.validated_at(), || Some(token.claims()))
    }

    /// `typed_claims` are the claims as the type of the layer.
    pub(super) fn check_token<'a>(
        &self,
        token_info: &TokenInfo,
        now: i64,
        typed_claims: impl Fn() -> Option<&'a dyn Any>,
    ) -> Result<(), Refusal> {
        let granted = token_info.scopes();
        let missing = |one: &&ScopeSet| one.iter().filter(|scope| !granted.contains(scope)).count();
        // The challenge contains the alternative with the fewest missing scopes.
        if let Some(nearest) = self.alternatives.iter().min_by_key(missing)
            && !granted.contains_all(nearest)
        {
            let required = nearest.to_string();
            return Err(Refusal::InsufficientScope { required });
        }
        for condition in &self.conditions {
            condition.check(token_info, &typed_claims)?;
        }
        match &self.authentication {
            Some(required) => required.check(&token_info.claims, now),
            None => Ok(()),
        }
    }
}

impl Policy {
    /// Returns the policy if a session can meet it.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] if it requires scopes or authorization details.
    pub(crate) fn for_sessions(self) -> Result<Self, ConfigError> {
        if self.alternatives.is_empty() && !self.conditions.iter().any(Condition::is_about_grants) {
            return Ok(self);
        }
        Err(ConfigError::Setting {
            setting: "policy of sessions",
            value: self.to_string(),
            reason: "a session meets no scope and no authorization detail: the granted ones say what this application may \
                     do at other APIs, and not what the user may do here; require a role or a condition on the claims",
        })
    }

    /// Returns the authentication that the policy requires.
    pub(crate) fn authentication(&self) -> Option<&RequiredAuthentication> {
        self.authentication.as_ref()
    }

    /// Checks a session: the claims of its ID token, or the session as the argument of a condition.
    pub(crate) fn check_session(
        &self,
        claims: &Claims,
        session: &dyn Any,
        now: i64,
    ) -> Result<(), UnmetBySession> {
        if !self.alternatives.is_empty() {
            return Err(UnmetBySession::Grants(self.to_string()));
        }
        for condition in &self.conditions {
            condition.check_session(claims, session)?;
        }
        match &self.authentication {
            Some(required) if required.check(claims, now).is_err() => {
                Err(UnmetBySession::Authentication(required.to_string()))
            }
            _ => Ok(()),
        }
    }
}

const EMPTY: &str = "there must be at least one scope";

fn parse(scopes: &str) -> Result<ScopeSet, ConfigError> {
    let set = ScopeSet::parse(scopes).map_err(|error| ConfigError::Scope {
        value: error.value().to_owned(),
        reason: "it must be printable ASCII without quotes and backslashes",
    })?;
    if set.is_empty() {
        return Err(ConfigError::Scope {
            value: scopes.to_owned(),
            reason: EMPTY,
        });
    }
    Ok(set)
}

/// Lists the requirements, for logs.
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
        parts.extend(self.authentication.as_ref().map(ToString::to_string));
        f.write_str(&parts.join("; "))
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Policy({self})")
    }
}
