//! `frontchannel-logout`: a page of the authorization server loads this route in a frame when the
//! user signs out there (OpenID Connect Front-Channel Logout §2).
//!
//! It is a GET from another site, so it ends only the session that `iss` and `sid` name together,
//! and only if this browser has it. Without both, any page could sign users out (logout CSRF), so
//! that is a setting, and then for frames only. In browsers that block third-party cookies the route
//! has no effect; rely on the back channel.

use http::request::Parts;
use http::{HeaderValue, Method, StatusCode};
use url::Url;

use crate::login::events;
use crate::login::form::single;
use crate::login::jar::Jar;
use crate::login::navigation::{self, FieldValue, SEC_FETCH_DEST};
use crate::login::refusal::LoginRefusal;
use crate::login::response::{self, LayerResponse};
use crate::login::settings::Settings;
use crate::protocol::form;
use crate::session::{EndReason, OpenedSession, SignOut};
use crate::store::StoreError;

pub(super) async fn handle(settings: &Settings, parts: &Parts) -> LayerResponse {
    if parts.method != Method::GET {
        return response::method_not_allowed("GET");
    }
    let Ok(pairs) = form::parse(parts.uri.query().unwrap_or_default()) else {
        return reject(settings, "the query is malformed");
    };
    // Each parameter must be present exactly once: `sid` is only unique within `iss`.
    let parameter = |name| single(&pairs, name).filter(|value| !value.is_empty());
    let is_given = |name| pairs.iter().any(|(other, _)| other == name);
    let named = match (parameter("iss"), parameter("sid")) {
        (Some(issuer), Some(sid)) => Some((issuer, sid)),
        _ if is_given("iss") || is_given("sid") => {
            return reject(settings, "`iss` and `sid` must both be there, once each");
        }
        _ if !settings.ends_unnamed_sessions => {
            return reject(
                settings,
                "`iss` and `sid` are missing: register the client with \
                 `frontchannel_logout_session_required`, or see `LoginLayer::with_unnamed_frontchannel_logout`",
            );
        }
        _ if navigation::single(&parts.headers, &SEC_FETCH_DEST) != FieldValue::One("iframe") => {
            return reject(
                settings,
                "`iss` and `sid` are missing, and the request is not of a frame",
            );
        }
        _ => None,
    };
    match end(settings, parts, named).await {
        Ok(cookies) => {
            let mut response = page(settings, StatusCode::OK);
            response::add_cookies(response.headers_mut(), cookies);
            response
        }
        Err(error) => settings.reject(&parts.headers, &LoginRefusal::from(&error), None),
    }
}

fn reject(settings: &Settings, reason: &'static str) -> LayerResponse {
    events::frontchannel_logout_rejected(reason);
    page(settings, StatusCode::BAD_REQUEST)
}

/// Ends the session of this browser if it is the named one, or none is named, and returns the
/// `Set-Cookie` values that clear its cookies.
async fn end(
    settings: &Settings,
    parts: &Parts,
    named: Option<(&str, &str)>,
) -> Result<Vec<HeaderValue>, StoreError> {
    let jar = Jar::read(&parts.headers, &settings.cookies);
    let (manager, mut ended) = (&settings.manager, false);
    let now = manager.time();
    // Each session separately: a planted session must not keep the named one.
    for presented in settings.presented_sessions(&jar).presented {
        let opened = manager
            .open_presented(vec![presented.clone()], &now)
            .await?;
        let OpenedSession::Session(loaded) = opened else {
            continue;
        };
        let record = loaded.record();
        let provider = manager.providers().of(record);
        let is_other = |(iss, sid)| {
            let issuer = provider.and_then(|provider| provider.flow.issuer_of(iss));
            issuer != Some(record.issuer()) || record.sid() != Some(sid)
        };
        if named.is_some_and(is_other) {
            continue;
        }
        match settings
            .manager
            .sign_out(presented, EndReason::FrontChannel)
            .await
        {
            SignOut::Failed(error) => return Err(error),
            SignOut::Ended(_) | SignOut::EndedLocally(_) | SignOut::AlreadyEnded => ended = true,
        }
    }
    if !ended {
        return Ok(Vec::new());
    }
    events::frontchannel_logout();
    Ok(jar
        .names()
        .filter_map(|name| settings.cookies.clear(name))
        .collect())
}

/// Returns an empty page that only the authorization servers may embed (§2). It does not reveal
/// whether a session ended.
fn page(settings: &Settings, status: StatusCode) -> LayerResponse {
    let providers = settings.manager.providers().all();
    let issuers = providers.flat_map(|one| one.flow.issuers());
    let mut origins = Vec::new();
    for issuer in issuers.filter_map(|issuer| Url::parse(issuer).ok()) {
        let origin = issuer.origin().ascii_serialization();
        if !origins.contains(&origin) {
            origins.push(origin);
        }
    }
    let ancestors = match origins.is_empty() {
        true => "'none'".to_owned(),
        false => origins.join(" "),
    };
    let policy = format!("default-src 'none'; frame-ancestors {ancestors}");
    let mut response = response::html(status, PAGE.to_owned(), &policy);
    response::allow_embedding(response.headers_mut());
    response
}

const PAGE: &str = "<!doctype html><html lang=\"en\"><title>Sign out</title></html>";
