//! The consent page and its form: the person decides what the client gets.

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};

use super::super::parameters::Parameters;
use super::super::server::TestServer;
use super::super::sessions::{Pending, is_foreign};
use super::authorization::{Step, next_step, refuse, respond_code};
use super::pages;
use crate::clock::Clock as _;

pub(super) fn answer(server: &TestServer, request: &Request<Bytes>) -> Response<Bytes> {
    let decides = request.method() == Method::POST;
    if decides && is_foreign(&server.origin(), request) {
        return pages::refusal(
            StatusCode::FORBIDDEN,
            "The form was sent from another site.",
        );
    }
    let parameters = Parameters::of_request(request).filter(|form| !form.has_repeated());
    let Some(parameters) = parameters else {
        return pages::refusal(StatusCode::BAD_REQUEST, "The request is not a form.");
    };
    let state = &mut *server.state();
    let now = server.clock().monotonic();
    let page = parameters.value("page").unwrap_or_default();
    let browser = state.sessions.browser(server.cookie_name(), request);
    let pending = browser
        .as_deref()
        .and_then(|browser| state.sessions.page(page, browser, now));
    let Some(Pending::Authorization(interaction)) = pending.map(|pending| pending.clone()) else {
        return pages::stale();
    };
    // The sign-in page has the same hidden field: it must not lead past the sign-in.
    let Step::Consent = next_step(server, state, &interaction, browser.as_deref()) else {
        return pages::stale();
    };
    let Some(sign_in) = state.sessions.sign_in(browser.as_deref()).cloned() else {
        return pages::stale();
    };
    if !decides {
        return pages::consent(server, &interaction.request, page);
    }
    match parameters.value("decision") {
        Some("allow") => {}
        Some("deny") => {
            state.sessions.close_page(page);
            let error = ("access_denied", "the request was denied");
            return refuse(server, &interaction.request, error);
        }
        _ => return pages::refusal(StatusCode::BAD_REQUEST, "The form brings no decision."),
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
