//! The userinfo endpoint (OpenID Connect Core §5.3), protected by bearer tokens (RFC 6750).

use bytes::Bytes;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{Request, Response, StatusCode};
use serde_json::{Map, Value};

use super::super::respond::{empty, private_json, with_header};
use super::super::server::TestServer;
use crate::clock::Clock as _;

pub(super) fn handle(server: &TestServer, request: &Request<Bytes>) -> Response<Bytes> {
    let mut fields = request.headers().get_all(AUTHORIZATION).iter();
    let (field, more) = (fields.next(), fields.next());
    if more.is_some() {
        return challenge(StatusCode::BAD_REQUEST, "Bearer error=\"invalid_request\"");
    }
    let token = field
        .and_then(|field| field.to_str().ok())
        .and_then(|field| {
            let (scheme, token) = field.split_once(' ')?;
            scheme
                .eq_ignore_ascii_case("bearer")
                .then(|| token.trim_start_matches(' '))
        });
    let Some(token) = token else {
        // RFC 6750 §3.1: no error code if the request has no token.
        return challenge(StatusCode::UNAUTHORIZED, "Bearer realm=\"userinfo\"");
    };
    let state = server.state();
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
    let granted = granted.map(|(name, value)| (name.clone(), value.clone()));
    let mut claims: Map<String, Value> = granted.collect();
    claims.insert("sub".to_owned(), user.subject.as_str().into());
    private_json(StatusCode::OK, &Value::Object(claims))
}

fn challenge(status: StatusCode, value: &str) -> Response<Bytes> {
    with_header(empty(status), WWW_AUTHENTICATE, value)
}
