//! Strict JSON parsing: no duplicate members, bounded depth, finite numbers.
//!
//! `serde_json` keeps the last of two equal members. A check that reads the first one would check another value
//! than the one that is used. RFC 7515 §4 and RFC 7519 §4 permit rejecting duplicates.

use std::borrow::Cow;
use std::fmt;
use std::sync::LazyLock;

use super::sanitize::log_safe;
use serde::Deserializer as _;
use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};

/// Maximum nesting of objects and arrays, including the outermost.
const MAX_DEPTH: u8 = 16;

/// A JSON value. Strings without escapes borrow from the text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Json<'a> {
    Null,
    Bool(bool),
    Number(f64),
    String(Cow<'a, str>),
    Array(Vec<Self>),
    Object(Object<'a>),
    /// An object in which a name occurs twice. Only [`parse_object_of_parts`] returns it.
    Ambiguous,
}

/// The members of an object in the order of the text. Names are unique.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Object<'a>(Vec<Member<'a>>);

#[derive(Clone, Debug, PartialEq)]
struct Member<'a> {
    /// Distinguishes most names in one comparison. Equal prefixes are followed by a comparison of the names.
    prefix: u64,
    name: Cow<'a, str>,
    value: Json<'a>,
}

/// Returns the first eight bytes of a name.
fn prefix_of(name: &str) -> u64 {
    name.bytes()
        .take(8)
        .fold(0, |prefix, byte| (prefix << 8) | u64::from(byte))
}

/// A text is not strict JSON, or a value does not have the expected type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not strict JSON of the expected type")]
pub(crate) struct InvalidJson;

/// Parses one object. Any other value, and any text after the object, is an error.
pub(crate) fn parse_object(text: &[u8]) -> Result<Object<'_>, InvalidJson> {
    parse(
        serde_json::Deserializer::from_slice(text),
        Strict::default(),
    )
}

/// Like [`parse_object`], for a document whose parts are used separately, such as a key set: a part in which a name
/// occurs twice is [`Json::Ambiguous`]. In the outermost object it remains an error.
pub(crate) fn parse_object_of_parts(text: &[u8]) -> Result<Object<'_>, InvalidJson> {
    let strict = Strict {
        keeps_ambiguous: true,
        ..Strict::default()
    };
    parse(serde_json::Deserializer::from_slice(text), strict)
}

/// Like [`parse_object`], for text that is known to be UTF-8.
pub(crate) fn parse_object_text(text: &str) -> Result<Object<'_>, InvalidJson> {
    parse(serde_json::Deserializer::from_str(text), Strict::default())
}

/// Like [`parse_object_text`], but a member of the object may occur several times with the same string, if the object has
/// at most 24 members.
pub(crate) fn parse_object_with_repeats(text: &str) -> Result<Object<'_>, InvalidJson> {
    let strict = Strict {
        merges_repeats: true,
        ..Strict::default()
    };
    parse(serde_json::Deserializer::from_str(text), strict)
}

fn parse<'a>(
    mut reader: serde_json::Deserializer<impl serde_json::de::Read<'a>>,
    strict: Strict,
) -> Result<Object<'a>, InvalidJson> {
    let value = strict.deserialize(&mut reader).map_err(|_| InvalidJson)?;
    reader.end().map_err(|_| InvalidJson)?;
    match value {
        Json::Object(object) => Ok(object),
        _ => Err(InvalidJson),
    }
}

impl<'a> Object<'a> {
    pub(crate) fn member(&self, name: &str) -> Option<&Json<'a>> {
        let prefix = prefix_of(name);
        self.0
            .iter()
            .find(|member| member.prefix == prefix && member.name == name)
            .map(|member| &member.value)
    }

    /// Returns the members in the order of the text.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Json<'a>)> {
        self.0.iter().map(|one| (one.name.as_ref(), &one.value))
    }

    /// Returns a member that is a string, or `None` if it is absent. Any other type is an error.
    pub(crate) fn string(&self, name: &str) -> Result<Option<&str>, InvalidJson> {
        self.member(name)
            .map(|value| value.as_str().ok_or(InvalidJson))
            .transpose()
    }
}

impl<'a> Json<'a> {
    pub(crate) fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn as_array(&self) -> Option<&[Self]> {
        match self {
            Self::Array(items) => Some(items),
            _ => None,
        }
    }

    pub(crate) fn as_object(&self) -> Option<&Object<'a>> {
        match self {
            Self::Object(object) => Some(object),
            _ => None,
        }
    }

    /// Describes a value for the log: a text escaped and truncated, anything else by its type.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Number(number) => number.to_string(),
            Self::String(text) => log_safe(text),
            Self::Array(_) => "an array".to_owned(),
            Self::Object(_) | Self::Ambiguous => "an object".to_owned(),
        }
    }

    pub(crate) fn as_number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }
}

/// Limit on the members of an object whose repeats are merged. An object with more members is not merged: the comparison
/// is pairwise, and the text may be of any caller.
const MAX_MERGED: usize = 24;

/// Initial capacity of the outermost object. Most tokens have fewer claims.
const CAPACITY: usize = 16;

#[derive(Clone, Copy, Default)]
struct Strict {
    depth: u8,
    keeps_ambiguous: bool,
    merges_repeats: bool,
}

impl Strict {
    fn inner<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth >= MAX_DEPTH {
            return Err(E::custom("nested too deeply"));
        }
        Ok(Self {
            depth: self.depth + 1,
            ..self
        })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Json<'de>;

    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<Json<'de>, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json<'de>, E> {
        Ok(Json::Bool(value))
    }

    // Claims contain seconds. Integers that a double cannot represent exactly fail the range check of claims.
    #[allow(clippy::as_conversions)]
    fn visit_i64<E>(self, value: i64) -> Result<Json<'de>, E> {
        Ok(Json::Number(value as f64))
    }

    #[allow(clippy::as_conversions)]
    fn visit_u64<E>(self, value: u64) -> Result<Json<'de>, E> {
        Ok(Json::Number(value as f64))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Json<'de>, E> {
        if value.is_finite() {
            Ok(Json::Number(value))
        } else {
            Err(E::custom("not finite"))
        }
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::String(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json<'de>, E> {
        Ok(Json::String(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json<'de>, A::Error> {
        let inner = self.inner()?;
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(inner)? {
            items.push(item);
        }
        Ok(Json::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json<'de>, A::Error> {
        let inner = self.inner()?;
        let mut members: Vec<Member<'de>> = Vec::new();
        while let Some(name) = map.next_key_seed(Name)? {
            if members.capacity() == 0 && self.depth == 0 {
                members.reserve_exact(CAPACITY);
            }
            members.push(Member {
                prefix: prefix_of(&name),
                name,
                value: map.next_value_seed(inner)?,
            });
        }
        if self.merges_repeats && self.depth == 0 {
            merge_repeats(&mut members);
        }
        if has_duplicate(&members) {
            if self.keeps_ambiguous && self.depth > 0 {
                return Ok(Json::Ambiguous);
            }
            return Err(A::Error::custom("duplicate member"));
        }
        if *NUMBERS_ARE_MAPS && let Some(number) = wrapped_number(&members) {
            return number
                .map(Json::Number)
                .ok_or_else(|| A::Error::custom("not a number"));
        }
        Ok(Json::Object(Object(members)))
    }
}

/// Whether `serde_json` deserializes numbers as maps. It does so for some or all numbers if any crate of the
/// application enables its feature `arbitrary_precision`, since Cargo unifies features.
static NUMBERS_ARE_MAPS: LazyLock<bool> = LazyLock::new(|| {
    let number = serde_json::Deserializer::from_slice(b"1.90e9").deserialize_any(IsNumber);
    !matches!(number, Ok(true))
});

struct IsNumber;

impl Visitor<'_> for IsNumber {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number")
    }

    fn visit_f64<E>(self, _: f64) -> Result<bool, E> {
        Ok(true)
    }
}

/// Returns the number in such a map, or `Some(None)` if it is not finite.
fn wrapped_number(members: &[Member<'_>]) -> Option<Option<f64>> {
    match members {
        [
            Member {
                name,
                value: Json::String(text),
                ..
            },
        ] if name == "$serde_json::private::Number" => {
            Some(text.parse().ok().filter(|number: &f64| number.is_finite()))
        }
        _ => None,
    }
}

/// Removes members that repeat an earlier one with the same string.
fn merge_repeats(members: &mut Vec<Member<'_>>) {
    if members.len() > MAX_MERGED {
        return;
    }
    let mut at = 0;
    while at < members.len() {
        let repeats = |earlier: &Member<'_>| {
            let one = &members[at];
            let text = one.value.as_str();
            earlier.name == one.name && text.is_some() && earlier.value.as_str() == text
        };
        match members[..at].iter().any(repeats) {
            true => drop(members.remove(at)),
            false => at += 1,
        }
    }
}

/// Returns whether two members have the same name. Compares few members pairwise and sorts many, so that a hostile object
/// costs O(n log n).
fn has_duplicate(members: &[Member<'_>]) -> bool {
    if members.len() <= 24 {
        return members.iter().enumerate().any(|(at, one)| {
            let same = |other: &Member<'_>| other.prefix == one.prefix && other.name == one.name;
            members[..at].iter().any(same)
        });
    }
    let mut names: Vec<&str> = members.iter().map(|one| one.name.as_ref()).collect();
    names.sort_unstable();
    names.windows(2).any(|pair| pair[0] == pair[1])
}

struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member name")
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(value.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicate_members_are_rejected_at_every_depth_and_after_unescaping() {
        for text in [
            r#"{"a":1,"a":2}"#,
            r#"{"x":{"a":1,"a":1}}"#,
            r#"{"sub":"a","s\u0075b":"b"}"#,
            r#"{"x":[{"a":1,"a":1}]}"#,
        ] {
            assert_eq!(parse_object(text.as_bytes()), Err(InvalidJson), "{text}");
        }
        let many: Vec<String> = (0..100).map(|n| format!("\"m{n}\":0")).collect();
        assert!(parse_object(format!("{{{}}}", many.join(",")).as_bytes()).is_ok());
        assert!(parse_object(format!("{{{},\"m7\":1}}", many.join(",")).as_bytes()).is_err());
    }

    #[test]
    fn only_members_with_the_same_string_may_be_merged() {
        for (text, expected) in [
            (r#"{"a":"x","b":"y","a":"x"}"#, Some(2)),
            (r#"{"a":"x","a":"\u0078","a":"x"}"#, Some(1)),
            (r#"{"a":"x","a":"y"}"#, None),
            (r#"{"a":1,"a":1}"#, None),
            (r#"{"a":"x","a":1}"#, None),
            (r#"{"o":{"a":"x","a":"x"}}"#, None),
        ] {
            let read = parse_object_with_repeats(text).ok();
            assert_eq!(read.map(|read| read.iter().count()), expected, "{text}");
        }
        let members = |count: usize| {
            let members: Vec<String> = (0..count).map(|n| format!("\"m{n}\":\"\"")).collect();
            members.join(",")
        };
        for (text, expected) in [
            (format!("{{{},\"m7\":\"\"}}", members(23)), Some(23)),
            (format!("{{{},\"m7\":\"\"}}", members(24)), None),
            (format!("{{{}}}", members(100)), Some(100)),
        ] {
            let read = parse_object_with_repeats(&text).ok();
            assert_eq!(read.map(|read| read.iter().count()), expected, "{text}");
        }
    }

    #[test]
    fn a_number_that_serde_json_deserializes_as_a_map_is_read_as_a_number() {
        let wrapped = |name: &'static str, text: &'static str| {
            wrapped_number(&[Member {
                prefix: prefix_of(name),
                name: name.into(),
                value: Json::String(text.into()),
            }])
        };
        const NAME: &str = "$serde_json::private::Number";
        assert_eq!(wrapped(NAME, "1893456000.5"), Some(Some(1_893_456_000.5)));
        assert_eq!(wrapped(NAME, "1e400"), Some(None));
        assert_eq!(wrapped("exp", "1"), None);
        // With and without the feature, other objects are not read as numbers.
        let read = parse_object(br#"{"n":1.0e0,"o":{"p":2}}"#).unwrap();
        assert_eq!(read.member("n").and_then(Json::as_number), Some(1.0));
        assert!(read.member("o").and_then(Json::as_object).is_some());
    }

    #[test]
    fn any_text_but_a_single_object_is_rejected() {
        let deep = format!("{}1{}", r#"{"a":"#.repeat(17), "}".repeat(17));
        let arrays = "[".repeat(100_000);
        for text in [
            "",
            "[]",
            "1",
            "null",
            "{} {}",
            "{}x",
            "\u{feff}{}",
            r#"{"a":"\ud800"}"#,
        ]
        .into_iter()
        .chain([r#"{"a":1e400}"#, deep.as_str(), arrays.as_str()])
        {
            assert_eq!(
                parse_object(text.as_bytes()),
                Err(InvalidJson),
                "{text:.40}"
            );
        }
        assert_eq!(parse_object(b"{\"a\":\"\xff\"}"), Err(InvalidJson));
        let deep = format!("{}1{}", r#"{"a":"#.repeat(16), "}".repeat(16));
        assert!(parse_object(deep.as_bytes()).is_ok());
    }
}
