//! A string that is a part of a longer one and keeps that one alive, instead of a copy.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// A part of a text that others have parts of too.
#[derive(Clone)]
pub(crate) struct SharedText {
    whole: Arc<str>,
    start: u32,
    length: u32,
}

impl SharedText {
    /// The part of `whole` that `part` is, by its place; a copy where `part` lies elsewhere.
    pub(crate) fn within(whole: &Arc<str>, part: &str) -> Self {
        let start = part.as_ptr().addr().checked_sub(whole.as_ptr().addr());
        let found = start.and_then(|start| {
            // An address alone proves nothing; that the same text stands there does.
            let same = whole.get(start..start.checked_add(part.len())?)? == part;
            let (start, length) = (u32::try_from(start).ok()?, u32::try_from(part.len()).ok()?);
            same.then(|| Self {
                whole: Arc::clone(whole),
                start,
                length,
            })
        });
        found.unwrap_or_else(|| part.into())
    }

    fn bounds(&self) -> Option<(usize, usize)> {
        let start = usize::try_from(self.start).ok()?;
        Some((start, start + usize::try_from(self.length).ok()?))
    }

    /// What it holds on the heap beside `whole`.
    pub(crate) fn heap_bytes_beside(&self, whole: &Arc<str>) -> usize {
        if Arc::ptr_eq(&self.whole, whole) {
            0
        } else {
            allocated(self.whole.len() + 16)
        }
    }
}

/// What an allocation of this size takes, about: most allocators round up to 16 bytes and need 8 of
/// their own.
pub(crate) fn allocated(bytes: usize) -> usize {
    if bytes == 0 {
        0
    } else {
        (bytes + 8).next_multiple_of(16)
    }
}

/// A text of its own; of one that is longer than 4 GiB, nothing.
impl From<&str> for SharedText {
    fn from(text: &str) -> Self {
        let (whole, length) = match u32::try_from(text.len()) {
            Ok(length) => (text.into(), length),
            Err(_) => ("".into(), 0),
        };
        Self {
            whole,
            start: 0,
            length,
        }
    }
}

impl Deref for SharedText {
    type Target = str;

    fn deref(&self) -> &str {
        self.bounds()
            .and_then(|(start, end)| self.whole.get(start..end))
            .unwrap_or_default()
    }
}

impl fmt::Debug for SharedText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_reads_as_it_stood_wherever_it_lies() {
        let whole: Arc<str> = "zażółć gęślą".into();
        for part in ["", "ż", "żół", "gęślą", "zażółć gęślą"] {
            let at = whole.find(part).unwrap();
            let inside = &whole[at..at + part.len()];
            let shared = SharedText::within(&whole, inside);
            assert_eq!(&*shared, part);
            assert_eq!(shared.heap_bytes_beside(&whole), 0, "{part}");
            let elsewhere = SharedText::within(&whole, part);
            assert_eq!(&*elsewhere, part);
        }
        let other = SharedText::within(&whole, "another");
        assert_eq!(&*other, "another");
        assert!(other.heap_bytes_beside(&whole) >= 7);
    }
}
