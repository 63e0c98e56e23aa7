//! The end-session endpoint (OpenID Connect RP-Initiated Logout 1.0).

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};

use super::super::browser_sessions::{PendingInteraction, SignIn, is_cross_origin};
use super::super::logout::frames;
use super::super::parameters::RequestParameters;
use super::super::request_log::Endpoint;
use super::super::respond::{redirect, with_cookie};
use super::super::server::{ServerState, TestServer};
use super::authorization_response::redirect_uri_with_faults;
use super::pages;
use crate::clock::Clock as _;

pub(super) fn handle(server: &TestServer, request: &Request<Bytes>) -> Response<Bytes> {
    let Some(parameters) = RequestParameters::of_request(request).filter(|all| !all.has_repeated())
    else {
        return pages::error(StatusCode::BAD_REQUEST, "A parameter is repeated.");
    };
    let state = &mut *server.state();
    let browser = state.sessions.browser(&server.cookie_name(), request);
    if let Some(page) = parameters.value("page") {
        return confirm(server, state, request, browser.as_deref(), page);
    }
    let (hint, redirect_uri) = match validate(server, state, &parameters) {
        Ok(checked) => checked,
        Err(reason) => return pages::error(StatusCode::BAD_REQUEST, reason),
    };
    let Some(browser) = browser else {
        return redirect_or_confirm(redirect_uri.as_deref());
    };
    let signed_in = state.sessions.sign_in(Some(&browser));
    // Without a hint for the current sign-in, ask the user (§2): otherwise any site could sign users
    // out.
    if signed_in.is_none() || (hint.is_some() && signed_in == hint.as_ref()) {
        return sign_out(server, state, &browser, redirect_uri.as_deref());
    }
    let now = server.clock().monotonic();
    let page = state.sessions.add_page(
        &browser,
        PendingInteraction::Logout(redirect_uri.clone()),
        now,
    );
    pages::confirm_logout(server, &page, redirect_uri.as_deref())
}

/// Returns the sign-in of the hint, and the post-logout redirect URI with `state`.
fn validate(
    server: &TestServer,
    state: &ServerState,
    parameters: &RequestParameters,
) -> Result<(Option<SignIn>, Option<String>), &'static str> {
    let hint = match parameters.value("id_token_hint") {
        Some(token) => Some(
            state
                .grants
                .id_token(token)
                .ok_or("The id_token_hint was not issued by this server.")?,
        ),
        None => None,
    };
    let client_id = parameters.value("client_id");
    if let (Some(client_id), Some((hinted, _))) = (client_id, hint)
        && client_id != hinted
    {
        return Err("The id_token_hint was issued to another client.");
    }
    let sign_in = hint.map(|(_, sign_in)| sign_in.clone());
    let Some(uri) = parameters.value("post_logout_redirect_uri") else {
        return Ok((sign_in, None));
    };
    // §3: the redirect URI must be registered for the client, so the client must be known.
    let client = client_id.or_else(|| hint.map(|(client_id, _)| client_id.as_str()));
    let client = client
        .and_then(|id| state.client(id))
        .ok_or("The request does not identify a client.")?;
    if !client
        .post_logout_redirect_uris
        .iter()
        .any(|registered| registered == uri)
    {
        return Err("The post_logout_redirect_uri is not registered for this client.");
    }
    let pairs = parameters
        .value("state")
        .map(|state| ("state", state))
        .into_iter()
        .collect();
    Ok((
        sign_in,
        Some(redirect_uri_with_faults(
            server,
            Endpoint::EndSession,
            uri,
            pairs,
        )),
    ))
}

/// Handles the form of the confirmation page.
fn confirm(
    server: &TestServer,
    state: &mut ServerState,
    request: &Request<Bytes>,
    browser: Option<&str>,
    page: &str,
) -> Response<Bytes> {
    if request.method() != Method::POST || is_cross_origin(&server.origin(), request) {
        return pages::error(
            StatusCode::FORBIDDEN,
            "The form was submitted from another site.",
        );
    }
    let now = server.clock().monotonic();
    let pending = browser.and_then(|browser| state.sessions.pending(page, browser, now));
    let (Some(browser), Some(PendingInteraction::Logout(redirect_uri))) = (browser, pending) else {
        return pages::expired();
    };
    let redirect_uri = redirect_uri.clone();
    sign_out(server, state, browser, redirect_uri.as_deref())
}

fn sign_out(
    server: &TestServer,
    state: &mut ServerState,
    browser: &str,
    redirect_uri: Option<&str>,
) -> Response<Bytes> {
    let ended = state.sessions.sign_out(browser);
    let frames = ended.as_ref().map(|sign_in| frames(server, state, sign_in));
    state.ended.extend(ended);
    // Front-channel logout needs a page that stays until its frames have loaded.
    let response = match frames.filter(|frames| !frames.is_empty()) {
        Some(frames) => pages::signed_out(&frames, redirect_uri),
        None => redirect_or_confirm(redirect_uri),
    };
    with_cookie(response, &format!("{}; Max-Age=0", server.cookie("")))
}

fn redirect_or_confirm(redirect_uri: Option<&str>) -> Response<Bytes> {
    redirect_uri.map_or_else(|| pages::signed_out(&[], None), redirect)
}
