//! The token requests: RFC 6749 §4.1.3 with the verifier of RFC 7636 §4.5, and RFC 6749 §6.

use std::borrow::Cow;

use super::secret::{AuthorizationCode, CodeVerifier, RefreshToken};

/// The redemption of an authorization code, before the client says who it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TokenRequest<'a> {
    pub(crate) code: &'a AuthorizationCode,
    /// The very string of the authorization request (RFC 6749 §4.1.3).
    pub(crate) redirect_uri: &'a str,
    pub(crate) code_verifier: &'a CodeVerifier,
}

impl<'a> TokenRequest<'a> {
    /// The parameters of the form; they hold secrets.
    pub(crate) fn parameters(&self) -> Vec<(&'static str, Cow<'a, str>)> {
        vec![
            ("grant_type", Cow::Borrowed("authorization_code")),
            ("code", Cow::Borrowed(self.code.expose())),
            ("redirect_uri", Cow::Borrowed(self.redirect_uri)),
            ("code_verifier", Cow::Borrowed(self.code_verifier.expose())),
        ]
    }
}

/// The refresh of an access token, before the client says who it is.
///
/// No scope is named: all that was granted is asked for again (RFC 6749 §6).
#[derive(Clone, Copy, Debug)]
pub(crate) struct RefreshRequest<'a> {
    pub(crate) refresh_token: &'a RefreshToken,
}

impl<'a> RefreshRequest<'a> {
    /// The parameters of the form; they hold a secret.
    pub(crate) fn parameters(&self) -> Vec<(&'static str, Cow<'a, str>)> {
        vec![
            ("grant_type", Cow::Borrowed("refresh_token")),
            ("refresh_token", Cow::Borrowed(self.refresh_token.expose())),
        ]
    }
}
