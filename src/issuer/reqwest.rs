//! The default transport of the back channel: reqwest with rustls.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Request, Response};

use super::back_channel::{
    BackChannelError, BackChannelTransport, MAX_BODY, SentRequest, TOTAL_TIMEOUT,
};
use super::renewable::Renewable;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// A NAT or firewall may silently drop a connection that was idle for longer.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);
const MAX_IDLE: usize = 32;

/// The time without traffic after which TCP probes the peer, and the interval of the probes.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
const KEEP_ALIVE_RETRIES: u32 = 2;

/// Sends requests with reqwest. The client is created by the first request, so that constructors read no root
/// certificates.
#[derive(Clone, Debug, Default)]
pub(super) struct ReqwestTransport(Renewable<reqwest::Client>);

impl ReqwestTransport {
    fn build() -> Result<reqwest::Client, reqwest::Error> {
        // A redirect could lead to any host, and a proxy from the environment could receive the client secret.
        // Applications that need a proxy configure a service with `with_back_channel`.
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

    /// Replaces the connections after a timeout or a reset, and returns the error.
    fn record_error(&self, generation: u64, error: reqwest::Error) -> reqwest::Error {
        if error.is_timeout() && !error.is_connect() {
            self.0.replace_after_timeout(generation);
        } else if !error.is_connect() && !error.is_builder() {
            self.0.replace_after_error(generation);
        }
        error
    }
}

impl BackChannelTransport for ReqwestTransport {
    fn send(&self, request: Request<Bytes>) -> SentRequest {
        let client = self.0.get(Self::build);
        let generation = client.as_ref().map_or(0, |(_, generation)| *generation);
        let transport = self.clone();
        let response = Box::pin(async move {
            let record = |error| transport.record_error(generation, error);
            let (client, _) = client?;
            let mut upstream = client.execute(request.try_into()?).await.map_err(record)?;
            let mut body = BytesMut::new();
            while let Some(chunk) = upstream.chunk().await.map_err(record)? {
                if body.len() + chunk.len() > MAX_BODY {
                    return Err(BackChannelError::TooLarge.into());
                }
                body.extend_from_slice(&chunk);
            }
            let mut response = Response::new(body.freeze());
            *response.status_mut() = upstream.status();
            *response.headers_mut() = std::mem::take(upstream.headers_mut());
            Ok(response)
        });
        SentRequest {
            response,
            generation,
        }
    }

    fn discard_connections(&self, generation: u64) {
        self.0.replace_after_timeout(generation);
    }
}
