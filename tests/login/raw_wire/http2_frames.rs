//! Header fields of HTTP/2 that no client library sends, as hand-written frames.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::guarded::{DOCUMENT, PATH, World};
use super::http1::assert_none;
use super::http2::alive;
use super::wire::{connect_http2, serve_http2};

const LIMIT: Duration = Duration::from_secs(20);
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GO_AWAY: u8 = 7;
const END_STREAM_AND_HEADERS: u8 = 5;

/// A literal field without indexing and without Huffman code (RFC 7541 §6.2.2).
fn literal(block: &mut Vec<u8>, name: &str, value: &str) {
    block.push(0);
    for text in [name, value] {
        let length = text.len();
        match length {
            0..127 => block.push(length as u8),
            _ => {
                block.push(127);
                let mut rest = length - 127;
                while rest >= 128 {
                    block.push((rest % 128) as u8 | 128);
                    rest /= 128;
                }
                block.push(rest as u8);
            }
        }
        block.extend_from_slice(text.as_bytes());
    }
}

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let mut frame = vec![
        length[1], length[2], length[3], kind, flags, 0, 0, 0, stream,
    ];
    frame.extend_from_slice(payload);
    frame
}

/// Sends one request of these fields, and waits until the server has answered or given up.
async fn send(address: SocketAddr, fields: &[(&str, &str)]) {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let mut block = Vec::new();
    for (name, value) in fields {
        literal(&mut block, name, value);
    }
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &[]));
    bytes.extend(frame(HEADERS, END_STREAM_AND_HEADERS, 1, &block));
    socket.write_all(&bytes).await.unwrap();
    let ended = timeout(LIMIT, async {
        let mut head = [0; 9];
        while socket.read_exact(&mut head).await.is_ok() {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            let is_last = [HEADERS, RST_STREAM, GO_AWAY].contains(&head[3]);
            if socket.read_exact(&mut payload).await.is_err() || is_last {
                break;
            }
        }
    });
    assert!(ended.await.is_ok(), "no end of {fields:?}");
}

/// RFC 9113 §8.1.1 and §8.2: a malformed request is not executed, with a credential neither.
#[tokio::test]
async fn a_malformed_request_of_http2_is_not_executed() {
    let start: &[(&str, &str)] = &[
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "api.example.test"),
    ];
    let malformed: &[&[(&str, &str)]] = &[
        &[],
        &[(":path", "")],
        &[(":path", "admin")],
        &[(":path", "/a b")],
        &[(":path", "/a\r\nx: y")],
        &[(":path", PATH), (":path", "/admin")],
        &[(":path", PATH), (":method", "DELETE")],
        &[(":path", PATH), (":status", "200")],
        &[(":path", PATH), (":protocol", "websocket")],
        &[(":path", PATH), (":unknown", "x")],
        &[(":path", PATH), ("connection", "upgrade")],
        &[
            (":path", PATH),
            ("connection", "x-csrf"),
            ("upgrade", "websocket"),
        ],
        &[(":path", PATH), ("transfer-encoding", "chunked")],
        &[(":path", PATH), ("keep-alive", "1")],
        &[(":path", PATH), ("proxy-connection", "close")],
        &[(":path", PATH), ("te", "gzip")],
        &[(":path", PATH), ("X-Upper", "1")],
        &[(":path", PATH), ("x y", "1")],
        &[(":path", PATH), ("", "1")],
        &[(":path", PATH), ("x", "1\r\nx-auth-sub: admin")],
        &[(":path", PATH), ("x", "1\0")],
        &[(":path", PATH), ("x", "1"), (":method", "DELETE")],
        &[(":path", PATH), ("content-length", "-1")],
        &[(":path", PATH), ("content-length", "5")],
    ];
    let mut wrong = Vec::new();
    for guarded in World::new().all().await {
        let address = serve_http2(&guarded.app).await;
        let credential = guarded.credential.iter();
        let credential: Vec<_> = credential
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        for row in malformed {
            let fields = [start, row, &credential].concat();
            send(address, &fields).await;
            let executed = guarded.executed.take();
            if !executed.is_empty() {
                wrong.push(format!("{}: {row:?} executed {executed:?}", guarded.name));
            }
        }
        // Well-formed, without a credential.
        for row in [
            [(":path", DOCUMENT), ("x", "1")],
            [(":path", PATH), ("host", "other.example.test")],
            [(":path", "http://api.example.test/admin"), ("x", "1")],
            [(":path", "/a#b"), ("x", "1")],
        ] {
            send(address, &[start, &row].concat()).await;
            let executed = guarded.executed.take();
            if !executed.is_empty() {
                wrong.push(format!("{}: {row:?} executed {executed:?}", guarded.name));
            }
        }
        let client = connect_http2(address).await;
        if let Err(error) = alive(&guarded, &client).await {
            wrong.push(format!("{}: {error}", guarded.name));
        }
    }
    assert_none(&wrong);
}
