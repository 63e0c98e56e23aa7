//! Ambiguous request targets: paths that two readers can interpret differently.
//!
//! A layer that authorizes by path and a service that decodes the path later must see the same path. Paths are
//! never repaired: an ambiguous path is rejected with the reason.

use std::borrow::Cow;
use std::fmt;

use AmbiguousPath as Kind;

/// Why the path of a request is ambiguous.
///
/// [`RejectAmbiguousPathsLayer`](crate::bearer::RejectAmbiguousPathsLayer) inserts it into the extensions of
/// its responses. The `Display` text is for logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AmbiguousPath {
    /// The target is `*` or an authority (RFC 9112 §3.2.3, §3.2.4), so it has no path.
    NoPath,
    /// A control character or a line separator, raw or encoded, or a raw space.
    Control,
    /// `%u002e`: an escape that is not part of RFC 3986 and that only some servers decode, such as IIS.
    PercentU,
    /// `%` without two hexadecimal digits (RFC 3986 §2.1).
    MalformedEscape,
    /// A segment that is `.` or `..` after decoding, also with spaces, invisible characters or parameters
    /// around the dots.
    DotSegment,
    /// `\`, raw or as `%5C`: browsers and Windows treat it as a slash.
    Backslash,
    /// `%2F`: data to some services, a separator to others.
    EncodedSlash,
    /// `%2E`.
    EncodedDot,
    /// An escape that appears only after decoding, such as `%252e`.
    DoubleEncoding,
    /// A character encoded in more bytes than necessary, such as `%c0%ae` (RFC 3629 §10).
    OverlongUtf8,
    /// Bytes that are not UTF-8 after decoding.
    InvalidUtf8,
    /// A character that normalization (NFKC), IDNA or a legacy code page maps to a dot, a slash or another
    /// delimiter, such as U+FF0E.
    LookAlike,
    /// A byte outside ASCII that is not encoded (RFC 3986 §2).
    NonAscii,
    /// `;`, raw or as `%3B`: some servers remove parameters before they compare a path.
    PathParameter,
    /// `%3F` or `%23`: they end the path if a service parses the decoded text.
    EncodedDelimiter,
    /// Two consecutive slashes: some services merge them, and at the beginning they can start a host name
    /// (RFC 3986 §4.2).
    EmptySegment,
    /// An escaped letter, digit, `-`, `_` or `~`, which needs no escape (RFC 3986 §6.2.2.2).
    EncodedUnreserved,
}

impl AmbiguousPath {
    /// Returns the description for logs.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::NoPath => "no path (asterisk or authority form of the request target)",
            Self::Control => "a control character or a raw space",
            Self::PercentU => "a %u escape",
            Self::MalformedEscape => "a percent sign without two hexadecimal digits",
            Self::DotSegment => "a dot segment",
            Self::Backslash => "a backslash",
            Self::EncodedSlash => "an encoded slash",
            Self::EncodedDot => "an encoded dot",
            Self::DoubleEncoding => "a double-encoded character",
            Self::OverlongUtf8 => "overlong UTF-8",
            Self::InvalidUtf8 => "bytes that are not UTF-8",
            Self::LookAlike => "a character that looks like a dot, a slash or another delimiter",
            Self::NonAscii => "a raw byte outside ASCII",
            Self::PathParameter => "a path parameter",
            Self::EncodedDelimiter => "an encoded question mark or number sign",
            Self::EmptySegment => "an empty segment",
            Self::EncodedUnreserved => "an escape of an unreserved character",
        }
    }
}

impl fmt::Display for AmbiguousPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::error::Error for AmbiguousPath {}

/// Returns the first reason why `path` is ambiguous. Escapes that are not in the table, such as `%20`, are
/// content.
pub(crate) fn find_ambiguity(path: &str) -> Option<Kind> {
    find(path, |_| true)
}

/// Like [`find_ambiguity`], but reports only what makes a comparison of URLs unreliable that are normalized
/// by RFC 3986 §6.2.2: normalization removes dot segments and does not handle `\` and control characters.
pub(crate) fn find_ambiguity_of_url(path: &str) -> Option<Kind> {
    find(path, |kind| {
        matches!(
            kind,
            Kind::NoPath | Kind::Control | Kind::DotSegment | Kind::Backslash
        )
    })
}

fn find(path: &str, is_relevant: impl Fn(Kind) -> bool) -> Option<Kind> {
    // Fast path: most paths contain only letters, digits and slashes.
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_');
    if path.starts_with('/') && path.bytes().all(is_plain) && !path.contains("//") {
        return None;
    }
    let path = DecodedPath::new(path);
    let mut rows = TABLE.iter();
    let row = rows.find(|(kind, applies)| is_relevant(*kind) && applies(&path));
    row.map(|(kind, _)| *kind)
}

/// Decodes percent-encoding once. Malformed escapes are kept.
pub(crate) fn percent_decode(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.contains(&b'%') {
        return Cow::Borrowed(text);
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, tail)) = rest.split_first() {
        let byte = escaped_byte(rest);
        decoded.push(byte.unwrap_or(first));
        rest = tail
            .get(if byte.is_some() { 2 } else { 0 }..)
            .unwrap_or_default();
    }
    Cow::Owned(decoded)
}

/// Decodes the escape at the beginning of `text`.
fn escaped_byte(text: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = text else {
        return None;
    };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(*high)? << 4 | digit(*low)?).ok()
}

struct DecodedPath<'a> {
    raw: &'a [u8],
    /// The path, decoded once.
    bytes: Cow<'a, [u8]>,
}

type PathCheck = fn(&DecodedPath<'_>) -> bool;

/// The first check that applies is reported.
const TABLE: &[(Kind, PathCheck)] = &[
    (Kind::NoPath, |path| path.raw.first() != Some(&b'/')),
    (Kind::Control, |path| {
        path.raw.contains(&b' ') || path.text().chars().any(is_control)
    }),
    (Kind::PercentU, |path| {
        path.has_pair(|first, second| first == b'%' && matches!(second, b'u' | b'U'))
    }),
    (Kind::MalformedEscape, |path| {
        let escapes = (0..path.raw.len()).filter(|&at| path.raw[at] == b'%');
        escapes
            .filter_map(|at| path.raw.get(at..))
            .any(|rest| escaped_byte(rest).is_none())
    }),
    (Kind::DotSegment, |path| {
        path.text().split(['/', '\\']).any(is_dot_segment)
    }),
    (Kind::Backslash, |path| path.bytes.contains(&b'\\')),
    (Kind::EncodedSlash, |path| path.escapes(|byte| byte == b'/')),
    (Kind::EncodedDot, |path| path.escapes(|byte| byte == b'.')),
    (Kind::DoubleEncoding, |path| {
        let is_escape =
            |rest: &[u8]| escaped_byte(rest).is_some() || matches!(rest, [b'%', b'u' | b'U', ..]);
        (0..path.bytes.len()).any(|at| path.bytes.get(at..).is_some_and(is_escape))
    }),
    (Kind::OverlongUtf8, |path| is_overlong(&path.bytes)),
    (Kind::InvalidUtf8, |path| {
        std::str::from_utf8(&path.bytes).is_err()
    }),
    (Kind::LookAlike, |path| path.text().chars().any(looks_alike)),
    (Kind::NonAscii, |path| !path.raw.is_ascii()),
    (Kind::PathParameter, |path| path.bytes.contains(&b';')),
    (Kind::EncodedDelimiter, |path| {
        path.bytes.iter().any(|byte| matches!(byte, b'?' | b'#'))
    }),
    (Kind::EmptySegment, |path| {
        path.has_pair(|first, second| first == b'/' && second == b'/')
    }),
    (Kind::EncodedUnreserved, |path| {
        path.escapes(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~'))
    }),
];

impl<'a> DecodedPath<'a> {
    fn new(path: &'a str) -> Self {
        let raw = path.as_bytes();
        Self {
            raw,
            bytes: percent_decode(raw),
        }
    }

    fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.bytes)
    }

    fn has_pair(&self, predicate: impl Fn(u8, u8) -> bool) -> bool {
        let mut pairs = self.raw.windows(2);
        pairs.any(|pair| matches!(pair, [first, second] if predicate(*first, *second)))
    }

    /// Returns whether an escape stands for a byte that matches `predicate`.
    fn escapes(&self, predicate: impl Fn(u8) -> bool) -> bool {
        let rests = (0..self.raw.len()).filter_map(|at| self.raw.get(at..));
        rests.filter_map(escaped_byte).any(predicate)
    }
}

fn is_control(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}' | '\u{2029}')
}

/// Returns whether a decoded segment is a dot segment, also for a service that removes parameters, a query or a
/// fragment after the dots, trims spaces, or drops invisible characters.
fn is_dot_segment(segment: &str) -> bool {
    if !segment.contains('.') {
        return false;
    }
    let name = segment.split([';', '?', '#']).next().unwrap_or_default();
    let visible: String = name.chars().filter(|one| !is_ignorable(*one)).collect();
    matches!(visible.trim(), "." | "..")
}

/// Returns whether a character is a default ignorable code point, which `NFKC_Casefold` drops.
fn is_ignorable(character: char) -> bool {
    matches!(character,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{fff8}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

/// Returns whether a text has bytes that lenient decoders accept as an overlong encoding (RFC 3629 §10).
fn is_overlong(text: &[u8]) -> bool {
    let in_two = |bytes: &[u8]| matches!(bytes, [0xE0, 0x80..=0x9F] | [0xF0, 0x80..=0x8F]);
    let in_one = |byte: &u8| matches!(byte, 0xC0 | 0xC1 | 0xF8..);
    text.iter().any(in_one) || text.windows(2).any(in_two)
}

/// Returns whether NFKC, IDNA (RFC 5895) or the best fit of a legacy code page maps a character to `.`, `/`,
/// `\`, `%`, `;`, `?` or `#`, or whether it is a symbol with the shape of a slash. Excludes numbers followed by
/// a full stop (U+2488) and fractions (U+00BD), since no service splits a path at those.
fn looks_alike(character: char) -> bool {
    matches!(character,
        // Dots.
        '\u{2024}'..='\u{2026}' | '\u{3002}' | '\u{fe12}' | '\u{fe19}' | '\u{fe30}' | '\u{fe52}'
        | '\u{ff0e}' | '\u{ff61}'
        // Slashes.
        | '\u{2044}' | '\u{2100}' | '\u{2101}' | '\u{2105}' | '\u{2106}' | '\u{2215}' | '\u{2571}'
        | '\u{27cb}' | '\u{29f8}' | '\u{ff0f}'
        // Backslashes; Japanese and Korean code pages have yen and won signs in their place.
        | '\u{a5}' | '\u{20a9}' | '\u{2216}' | '\u{2572}' | '\u{27cd}' | '\u{29f5}' | '\u{29f9}'
        | '\u{fe68}' | '\u{ff3c}' | '\u{ffe5}' | '\u{ffe6}'
        // Percent signs, semicolons, question marks and number signs.
        | '\u{fe6a}' | '\u{ff05}' | '\u{37e}' | '\u{fe14}' | '\u{fe54}' | '\u{ff1b}'
        | '\u{2047}'..='\u{2049}' | '\u{fe16}' | '\u{fe56}' | '\u{ff1f}' | '\u{fe5f}' | '\u{ff03}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A path, why it is ambiguous, and whether its URL can be compared (`htu`, RFC 9449 §4.3).
    const ROWS: &[(&str, Option<Kind>, bool)] = &[
        ("/", None, true),
        ("/a/b/", None, true),
        ("/a.b/.hidden/...", None, true),
        ("/.well-known/x", None, true),
        ("/a%20b/caf%C3%A9/%E2%82%AC/%f0%9f%98%80", None, true),
        ("/a:b@c/(x)!*'$,+=&|~", None, true),
        ("/100%25/%3A%40%26%3D%2B%2C%24%7B%22%C2%BD", None, true),
        ("/%e4%bd%a0%e5%a5%bd/x%E2%80%8Dy", None, true),
        ("", Some(Kind::NoPath), false),
        ("*", Some(Kind::NoPath), false),
        ("a/b", Some(Kind::NoPath), false),
        ("/a b", Some(Kind::Control), false),
        ("/a\tb", Some(Kind::Control), false),
        ("/a%00", Some(Kind::Control), false),
        ("/a%0d%0ab", Some(Kind::Control), false),
        ("/a%1F", Some(Kind::Control), false),
        ("/a\u{7f}", Some(Kind::Control), false),
        ("/a%7f", Some(Kind::Control), false),
        ("/a%C2%85", Some(Kind::Control), false),
        ("/a%E2%80%A8", Some(Kind::Control), false),
        ("/%u002e%u002e/x", Some(Kind::PercentU), true),
        ("/%U002f", Some(Kind::PercentU), true),
        ("/100%", Some(Kind::MalformedEscape), true),
        ("/a%4", Some(Kind::MalformedEscape), true),
        ("/a%zz", Some(Kind::MalformedEscape), true),
        ("/%%32e", Some(Kind::MalformedEscape), true),
        ("/.", Some(Kind::DotSegment), false),
        ("/a/../b", Some(Kind::DotSegment), false),
        ("/%2e%2e/b", Some(Kind::DotSegment), false),
        ("/.%2E/b", Some(Kind::DotSegment), false),
        ("/a/%2e", Some(Kind::DotSegment), false),
        ("/..%2fb", Some(Kind::DotSegment), false),
        ("/..%5cb", Some(Kind::DotSegment), false),
        ("/..;x=y/b", Some(Kind::DotSegment), false),
        ("/..%3b/b", Some(Kind::DotSegment), false),
        ("/..%20/b", Some(Kind::DotSegment), false),
        ("/..%3f/b", Some(Kind::DotSegment), false),
        ("/..%23/b", Some(Kind::DotSegment), false),
        ("/.%E2%80%8B./b", Some(Kind::DotSegment), false),
        ("/..%C2%AD/b", Some(Kind::DotSegment), false),
        ("/..%E3%85%A4/b", Some(Kind::DotSegment), false),
        ("/.%EF%BE%A0./b", Some(Kind::DotSegment), false),
        ("/%E1%85%9F../b", Some(Kind::DotSegment), false),
        ("/..%E1%9E%B4/b", Some(Kind::DotSegment), false),
        ("/..%F0%9D%85%B3/b", Some(Kind::DotSegment), false),
        ("/a\\b", Some(Kind::Backslash), false),
        ("/a%5Cb", Some(Kind::Backslash), false),
        ("/a%2fb", Some(Kind::EncodedSlash), true),
        ("/a%2Fb", Some(Kind::EncodedSlash), true),
        ("/a%2eb", Some(Kind::EncodedDot), true),
        ("/%252e%252e/x", Some(Kind::DoubleEncoding), true),
        ("/%25252e", Some(Kind::DoubleEncoding), true),
        ("/a%25%32fb", Some(Kind::DoubleEncoding), true),
        ("/a%25u002e", Some(Kind::DoubleEncoding), true),
        ("/%c0%ae%c0%ae/x", Some(Kind::OverlongUtf8), true),
        ("/%c0%af", Some(Kind::OverlongUtf8), true),
        ("/%e0%80%ae", Some(Kind::OverlongUtf8), true),
        ("/%f0%80%80%af", Some(Kind::OverlongUtf8), true),
        ("/%f8%80%80%80%ae", Some(Kind::OverlongUtf8), true),
        ("/%e9", Some(Kind::InvalidUtf8), true),
        ("/%ae%ae/x", Some(Kind::InvalidUtf8), true),
        ("/%ed%a0%80", Some(Kind::InvalidUtf8), true),
        ("/caf\u{e9}", Some(Kind::NonAscii), true),
        ("/a;v=1", Some(Kind::PathParameter), true),
        ("/a%3bv=1", Some(Kind::PathParameter), true),
        ("/a%3fb", Some(Kind::EncodedDelimiter), true),
        ("/a%23b", Some(Kind::EncodedDelimiter), true),
        ("//a", Some(Kind::EmptySegment), true),
        ("/a//b", Some(Kind::EmptySegment), true),
        ("/a//", Some(Kind::EmptySegment), true),
        ("/%44elete", Some(Kind::EncodedUnreserved), true),
        ("/a%2Db", Some(Kind::EncodedUnreserved), true),
        ("/%7eroot", Some(Kind::EncodedUnreserved), true),
    ];

    #[test]
    fn ambiguous_paths_are_distinguished_from_unambiguous_paths() {
        for (path, expected, compares) in ROWS {
            assert_eq!(find_ambiguity(path), *expected, "{path:?}");
            assert_eq!(find_ambiguity_of_url(path).is_none(), *compares, "{path:?}");
        }
        for one in "\u{2024}\u{2025}\u{2026}\u{3002}\u{fe52}\u{ff0e}\u{ff61}\u{2044}\u{2215}\u{29f8}\u{ff0f}\u{2216}\u{ff3c}\u{a5}\u{ff05}\u{37e}\u{ff1b}".chars() {
            let encoded: String = one.to_string().bytes().map(|byte| format!("%{byte:02x}")).collect();
            for path in [format!("/x{one}y"), format!("/{encoded}{encoded}/x")] {
                assert_eq!(find_ambiguity(&path), Some(Kind::LookAlike), "{path:?}");
            }
        }
    }

    proptest! {
        /// An accepted path stays the same if a service decodes it any number of times, resolves dot segments
        /// or normalizes escapes.
        #[test]
        fn an_accepted_path_has_the_same_segments_for_all_readers(
            pieces in proptest::collection::vec(prop_oneof![
                Just("/"), Just("."), Just("%2e"), Just("%2F"), Just("%5C"), Just("%25"), Just("2e"),
                Just("\\"), Just(";"), Just("%"), Just("a"), Just("%61"), Just("%20"), Just("%c0%ae"),
                Just("%3f"), Just("%ef%bc%8e"), Just("u002e"), Just("%E2%82%AC"),
            ], 0..10),
        ) {
            let path = format!("/{}", pieces.concat());
            if find_ambiguity(&path).is_some() {
                return Ok(());
            }
            let raw: Vec<&[u8]> = path.as_bytes().split(|byte| *byte == b'/').collect();
            let once = percent_decode(path.as_bytes());
            let twice = percent_decode(&once);
            prop_assert_eq!(&once, &twice);
            prop_assert_eq!(once.split(|byte| matches!(byte, b'/' | b'\\')).count(), raw.len());
            let url = url::Url::parse(&format!("https://a.example{path}")).unwrap();
            prop_assert_eq!(url.path(), path.as_str());
        }

        #[test]
        fn checking_is_total(path in "\\PC{0,60}") {
            let all = find_ambiguity(&path);
            prop_assert!(all.is_some() || find_ambiguity_of_url(&path).is_none());
        }
    }
}
