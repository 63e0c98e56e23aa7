//! Logout that an application asks for (OpenID Connect RP-Initiated Logout 1.0).

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};

use super::super::logout::frames;
use super::super::parameters::Parameters;
use super::super::record::Endpoint;
use super::super::respond::{redirect, with_cookie};
use super::super::server::{State, TestServer};
use super::super::sessions::{Pending, SignIn, is_foreign};
use super::authorization::with_faulty_query;
use super::pages;
use crate::clock::Clock as _;

pub(super) fn answer(server: &TestServer, request: &Request<Bytes>) -> Response<Bytes> {
    let Some(parameters) = Parameters::of_request(request).filter(|all| !all.has_repeated()) else {
        return pages::refusal(StatusCode::BAD_REQUEST, "A parameter was sent twice.");
    };
    let state = &mut *server.state();
    let browser = state.sessions.browser(server.cookie_name(), request);
    if let Some(page) = parameters.value("page") {
        return confirmed(server, state, request, browser.as_deref(), page);
    }
    let (hint, leads_to) = match check(server, state, &parameters) {
        Ok(checked) => checked,
        Err(reason) => return pages::refusal(StatusCode::BAD_REQUEST, reason),
    };
    let Some(browser) = browser else {
        return go_on(leads_to.as_deref());
    };
    let signed_in = state.sessions.sign_in(Some(&browser));
    // The hint vouches for the request where it speaks of the sign-in at hand (§2); without it any
    // site could sign people out.
    if signed_in.is_none() || (hint.is_some() && signed_in == hint.as_ref()) {
        return sign_out(server, state, &browser, leads_to.as_deref());
    }
    let now = server.clock().monotonic();
    let page = state
        .sessions
        .add_page(&browser, Pending::Logout(leads_to.clone()), now);
    pages::confirm_logout(server, &page, leads_to.as_deref())
}

/// The sign-in that the hint speaks of and the place to go to afterwards, with `state` in it.
fn check(
    server: &TestServer,
    state: &State,
    parameters: &Parameters,
) -> Result<(Option<SignIn>, Option<String>), &'static str> {
    let hint = match parameters.value("id_token_hint") {
        Some(token) => Some(
            state
                .grants
                .id_token(token)
                .ok_or("The hint was not issued here.")?,
        ),
        None => None,
    };
    let named = parameters.value("client_id");
    if let (Some(named), Some((client_id, _))) = (named, hint)
        && named != client_id
    {
        return Err("The hint was issued to another client.");
    }
    let sign_in = hint.map(|(_, sign_in)| sign_in.clone());
    let Some(uri) = parameters.value("post_logout_redirect_uri") else {
        return Ok((sign_in, None));
    };
    // §3: only to a place that the client registered, and so only where the client is known.
    let client = named.or_else(|| hint.map(|(client_id, _)| client_id.as_str()));
    let client = client
        .and_then(|id| state.client(id))
        .ok_or("The request names no client.")?;
    if !client
        .post_logout_redirect_uris
        .iter()
        .any(|registered| registered == uri)
    {
        return Err("The place to go to after the logout is not registered for this client.");
    }
    let pairs = parameters
        .value("state")
        .map(|state| ("state", state))
        .into_iter()
        .collect();
    Ok((
        sign_in,
        Some(with_faulty_query(server, Endpoint::EndSession, uri, pairs)),
    ))
}

/// The answer to the page that asked.
fn confirmed(
    server: &TestServer,
    state: &mut State,
    request: &Request<Bytes>,
    browser: Option<&str>,
    page: &str,
) -> Response<Bytes> {
    if request.method() != Method::POST || is_foreign(&server.origin(), request) {
        return pages::refusal(
            StatusCode::FORBIDDEN,
            "The form was sent from another site.",
        );
    }
    let now = server.clock().monotonic();
    let pending = browser.and_then(|browser| state.sessions.page(page, browser, now));
    let (Some(browser), Some(Pending::Logout(leads_to))) = (browser, pending) else {
        return pages::stale();
    };
    let leads_to = leads_to.clone();
    sign_out(server, state, browser, leads_to.as_deref())
}

fn sign_out(
    server: &TestServer,
    state: &mut State,
    browser: &str,
    leads_to: Option<&str>,
) -> Response<Bytes> {
    let ended = state.sessions.sign_out(browser);
    let frames = ended.as_ref().map(|sign_in| frames(server, state, sign_in));
    state.ended.extend(ended);
    // The front channel needs a page that stays until its frames are there.
    let response = match frames.filter(|frames| !frames.is_empty()) {
        Some(frames) => pages::signed_out(&frames, leads_to),
        None => go_on(leads_to),
    };
    with_cookie(response, &format!("{}; Max-Age=0", server.cookie("")))
}

fn go_on(leads_to: Option<&str>) -> Response<Bytes> {
    leads_to.map_or_else(|| pages::signed_out(&[], None), redirect)
}
