//! The default service of the back channel: reqwest with rustls.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tower::BoxError;
use tower::util::{BoxCloneSyncService, service_fn};

use super::back_channel::{BackChannelService, MAX_BODY, TOTAL_TIMEOUT};
use super::error::BackChannelError;
use super::renewable::{Connections, Renewable};
use crate::tls;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// A NAT or firewall may silently drop a connection that was idle for longer.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);
const MAX_IDLE: usize = 32;

/// The time without traffic after which TCP probes the peer, and the interval of the probes.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
const KEEP_ALIVE_RETRIES: u32 = 2;

/// Creates the service. Its client is created by the first request, so that constructors read no root certificates.
pub(super) fn service() -> BackChannelService {
    let clients = Renewable::default();
    BoxCloneSyncService::new(service_fn(move |request| {
        let clients = clients.clone();
        async move {
            clients
                .run(create, |client| send(client, request), connections_after)
                .await
        }
    }))
}

/// Creates the service of a configured client.
pub(super) fn service_of(client: reqwest::Client) -> BackChannelService {
    BoxCloneSyncService::new(service_fn(move |request| send(client.clone(), request)))
}

fn create() -> Result<reqwest::Client, BoxError> {
    // A redirect could lead to any host, and a proxy from the environment could receive the client secret.
    // Applications that need a proxy configure a client with `with_http_client`.
    let tls = tls::client_config(None)?.with_no_client_auth();
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
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
        .build();
    Ok(client?)
}

async fn send(
    client: reqwest::Client,
    request: Request<Bytes>,
) -> Result<Response<Bytes>, BoxError> {
    let request = reqwest::Request::try_from(request)?;
    let url = request.url().clone();
    let response = client.execute(request).await?;
    if *response.url() != url {
        return Err("the client followed a redirect".into());
    }
    let (parts, body) = Response::from(response).into_parts();
    let body = Limited::new(body, MAX_BODY).collect().await;
    let body = body.map_err(|error| match error.is::<LengthLimitError>() {
        true => BackChannelError::TooLarge.into(),
        false => error,
    })?;
    Ok(Response::from_parts(parts, body.to_bytes()))
}

fn connections_after(error: &BoxError) -> Connections {
    match error.downcast_ref::<reqwest::Error>() {
        Some(error) if error.is_connect() || error.is_builder() => Connections::Usable,
        Some(error) if error.is_timeout() => Connections::Unresponsive,
        Some(_) => Connections::Failed,
        None => Connections::Usable,
    }
}
