//! Access to key sets for the fuzz targets; see `crate::fuzzing`.

use super::key_set::{self, SelectedKey, Selection};
use crate::crypto::Algorithm;

#[derive(Debug)]
pub(crate) struct KeySet(key_set::KeySet);

impl KeySet {
    pub(crate) fn read(document: &[u8]) -> Option<Self> {
        key_set::KeySet::read(document).ok().map(Self)
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn find(&self, key_id: Option<&str>, algorithm: Algorithm) -> Option<SelectedKey> {
        match self.0.select(key_id, algorithm) {
            Selection::Found(key) => Some(key),
            _ => None,
        }
    }
}
