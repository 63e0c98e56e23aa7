//! The authorization endpoint (RFC 6749 §4.1): shows a page or redirects to the client.

use bytes::Bytes;
use http::{Request, Response, StatusCode};

use super::super::browser_sessions::{Interaction, PendingInteraction, SignIn};
use super::super::grants::IssuedGrant;
use super::super::parameters::RequestParameters;
use super::super::respond::with_cookie;
use super::super::server::{ServerState, TestServer};
use super::authorization_response::{Recipient, respond};
use super::request::{Error, Rejection, ValidatedRequest};
use super::{pages, request_object};
use crate::clock::Clock as _;
use crate::crypto::{base64url, digest};

/// The next step of an authorization request.
pub(super) enum Step {
    SignIn,
    Consent,
    /// Issue a code for this sign-in.
    Grant(SignIn),
    Reject(Error),
}

pub(super) fn handle(server: &TestServer, request: &Request<Bytes>) -> Response<Bytes> {
    let Some(parameters) = RequestParameters::of_request(request) else {
        return pages::error(StatusCode::BAD_REQUEST, "The request is not a valid form.");
    };
    let state = &mut *server.state();
    let parameters = match request_object::resolve_browser_request(server, state, parameters) {
        Ok(parameters) => parameters,
        Err(reason) => return pages::error(StatusCode::BAD_REQUEST, reason),
    };
    let validated = ValidatedRequest::validate(&parameters, state);
    let browser = state.sessions.browser(&server.cookie_name(), request);
    let interaction = match validated {
        Ok(request) => Interaction {
            request,
            signed_in: false,
        },
        Err(Rejection::ErrorPage(reason)) => return pages::error(StatusCode::BAD_REQUEST, reason),
        Err(Rejection::Redirect { recipient, error }) => {
            return respond_error(server, &recipient, error);
        }
    };
    match next_step(server, state, &interaction, browser.as_deref()) {
        Step::Grant(sign_in) => respond_code(server, state, &interaction.request, sign_in),
        Step::Reject(error) => reject(server, &interaction.request, error),
        Step::SignIn => {
            let browser = browser.unwrap_or_else(|| state.sessions.add_browser());
            let page = open_page(server, state, &browser, interaction.clone());
            let response = pages::sign_in(server, &interaction.request, &page, None);
            with_cookie(response, &server.cookie(&browser))
        }
        Step::Consent => match browser {
            Some(browser) => {
                let page = open_page(server, state, &browser, interaction.clone());
                pages::consent(server, &interaction.request, &page)
            }
            None => reject(
                server,
                &interaction.request,
                ("server_error", "no user is signed in"),
            ),
        },
    }
}

pub(super) fn next_step(
    server: &TestServer,
    state: &ServerState,
    interaction: &Interaction,
    browser: Option<&str>,
) -> Step {
    let request = &interaction.request;
    let fresh = |sign_in: &&SignIn| {
        let age = server.clock().unix_seconds() - sign_in.at;
        // OpenID Connect Core §3.1.2.1: `prompt=login`, an exceeded `max_age` and `max_age=0` require
        // a new sign-in.
        let recent = !request.prompt.login
            && request
                .max_age
                .is_none_or(|max_age| max_age > 0 && age <= max_age);
        // Without a class that the user can reach, the request is a wish (OpenID Connect Core §3.1.2.1).
        let user = state
            .users
            .iter()
            .find(|user| user.subject == sign_in.subject);
        let has_acr = |acr: &String| sign_in.acr.as_ref() == Some(acr);
        let strong = request.acr_values.iter().any(has_acr)
            || user.is_none_or(|user| user.best_acr(&request.acr_values).is_none());
        let expected = request.expected_subject.as_ref();
        interaction.signed_in
            || (recent && strong && expected.is_none_or(|sub| *sub == sign_in.subject))
    };
    let Some(sign_in) = state.sessions.sign_in(browser).filter(fresh) else {
        if request.prompt.none {
            return Step::Reject(("login_required", "no user is signed in"));
        }
        return Step::SignIn;
    };
    if request
        .expected_subject
        .as_ref()
        .is_some_and(|subject| *subject != sign_in.subject)
    {
        return Step::Reject(("login_required", "another user signed in"));
    }
    let needs_consent = state
        .client(&request.client_id)
        .is_none_or(|client| client.consent);
    let given = state.consents.iter().any(|(subject, client_id, scopes)| {
        *subject == sign_in.subject
            && *client_id == request.client_id
            && scopes.contains_all(&request.scopes)
    });
    if needs_consent && (request.prompt.consent || !given) {
        if request.prompt.none {
            return Step::Reject(("consent_required", "the user has not given consent"));
        }
        return Step::Consent;
    }
    Step::Grant(sign_in.clone())
}

fn open_page(
    server: &TestServer,
    state: &mut ServerState,
    browser: &str,
    interaction: Interaction,
) -> String {
    let now = server.clock().monotonic();
    state.sessions.add_page(
        browser,
        PendingInteraction::Authorization(Box::new(interaction)),
        now,
    )
}

/// Returns the authorization response with a code (RFC 6749 §4.1.2).
pub(super) fn respond_code(
    server: &TestServer,
    state: &mut ServerState,
    request: &ValidatedRequest,
    sign_in: SignIn,
) -> Response<Bytes> {
    let grant = IssuedGrant {
        client_id: request.client_id.clone(),
        sign_in: Some(sign_in),
        scopes: request.scopes.clone(),
        nonce: request.nonce.clone(),
        dpop_jkt: request.dpop_jkt.clone(),
        bound_key: None,
        access: request.access.clone(),
    };
    let now = server.clock().monotonic();
    let code = state
        .grants
        .issue_code(grant, &request.redirect_uri, &request.challenge, now);
    respond(server, &request.recipient(), vec![("code", &code)])
}

/// Returns the authorization response with an error (RFC 6749 §4.1.2.1).
pub(super) fn reject(
    server: &TestServer,
    request: &ValidatedRequest,
    error: Error,
) -> Response<Bytes> {
    respond_error(server, &request.recipient(), error)
}

fn respond_error(
    server: &TestServer,
    recipient: &Recipient,
    (error, description): Error,
) -> Response<Bytes> {
    let pairs = vec![("error", error), ("error_description", description)];
    respond(server, recipient, pairs)
}

impl TestServer {
    /// Cookies are not isolated by port (RFC 6265bis §8.5), so the name must differ from those of applications and other
    /// test servers on the same host.
    pub(super) fn cookie_name(&self) -> String {
        let digest = digest::sha256(self.issuer().as_bytes());
        let issuer = base64url::encode(&digest[..6]);
        let prefix = if self.is_https() { "__Host-Http-" } else { "" };
        format!("{prefix}test-server-{issuer}")
    }

    pub(super) fn cookie(&self, value: &str) -> String {
        let secure = if self.is_https() { "; Secure" } else { "" };
        format!(
            "{}={value}; Path=/; HttpOnly; SameSite=Lax{secure}",
            self.cookie_name()
        )
    }
}
