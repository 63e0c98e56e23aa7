//! The token endpoint (RFC 6749 §3.2): three grants, one way out.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use serde_json::{Value, json};

use super::super::fault::Kind;
use super::super::grants::{Grant, GrantId};
use super::super::mint::TokenMint;
use super::super::parameters::Parameters;
use super::super::registry::{self, TestClient};
use super::super::respond::{oauth_error, private_json};
use super::super::server::{State, TestServer};
use super::client_authentication::authenticate;
use crate::clock::Clock as _;
use crate::crypto::{Algorithm, base64url, digest};
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
        Some("refresh_token") => by_refresh_token(state, &client, &form),
        Some("client_credentials") => by_client_credentials(state, &client, &form),
        Some(_) => Err(("unsupported_grant_type", "this grant type is not supported")),
        None => Err(("invalid_request", "grant_type is missing")),
    };
    match result {
        Ok((grant, scopes)) => issue(server, state, &client, grant, &scopes, faults),
        Err(error) => refuse(error),
    }
}

fn by_code(
    server: &TestServer,
    state: &mut State,
    client: &TestClient,
    form: &Parameters,
) -> Result<(GrantId, ScopeSet), Error> {
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
    Ok((id, grant.scopes.clone()))
}

fn by_refresh_token(
    state: &mut State,
    client: &TestClient,
    form: &Parameters,
) -> Result<(GrantId, ScopeSet), Error> {
    check_grant_type(client, registry::Grant::RefreshToken)?;
    let token = form.value("refresh_token");
    let token = token.ok_or(("invalid_request", "refresh_token is missing"))?;
    let id = state
        .grants
        .check_refresh_token(token, &client.id)
        .map_err(|_| BAD_GRANT)?;
    let granted = state.grants.grant(id).ok_or(BAD_GRANT)?.scopes.clone();
    // RFC 6749 §6: fewer scopes may be asked for, never more.
    let scopes = narrowed(form, &granted)?;
    state.grants.use_up_refresh_token(token);
    Ok((id, scopes))
}

fn by_client_credentials(
    state: &mut State,
    client: &TestClient,
    form: &Parameters,
) -> Result<(GrantId, ScopeSet), Error> {
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
    Ok((state.grants.add(grant), scopes))
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

/// The token response (RFC 6749 §5.1), with an ID token where somebody signed in by `openid`.
fn issue(
    server: &TestServer,
    state: &mut State,
    client: &TestClient,
    id: GrantId,
    scopes: &ScopeSet,
    faults: &[Kind],
) -> Response<Bytes> {
    let Some(grant) = state.grants.grant(id).cloned() else {
        return oauth_error(StatusCode::BAD_REQUEST, BAD_GRANT.0, BAD_GRANT.1);
    };
    let lifetime = i64::try_from(client.access_token_lifetime.as_secs()).unwrap_or(i64::MAX);
    let mint = faults.iter().fold(
        access_token(server, client, &grant, scopes, lifetime),
        |mint, fault| match fault {
            Kind::AccessToken(alter) => alter.apply(mint),
            _ => mint,
        },
    );
    let access_token = mint.sign();
    mint.register(&access_token);
    let expires_at = server
        .clock()
        .monotonic()
        .saturating_add(client.access_token_lifetime);
    state
        .grants
        .add_access_token(&access_token, id, scopes.clone(), expires_at);

    let mut response = json!({
        "access_token": access_token,
        "token_type": "Bearer",
        "expires_in": lifetime,
        "scope": scopes.to_string(),
    });
    let Some(sign_in) = &grant.sign_in else {
        return private_json(StatusCode::OK, &response);
    };
    if client.grants.contains(&registry::Grant::RefreshToken) {
        response["refresh_token"] = state.grants.issue_refresh_token(id).into();
    }
    if scopes.contains("openid") {
        let mint = id_token(server, &grant, &access_token);
        let mint = faults.iter().fold(mint, |mint, fault| match fault {
            Kind::IdToken(alter) => alter.apply(mint),
            _ => mint,
        });
        let id_token = mint.sign();
        state.grants.add_id_token(&id_token, &client.id, sign_in);
        response["id_token"] = id_token.into();
    }
    private_json(StatusCode::OK, &response)
}

/// RFC 9068 §2.2; where a client acts for itself, it is the subject.
fn access_token(
    server: &TestServer,
    client: &TestClient,
    grant: &Grant,
    scopes: &ScopeSet,
    lifetime: i64,
) -> TokenMint {
    let mint = server
        .access_token()
        .with_client(&client.id)
        .with_audience(
            client
                .audience
                .as_deref()
                .unwrap_or_else(|| server.issuer()),
        )
        .with_expires_in(lifetime);
    let mint = match &grant.sign_in {
        Some(sign_in) => mint
            .with_subject(&sign_in.subject)
            .with_claim("auth_time", sign_in.at),
        None => mint.with_subject(&client.id),
    };
    if scopes.is_empty() {
        mint
    } else {
        mint.with_scope(&scopes.to_string())
    }
}

/// OpenID Connect Core §2 and §3.1.3.6.
fn id_token(server: &TestServer, grant: &Grant, access_token: &str) -> TokenMint {
    let mut mint = server.id_token(&grant.client_id);
    if let Some(sign_in) = &grant.sign_in {
        mint = mint
            .with_subject(&sign_in.subject)
            .with_claim("auth_time", sign_in.at)
            .with_claim("sid", sign_in.sid.as_str());
    }
    if let Some(nonce) = &grant.nonce {
        mint = mint.with_claim("nonce", nonce.as_str());
    }
    let algorithm = mint.algorithm();
    mint.with_claim("at_hash", Value::from(left_half(algorithm, access_token)))
}

/// The left half of the digest that the algorithm of the ID token uses.
fn left_half(algorithm: Option<Algorithm>, access_token: &str) -> String {
    let text = access_token.as_bytes();
    match algorithm {
        Some(Algorithm::Rs384 | Algorithm::Ps384 | Algorithm::Es384) => {
            base64url::encode(&digest::sha384(text)[..24])
        }
        Some(Algorithm::Rs512 | Algorithm::Ps512 | Algorithm::EdDsa) => {
            base64url::encode(&digest::sha512(text)[..32])
        }
        _ => base64url::encode(&digest::sha256(text)[..16]),
    }
}
