//! The relay: which targets, methods and upgrades reach the upstream with the user's access token.

use super::guarded::{PATH, UPSTREAM, World};
use super::http1::assert_none;
use super::wire::{exchange, serve_http1};

const HOST: &str = "Host: api.example.test\r\nOrigin: https://shop.example.com\r\n";
const LAST: &str = "GET /../last HTTP/1.1\r\nHost: api.example.test\r\nConnection: close\r\n\r\n";
const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// A target with two interpretations is rejected.
#[tokio::test]
async fn an_ambiguous_target_does_not_reach_the_upstream() {
    let relay = World::new().relay().await;
    let address = serve_http1(&relay.app).await;
    let credential = relay.credential_lines();
    let mut wrong = Vec::new();
    for target in [
        "/..",
        "/../admin",
        "/a/../admin",
        "/./admin",
        "/%2e%2e/admin",
        "/%2E./admin",
        "/%252e%252e/admin",
        "/%u002e%u002e/admin",
        "/%U002E%U002E/admin",
        "/%uff0e%uff0e/admin",
        "/%c0%ae%c0%ae/admin",
        "/%e2%80%a4%e2%80%a4/admin",
        "/%ef%bc%8e%ef%bc%8e/admin",
        "/a%ef%bc%8f..%ef%bc%8fadmin",
        "/a%e2%81%84..%e2%81%84admin",
        "/a%e2%88%95..%e2%88%95admin",
        "/..;/admin",
        "/..;x=1/admin",
        "/a/..%00/admin",
        "/a%5c..%5cadmin",
        "/..%2fadmin",
        "//admin",
        "//other.example.test/admin",
        "/%2f/admin",
        "/%5cother.example.test/admin",
        "/a%0d%0aX-Injected:%201",
        "/a%09",
        "/a%7f",
        "*",
        "other.example.test:443",
        "http://other.example.test//admin",
        "http://other.example.test/a/../admin",
    ] {
        for method in ["GET", "POST", "OPTIONS"] {
            let row = format!("{method} {target} HTTP/1.1\r\n{HOST}{credential}\r\n{LAST}");
            let replies = exchange(address, row.as_bytes()).await;
            let executed = relay.executed.take();
            let is_refused = replies
                .first()
                .is_none_or(|one| [400, 404].contains(&one.status));
            if !executed.is_empty() || !is_refused {
                wrong.push(format!(
                    "{method} {target}: {:?}, executed {executed:?}",
                    replies.first()
                ));
            }
        }
    }
    assert_none(&wrong);
}

/// Neither the authority of the target nor `Host` chooses where a request goes.
#[tokio::test]
async fn no_authority_of_a_request_chooses_the_upstream() {
    let relay = World::new().relay().await;
    let address = serve_http1(&relay.app).await;
    let credential = relay.credential_lines();
    for (target, host) in [
        (PATH, "Host: other.example.test\r\n"),
        (
            PATH,
            "Host: api.example.test\r\nHost: other.example.test\r\n",
        ),
        (PATH, "Host: \r\nX-Forwarded-Host: other.example.test\r\n"),
        (
            "http://other.example.test/shop.Orders/List",
            "Host: other.example.test\r\n",
        ),
        (
            "https://user@other.example.test/shop.Orders/List",
            "Host: api.example.test\r\n",
        ),
    ] {
        let row = format!("GET {target} HTTP/1.1\r\n{host}Connection: close\r\n{credential}\r\n");
        let replies = exchange(address, row.as_bytes()).await;
        for one in relay.executed.take() {
            assert_eq!(
                one.target,
                format!("{UPSTREAM}{PATH}"),
                "{row:?} {replies:?}"
            );
            assert!(
                !format!("{:?}", one.headers).contains("other.example.test"),
                "{one:?}"
            );
        }
    }
}

/// Methods that are not for an API, in any spelling.
#[tokio::test]
async fn a_method_that_apis_do_not_use_does_not_reach_the_upstream() {
    let relay = World::new().relay().await;
    let address = serve_http1(&relay.app).await;
    let credential = relay.credential_lines();
    let mut wrong = Vec::new();
    for method in [
        "TRACE", "TRACK", "DEBUG", "trace", "Track", "CONNECT", "connect",
    ] {
        let row = format!("{method} {PATH} HTTP/1.1\r\n{HOST}{credential}\r\n{LAST}");
        let replies = exchange(address, row.as_bytes()).await;
        let executed = relay.executed.take();
        let is_refused = replies
            .first()
            .is_none_or(|one| [400, 405].contains(&one.status));
        if !executed.is_empty() || !is_refused {
            wrong.push(format!(
                "{method}: {:?}, executed {executed:?}",
                replies.first()
            ));
        }
    }
    assert_none(&wrong);
}

/// RFC 9110 §7.8 and RFC 6455 §4.2.1: only the complete handshake requests a tunnel.
#[tokio::test]
async fn only_a_complete_websocket_handshake_requests_an_upgrade_of_the_upstream() {
    let relay = World::new().relay().await;
    let address = serve_http1(&relay.app).await;
    let credential = relay.credential_lines();
    let upgrade = "Connection: upgrade\r\nUpgrade: websocket\r\n";
    let version = "Sec-WebSocket-Version: 13\r\n";
    let mut wrong = Vec::new();
    for (line, fields, body) in [
        ("GET", format!("Upgrade: websocket\r\n{version}{KEY}"), ""),
        (
            "GET",
            format!("Connection: keep-alive\r\nUpgrade: websocket\r\n{version}{KEY}"),
            "",
        ),
        ("GET", format!("{upgrade}{version}"), ""),
        ("GET", format!("{upgrade}{KEY}"), ""),
        (
            "GET",
            format!("{upgrade}Sec-WebSocket-Version: 12\r\n{KEY}"),
            "",
        ),
        (
            "GET",
            format!("{upgrade}{version}Sec-WebSocket-Key: short\r\n"),
            "",
        ),
        (
            "GET",
            format!("{upgrade}{version}Sec-WebSocket-Key: !!hlIHNhbXBsZSBub25jZQ==\r\n"),
            "",
        ),
        ("GET", format!("{upgrade}{version}{KEY}{KEY}"), ""),
        ("GET", format!("{upgrade}{version}{version}{KEY}"), ""),
        (
            "GET",
            format!("{upgrade}{version}{KEY}Content-Length: 5\r\n"),
            "hello",
        ),
        (
            "GET",
            format!("{upgrade}{version}{KEY}Transfer-Encoding: chunked\r\n"),
            "5\r\nhello\r\n0\r\n\r\n",
        ),
        (
            "GET",
            format!("Connection: upgrade\r\nUpgrade: websocket, h2c\r\n{version}{KEY}"),
            "",
        ),
        (
            "GET",
            format!("Connection: upgrade\r\nUpgrade: h2c\r\nUpgrade: websocket\r\n{version}{KEY}"),
            "",
        ),
        (
            "GET",
            "Connection: upgrade\r\nUpgrade: h2c\r\n".to_owned(),
            "",
        ),
        (
            "GET",
            "Connection: upgrade\r\nUpgrade: TLS/1.2\r\n".to_owned(),
            "",
        ),
        (
            "GET",
            "Connection: upgrade\r\nUpgrade: connect-udp\r\n".to_owned(),
            "",
        ),
        ("POST", format!("{upgrade}{version}{KEY}"), ""),
        ("HEAD", format!("{upgrade}{version}{KEY}"), ""),
    ] {
        let row = format!("{line} {PATH} HTTP/1.1\r\n{HOST}{credential}{fields}\r\n{body}{LAST}");
        let replies = exchange(address, row.as_bytes()).await;
        let executed = relay.executed.take();
        let asks = executed.iter().any(|one| {
            one.headers.contains_key("upgrade") || one.headers.contains_key("connection")
        });
        if asks || replies.first().is_some_and(|one| one.status == 101) {
            wrong.push(format!(
                "{line} {fields:?}: {:?}, executed {executed:?}",
                replies.first()
            ));
        }
    }
    // HTTP/1.0 has no upgrade.
    let old = format!("GET {PATH} HTTP/1.0\r\n{HOST}{credential}{upgrade}{version}{KEY}\r\n");
    exchange(address, old.as_bytes()).await;
    let asks = |one: &super::executed::Execution| one.headers.contains_key("upgrade");
    if relay.executed.take().iter().any(asks) {
        wrong.push("HTTP/1.0".to_owned());
    }
    let whole =
        format!("GET {PATH} HTTP/1.1\r\n{HOST}{credential}{upgrade}{version}{KEY}\r\n{LAST}");
    exchange(address, whole.as_bytes()).await;
    if !relay.executed.take().iter().any(asks) {
        wrong.push("the whole handshake does not reach the upstream".to_owned());
    }
    assert_none(&wrong);
}
