//! Requests as bytes on a socket that no client library would send.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use tower_oauth::testing::Endpoint;

use crate::support::shop::*;

const TO_A_PAGE: &str =
    "Accept: text/html\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n";

/// A response, or nothing if the server closed the connection.
struct Reply {
    status: u16,
    head: String,
}

impl Reply {
    fn location(&self) -> Option<&str> {
        self.head
            .lines()
            .find_map(|line| line.strip_prefix("location: "))
    }
}

async fn listen(shop: &Shop) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = shop.app.clone();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

async fn exchange(address: SocketAddr, request: impl Into<Vec<u8>>) -> Option<Reply> {
    let request = request.into();
    let answer = tokio::task::spawn_blocking(move || {
        let mut socket = TcpStream::connect(address).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        // A server may close the connection in the middle of a request that is too long.
        let _ = socket.write_all(&request);
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    });
    let answer = answer.await.unwrap();
    let (head, _) = answer.split_once("\r\n\r\n")?;
    Some(Reply {
        status: head.split(' ').nth(1)?.parse().ok()?,
        head: head.to_owned(),
    })
}

fn request(line: &str, fields: &str) -> String {
    format!("{line}\r\n{fields}{TO_A_PAGE}Connection: close\r\n\r\n")
}

/// No host, two hosts, an invalid host, or a host in the request line.
#[tokio::test(flavor = "multi_thread")]
async fn redirects_use_the_configured_origins_whatever_the_host_field() {
    let shop = Shop::new();
    let address = listen(&shop).await;
    for (name, line, fields) in [
        (
            "plain",
            "GET /auth/login HTTP/1.1",
            "Host: shop.example.com\r\n",
        ),
        ("evil", "GET /auth/login HTTP/1.1", "Host: evil.example\r\n"),
        (
            "two",
            "GET /auth/login HTTP/1.1",
            "Host: shop.example.com\r\nHost: evil.example\r\n",
        ),
        (
            "two, evil first",
            "GET /auth/login HTTP/1.1",
            "Host: evil.example\r\nHost: shop.example.com\r\n",
        ),
        ("none", "GET /auth/login HTTP/1.1", ""),
        ("empty", "GET /auth/login HTTP/1.1", "Host:\r\n"),
        (
            "blank in it",
            "GET /auth/login HTTP/1.1",
            "Host: shop.example.com evil.example\r\n",
        ),
        (
            "user",
            "GET /auth/login HTTP/1.1",
            "Host: shop.example.com@evil.example\r\n",
        ),
        (
            "slash",
            "GET /auth/login HTTP/1.1",
            "Host: evil.example/x\r\n",
        ),
        (
            "forwarded",
            "GET /auth/login HTTP/1.1",
            "Host: shop.example.com\r\nX-Forwarded-Host: evil.example, shop.example.com\r\n",
        ),
        (
            "in the line",
            "GET https://evil.example/auth/login HTTP/1.1",
            "Host: shop.example.com\r\n",
        ),
        (
            "in the line with a user",
            "GET http://x@evil.example:81/auth/login HTTP/1.1",
            "Host: shop.example.com\r\n",
        ),
        ("old protocol", "GET /auth/login HTTP/1.0", ""),
    ] {
        let reply = exchange(address, request(line, fields)).await.unwrap();
        if reply.status == 400 {
            assert_ne!(name, "plain");
            continue;
        }
        assert_eq!(reply.status, 303, "{name}: {}", reply.head);
        let location = reply.location().unwrap();
        assert!(
            location.starts_with(&format!("{ISSUER}/")),
            "{name}: {location}"
        );
        assert_eq!(
            parameter(location, "redirect_uri").as_deref(),
            Some(CALLBACK),
            "{name}"
        );
        assert!(!reply.head.contains("evil"), "{name}: {}", reply.head);
    }
}

/// Malformed request targets, at a page that needs a session.
#[tokio::test(flavor = "multi_thread")]
async fn no_request_target_redirects_elsewhere_or_bypasses_required() {
    let server = server();
    let login = login(&server);
    let app = axum::Router::new()
        .fallback(|| async { "secret" })
        .layer(login.required())
        .layer(login);
    let shop = Shop { server, app };
    let address = listen(&shop).await;
    let targets: [&[u8]; 30] = [
        b"//evil.example",
        b"//evil.example/%2e%2e",
        b"///evil.example",
        b"/\\evil.example",
        b"/\\/evil.example",
        b"\\\\evil.example",
        b"/%09/evil.example",
        b"/\t/evil.example",
        b"/%5cevil.example",
        b"/%2f%2fevil.example",
        b"/.//evil.example",
        b"/..//evil.example",
        b"/a/..//evil.example",
        b"/;//evil.example",
        b"/@evil.example",
        b"/\x00/evil.example",
        b"/\x7f/evil.example",
        b"/\xc3\xa9",
        b"/\xff\xfe",
        b"/a?b=\\evil.example",
        b"/a#//evil.example",
        b"/a%0d%0aLocation:%20https://evil.example",
        b"/{evil.example}",
        b"/\"evil.example\"",
        b"/<evil.example>",
        b"https://evil.example//evil.example/",
        b"https://evil.example",
        b"*",
        b"evil.example:443",
        b"?//evil.example",
    ];
    for target in targets {
        let name = String::from_utf8_lossy(target).into_owned();
        let mut bytes = b"GET ".to_vec();
        bytes.extend_from_slice(target);
        bytes.extend_from_slice(request(" HTTP/1.1", "Host: shop.example.com\r\n").as_bytes());
        let Some(reply) = exchange(address, bytes).await else {
            continue;
        };
        if reply.status == 400 {
            continue;
        }
        assert_eq!(reply.status, 303, "{name}: {}", reply.head);
        let location = reply.location().unwrap();
        let base = url::Url::parse(SHOP).unwrap();
        let url = base.join(location).unwrap();
        assert_eq!(url.origin(), base.origin(), "{name}: {location}");
        assert_eq!(url.path(), "/auth/login", "{name}: {location}");
        if let Some(back) = parameter(location, "return_to") {
            let url = base.join(&back).unwrap();
            assert_eq!(url.origin(), base.origin(), "{name}: {back}");
            // A fragment that was sent is not part of a path.
            let (sent, _) = name.split_once('#').unwrap_or((&name, ""));
            assert!(
                back == "/" || sent.ends_with(&back),
                "{name} was mended to {back}"
            );
        }
    }
}

/// A response that is too large or malformed is rejected, and the next request is handled as usual.
#[tokio::test(flavor = "multi_thread")]
async fn responses_of_any_size_and_bytes_are_rejected_without_a_token_request() {
    let shop = Shop::new();
    let mut jar = Jar::default();
    let answer = shop.start("/auth/login", &mut jar).await;
    let state = answer.parameter("state").unwrap();
    let callback = shop.approve(answer.location(), "alice").await;
    let address = listen(&shop).await;
    let cookies = format!("Host: shop.example.com\r\nCookie: {}\r\n", jar.header());
    let cases: [(&str, Vec<u8>); 8] = [
        (
            "code of 60 KiB",
            [b"code=".to_vec(), vec![b'c'; 60 << 10]].concat(),
        ),
        (
            "code of 100 KiB",
            [b"code=".to_vec(), vec![b'c'; 100 << 10]].concat(),
        ),
        (
            "description of 1 MiB",
            [b"error=x&error_description=".to_vec(), vec![b'd'; 1 << 20]].concat(),
        ),
        ("raw bytes", b"error=x&error_description=\xff\xfe".to_vec()),
        (
            "raw control characters",
            b"error=x&error_description=a\x01b".to_vec(),
        ),
        ("raw NUL", b"code=a\0b".to_vec()),
        ("raw line end", b"code=a\r\nX: y".to_vec()),
        ("raw UTF-8", b"code=\xc3\xa9".to_vec()),
    ];
    for (name, query) in cases {
        let mut bytes = format!("GET /auth/callback?state={state}&iss={ISSUER}&").into_bytes();
        bytes.extend_from_slice(&query);
        bytes.extend_from_slice(request(" HTTP/1.1", &cookies).as_bytes());
        if let Some(reply) = exchange(address, bytes).await {
            assert!((400..500).contains(&reply.status), "{name}: {}", reply.head);
            assert!(!reply.head.contains("-session="), "{name}: {}", reply.head);
        }
        assert_eq!(shop.server.count(Endpoint::Token), 0, "{name}");
    }
    let line = format!("GET {callback} HTTP/1.1");
    let reply = exchange(address, request(&line, &cookies)).await.unwrap();
    assert_eq!(reply.status, 303, "{}", reply.head);
    assert!(
        reply.head.contains(&format!("set-cookie: {SESSION}=")),
        "{}",
        reply.head
    );
    assert_eq!(shop.server.count(Endpoint::Token), 1);
}
