//! A logout token on its way (OpenID Connect Back-Channel Logout 1.0 §2.5).

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST};
use http::{Request, StatusCode};
use url::{Position, Url};

use super::super::browser::send_over_tcp;
use super::super::server::TestServer;
use crate::clock::within;

/// How long a client may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// One logout token that was sent to a client, and what became of it.
#[derive(Clone, Debug)]
pub struct SentLogout {
    client_id: String,
    uri: String,
    token: String,
    status: Option<StatusCode>,
}

impl SentLogout {
    /// The client it was for.
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// Where it went.
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// The logout token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// What the client answered: 200 where it did what it was told (§2.8); `None` where it could not
    /// be reached or did not answer within five seconds of the server's clock.
    pub fn status(&self) -> Option<StatusCode> {
        self.status
    }
}

impl TestServer {
    /// Sends a logout token, good or hostile, to the place a client registered for them, and keeps it
    /// in [`sent_logouts`](Self::sent_logouts); nothing for a client that registered none.
    pub async fn send_logout_token(&self, client_id: &str, token: &str) -> Option<SentLogout> {
        let uri = self
            .state()
            .client(client_id)
            .and_then(|client| client.backchannel_logout_uri.clone())?;
        let clock = self.clock();
        let status = within(&clock, PATIENCE, self.deliver(&uri, token)).await;
        let sent = SentLogout {
            client_id: client_id.to_owned(),
            uri,
            token: token.to_owned(),
            status: status.flatten(),
        };
        self.state().sent_logouts.push(sent.clone());
        Some(sent)
    }

    /// Every logout token that was sent, in order.
    pub fn sent_logouts(&self) -> Vec<SentLogout> {
        self.state().sent_logouts.clone()
    }

    async fn deliver(&self, uri: &str, token: &str) -> Option<StatusCode> {
        let url = Url::parse(uri).ok()?;
        let body = Bytes::from(format!("logout_token={token}"));
        let request = Request::post(&url[Position::BeforePath..Position::AfterQuery])
            .header(HOST, &url[Position::BeforeHost..Position::AfterPort])
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(CONTENT_LENGTH, body.len())
            .body(body)
            .ok()?;
        let parties = self.state().relying_parties.clone();
        let party = parties.iter().find(|(origin, _)| *origin == url.origin());
        let answer = match party {
            Some((_, transport)) => transport.send(request).await,
            None => send_over_tcp(&url, request).await,
        };
        Some(answer.ok()?.status())
    }
}
