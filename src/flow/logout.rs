//! Logout at the authorization server (OpenID Connect RP-Initiated Logout §2).

use std::time::Duration;

use url::Url;

use super::settings::{CLIENT_ID, CustomEndSession, Flow};
use crate::clock::within;
use crate::protocol::{State, form};
use crate::record::SessionRecord;

/// Maximum length of the logout URL. Servers and proxies commonly limit the request head to 8 KiB, which also
/// contains the cookies of the authorization server.
const MAX_URL: usize = 4096;

/// Maximum time that a logout waits for metadata.
const METADATA_TIMEOUT: Duration = Duration::from_secs(2);

/// The URL that the browser is redirected to for logout at the authorization server.
#[derive(Clone, Debug)]
pub(crate) struct EndSession {
    pub(crate) url: String,
    /// The URL without the ID token, for a response that a script can read.
    pub(crate) url_without_hint: String,
    /// Whether the authorization server returns the `state` with the redirect back.
    pub(crate) returns_state: bool,
}

impl Flow {
    /// Returns the logout URL of the authorization server, or `None` if the server has no logout endpoint or its
    /// metadata is not available within two seconds. The local session has ended in any case.
    ///
    /// Adds `client_id`, so that the server can validate the redirect URI without a hint, and `id_token_hint`
    /// unless the URL would exceed 4 KiB.
    pub(crate) async fn end_session(
        &self,
        record: &SessionRecord,
        state: &State,
    ) -> Option<EndSession> {
        match &self.end_session {
            Some(custom) => Some(self.end_session_at(custom)),
            None => self.end_session_by_metadata(record, state).await,
        }
    }

    /// Such servers do not support `id_token_hint` and `state`, so the ID token is not disclosed to them.
    fn end_session_at(&self, custom: &CustomEndSession) -> EndSession {
        let mut parameters = vec![(CLIENT_ID, self.client.id())];
        if let Some(uri) = &self.post_logout_redirect_uri {
            parameters.push((&custom.redirect_parameter, uri));
        }
        let url = with_parameters(&custom.endpoint, &parameters);
        EndSession {
            url_without_hint: url.clone(),
            url,
            returns_state: false,
        }
    }

    async fn end_session_by_metadata(
        &self,
        record: &SessionRecord,
        state: &State,
    ) -> Option<EndSession> {
        let metadata = self.server.metadata();
        let metadata = within(&**self.clock(), METADATA_TIMEOUT, metadata)
            .await?
            .ok()?;
        let endpoint = Url::parse(metadata.end_session_endpoint()?).ok()?;
        let hint = record
            .tokens()
            .id_token
            .as_ref()
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
            returns_state: self.post_logout_redirect_uri.is_some(),
        })
    }
}

/// Adds parameters to the query of the endpoint. They replace parameters of the same name.
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
