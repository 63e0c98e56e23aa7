//! The userinfo endpoint (OpenID Connect Core §5.3), protected by access tokens (RFC 6750, RFC 9449 §7).

use bytes::Bytes;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{Request, Response, StatusCode};
use serde_json::{Map, Value};

use super::super::respond::{empty, private_json, with_header};
use super::super::server::{ServerState, TestServer};
use super::proof::{self, Proven};
use crate::clock::Clock as _;

pub(super) fn handle(server: &TestServer, request: &Request<Bytes>) -> Response<Bytes> {
    let mut fields = request.headers().get_all(AUTHORIZATION).iter();
    let (field, more) = (fields.next(), fields.next());
    if more.is_some() {
        return challenge(StatusCode::BAD_REQUEST, "Bearer error=\"invalid_request\"");
    }
    let credentials = field
        .and_then(|field| field.to_str().ok()?.split_once(' '))
        .map(|(scheme, token)| (scheme, token.trim_start_matches(' ')));
    let is_dpop = |scheme: &str| scheme.eq_ignore_ascii_case("dpop");
    let (dpop, token) = match credentials {
        Some((scheme, token)) if is_dpop(scheme) => (true, token),
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => (false, token),
        // RFC 6750 §3.1: no error code if the request has no token.
        _ => return challenge(StatusCode::UNAUTHORIZED, "Bearer realm=\"userinfo\""),
    };
    let state = &mut *server.state();
    let thumbprint = state.grants.thumbprint_of(token).map(str::to_owned);
    // RFC 9449 §7.2: a bound token is not a bearer token, and the reverse.
    if dpop != thumbprint.is_some() {
        return challenge(StatusCode::UNAUTHORIZED, "DPoP error=\"invalid_token\"");
    }
    let proven = match dpop {
        true => proof::of_user_info(server, state, request, token),
        false => Ok(Proven::default()),
    };
    let proven = match proven {
        Ok(proven) if proven.thumbprint == thumbprint => proven,
        Ok(_) => return challenge(StatusCode::UNAUTHORIZED, "DPoP error=\"invalid_token\""),
        Err(response) => return *response,
    };
    proven.with_nonce(claims(server, state, token))
}

fn claims(server: &TestServer, state: &ServerState, token: &str) -> Response<Bytes> {
    let Some((grant, scopes)) = state.grants.access_token(token, server.clock().monotonic()) else {
        return challenge(StatusCode::UNAUTHORIZED, "Bearer error=\"invalid_token\"");
    };
    let user = grant
        .sign_in
        .as_ref()
        .and_then(|sign_in| state.user(&sign_in.subject));
    let Some(user) = user.filter(|_| scopes.contains("openid")) else {
        let value = "Bearer error=\"insufficient_scope\", scope=\"openid\"";
        return challenge(StatusCode::FORBIDDEN, value);
    };
    let granted = user.granted_claims(scopes, true);
    let granted = granted.chain(grant.access.claims("userinfo", user));
    let granted = granted.map(|(name, value)| (name.clone(), value.clone()));
    let mut claims: Map<String, Value> = granted.collect();
    claims.insert("sub".to_owned(), user.subject.as_str().into());
    private_json(StatusCode::OK, &Value::Object(claims))
}

fn challenge(status: StatusCode, value: &str) -> Response<Bytes> {
    with_header(empty(status), WWW_AUTHENTICATE, value)
}
