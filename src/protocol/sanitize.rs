//! Text of strangers: what may be compared and sent on, and what may be shown.

/// Longer explanations are cut.
const MAX_EXPLANATION: usize = 256;

/// `VSCHAR` of RFC 6749 Appendix A: printable ASCII, the space included.
pub(crate) fn printable(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, 0x20..=0x7e))
}

/// Printable ASCII without the space, as it can stand in a header.
pub(crate) fn visible(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Cuts an `error_description` to 256 characters and makes every control character a space. Whoever
/// shows it escapes it.
pub(crate) fn display_safe(text: &str) -> String {
    text.chars()
        .take(MAX_EXPLANATION)
        .map(|character| if unseen(character) { ' ' } else { character })
        .collect()
}

/// At most so many characters of what a stranger sent are logged.
const MAX_LOGGED: usize = 200;

/// The beginning of a text in quotes and escaped, for a log line.
pub(crate) fn log_safe(text: &str) -> String {
    // Debug of a string takes no heed of a precision.
    let shown: String = text.chars().take(MAX_LOGGED).collect();
    format!("{shown:?}")
}

/// Control characters, and those that turn the direction of what follows or have no width.
fn unseen(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_line_stays_one_line_and_short_whatever_is_in_it() {
        assert_eq!(log_safe("a\nb\u{202e}\"c"), r#""a\nb\u{202e}\"c""#);
        assert_eq!(log_safe(&"x".repeat(100_000)).len(), 202);
    }
}
