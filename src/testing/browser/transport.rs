//! Transports: a service in this process, or TCP on loopback.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;
use url::Url;

type TransportError = Box<dyn Error + Send + Sync>;
type TransportFuture =
    Pin<Box<dyn Future<Output = Result<Response<Bytes>, TransportError>> + Send>>;

/// A service with its type erased.
#[derive(Clone)]
pub(in crate::testing) struct Transport(
    Arc<dyn Fn(Request<Bytes>) -> TransportFuture + Send + Sync>,
);

impl Transport {
    pub(in crate::testing) fn new<S, B>(service: S) -> Self
    where
        S: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Error: Into<TransportError>,
        S::Future: Send,
        B: http_body::Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<TransportError>,
    {
        Self(Arc::new(move |request| {
            let mut service = service.clone();
            Box::pin(async move {
                std::future::poll_fn(|cx| service.poll_ready(cx))
                    .await
                    .map_err(Into::into)?;
                let response = service
                    .call(request.map(Full::new))
                    .await
                    .map_err(Into::into)?;
                let (parts, body) = response.into_parts();
                let body = body.collect().await.map_err(Into::into)?.to_bytes();
                Ok(Response::from_parts(parts, body))
            })
        }))
    }

    pub(in crate::testing) async fn send(
        &self,
        request: Request<Bytes>,
    ) -> Result<Response<Bytes>, TransportError> {
        (self.0)(request).await
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transport(..)")
    }
}

/// Sends one request over a new connection.
pub(in crate::testing) async fn send_over_tcp(
    url: &Url,
    request: Request<Bytes>,
) -> Result<Response<Bytes>, TransportError> {
    let unknown = || io::Error::new(io::ErrorKind::NotFound, "no service for this origin");
    if url.scheme() != "http" || !super::outgoing::is_trustworthy(url) {
        return Err(unknown().into());
    }
    let addresses = url.socket_addrs(|| None)?;
    let stream = TcpStream::connect(addresses.as_slice()).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // The task ends when the sender is dropped and the response has been read.
    tokio::spawn(connection);
    let response = sender.send_request(request.map(Full::new)).await?;
    let (parts, body) = response.into_parts();
    Ok(Response::from_parts(
        parts,
        body.collect().await?.to_bytes(),
    ))
}
