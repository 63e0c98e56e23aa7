//! Validation of authorization requests, before any page is shown (RFC 6749 §4.1.1, RFC 7636 §4.3,
//! OpenID Connect Core §3.1.2.1).

use super::super::granted_access::GrantedAccess;
use super::super::parameters::RequestParameters;
use super::super::registry::{GrantType, TestClient};
use super::super::server::ServerState;
use super::authorization_response::Recipient;
use crate::crypto::base64url;
use crate::flow::ResponseMode;
use crate::protocol::ScopeSet;

#[derive(Clone, Debug)]
pub(in crate::testing) struct ValidatedRequest {
    pub(super) client_id: String,
    pub(super) redirect_uri: String,
    pub(super) scopes: ScopeSet,
    pub(super) state: Option<String>,
    pub(super) response_mode: ResponseMode,
    pub(super) nonce: Option<String>,
    pub(super) dpop_jkt: Option<String>,
    pub(super) access: GrantedAccess,
    pub(super) challenge: String,
    pub(super) prompt: Prompt,
    /// In seconds.
    pub(super) max_age: Option<i64>,
    pub(super) acr_values: Vec<String>,
    pub(super) login_hint: Option<String>,
    /// The subject of the `id_token_hint`.
    pub(super) expected_subject: Option<String>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(in crate::testing) struct Prompt {
    pub(super) none: bool,
    pub(super) login: bool,
    pub(super) consent: bool,
}

/// Why a request is rejected, and where the error is reported.
pub(super) enum Rejection {
    /// On an error page, because no redirect URI is known to belong to the client.
    ErrorPage(&'static str),
    /// To the client (RFC 6749 §4.1.2.1).
    Redirect { recipient: Recipient, error: Error },
}

/// The error code and description of an authorization response.
pub(super) type Error = (&'static str, &'static str);

impl ValidatedRequest {
    pub(super) fn validate(
        parameters: &RequestParameters,
        state: &ServerState,
    ) -> Result<Self, Rejection> {
        let (client, redirect_uri) =
            check_client(parameters, state).map_err(Rejection::ErrorPage)?;
        let client_state = parameters
            .value("state")
            .filter(|_| !parameters.is_repeated("state"));
        let mode = parameters
            .value("response_mode")
            .map(|name| state.features.response_mode(name));
        let recipient = Recipient {
            client_id: client.id.clone(),
            redirect_uri: redirect_uri.to_owned(),
            state: client_state.map(str::to_owned),
            mode: mode.flatten().unwrap_or_default(),
        };
        let validated = match mode {
            Some(None) => Err(("invalid_request", "response_mode is not supported")),
            _ => Self::validate_rest(parameters, state, client, &recipient),
        };
        validated.map_err(|error| Rejection::Redirect { recipient, error })
    }

    /// Returns where the response goes.
    pub(super) fn recipient(&self) -> Recipient {
        Recipient {
            client_id: self.client_id.clone(),
            redirect_uri: self.redirect_uri.clone(),
            state: self.state.clone(),
            mode: self.response_mode,
        }
    }

    fn validate_rest(
        parameters: &RequestParameters,
        state: &ServerState,
        client: &TestClient,
        recipient: &Recipient,
    ) -> Result<Self, Error> {
        // RFC 6749 §3.1: parameters must not be repeated.
        if parameters.has_repeated() {
            return Err(("invalid_request", "a parameter is repeated"));
        }
        if parameters.value("request").is_some() {
            return Err(("request_not_supported", "request objects are not supported"));
        }
        if parameters.value("request_uri").is_some() {
            return Err((
                "request_uri_not_supported",
                "request objects are not supported",
            ));
        }
        match parameters.value("response_type") {
            Some("code") => {}
            Some(_) => return Err(("unsupported_response_type", "only code is supported")),
            None => return Err(("invalid_request", "response_type is missing")),
        }
        if !client.grants.contains(&GrantType::AuthorizationCode) {
            return Err((
                "unauthorized_client",
                "the client is not allowed to use the authorization code flow",
            ));
        }
        Ok(Self {
            client_id: client.id.clone(),
            redirect_uri: recipient.redirect_uri.clone(),
            scopes: check_scopes(parameters, client)?,
            state: parameters.value("state").map(str::to_owned),
            response_mode: recipient.mode,
            nonce: parameters.value("nonce").map(str::to_owned),
            dpop_jkt: parameters.value("dpop_jkt").map(str::to_owned),
            access: GrantedAccess::of_request(parameters, state, client)?,
            challenge: check_challenge(parameters)?,
            prompt: check_prompt(parameters)?,
            max_age: check_max_age(parameters)?,
            acr_values: words(parameters, "acr_values"),
            login_hint: parameters.value("login_hint").map(str::to_owned),
            expected_subject: check_hint(parameters, state, client)?,
        })
    }
}

/// Checks client and redirect URI. The server never redirects to a URI that is not registered (RFC 6749
/// §3.1.2.4) and compares redirect URIs exactly (RFC 9700 §2.1).
fn check_client<'a>(
    parameters: &'a RequestParameters,
    state: &'a ServerState,
) -> Result<(&'a TestClient, &'a str), &'static str> {
    if parameters.is_repeated("client_id") || parameters.is_repeated("redirect_uri") {
        return Err("The client_id or redirect_uri of the request is repeated.");
    }
    let client = parameters
        .value("client_id")
        .and_then(|id| state.client(id));
    let client = client.ok_or("The client is not registered.")?;
    let uri = parameters
        .value("redirect_uri")
        .ok_or("The request has no redirect_uri.")?;
    if !client
        .redirect_uris
        .iter()
        .any(|registered| registered == uri)
    {
        return Err("The redirect_uri is not registered for this client.");
    }
    Ok((client, uri))
}

fn check_scopes(parameters: &RequestParameters, client: &TestClient) -> Result<ScopeSet, Error> {
    let scopes = parameters
        .value("scope")
        .ok_or(("invalid_scope", "scope is missing"))?;
    let scopes = ScopeSet::parse(scopes).map_err(|_| ("invalid_scope", "scope is malformed"))?;
    if !client.scopes.contains_all(&scopes) {
        return Err(("invalid_scope", "a scope is not registered for this client"));
    }
    Ok(scopes)
}

/// Requires PKCE with S256 (RFC 9700 §2.1.1).
fn check_challenge(parameters: &RequestParameters) -> Result<String, Error> {
    let challenge = parameters.value("code_challenge");
    let challenge = challenge.ok_or(("invalid_request", "code_challenge is missing"))?;
    if parameters.value("code_challenge_method") != Some("S256") {
        return Err(("invalid_request", "code_challenge_method must be S256"));
    }
    if base64url::decode(challenge).is_none_or(|digest| digest.len() != 32) {
        return Err((
            "invalid_request",
            "code_challenge is not a base64url SHA-256 digest",
        ));
    }
    Ok(challenge.to_owned())
}

fn check_prompt(parameters: &RequestParameters) -> Result<Prompt, Error> {
    let mut prompt = Prompt::default();
    for value in parameters.value("prompt").unwrap_or_default().split(' ') {
        match value {
            "" => {}
            "none" => prompt.none = true,
            "login" => prompt.login = true,
            "consent" => prompt.consent = true,
            _ => {
                return Err(("invalid_request", "unsupported prompt value"));
            }
        }
    }
    if prompt.none && (prompt.login || prompt.consent) {
        return Err((
            "invalid_request",
            "prompt=none cannot be combined with other values",
        ));
    }
    Ok(prompt)
}

fn words(parameters: &RequestParameters, name: &str) -> Vec<String> {
    let text = parameters.value(name).unwrap_or_default();
    text.split_whitespace().map(str::to_owned).collect()
}

fn check_max_age(parameters: &RequestParameters) -> Result<Option<i64>, Error> {
    let Some(text) = parameters.value("max_age") else {
        return Ok(None);
    };
    let seconds = text
        .parse::<u32>()
        .map_err(|_| ("invalid_request", "max_age is not a number"))?;
    Ok(Some(seconds.into()))
}

fn check_hint(
    parameters: &RequestParameters,
    state: &ServerState,
    client: &TestClient,
) -> Result<Option<String>, Error> {
    let Some(hint) = parameters.value("id_token_hint") else {
        return Ok(None);
    };
    match state.grants.id_token(hint) {
        Some((client_id, sign_in)) if *client_id == client.id => Ok(Some(sign_in.subject.clone())),
        _ => Err((
            "invalid_request",
            "id_token_hint was not issued to this client",
        )),
    }
}
