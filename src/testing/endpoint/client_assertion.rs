//! Client authentication with `private_key_jwt` (RFC 7523 §2.2, §3).

use super::super::parameters::RequestParameters;
use super::super::registry::{ClientAuthentication, TestClient};
use super::super::server::{ServerState, TestServer};
use crate::crypto::{Jwk, Jws, same_media_type};
use crate::protocol::json::{Json, Object, parse_object};

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The longest accepted lifetime of an assertion, in seconds.
const MAX_ASSERTION_LIFETIME: f64 = 300.0;

/// Returns the client if the assertion is valid and has not been used before.
pub(super) fn verify(
    server: &TestServer,
    state: &mut ServerState,
    form: &RequestParameters,
    assertion: &str,
) -> Option<TestClient> {
    if form.value("client_assertion_type") != Some(ASSERTION_TYPE) {
        return None;
    }
    let jws = Jws::read(assertion).ok()?;
    let type_matches = jws.media_type().is_none_or(|typ| {
        same_media_type(typ, "JWT") || same_media_type(typ, "client-authentication+jwt")
    });
    let claims = parse_object(jws.payload()).ok()?;
    let id = claims.string("iss").ok()??;
    let id_matches = form
        .value("client_id")
        .is_none_or(|client_id| client_id == id);
    let client = state.client(id)?.clone();
    let registered = client.authentication == ClientAuthentication::PrivateKeyJwt;
    if !(type_matches && id_matches && registered && signed_by(&client, &jws)) {
        return None;
    }
    let audience = client.assertion_audience.as_deref();
    let audience_matches = claims.member("aud").and_then(Json::as_str)
        == Some(audience.unwrap_or_else(|| server.issuer()));
    if !audience_matches || claims.string("sub").ok()? != Some(id) || !is_unexpired(server, &claims)
    {
        return None;
    }
    // RFC 7523 §3: an assertion is accepted once.
    let jti = claims.string("jti").ok()??;
    state
        .assertions
        .insert(format!("{id} {jti}"))
        .then_some(client)
}

fn signed_by(client: &TestClient, jws: &Jws<'_>) -> bool {
    client.keys.iter().any(|jwk| {
        let text = jwk.to_string();
        let Ok(jwk) = parse_object(text.as_bytes()) else {
            return false;
        };
        let Ok(key) = Jwk::read(&jwk) else {
            return false;
        };
        let kid_matches = jws.key_id().is_none() || jws.key_id() == key.key_id();
        kid_matches
            && key
                .for_algorithm(jws.algorithm())
                .is_some_and(|key| jws.verify(key))
    })
}

#[allow(clippy::as_conversions, clippy::cast_precision_loss)]
fn is_unexpired(server: &TestServer, claims: &Object<'_>) -> bool {
    let now = server.clock().unix_seconds() as f64;
    let time = |name| claims.member(name).and_then(Json::as_number);
    time("exp").is_some_and(|exp| exp > now && exp <= now + MAX_ASSERTION_LIFETIME)
        && time("iat").is_none_or(|iat| iat <= now)
}
