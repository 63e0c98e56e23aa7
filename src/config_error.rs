//! The one error of configuration.

/// A setting that cannot be used, refused by the very call that was given it.
///
/// The message carries the bad value, except where the value is a secret.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The issuer is not an https URL (or http on loopback) without query and fragment.
    #[error("issuer {value:?}: {reason}")]
    Issuer {
        /// What was given.
        value: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A URL cannot be used for the purpose it was given for.
    #[error("{setting} {value:?}: {reason}")]
    Url {
        /// The setting it was given for.
        setting: &'static str,
        /// What was given.
        value: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// An audience is empty, or the list of audiences is.
    #[error("audience {value:?}: {reason}")]
    Audience {
        /// What was given.
        value: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A scope holds a character that RFC 6749 §3.3 does not allow, or none was given.
    #[error("scope {value:?}: {reason}")]
    Scope {
        /// What was given.
        value: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A setting with a closed range or alphabet was given something outside it.
    #[error("{setting} {value:?}: {reason}")]
    Setting {
        /// The name of the setting.
        setting: &'static str,
        /// What was given.
        value: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A key or a secret cannot be used; its value is not repeated here.
    #[error("{setting}: {reason}")]
    Secret {
        /// The name of the setting.
        setting: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
}
