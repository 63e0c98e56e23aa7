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

use http::request::Parts;
use http_body::Body;

use super::client_metadata::{self, client_metadata_json, key_set_json};
use super::response::LayerResponse;
use super::route_paths::Route;
use super::settings::Settings;

pub(super) async fn handle<B: Body>(
    route: Route,
    settings: Arc<Settings>,
    parts: Parts,
    body: B,
) -> LayerResponse {
    match route {
        Route::Login => login::handle(&settings, &parts, body).await,
        Route::Callback => {
            let provider = settings.manager.providers().first();
            callback::handle(&settings, provider, &parts, body).await
        }
        Route::Logout => logout::handle(&settings, &parts, body).await,
        Route::Session => session::handle(&settings, &parts).await,
        Route::BackchannelLogout => backchannel_logout::handle(&settings, &parts, body).await,
        Route::FrontchannelLogout => frontchannel_logout::handle(&settings, &parts).await,
        Route::ClientMetadata => client_metadata::respond(&settings, &parts, client_metadata_json),
        Route::Jwks => client_metadata::respond(&settings, &parts, key_set_json),
    }
}
