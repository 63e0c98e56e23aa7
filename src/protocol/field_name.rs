//! Names of header fields, as those read them who cannot tell them apart.

/// The one spelling of all names that a reader behind may take for the same: CGI and the like make one
/// variable of `X-User`, `x_user` and `X.User`.
pub(crate) fn folded(name: &str) -> String {
    let is_sign = |letter: char| !letter.is_ascii_alphanumeric();
    name.to_ascii_lowercase().replace(is_sign, "-")
}
