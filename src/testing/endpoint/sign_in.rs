//! The form of the sign-in page.

use bytes::Bytes;
use http::{Request, Response, StatusCode};

use super::super::parameters::Parameters;
use super::super::respond::{random_text, redirect, with_cookie, with_query};
use super::super::server::TestServer;
use super::super::sessions::{Interaction, Pending, SignIn, is_foreign};
use super::authorization::{Step, next_step, refuse, respond_code};
use super::pages;
use crate::clock::Clock as _;
use crate::protocol::ClientSecret;

pub(super) fn answer(server: &TestServer, request: &Request<Bytes>) -> Response<Bytes> {
    // The hidden field belongs to one browser, so nobody can sign another one in as somebody else.
    if is_foreign(&server.origin(), request) {
        return pages::refusal(
            StatusCode::FORBIDDEN,
            "The form was sent from another site.",
        );
    }
    let Some(form) = Parameters::of_form(request).filter(|form| !form.has_repeated()) else {
        return pages::refusal(StatusCode::BAD_REQUEST, "The request is not a form.");
    };
    let state = &mut *server.state();
    let now = server.clock().monotonic();
    let page = form.value("page").unwrap_or_default();
    let browser = state.sessions.browser(server.cookie_name(), request);
    let pending = browser
        .as_deref()
        .and_then(|browser| state.sessions.page(page, browser, now));
    let (Some(browser), Some(Pending::Authorization(interaction))) = (&browser, pending) else {
        return pages::stale();
    };
    let password = ClientSecret::new(form.value("password").unwrap_or_default());
    let user = state
        .users
        .iter()
        .find(|user| form.value("username") == Some(&user.name) && user.password == password);
    let Some(user) = user else {
        // Which of the two was wrong is nobody's business.
        let wrong = Some(form.value("username").unwrap_or_default());
        return pages::sign_in(server, &interaction.request, page, wrong);
    };
    interaction.signed_in = true;
    let interaction: Interaction = Interaction::clone(interaction);
    let sign_in = SignIn {
        subject: user.subject.clone(),
        at: server.clock().unix_seconds(),
        sid: random_text(),
    };
    let browser = state.sessions.signed_in(browser, sign_in);
    let response = match next_step(server, state, &interaction, Some(&browser)) {
        Step::Consent => redirect(&with_query(&server.url("/consent"), &[("page", page)])),
        step => {
            state.sessions.close_page(page);
            match step {
                Step::Grant(sign_in) => respond_code(server, state, &interaction.request, sign_in),
                Step::Refuse(error) => refuse(server, &interaction.request, error),
                Step::SignIn | Step::Consent => pages::stale(),
            }
        }
    };
    with_cookie(response, &server.cookie(&browser))
}
