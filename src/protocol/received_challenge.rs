//! Parsing of the challenges of another server (`WWW-Authenticate`, RFC 9110 §11.6.1).
//!
//! Tolerant: what cannot be parsed is skipped, since a challenge is advice to a client whose request was rejected
//! anyway.

use std::borrow::Cow;

use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;

use super::field_name::is_token_character;

/// The maximum number of challenges that are read, and of parameters of one challenge.
const MAX: usize = 16;

/// A challenge as a response contains it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReceivedChallenge<'a> {
    scheme: &'a str,
    parameters: Vec<(&'a str, Cow<'a, str>)>,
}

impl<'a> ReceivedChallenge<'a> {
    /// Returns the challenges of a response, in order.
    pub(crate) fn all(headers: &'a HeaderMap) -> Vec<Self> {
        let mut challenges = Vec::new();
        for line in headers.get_all(WWW_AUTHENTICATE) {
            if let Ok(line) = line.to_str() {
                read_line(line, &mut challenges);
            }
        }
        challenges
    }

    /// Returns whether the challenge is of this scheme (RFC 9110 §11.1: case-insensitive).
    pub(crate) fn has_scheme(&self, scheme: &str) -> bool {
        self.scheme.eq_ignore_ascii_case(scheme)
    }

    /// Returns a parameter by name (RFC 9110 §11.2: case-insensitive). If the challenge repeats it, the first counts.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        let mut parameters = self.parameters.iter();
        let (_, value) = parameters.find(|(other, _)| other.eq_ignore_ascii_case(name))?;
        Some(value)
    }
}

fn read_line<'a>(line: &'a str, challenges: &mut Vec<ReceivedChallenge<'a>>) {
    let mut rest = line;
    // Parameters belong to a challenge of the same line.
    let first = challenges.len();
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let Some((name, after)) = token(rest) else {
            return;
        };
        let value = after
            .trim_start_matches([' ', '\t'])
            .strip_prefix('=')
            .and_then(|value| read_value(value.trim_start_matches([' ', '\t'])));
        match value {
            Some((value, after)) => {
                if let Some(challenge) = challenges.get_mut(first..).and_then(<[_]>::last_mut)
                    && challenge.parameters.len() < MAX
                {
                    challenge.parameters.push((name, value));
                }
                rest = after;
            }
            // A scheme, or the `token68` of one.
            None => {
                let is_scheme = after.is_empty() || after.starts_with([' ', '\t', ',']);
                if challenges.len() >= MAX {
                    return;
                }
                if is_scheme {
                    challenges.push(ReceivedChallenge {
                        scheme: name,
                        parameters: Vec::new(),
                    });
                    rest = after;
                } else {
                    let end = after.find(',').unwrap_or(after.len());
                    rest = &after[end..];
                }
            }
        }
    }
}

/// Returns the token at the start of a text, and the text after it.
fn token(text: &str) -> Option<(&str, &str)> {
    let end = text.bytes().take_while(|byte| is_token_character(*byte));
    let end = end.count();
    (end > 0).then(|| text.split_at(end))
}

/// Returns the value of a parameter, a token or a quoted string (RFC 9110 §5.6.4), and the text after it.
fn read_value(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, rest) = token(text)?;
        return Some((Cow::Borrowed(value), rest));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => {
                let plain = &quoted[..at];
                let value = match plain.contains('\\') {
                    true => Cow::Owned(value),
                    false => Cow::Borrowed(plain),
                };
                return Some((value, &quoted[at + 1..]));
            }
            '\\' => value.push(characters.next()?.1),
            _ => value.push(character),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn headers(lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(WWW_AUTHENTICATE, HeaderValue::try_from(*line).unwrap());
        }
        headers
    }

    /// Writes the challenges as `scheme name=value …`, separated by `|`.
    fn read(lines: &[&str]) -> String {
        let headers = headers(lines);
        let challenges = ReceivedChallenge::all(&headers);
        let texts = challenges.iter().map(|challenge| {
            let parameters = challenge.parameters.iter();
            let parameters = parameters.map(|(name, value)| format!(" {name}={value}"));
            format!("{}{}", challenge.scheme, parameters.collect::<String>())
        });
        texts.collect::<Vec<_>>().join("|")
    }

    #[test]
    fn challenges_are_separated_from_their_parameters() {
        for (lines, expected) in [
            (&[][..], ""),
            (&["DPoP"], "DPoP"),
            (
                &[r#"DPoP error="use_dpop_nonce", error_description="a, b""#],
                "DPoP error=use_dpop_nonce error_description=a, b",
            ),
            (
                &[r#"Bearer realm="a",DPoP algs="ES256 PS256" , error=x"#],
                "Bearer realm=a|DPoP algs=ES256 PS256 error=x",
            ),
            (
                &[r#"Bearer realm="a""#, "DPoP error=x"],
                "Bearer realm=a|DPoP error=x",
            ),
            (
                &[r#"Negotiate YWI=, DPoP error = "x""#],
                "Negotiate|DPoP error=x",
            ),
            (&["Negotiate YWI, Basic"], "Negotiate|YWI|Basic"),
            (&[r#", ,DPoP ,, error="x","#], "DPoP error=x"),
            (&[r#"DPoP error="a\"b\\c""#], r#"DPoP error=a"b\c"#),
            // Parameters without a challenge, and what cannot be parsed.
            (&[r#"error="x""#, "error=y, DPoP"], "DPoP"),
            (&["DPoP", "error=y"], "DPoP"),
            (&[r#"DPoP error="x"#], "DPoP"),
            (&[r#"DPoP error="x\"#], "DPoP"),
            (&[r#"DPoP error=, a=b"#], "DPoP a=b"),
            (&["@"], ""),
            (&["DPoP a=1 b=2"], "DPoP a=1 b=2"),
        ] {
            assert_eq!(read(lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn scheme_and_parameter_names_ignore_case_and_the_first_of_two_parameters_counts() {
        let headers = headers(&[r#"dpop ERROR="a", error="b""#]);
        let [challenge] = &ReceivedChallenge::all(&headers)[..] else {
            panic!("one challenge")
        };
        assert!(challenge.has_scheme("DPoP") && !challenge.has_scheme("Bearer"));
        assert_eq!(challenge.parameter("error"), Some("a"));
        assert_eq!(challenge.parameter("algs"), None);
    }

    #[test]
    fn the_number_of_challenges_and_parameters_is_bounded() {
        let many = vec!["A b=c"; 100].join(", ");
        let parameters = format!("A {}", vec!["b=c"; 100].join(", "));
        let headers = headers(&[&many]);
        assert_eq!(ReceivedChallenge::all(&headers).len(), MAX);
        let headers = self::headers(&[&parameters]);
        assert_eq!(ReceivedChallenge::all(&headers)[0].parameters.len(), MAX);
    }

    proptest! {
        #[test]
        fn any_field_is_read_to_its_end(line in "[ -~\t]{0,80}", other in "([a-c]|[ ,=\"\\\\]){0,24}") {
            let _ = read(&[&line, &other]);
        }
    }
}
