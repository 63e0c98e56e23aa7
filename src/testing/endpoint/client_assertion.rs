//! A client that proves who it is with a signature: `private_key_jwt` (RFC 7523 §2.2, §3).

use super::super::parameters::Parameters;
use super::super::registry::{ClientAuthentication, TestClient};
use super::super::server::{State, TestServer};
use crate::crypto::{Jwk, Jws, same_media_type};
use crate::protocol::json::{Json, Object, parse_object};

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// No assertion has to be good for longer.
const LONGEST_LIFE: f64 = 300.0;

/// The client, where the assertion is one of its own and was never seen before.
pub(super) fn check(
    server: &TestServer,
    state: &mut State,
    form: &Parameters,
    assertion: &str,
) -> Option<TestClient> {
    if form.value("client_assertion_type") != Some(ASSERTION_TYPE) {
        return None;
    }
    let jws = Jws::read(assertion).ok()?;
    let typed = jws.media_type().is_none_or(|typ| {
        same_media_type(typ, "JWT") || same_media_type(typ, "client-authentication+jwt")
    });
    let claims = parse_object(jws.payload()).ok()?;
    let id = claims.string("iss").ok()??;
    let named = form.value("client_id").is_none_or(|named| named == id);
    let client = state.client(id)?.clone();
    let registered = client.authentication == ClientAuthentication::PrivateKeyJwt;
    if !(typed && named && registered && signed_by(&client, &jws)) {
        return None;
    }
    let audience = client.assertion_audience.as_deref();
    let for_us = claims.member("aud").and_then(Json::as_str)
        == Some(audience.unwrap_or_else(|| server.issuer()));
    if !for_us || claims.string("sub").ok()? != Some(id) || !is_timely(server, &claims) {
        return None;
    }
    // RFC 7523 §3: an assertion is good once.
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
        let meant = jws.key_id().is_none() || jws.key_id() == key.key_id();
        meant
            && key
                .for_algorithm(jws.algorithm())
                .is_some_and(|key| jws.verify(key))
    })
}

#[allow(clippy::as_conversions, clippy::cast_precision_loss)]
fn is_timely(server: &TestServer, claims: &Object<'_>) -> bool {
    let now = server.clock().unix_seconds() as f64;
    let time = |name| claims.member(name).and_then(Json::as_number);
    time("exp").is_some_and(|exp| exp > now && exp <= now + LONGEST_LIFE)
        && time("iat").is_none_or(|iat| iat <= now)
}
