//! Signing out at the authorization server, OpenID Connect RP-Initiated Logout §2.

use std::time::Duration;

use url::Url;

use super::record::SessionRecord;
use super::settings::{Flow, redirect_target};
use crate::clock::within;
use crate::config_error::ConfigError;
use crate::protocol::{State, form};

/// How long the URL may be: servers and proxies on the way begin to refuse at 8 KiB, and cookies of
/// the server travel in the same head (`L63`).
const MAX_URL: usize = 4096;

/// How long a person waits here for metadata that is not known yet.
const PATIENCE: Duration = Duration::from_secs(2);

const CLIENT_ID: &str = "client_id";

/// The way out of a server whose metadata names none, or not the one to use.
#[derive(Clone, Debug)]
pub(super) struct OwnEndSession {
    endpoint: Url,
    /// What the server calls `post_logout_redirect_uri`.
    redirect_parameter: String,
}

/// Where the browser goes to sign out at the server too.
#[derive(Clone, Debug)]
pub(crate) struct EndSession {
    pub(crate) url: String,
    /// The same without the ID token, for a response that a script can read.
    pub(crate) url_without_hint: String,
    /// Whether it comes back with the state.
    pub(crate) brings_state: bool,
}

impl Flow {
    /// A way to sign out that is not that of the specification (`L62`).
    pub(crate) fn with_end_session_endpoint(
        mut self,
        url: &str,
        redirect_parameter: &str,
    ) -> Result<Self, ConfigError> {
        let endpoint = redirect_target("end session endpoint", url)?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        let usable = !redirect_parameter.is_empty()
            && redirect_parameter != CLIENT_ID
            && redirect_parameter.bytes().all(plain);
        if !usable {
            return Err(ConfigError::Setting {
                setting: "redirect parameter",
                value: redirect_parameter.to_owned(),
                reason: "it must be letters, digits, `_`, `-` and `.`, and not `client_id`",
            });
        }
        self.end_session = Some(OwnEndSession {
            endpoint,
            redirect_parameter: redirect_parameter.to_owned(),
        });
        Ok(self)
    }

    /// Where the browser goes to sign out at the server too; `None` where the server offers nothing
    /// of the kind, or is not known within two seconds: the session here has ended all the same.
    ///
    /// The ID token goes along as a hint unless the URL would exceed 4 KiB; the client id always
    /// does, so that the server knows whose redirect URI it reads.
    pub(crate) async fn end_session(
        &self,
        record: &SessionRecord,
        state: &State,
    ) -> Option<EndSession> {
        match &self.end_session {
            Some(own) => Some(self.end_session_at(own)),
            None => self.end_session_by_metadata(record, state).await,
        }
    }

    /// Such servers know neither hint nor state, and are not handed an ID token for nothing.
    fn end_session_at(&self, own: &OwnEndSession) -> EndSession {
        let mut parameters = vec![(CLIENT_ID, self.client.id())];
        if let Some(uri) = &self.post_logout_redirect_uri {
            parameters.push((&own.redirect_parameter, uri));
        }
        let url = with_parameters(&own.endpoint, &parameters);
        EndSession {
            url_without_hint: url.clone(),
            url,
            brings_state: false,
        }
    }

    async fn end_session_by_metadata(
        &self,
        record: &SessionRecord,
        state: &State,
    ) -> Option<EndSession> {
        let metadata = self.server.metadata();
        let metadata = within(&**self.clock(), PATIENCE, metadata).await?.ok()?;
        let endpoint = Url::parse(metadata.end_session_endpoint()?).ok()?;
        let hint = record
            .id_token()
            .map(|id_token| ("id_token_hint", id_token.expose()));
        let mut parameters = vec![(CLIENT_ID, self.client.id())];
        if let Some(uri) = &self.post_logout_redirect_uri {
            parameters.push(("post_logout_redirect_uri", uri));
            parameters.push(("state", state.expose()));
        }
        let without_hint = with_parameters(&endpoint, &parameters);
        parameters.extend(hint);
        let with_hint = with_parameters(&endpoint, &parameters);
        let fits = with_hint.len() <= MAX_URL;
        let url = if fits { &with_hint } else { &without_hint };
        Some(EndSession {
            url: url.clone(),
            url_without_hint: without_hint,
            brings_state: self.post_logout_redirect_uri.is_some(),
        })
    }
}

/// Adds to the query that the endpoint may already have, except where it names the same.
fn with_parameters(endpoint: &Url, parameters: &[(&str, &str)]) -> String {
    let mut pairs: Vec<(String, String)> = form::parse(endpoint.query().unwrap_or_default())
        .unwrap_or_default()
        .into_iter()
        .filter(|(name, _)| parameters.iter().all(|(other, _)| other != name))
        .collect();
    pairs.extend(
        parameters
            .iter()
            .map(|&(name, value)| (name.to_owned(), value.to_owned())),
    );
    let mut url = endpoint.clone();
    url.set_fragment(None);
    url.set_query(Some(&form::encode(pairs)));
    url.into()
}
