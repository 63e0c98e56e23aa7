//! The introspection endpoint (RFC 7662), with signed answers for who asks for them (RFC 9701).

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, Request, Response, StatusCode};
use serde_json::Value;

use super::super::fault::Kind;
use super::super::members::Members;
use super::super::mint::TokenMint;
use super::super::parameters::Parameters;
use super::super::respond::{empty, oauth_error, private_json, with_header};
use super::super::server::{State, TestServer};
use super::client_authentication::{authenticate, refusal};

const SIGNED: &str = "application/token-introspection+jwt";

pub(super) fn answer(
    server: &TestServer,
    request: &Request<Bytes>,
    faults: &[Kind],
) -> Response<Bytes> {
    let refuse = |text| oauth_error(StatusCode::BAD_REQUEST, "invalid_request", text);
    let Some(form) = Parameters::of_form(request) else {
        return refuse("the request is not a form");
    };
    if form.has_repeated() {
        return refuse("a parameter was sent twice");
    }
    let state = &mut *server.state();
    let asker = match asker(server, state, request.headers(), &form) {
        Ok(asker) => asker,
        Err(response) => return *response,
    };
    let Some(token) = form.value("token") else {
        return refuse("token is missing");
    };
    let claims = what_is_known(server, state, token);
    let mint = server.mint("JWT").with_members(describe(claims));
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
        signed(server, &asker, &mint, faults)
    } else {
        private_json(StatusCode::OK, &Value::Null).map(|_| mint.payload().into())
    }
}

/// Who asks: a client that proves who it is, or whoever holds a good access token (RFC 7662 §2.1).
fn asker(
    server: &TestServer,
    state: &mut State,
    headers: &HeaderMap,
    form: &Parameters,
) -> Result<String, Box<Response<Bytes>>> {
    let bearer = headers
        .get(AUTHORIZATION)
        .and_then(|field| field.to_str().ok()?.strip_prefix("Bearer "));
    if let Some(token) = bearer {
        let claims = what_is_known(server, state, token).ok_or_else(refusal)?;
        let client = claims.value("client_id");
        return Ok(client
            .and_then(|client| client.as_str().map(str::to_owned))
            .unwrap_or_default());
    }
    let client = authenticate(server, state, headers, form)?;
    // RFC 7662 §2.1: somebody has to stand behind the question.
    if client.is_public() {
        return Err(refusal());
    }
    Ok(client.id)
}

/// The claims of a token that is still good.
fn what_is_known(server: &TestServer, state: &State, token: &str) -> Option<Members> {
    let claims = server.shared.introspected.claims(token)?;
    let expired = claims
        .value("exp")
        .and_then(|exp| exp.as_i64())
        .is_some_and(|exp| exp <= server.clock().unix_seconds());
    (!expired && !state.grants.is_revoked(token)).then_some(claims)
}

/// The members of an answer (RFC 7662 §2.2); of a token that is not good nothing else is said.
fn describe(claims: Option<Members>) -> Members {
    let mut answer = Members::default();
    let Some(claims) = claims else {
        answer.add("active", "false");
        return answer;
    };
    if claims.value("active").is_none() {
        answer.add("active", "true");
    }
    if claims.value("token_type").is_none() {
        let bound = claims
            .value("cnf")
            .is_some_and(|cnf| cnf.get("jkt").is_some());
        answer.add("token_type", if bound { "\"DPoP\"" } else { "\"Bearer\"" });
    }
    answer.append(claims);
    answer
}

/// RFC 9701 §5.
fn signed(
    server: &TestServer,
    asker: &str,
    answer: &TokenMint,
    faults: &[Kind],
) -> Response<Bytes> {
    let inner = String::from_utf8_lossy(&answer.payload()).into_owned();
    let mint = server
        .mint("token-introspection+jwt")
        .without_claim("exp")
        .without_claim("jti")
        .with_issuer(server.issuer())
        .with_audience(asker)
        .with_raw_claim("token_introspection", &inner);
    let mint = faults.iter().fold(mint, |mint, fault| match fault {
        Kind::SignedIntrospection(alter) => alter.apply(mint),
        _ => mint,
    });
    let response = empty(StatusCode::OK).map(|_| Bytes::from(mint.sign()));
    with_header(response, CONTENT_TYPE, SIGNED)
}
