//! The revocation endpoint (RFC 7009).

use bytes::Bytes;
use http::header::CACHE_CONTROL;
use http::{Request, Response, StatusCode};

use super::super::parameters::RequestParameters;
use super::super::respond::{empty, oauth_error, with_header};
use super::super::server::TestServer;
use super::client_authentication::authenticate;
use crate::clock::Clock as _;

pub(super) fn handle(server: &TestServer, request: &Request<Bytes>) -> Response<Bytes> {
    let reject = |text| oauth_error(StatusCode::BAD_REQUEST, "invalid_request", text);
    let Some(form) = RequestParameters::of_form(request) else {
        return reject("the request is not a form");
    };
    if form.has_repeated() {
        return reject("a parameter is repeated");
    }
    let client = match authenticate(server, &mut server.state(), request.headers(), &form) {
        Ok(client) => client,
        Err(response) => return *response,
    };
    let Some(token) = form.value("token") else {
        return reject("token is missing");
    };
    // §2.1: `token_type_hint` is only a hint. §2.2: the response does not tell whether the token existed.
    server.revoke_and_record(token, Some(&client.id));
    with_header(empty(StatusCode::OK), CACHE_CONTROL, "no-store")
}

impl TestServer {
    /// Revokes a token as the revocation endpoint does: an access token alone, a refresh token with its
    /// whole grant (RFC 7009 §2.1). A token that was only registered becomes inactive.
    pub fn revoke(&self, token: &str) {
        self.revoke_and_record(token, None);
        self.shared.introspected.remove(token);
    }

    /// Returns the tokens that the revocation endpoint and [`revoke`](Self::revoke) revoked, in order.
    /// Requests for invalid tokens and tokens of other clients are not included; see
    /// [`requests`](Self::requests).
    pub fn revoked_tokens(&self) -> Vec<String> {
        self.state().revoked.clone()
    }

    /// Returns the valid refresh tokens of a subject, in no particular order.
    pub fn refresh_tokens(&self, subject: &str) -> Vec<String> {
        let now = self.clock().monotonic();
        self.state().grants.refresh_tokens_of(subject, now)
    }

    /// Returns the valid access tokens of a subject that the token endpoint issued, in no particular
    /// order.
    pub fn access_tokens(&self, subject: &str) -> Vec<String> {
        let now = self.clock().monotonic();
        self.state().grants.access_tokens_of(subject, now)
    }

    fn revoke_and_record(&self, token: &str, client_id: Option<&str>) {
        let state = &mut *self.state();
        if state.grants.revoke_token(token, client_id) {
            state.revoked.push(token.to_owned());
        }
    }
}
