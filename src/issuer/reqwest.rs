//! The back channel that comes with the crate: reqwest with rustls.

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use tower_service::Service;

use super::back_channel::{BackChannelError, MAX_BODY, TOTAL_TIMEOUT};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Carries requests; the client is made at the first one, so that constructors read no certificates.
#[derive(Clone, Debug, Default)]
pub(super) struct Reqwest(Arc<OnceLock<reqwest::Client>>);

impl Reqwest {
    fn client(&self) -> Result<reqwest::Client, reqwest::Error> {
        if let Some(client) = self.0.get() {
            return Ok(client.clone());
        }
        // A redirect could lead anywhere, and a proxy named by the environment would read the
        // client's secret: who needs either hands in a service of their own.
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TOTAL_TIMEOUT)
            .user_agent(concat!("tower-oauth/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(self.0.get_or_init(|| client).clone())
    }
}

impl Service<Request<Bytes>> for Reqwest {
    type Response = Response<Bytes>;
    type Error = Box<dyn Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let client = self.client();
        Box::pin(async move {
            let mut answer = client?.execute(request.try_into()?).await?;
            let mut body = BytesMut::new();
            while let Some(chunk) = answer.chunk().await? {
                if body.len() + chunk.len() > MAX_BODY {
                    return Err(BackChannelError::TooLarge.into());
                }
                body.extend_from_slice(&chunk);
            }
            let mut response = Response::new(body.freeze());
            *response.status_mut() = answer.status();
            *response.headers_mut() = std::mem::take(answer.headers_mut());
            Ok(response)
        })
    }
}
