//! Delivery of logout tokens (OpenID Connect Back-Channel Logout 1.0 §2.5).

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST};
use http::{Request, StatusCode};
use url::{Position, Url};

use super::super::browser::send_over_tcp;
use super::super::server::TestServer;
use crate::clock::within;

/// How long a client has to respond.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(5);

/// A logout token that was sent to a client, and the response.
#[derive(Clone, Debug)]
pub struct SentLogoutToken {
    client_id: String,
    uri: String,
    token: String,
    status: Option<StatusCode>,
}

impl SentLogoutToken {
    /// Returns the client id.
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// Returns the back-channel logout URI.
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// Returns the logout token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Returns the status of the response: 200 for a completed logout (§2.8). `None` if the client could
    /// not be reached or did not respond within five seconds of the server's clock.
    pub fn status(&self) -> Option<StatusCode> {
        self.status
    }
}

impl TestServer {
    /// Sends a logout token, valid or not, to the back-channel logout URI of a client and records it in
    /// [`sent_logout_tokens`](Self::sent_logout_tokens). Returns `None` if the client has no such URI.
    pub async fn send_logout_token(&self, client_id: &str, token: &str) -> Option<SentLogoutToken> {
        let uri = self
            .state()
            .client(client_id)
            .and_then(|client| client.backchannel_logout_uri.clone())?;
        let clock = self.clock();
        let status = within(&clock, DELIVERY_TIMEOUT, self.deliver(&uri, token)).await;
        let sent = SentLogoutToken {
            client_id: client_id.to_owned(),
            uri,
            token: token.to_owned(),
            status: status.flatten(),
        };
        self.state().sent_logout_tokens.push(sent.clone());
        Some(sent)
    }

    /// Returns all logout tokens that were sent, in order.
    pub fn sent_logout_tokens(&self) -> Vec<SentLogoutToken> {
        self.state().sent_logout_tokens.clone()
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
        let response = match party {
            Some((_, transport)) => transport.send(request).await,
            None => send_over_tcp(&url, request).await,
        };
        Some(response.ok()?.status())
    }
}
