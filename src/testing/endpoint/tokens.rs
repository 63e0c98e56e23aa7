//! The token response (RFC 6749 §5.1) and its tokens.

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::super::browser_sessions::SignIn;
use super::super::fault::Kind;
use super::super::grants::{GrantId, IssuedGrant};
use super::super::mint::TokenMint;
use super::super::refresh::RefreshedIdToken;
use super::super::registry::{GrantType, TestClient};
use super::super::respond::private_json;
use super::super::server::{ServerState, TestServer};
use crate::clock::Clock as _;
use crate::crypto::{Algorithm, base64url, digest};
use crate::protocol::ScopeSet;

/// A token request that was granted.
pub(super) struct GrantedRequest {
    pub(super) id: GrantId,
    pub(super) scopes: ScopeSet,
    /// The resources of the access token; empty for the audience of the client.
    pub(super) audience: Vec<String>,
    /// Whether this is a refresh.
    pub(super) is_refresh: bool,
}

/// Issues tokens and returns the token response, with an ID token if the scopes include `openid`.
/// `None` if the grant was revoked. The access token is bound to the key with this thumbprint (RFC 9449 §6).
pub(super) fn issue(
    server: &TestServer,
    state: &mut ServerState,
    client: &TestClient,
    granted: &GrantedRequest,
    thumbprint: Option<&str>,
    faults: &[Kind],
) -> Option<Response<Bytes>> {
    let grant = state.grants.grant(granted.id)?.clone();
    let scopes = &granted.scopes;
    let now = server.clock().monotonic();
    let lifetime = i64::try_from(client.access_token_lifetime.as_secs()).unwrap_or(i64::MAX);
    let user = grant.sign_in.as_ref();
    let user = user
        .and_then(|sign_in| state.user(&sign_in.subject))
        .cloned();
    let mint = access_token(server, client, &grant, scopes, lifetime);
    let mint = match granted.audience.as_slice() {
        [] => mint,
        [one] => mint.with_audience(one.as_str()),
        many => mint.with_audience(many),
    };
    let details = grant.access.authorization_details();
    let mint = match details {
        Some(details) => mint.with_authorization_details(details.clone()),
        None => mint,
    };
    let mint = match thumbprint {
        Some(thumbprint) => mint.with_claim("cnf", json!({ "jkt": thumbprint })),
        None => mint,
    };
    let added = user.iter().flat_map(|user| &user.access_token_claims);
    let mint = added.fold(mint, |mint, (name, value)| {
        mint.with_claim(name, value.clone())
    });
    let mint = faults.iter().fold(mint, |mint, fault| match fault {
        Kind::AccessToken(alter) => alter.apply(mint),
        _ => mint,
    });
    let access_token = mint.sign();
    mint.register(&access_token);
    let expires_at = now.saturating_add(client.access_token_lifetime);
    state
        .grants
        .add_access_token(&access_token, granted.id, scopes.clone(), expires_at);
    state.grants.bind_access_token(&access_token, thumbprint);
    let token_type = match thumbprint {
        Some(_) => "DPoP",
        None => "Bearer",
    };

    let mut response = json!({
        "access_token": access_token,
        "token_type": token_type,
        "expires_in": lifetime,
        "scope": scopes.to_string(),
    });
    if let Some(details) = details {
        response["authorization_details"] = details.clone();
    }
    let Some(sign_in) = &grant.sign_in else {
        return Some(private_json(StatusCode::OK, &response));
    };
    let may_refresh = client.grants.contains(&GrantType::RefreshToken);
    if may_refresh && (client.refresh.rotates || !granted.is_refresh) {
        let lifetime = client.refresh.lifetime;
        let expires_at = lifetime.map(|lifetime| now.saturating_add(lifetime));
        let token = state.grants.issue_refresh_token(granted.id, expires_at);
        response["refresh_token"] = token.into();
        if let Some(lifetime) = lifetime {
            response["refresh_expires_in"] = lifetime.as_secs().into();
        }
    }
    let has_id_token = !granted.is_refresh || client.refresh.id_token != RefreshedIdToken::Absent;
    if has_id_token && scopes.contains("openid") {
        let with_nonce =
            !granted.is_refresh || client.refresh.id_token == RefreshedIdToken::WithNonce;
        let mint = id_token(server, &grant, with_nonce, &access_token);
        let granted = user
            .iter()
            .filter(|_| client.has_claims_in_id_token)
            .flat_map(|user| user.granted_claims(scopes, false));
        let requested = user
            .iter()
            .flat_map(|user| grant.access.claims("id_token", user));
        let added = user.iter().flat_map(|user| &user.id_token_claims);
        let mint = granted
            .chain(requested)
            .chain(added)
            .fold(mint, |mint, (name, value)| {
                mint.with_claim(name, value.clone())
            });
        let mint = faults.iter().fold(mint, |mint, fault| match fault {
            Kind::IdToken(alter) => alter.apply(mint),
            _ => mint,
        });
        let id_token = mint.sign();
        state.grants.add_id_token(&id_token, &client.id, sign_in);
        response["id_token"] = id_token.into();
    }
    Some(private_json(StatusCode::OK, &response))
}

/// Creates an access token (RFC 9068 §2.2). Without a user, the subject is the client.
fn access_token(
    server: &TestServer,
    client: &TestClient,
    grant: &IssuedGrant,
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
        Some(sign_in) => with_acr(mint, sign_in)
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

fn with_acr(mint: TokenMint, sign_in: &SignIn) -> TokenMint {
    match &sign_in.acr {
        Some(acr) => mint.with_claim("acr", acr.as_str()),
        None => mint,
    }
}

/// Creates an ID token (OpenID Connect Core §2, §3.1.3.6).
fn id_token(
    server: &TestServer,
    grant: &IssuedGrant,
    with_nonce: bool,
    access_token: &str,
) -> TokenMint {
    let mut mint = server.id_token(&grant.client_id);
    if let Some(sign_in) = &grant.sign_in {
        mint = with_acr(mint, sign_in)
            .with_subject(&sign_in.subject)
            .with_claim("auth_time", sign_in.at)
            .with_claim("sid", sign_in.sid.as_str());
    }
    if let Some(nonce) = grant.nonce.as_ref().filter(|_| with_nonce) {
        mint = mint.with_claim("nonce", nonce.as_str());
    }
    let algorithm = mint.algorithm();
    mint.with_claim(
        "at_hash",
        Value::from(access_token_hash(algorithm, access_token)),
    )
}

/// Returns `at_hash`: the left half of the digest that belongs to the ID token's algorithm.
fn access_token_hash(algorithm: Option<Algorithm>, access_token: &str) -> String {
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
