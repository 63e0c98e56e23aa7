//! The authorization response, in the mode that the client asked for.

use bytes::Bytes;
use http::Response;

use super::super::fault::Kind;
use super::super::request_log::Endpoint;
use super::super::respond::{redirect, with_query};
use super::super::server::TestServer;
use super::pages;
use crate::flow::ResponseMode;

/// Where a response goes.
#[derive(Clone, Debug)]
pub(super) struct Recipient {
    pub(super) client_id: String,
    pub(super) redirect_uri: String,
    pub(super) state: Option<String>,
    pub(super) mode: ResponseMode,
}

/// Sends a response to the client. Every response has `iss`, errors included (RFC 9207 §2); in a signed one it is a claim.
pub(super) fn respond<'a>(
    server: &'a TestServer,
    recipient: &'a Recipient,
    mut pairs: Vec<(&'a str, &'a str)>,
) -> Response<Bytes> {
    let state = recipient.state.as_deref();
    pairs.extend(state.map(|state| ("state", state)));
    pairs.push(("iss", server.issuer()));
    let pairs = with_faults(server, Endpoint::Authorization, pairs);
    let pairs = match recipient.mode.is_signed() {
        true => vec![("response".to_owned(), signed(server, recipient, &pairs))],
        false => pairs,
    };
    match recipient.mode.is_form() {
        true => pages::form_post(&recipient.redirect_uri, &pairs),
        false => redirect(&with_pairs(&recipient.redirect_uri, &pairs)),
    }
}

/// Returns the response as a JWT (JARM §2.1).
fn signed(server: &TestServer, recipient: &Recipient, pairs: &[(String, String)]) -> String {
    let mint = server
        .mint("JWT")
        .without_claim("jti")
        .with_audience(recipient.client_id.as_str());
    let mint = pairs.iter().fold(mint, |mint, (name, value)| {
        mint.with_claim(name, value.as_str())
    });
    let faults = server.shared.faults.take_responses(Endpoint::Authorization);
    let mint = faults.into_iter().fold(mint, |mint, fault| match fault {
        Kind::AuthorizationResponse(alter) => alter.apply(mint),
        _ => mint,
    });
    mint.sign()
}

/// Returns the redirect URI with parameters, after faults have changed them.
pub(super) fn redirect_uri_with_faults(
    server: &TestServer,
    endpoint: Endpoint,
    uri: &str,
    pairs: Vec<(&str, &str)>,
) -> String {
    with_pairs(uri, &with_faults(server, endpoint, pairs))
}

fn with_faults(
    server: &TestServer,
    endpoint: Endpoint,
    pairs: Vec<(&str, &str)>,
) -> Vec<(String, String)> {
    let mut pairs: Vec<(String, String)> = pairs
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    for fault in server.shared.faults.take_parameters(endpoint) {
        if let Kind::Parameter(name, value) = fault {
            pairs.retain(|(other, _)| *other != name);
            pairs.extend(value.map(|value| (name, value)));
        }
    }
    pairs
}

fn with_pairs(uri: &str, pairs: &[(String, String)]) -> String {
    let pairs: Vec<(&str, &str)> = pairs
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    with_query(uri, &pairs)
}
