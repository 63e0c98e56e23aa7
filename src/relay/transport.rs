//! The default transport: HTTP/1.1 by hyper, TLS by rustls.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tower_service::Service;

use crate::issuer::{Connections, Renewable};
use crate::tls;

type RelayTransportError = tower::BoxError;
type HttpsClient = Client<HttpsConnector<HttpConnector>, UnsyncBoxBody<Bytes, RelayTransportError>>;

/// Sends requests over HTTP/1.1, with the TLS trust anchors of the platform.
///
/// It follows no redirects, ignores proxy environment variables, changes no header field but
/// `Host`, and keeps up to 32 idle connections for 15 seconds. After a connection failed, or a
/// request was dropped that had no response for a second, further requests use new connections. The
/// client is created at the first request, so that constructors read no certificates. Cloning is
/// cheap; clones share their connections.
#[derive(Clone, Default)]
pub struct HttpTransport(Renewable<HttpsClient>);

impl HttpTransport {
    fn make() -> Result<HttpsClient, RelayTransportError> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        tcp.set_keepalive(Some(KEEP_ALIVE));
        tcp.set_keepalive_interval(Some(KEEP_ALIVE));
        tcp.set_keepalive_retries(Some(KEEP_ALIVE_RETRIES));
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_platform_verifier(tls::provider())?
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        Ok(Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(MAX_IDLE)
            .build(connector))
    }
}

impl<B> Service<Request<B>> for HttpTransport
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<RelayTransportError>,
{
    type Response = Response<HttpBody>;
    type Error = RelayTransportError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, RelayTransportError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), RelayTransportError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let request = request.map(|body| body.map_err(Into::into).boxed_unsync());
        let clients = self.0.clone();
        Box::pin(async move {
            let send = |client: HttpsClient| async move { Ok(client.request(request).await?) };
            let response = clients.run(Self::make, send, connections_after).await?;
            Ok(response.map(HttpBody))
        })
    }
}

fn connections_after(error: &RelayTransportError) -> Connections {
    match error.downcast_ref::<hyper_util::client::legacy::Error>() {
        Some(error) if !error.is_connect() => Connections::Failed,
        _ => Connections::Usable,
    }
}

impl fmt::Debug for HttpTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HttpTransport")
    }
}

/// The body of an upstream's response, streamed.
#[derive(Debug)]
pub struct HttpBody(Incoming);

impl Body for HttpBody {
    type Data = Bytes;
    type Error = RelayTransportError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RelayTransportError>>> {
        let frame = Pin::new(&mut self.0).poll_frame(cx);
        frame.map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection that was idle for longer may have been dropped on the network path.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);
/// The time without traffic after which keep-alive probes are sent.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
const KEEP_ALIVE_RETRIES: u32 = 2;
const MAX_IDLE: usize = 32;

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use http_body_util::Empty;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::issuer::UNRESPONSIVE_AFTER;

    /// Responds to one request on the first connection and then no more, and to all requests on
    /// others.
    async fn respond(mut stream: TcpStream, first: bool) {
        let mut buffer = [0; 4096];
        while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {
            let response = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
            if stream.write_all(response).await.is_err() {
                return;
            }
            if first {
                std::future::pending::<()>().await;
            }
        }
    }

    #[tokio::test]
    async fn after_a_request_on_a_silent_connection_the_next_use_new_ones() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let first = count.fetch_add(1, Ordering::SeqCst) == 0;
                tokio::spawn(respond(stream, first));
            }
        });
        let transport = HttpTransport::default();
        let send = || {
            let request = Request::get(&url).body(Empty::<Bytes>::new()).unwrap();
            let response = transport.clone().call(request);
            tokio::time::timeout(UNRESPONSIVE_AFTER + Duration::from_millis(50), response)
        };
        assert!(send().await.unwrap().is_ok());
        // The connection returns to the pool.
        tokio::task::yield_now().await;
        assert!(send().await.is_err(), "no response in time");
        for _ in 0..5 {
            assert!(send().await.unwrap().is_ok());
        }
        assert!(connections.load(Ordering::SeqCst) <= 6);
    }
}
