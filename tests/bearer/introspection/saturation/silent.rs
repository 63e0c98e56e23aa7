//! Pooled connections whose peer has disappeared without closing them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Barrier;
use tower_oauth::AuthorizationServer;
use tower_oauth::testing::ManualClock;
use tower_oauth::token::IntrospectionVerifier;

use super::super::{api_of, client};
use super::later;

use crate::support::api::{AUDIENCE, Outcome, present, soon, until};

const POOLED: usize = 8;

#[derive(Default)]
struct Peer {
    connections: AtomicUsize,
    requests: AtomicUsize,
    /// Connections up to this number get no further response.
    silent: AtomicUsize,
}

impl Peer {
    async fn serve(self: Arc<Self>, listener: TcpListener, together: Arc<Barrier>) {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let number = self.connections.fetch_add(1, Ordering::SeqCst) + 1;
            let (peer, together) = (Arc::clone(&self), Arc::clone(&together));
            tokio::spawn(async move { peer.connection(stream, number, &together).await });
        }
    }

    async fn connection(&self, mut stream: TcpStream, number: usize, together: &Barrier) {
        let mut first = true;
        while read_request(&mut stream).await {
            self.requests.fetch_add(1, Ordering::SeqCst);
            if number <= self.silent.load(Ordering::SeqCst) {
                std::future::pending::<()>().await;
            }
            if first && number <= POOLED {
                together.wait().await;
            }
            first = false;
            let body = format!(r#"{{"active":true,"aud":"{AUDIENCE}"}}"#);
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length";
            let answer = format!("{head}: {}\r\n\r\n{body}", body.len());
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    }
}

/// Reads a request. Returns false at the end of the connection.
async fn read_request(stream: &mut TcpStream) -> bool {
    let mut read = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&read).to_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.split("content-length: ").nth(1).unwrap();
            let length: usize = length.split("\r\n").next().unwrap().parse().unwrap();
            if body.len() >= length {
                return true;
            }
        }
        match stream.read_buf(&mut read).await {
            Ok(0) | Err(_) => return false,
            Ok(_) => {}
        }
    }
}

#[tokio::test]
async fn a_timeout_replaces_the_connection_pool() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let issuer = format!("http://{}", listener.local_addr().unwrap());
    let (peer, together) = (Arc::new(Peer::default()), Arc::new(Barrier::new(POOLED)));
    tokio::spawn(Arc::clone(&peer).serve(listener, together));

    let clock = ManualClock::new(1_800_000_000);
    let server = AuthorizationServer::new(&issuer).unwrap();
    let server = server.with_clock(clock.clone());
    let verifier = IntrospectionVerifier::new(&server, client(), AUDIENCE).unwrap();
    let verifier = verifier.with_endpoint(&format!("{issuer}/introspect"));
    let api = api_of(verifier.unwrap());

    let first: Vec<_> = (0..POOLED)
        .map(|number| later(&api, format!("first-{number}")))
        .collect();
    for request in first {
        assert_eq!(soon(request).await.unwrap(), Outcome::Accepted);
    }
    let connections = peer.connections.load(Ordering::SeqCst);
    assert_eq!(connections, POOLED);

    // All connections at the same time, as behind a gateway that has lost its state.
    peer.silent.store(connections, Ordering::SeqCst);
    let stuck = later(&api, "stuck".to_owned());
    until(|| peer.requests.load(Ordering::SeqCst) > POOLED).await;
    // The connection pool has no clock: it is replaced if a request is dropped after a second of real time.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    clock.advance(Duration::from_secs(5));
    assert_eq!(soon(stuck).await.unwrap(), Outcome::Unavailable);
    for number in 0..12 {
        let outcome = present(&api, &format!("next-{number}")).await.outcome();
        assert_eq!(outcome, Outcome::Accepted, "{number}");
    }
    assert_eq!(peer.connections.load(Ordering::SeqCst), POOLED + 1);
}
