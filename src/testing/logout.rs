//! Back-channel and front-channel logout of the clients that took part in a sign-in (OpenID Connect
//! Back-Channel Logout, OpenID Connect Front-Channel Logout).

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use serde_json::json;
use tower_service::Service;
use url::{Position, Url};

use super::browser::{Transport, origin, send_over_tcp};
use super::browser_sessions::SignIn;
use super::fault::Kind;
use super::mint::TokenMint;
use super::registry::{TestClient, absolute};
use super::respond::with_query;
use super::server::{ServerState, TestServer};
use crate::ConfigError;
use crate::clock::within;

/// The event that makes a JWT a logout token (Back-Channel Logout §2.4).
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

impl TestClient {
    /// Sets the URI that receives logout tokens when a sign-in ends for which the client has an ID token
    /// (Back-Channel Logout §2.2).
    ///
    /// # Errors
    ///
    /// [`ConfigError::Url`] if the URI is not absolute or has a fragment.
    pub fn with_backchannel_logout_uri(mut self, uri: &str) -> Result<Self, ConfigError> {
        self.backchannel_logout_uri = Some(absolute("back-channel logout URI", uri)?);
        Ok(self)
    }

    /// Sets the URI that the signed-out page loads in a frame, with `iss` and `sid` in its query
    /// (Front-Channel Logout §2, §3).
    ///
    /// # Errors
    ///
    /// [`ConfigError::Url`] if the URI is not absolute or has a fragment.
    pub fn with_frontchannel_logout_uri(mut self, uri: &str) -> Result<Self, ConfigError> {
        self.frontchannel_logout_uri = Some(absolute("front-channel logout URI", uri)?);
        Ok(self)
    }
}

impl TestServer {
    /// Sends logout tokens for this origin, for example `https://shop.example.test`, to a service in
    /// this process, for example an axum router. Without a service they are sent over TCP, to `http`
    /// on loopback only.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Url`] if `at` is not an origin.
    pub fn add_relying_party<S, B>(self, at: &str, service: S) -> Result<Self, ConfigError>
    where
        S: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
        S::Future: Send,
        B: http_body::Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let origin = origin(at)?;
        {
            let parties = &mut self.state().relying_parties;
            parties.retain(|(other, _)| *other != origin);
            parties.push((origin, Transport::new(service)));
        }
        Ok(self)
    }

    /// Creates a logout token for a client with subject `alice`, no `sid`, and a lifetime of two minutes
    /// (Back-Channel Logout §2.4). Send it with [`send_logout_token`](Self::send_logout_token).
    ///
    /// ```
    /// # use tower_oauth::testing::TestServer;
    /// # let server = TestServer::new("https://id.example.test")?;
    /// let all_sessions = server.logout_token("shop").sign();
    /// let one_session = server.logout_token("shop").without_claim("sub").with_claim("sid", "the sid");
    /// let an_id_token = server.logout_token("shop").with_claim("nonce", "a nonce");
    /// let forged = server.logout_token("shop").with_wrong_key();
    /// # assert!(all_sessions != one_session.sign() && an_id_token.sign() != forged.sign());
    /// # Ok::<(), tower_oauth::ConfigError>(())
    /// ```
    pub fn logout_token(&self, client_id: &str) -> TokenMint {
        self.mint("logout+jwt")
            .with_issuer(self.issuer())
            .with_audience(client_id)
            .with_subject("alice")
            .with_expires_in(120)
            .with_claim("events", json!({ EVENT: {} }))
    }

    /// Ends all sign-ins of a subject, as an administrator of the authorization server does, and returns
    /// the logout tokens that were sent. Tokens of the clients stay valid.
    pub async fn sign_out(&self, subject: &str) -> Vec<SentLogoutToken> {
        let ended = self.state().sessions.sign_out_subject(subject);
        self.notify_clients(ended, &[]).await
    }

    /// Returns the `sid` of each current sign-in of a subject, in no particular order.
    pub fn session_ids(&self, subject: &str) -> Vec<String> {
        self.state().sessions.session_ids(subject)
    }

    /// Sends logout tokens for the sign-ins that ended at a page.
    pub(super) async fn send_pending_logouts(&self, faults: &[Kind]) {
        let ended = std::mem::take(&mut self.state().ended);
        self.notify_clients(ended, faults).await;
    }

    /// Sends a logout token for each sign-in to each client that has an ID token of it.
    async fn notify_clients(&self, ended: Vec<SignIn>, faults: &[Kind]) -> Vec<SentLogoutToken> {
        let mut sent = Vec::new();
        for sign_in in ended {
            let clients = self.state().grants.clients_of(&sign_in);
            for client_id in clients {
                let token = self
                    .logout_token(&client_id)
                    .with_subject(&sign_in.subject)
                    .with_claim("sid", sign_in.sid.as_str());
                let token = faults.iter().fold(token, |mint, fault| match fault {
                    Kind::LogoutToken(alter) => alter.apply(mint),
                    _ => mint,
                });
                sent.extend(self.send_logout_token(&client_id, &token.sign()).await);
            }
        }
        sent
    }
}

/// Returns the URLs that the signed-out page loads in frames (Front-Channel Logout §3).
pub(super) fn frames(server: &TestServer, state: &ServerState, sign_in: &SignIn) -> Vec<Url> {
    let clients = state.grants.clients_of(sign_in).into_iter();
    let uris = clients.filter_map(|id| state.client(&id)?.frontchannel_logout_uri.as_deref());
    let pairs = [("iss", server.issuer()), ("sid", &sign_in.sid)];
    uris.filter_map(|uri| Url::parse(&with_query(uri, &pairs)).ok())
        .collect()
}

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
