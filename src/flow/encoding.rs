//! The compact binary encoding of encrypted cookie contents: a schema number, then the fields in order.
//!
//! Decoding is total. Another schema, a missing byte or a surplus byte yields `None`, so that after an upgrade
//! or a downgrade users sign in again instead of seeing an error.

use zeroize::Zeroizing;

/// Encodes fields into a buffer that is zeroized on drop.
pub(super) struct Writer(Zeroizing<Vec<u8>>);

impl Writer {
    pub(super) fn new(schema: u8) -> Self {
        // Reallocation leaves a copy behind that is not zeroized, so the capacity suffices for most records.
        let mut buffer = Vec::with_capacity(4096);
        buffer.push(schema);
        Self(Zeroizing::new(buffer))
    }

    pub(super) fn flag(self, value: bool) -> Self {
        self.raw(&[u8::from(value)])
    }

    pub(super) fn number(self, value: i64) -> Self {
        self.raw(&value.to_be_bytes())
    }

    pub(super) fn unsigned(self, value: u64) -> Self {
        self.raw(&value.to_be_bytes())
    }

    pub(super) fn text(self, value: &str) -> Self {
        // A text of more than 4 GiB would yield a record that cannot be decoded; none is that long.
        let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
        self.raw(&length.to_be_bytes()).raw(value.as_bytes())
    }

    pub(super) fn optional(self, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.flag(true).text(value),
            None => self.flag(false),
        }
    }

    pub(super) fn optional_number(self, value: Option<i64>) -> Self {
        match value {
            Some(value) => self.flag(true).number(value),
            None => self.flag(false),
        }
    }

    pub(super) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(super) fn finish(self) -> Zeroizing<Vec<u8>> {
        self.0
    }
}

/// Decodes the output of [`Writer`].
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Returns `None` if the schema differs.
    pub(super) fn new(bytes: &'a [u8], schema: u8) -> Option<Self> {
        let (first, rest) = bytes.split_first()?;
        (*first == schema).then_some(Self(rest))
    }

    pub(super) fn flag(&mut self) -> Option<bool> {
        match self.array::<1>()? {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }

    pub(super) fn number(&mut self) -> Option<i64> {
        self.array().map(i64::from_be_bytes)
    }

    pub(super) fn unsigned(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    pub(super) fn text(&mut self) -> Option<&'a str> {
        let length = usize::try_from(u32::from_be_bytes(self.array()?)).ok()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        std::str::from_utf8(text).ok()
    }

    /// Decodes an optional text. The outer `None` means that decoding failed, the inner `None` an absent value.
    pub(super) fn optional(&mut self) -> Option<Option<&'a str>> {
        match self.flag()? {
            true => self.text().map(Some),
            false => Some(None),
        }
    }

    pub(super) fn optional_number(&mut self) -> Option<Option<i64>> {
        match self.flag()? {
            true => self.number().map(Some),
            false => Some(None),
        }
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*bytes)
    }

    /// Finishes decoding. Returns `None` if there are bytes left.
    pub(super) fn finish(self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}
