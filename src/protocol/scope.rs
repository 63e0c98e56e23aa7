//! Scope values and scope sets (RFC 6749 §3.3).

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use super::shared_text::{SharedText, allocated};

/// Error of [`ScopeSet::parse`] and [`FromStr`]: a scope value has a quote, a backslash, a control character or a character
/// outside ASCII (RFC 6749 §3.3).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid scope {value:?}")]
pub struct InvalidScope {
    value: String,
}

impl InvalidScope {
    /// Returns the invalid value.
    pub fn value(&self) -> &str {
        &self.value
    }
}

/// A set of scope values, such as the scopes that a client requests or that a token grants (RFC 6749 §3.3).
///
/// Values are compared as a whole and case-sensitively; no value implies another. `Display` writes the
/// space-separated list, in the order of first occurrence.
///
/// ```
/// use tower_oauth::protocol::ScopeSet;
///
/// let scopes = ScopeSet::parse("openid notes:read openid")?;
/// assert_eq!(scopes.to_string(), "openid notes:read");
/// assert!(scopes.contains("notes:read") && !scopes.contains("notes"));
/// assert!(ScopeSet::parse("a\"b").is_err());
///
/// let scopes: ScopeSet = "notes:read notes:write".parse()?;
/// for scope in &scopes {
///     assert!(scope.starts_with("notes:"));
/// }
/// # Ok::<(), tower_oauth::protocol::InvalidScope>(())
/// ```
#[derive(Clone)]
pub struct ScopeSet(Values);

#[derive(Clone)]
enum Values {
    /// Distinct values separated by spaces, as a part of the text of a token.
    Spaced(SharedText),
    Listed(Vec<Box<str>>),
}

impl ScopeSet {
    /// Parses a space-separated list. An empty list is allowed.
    ///
    /// # Errors
    ///
    /// Returns [`InvalidScope`] if a value has a character that RFC 6749 §3.3 does not allow.
    pub fn parse(list: &str) -> Result<Self, InvalidScope> {
        for value in spaced(list) {
            if !value.bytes().all(is_scope_character) {
                return Err(InvalidScope {
                    value: value.to_owned(),
                });
            }
        }
        let mut set = Self::default();
        spaced(list).for_each(|value| set.insert(value));
        Ok(set)
    }

    /// Parses the scopes that an authorization server granted. Splits only at spaces and accepts any value: a
    /// value with invalid characters grants only exactly that value.
    pub(crate) fn from_wire(list: &str) -> Self {
        Self::from_values(spaced(list))
    }

    /// Like [`from_wire`](Self::from_wire), without a copy if the list is short and has no duplicates.
    pub(crate) fn from_wire_text(list: SharedText) -> Self {
        let is_new = |(at, value): (usize, &str)| {
            at < FEW && spaced(&list).take(at).all(|before| before != value)
        };
        if spaced(&list).enumerate().all(is_new) {
            Self(Values::Spaced(list))
        } else {
            Self::from_wire(&list)
        }
    }

    /// Returns the values that both sets contain.
    pub(crate) fn intersection(&self, other: &Self) -> Self {
        let others: HashSet<&str> = other.iter().collect();
        Self::from_values(self.iter().filter(|value| others.contains(value)))
    }

    /// Creates a set from values that are not checked. The values may be untrusted, so a long list is
    /// deduplicated with a hash set instead of by pairwise comparison.
    pub(crate) fn from_values<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        let mut set = Self::default();
        let mut values = values.into_iter();
        values
            .by_ref()
            .take(FEW)
            .for_each(|value| set.insert(value));
        let Some(next) = values.next() else {
            return set;
        };
        let first: Vec<Box<str>> = set.iter().map(Box::from).collect();
        let mut seen: HashSet<&str> = first.iter().map(AsRef::as_ref).collect();
        let others = std::iter::once(next)
            .chain(values)
            .filter(|value| seen.insert(value));
        let others: Vec<Box<str>> = others.map(Box::from).collect();
        Self(Values::Listed(first.into_iter().chain(others).collect()))
    }

    /// Adds a value without splitting it at spaces, for lists that are mapped from other claims.
    pub(crate) fn insert(&mut self, value: &str) {
        if self.contains(value) {
            return;
        }
        if let Values::Spaced(list) = &self.0 {
            self.0 = Values::Listed(spaced(list).map(Box::from).collect());
        }
        if let Values::Listed(values) = &mut self.0 {
            values.push(value.into());
        }
    }

    /// Returns whether the set contains `value`.
    pub fn contains(&self, value: &str) -> bool {
        self.iter().any(|member| member == value)
    }

    /// Returns whether the set contains all values of `other`.
    pub fn contains_all(&self, other: &Self) -> bool {
        other.iter().all(|value| self.contains(value))
    }

    /// Returns the values in the order of first occurrence.
    pub fn iter(&self) -> Scopes<'_> {
        let (text, list): (&str, &[Box<str>]) = match &self.0 {
            Values::Spaced(text) => (text, &[]),
            Values::Listed(list) => ("", list),
        };
        Scopes {
            spaced: text.split(' '),
            listed: list.iter(),
        }
    }

    /// Returns whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// Estimates the heap memory that the set owns, in bytes.
    pub(crate) fn heap_bytes(&self) -> usize {
        match &self.0 {
            Values::Spaced(_) => 0,
            Values::Listed(list) => {
                let values: usize = list.iter().map(|value| allocated(value.len())).sum();
                values + allocated(list.capacity() * size_of::<Box<str>>())
            }
        }
    }
}

/// The iterator over the values of a [`ScopeSet`].
#[derive(Clone, Debug)]
pub struct Scopes<'a> {
    spaced: std::str::Split<'a, char>,
    listed: std::slice::Iter<'a, Box<str>>,
}

impl<'a> Iterator for Scopes<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let spaced = self.spaced.find(|value| !value.is_empty());
        spaced.or_else(|| self.listed.next().map(AsRef::as_ref))
    }
}

impl<'a> IntoIterator for &'a ScopeSet {
    type Item = &'a str;
    type IntoIter = Scopes<'a>;

    fn into_iter(self) -> Scopes<'a> {
        self.iter()
    }
}

/// Equivalent to [`ScopeSet::parse`].
impl FromStr for ScopeSet {
    type Err = InvalidScope;

    fn from_str(list: &str) -> Result<Self, InvalidScope> {
        Self::parse(list)
    }
}

fn spaced(list: &str) -> impl Iterator<Item = &str> {
    list.split(' ').filter(|value| !value.is_empty())
}

impl Default for ScopeSet {
    fn default() -> Self {
        Self(Values::Listed(Vec::new()))
    }
}

impl fmt::Debug for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScopeSet")?;
        f.debug_list().entries(self.iter()).finish()
    }
}

impl fmt::Display for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, value) in self.iter().enumerate() {
            if at > 0 {
                f.write_str(" ")?;
            }
            f.write_str(value)?;
        }
        Ok(())
    }
}

/// Two sets are equal if they contain the same values, in any order.
impl PartialEq for ScopeSet {
    fn eq(&self, other: &Self) -> bool {
        self.iter().count() == other.iter().count() && self.contains_all(other)
    }
}

impl Eq for ScopeSet {}

/// Up to this number, values are compared pairwise to find duplicates: cheaper than a hash set.
const FEW: usize = 16;

/// Returns whether a byte is allowed in a `scope-token` (RFC 6749 §3.3).
fn is_scope_character(byte: u8) -> bool {
    matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn parse_and_print_are_inverse(values in prop::collection::vec("[!#-\\[\\]-~]{1,12}", 0..6)) {
            let set = ScopeSet::parse(&values.join(" ")).unwrap();
            prop_assert_eq!(&set.to_string().parse::<ScopeSet>().unwrap(), &set);
            prop_assert!(set.into_iter().eq(set.iter()));
            prop_assert!(values.iter().all(|value| set.contains(value)));
        }

        #[test]
        fn a_long_list_is_the_same_set_as_a_short_one(values in prop::collection::vec("[a-c]{1,3}", 0..60)) {
            let long = ScopeSet::from_wire(&values.join("  "));
            let short = ScopeSet::parse(&values.join(" ")).unwrap();
            prop_assert_eq!(long.to_string(), short.to_string());
            let shared = ScopeSet::from_wire_text(values.join("  ").as_str().into());
            prop_assert_eq!(shared.to_string(), short.to_string());
        }

        #[test]
        fn parsing_is_total(text in ".{0,64}") {
            let _ = ScopeSet::parse(&text);
            let wire = ScopeSet::from_wire(&text);
            prop_assert!(wire.iter().all(|value| !value.contains(' ')));
        }
    }
}
