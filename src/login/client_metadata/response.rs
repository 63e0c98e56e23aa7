//! The responses with document and key set: public, cacheable, and the same for every caller.

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    CACHE_CONTROL, CONTENT_LENGTH, ETAG, HeaderMap, IF_NONE_MATCH, VARY,
};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode};
use serde_json::{Value, json};

use super::options::ClientMetadata;
use crate::config_error::ConfigError;
use crate::crypto::base64url;
use crate::crypto::digest::sha256;
use crate::login::events;
use crate::login::response::{self, LayerResponse};
use crate::login::settings::Settings;

/// Responds with what `contents` returns. No cookie is read.
pub(in crate::login) fn respond(
    settings: &Settings,
    parts: &Parts,
    contents: fn(&Settings, &ClientMetadata) -> Result<Value, ConfigError>,
) -> LayerResponse {
    let Some(metadata) = &settings.client_metadata else {
        return response::empty(StatusCode::NOT_FOUND);
    };
    match parts.method {
        Method::GET | Method::HEAD => {}
        Method::OPTIONS => return preflight(),
        _ => return response::method_not_allowed("GET, HEAD, OPTIONS"),
    }
    let json = match contents(settings, metadata) {
        Ok(value) => value.to_string(),
        Err(error) => {
            events::client_metadata_invalid(&error);
            let error = json!({ "error": "server_error" });
            return response::json_with(StatusCode::INTERNAL_SERVER_ERROR, &error);
        }
    };
    let tag = format!("\"{}\"", base64url::encode(&sha256(json.as_bytes())[..16]));
    let is_known = is_known(&parts.headers, &tag);
    let status = if is_known {
        StatusCode::NOT_MODIFIED
    } else {
        StatusCode::OK
    };
    let mut response = response::json_with(status, &Value::Null);
    let body = Bytes::from(json);
    let headers = response.headers_mut();
    make_public(headers);
    let max_age = format!("public, max-age={}", metadata.max_age.as_secs());
    for (name, value) in [(CACHE_CONTROL, max_age), (ETAG, tag)] {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
    if !is_known {
        headers.insert(CONTENT_LENGTH, body.len().into());
    }
    *response.body_mut() = match parts.method {
        Method::GET if !is_known => body,
        _ => Bytes::new(),
    };
    response
}

/// Scripts may send header fields of their protocol, which cause a preflight request.
fn preflight() -> LayerResponse {
    let mut response = response::empty(StatusCode::NO_CONTENT);
    let headers = response.headers_mut();
    make_public(headers);
    headers.insert(
        ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("GET, HEAD"),
    );
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("*"));
    response
}

fn make_public(headers: &mut HeaderMap) {
    headers.remove(VARY);
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response::allow_embedding(headers);
}

/// Returns whether the caller has this version already (RFC 9110 §13.1.2: the comparison is weak).
fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let fields = headers.get_all(IF_NONE_MATCH).iter();
    let mut tags = fields
        .filter_map(|field| field.to_str().ok())
        .flat_map(|field| field.split(','))
        .map(str::trim);
    tags.any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag)
}
