//! `login`: redirects the browser to the authorization server.

use http::request::Parts;

use crate::flow::{FlowErrorKind, StartRequest};
use crate::login::cookies::SameSite;
use crate::login::jar::Jar;
use crate::login::navigation::{self, RequestKind};
use crate::login::refusal::LoginRefusal;
use crate::login::response::{self, LayerResponse};
use crate::login::settings::Settings;
use crate::login::{events, transactions};
use crate::protocol::form;
use crate::record::SessionRef;

pub(super) async fn handle(settings: &Settings, parts: &Parts) -> LayerResponse {
    let request = match parse_request(settings, parts) {
        Ok(request) => request,
        Err(refusal) => return settings.reject(&parts.headers, &refusal, None),
    };
    // Only a navigation starts a login; no other request gets a transaction cookie.
    match navigation::request_kind(&parts.method, &parts.headers, &settings.origin) {
        RequestKind::Navigation => {}
        kind => return settings.login_required(kind, &parts.headers, Some(&request.return_to)),
    }
    let return_to = request.return_to.clone();
    start(settings, parts, request)
        .await
        .unwrap_or_else(|refusal| settings.reject(&parts.headers, &refusal, Some(&return_to)))
}

async fn start(
    settings: &Settings,
    parts: &Parts,
    mut request: StartRequest,
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
    let started = settings.flow().start(request).await.map_err(|error| {
        let mut refusal = LoginRefusal::from(&error);
        if error.kind() == FlowErrorKind::Request {
            refusal.message = BAD_PARAMETER.into();
        }
        refusal
    })?;
    let time = settings.manager.time();
    let now = |started_at| time.wall_for(started_at);
    let added = transactions::add(&settings.cookies, &jar, &started.transaction, now)?;
    events::login_started(by_person, added.evicted);
    let mut response = response::redirect_to_server(&started.location);
    response::add_cookies(response.headers_mut(), added.set_cookies);
    Ok(response)
}

/// Reads the parameters that are forwarded to the authorization request; all others are ignored.
fn parse_request(settings: &Settings, parts: &Parts) -> Result<StartRequest, LoginRefusal> {
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
    Ok(StartRequest {
        return_to: settings.target(&pairs).to_owned(),
        by_person: navigation::is_user_activated(&parts.headers),
        login_hint: single("login_hint")?,
        prompt: single("prompt")?,
        ui_locales: single("ui_locales")?,
        acr_values: single("acr_values")?,
        max_age,
        replaces: None,
    })
}

const fn bad_parameter(code: &'static str) -> LoginRefusal {
    LoginRefusal::stale(code, BAD_PARAMETER)
}

const BAD_PARAMETER: &str =
    "The link that brought you here is incomplete or invalid. Please sign in again.";

/// Limit on the length of a parameter: hints, locales and context classes are short.
const MAX_PARAMETER: usize = 512;
