//! The back channel that comes with the crate: reqwest with rustls.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Request, Response};

use super::back_channel::{BackChannelError, Carried, Carrier, MAX_BODY, TOTAL_TIMEOUT};
use super::renewable::Renewable;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection that was idle for longer may have been dropped on the way without a word.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);
const MAX_IDLE: usize = 32;

/// After so long without traffic on a connection the peer is asked whether it is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
const KEEP_ALIVE_RETRIES: u32 = 2;

/// Carries requests; the client is made at the first one, so that constructors read no certificates.
#[derive(Clone, Debug, Default)]
pub(super) struct Reqwest(Renewable<reqwest::Client>);

impl Reqwest {
    fn make() -> Result<reqwest::Client, reqwest::Error> {
        // A redirect could lead anywhere, and a proxy named by the environment would read the
        // client's secret: who needs either hands in a service of their own.
        reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TOTAL_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(MAX_IDLE)
            .tcp_keepalive(KEEP_ALIVE)
            .tcp_keepalive_interval(KEEP_ALIVE)
            .tcp_keepalive_retries(KEEP_ALIVE_RETRIES)
            .user_agent(concat!("tower-oauth/", env!("CARGO_PKG_VERSION")))
            .build()
    }

    /// Gives up the connections after a timeout or a reset, and keeps the error.
    fn note(&self, generation: u64, error: reqwest::Error) -> reqwest::Error {
        if error.is_timeout() && !error.is_connect() {
            self.0.fell_silent(generation);
        } else if !error.is_connect() && !error.is_builder() {
            self.0.broke(generation);
        }
        error
    }
}

impl Carrier for Reqwest {
    fn carry(&self, request: Request<Bytes>) -> Carried {
        let client = self.0.get(Self::make);
        let generation = client.as_ref().map_or(0, |(_, generation)| *generation);
        let carrier = self.clone();
        let answer = Box::pin(async move {
            let note = |error| carrier.note(generation, error);
            let (client, _) = client?;
            let mut answer = client.execute(request.try_into()?).await.map_err(note)?;
            let mut body = BytesMut::new();
            while let Some(chunk) = answer.chunk().await.map_err(note)? {
                if body.len() + chunk.len() > MAX_BODY {
                    return Err(BackChannelError::TooLarge.into());
                }
                body.extend_from_slice(&chunk);
            }
            let mut response = Response::new(body.freeze());
            *response.status_mut() = answer.status();
            *response.headers_mut() = std::mem::take(answer.headers_mut());
            Ok(response)
        });
        Carried { answer, generation }
    }

    fn give_up(&self, generation: u64) {
        self.0.fell_silent(generation);
    }
}
