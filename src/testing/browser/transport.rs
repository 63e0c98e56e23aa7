//! How a request leaves the browser: into a service of this process, or over TCP on loopback.

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

type BoxError = Box<dyn Error + Send + Sync>;
type Answer = Pin<Box<dyn Future<Output = Result<Response<Bytes>, BoxError>> + Send>>;

/// A service behind an origin, without its type.
#[derive(Clone)]
pub(in crate::testing) struct Transport(Arc<dyn Fn(Request<Bytes>) -> Answer + Send + Sync>);

impl Transport {
    pub(in crate::testing) fn new<S, B>(service: S) -> Self
    where
        S: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        B: http_body::Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
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
    ) -> Result<Response<Bytes>, BoxError> {
        (self.0)(request).await
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transport(..)")
    }
}

/// One request over a connection of its own.
pub(in crate::testing) async fn send_over_tcp(
    url: &Url,
    request: Request<Bytes>,
) -> Result<Response<Bytes>, BoxError> {
    let nowhere = || io::Error::new(io::ErrorKind::NotFound, "no service stands for this origin");
    if url.scheme() != "http" || !super::site::is_trustworthy(url) {
        return Err(nowhere().into());
    }
    let addresses = url.socket_addrs(|| None)?;
    let stream = TcpStream::connect(addresses.as_slice()).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // Ends by itself when the sender is gone and the answer has been read.
    tokio::spawn(connection);
    let response = sender.send_request(request.map(Full::new)).await?;
    let (parts, body) = response.into_parts();
    Ok(Response::from_parts(
        parts,
        body.collect().await?.to_bytes(),
    ))
}
