//! The introspection endpoint (RFC 7662), with signed responses on request (RFC 9701).

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, Request, Response, StatusCode};
use serde_json::Value;

use super::super::fault::Kind;
use super::super::members::Members;
use super::super::mint::TokenMint;
use super::super::parameters::RequestParameters;
use super::super::respond::{empty, oauth_error, private_json, with_header};
use super::super::server::{ServerState, TestServer};
use super::client_authentication::{authenticate, invalid_client};

const SIGNED: &str = "application/token-introspection+jwt";

pub(super) fn handle(
    server: &TestServer,
    request: &Request<Bytes>,
    faults: &[Kind],
) -> Response<Bytes> {
    let reject = |text| oauth_error(StatusCode::BAD_REQUEST, "invalid_request", text);
    let Some(form) = RequestParameters::of_form(request) else {
        return reject("the request is not a form");
    };
    if form.has_repeated() {
        return reject("a parameter is repeated");
    }
    let state = &mut *server.state();
    let caller = match authenticate_caller(server, state, request.headers(), &form) {
        Ok(caller) => caller,
        Err(response) => return *response,
    };
    let Some(token) = form.value("token") else {
        return reject("token is missing");
    };
    let claims = active_claims(server, state, token);
    let mint = server.mint("JWT").with_members(response_members(claims));
    let mint = faults.iter().fold(mint, |mint, fault| match fault {
        Kind::Introspection(alter) => alter.apply(mint),
        _ => mint,
    });
    let wants_signed = request
        .headers()
        .get_all(ACCEPT)
        .iter()
        .any(|field| field.to_str().is_ok_and(|text| text.contains(SIGNED)));
    if wants_signed {
        signed_response(server, &caller, &mint, faults)
    } else {
        private_json(StatusCode::OK, &Value::Null).map(|_| mint.payload().into())
    }
}

/// Authenticates the caller, a client or the holder of a valid access token (RFC 7662 §2.1), and returns
/// its client id.
fn authenticate_caller(
    server: &TestServer,
    state: &mut ServerState,
    headers: &HeaderMap,
    form: &RequestParameters,
) -> Result<String, Box<Response<Bytes>>> {
    let bearer = headers
        .get(AUTHORIZATION)
        .and_then(|field| field.to_str().ok()?.strip_prefix("Bearer "));
    if let Some(token) = bearer {
        let claims = active_claims(server, state, token).ok_or_else(invalid_client)?;
        let client = claims.value("client_id");
        return Ok(client
            .and_then(|client| client.as_str().map(str::to_owned))
            .unwrap_or_default());
    }
    let client = authenticate(server, state, headers, form)?;
    // RFC 7662 §2.1: the endpoint requires authorization.
    if client.is_public() {
        return Err(invalid_client());
    }
    Ok(client.id)
}

/// Returns the claims of a token if it is active.
fn active_claims(server: &TestServer, state: &ServerState, token: &str) -> Option<Members> {
    let claims = server.shared.introspected.claims(token)?;
    let expired = claims
        .value("exp")
        .and_then(|exp| exp.as_i64())
        .is_some_and(|exp| exp <= server.clock().unix_seconds());
    (!expired && !state.grants.is_revoked(token)).then_some(claims)
}

/// Returns the members of the response (RFC 7662 §2.2): only `active` for an inactive token.
fn response_members(claims: Option<Members>) -> Members {
    let mut response = Members::default();
    let Some(claims) = claims else {
        response.add("active", "false");
        return response;
    };
    if claims.value("active").is_none() {
        response.add("active", "true");
    }
    if claims.value("token_type").is_none() {
        let bound = claims
            .value("cnf")
            .is_some_and(|cnf| cnf.get("jkt").is_some());
        response.add("token_type", if bound { "\"DPoP\"" } else { "\"Bearer\"" });
    }
    response.append(claims);
    response
}

/// Returns a signed response (RFC 9701 §5).
fn signed_response(
    server: &TestServer,
    caller: &str,
    members: &TokenMint,
    faults: &[Kind],
) -> Response<Bytes> {
    let inner = String::from_utf8_lossy(&members.payload()).into_owned();
    let mint = server
        .mint("token-introspection+jwt")
        .without_claim("exp")
        .without_claim("jti")
        .with_issuer(server.issuer())
        .with_audience(caller)
        .with_raw_claim("token_introspection", &inner);
    let mint = faults.iter().fold(mint, |mint, fault| match fault {
        Kind::SignedIntrospection(alter) => alter.apply(mint),
        _ => mint,
    });
    let response = empty(StatusCode::OK).map(|_| Bytes::from(mint.sign()));
    with_header(response, CONTENT_TYPE, SIGNED)
}
