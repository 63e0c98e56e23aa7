//! The token endpoint (RFC 6749 §3.2): three grants, one way out.

use bytes::Bytes;
use http::{Request, Response, StatusCode};

use super::super::fault::Kind;
use super::super::grants::Grant;
use super::super::parameters::Parameters;
use super::super::registry::{self, TestClient};
use super::super::respond::oauth_error;
use super::super::server::{State, TestServer};
use super::client_authentication::authenticate;
use super::tokens::{Granted, issue};
use crate::clock::Clock as _;
use crate::protocol::ScopeSet;

/// An error code of RFC 6749 §5.2 and its description.
type Error = (&'static str, &'static str);

const BAD_GRANT: Error = (
    "invalid_grant",
    "the grant is unknown, expired, used or of another client",
);

pub(super) fn answer(
    server: &TestServer,
    request: &Request<Bytes>,
    faults: &[Kind],
) -> Response<Bytes> {
    let refuse = |(code, text): Error| oauth_error(StatusCode::BAD_REQUEST, code, text);
    let Some(form) = Parameters::of_form(request) else {
        return refuse(("invalid_request", "the request is not a form"));
    };
    if form.has_repeated() {
        return refuse(("invalid_request", "a parameter was sent twice"));
    }
    let state = &mut *server.state();
    let client = match authenticate(server, state, request.headers(), &form) {
        Ok(client) => client,
        Err(response) => return *response,
    };
    let result = match form.value("grant_type") {
        Some("authorization_code") => by_code(server, state, &client, &form),
        Some("refresh_token") => by_refresh_token(server, state, &client, &form),
        Some("client_credentials") => by_client_credentials(state, &client, &form),
        Some(_) => Err(("unsupported_grant_type", "this grant type is not supported")),
        None => Err(("invalid_request", "grant_type is missing")),
    };
    match result {
        Ok(granted) => {
            issue(server, state, &client, &granted, faults).unwrap_or_else(|| refuse(BAD_GRANT))
        }
        Err(error) => refuse(error),
    }
}

fn by_code(
    server: &TestServer,
    state: &mut State,
    client: &TestClient,
    form: &Parameters,
) -> Result<Granted, Error> {
    check_grant_type(client, registry::Grant::AuthorizationCode)?;
    let required = |name| {
        form.value(name)
            .ok_or(("invalid_request", "a parameter is missing"))
    };
    let (code, redirect_uri) = (required("code")?, required("redirect_uri")?);
    let verifier = required("code_verifier")?;
    let now = server.clock().monotonic();
    let id = state
        .grants
        .redeem_code(code, &client.id, redirect_uri, verifier, now)
        .map_err(|_| BAD_GRANT)?;
    let grant = state.grants.grant(id).ok_or(BAD_GRANT)?;
    Ok(Granted {
        id,
        scopes: grant.scopes.clone(),
        refreshes: false,
    })
}

fn by_refresh_token(
    server: &TestServer,
    state: &mut State,
    client: &TestClient,
    form: &Parameters,
) -> Result<Granted, Error> {
    check_grant_type(client, registry::Grant::RefreshToken)?;
    let token = form.value("refresh_token");
    let token = token.ok_or(("invalid_request", "refresh_token is missing"))?;
    let now = server.clock().monotonic();
    let id = state
        .grants
        .check_refresh_token(token, &client.id, now)
        .map_err(|_| BAD_GRANT)?;
    let granted = state.grants.grant(id).ok_or(BAD_GRANT)?.scopes.clone();
    // RFC 6749 §6: fewer scopes may be asked for, never more.
    let mut scopes = narrowed(form, &granted)?;
    if let Some(left) = &client.refresh.scopes {
        scopes = ScopeSet::from_values(scopes.iter().filter(|scope| left.contains(scope)));
    }
    if client.refresh.rotates {
        state.grants.use_up_refresh_token(token);
    }
    Ok(Granted {
        id,
        scopes,
        refreshes: true,
    })
}

fn by_client_credentials(
    state: &mut State,
    client: &TestClient,
    form: &Parameters,
) -> Result<Granted, Error> {
    check_grant_type(client, registry::Grant::ClientCredentials)?;
    // RFC 6749 §4.4: for confidential clients only.
    if client.is_public() {
        return Err((
            "unauthorized_client",
            "a public client may not use this grant type",
        ));
    }
    let scopes = narrowed(form, &client.scopes)?;
    // Nobody signed in, so there is nobody to tell about.
    if scopes.contains("openid") {
        return Err(("invalid_scope", "openid needs somebody who signs in"));
    }
    let grant = Grant {
        client_id: client.id.clone(),
        sign_in: None,
        scopes: scopes.clone(),
        nonce: None,
    };
    Ok(Granted {
        id: state.grants.add(grant),
        scopes,
        refreshes: false,
    })
}

fn check_grant_type(client: &TestClient, grant: registry::Grant) -> Result<(), Error> {
    let allowed = client.grants.contains(&grant);
    allowed.then_some(()).ok_or((
        "unauthorized_client",
        "the client may not use this grant type",
    ))
}

/// The scopes of the request, all that are allowed where it names none.
fn narrowed(form: &Parameters, allowed: &ScopeSet) -> Result<ScopeSet, Error> {
    let Some(scope) = form.value("scope") else {
        return Ok(allowed.clone());
    };
    let asked = ScopeSet::parse(scope).map_err(|_| ("invalid_scope", "scope is malformed"))?;
    let allowed = allowed.contains_all(&asked);
    allowed
        .then_some(asked)
        .ok_or(("invalid_scope", "a scope is not allowed here"))
}
