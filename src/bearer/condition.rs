//! What a policy asks of the claims, beside scopes.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use http::Extensions;

use super::policy::Unmet;
use crate::ConfigError;
use crate::protocol::challenge::is_plain;
use crate::protocol::json::parse_object;
use crate::token::{ScopeClaim, TokenInfo, VerifiedToken};

const NO_ROLE: &str = "the access token does not have the role that is needed";

/// Something that the claims must meet.
#[derive(Clone)]
pub(super) enum Condition {
    Role {
        from: ScopeClaim,
        role: Box<str>,
    },
    Claim {
        /// What is wrong where it is not met: the caller reads it.
        sentence: &'static str,
        check: Check,
    },
}

type Check = Arc<dyn Fn(&TokenInfo, &Extensions) -> Result<bool, WrongType> + Send + Sync>;

/// The claims of the request are not of the type that a condition asks for.
pub(super) struct WrongType;

impl Condition {
    /// One of the values that the claim holds, compared whole.
    pub(super) fn role(from: ScopeClaim, role: &str) -> Result<Self, ConfigError> {
        if role.is_empty() || role.contains(' ') || !from.is_named() {
            return Err(ConfigError::Setting {
                setting: "role",
                value: format!("{role} in {}", from.describe()),
                reason: "role and claim must have a name, the role without space",
            });
        }
        let role = role.into();
        Ok(Self::Role { from, role })
    }

    /// `C` is the plain claims, or the type that the layer reads them as.
    pub(super) fn claim<C: Send + Sync + 'static>(
        sentence: &'static str,
        check: impl Fn(&C) -> bool + Send + Sync + 'static,
    ) -> Result<Self, ConfigError> {
        if sentence.is_empty() || !is_plain(sentence) || sentence.contains('%') {
            return Err(ConfigError::Setting {
                setting: "sentence of a policy",
                value: sentence.to_owned(),
                reason: "it must be printable ASCII without quote, backslash and percent sign",
            });
        }
        let check: Check = Arc::new(move |token_info, extensions| {
            let plain: &dyn Any = &*token_info.claims;
            let claims = plain.downcast_ref::<C>().or_else(|| {
                extensions
                    .get::<VerifiedToken<C>>()
                    .map(VerifiedToken::claims)
            });
            claims.map(&check).ok_or(WrongType)
        });
        Ok(Self::Claim { sentence, check })
    }

    pub(super) fn check(
        &self,
        token_info: &TokenInfo,
        extensions: &Extensions,
    ) -> Result<(), Unmet<'static>> {
        let (met, sentence) = match self {
            Self::Role { from, role } => {
                // It was read before, so it can be read again.
                let claims =
                    parse_object(token_info.claims.as_json().as_bytes()).unwrap_or_default();
                (from.values(&claims).contains(&&**role), NO_ROLE)
            }
            Self::Claim { sentence, check } => {
                let met = check(token_info, extensions).map_err(|_| Unmet::WrongType)?;
                (met, *sentence)
            }
        };
        if met {
            Ok(())
        } else {
            Err(Unmet::Condition(sentence))
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Role { from, role } => write!(f, "role {role} in {}", from.describe()),
            Self::Claim { sentence, .. } => write!(f, "unless: {sentence}"),
        }
    }
}
