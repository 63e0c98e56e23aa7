//! The targets of the forms of the sign-in page and the consent page.

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};

use super::super::browser_sessions::{Interaction, PendingInteraction, SignIn, is_cross_origin};
use super::super::parameters::RequestParameters;
use super::super::respond::{random_text, redirect, with_cookie, with_query};
use super::super::server::TestServer;
use super::authorization::{Step, next_step, reject, respond_code};
use super::pages;
use crate::clock::Clock as _;
use crate::protocol::ClientSecret;

pub(super) fn sign_in(server: &TestServer, request: &Request<Bytes>) -> Response<Bytes> {
    // Prevents login CSRF, together with the hidden field, which is bound to one browser.
    if is_cross_origin(&server.origin(), request) {
        return pages::error(
            StatusCode::FORBIDDEN,
            "The form was submitted from another site.",
        );
    }
    let Some(form) = RequestParameters::of_form(request).filter(|form| !form.has_repeated()) else {
        return pages::error(StatusCode::BAD_REQUEST, "The request is not a valid form.");
    };
    let state = &mut *server.state();
    let now = server.clock().monotonic();
    let page = form.value("page").unwrap_or_default();
    let browser = state.sessions.browser(&server.cookie_name(), request);
    let pending = browser
        .as_deref()
        .and_then(|browser| state.sessions.pending(page, browser, now));
    let (Some(browser), Some(PendingInteraction::Authorization(interaction))) = (&browser, pending)
    else {
        return pages::expired();
    };
    let password = ClientSecret::new(form.value("password").unwrap_or_default());
    let user = state
        .users
        .iter()
        .find(|user| form.value("username") == Some(&user.name) && user.password == password);
    let Some(user) = user else {
        // The page does not tell whether the user name exists.
        let rejected_name = Some(form.value("username").unwrap_or_default());
        return pages::sign_in(server, &interaction.request, page, rejected_name);
    };
    interaction.signed_in = true;
    let interaction: Interaction = Interaction::clone(interaction);
    let sign_in = SignIn {
        subject: user.subject.clone(),
        at: server.clock().unix_seconds(),
        acr: user
            .best_acr(&interaction.request.acr_values)
            .or_else(|| user.acr_values.first())
            .cloned(),
        sid: random_text(),
    };
    let browser = state.sessions.add_sign_in(browser, sign_in);
    let response = match next_step(server, state, &interaction, Some(&browser)) {
        Step::Consent => redirect(&with_query(&server.url("/consent"), &[("page", page)])),
        step => {
            state.sessions.close_page(page);
            match step {
                Step::Grant(sign_in) => respond_code(server, state, &interaction.request, sign_in),
                Step::Reject(error) => reject(server, &interaction.request, error),
                Step::SignIn | Step::Consent => pages::expired(),
            }
        }
    };
    with_cookie(response, &server.cookie(&browser))
}

pub(super) fn consent(server: &TestServer, request: &Request<Bytes>) -> Response<Bytes> {
    let is_submitted = request.method() == Method::POST;
    if is_submitted && is_cross_origin(&server.origin(), request) {
        return pages::error(
            StatusCode::FORBIDDEN,
            "The form was submitted from another site.",
        );
    }
    let parameters = RequestParameters::of_request(request).filter(|form| !form.has_repeated());
    let Some(parameters) = parameters else {
        return pages::error(StatusCode::BAD_REQUEST, "The request is not a valid form.");
    };
    let state = &mut *server.state();
    let now = server.clock().monotonic();
    let page = parameters.value("page").unwrap_or_default();
    let browser = state.sessions.browser(&server.cookie_name(), request);
    let pending = browser
        .as_deref()
        .and_then(|browser| state.sessions.pending(page, browser, now));
    let Some(PendingInteraction::Authorization(interaction)) =
        pending.map(|pending| pending.clone())
    else {
        return pages::expired();
    };
    // The sign-in page has the same hidden field, which must not skip the sign-in.
    let Step::Consent = next_step(server, state, &interaction, browser.as_deref()) else {
        return pages::expired();
    };
    let Some(sign_in) = state.sessions.sign_in(browser.as_deref()).cloned() else {
        return pages::expired();
    };
    if !is_submitted {
        return pages::consent(server, &interaction.request, page);
    }
    match parameters.value("decision") {
        Some("allow") => {}
        Some("deny") => {
            state.sessions.close_page(page);
            let error = ("access_denied", "the user denied the request");
            return reject(server, &interaction.request, error);
        }
        _ => return pages::error(StatusCode::BAD_REQUEST, "The form has no decision."),
    }
    state.sessions.close_page(page);
    let request = interaction.request;
    state.consents.push((
        sign_in.subject.clone(),
        request.client_id.clone(),
        request.scopes.clone(),
    ));
    respond_code(server, state, &request, sign_in)
}
