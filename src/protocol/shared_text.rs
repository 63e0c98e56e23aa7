//! Substrings that share the memory of a reference-counted string.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// A substring of a reference-counted string.
#[derive(Clone)]
pub(crate) struct SharedText {
    whole: Arc<str>,
    start: u32,
    length: u32,
}

impl SharedText {
    /// Returns `part` as a substring of `whole`, determined by its address, or copies it if it is not part of
    /// `whole`.
    pub(crate) fn within(whole: &Arc<str>, part: &str) -> Self {
        let start = part.as_ptr().addr().checked_sub(whole.as_ptr().addr());
        let found = start.and_then(|start| {
            // The address alone is not sufficient, so the text is compared as well.
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

    /// Estimates the heap memory that is not shared with `whole`, in bytes.
    pub(crate) fn heap_bytes_beside(&self, whole: &Arc<str>) -> usize {
        if Arc::ptr_eq(&self.whole, whole) {
            0
        } else {
            allocated(self.whole.len() + 16)
        }
    }
}

/// Estimates the memory of an allocation: most allocators round up to 16 bytes and add 8 bytes.
pub(crate) fn allocated(bytes: usize) -> usize {
    if bytes == 0 {
        0
    } else {
        (bytes + 8).next_multiple_of(16)
    }
}

/// Copies the text. A text of more than 4 GiB yields the empty string.
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
    fn substrings_are_shared_and_other_text_is_copied() {
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
