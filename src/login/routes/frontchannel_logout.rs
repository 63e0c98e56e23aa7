//! `frontchannel-logout`: a page of the authorization server loads this route in a frame when the
//! user signs out there (OpenID Connect Front-Channel Logout §2).
//!
//! It is a GET from another site, so it ends only the session that `iss` and `sid` name together,
//! and only if this browser has it. In browsers that block third-party cookies it has no effect;
//! rely on the back channel.

use http::request::Parts;
use http::{HeaderValue, Method, StatusCode};

use crate::login::events;
use crate::login::form::single;
use crate::login::jar::Jar;
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
    let pairs = form::parse(parts.uri.query().unwrap_or_default()).unwrap_or_default();
    // Each parameter must be present exactly once: `sid` is only unique within `iss`.
    let parameter = |name| single(&pairs, name).filter(|value| !value.is_empty());
    let (Some(issuer), Some(sid)) = (parameter("iss"), parameter("sid")) else {
        return page(settings, StatusCode::BAD_REQUEST);
    };
    match end(settings, parts, issuer, sid).await {
        Ok(cookies) => {
            let mut response = page(settings, StatusCode::OK);
            response::add_cookies(response.headers_mut(), cookies);
            response
        }
        Err(error) => settings.reject(&parts.headers, &LoginRefusal::from(&error), None),
    }
}

/// Ends the session of this browser if it is the named one, and returns the `Set-Cookie` values
/// that clear its cookies.
async fn end(
    settings: &Settings,
    parts: &Parts,
    issuer: &str,
    sid: &str,
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
        if record.issuer() != issuer || record.sid() != Some(sid) {
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

/// Returns an empty page that only the authorization server may embed (§2). It does not reveal
/// whether a session ended.
fn page(settings: &Settings, status: StatusCode) -> LayerResponse {
    let issuer = settings.flow().server().issuer();
    let origin = url::Url::parse(issuer).map(|url| url.origin().ascii_serialization());
    let policy = format!(
        "default-src 'none'; frame-ancestors {}",
        origin.as_deref().unwrap_or("'none'")
    );
    let mut response = response::html(status, PAGE.to_owned(), &policy);
    response::allow_embedding(response.headers_mut());
    response
}

const PAGE: &str = "<!doctype html><html lang=\"en\"><title>Sign out</title></html>";
