//! Servers on loopback, and the two raw clients.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Request};
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// Only a failing test waits for this long.
const LIMIT: Duration = Duration::from_secs(20);
/// As above.
const NO_RESPONSE: Duration = Duration::from_secs(5);

/// Serves over HTTP/1.1, with upgrades.
pub(crate) async fn serve_http1(app: &Router) -> SocketAddr {
    let (listener, address) = listen().await;
    let app = app.clone();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            socket.set_nodelay(true).unwrap();
            let service = TowerToHyperService::new(app.clone());
            let connection = http1::Builder::new()
                .serve_connection(TokioIo::new(socket), service)
                .with_upgrades();
            tokio::spawn(connection);
        }
    });
    address
}

/// Serves over HTTP/2 with prior knowledge, with extended CONNECT.
pub(crate) async fn serve_http2(app: &Router) -> SocketAddr {
    let (listener, address) = listen().await;
    let app = app.clone();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            socket.set_nodelay(true).unwrap();
            let service = TowerToHyperService::new(app.clone());
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder.enable_connect_protocol();
            tokio::spawn(builder.serve_connection(TokioIo::new(socket), service));
        }
    });
    address
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// One response of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
}

/// Sends these bytes over a new connection, and returns the responses until the server closes it. The bytes must make the
/// server close the connection: with `Connection: close`, or because it cannot parse them.
pub(crate) async fn exchange(address: SocketAddr, bytes: &[u8]) -> Vec<Reply> {
    let text = exchange_raw(address, bytes).await;
    let mut replies: Vec<Reply> = Vec::new();
    for line in text.split("\r\n") {
        // The body before may end without a line break.
        let start = line.find("HTTP/1.");
        if let Some(status) = start.and_then(|at| line[at..].split(' ').nth(1)?.parse().ok()) {
            replies.push(Reply {
                status,
                head: String::new(),
            });
        }
        if let Some(reply) = replies.last_mut() {
            reply.head.push_str(line);
            reply.head.push('\n');
        }
    }
    replies
}

async fn exchange_raw(address: SocketAddr, bytes: &[u8]) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.set_nodelay(true).unwrap();
    // A server may close before it has read all.
    let _ = socket.write_all(bytes).await;
    let mut answer = Vec::new();
    let reading = timeout(LIMIT, socket.read_to_end(&mut answer)).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let sent = String::from_utf8_lossy(bytes);
    assert!(
        reading.is_ok(),
        "the server does not close after {sent:?}: {answer:?}"
    );
    answer
}

/// Opens an HTTP/2 connection.
pub(crate) async fn connect_http2(address: SocketAddr) -> SendRequest<Bytes> {
    let socket = TcpStream::connect(address).await.unwrap();
    socket.set_nodelay(true).unwrap();
    let (client, connection) = h2::client::handshake(socket).await.unwrap();
    tokio::spawn(connection);
    client
}

/// The part of a request after its header fields.
#[derive(Clone, Debug)]
pub(crate) enum Rest {
    /// END_STREAM is set on the header fields.
    Nothing,
    /// DATA that is not announced by a field.
    Data(&'static str),
    /// DATA and then trailers.
    Trailers(&'static str, HeaderMap),
    /// DATA without an end, until the response arrives.
    Unfinished(&'static str),
}

impl Rest {
    /// The name without the value, which may be a token.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Nothing => "without a body",
            Self::Data(_) => "with DATA",
            Self::Trailers(..) => "with trailers",
            Self::Unfinished(_) => "with DATA that does not end",
        }
    }
}

/// The status of one request over HTTP/2; 0 if the stream was reset, 1 if no response comes.
pub(crate) async fn ask(client: &SendRequest<Bytes>, request: Request<()>, rest: &Rest) -> u16 {
    let mut client = timeout(LIMIT, client.clone().ready())
        .await
        .unwrap()
        .unwrap();
    let end = matches!(rest, Rest::Nothing);
    let shown = format!("{request:?} {}", rest.kind());
    let Ok((response, mut stream)) = client.send_request(request, end) else {
        panic!("this cannot be sent: {shown}")
    };
    // The server may reset the stream before all is sent.
    let data = |text: &'static str| Bytes::from_static(text.as_bytes());
    let _ = match rest {
        Rest::Nothing => Ok(()),
        Rest::Data(text) => stream.send_data(data(text), true),
        Rest::Unfinished(text) => stream.send_data(data(text), false),
        Rest::Trailers(text, trailers) => stream
            .send_data(data(text), false)
            .and_then(|()| stream.send_trailers(trailers.clone())),
    };
    match timeout(NO_RESPONSE, response).await {
        Ok(Ok(response)) => response.status().as_u16(),
        Ok(Err(_)) => 0,
        Err(_) => 1,
    }
}
