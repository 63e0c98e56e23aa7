//! Signing out at the authorization server, OpenID Connect RP-Initiated Logout §2.

use std::time::Duration;

use url::Url;

use super::record::SessionRecord;
use super::settings::Flow;
use crate::clock::within;
use crate::protocol::{State, form};

/// How long the URL may be: servers and proxies on the way begin to refuse at 8 KiB, and cookies of
/// the server travel in the same head (`L63`).
const MAX_URL: usize = 4096;

/// How long a person waits here for metadata that is not known yet.
const PATIENCE: Duration = Duration::from_secs(2);

impl Flow {
    /// Where the browser goes to sign out at the server too; `None` where the server offers nothing
    /// of the kind, or is not known within two seconds: the session here has ended all the same.
    ///
    /// The ID token goes along as a hint unless the URL would exceed 4 KiB; the client id always
    /// does, so that the server knows whose redirect URI it reads.
    pub(crate) async fn end_session_url(
        &self,
        record: &SessionRecord,
        state: &State,
    ) -> Option<String> {
        let metadata = self.server.metadata();
        let metadata = within(&**self.clock(), PATIENCE, metadata).await?.ok()?;
        let endpoint = Url::parse(metadata.end_session_endpoint()?).ok()?;
        let hint = record
            .id_token()
            .map(|id_token| ("id_token_hint", id_token.expose()));
        let mut parameters = vec![("client_id", self.client.id())];
        if let Some(uri) = &self.post_logout_redirect_uri {
            parameters.push(("post_logout_redirect_uri", uri));
            parameters.push(("state", state.expose()));
        }
        let without_hint = with_parameters(&endpoint, &parameters);
        parameters.extend(hint);
        let with_hint = with_parameters(&endpoint, &parameters);
        Some(if with_hint.len() > MAX_URL {
            without_hint
        } else {
            with_hint
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
