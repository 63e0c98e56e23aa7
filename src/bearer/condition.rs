//! The conditions of a policy on claims other than scopes.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use http::Extensions;

use super::policy::Unmet;
use crate::ConfigError;
use crate::protocol::challenge::is_plain;
use crate::protocol::json::parse_object;
use crate::token::{ScopeClaim, TokenInfo, VerifiedToken};

const NO_ROLE: &str = "the access token lacks a required role";

/// A condition on the claims.
#[derive(Clone)]
pub(super) enum Condition {
    Role {
        from: ScopeClaim,
        role: Box<str>,
    },
    Claim {
        /// The `error_description` if the condition is not met.
        description: &'static str,
        check: ClaimCheck,
    },
}

type ClaimCheck = Arc<dyn Fn(&TokenInfo, &Extensions) -> Result<bool, WrongType> + Send + Sync>;

/// The claims of the request are not of the type that a condition expects.
pub(super) struct WrongType;

impl Condition {
    /// Requires one of the values of the claim to equal `role`.
    pub(super) fn role(from: ScopeClaim, role: &str) -> Result<Self, ConfigError> {
        if role.is_empty() || role.contains(' ') || !from.is_named() {
            return Err(ConfigError::Setting {
                setting: "role",
                value: format!("{role} in {}", from.describe()),
                reason: "the role and the claim must not be empty, and the role must not contain a space",
            });
        }
        let role = role.into();
        Ok(Self::Role { from, role })
    }

    /// `C` is `Claims` or the claims type of the layer.
    pub(super) fn claim<C: Send + Sync + 'static>(
        description: &'static str,
        check: impl Fn(&C) -> bool + Send + Sync + 'static,
    ) -> Result<Self, ConfigError> {
        if description.is_empty() || !is_plain(description) || description.contains('%') {
            return Err(ConfigError::Setting {
                setting: "description of a policy",
                value: description.to_owned(),
                reason: "it must not be empty, and must be printable ASCII without quotes, backslashes and percent \
                         signs",
            });
        }
        let check: ClaimCheck = Arc::new(move |token_info, extensions| {
            let plain: &dyn Any = &*token_info.claims;
            let claims = plain.downcast_ref::<C>().or_else(|| {
                extensions
                    .get::<VerifiedToken<C>>()
                    .map(VerifiedToken::claims)
            });
            claims.map(&check).ok_or(WrongType)
        });
        Ok(Self::Claim { description, check })
    }

    pub(super) fn check(
        &self,
        token_info: &TokenInfo,
        extensions: &Extensions,
    ) -> Result<(), Unmet<'static>> {
        let (is_met, description) = match self {
            Self::Role { from, role } => {
                // Cannot fail: the claims were parsed when the token was verified.
                let claims =
                    parse_object(token_info.claims.as_json().as_bytes()).unwrap_or_default();
                (from.values(&claims).contains(&&**role), NO_ROLE)
            }
            Self::Claim { description, check } => {
                let is_met = check(token_info, extensions).map_err(|_| Unmet::WrongType)?;
                (is_met, *description)
            }
        };
        if is_met {
            Ok(())
        } else {
            Err(Unmet::Condition(description))
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Role { from, role } => write!(f, "role {role} in {}", from.describe()),
            Self::Claim { description, .. } => write!(f, "unless: {description}"),
        }
    }
}
