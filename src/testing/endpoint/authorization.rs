//! The authorization endpoint: what happens next to a request, a page or a redirect (RFC 6749 §4.1).

use bytes::Bytes;
use http::{Request, Response, StatusCode};

use super::super::fault::Kind;
use super::super::grants::Grant;
use super::super::parameters::Parameters;
use super::super::record::Endpoint;
use super::super::respond::{redirect, with_cookie, with_query};
use super::super::server::{State, TestServer};
use super::super::sessions::{Interaction, Pending, SignIn};
use super::pages;
use super::request::{AuthorizationRequest, Error, Rejection};
use crate::clock::Clock as _;

/// What an authorization request needs before it can be answered.
pub(super) enum Step {
    SignIn,
    Consent,
    /// A code, for this person.
    Grant(SignIn),
    Refuse(Error),
}

pub(super) fn answer(server: &TestServer, request: &Request<Bytes>) -> Response<Bytes> {
    let Some(parameters) = Parameters::of_request(request) else {
        return pages::refusal(StatusCode::BAD_REQUEST, "The request is not a form.");
    };
    let state = &mut *server.state();
    let request_checked = AuthorizationRequest::check(&parameters, state);
    let browser = state.sessions.browser(server.cookie_name(), request);
    let interaction = match request_checked {
        Ok(request) => Interaction {
            request,
            signed_in: false,
        },
        Err(Rejection::Here(reason)) => return pages::refusal(StatusCode::BAD_REQUEST, reason),
        Err(Rejection::Client {
            redirect_uri,
            state,
            error,
        }) => {
            return respond_error(server, &redirect_uri, state.as_deref(), error);
        }
    };
    match next_step(server, state, &interaction, browser.as_deref()) {
        Step::Grant(sign_in) => respond_code(server, state, &interaction.request, sign_in),
        Step::Refuse(error) => refuse(server, &interaction.request, error),
        Step::SignIn => {
            let known = browser.unwrap_or_else(|| state.sessions.add_browser());
            let page = open_page(server, state, &known, interaction.clone());
            let response = pages::sign_in(server, &interaction.request, &page, None);
            with_cookie(response, &server.cookie(&known))
        }
        Step::Consent => match browser {
            Some(browser) => {
                let page = open_page(server, state, &browser, interaction.clone());
                pages::consent(server, &interaction.request, &page)
            }
            None => refuse(
                server,
                &interaction.request,
                ("server_error", "nobody is signed in"),
            ),
        },
    }
}

pub(super) fn next_step(
    server: &TestServer,
    state: &State,
    interaction: &Interaction,
    browser: Option<&str>,
) -> Step {
    let request = &interaction.request;
    let fresh = |sign_in: &&SignIn| {
        let age = server.clock().unix_seconds() - sign_in.at;
        // OpenID Connect Core §3.1.2.1: `prompt=login`, a passed `max_age` and one of 0 ask anew.
        let enough = !request.prompt.login
            && request
                .max_age
                .is_none_or(|max_age| max_age > 0 && age <= max_age);
        let expected = request.expected_subject.as_ref();
        interaction.signed_in || (enough && expected.is_none_or(|sub| *sub == sign_in.subject))
    };
    let Some(sign_in) = state.sessions.sign_in(browser).filter(fresh) else {
        if request.prompt.none {
            return Step::Refuse(("login_required", "nobody is signed in"));
        }
        return Step::SignIn;
    };
    if request
        .expected_subject
        .as_ref()
        .is_some_and(|subject| *subject != sign_in.subject)
    {
        return Step::Refuse(("login_required", "somebody else signed in"));
    }
    let asked = state
        .client(&request.client_id)
        .is_none_or(|client| client.consent);
    let given = state.consents.iter().any(|(subject, client_id, scopes)| {
        *subject == sign_in.subject
            && *client_id == request.client_id
            && scopes.contains_all(&request.scopes)
    });
    if asked && (request.prompt.consent || !given) {
        if request.prompt.none {
            return Step::Refuse(("consent_required", "nobody has consented"));
        }
        return Step::Consent;
    }
    Step::Grant(sign_in.clone())
}

fn open_page(
    server: &TestServer,
    state: &mut State,
    browser: &str,
    interaction: Interaction,
) -> String {
    let now = server.clock().monotonic();
    state
        .sessions
        .add_page(browser, Pending::Authorization(Box::new(interaction)), now)
}

/// The authorization response with a code (RFC 6749 §4.1.2).
pub(super) fn respond_code(
    server: &TestServer,
    state: &mut State,
    request: &AuthorizationRequest,
    sign_in: SignIn,
) -> Response<Bytes> {
    let grant = Grant {
        client_id: request.client_id.clone(),
        sign_in: Some(sign_in),
        scopes: request.scopes.clone(),
        nonce: request.nonce.clone(),
    };
    let now = server.clock().monotonic();
    let code = state
        .grants
        .issue_code(grant, &request.redirect_uri, &request.challenge, now);
    respond(
        server,
        &request.redirect_uri,
        request.state.as_deref(),
        vec![("code", &code)],
    )
}

/// The authorization response with an error (RFC 6749 §4.1.2.1).
pub(super) fn refuse(
    server: &TestServer,
    request: &AuthorizationRequest,
    error: Error,
) -> Response<Bytes> {
    respond_error(
        server,
        &request.redirect_uri,
        request.state.as_deref(),
        error,
    )
}

fn respond_error(
    server: &TestServer,
    redirect_uri: &str,
    state: Option<&str>,
    (error, description): Error,
) -> Response<Bytes> {
    let pairs = vec![("error", error), ("error_description", description)];
    respond(server, redirect_uri, state, pairs)
}

/// Each response names its issuer, the refusing one too (RFC 9207 §2).
fn respond<'a>(
    server: &'a TestServer,
    redirect_uri: &str,
    state: Option<&'a str>,
    mut pairs: Vec<(&'a str, &'a str)>,
) -> Response<Bytes> {
    pairs.extend(state.map(|state| ("state", state)));
    pairs.push(("iss", server.issuer()));
    redirect(&with_faulty_query(
        server,
        Endpoint::Authorization,
        redirect_uri,
        pairs,
    ))
}

/// A redirect back to a client, where faults may meddle with the parameters.
pub(super) fn with_faulty_query(
    server: &TestServer,
    endpoint: Endpoint,
    uri: &str,
    pairs: Vec<(&str, &str)>,
) -> String {
    let mut pairs: Vec<(String, String)> = pairs
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    for fault in server.shared.faults.take_parameters(endpoint) {
        if let Kind::Parameter(name, value) = fault {
            pairs.retain(|(other, _)| *other != name);
            pairs.extend(value.map(|value| (name, value)));
        }
    }
    let pairs: Vec<(&str, &str)> = pairs
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    with_query(uri, &pairs)
}

impl TestServer {
    /// Cookies know no ports: the name must differ from those of applications on the same host.
    pub(super) fn cookie_name(&self) -> &'static str {
        if self.is_https() {
            "__Host-Http-test-server"
        } else {
            "test-server"
        }
    }

    pub(super) fn cookie(&self, value: &str) -> String {
        let secure = if self.is_https() { "; Secure" } else { "" };
        format!(
            "{}={value}; Path=/; HttpOnly; SameSite=Lax{secure}",
            self.cookie_name()
        )
    }
}
