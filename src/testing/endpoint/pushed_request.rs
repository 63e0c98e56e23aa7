//! The pushed authorization request endpoint (RFC 9126).

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use serde_json::json;

use super::super::fapi2;
use super::super::parameters::RequestParameters;
use super::super::request_features::{PushedRequest, Support};
use super::super::respond::{empty, oauth_error, private_json, random_text};
use super::super::server::TestServer;
use super::client_authentication::authenticate;
use super::request::{Rejection, ValidatedRequest};
use super::request_object;
use crate::clock::Clock as _;

const LIFETIME: Duration = Duration::from_secs(60);

/// What may be beside a request object (RFC 9126 §3).
const BESIDE_OBJECT: [&str; 5] = [
    "request",
    "client_id",
    "client_secret",
    "client_assertion",
    "client_assertion_type",
];

pub(super) fn handle(server: &TestServer, request: &Request<Bytes>) -> Response<Bytes> {
    let reject = |code, text| oauth_error(StatusCode::BAD_REQUEST, code, text);
    let Some(form) = RequestParameters::of_form(request).filter(|form| !form.has_repeated()) else {
        return reject("invalid_request", "the request is not a valid form");
    };
    let state = &mut *server.state();
    if state.features.pushed == Support::Off {
        return empty(StatusCode::NOT_FOUND);
    }
    let client = match authenticate(server, state, request.headers(), &form) {
        Ok(client) => client,
        Err(response) => return *response,
    };
    // §2.1: required, also for a client that the header names.
    if form.value("client_id") != Some(&client.id) {
        return reject(
            "invalid_request",
            "client_id is missing or of another client",
        );
    }
    if form.value("request_uri").is_some() {
        return reject("invalid_request", "request_uri cannot be pushed");
    }
    let is_signed = form.value("request").is_some();
    if is_signed && form.names().any(|name| !BESIDE_OBJECT.contains(&name)) {
        return reject(
            "invalid_request",
            "a parameter is beside the request object",
        );
    }
    let parameters = match request_object::resolve(server, state, &client, form) {
        Ok(parameters) => parameters,
        Err(reason) => return reject("invalid_request_object", reason),
    };
    let excluded = state.fapi2.then(|| fapi2::check_request(&parameters));
    if let Some(reason) = excluded.flatten() {
        return reject("invalid_request", reason);
    }
    match ValidatedRequest::validate(&parameters, state) {
        Ok(_) => {}
        Err(Rejection::ErrorPage(reason)) => return reject("invalid_request", reason),
        Err(Rejection::Redirect { error, .. }) => return reject(error.0, error.1),
    }
    let request_uri = format!("urn:ietf:params:oauth:request_uri:{}", random_text());
    let now = server.clock().monotonic();
    let pushed = PushedRequest {
        client_id: client.id,
        parameters,
        expires_at: now.saturating_add(LIFETIME),
    };
    state
        .features
        .pending
        .retain(|_, pushed| pushed.expires_at > now);
    state.features.pending.insert(request_uri.clone(), pushed);
    let body = json!({ "request_uri": request_uri, "expires_in": LIFETIME.as_secs() });
    private_json(StatusCode::CREATED, &body)
}
