//! Client authentication (RFC 6749 §2.3, §3.2.1).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, Response, StatusCode};

use super::super::fapi2;
use super::super::parameters::RequestParameters;
use super::super::registry::{ClientAuthentication, TestClient};
use super::super::respond::{oauth_error, with_header};
use super::super::server::{ServerState, TestServer};
use super::client_assertion::verify_assertion;
use crate::protocol::ClientSecret;

/// Authenticates the client with its registered method, which must be one that the server accepts.
pub(super) fn authenticate(
    server: &TestServer,
    state: &mut ServerState,
    headers: &HeaderMap,
    form: &RequestParameters,
) -> Result<TestClient, Box<Response<Bytes>>> {
    let client = authenticate_registered(server, state, headers, form)?;
    if state.fapi2 {
        fapi2::check_client(&client)?;
    }
    Ok(client)
}

fn authenticate_registered(
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
        ClientAuthentication::PrivateKeyJwt
        | ClientAuthentication::ClientSecretJwt
        | ClientAuthentication::FederatedAssertion => false,
        // The in-process server receives no certificate.
        ClientAuthentication::MutualTls => true,
    };
    // A client without a registered secret must not send one: the request mixes up two clients.
    let authenticated = match &secret {
        Some(secret) => method_matches && client.secrets.contains(secret),
        None => client.secrets.is_empty() && (method_matches || client.is_public()),
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
