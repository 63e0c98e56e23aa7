//! Applies settings that have a value to a layer.

use super::error::At as _;
use crate::config_error::ConfigError;

/// Changes `layer` if the setting has a value, and adds the name of the setting to the error.
pub(super) fn set<L, T>(
    layer: L,
    name: &str,
    value: Option<T>,
    change: impl FnOnce(L, T) -> Result<L, ConfigError>,
) -> Result<L, ConfigError> {
    match value {
        Some(value) => change(layer, value).at(name),
        None => Ok(layer),
    }
}

/// Makes the changes whose flag is set.
pub(super) fn set_flags<L, const N: usize>(layer: L, flags: [(bool, Switch<L>); N]) -> L {
    let set = flags.into_iter().filter(|(is_set, _)| *is_set);
    set.fold(layer, |layer, (_, switch)| switch(layer))
}

/// A setting without a value.
pub(super) type Switch<L> = fn(L) -> L;

/// A setting whose value is a text.
pub(super) type TextSetting<L> = fn(L, &str) -> Result<L, ConfigError>;

/// Makes the changes that have a text, and adds the name of the setting to an error.
pub(super) fn set_texts<L, const N: usize>(
    layer: L,
    texts: [(&str, &Option<String>, TextSetting<L>); N],
) -> Result<L, ConfigError> {
    let mut texts = texts.into_iter();
    texts.try_fold(layer, |layer, (name, value, change)| {
        set(layer, name, value.as_deref(), change)
    })
}
