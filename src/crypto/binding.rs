//! The login layer that sealed records are bound to.

use std::fmt;

use super::digest::sha256;

/// The identity of the login layer that seals a record, as a digest.
///
/// It is part of the associated data of every record, so a record can be opened only by a layer with the same identity.
/// Layers with equal parts have the same identity, also in different processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Binding([u8; 32]);

impl Binding {
    /// Creates the binding of these parts.
    pub(crate) fn new(parts: &[&str]) -> Self {
        let parts = parts.iter().map(|part| part.as_bytes());
        let label = [LABEL];
        let parts: Vec<&[u8]> = label.into_iter().chain(parts).collect();
        let mut digest = [0; 32];
        digest.copy_from_slice(&sha256(&join(&parts)));
        Self(digest)
    }

    #[cfg(test)]
    pub(super) const fn of_test(byte: u8) -> Self {
        Self([byte; 32])
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::LowerHex for Binding {
    /// Writes as many bytes as the precision; all bytes without one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = f.precision().unwrap_or(self.0.len());
        let mut bytes = self.0.iter().take(bytes);
        bytes.try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Joins parts, each preceded by its length, so that different lists of parts have different encodings.
pub(crate) fn join(parts: &[&[u8]]) -> Vec<u8> {
    let mut joined = Vec::with_capacity(parts.iter().map(|part| part.len() + LENGTH).sum());
    for part in parts {
        let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
        joined.extend_from_slice(&length.to_be_bytes());
        joined.extend_from_slice(part);
    }
    joined
}

/// The version of the parts of a binding.
const LABEL: &[u8] = b"tower-oauth binding 1";
const LENGTH: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bindings_are_equal_only_if_all_parts_are_equal() {
        let lists: &[&[&str]] = &[
            &[],
            &[""],
            &["", ""],
            &["a"],
            &["a", ""],
            &["", "a"],
            &["a", "b"],
            &["ab"],
            &["ab", ""],
            &["", "ab"],
            &["b", "a"],
            &["a b"],
            &["a\0b"],
            &["a", "b", ""],
            &["a", "", "b"],
            &["\0\0\0\0\0\0\0\u{1}a"],
        ];
        for (index, list) in lists.iter().enumerate() {
            for (other_index, other) in lists.iter().enumerate() {
                let equal = Binding::new(list) == Binding::new(other);
                assert_eq!(equal, index == other_index, "{list:?} {other:?}");
            }
        }
    }
}
