//! The extensions of authorization requests and responses that a test server supports. All are off by default.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::Value;

use super::parameters::RequestParameters;
use super::registry::TestClient;
use super::server::TestServer;
use crate::flow::ResponseMode;

/// The extensions of a server, and the pushed requests.
#[derive(Debug, Default)]
pub(super) struct RequestFeatures {
    pub(super) pushed: Support,
    pub(super) signed: Support,
    /// Beside `query`.
    pub(super) response_modes: Vec<ResponseMode>,
    /// By `request_uri`.
    pub(super) pending: HashMap<String, PushedRequest>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Support {
    #[default]
    Off,
    Optional,
    Required,
}

/// A pushed authorization request that was not used yet.
#[derive(Debug)]
pub(super) struct PushedRequest {
    pub(super) client_id: String,
    pub(super) parameters: RequestParameters,
    pub(super) expires_at: Duration,
}

/// Returns the value of `response_mode`.
pub(super) fn name_of(mode: ResponseMode) -> &'static str {
    mode.name().unwrap_or("query")
}

impl RequestFeatures {
    /// Returns a supported mode by its name.
    pub(super) fn response_mode(&self, name: &str) -> Option<ResponseMode> {
        let all = [&[ResponseMode::Query], &self.response_modes[..]].concat();
        all.into_iter().find(|mode| name_of(*mode) == name)
    }
}

impl TestServer {
    /// Accepts pushed authorization requests ([RFC 9126]) beside others. A `request_uri` is valid once, for a minute.
    ///
    /// [RFC 9126]: https://www.rfc-editor.org/rfc/rfc9126
    #[must_use]
    pub fn with_pushed_requests(self) -> Self {
        self.state().features.pushed = Support::Optional;
        self
    }

    /// Accepts no other than pushed authorization requests, and declares that in the metadata (RFC 9126 §5).
    #[must_use]
    pub fn with_required_pushed_requests(self) -> Self {
        self.state().features.pushed = Support::Required;
        self
    }

    /// Accepts signed request objects ([RFC 9101]) of clients with a [key](TestClient::add_request_key).
    ///
    /// Only the values in the object count. It requires the type `oauth-authz-req+jwt`, the issuer of the server as `aud`,
    /// and an `exp` within an hour.
    ///
    /// [RFC 9101]: https://www.rfc-editor.org/rfc/rfc9101
    #[must_use]
    pub fn with_signed_requests(self) -> Self {
        self.state().features.signed = Support::Optional;
        self
    }

    /// Accepts no other than signed authorization requests, and declares that in the metadata (RFC 9101 §10.5).
    #[must_use]
    pub fn with_required_signed_requests(self) -> Self {
        self.state().features.signed = Support::Required;
        self
    }

    /// Supports the response modes `form_post`, `jwt` and `form_post.jwt` beside `query`.
    ///
    /// The page of a form has a script that submits it. [`Page::sign_in`](super::Page::sign_in) submits it too; elsewhere
    /// use `page.form("#form-post")`.
    #[must_use]
    pub fn with_response_modes(self) -> Self {
        self.state().features.response_modes = vec![
            ResponseMode::FormPost,
            ResponseMode::Jwt,
            ResponseMode::FormPostJwt,
        ];
        self
    }
}

impl TestClient {
    /// Adds a public key for signed authorization requests. The keys of
    /// [`private_key_jwt`](Self::private_key_jwt) are valid for them too.
    pub fn add_request_key(mut self, public_jwk: Value) -> Self {
        self.request_keys.push(public_jwk);
        self
    }

    /// Accepts no other than pushed authorization requests from this client (RFC 9126 §6).
    pub fn with_required_pushed_requests(mut self) -> Self {
        self.requires_pushed_requests = true;
        self
    }
}
