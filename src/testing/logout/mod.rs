//! The end of a sign-in, told to the clients that took part in it: with a logout token on the back
//! channel, with a frame on the front channel (OpenID Connect Back-Channel and Front-Channel Logout).

mod sent;

use std::error::Error;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use serde_json::json;
use tower_service::Service;
use url::Url;

pub use sent::SentLogout;

use super::browser::{Transport, origin};
use super::mint::TokenMint;
use super::registry::{TestClient, absolute};
use super::respond::with_query;
use super::server::{State, TestServer};
use super::sessions::SignIn;
use crate::ConfigError;

/// The event that makes a JWT a logout token (Back-Channel Logout §2.4).
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

impl TestClient {
    /// Where logout tokens go when a sign-in ends of which it got an ID token (Back-Channel Logout
    /// §2.2).
    ///
    /// # Errors
    ///
    /// [`ConfigError::Url`] where it is not absolute or has a fragment.
    pub fn with_backchannel_logout_uri(mut self, uri: &str) -> Result<Self, ConfigError> {
        self.backchannel_logout_uri = Some(absolute("back-channel logout URI", uri)?);
        Ok(self)
    }

    /// What the signed-out page loads in a frame, with `iss` and `sid` in its query (Front-Channel
    /// Logout §2, §3).
    ///
    /// # Errors
    ///
    /// [`ConfigError::Url`] where it is not absolute or has a fragment.
    pub fn with_frontchannel_logout_uri(mut self, uri: &str) -> Result<Self, ConfigError> {
        self.frontchannel_logout_uri = Some(absolute("front-channel logout URI", uri)?);
        Ok(self)
    }
}

impl TestServer {
    /// Delivers logout tokens for this origin, say `https://shop.example.test`, to this service: an
    /// axum router, for instance. Without one they go over TCP, to `http` on loopback only.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Url`] where it is more or less than an origin.
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

    /// A logout token for a client, about subject `alice` and without `sid`, good for two minutes
    /// (Back-Channel Logout §2.4): to be changed, spoiled and sent by a test.
    ///
    /// ```
    /// # use tower_oauth::testing::TestServer;
    /// # let server = TestServer::new("https://id.example.test")?;
    /// let all_sessions = server.logout_token("shop").sign();
    /// let one_session = server.logout_token("shop").without_claim("sub").with_claim("sid", "the sid");
    /// let an_id_token = server.logout_token("shop").with_claim("nonce", "a nonce");
    /// let forged = server.logout_token("shop").with_foreign_key();
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

    /// Signs a subject out in every browser and tells the clients, as an administrator of the server
    /// does; what was sent. Tokens that clients hold stay good.
    pub async fn sign_out(&self, subject: &str) -> Vec<SentLogout> {
        let ended = self.state().sessions.sign_out_subject(subject);
        self.tell_clients(ended).await
    }

    /// The `sid` of every sign-in of a subject that lasts, in no order.
    pub fn session_ids(&self, subject: &str) -> Vec<String> {
        self.state().sessions.session_ids(subject)
    }

    /// Tells of what ended at a page; it is told when the next page is there.
    pub(super) async fn tell_of_pages(&self) {
        let ended = std::mem::take(&mut self.state().ended);
        self.tell_clients(ended).await;
    }

    /// Sends a logout token for each of these sign-ins to each client that is to hear of it.
    async fn tell_clients(&self, ended: Vec<SignIn>) -> Vec<SentLogout> {
        let mut sent = Vec::new();
        for sign_in in ended {
            let clients = self.state().grants.clients_of(&sign_in);
            for client_id in clients {
                let token = self
                    .logout_token(&client_id)
                    .with_subject(&sign_in.subject)
                    .with_claim("sid", sign_in.sid.as_str());
                sent.extend(self.send_logout_token(&client_id, &token.sign()).await);
            }
        }
        sent
    }
}

/// What the signed-out page loads for a sign-in (Front-Channel Logout §3).
pub(super) fn frames(server: &TestServer, state: &State, sign_in: &SignIn) -> Vec<Url> {
    let clients = state.grants.clients_of(sign_in).into_iter();
    let uris = clients.filter_map(|id| state.client(&id)?.frontchannel_logout_uri.as_deref());
    let pairs = [("iss", server.issuer()), ("sid", &sign_in.sid)];
    uris.filter_map(|uri| Url::parse(&with_query(uri, &pairs)).ok())
        .collect()
}
