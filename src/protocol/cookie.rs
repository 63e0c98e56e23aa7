//! Reads the `Cookie` fields of a request ([RFC 6265 §4.2](https://www.rfc-editor.org/rfc/rfc6265#section-4.2)).
//!
//! Servers parse these fields differently: some trim a name before they compare it, and some ignore case. A
//! name therefore matches only byte for byte, and [`Match`] reports names that another server may confuse
//! with the expected name.

use http::HeaderMap;
use http::header::COOKIE;
use memchr::{memchr, memchr_iter};

/// One part of a `Cookie` field between two semicolons.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CookiePair<'a> {
    text: &'a [u8],
    /// The position of the first `=` in the text.
    equals: Option<usize>,
}

/// How the name of a cookie compares with an expected name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Match {
    /// The same bytes, and a value.
    Exact,
    /// A name that some servers take for the expected one: different case, or surrounded by spaces or tabs.
    Conflict,
    /// The expected name without `=`: a cookie without a value, or a value without a name.
    NoValue,
    Other,
}

/// Returns the parts of every `Cookie` field line, in order. HTTP/2 clients send several lines ([RFC 9113
/// §8.2.3](https://www.rfc-editor.org/rfc/rfc9113#section-8.2.3)).
pub(crate) fn pairs(headers: &HeaderMap) -> impl Iterator<Item = CookiePair<'_>> {
    let lines = headers.get_all(COOKIE).iter();
    lines.flat_map(|line| {
        let bytes = line.as_bytes();
        let mut begin = 0;
        // Session cookies are long and are scanned on every request.
        memchr_iter(b';', bytes)
            .chain([bytes.len()])
            .map(move |end| {
                let text = &bytes[begin..end];
                // The separator is `; `, but some clients omit the space. Further white space belongs to the
                // name.
                let separated = begin > 0;
                begin = end + 1;
                CookiePair::new(match text {
                    [b' ', rest @ ..] if separated => rest,
                    _ => text,
                })
            })
    })
}

impl<'a> CookiePair<'a> {
    fn new(text: &'a [u8]) -> Self {
        let equals = memchr(b'=', text);
        Self { text, equals }
    }

    /// Returns the name as it was sent, including white space, or `None` if there is no `=`.
    pub(crate) fn name(&self) -> Option<&'a [u8]> {
        self.equals.map(|equals| &self.text[..equals])
    }

    /// Returns the value without trailing spaces and tabs. Quotes are part of the value.
    pub(crate) fn value(&self) -> &'a [u8] {
        let begin = self.equals.map_or(self.text.len(), |equals| equals + 1);
        trim_end(&self.text[begin..])
    }

    /// Returns the whole part, without surrounding spaces and tabs.
    pub(crate) fn text(&self) -> &'a [u8] {
        trim_end(trim_start(self.text))
    }

    /// Compares the name with `expected`.
    ///
    /// Trims only spaces and tabs: no server trims Unicode white space, and browsers treat such names as
    /// different.
    pub(crate) fn compare(&self, expected: &[u8]) -> Match {
        if self.name() == Some(expected) {
            return Match::Exact;
        }
        // If there is no name before the first `=`, some servers use the text after it as the name.
        let unnamed = self
            .text
            .iter()
            .take_while(|byte| is_blank_or_equals(**byte));
        let text = &self.text[unnamed.count()..];
        let end = memchr(b'=', text).unwrap_or(text.len());
        if !trim_end(&text[..end]).eq_ignore_ascii_case(expected) {
            Match::Other
        } else if self.equals.is_some() {
            Match::Conflict
        } else {
            Match::NoValue
        }
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn is_blank_or_equals(byte: u8) -> bool {
    is_blank(byte) || byte == b'='
}

fn trim_start(text: &[u8]) -> &[u8] {
    let blanks = text.iter().take_while(|byte| is_blank(**byte)).count();
    &text[blanks..]
}

fn trim_end(text: &[u8]) -> &[u8] {
    let blanks = text.iter().rev().take_while(|byte| is_blank(**byte));
    &text[..text.len() - blanks.count()]
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::Match::*;
    use super::*;

    fn headers(lines: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(COOKIE, HeaderValue::from_bytes(line).unwrap());
        }
        headers
    }

    #[test]
    fn all_pairs_of_all_field_lines_are_read() {
        let headers = headers(&[
            b"a=1;b=2; c=3=4 ;;=5; lonely",
            b"",
            b"d=\"x; e=y\"; \xff=\xfe",
        ]);
        let read: Vec<_> = pairs(&headers)
            .map(|pair| (pair.name(), pair.value()))
            .collect();
        let expect: [(Option<&[u8]>, &[u8]); 10] = [
            (Some(b"a"), b"1"),
            (Some(b"b"), b"2"),
            (Some(b"c"), b"3=4"),
            (None, b""),
            (Some(b""), b"5"),
            (None, b""),
            (None, b""),
            (Some(b"d"), b"\"x"),
            (Some(b"e"), b"y\""),
            (Some(b"\xff"), b"\xfe"),
        ];
        assert_eq!(read, expect);
    }

    #[test]
    fn names_match_byte_for_byte_and_look_alikes_are_conflicts() {
        for (line, expect) in [
            (&b"t=x"[..], Exact),
            (b"t=", Exact),
            (b"t =x", Conflict),
            (b"t\t=x", Conflict),
            (b" t=x", Conflict),
            (b"\tt=x", Conflict),
            (b"T=x", Conflict),
            (b"T =", Conflict),
            (b"=t=x", Conflict),
            (b"= T =x", Conflict),
            (b"=t", Conflict),
            (b"t", NoValue),
            (b" T ", NoValue),
            (b"", Other),
            (b"=", Other),
            (b"tt=x", Other),
            (b"a=t=x", Other),
            (b"\"t\"=x", Other),
            // U+00A0, U+2003 and U+0085 are white space only in Unicode.
            (b"t\xc2\xa0=x", Other),
            (b"\xe2\x80\x83t=x", Other),
            (b"t\xc2\x85=x", Other),
            (b"t\xa0=x", Other),
        ] {
            let headers = headers(&[line]);
            let compared: Vec<_> = pairs(&headers).map(|pair| pair.compare(b"t")).collect();
            assert_eq!(compared, [expect], "{line:?}");
        }
        let headers = headers(&[b"a=1;t=x; t=x;  t=x;\tt=x"]);
        let compared: Vec<_> = pairs(&headers).map(|pair| pair.compare(b"t")).collect();
        assert_eq!(compared, [Other, Exact, Exact, Conflict, Conflict]);
    }
}
