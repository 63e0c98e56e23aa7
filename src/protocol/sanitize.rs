//! Sanitizing of untrusted text for display and for logs.

/// Maximum length of an `error_description` in characters.
const MAX_DESCRIPTION: usize = 256;

/// Maximum length of untrusted text in a log line, in characters.
const MAX_LOGGED: usize = 200;

/// Returns whether a text consists of `VSCHAR` (RFC 6749 Appendix A): printable ASCII including the space.
pub(crate) fn is_printable_ascii(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, 0x20..=0x7e))
}

/// Returns whether a text consists of printable ASCII without the space, so that it is one token of a header
/// field.
pub(crate) fn is_visible_ascii(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
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

/// Returns whether a character is a control character, changes the text direction or has no width.
fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn untrusted_text_in_a_log_line_is_escaped_and_truncated() {
        assert_eq!(log_safe("a\nb\u{202e}\"c"), r#""a\nb\u{202e}\"c""#);
        assert_eq!(log_safe(&"x".repeat(100_000)).len(), 202);
    }
}
