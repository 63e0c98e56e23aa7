//! How authorization requests are sent, and how the responses come back: the settings.

use serde::Deserialize;

use crate::crypto::SigningKey;

/// When authorization requests are sent to the authorization server over the back channel instead of in the URL that
/// the browser opens ([RFC 9126]).
///
/// A pushed request is authenticated, cannot be changed by the user, and stays out of browser histories and logs.
///
/// [RFC 9126]: https://www.rfc-editor.org/rfc/rfc9126
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PushedRequests {
    /// For every login. A server whose metadata has no `pushed_authorization_request_endpoint` is an error of the
    /// configuration.
    Required,
    /// For every login, if the metadata has a `pushed_authorization_request_endpoint`. A request that this endpoint
    /// rejects or does not answer fails the login: the parameters are not sent with the browser instead.
    #[default]
    WhenAvailable,
    /// For no login. A server whose metadata has `require_pushed_authorization_requests: true` is an error of the
    /// configuration.
    Never,
}

/// How the authorization response is returned to the callback.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ResponseMode {
    /// In the query of the URL (RFC 6749 §4.1.2), the default of the code flow. No `response_mode` is sent.
    #[default]
    Query,
    /// As a form that a page of the authorization server submits: `form_post` ([OAuth 2.0 Form Post Response Mode]).
    ///
    /// [OAuth 2.0 Form Post Response Mode]: https://openid.net/specs/oauth-v2-form-post-response-mode-1_0.html
    FormPost,
    /// As a signed JWT in the query: `jwt` ([JARM]).
    ///
    /// [JARM]: https://openid.net/specs/oauth-v2-jarm-final.html
    Jwt,
    /// As a signed JWT in a form: `form_post.jwt`.
    #[serde(rename = "form_post.jwt")]
    FormPostJwt,
}

impl ResponseMode {
    /// Returns the value of `response_mode`, unless it is the default of the code flow.
    pub(crate) fn name(self) -> Option<&'static str> {
        match self {
            Self::Query => None,
            Self::FormPost => Some("form_post"),
            Self::Jwt => Some("jwt"),
            Self::FormPostJwt => Some("form_post.jwt"),
        }
    }

    /// Returns whether the response is a signed JWT.
    pub(crate) fn is_signed(self) -> bool {
        matches!(self, Self::Jwt | Self::FormPostJwt)
    }

    /// Returns whether the response is the body of a POST.
    pub(crate) fn is_form(self) -> bool {
        matches!(self, Self::FormPost | Self::FormPostJwt)
    }
}

/// How authorization requests are sent.
#[derive(Clone, Debug, Default)]
pub(super) struct RequestSettings {
    pub(super) pushed: PushedRequests,
    /// Signs the request objects.
    pub(super) key: Option<SigningKey>,
    pub(super) response_mode: ResponseMode,
}
