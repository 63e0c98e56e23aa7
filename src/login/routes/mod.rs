//! The routes of the layer, in the folder of the redirect URI.

mod backchannel_logout;
mod callback;
mod end_session;
mod form_post;
mod frontchannel_logout;
mod login;
mod logout;
mod session;

pub(super) use end_session::return_from_server;

use std::sync::Arc;

use http::StatusCode;
use http::request::Parts;
use http_body::Body;

use super::client_metadata::{self, client_metadata_json, key_set_json};
use super::refusal::LoginRefusal;
use super::response::LayerResponse;
use super::route::Route;
use super::settings::Settings;
use crate::protocol::sanitize::log_safe;

pub(super) async fn handle<B: Body>(
    route: Route,
    settings: Arc<Settings>,
    parts: Parts,
    body: B,
) -> LayerResponse {
    let providers = settings.manager.providers();
    match route {
        Route::Login(None) => login::handle(&settings, None, &parts, body).await,
        Route::Login(Some(index)) => match providers.get(index) {
            Some(provider) => login::handle(&settings, Some(provider), &parts, body).await,
            None => unknown_provider(&settings, &parts),
        },
        Route::Callback(index) => match providers.get(index) {
            Some(provider) => callback::handle(&settings, provider, &parts, body).await,
            None => unknown_provider(&settings, &parts),
        },
        Route::UnknownProvider => unknown_provider(&settings, &parts),
        Route::Logout => logout::handle(&settings, &parts, body).await,
        Route::Session => session::handle(&settings, &parts).await,
        Route::BackchannelLogout => backchannel_logout::handle(&settings, &parts, body).await,
        Route::FrontchannelLogout => frontchannel_logout::handle(&settings, &parts).await,
        Route::ClientMetadata => client_metadata::respond(&settings, &parts, client_metadata_json),
        Route::Jwks => client_metadata::respond(&settings, &parts, key_set_json),
    }
}

/// Rejects a login or a callback at a provider that the layer does not have, such as one that was removed.
fn unknown_provider(settings: &Settings, parts: &Parts) -> LayerResponse {
    let found = parts.uri.path().rsplit('/').next().unwrap_or_default();
    let names: Vec<&str> = settings
        .manager
        .providers()
        .all()
        .map(|one| &*one.name)
        .collect();
    let reason = format!(
        "found the name {}, expected one of {names:?}",
        log_safe(found)
    );
    settings.reject_login(&parts.headers, &UNKNOWN_PROVIDER.because(reason), None)
}

const UNKNOWN_PROVIDER: LoginRefusal = {
    let mut refusal = LoginRefusal::stale(
        "provider_unknown",
        "The link that brought you here is for a sign-in service that is not offered. Please sign in again.",
    );
    refusal.status = StatusCode::NOT_FOUND;
    refusal
};
