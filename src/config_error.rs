//! [`ConfigError`], the error of all configuration methods.

use std::ops::RangeInclusive;
use std::time::Duration;

/// An invalid setting. The method that sets the value returns the error.
///
/// The message contains the invalid value, unless it is a secret.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The issuer is not an https URL (or http, on loopback) without query and fragment.
    #[error("issuer {value:?}: {reason}")]
    Issuer {
        /// The invalid value.
        value: String,
        /// Why the value is invalid, and what is required.
        reason: &'static str,
    },
    /// A URL is not allowed for its purpose.
    #[error("{setting} {value:?}: {reason}")]
    Url {
        /// The name of the setting.
        setting: &'static str,
        /// The invalid value.
        value: String,
        /// Why the value is invalid, and what is required.
        reason: &'static str,
    },
    /// An audience, or the list of audiences, is empty.
    #[error("audience {value:?}: {reason}")]
    Audience {
        /// The invalid value.
        value: String,
        /// Why the value is invalid, and what is required.
        reason: &'static str,
    },
    /// A scope contains a character that RFC 6749 §3.3 does not allow, or the list of scopes is empty.
    #[error("scope {value:?}: {reason}")]
    Scope {
        /// The invalid value.
        value: String,
        /// Why the value is invalid, and what is required.
        reason: &'static str,
    },
    /// A value is outside the allowed range or set.
    #[error("{setting} {value:?}: {reason}")]
    Setting {
        /// The name of the setting.
        setting: &'static str,
        /// The invalid value.
        value: String,
        /// Why the value is invalid, and what is required.
        reason: &'static str,
    },
    /// A key or a secret is invalid. The error does not contain it.
    #[error("{setting}: {reason}")]
    Secret {
        /// The name of the setting.
        setting: &'static str,
        /// Why the value is invalid, and what is required.
        reason: &'static str,
    },
    /// A setting of a [configuration](crate::settings) is invalid.
    #[error("{key}: {error}")]
    Key {
        /// The path of the setting, such as `provider.client.secret_file`.
        key: String,
        /// Why it is invalid.
        error: Box<Self>,
    },
    /// Settings of a [configuration](crate::settings) contradict each other, or one is missing.
    #[error("{reason}")]
    Combination {
        /// Which settings these are, and what is required.
        reason: &'static str,
    },
}

impl ConfigError {
    /// Checks that a duration is in the allowed range, and returns its whole seconds.
    pub(crate) fn check_duration(
        setting: &'static str,
        value: Duration,
        allowed: RangeInclusive<Duration>,
        reason: &'static str,
    ) -> Result<i64, Self> {
        if !allowed.contains(&value) {
            let value = format!("{value:?}");
            return Err(Self::Setting {
                setting,
                value,
                reason,
            });
        }
        Ok(i64::try_from(value.as_secs()).unwrap_or(i64::MAX))
    }
}
