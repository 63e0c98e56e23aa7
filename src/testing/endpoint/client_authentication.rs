//! Who sends a token request (RFC 6749 §2.3, §3.2.1).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, Response, StatusCode};

use super::super::parameters::Parameters;
use super::super::registry::{ClientAuthentication, TestClient};
use super::super::respond::{oauth_error, with_header};
use super::super::server::{State, TestServer};
use super::client_assertion;
use crate::protocol::ClientSecret;

/// The client, where it proved to be the one it says, in the one way it was registered for.
pub(super) fn authenticate(
    server: &TestServer,
    state: &mut State,
    headers: &HeaderMap,
    form: &Parameters,
) -> Result<TestClient, Box<Response<Bytes>>> {
    let by_header = headers.contains_key(AUTHORIZATION);
    let posted = form.value("client_secret").map(ClientSecret::new);
    let assertion = form.value("client_assertion");
    if [by_header, posted.is_some(), assertion.is_some()]
        .into_iter()
        .filter(|way| *way)
        .count()
        > 1
    {
        // RFC 6749 §2.3: one way a request.
        return Err(refusal_of_request("the client authenticates in two ways"));
    }
    if let Some(assertion) = assertion {
        return client_assertion::check(server, state, form, assertion).ok_or_else(refusal);
    }
    let (id, secret) = if by_header {
        let (id, secret) = basic(headers).ok_or_else(refusal)?;
        if form.value("client_id").is_some_and(|other| other != id) {
            return Err(refusal_of_request(
                "client_id is not the one that authenticates",
            ));
        }
        (id, Some(secret))
    } else {
        let id = form.value("client_id").ok_or_else(refusal)?;
        (id.to_owned(), posted)
    };
    let client = state.client(&id).ok_or_else(refusal)?;
    let way = match client.authentication {
        ClientAuthentication::BasicOrPost => true,
        ClientAuthentication::Basic => by_header,
        ClientAuthentication::Post => !by_header,
        ClientAuthentication::PrivateKeyJwt => false,
        // No secret is on record, so none may come; the certificate is not looked at.
        ClientAuthentication::MutualTls => true,
    };
    // Without a secret on record none may be sent either: somebody takes the client for another.
    let proved = match (&client.secret, &secret) {
        (Some(expected), Some(secret)) => way && expected == secret,
        (None, None) => way || client.is_public(),
        _ => false,
    };
    let client = client.clone();
    proved.then_some(client).ok_or_else(refusal)
}

/// Both halves are form-encoded before they are joined (RFC 6749 §2.3.1).
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

/// A 401 names a scheme, whichever way was tried (RFC 6749 §5.2, RFC 9110 §15.5.2).
pub(super) fn refusal() -> Box<Response<Bytes>> {
    let description = "the client is unknown or did not prove who it is";
    let response = oauth_error(StatusCode::UNAUTHORIZED, "invalid_client", description);
    Box::new(with_header(
        response,
        WWW_AUTHENTICATE,
        "Basic realm=\"token endpoint\"",
    ))
}

fn refusal_of_request(description: &str) -> Box<Response<Bytes>> {
    Box::new(oauth_error(
        StatusCode::BAD_REQUEST,
        "invalid_request",
        description,
    ))
}
