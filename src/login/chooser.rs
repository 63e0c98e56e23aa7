//! The choice of the provider to sign in at.

use std::sync::Arc;

use http::header::ACCEPT_LANGUAGE;
use http::request::Parts;
use http::{Method, StatusCode};
use serde_json::json;

use super::asked_login::BAD_PARAMETER;
use super::chooser_page::{ChooserPage, ProviderChoice};
use super::form::MAX_LOCATION;
use super::layer::LoginLayer;
use super::navigation::{self, RequestKind};
use super::pages::{CUSTOM_PAGE_POLICY, policy};
use super::refusal::LoginRefusal;
use super::response::{self, LayerResponse};
use super::settings::{ChooserPageRenderer, Settings, with_query};

impl LoginLayer {
    /// Sets the function that renders the page where users choose a provider, as HTML. It is shown if the layer has
    /// [several](Self::add_provider).
    ///
    /// ```
    /// use tower_oauth::LoginLayer;
    ///
    /// fn with_own_page(login: LoginLayer) -> LoginLayer {
    ///     login.with_chooser_page(|page| {
    ///         let escape = |text: &str| text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;");
    ///         let link = |url: &str, name: &str| format!("<a href=\"{}\">{}</a>", escape(url), escape(name));
    ///         let choices = page.choices().iter();
    ///         let links: String = choices.map(|one| link(one.login_url(), one.display_name())).collect();
    ///         format!("<!doctype html><title>Sign in</title><nav>{links}</nav>")
    ///     })
    /// }
    /// ```
    #[must_use]
    pub fn with_chooser_page(
        self,
        render: impl Fn(&ChooserPage<'_>) -> String + Send + Sync + 'static,
    ) -> Self {
        self.with(|settings| settings.chooser_page = Some(ChooserPageRenderer(Arc::new(render))))
    }
}

impl Settings {
    /// Returns the choice of providers: a page for a navigation, a list for a program that asks for JSON, with the
    /// parameters of the request. `None` for other requests, which cannot choose. A query that is longer than a URL of this
    /// application is rejected.
    pub(super) fn choose_provider(
        &self,
        kind: RequestKind,
        request: &Parts,
    ) -> Result<Option<LayerResponse>, LoginRefusal> {
        let (headers, query) = (&request.headers, request.uri.query());
        // Each provider repeats the query, which the page escapes.
        let length = query.unwrap_or_default().len();
        if length > MAX_LOCATION {
            return Err(
                LoginRefusal::stale("query_too_long", BAD_PARAMETER).because(format!(
                    "the query has {length} bytes, and at most {MAX_LOCATION} are repeated for each provider"
                )),
            );
        }
        let providers = self.manager.providers().all();
        let choices = providers.map(|provider| ProviderChoice {
            name: &provider.name,
            display_name: &provider.display_name,
            login_url: with_query(self.paths.login_of(&provider.name), query),
        });
        let response = match kind {
            RequestKind::Navigation => {
                let accept_language = headers.get(ACCEPT_LANGUAGE);
                let page = ChooserPage {
                    choices: choices.collect(),
                    accept_language: accept_language.and_then(|value| value.to_str().ok()),
                };
                match &self.chooser_page {
                    Some(renderer) => {
                        response::html(StatusCode::OK, renderer.0(&page), CUSTOM_PAGE_POLICY)
                    }
                    None => response::html(StatusCode::OK, page.to_string(), policy()),
                }
            }
            RequestKind::Program
                if request.method == Method::GET && navigation::wants_json(headers) =>
            {
                let choices = choices.map(|choice| {
                    json!({
                        "name": choice.name,
                        "display_name": choice.display_name,
                        "login_url": choice.login_url,
                    })
                });
                let list = json!({ "providers": choices.collect::<Vec<_>>() });
                response::json_with(StatusCode::OK, &list)
            }
            RequestKind::Program | RequestKind::Form | RequestKind::Htmx => return Ok(None),
        };
        Ok(Some(response))
    }
}
