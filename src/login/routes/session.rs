//! `session`: returns the signed-in user and the expiry of the session as JSON, for scripts. No
//! token.

use bytes::Bytes;
use http::Method;
use http::request::Parts;
use serde_json::{Map, Value};

use crate::login::navigation::RequestKind;
use crate::login::refusal::LoginRefusal;
use crate::login::response::{self, LayerResponse};
use crate::login::settings::Settings;
use crate::protocol::form;
use crate::record::SessionRecord;
use crate::session::SessionTime;

/// A request does not extend the session unless its query has `extend=true`: scripts that poll must
/// not keep an unattended session alive.
pub(super) async fn handle(settings: &Settings, parts: &Parts) -> LayerResponse {
    if parts.method != Method::GET && parts.method != Method::HEAD {
        return response::method_not_allowed("GET, HEAD");
    }
    let allowed = settings.allows(&parts.method, &parts.headers);
    let extend = wants_extension(parts);
    let cookie = match settings.session(&parts.headers, allowed && extend).await {
        Ok(cookie) => cookie,
        Err(error) => return settings.reject(&parts.headers, &LoginRefusal::from(&error), None),
    };
    let mut cookies = cookie.set_cookies;
    let mut response = match cookie.session {
        // RFC 10017 §6.1.2.1: if requests need the static header, this route needs it too.
        Some(_) if !allowed => settings.reject_cross_site(&parts.headers),
        Some((loaded, now)) => {
            if extend {
                cookies.extend(settings.renewed_cookies(&loaded, cookie.names));
            }
            response::json(&session_info(settings, loaded.record(), &now))
        }
        None => settings.login_required(RequestKind::Program, &parts.headers, None),
    };
    if parts.method == Method::HEAD {
        *response.body_mut() = Bytes::new();
    }
    response::add_cookies(response.headers_mut(), cookies);
    response
}

fn session_info(settings: &Settings, record: &SessionRecord, now: &SessionTime) -> Value {
    let mut members = Map::new();
    members.insert("issuer".to_owned(), record.issuer().into());
    members.insert("subject".to_owned(), record.subject().into());
    for name in ["name", "preferred_username", "email"] {
        if let Some(value @ Value::String(_)) = record.claims().get(name) {
            members.insert(name.to_owned(), value);
        }
    }
    let ends_at = settings.manager.ends_at(record, now);
    members.insert("signed_in_at".to_owned(), record.created_at().into());
    members.insert(
        "expires_at".to_owned(),
        settings.manager.expires_at(record, now).into(),
    );
    members.insert("ends_at".to_owned(), ends_at.into());
    Value::Object(members)
}

fn wants_extension(parts: &Parts) -> bool {
    let query = parts.uri.query().unwrap_or_default();
    form::parse(query).is_ok_and(|pairs| {
        pairs
            .iter()
            .any(|(name, value)| name == "extend" && value == "true")
    })
}
