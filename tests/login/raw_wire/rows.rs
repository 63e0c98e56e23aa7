//! What a request line, a target and a framing of HTTP/1.1 can look like.

use super::guarded::{DOCUMENT, PATH};

pub(crate) const HOST: &str = "Host: api.example.test\r\n";

/// The lines after the request line and `Host`, and how the service receives the body.
pub(crate) struct Framing {
    pub(crate) fields: &'static str,
    pub(crate) body: &'static str,
}

const fn framing(fields: &'static str, body: &'static str) -> Framing {
    Framing { fields, body }
}

pub(crate) const FRAMINGS: &[Framing] = &[
    framing("", ""),
    framing("Content-Length: 5\r\n", "hello"),
    framing("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
    framing("Expect: 100-continue\r\nContent-Length: 5\r\n", "hello"),
    framing("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"),
    framing("Content-Length: 0\r\nContent-Length: 5\r\n", "hello"),
    framing("Content-Length: +5\r\n", "hello"),
    framing(
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        "5\r\nhello\r\n0\r\n\r\n",
    ),
    framing(
        "Transfer-Encoding: chunked, identity\r\n",
        "5\r\nhello\r\n0\r\n\r\n",
    ),
    framing(
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "5\r\nhello\r\n0\r\n\r\n",
    ),
    framing(
        "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        "",
    ),
    framing("Upgrade: websocket\r\n", ""),
    framing(
        "Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 5\r\n",
        "hello",
    ),
    framing(
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
        "",
    ),
    framing("Connection: authorization, cookie, x-csrf\r\n", ""),
    framing("Host: other.example.test\r\n", ""),
    framing("Host : other.example.test\r\n", ""),
    framing(
        "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 14\r\n",
        "access_token=x",
    ),
    framing("Content-Type: application/grpc\r\nTE: trailers\r\n", ""),
    framing("X-HTTP-Method-Override: DELETE\r\n", ""),
    framing("X-Original-URL: /admin\r\nX-Rewrite-URL: /admin\r\n", ""),
    framing("X-Auth-Sub: admin\r\nX_Auth_Sub: admin\r\n", ""),
];

pub(crate) const METHODS: &[&str] = &[
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "DELETE",
    "OPTIONS",
    "TRACE",
    "TRACK",
    "CONNECT",
    "get",
    "Get",
    "PRI",
    "X-ODD~METHOD",
];

pub(crate) const TARGETS: &[&str] = &[
    "/",
    PATH,
    DOCUMENT,
    "/.well-known/oauth-protected-resource?x=1",
    "/.well-known/oauth-protected-resource/",
    "/.well-known/%6fauth-protected-resource",
    "//.well-known/oauth-protected-resource",
    "/x/../.well-known/oauth-protected-resource",
    "/shop.Orders/%44elete",
    "/%2e%2e/admin",
    "/a/../admin",
    "//admin",
    "//other.example.test/admin",
    "/admin;x=1",
    "/auth/callback/../../admin",
    "http://api.example.test/.well-known/oauth-protected-resource",
    "http://other.example.test/admin",
    "other.example.test:443",
    "*",
    "",
];

/// The last request of a connection, so that the server closes it.
pub(crate) const LAST: &str =
    "GET /last HTTP/1.1\r\nHost: api.example.test\r\nConnection: close\r\n\r\n";
