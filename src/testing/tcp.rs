//! The test server on a TCP socket, for demos and other clients.

use std::io;
use std::net::SocketAddr;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, ToSocketAddrs};
use tokio::task::{JoinHandle, JoinSet};
use tower_service::Service as _;

use super::clock::ManualClock;
use super::server::TestServer;

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
