//! `login`: redirects the browser to the authorization server.

use std::time::Duration;

use http::StatusCode;
use http::header::HeaderMap;
use http::request::Parts;
use http_body::Body;

use crate::clock::within;
use crate::flow::{FlowErrorKind, LoginPurpose, StartRequest, has_expired};
use crate::login::asked_login::{AskedLogin, BAD_PARAMETER, UNCONFIRMABLE};
use crate::login::cookies::SameSite;
use crate::login::jar::{Jar, NO_SILENT_LOGIN};
use crate::login::login_state::{LoginState, StateTarget};
use crate::login::navigation::{self, RequestKind};
use crate::login::refusal::LoginRefusal;
use crate::login::response::{self, LayerResponse};
use crate::login::settings::Settings;
use crate::login::transactions::LoginCookies;
use crate::login::{events, transactions};
use crate::record::SessionRef;
use crate::session::ProviderEntry;

/// Handles the login route of `provider`, or that of the layer.
pub(super) async fn handle<B: Body>(
    settings: &Settings,
    provider: Option<&ProviderEntry>,
    parts: &Parts,
    body: B,
) -> LayerResponse {
    let headers = &parts.headers;
    let kind = navigation::request_kind(&parts.method, headers, &settings.origin);
    if settings.third_party_login && kind == RequestKind::Form {
        let received = settings
            .receive_third_party_form(provider, headers, body)
            .await;
        let mut response =
            received.unwrap_or_else(|refusal| settings.reject_login(headers, &refusal, None));
        response::close_after_rejected_form(&mut response, parts);
        return response;
    }
    let query = parts.uri.query().unwrap_or_default();
    let asked = match AskedLogin::read(settings, provider, headers, query) {
        Ok(asked) => asked,
        Err(refusal) => return settings.reject_login(headers, &refusal, None),
    };
    let Some(provider) = asked.provider else {
        return match settings.choose_provider(kind, parts) {
            Ok(Some(choice)) => choice,
            Ok(None) => settings.login_required(kind, headers, asked.target.as_deref()),
            Err(refusal) => settings.reject_login(headers, &refusal, None),
        };
    };
    // Only a navigation starts a login; no other request gets a transaction cookie.
    if kind != RequestKind::Navigation {
        return settings.login_required(kind, headers, asked.target.as_deref());
    }
    let jar = Jar::read(headers, &settings.cookies);
    if asked.request.purpose == LoginPurpose::Optional {
        return start_silently(settings, provider, parts, &jar, asked).await;
    }
    let target = asked.target.clone();
    match start(settings, provider, parts, &jar, asked).await {
        Ok(response) => response,
        Err(refusal) => settings.reject_login(headers, &refusal, target.as_deref()),
    }
}

/// Starts a silent login. Whatever prevents it, the user continues at the page, which is open to all.
async fn start_silently(
    settings: &Settings,
    provider: &ProviderEntry,
    parts: &Parts,
    jar: &Jar<'_>,
    mut asked: AskedLogin<'_>,
) -> LayerResponse {
    let headers = &parts.headers;
    let target = asked.target.clone();
    let target = target.as_deref();
    if let Some(expired) = asked.expired.take() {
        return settings.continue_anonymously(&expired, target);
    }
    if !settings.may_start_login(headers) {
        return settings.continue_anonymously(&OTHER_SITE, target);
    }
    if !jar.has(NO_SILENT_LOGIN) {
        return continue_without_mark(settings, headers, target).await;
    }
    let started = start(settings, provider, parts, jar, asked);
    let started = within(&**settings.flow().clock(), SILENT_TIMEOUT, started).await;
    match started.unwrap_or(Err(TOO_SLOW.because(SLOW))) {
        Ok(response) => response,
        Err(refusal) => settings.continue_anonymously(&refusal, target),
    }
}

/// Responds to a silent login of a browser without the mark of one: it does not keep cookies, or followed a link of
/// another site. A page with a link would then have that site choose what the user opens from a page of this
/// application, so only a browser without a session gets one.
async fn continue_without_mark(
    settings: &Settings,
    headers: &HeaderMap,
    target: Option<&str>,
) -> LayerResponse {
    let continue_at = target.unwrap_or_else(|| settings.default_return_to());
    if settings.may_hide_session(headers) {
        return response::redirect(continue_at);
    }
    match settings.session(headers, false).await {
        Ok(cookie) if cookie.session.is_some() => response::redirect(continue_at),
        Ok(_) => settings.reject_with_link(headers, &NO_COOKIES, continue_at),
        Err(error) => settings.reject_login(headers, &LoginRefusal::from(&error), None),
    }
}

async fn start(
    settings: &Settings,
    provider: &ProviderEntry,
    parts: &Parts,
    jar: &Jar<'_>,
    asked: AskedLogin<'_>,
) -> Result<LayerResponse, LoginRefusal> {
    let headers = &parts.headers;
    let AskedLogin {
        mut request,
        target,
        session,
        ..
    } = asked;
    let (by_person, target) = (request.by_person, target.as_deref());
    // A Strict cookie is sent with this request, but not with the callback.
    if settings.same_site == SameSite::Strict || session.is_some() {
        let cookie = settings.session(headers, false).await;
        let cookie = cookie.map_err(|error| LoginRefusal::from(&error))?;
        request.replaces = cookie
            .session
            .map(|(loaded, _)| SessionRef::from(&**loaded.record()));
    }
    let has_session = request.replaces.is_some_and(|one| Some(one.id) == session);
    if session.is_some() && !has_session {
        request = as_of_a_link(request);
    }
    let checked = settings.check();
    checked.map_err(|error| LoginRefusal::from(&error))?;
    if request.purpose == LoginPurpose::SignIn && !settings.may_start_login(headers) {
        return Ok(settings.confirm_login(&provider.name, parts.uri.query()));
    }
    let time = settings.manager.time();
    let limit = settings.flow().login_time_limit();
    let expired = |started_at| has_expired(started_at, time.wall_for(started_at), limit);
    let chosen = transactions::choose_slot(&settings.cookies, jar, expired)?;
    let login = LoginState {
        slot: chosen.slot,
        started_at: time.wall(),
        target: StateTarget::new(target),
        is_optional: request.purpose == LoginPurpose::Optional,
    };
    let state = login.seal(&settings.cookies)?;
    let started = provider.flow.start(&state, request).await;
    let started = started.map_err(|error| {
        let mut refusal = LoginRefusal::from(&error);
        if error.kind() == FlowErrorKind::Request {
            refusal.message = match error.code() {
                "login_unconfirmable" => UNCONFIRMABLE.into(),
                _ => BAD_PARAMETER.into(),
            };
        }
        refusal
    })?;
    let started = LoginCookies {
        slot: chosen.slot,
        transaction: &started.transaction,
        long_target: target.filter(|_| login.target == StateTarget::InCookie),
        location: &started.location,
    };
    let set_cookies = transactions::set_cookies(&settings.cookies, jar, &started, limit)?;
    events::login_started(&provider.name, by_person, chosen.evicts);
    let mut response = response::redirect_to_server(started.location);
    response::add_cookies(response.headers_mut(), set_cookies);
    Ok(response)
}

/// Returns the request of an ordinary login: the session has ended or was replaced since the request was sealed, or it was
/// sealed for another user, who can link to its URL. What only the application may set is left out.
fn as_of_a_link(request: StartRequest) -> StartRequest {
    StartRequest {
        purpose: LoginPurpose::SignIn,
        by_application: false,
        page: None,
        login_hint: None,
        prompt: None,
        authorization_details: None,
        requested_claims: None,
        ..request
    }
}

/// FAPI 2.0 §5.3.3.1.
const OTHER_SITE: LoginRefusal = LoginRefusal::new(
    StatusCode::FORBIDDEN,
    "silent_login_cross_site",
    "Sign-in was not started by a page of this application.",
);
/// Reported as an outage: the page is shown at once.
const TOO_SLOW: LoginRefusal = LoginRefusal::new(
    StatusCode::SERVICE_UNAVAILABLE,
    "silent_login_too_slow",
    "The sign-in service did not respond in time.",
);
/// The response to a browser that does not keep the mark of a silent login.
const NO_COOKIES: LoginRefusal = LoginRefusal::new(
    StatusCode::BAD_REQUEST,
    "cookies_not_accepted",
    "Your browser does not accept cookies from this site, so you can't be signed in. You can continue without signing in.",
);

/// Limit on the time to start a silent login: the user waits for a page that is open to all.
const SILENT_TIMEOUT: Duration = Duration::from_secs(3);
const SLOW: &str = "the redirect to the authorization server was not ready within 3 seconds: its metadata, its endpoint for \
                    pushed requests or the session store is slow";
