//! `login`: redirects the browser to the authorization server.

use http::request::Parts;

use crate::flow::{FlowErrorKind, StartRequest, has_expired};
use crate::login::cookies::SameSite;
use crate::login::jar::Jar;
use crate::login::login_state::{LoginState, StateTarget};
use crate::login::navigation::{self, RequestKind};
use crate::login::refusal::LoginRefusal;
use crate::login::response::{self, LayerResponse};
use crate::login::settings::Settings;
use crate::login::transactions::LoginCookies;
use crate::login::{events, transactions};
use crate::protocol::form;
use crate::protocol::return_to::MAX_RETURN_TO;
use crate::record::SessionRef;

pub(super) async fn handle(settings: &Settings, parts: &Parts) -> LayerResponse {
    let (request, target) = match parse_request(settings, parts) {
        Ok(parsed) => parsed,
        Err(refusal) => return settings.reject_login(&parts.headers, &refusal, None),
    };
    // Only a navigation starts a login; no other request gets a transaction cookie.
    match navigation::request_kind(&parts.method, &parts.headers, &settings.origin) {
        RequestKind::Navigation => {}
        kind => return settings.login_required(kind, &parts.headers, target.as_deref()),
    }
    start(settings, parts, request, target.as_deref())
        .await
        .unwrap_or_else(|refusal| {
            settings.reject_login(&parts.headers, &refusal, target.as_deref())
        })
}

async fn start(
    settings: &Settings,
    parts: &Parts,
    mut request: StartRequest,
    target: Option<&str>,
) -> Result<LayerResponse, LoginRefusal> {
    let by_person = request.by_person;
    let jar = Jar::read(&parts.headers, &settings.cookies);
    // A Strict cookie is sent with this request, but not with the callback.
    if settings.same_site == SameSite::Strict {
        let cookie = settings.session(&parts.headers, false).await;
        let cookie = cookie.map_err(|error| LoginRefusal::from(&error))?;
        request.replaces = cookie
            .session
            .map(|(loaded, _)| SessionRef::from(&**loaded.record()));
    }
    let checked = settings.manager.check_settings();
    checked.map_err(|error| LoginRefusal::from(&error))?;
    let time = settings.manager.time();
    let limit = settings.flow().login_time_limit();
    let expired = |started_at| has_expired(started_at, time.wall_for(started_at), limit);
    let chosen = transactions::choose_slot(&settings.cookies, &jar, expired)?;
    let login = LoginState {
        slot: chosen.slot,
        started_at: time.wall(),
        target: StateTarget::new(target),
    };
    let state = login.seal(&settings.cookies)?;
    let started = settings.flow().start(&state, request).await;
    let started = started.map_err(|error| {
        let mut refusal = LoginRefusal::from(&error);
        if error.kind() == FlowErrorKind::Request {
            refusal.message = BAD_PARAMETER.into();
        }
        refusal
    })?;
    let started = LoginCookies {
        slot: chosen.slot,
        transaction: &started.transaction,
        long_target: target.filter(|_| login.target == StateTarget::InCookie),
        location: &started.location,
    };
    let set_cookies = transactions::set_cookies(&settings.cookies, &jar, &started, limit)?;
    events::login_started(by_person, chosen.evicts);
    let mut response = response::redirect_to_server(started.location);
    response::add_cookies(response.headers_mut(), set_cookies);
    Ok(response)
}

/// Reads the parameters that are forwarded to the authorization request, and the return target; all
/// others are ignored.
fn parse_request(
    settings: &Settings,
    parts: &Parts,
) -> Result<(StartRequest, Option<String>), LoginRefusal> {
    let query = parts.uri.query().unwrap_or_default();
    let pairs = form::parse(query)
        .map_err(|error| bad_parameter("malformed_query").because(error.to_string()))?;
    let single = |name: &str| {
        let mut values = pairs
            .iter()
            .filter(|(other, value)| other == name && !value.is_empty());
        match (values.next(), values.next()) {
            (Some((_, value)), None) if value.len() > MAX_PARAMETER => {
                Err(bad_parameter("parameter_too_long"))
            }
            (Some(_), Some(_)) => Err(bad_parameter("repeated_parameter")),
            (value, _) => Ok(value.map(|(_, value)| value.clone())),
        }
    };
    let max_age = single("max_age")?
        .map(|seconds| seconds.parse().map_err(|_| bad_parameter("max_age")))
        .transpose()?;
    let target = settings.requested_target(&pairs, MAX_RETURN_TO);
    let request = StartRequest {
        by_person: navigation::is_user_activated(&parts.headers),
        login_hint: single("login_hint")?,
        prompt: single("prompt")?,
        ui_locales: single("ui_locales")?,
        acr_values: single("acr_values")?,
        max_age,
        replaces: None,
    };
    Ok((request, target.map(str::to_owned)))
}

const fn bad_parameter(code: &'static str) -> LoginRefusal {
    LoginRefusal::stale(code, BAD_PARAMETER)
}

const BAD_PARAMETER: &str =
    "The link that brought you here is incomplete or invalid. Please sign in again.";

/// Limit on the length of a parameter: hints, locales and context classes are short.
const MAX_PARAMETER: usize = 512;
