//! The server on a socket, for demos and for clients that are not ours.

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

/// A socket on which a [`TestServer`] listens; dropped, it is closed with all its connections.
#[derive(Debug)]
#[must_use = "dropping it closes the socket"]
pub struct Listening {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Listening {
    /// Where it listens, with the port that was found for port 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl TestServer {
    /// Answers HTTP/1.1 here. The issuer should be `http://` and this very address.
    ///
    /// # Errors
    ///
    /// What the operating system says where the address cannot be bound.
    pub async fn listen(&self, address: impl ToSocketAddrs) -> io::Result<Listening> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Listening {
            address,
            task: tokio::spawn(accept(listener, self.clone())),
        })
    }

    /// A server at an address that is found now, say `127.0.0.1:0`, with the issuer that follows from
    /// it and the system's time.
    ///
    /// # Errors
    ///
    /// What the operating system says where the address cannot be bound; an address that is not on
    /// loopback is refused, since the issuer is http.
    pub async fn start(address: impl ToSocketAddrs) -> io::Result<(Self, Listening)> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let server = Self::new(&format!("http://{address}"))
            .map_err(|refused| io::Error::new(io::ErrorKind::InvalidInput, refused))?
            .with_clock(ManualClock::ticking());
        let task = tokio::spawn(accept(listener, server.clone()));
        Ok((server, Listening { address, task }))
    }
}

async fn accept(listener: TcpListener, server: TestServer) {
    // Dropped with this task, and then every connection is.
    let mut connections = JoinSet::new();
    loop {
        // A connection that failed before it was one is nobody's loss; a full table of sockets must not
        // keep the others from running.
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
