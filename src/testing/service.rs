//! The test server as a tower service, as a back channel and on a TCP socket.

use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{TcpListener, ToSocketAddrs};
use tokio::task::{JoinHandle, JoinSet};
use tower_service::Service;

use super::clock::ManualClock;
use super::endpoint;
use super::fault::Kind;
use super::request_log::Endpoint;
use super::respond::{empty, oauth_error, with_header};
use super::server::TestServer;
use crate::clock::Clock as _;

/// The connection was closed by a [`Fault`](super::Fault), or the request body could not be read.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the connection was closed")]
pub struct Disconnected(());

type ServerFuture<B> = Pin<Box<dyn Future<Output = Result<Response<B>, Disconnected>> + Send>>;

/// A back channel to a [`TestServer`] in the same process, for
/// [`AuthorizationServer::with_back_channel`](crate::AuthorizationServer::with_back_channel).
#[derive(Clone, Debug)]
pub struct TestBackChannel(TestServer);

impl TestBackChannel {
    pub(super) fn new(server: TestServer) -> Self {
        Self(server)
    }
}

impl Service<Request<Bytes>> for TestBackChannel {
    type Response = Response<Bytes>;
    type Error = Disconnected;
    type Future = ServerFuture<Bytes>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Disconnected>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let server = self.0.clone();
        Box::pin(async move { server.handle(request).await })
    }
}

impl<B> Service<Request<B>> for TestServer
where
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Response = Response<Full<Bytes>>;
    type Error = Disconnected;
    type Future = ServerFuture<Full<Bytes>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Disconnected>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let server = self.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = body
                .collect()
                .await
                .map_err(|_| Disconnected(()))?
                .to_bytes();
            server
                .handle(Request::from_parts(parts, body))
                .await
                .map(|response| response.map(Full::new))
        })
    }
}

impl TestServer {
    async fn handle(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Disconnected> {
        let endpoint = endpoint::endpoint_at(&self.shared.issuer, request.uri().path());
        let grant = self.shared.request_log.add(endpoint, &request);
        let faults = self.shared.faults.take(endpoint, grant);
        self.apply_early_faults(&faults).await?;
        let response = match replaced_response(&faults) {
            Some(response) => response,
            None => endpoint::handle(self, endpoint, &request, &faults),
        };
        if endpoint == Endpoint::EndSession {
            self.send_pending_logouts(&faults).await;
        }
        let response = altered_response(response, &faults);
        for fault in &faults {
            match fault {
                Kind::DelayResponse(duration) => self.clock().sleep(*duration).await,
                Kind::HoldResponse(gate) => gate.passed().await,
                _ => {}
            }
        }
        // The connection closes when the response would have been sent.
        if faults
            .iter()
            .any(|fault| matches!(fault, Kind::LoseResponse))
        {
            return Err(Disconnected(()));
        }
        Ok(response)
    }

    async fn apply_early_faults(&self, faults: &[Kind]) -> Result<(), Disconnected> {
        for fault in faults {
            match fault {
                Kind::Delay(duration) => self.clock().sleep(*duration).await,
                Kind::Wait(gate) => gate.passed().await,
                Kind::Hang => match std::future::pending::<Infallible>().await {},
                Kind::Disconnect => return Err(Disconnected(())),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Returns the response that faults put in place of the endpoint's.
fn replaced_response(faults: &[Kind]) -> Option<Response<Bytes>> {
    faults.iter().fold(None, |response, fault| match fault {
        Kind::Status(status) => {
            let mut response = response.unwrap_or_else(|| empty(*status));
            *response.status_mut() = *status;
            Some(response)
        }
        Kind::Refusal(status, code) => Some(oauth_error(*status, code, "rejected by a test fault")),
        Kind::Body {
            content_type,
            bytes,
        } => {
            let response = response.unwrap_or_else(|| empty(StatusCode::OK));
            Some(with_header(
                response.map(|_| bytes.clone()),
                CONTENT_TYPE,
                content_type,
            ))
        }
        _ => response,
    })
}

/// Applies the faults that change a response.
fn altered_response(mut response: Response<Bytes>, faults: &[Kind]) -> Response<Bytes> {
    for fault in faults {
        match fault {
            Kind::Header(name, Some(value)) => {
                response.headers_mut().insert(name, value.clone());
            }
            Kind::Header(name, None) => {
                response.headers_mut().remove(name);
            }
            Kind::Member(name, value) => {
                response = response.map(|body| with_member(body, name, value.as_ref()));
            }
            _ => {}
        }
    }
    response
}

fn with_member(body: Bytes, name: &str, value: Option<&Value>) -> Bytes {
    let Ok(Value::Object(mut object)) = serde_json::from_slice(&body) else {
        return body;
    };
    match value {
        Some(value) => object.insert(name.to_owned(), value.clone()),
        None => object.remove(name),
    };
    Value::Object(object).to_string().into()
}

/// A handle to a [`TestServer`] that listens on a socket. Dropping it closes the socket and all
/// connections.
#[derive(Debug)]
#[must_use = "dropping it closes the socket"]
pub struct ServerHandle {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl ServerHandle {
    /// Returns the local address, with the port that was assigned for port 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for ServerHandle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl TestServer {
    /// Serves HTTP/1.1 at this address. The issuer should be `http://` and the same address.
    ///
    /// # Errors
    ///
    /// If the address cannot be bound.
    pub async fn listen(&self, address: impl ToSocketAddrs) -> io::Result<ServerHandle> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(ServerHandle {
            address,
            task: tokio::spawn(accept(listener, self.clone())),
        })
    }

    /// Creates a server that listens at this address, for example `127.0.0.1:0`, takes its issuer from
    /// the address, and uses the system clock.
    ///
    /// # Errors
    ///
    /// If the address cannot be bound or is not a loopback address, which an `http` issuer requires.
    pub async fn start(address: impl ToSocketAddrs) -> io::Result<(Self, ServerHandle)> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let server = Self::new(&format!("http://{address}"))
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?
            .with_clock(ManualClock::ticking());
        let task = tokio::spawn(accept(listener, server.clone()));
        Ok((server, ServerHandle { address, task }))
    }
}

async fn accept(listener: TcpListener, server: TestServer) {
    // Aborting this task drops the set, which closes all connections.
    let mut connections = JoinSet::new();
    loop {
        // A failed `accept` affects one connection only. Yielding lets the others run if the process
        // is out of sockets.
        let Ok((stream, _)) = listener.accept().await else {
            tokio::task::yield_now().await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        let server = server.clone();
        let service = service_fn(move |request| server.clone().call(request));
        connections.spawn(async move {
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}
