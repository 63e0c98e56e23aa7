//! The token requests: code redemption (RFC 6749 §4.1.3, RFC 7636 §4.5) and refresh (RFC 6749 §6).

use std::borrow::Cow;

use super::secret::{AuthorizationCode, CodeVerifier, RefreshToken};

/// A request that redeems an authorization code, without client authentication.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TokenRequest<'a> {
    pub(crate) code: &'a AuthorizationCode,
    /// Identical to that of the authorization request (RFC 6749 §4.1.3).
    pub(crate) redirect_uri: &'a str,
    pub(crate) code_verifier: &'a CodeVerifier,
    /// The resource that the access token is for (RFC 8707 §2.2).
    pub(crate) resource: Option<&'a str>,
}

impl<'a> TokenRequest<'a> {
    /// Returns the parameters of the form. They contain secrets.
    pub(crate) fn parameters(&self) -> Vec<(&'static str, Cow<'a, str>)> {
        let mut parameters = vec![
            ("grant_type", Cow::Borrowed("authorization_code")),
            ("code", Cow::Borrowed(self.code.expose())),
            ("redirect_uri", Cow::Borrowed(self.redirect_uri)),
            ("code_verifier", Cow::Borrowed(self.code_verifier.expose())),
        ];
        parameters.extend(self.resource.map(of_resource));
        parameters
    }
}

/// A request that refreshes an access token, without client authentication.
///
/// Omits `scope`, which requests all scopes that were granted (RFC 6749 §6).
#[derive(Clone, Copy, Debug)]
pub(crate) struct RefreshRequest<'a> {
    pub(crate) refresh_token: &'a RefreshToken,
    /// The resource that the access token is for (RFC 8707 §2.2).
    pub(crate) resource: Option<&'a str>,
}

impl<'a> RefreshRequest<'a> {
    /// Returns the parameters of the form. They contain a secret.
    pub(crate) fn parameters(&self) -> Vec<(&'static str, Cow<'a, str>)> {
        let mut parameters = vec![
            ("grant_type", Cow::Borrowed("refresh_token")),
            ("refresh_token", Cow::Borrowed(self.refresh_token.expose())),
        ];
        parameters.extend(self.resource.map(of_resource));
        parameters
    }
}

fn of_resource(resource: &str) -> (&'static str, Cow<'_, str>) {
    ("resource", Cow::Borrowed(resource))
}
