//! Errors that name the setting.

use crate::config_error::ConfigError;

/// Adds the name of the setting to an error.
pub(super) trait At<T> {
    fn at(self, name: &str) -> Result<T, ConfigError>;
}

impl<T> At<T> for Result<T, ConfigError> {
    fn at(self, name: &str) -> Self {
        self.map_err(|error| match error {
            ConfigError::Key { key, error } => ConfigError::Key {
                key: format!("{name}.{key}"),
                error,
            },
            error => ConfigError::Key {
                key: name.to_owned(),
                error: Box::new(error),
            },
        })
    }
}

/// The value is not possible.
pub(super) fn invalid(value: &str, reason: &'static str) -> ConfigError {
    ConfigError::Setting {
        setting: "value",
        value: value.to_owned(),
        reason,
    }
}

/// Settings contradict each other, or one is missing.
pub(super) fn combination<T>(reason: &'static str) -> Result<T, ConfigError> {
    Err(ConfigError::Combination { reason })
}
