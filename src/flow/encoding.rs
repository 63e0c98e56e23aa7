//! The compact binary form of what is sealed into cookies: a schema number, then fields in order.
//!
//! Reading is total. Another schema, a missing or a surplus byte give nothing, so that a record of a
//! newer release is a person who signs in again and no failure (`L46`).

use zeroize::Zeroizing;

/// Writes fields into memory that is wiped when dropped.
pub(super) struct Writer(Zeroizing<Vec<u8>>);

impl Writer {
    pub(super) fn new(schema: u8) -> Self {
        // Room enough that the buffer seldom moves and leaves a copy behind.
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
        // Nothing longer than 4 GiB gets here; if it did, the record would not be read back.
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

/// Reads what [`Writer`] wrote.
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// `None` for any schema but this one.
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

    /// The outer `None` is a failure to read, the inner one an absent value.
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

    /// Ends the reading; bytes that are left over spoil it.
    pub(super) fn finish(self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}
