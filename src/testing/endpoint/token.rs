//! The token endpoint (RFC 6749 §3.2).

use bytes::Bytes;
use http::{Request, Response, StatusCode};

use super::super::fapi2;
use super::super::fault::Kind;
use super::super::granted_access::GrantedAccess;
use super::super::grants::IssuedGrant;
use super::super::parameters::RequestParameters;
use super::super::registry::{GrantType, TestClient};
use super::super::respond::oauth_error;
use super::super::server::{ServerState, TestServer};
use super::client_authentication::authenticate;
use super::proof;
use super::tokens::{GrantedRequest, issue};
use crate::clock::Clock as _;
use crate::protocol::ScopeSet;

/// The error code (RFC 6749 §5.2) and its description.
type Error = (&'static str, &'static str);

const INVALID_GRANT: Error = (
    "invalid_grant",
    "the grant is invalid, expired, revoked or was issued to another client",
);

pub(super) fn handle(
    server: &TestServer,
    request: &Request<Bytes>,
    faults: &[Kind],
) -> Response<Bytes> {
    let reject = |(code, text): Error| oauth_error(StatusCode::BAD_REQUEST, code, text);
    let Some(form) = RequestParameters::of_form(request) else {
        return reject(("invalid_request", "the request is not a form"));
    };
    if form.has_repeated() {
        return reject(("invalid_request", "a parameter is repeated"));
    }
    let state = &mut *server.state();
    let client = match authenticate(server, state, request.headers(), &form) {
        Ok(client) => client,
        Err(response) => return *response,
    };
    let proven = match proof::of_token_request(server, state, request) {
        Ok(proven) => proven,
        Err(response) => return *response,
    };
    let thumbprint = proven.thumbprint.as_deref();
    // RFC 9449 §5.2: `dpop_bound_access_tokens`.
    let needs_proof = client.requires_dpop || state.fapi2 && fapi2::requires_proof(&client);
    if needs_proof && thumbprint.is_none() {
        return reject(("invalid_dpop_proof", "the client must send a DPoP proof"));
    }
    let result = match form.value("grant_type") {
        Some("authorization_code") => redeem_code(server, state, &client, &form, thumbprint),
        Some("refresh_token") => refresh(server, state, &client, &form, thumbprint),
        Some("client_credentials") => client_credentials(state, &client, &form),
        Some(_) => Err(("unsupported_grant_type", "this grant type is not supported")),
        None => Err(("invalid_request", "grant_type is missing")),
    };
    let response = match result {
        Ok(granted) => issue(server, state, &client, &granted, thumbprint, faults)
            .unwrap_or_else(|| reject(INVALID_GRANT)),
        Err(error) => reject(error),
    };
    proven.with_nonce(response)
}

fn redeem_code(
    server: &TestServer,
    state: &mut ServerState,
    client: &TestClient,
    form: &RequestParameters,
    thumbprint: Option<&str>,
) -> Result<GrantedRequest, Error> {
    check_grant_type(client, GrantType::AuthorizationCode)?;
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
        .map_err(|_| INVALID_GRANT)?;
    let grant = state.grants.grant(id).ok_or(INVALID_GRANT)?;
    // RFC 9449 §10: the code is bound to the key that the authorization request names.
    if grant.dpop_jkt.is_some() && grant.dpop_jkt.as_deref() != thumbprint {
        return Err(INVALID_GRANT);
    }
    let (scopes, audience) = (grant.scopes.clone(), grant.access.audience(form)?);
    // RFC 9449 §5: refresh tokens of public clients are bound to the key.
    if client.is_public() {
        state.grants.bind(id, thumbprint);
    }
    Ok(GrantedRequest {
        id,
        scopes,
        audience,
        is_refresh: false,
    })
}

fn refresh(
    server: &TestServer,
    state: &mut ServerState,
    client: &TestClient,
    form: &RequestParameters,
    thumbprint: Option<&str>,
) -> Result<GrantedRequest, Error> {
    check_grant_type(client, GrantType::RefreshToken)?;
    let token = form.value("refresh_token");
    let token = token.ok_or(("invalid_request", "refresh_token is missing"))?;
    let now = server.clock().monotonic();
    let id = state
        .grants
        .check_refresh_token(token, &client.id, now)
        .map_err(|_| INVALID_GRANT)?;
    let grant = state.grants.grant(id).ok_or(INVALID_GRANT)?;
    if grant.bound_key.is_some() && grant.bound_key.as_deref() != thumbprint {
        return Err(INVALID_GRANT);
    }
    let (granted, audience) = (grant.scopes.clone(), grant.access.audience(form)?);
    // RFC 6749 §6: a refresh can reduce the scopes, not extend them.
    let mut scopes = requested_scopes(form, &granted)?;
    if let Some(allowed) = &client.refresh.scopes {
        scopes = ScopeSet::from_values(scopes.iter().filter(|scope| allowed.contains(scope)));
    }
    if client.refresh.rotates {
        state.grants.consume_refresh_token(token);
    }
    Ok(GrantedRequest {
        id,
        scopes,
        audience,
        is_refresh: true,
    })
}

fn client_credentials(
    state: &mut ServerState,
    client: &TestClient,
    form: &RequestParameters,
) -> Result<GrantedRequest, Error> {
    check_grant_type(client, GrantType::ClientCredentials)?;
    // RFC 6749 §4.4: confidential clients only.
    if client.is_public() {
        return Err((
            "unauthorized_client",
            "public clients are not allowed to use this grant type",
        ));
    }
    let scopes = requested_scopes(form, &client.scopes)?;
    // This grant has no user, so there is no ID token.
    if scopes.contains("openid") {
        return Err(("invalid_scope", "openid is not allowed without a user"));
    }
    let grant = IssuedGrant {
        client_id: client.id.clone(),
        sign_in: None,
        scopes: scopes.clone(),
        nonce: None,
        dpop_jkt: None,
        bound_key: None,
        access: GrantedAccess::of_request(form, state, client)?,
    };
    let audience = grant.access.audience(form)?;
    Ok(GrantedRequest {
        id: state.grants.add(grant),
        scopes,
        audience,
        is_refresh: false,
    })
}

fn check_grant_type(client: &TestClient, grant: GrantType) -> Result<(), Error> {
    let allowed = client.grants.contains(&grant);
    allowed.then_some(()).ok_or((
        "unauthorized_client",
        "the client is not allowed to use this grant type",
    ))
}

/// Returns the requested scopes, or all allowed scopes if the request has none.
fn requested_scopes(form: &RequestParameters, allowed: &ScopeSet) -> Result<ScopeSet, Error> {
    let Some(scope) = form.value("scope") else {
        return Ok(allowed.clone());
    };
    let requested = ScopeSet::parse(scope).map_err(|_| ("invalid_scope", "scope is malformed"))?;
    let allowed = allowed.contains_all(&requested);
    allowed
        .then_some(requested)
        .ok_or(("invalid_scope", "a scope is not allowed"))
}
