//! Client assertions: `private_key_jwt`, `client_secret_jwt` and federated assertions (RFC 7523 §3, RFC 10070 §4).

use serde_json::Value;

use super::super::parameters::RequestParameters;
use super::super::registry::{ClientAuthentication, TestClient};
use super::super::server::{ServerState, TestServer};
use crate::crypto::{HmacAlgorithm, Jwk, Jws, base64url, same_media_type};
use crate::protocol::json::{Json, Object, parse_object};

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The longest accepted lifetime of an assertion, in seconds.
const MAX_ASSERTION_LIFETIME: f64 = 300.0;

/// Header and claims of an assertion, before its signature is verified.
struct ReadAssertion {
    algorithm: String,
    media_type: Option<String>,
    claims: Vec<u8>,
}

/// Returns the client if the assertion is valid and has not been used before.
pub(super) fn verify_assertion(
    server: &TestServer,
    state: &mut ServerState,
    form: &RequestParameters,
    compact: &str,
) -> Option<TestClient> {
    let assertion = ReadAssertion::read(compact)?;
    let claims = parse_object(&assertion.claims).ok()?;
    let text = |name| claims.string(name).ok().flatten();
    let (issuer, subject) = (text("iss")?, text("sub")?);
    // RFC 7521 §4.2: `client_id` is that of the assertion. A federated assertion has another subject.
    let id = form.value("client_id").unwrap_or(subject);
    let client = state.client(id)?.clone();
    let expected_type = client.assertion_type.as_deref().unwrap_or(JWT_BEARER);
    let algorithm_matches = client
        .assertion_algorithm
        .as_ref()
        .is_none_or(|expected| *expected == assertion.algorithm);
    if form.value("client_assertion_type") != Some(expected_type)
        || !algorithm_matches
        || !is_in_time(server, &claims)
    {
        return None;
    }
    let audience = client.assertion_audience.as_deref();
    let audience = audience.unwrap_or_else(|| server.issuer());
    let found = claims.member("aud");
    match (&client.authentication, &client.federated) {
        (ClientAuthentication::FederatedAssertion, Some(federated)) => {
            let is_listed = found
                .and_then(Json::as_array)
                .is_some_and(|list| matches!(list, [one] if one.as_str() == Some(audience)));
            let matches = issuer == federated.issuer
                && subject == federated.subject
                && (is_listed || found.and_then(Json::as_str) == Some(audience))
                && is_signed(&client, compact);
            // Another system issues it, and it is sent until it is renewed.
            return matches.then_some(client);
        }
        (ClientAuthentication::PrivateKeyJwt, _) if !is_signed(&client, compact) => return None,
        (ClientAuthentication::ClientSecretJwt, _) if !has_valid_tag(&client, compact) => {
            return None;
        }
        (ClientAuthentication::PrivateKeyJwt | ClientAuthentication::ClientSecretJwt, _) => {}
        _ => return None,
    }
    // RFC 10070 §4: one audience, the issuer, as a string; and the explicit type.
    let type_matches = match (&assertion.media_type, client.has_untyped_assertions) {
        (Some(media_type), false) => same_media_type(media_type, "client-authentication+jwt"),
        (media_type, true) => media_type
            .as_ref()
            .is_none_or(|media_type| same_media_type(media_type, "JWT")),
        (None, false) => false,
    };
    if !type_matches
        || (issuer, subject) != (id, id)
        || found.and_then(Json::as_str) != Some(audience)
    {
        return None;
    }
    // RFC 7523 §3: an assertion is accepted once.
    let jti = text("jti")?;
    state
        .assertions
        .insert(format!("{id} {jti}"))
        .then_some(client)
}

impl ReadAssertion {
    /// Reads an assertion with any algorithm: [`Jws`] reads none with a shared secret.
    fn read(compact: &str) -> Option<Self> {
        let mut segments = compact.split('.');
        let header = base64url::decode(segments.next()?)?;
        let header = parse_object(&header).ok()?;
        Some(Self {
            algorithm: header.string("alg").ok()??.to_owned(),
            media_type: header.string("typ").ok()?.map(str::to_owned),
            claims: base64url::decode(segments.next()?)?,
        })
    }
}

fn is_signed(client: &TestClient, compact: &str) -> bool {
    Jws::read(compact).is_ok_and(|jws| signed_by(&client.keys, &jws))
}

/// Returns whether one of these keys verifies the signature.
pub(super) fn signed_by(keys: &[Value], jws: &Jws<'_>) -> bool {
    keys.iter().any(|jwk| {
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

/// Verifies an HMAC with one of the client's secrets.
fn has_valid_tag(client: &TestClient, compact: &str) -> bool {
    let Some(assertion) = ReadAssertion::read(compact) else {
        return false;
    };
    let algorithms = [
        HmacAlgorithm::Hs256,
        HmacAlgorithm::Hs384,
        HmacAlgorithm::Hs512,
    ];
    let named = |one: &&HmacAlgorithm| one.name() == assertion.algorithm;
    let Some(algorithm) = algorithms.iter().find(named) else {
        return false;
    };
    let Some((message, tag)) = compact.rsplit_once('.') else {
        return false;
    };
    client.secrets.iter().any(|secret| {
        let expected = algorithm.tag(secret.expose().as_bytes(), message.as_bytes());
        base64url::decode(tag).is_some_and(|tag| tag == expected)
    })
}

#[allow(clippy::as_conversions, clippy::cast_precision_loss)]
fn is_in_time(server: &TestServer, claims: &Object<'_>) -> bool {
    let now = server.clock().unix_seconds() as f64;
    let time = |name| claims.member(name).and_then(Json::as_number);
    time("exp").is_some_and(|exp| exp > now && exp <= now + MAX_ASSERTION_LIFETIME)
        && time("iat").is_none_or(|iat| iat <= now)
}
