//! Upgrades: a valid WebSocket handshake on both sides, or nothing.

use tower::ServiceExt as _;

use super::*;

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

const HANDSHAKE: Fields = &[
    ("connection", "upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", KEY),
];

/// An upstream that sends `response` to every request, and counts them.
async fn raw_upstream(response: String) -> (SocketAddr, Arc<Mutex<usize>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let requests = Arc::new(Mutex::new(0));
    let counter = Arc::clone(&requests);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (response, counter) = (response.clone(), Arc::clone(&counter));
            tokio::spawn(async move {
                let mut buffer = [0; 8192];
                while stream
                    .read(&mut buffer)
                    .await
                    .is_ok_and(|length| length > 0)
                {
                    *counter.lock().unwrap() += 1;
                    let _ = stream.write_all(response.as_bytes()).await;
                }
            });
        }
    });
    (address, requests)
}

fn switching(fields: &[(&str, &str)]) -> String {
    let mut response = "HTTP/1.1 101 Switching Protocols\r\n".to_owned();
    for (name, value) in fields {
        response.push_str(&format!("{name}: {value}\r\n"));
    }
    response + "\r\n"
}

/// Returns the response head of a hand-written request of this application.
async fn raw_exchange(wire: &Wire, line: &str, fields: &[(&str, &str)], body: &str) -> String {
    let mut stream = TcpStream::connect(wire.address).await.unwrap();
    let mut request = format!(
        "{line}\r\nhost: shop.example.com\r\norigin: {SHOP}\r\nx-csrf: 1\r\ncookie: {}\r\n",
        wire.jar.header()
    );
    for (name, value) in fields {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    request.push_str(body);
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.windows(4).any(|four| four == b"\r\n\r\n") {
        if stream.read_buf(&mut answer).await.unwrap() == 0 {
            break;
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

/// RFC 6455 §4.2.1, RFC 9110 §7.8: an invalid handshake must not create a tunnel.
#[tokio::test]
async fn an_invalid_handshake_opens_no_tunnel() {
    let agreed = switching(&[
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-accept", ACCEPT),
    ]);
    let (upstream, requests) = raw_upstream(agreed).await;
    let wire = Wire::before(upstream).await;
    const GET: &str = "GET /api/x HTTP/1.1";
    type Row = (
        &'static str,
        &'static str,
        &'static [(&'static str, &'static str)],
        u16,
    );
    // A request line, fields that replace those of the same name (or remove them, if empty), and
    // the status.
    let rows: [Row; 33] = [
        ("HTTP/1.0", "GET /api/x HTTP/1.0", &[], 400),
        ("POST", "POST /api/x HTTP/1.1", &[], 400),
        ("HEAD", "HEAD /api/x HTTP/1.1", &[], 400),
        ("another method", "PURGE /api/x HTTP/1.1", &[], 405),
        ("no connection", GET, &[("connection", "")], 400),
        ("close", GET, &[("connection", "close")], 400),
        ("keep-alive", GET, &[("connection", "keep-alive")], 400),
        ("a longer word", GET, &[("connection", "upgrade-x")], 400),
        ("no key", GET, &[("sec-websocket-key", "")], 400),
        (
            "a short key",
            GET,
            &[("sec-websocket-key", "c2hvcnQ=")],
            400,
        ),
        (
            "a long key",
            GET,
            &[("sec-websocket-key", "MDEyMzQ1Njc4OTAxMjM0NTY3")],
            400,
        ),
        (
            "no base64",
            GET,
            &[("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZ!==")],
            400,
        ),
        (
            "no padding",
            GET,
            &[("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ")],
            400,
        ),
        (
            "two keys",
            GET,
            &[("sec-websocket-key", KEY), ("sec-websocket-key", KEY)],
            400,
        ),
        ("no version", GET, &[("sec-websocket-version", "")], 426),
        ("version 8", GET, &[("sec-websocket-version", "8")], 426),
        (
            "two versions",
            GET,
            &[("sec-websocket-version", "13, 8")],
            426,
        ),
        (
            "version twice",
            GET,
            &[
                ("sec-websocket-version", "13"),
                ("sec-websocket-version", "13"),
            ],
            426,
        ),
        ("a body", GET, &[("content-length", "5")], 400),
        (
            "a chunked body",
            GET,
            &[("transfer-encoding", "chunked")],
            400,
        ),
        ("h2c", GET, &[("upgrade", "h2c")], 400),
        ("h2c first", GET, &[("upgrade", "h2c, websocket")], 400),
        ("h2c last", GET, &[("upgrade", "websocket, h2c")], 400),
        (
            "two fields",
            GET,
            &[("upgrade", "websocket"), ("upgrade", "h2c")],
            400,
        ),
        (
            "twice",
            GET,
            &[("upgrade", "websocket"), ("upgrade", "websocket")],
            400,
        ),
        ("with a version", GET, &[("upgrade", "websocket/13")], 400),
        ("TLS", GET, &[("upgrade", "TLS/1.0")], 400),
        ("connect-udp", GET, &[("upgrade", "connect-udp")], 400),
        ("connect-ip", GET, &[("upgrade", "connect-ip")], 400),
        ("SPDY", GET, &[("upgrade", "SPDY/3.1")], 400),
        ("a shell", GET, &[("upgrade", "tcp")], 400),
        ("empty", GET, &[("upgrade", " ")], 400),
        ("as it should be", GET, &[], 101),
    ];
    for (what, line, changed, expected) in rows {
        assert_eq!(*requests.lock().unwrap(), 0, "before {what}");
        let changes = |name: &str| changed.iter().any(|(other, _)| *other == name);
        let kept = HANDSHAKE.iter().filter(|(name, _)| !changes(name));
        let fields: Vec<_> = kept
            .chain(changed.iter().filter(|(_, value)| !value.is_empty()))
            .copied()
            .collect();
        let body = match changed.first() {
            Some(("content-length", _)) => "hello",
            Some(("transfer-encoding", _)) => "5\r\nhello\r\n0\r\n\r\n",
            _ => "",
        };
        let answer = raw_exchange(&wire, line, &fields, body).await;
        assert_eq!(status(&answer), expected, "{what}: {answer}");
        let names_version = answer.contains("sec-websocket-version: 13");
        assert_eq!(names_version, expected == 426, "{what}: {answer}");
    }
    assert_eq!(*requests.lock().unwrap(), 1);
    // `Connection: upgrade` alone requests nothing, and some proxies add it to every request.
    let answer = raw_exchange(&wire, GET, &[("connection", "upgrade")], "").await;
    assert_eq!(status(&answer), 502, "101 unasked: {answer}");
}

/// RFC 6455 §4.1: an upstream that did not read the handshake has not accepted it.
#[tokio::test]
async fn an_upstream_that_accepts_another_protocol_is_a_bad_gateway() {
    const OTHER: &str = "HSmrc0sMlYUkAGmm5OPpG2HaGWk=";
    let rows: [(&str, Fields, u16); 13] = [
        ("nothing", &[], 502),
        ("no accept", &[("sec-websocket-accept", "")], 502),
        ("of another key", &[("sec-websocket-accept", OTHER)], 502),
        ("the key itself", &[("sec-websocket-accept", KEY)], 502),
        (
            "in other letters",
            &[("sec-websocket-accept", "S3PPLMBITXAQ9KYGZZHZRBK+XOO=")],
            502,
        ),
        (
            "two",
            &[
                ("sec-websocket-accept", ACCEPT),
                ("sec-websocket-accept", OTHER),
            ],
            502,
        ),
        ("no upgrade", &[("upgrade", "")], 502),
        ("h2c", &[("upgrade", "h2c")], 502),
        ("two protocols", &[("upgrade", "websocket, h2c")], 502),
        (
            "two fields",
            &[("upgrade", "websocket"), ("upgrade", "h2c")],
            502,
        ),
        ("no connection", &[("connection", "")], 502),
        ("close", &[("connection", "close")], 502),
        ("as it should be", &[("upgrade", "WebSocket")], 101),
    ];
    const GOOD: Fields = &[
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-accept", ACCEPT),
    ];
    for (what, changed, expected) in rows {
        let changes = |name: &str| changed.iter().any(|(other, _)| *other == name);
        let kept = GOOD.iter().filter(|(name, _)| !changes(name));
        let sent = changed.iter().filter(|(_, value)| !value.is_empty());
        let fields: Vec<_> = match what {
            "nothing" => Vec::new(),
            _ => kept.chain(sent).copied().collect(),
        };
        let (upstream, _) = raw_upstream(switching(&fields)).await;
        let wire = Wire::before(upstream).await;
        let answer = raw_exchange(&wire, "GET /api/x HTTP/1.1", HANDSHAKE, "").await;
        assert_eq!(status(&answer), expected, "{what}: {answer}");
    }
}

/// HTTP/2 has no upgrade (RFC 9113 §8.2.2), and some servers do not support it.
#[tokio::test]
async fn an_upgrade_without_an_http_1_1_connection_is_rejected() {
    let upstream = Upstream::default();
    let shop = shop(&upstream);
    let jar = shop.signed_in().await;
    for (version, expected) in [
        (http::Version::HTTP_2, 400),
        (http::Version::HTTP_3, 400),
        (http::Version::HTTP_10, 400),
        (http::Version::HTTP_09, 400),
        (http::Version::HTTP_11, 501),
    ] {
        let mut request = Request::new(Body::empty());
        *request.version_mut() = version;
        *request.uri_mut() = "https://shop.example.com/api/x".parse().unwrap();
        let headers = request.headers_mut();
        for (name, value) in HANDSHAKE.iter().chain(&[("origin", SHOP)]) {
            headers.insert(*name, HeaderValue::from_static(value));
        }
        headers.insert("cookie", jar.header().parse().unwrap());
        let response = shop.app.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status().as_u16(), expected, "{version:?}");
    }
    assert!(upstream.received().is_empty());
}

/// An upgrade to another protocol would create a tunnel past all checks, whatever the method.
#[tokio::test]
async fn no_other_upgrade_is_forwarded() {
    let upstream = Upstream::default();
    let shop = shop(&upstream);
    let jar = shop.signed_in().await;
    for method in ["GET", "POST", "PUT", "DELETE", "OPTIONS"] {
        for protocol in ["h2c", "h2c, websocket", "TLS/1.0", "HTTP/2.0", "x"] {
            let ask = Ask::new(method, "/api/x").with(&SCRIPT).with(&[
                ("upgrade", protocol),
                ("connection", "Upgrade, HTTP2-Settings"),
                ("http2-settings", "AAMAAABkAARAAAAAAAIAAAAA"),
            ]);
            let answer = shop.send(ask.jar(&jar)).await;
            assert_eq!(
                answer.status,
                StatusCode::BAD_REQUEST,
                "{method} {protocol}"
            );
            assert_eq!(answer.json()["code"], "upgrade_refused");
        }
    }
    assert!(upstream.received().is_empty());
}
