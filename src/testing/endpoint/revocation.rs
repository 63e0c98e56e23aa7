//! The revocation endpoint (RFC 7009).

use bytes::Bytes;
use http::header::CACHE_CONTROL;
use http::{Request, Response, StatusCode};

use super::super::parameters::Parameters;
use super::super::respond::{empty, oauth_error, with_header};
use super::super::server::TestServer;
use super::client_authentication::authenticate;
use crate::clock::Clock as _;

pub(super) fn answer(server: &TestServer, request: &Request<Bytes>) -> Response<Bytes> {
    let refuse = |text| oauth_error(StatusCode::BAD_REQUEST, "invalid_request", text);
    let Some(form) = Parameters::of_form(request) else {
        return refuse("the request is not a form");
    };
    if form.has_repeated() {
        return refuse("a parameter was sent twice");
    }
    let client = match authenticate(server, &mut server.state(), request.headers(), &form) {
        Ok(client) => client,
        Err(response) => return *response,
    };
    let Some(token) = form.value("token") else {
        return refuse("token is missing");
    };
    // The hint is only one (§2.1), and nobody learns whether there was such a token (§2.2).
    server.end_token(token, Some(&client.id));
    with_header(empty(StatusCode::OK), CACHE_CONTROL, "no-store")
}

impl TestServer {
    /// Ends a token as the revocation endpoint does: an access token alone, a refresh token with its
    /// whole grant (RFC 7009 §2.1). One that was only registered is not active any more.
    pub fn revoke(&self, token: &str) {
        self.end_token(token, None);
        self.shared.introspected.remove(token);
    }

    /// What the revocation endpoint and [`revoke`](Self::revoke) ended, in order: tokens that were good
    /// until then, and belonged to the client that asked. Every request, for whatever token, is in
    /// [`requests`](Self::requests).
    pub fn revoked_tokens(&self) -> Vec<String> {
        self.state().revoked.clone()
    }

    /// The refresh tokens of a subject that would be taken now, in no order.
    pub fn refresh_tokens(&self, subject: &str) -> Vec<String> {
        let now = self.clock().monotonic();
        self.state().grants.refresh_tokens_of(subject, now)
    }

    /// The access tokens of a subject that were issued by the token endpoint and are good now, in no
    /// order.
    pub fn access_tokens(&self, subject: &str) -> Vec<String> {
        let now = self.clock().monotonic();
        self.state().grants.access_tokens_of(subject, now)
    }

    fn end_token(&self, token: &str, client_id: Option<&str>) {
        let state = &mut *self.state();
        if state.grants.revoke_token(token, client_id) {
            state.revoked.push(token.to_owned());
        }
    }
}
