//! Client authentication (RFC 6749 §2.3, §3.2.1).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, Response, StatusCode};
use serde_json::Value;

use super::super::parameters::RequestParameters;
use super::super::registry::{ClientAuthentication, TestClient};
use super::super::respond::{oauth_error, with_header};
use super::super::server::{ServerState, TestServer};
use crate::crypto::{Jwk, Jws, same_media_type};
use crate::protocol::ClientSecret;
use crate::protocol::json::{Json, Object, parse_object};

/// Authenticates the client with its registered method.
pub(super) fn authenticate(
    server: &TestServer,
    state: &mut ServerState,
    headers: &HeaderMap,
    form: &RequestParameters,
) -> Result<TestClient, Box<Response<Bytes>>> {
    let by_header = headers.contains_key(AUTHORIZATION);
    let posted = form.value("client_secret").map(ClientSecret::new);
    let assertion = form.value("client_assertion");
    if [by_header, posted.is_some(), assertion.is_some()]
        .into_iter()
        .filter(|used| *used)
        .count()
        > 1
    {
        // RFC 6749 §2.3: one authentication method per request.
        return Err(invalid_request(
            "the client used two authentication methods",
        ));
    }
    if let Some(assertion) = assertion {
        return verify_assertion(server, state, form, assertion).ok_or_else(invalid_client);
    }
    let (id, secret) = if by_header {
        let (id, secret) = basic(headers).ok_or_else(invalid_client)?;
        if form.value("client_id").is_some_and(|other| other != id) {
            return Err(invalid_request(
                "client_id differs from the authenticated client",
            ));
        }
        (id, Some(secret))
    } else {
        let id = form.value("client_id").ok_or_else(invalid_client)?;
        (id.to_owned(), posted)
    };
    let client = state.client(&id).ok_or_else(invalid_client)?;
    let method_matches = match client.authentication {
        ClientAuthentication::BasicOrPost => true,
        ClientAuthentication::Basic => by_header,
        ClientAuthentication::Post => !by_header,
        ClientAuthentication::PrivateKeyJwt => false,
        // The in-process server receives no certificate.
        ClientAuthentication::MutualTls => true,
    };
    // A client without a registered secret must not send one: the request mixes up two clients.
    let authenticated = match (&client.secret, &secret) {
        (Some(expected), Some(secret)) => method_matches && expected == secret,
        (None, None) => method_matches || client.is_public(),
        _ => false,
    };
    let client = client.clone();
    authenticated.then_some(client).ok_or_else(invalid_client)
}

/// Parses `client_secret_basic`: id and secret are form-encoded before they are joined (RFC 6749
/// §2.3.1).
fn basic(headers: &HeaderMap) -> Option<(String, ClientSecret)> {
    let mut fields = headers.get_all(AUTHORIZATION).iter();
    let field = fields.next()?.to_str().ok()?;
    if fields.next().is_some() {
        return None;
    }
    let (scheme, credentials) = field.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let credentials = String::from_utf8(STANDARD.decode(credentials.trim()).ok()?).ok()?;
    let (id, secret) = credentials.split_once(':')?;
    Some((form_decoded(id)?, ClientSecret::new(form_decoded(secret)?)))
}

fn form_decoded(text: &str) -> Option<String> {
    if text.contains(['&', '=']) {
        return None;
    }
    let mut pairs = url::form_urlencoded::parse(text.as_bytes());
    Some(
        pairs
            .next()
            .map(|(name, _)| name.into_owned())
            .unwrap_or_default(),
    )
}

/// Returns `invalid_client` with 401, which requires `WWW-Authenticate` (RFC 6749 §5.2, RFC 9110
/// §15.5.2).
pub(super) fn invalid_client() -> Box<Response<Bytes>> {
    let description = "client authentication failed";
    let response = oauth_error(StatusCode::UNAUTHORIZED, "invalid_client", description);
    Box::new(with_header(
        response,
        WWW_AUTHENTICATE,
        "Basic realm=\"token endpoint\"",
    ))
}

fn invalid_request(description: &str) -> Box<Response<Bytes>> {
    Box::new(oauth_error(
        StatusCode::BAD_REQUEST,
        "invalid_request",
        description,
    ))
}

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The longest accepted lifetime of an assertion, in seconds.
const MAX_ASSERTION_LIFETIME: f64 = 300.0;

/// Returns the client if the assertion is valid and has not been used before.
fn verify_assertion(
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
    if !(type_matches && id_matches && registered && signed_by(&client.keys, &jws)) {
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

#[allow(clippy::as_conversions, clippy::cast_precision_loss)]
fn is_unexpired(server: &TestServer, claims: &Object<'_>) -> bool {
    let now = server.clock().unix_seconds() as f64;
    let time = |name| claims.member(name).and_then(Json::as_number);
    time("exp").is_some_and(|exp| exp > now && exp <= now + MAX_ASSERTION_LIFETIME)
        && time("iat").is_none_or(|iat| iat <= now)
}
