//! Where the parameters of an authorization request come from: its query, a signed object (RFC 9101), or what the client
//! pushed (RFC 9126).

use serde_json::Value;

use super::super::parameters::RequestParameters;
use super::super::registry::TestClient;
use super::super::request_features::Support;
use super::super::server::{ServerState, TestServer};
use super::client_assertion::signed_by;
use crate::clock::Clock as _;
use crate::crypto::{Jws, same_media_type};

/// In seconds.
const MAX_LIFETIME: i64 = 3600;

/// The claims of a JWT, which are no parameters.
const OF_JWT: [&str; 6] = ["iss", "aud", "exp", "nbf", "iat", "jti"];

/// Returns the parameters that count for a request at the authorization endpoint, or the text of an error page.
pub(super) fn resolve_browser_request(
    server: &TestServer,
    state: &mut ServerState,
    parameters: RequestParameters,
) -> Result<RequestParameters, &'static str> {
    let client = parameters.value("client_id");
    let client = client.filter(|_| !parameters.is_repeated("client_id"));
    let Some(client) = client.and_then(|id| state.client(id)).cloned() else {
        // Rejected as before.
        return Ok(parameters);
    };
    let is_pushed =
        state.features.pushed != Support::Off && parameters.value("request_uri").is_some();
    if is_pushed {
        if parameters.value("request").is_some() {
            return Err("The request has both request and request_uri.");
        }
        return take_pushed(server, state, &client, &parameters);
    }
    if state.features.pushed == Support::Required || client.requires_pushed_requests {
        return Err("Only pushed authorization requests are accepted.");
    }
    resolve(server, state, &client, parameters)
}

/// Returns what the client pushed under the `request_uri`. It is used up (RFC 9126 §4); no other parameter counts.
fn take_pushed(
    server: &TestServer,
    state: &mut ServerState,
    client: &TestClient,
    parameters: &RequestParameters,
) -> Result<RequestParameters, &'static str> {
    const INVALID: &str = "The request_uri is unknown, expired or was already used.";
    let request_uri = parameters.value("request_uri").unwrap_or_default();
    let pushed = state.features.pending.get(request_uri).ok_or(INVALID)?;
    if pushed.client_id != client.id || parameters.is_repeated("request_uri") {
        return Err(INVALID);
    }
    let pushed = state.features.pending.remove(request_uri).ok_or(INVALID)?;
    match pushed.expires_at > server.clock().monotonic() {
        true => Ok(pushed.parameters),
        false => Err(INVALID),
    }
}

/// Returns the parameters of the request object, if there is one: only those count (RFC 9101 §6.3).
pub(super) fn resolve(
    server: &TestServer,
    state: &ServerState,
    client: &TestClient,
    parameters: RequestParameters,
) -> Result<RequestParameters, &'static str> {
    match parameters.value("request") {
        Some(object) if state.features.signed != Support::Off => {
            if parameters.is_repeated("request") {
                return Err("The request object is repeated.");
            }
            read(server, client, object).ok_or("The request object is not valid.")
        }
        _ if state.features.signed == Support::Required => {
            Err("Only signed authorization requests are accepted.")
        }
        _ => Ok(parameters),
    }
}

fn read(server: &TestServer, client: &TestClient, object: &str) -> Option<RequestParameters> {
    let jws = Jws::read(object).ok()?;
    let is_typed = jws
        .media_type()
        .is_some_and(|typ| same_media_type(typ, "oauth-authz-req+jwt"));
    let keys = [&client.keys[..], &client.request_keys[..]].concat();
    if !is_typed || !signed_by(&keys, &jws) {
        return None;
    }
    let Ok(Value::Object(claims)) = serde_json::from_slice(jws.payload()) else {
        return None;
    };
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let time = |name: &str| claims.get(name).and_then(Value::as_i64);
    let now = server.clock().unix_seconds();
    let is_current = time("exp").is_some_and(|exp| exp > now && exp <= now + MAX_LIFETIME)
        && time("nbf").is_some_and(|nbf| nbf <= now);
    // §4: neither of the two inside. §10.8: not to be taken for a client assertion.
    let is_confusing = ["request", "request_uri", "sub"]
        .iter()
        .any(|name| claims.contains_key(*name));
    let is_from_client = text("iss") == Some(&client.id) && text("client_id") == Some(&client.id);
    if !is_current || is_confusing || !is_from_client || text("aud") != Some(server.issuer()) {
        return None;
    }
    let mut pairs = Vec::new();
    for (name, value) in &claims {
        match value {
            _ if OF_JWT.contains(&name.as_str()) => {}
            Value::String(text) => pairs.push((name.clone(), text.clone())),
            Value::Array(values) if values.iter().all(Value::is_string) => {
                let texts = values.iter().filter_map(Value::as_str);
                pairs.extend(texts.map(|text| (name.clone(), text.to_owned())));
            }
            other => pairs.push((name.clone(), other.to_string())),
        }
    }
    Some(RequestParameters::of_pairs(pairs))
}
