//! Sanitizing of untrusted text for display and for logs.

/// Maximum length of an `error_description` in characters.
const MAX_DESCRIPTION: usize = 256;

/// Maximum length of untrusted text in a log line, in characters.
const MAX_LOGGED: usize = 200;

/// Returns whether a text consists of `VSCHAR` (RFC 6749 Appendix A): printable ASCII including the space.
pub(crate) fn is_printable_ascii(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, 0x20..=0x7e))
}

/// Truncates an `error_description` to 256 characters and replaces invisible characters with spaces.
///
/// Does not escape for HTML: the page template does.
pub(crate) fn display_safe(text: &str) -> String {
    let visible = |one: char| if is_invisible(one) { ' ' } else { one };
    text.chars().take(MAX_DESCRIPTION).map(visible).collect()
}

/// Truncates a text to 200 characters, escapes and quotes it for a log line.
pub(crate) fn log_safe(text: &str) -> String {
    // `Debug` of a string ignores the precision of the format.
    let truncated: String = text.chars().take(MAX_LOGGED).collect();
    format!("{truncated:?}")
}

/// Replaces the user information of URLs, and the values of passwords, in the text of an error of another library.
pub(crate) fn without_secrets(text: &str) -> String {
    let mut cleaned = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((start, end)) = next_secret(rest) {
        cleaned.push_str(&rest[..start]);
        cleaned.push_str("***");
        rest = &rest[end..];
    }
    cleaned + rest
}

/// Returns the range of the first secret.
fn next_secret(text: &str) -> Option<(usize, usize)> {
    // A password in a URL may contain any unescaped character, so all before the last `@` of the word counts.
    let word = |start: usize| {
        let length =
            text[start..].find(|one: char| one.is_whitespace() || matches!(one, '"' | '\''));
        &text[start..length.map_or(text.len(), |length| start + length)]
    };
    let mut schemes = text.match_indices("://").map(|(at, mark)| at + mark.len());
    let user_info = schemes.find_map(|start| {
        let length = word(start).rfind('@').filter(|length| *length > 0)?;
        Some((start, start + length))
    });
    let lower = text.to_ascii_lowercase();
    let passwords = PASSWORD_SETTINGS.iter().filter_map(|name| {
        let mut found = lower.match_indices(name).map(|(at, name)| at + name.len());
        found.find_map(|start| {
            let value = word(start)
                .split([';', '&', ','])
                .next()
                .unwrap_or_default();
            (!value.is_empty()).then(|| (start, start + value.len()))
        })
    });
    passwords.chain(user_info).min()
}

const PASSWORD_SETTINGS: &[&str] = &["password=", "passwd=", "pwd="];

/// Returns whether a character is a control character, changes the text direction or has no width.
pub(crate) fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// Returns values in a form for log lines: escaped, shortened, and at most five of them.
pub(crate) fn listed<'a>(values: impl IntoIterator<Item = &'a str>) -> String {
    let mut values = values.into_iter();
    let first: Vec<_> = values.by_ref().take(MAX_VALUES).map(log_safe).collect();
    let more = match values.count() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("[{}]{more}", first.join(", "))
}

/// The maximum number of values of one list in a log line.
const MAX_VALUES: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_another_library_is_logged_without_passwords() {
        for (text, expected) in [
            (
                "relation \"sessions\" does not exist",
                "relation \"sessions\" does not exist",
            ),
            (
                "no route to redis://10.0.0.1:6379/0",
                "no route to redis://10.0.0.1:6379/0",
            ),
            (
                "redis://app:s3cr@t/x@10.0.0.1: refused",
                "redis://***@10.0.0.1: refused",
            ),
            (
                "host=db Password=hunter2;user=a and postgres://u:p@db/x, mysql://u@h",
                "host=db Password=***;user=a and postgres://***@db/x, mysql://***@h",
            ),
            ("pwd='x' password= pwd=", "pwd='x' password= pwd="),
            ("a@b :// @", "a@b :// @"),
        ] {
            assert_eq!(without_secrets(text), expected);
        }
    }

    #[test]
    fn untrusted_text_in_a_log_line_is_escaped_and_truncated() {
        assert_eq!(log_safe("a\nb\u{202e}\"c"), r#""a\nb\u{202e}\"c""#);
        assert_eq!(log_safe(&"x".repeat(100_000)).len(), 202);
    }

    #[test]
    fn values_are_escaped_shortened_and_counted() {
        assert_eq!(listed([]), "[]");
        assert_eq!(listed(["a\n"]), r#"["a\n"]"#);
        let many = vec!["x"; 8];
        assert_eq!(listed(many), r#"["x", "x", "x", "x", "x"] and 3 more"#);
    }
}
