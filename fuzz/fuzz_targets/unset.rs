//! What counts as absent, independent of the crate.

use serde_json::Value;

/// Returns whether a member is printed although it is not set: null, an empty text or an empty list.
pub fn is_unset(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}
