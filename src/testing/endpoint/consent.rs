//! The consent page and its form.

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};

use super::super::browser_sessions::{PendingInteraction, is_cross_origin};
use super::super::parameters::RequestParameters;
use super::super::server::TestServer;
use super::authorization::{Step, next_step, reject, respond_code};
use super::pages;
use crate::clock::Clock as _;

pub(super) fn handle(server: &TestServer, request: &Request<Bytes>) -> Response<Bytes> {
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
    let browser = state.sessions.browser(server.cookie_name(), request);
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
