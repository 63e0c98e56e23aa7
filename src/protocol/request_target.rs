//! Request targets that two readers can take for different paths: one table, and one function that reads it.
//!
//! A layer that decides by path and a service that decodes the path later must see the same one. Nothing is
//! repaired: a path is either read in one way only, or refused with the reason.

use std::borrow::Cow;

use AmbiguousPath as Kind;

/// Why the path of a request can be read as another path.
///
/// [`RejectAmbiguousPathsLayer`](crate::bearer::RejectAmbiguousPathsLayer) puts it into the extensions of
/// the response it refuses with. The text of each value is for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum AmbiguousPath {
    /// The target is `*` or an authority (RFC 9112 §3.2.3, §3.2.4), so it has no path.
    #[error("no path (the asterisk or authority form of a request target)")]
    NoPath,
    /// A control character, a line separator, or a raw space, as it is or encoded.
    #[error("a control character or a raw space")]
    Control,
    /// `%u002e`: an escape that only IIS and old scripts decode.
    #[error("a %u escape")]
    PercentU,
    /// `%` without two hexadecimal digits (RFC 3986 §2.1).
    #[error("a percent sign without two hexadecimal digits")]
    MalformedEscape,
    /// A segment that is `.` or `..` once it is decoded, also with spaces, invisible characters or
    /// parameters around the dots.
    #[error("a dot segment")]
    DotSegment,
    /// `\`, also as `%5C`: a slash to browsers and on Windows.
    #[error("a backslash")]
    Backslash,
    /// `%2F`: data to some readers, a separator to others.
    #[error("an encoded slash")]
    EncodedSlash,
    /// `%2E`.
    #[error("an encoded dot")]
    EncodedDot,
    /// An escape that appears only after decoding once, such as `%252e`.
    #[error("an escape that is encoded once more")]
    DoubleEncoding,
    /// A character in more bytes than it needs, such as `%c0%ae` (RFC 3629 §10).
    #[error("overlong UTF-8")]
    OverlongUtf8,
    /// Escaped bytes that are not UTF-8.
    #[error("bytes that are not UTF-8")]
    InvalidUtf8,
    /// A character that normalization (NFKC), IDNA or a legacy code page turns into a dot, a slash or
    /// another character of this table, such as U+FF0E.
    #[error("a character that looks like a dot, a slash or another delimiter")]
    LookAlike,
    /// A byte outside of ASCII that is not encoded (RFC 3986 §2).
    #[error("a raw byte outside of ASCII")]
    NonAscii,
    /// `;`, also as `%3B`: some servers take parameters off before they compare a path.
    #[error("a path parameter")]
    PathParameter,
    /// `%3F` or `%23`: the end of the path to a reader of the decoded text.
    #[error("an encoded question mark or number sign")]
    EncodedDelimiter,
    /// Two slashes in a row: one to some readers, and a host at the beginning to others (RFC 3986 §4.2).
    #[error("an empty segment")]
    EmptySegment,
    /// An escaped letter, digit, `-`, `_` or `~`, which needs no escape (RFC 3986 §6.2.2.2).
    #[error("an escape of a character that needs none")]
    EncodedUnreserved,
}

/// Finds the first reason for which `path` can be read as another one. `%20` and all other escapes that
/// are not in the table are content.
pub(crate) fn find_ambiguity(path: &str) -> Option<Kind> {
    find(path, |_| true)
}

/// Finds what a request target must not have where its URL is compared after the normalization of RFC 3986
/// §6.2.2, which knows neither `\` nor control characters and removes dot segments.
pub(crate) fn find_ambiguity_of_url(path: &str) -> Option<Kind> {
    find(path, |kind| {
        matches!(
            kind,
            Kind::NoPath | Kind::Control | Kind::DotSegment | Kind::Backslash
        )
    })
}

fn find(path: &str, counts: impl Fn(Kind) -> bool) -> Option<Kind> {
    // Most paths have letters and slashes only.
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_');
    if path.starts_with('/') && path.bytes().all(is_plain) && !path.contains("//") {
        return None;
    }
    let path = Path::new(path);
    let mut rows = TABLE.iter();
    let row = rows.find(|(kind, is_in)| counts(*kind) && is_in(&path));
    row.map(|(kind, _)| *kind)
}

/// Decodes percent-encoding once; what is not an escape stays.
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

/// The byte that an escape at the beginning of `text` stands for.
fn escaped_byte(text: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = text else {
        return None;
    };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(*high)? << 4 | digit(*low)?).ok()
}

struct Path<'a> {
    raw: &'a [u8],
    /// Decoded once.
    bytes: Cow<'a, [u8]>,
}

type Check = fn(&Path<'_>) -> bool;

/// The table. The first row that applies is the reason that is logged.
const TABLE: &[(Kind, Check)] = &[
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
    (Kind::OverlongUtf8, |path| has_longer_spelling(&path.bytes)),
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

impl<'a> Path<'a> {
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

    fn has_pair(&self, is_it: impl Fn(u8, u8) -> bool) -> bool {
        let mut pairs = self.raw.windows(2);
        pairs.any(|pair| matches!(pair, [first, second] if is_it(*first, *second)))
    }

    /// Whether a byte of this kind is written as an escape.
    fn escapes(&self, is_it: impl Fn(u8) -> bool) -> bool {
        let rests = (0..self.raw.len()).filter_map(|at| self.raw.get(at..));
        rests.filter_map(escaped_byte).any(is_it)
    }
}

fn is_control(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}' | '\u{2029}')
}

/// Also where a reader of the decoded path takes what follows the dots for parameters, a query or a
/// fragment, trims spaces, or drops characters that have no width.
fn is_dot_segment(segment: &str) -> bool {
    if !segment.contains('.') {
        return false;
    }
    let name = segment.split([';', '?', '#']).next().unwrap_or_default();
    let seen: String = name.chars().filter(|one| !is_invisible(*one)).collect();
    matches!(seen.trim(), "." | "..")
}

/// Default ignorable code points of Unicode, which NFKC_Casefold drops.
fn is_invisible(character: char) -> bool {
    matches!(character,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{fff8}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

/// What careless readers of UTF-8 take for a character that has a shorter spelling (RFC 3629 §10).
fn has_longer_spelling(text: &[u8]) -> bool {
    let in_two = |bytes: &[u8]| matches!(bytes, [0xE0, 0x80..=0x9F] | [0xF0, 0x80..=0x8F]);
    let in_one = |byte: &u8| matches!(byte, 0xC0 | 0xC1 | 0xF8..);
    text.iter().any(in_one) || text.windows(2).any(in_two)
}

/// Characters that NFKC, IDNA (RFC 5895) or the best fit of a legacy code page turns into `.`, `/`, `\`,
/// `%`, `;`, `?` or `#`, and symbols with the shape of a slash. Not numbers with a full stop behind them
/// (U+2488) and fractions (U+00BD): no reader splits at those.
fn looks_alike(character: char) -> bool {
    matches!(character,
        // Dots.
        '\u{2024}'..='\u{2026}' | '\u{3002}' | '\u{fe12}' | '\u{fe19}' | '\u{fe30}' | '\u{fe52}'
        | '\u{ff0e}' | '\u{ff61}'
        // Slashes.
        | '\u{2044}' | '\u{2100}' | '\u{2101}' | '\u{2105}' | '\u{2106}' | '\u{2215}' | '\u{2571}'
        | '\u{27cb}' | '\u{29f8}' | '\u{ff0f}'
        // Backslashes; yen and won signs have their place in Japanese and Korean code pages.
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

    /// A path, what makes it ambiguous, and whether its URL can be compared (`htu`).
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
    fn the_table_tells_content_from_what_can_be_read_in_two_ways() {
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
        /// What passes is the same to a reader that decodes it never, once, or again and again, that
        /// resolves dot segments, and that normalizes the escapes.
        #[test]
        fn a_path_that_passes_has_the_same_segments_to_every_reader(
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
        fn any_text_gets_an_answer(path in "\\PC{0,60}") {
            let all = find_ambiguity(&path);
            prop_assert!(all.is_some() || find_ambiguity_of_url(&path).is_none());
        }
    }
}
