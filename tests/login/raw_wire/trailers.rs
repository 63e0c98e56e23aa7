//! Trailers do not authorize requests, and do not replace fields of the layers.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::guarded::{Guarded, PATH, World};
use super::http1::assert_none;
use super::http2::{request, with_fields};
use super::rows::HOST;
use super::wire::{Rest, ask, connect_http2, exchange, serve_http1, serve_http2};

/// Fields that a caller must not send to a service behind the relay.
const NAMES: &[&str] = &[
    "authorization",
    "cookie",
    "dpop",
    "host",
    "x-auth-sub",
    "x-auth-iss",
    "x_auth_sub",
    "x-forwarded-for",
    "x-forwarded-user",
    "x-http-method-override",
    "proxy-authorization",
    "content-length",
    "transfer-encoding",
    "connection",
    "te",
];

fn named<'a>(all: &'a [Guarded], name: &str) -> &'a Guarded {
    all.iter().find(|one| one.name == name).unwrap()
}

fn fields(names: &[&str]) -> HeaderMap {
    let field = |name: &&str| {
        let name: HeaderName = name.parse().unwrap();
        (name, HeaderValue::from_static("admin"))
    };
    names.iter().map(field).collect()
}

/// The relay forwards trailers, but none that the upstream trusts.
#[tokio::test]
async fn trailers_transport_no_credential_and_no_identity_to_the_upstream() {
    let relay = World::new().relay().await;
    let mut wrong = Vec::new();

    let address = serve_http1(&relay.app).await;
    let credential = relay.credential_lines();
    let lines: String = NAMES
        .iter()
        .map(|name| format!("{name}: admin\r\n"))
        .collect();
    let row = format!(
        "POST {PATH} HTTP/1.1\r\n{HOST}{credential}Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n\
         5\r\nhello\r\n0\r\n{lines}x-checksum: 7\r\n\r\n"
    );
    let replies = exchange(address, row.as_bytes()).await;
    wrong.extend(trusted(&relay, &format!("HTTP/1.1 {replies:?}")));

    let address = serve_http2(&relay.app).await;
    let client = connect_http2(address).await;
    // The fields of a connection are malformed here.
    let names: Vec<_> = NAMES
        .iter()
        .filter(|name| !["transfer-encoding", "connection", "te"].contains(*name))
        .copied()
        .collect();
    for name in &names {
        let mut trailers = fields(&[*name]);
        trailers.insert("x-checksum", HeaderValue::from_static("7"));
        let request = with_fields(request("POST", PATH), &relay.credential_fields());
        let status = ask(&client, request, &Rest::Trailers("hello", trailers)).await;
        wrong.extend(trusted(&relay, &format!("HTTP/2 {name} {status}")));
    }
    assert_none(&wrong);
}

fn trusted(relay: &Guarded, shown: &str) -> Option<String> {
    let executed = relay.executed.take();
    let bad = |one: &super::executed::Execution| {
        one.trailers
            .keys()
            .any(|name| NAMES.contains(&name.as_str()))
    };
    executed
        .iter()
        .any(bad)
        .then(|| format!("{shown}: executed {executed:?}"))
}

/// A layer that removes fields of the caller rejects a request that announces them as trailers, because it cannot see the
/// trailers themselves.
#[tokio::test]
async fn an_announced_trailer_with_the_name_of_a_removed_field_is_rejected() {
    let all = World::new().resource_servers();
    let guarded = named(&all, "claim headers");
    let credential = guarded.credential_lines();
    let address = serve_http1(&guarded.app).await;
    let client = connect_http2(serve_http2(&guarded.app).await).await;
    let mut wrong = Vec::new();
    for announced in [
        "x-auth-sub",
        "X-Auth-Sub",
        "x_auth_sub",
        "x-auth-anything",
        "x-checksum, x-auth-iss",
        "x-checksum,\tX-AUTH-SCOPE",
        "authorization",
        "dpop",
    ] {
        let row = format!(
            "POST {PATH} HTTP/1.1\r\n{HOST}{credential}Connection: close\r\nTransfer-Encoding: chunked\r\n\
             Trailer: {announced}\r\n\r\n5\r\nhello\r\n0\r\nx-auth-sub: admin\r\n\r\n"
        );
        let replies = exchange(address, row.as_bytes()).await;
        let executed = guarded.executed.take();
        if !executed.is_empty() || replies.first().is_none_or(|one| one.status != 400) {
            wrong.push(format!(
                "HTTP/1.1 {announced}: {replies:?}, executed {executed:?}"
            ));
        }
        let mut fields = guarded.credential_fields();
        fields.insert("trailer", HeaderValue::from_static(announced));
        let rest = Rest::Trailers("hello", self::fields(&["x-auth-sub"]));
        let status = ask(&client, with_fields(request("POST", PATH), &fields), &rest).await;
        let executed = guarded.executed.take();
        if !executed.is_empty() || status != 400 {
            wrong.push(format!(
                "HTTP/2 {announced}: {status}, executed {executed:?}"
            ));
        }
    }
    // Other trailers are forwarded.
    let mut fields = guarded.credential_fields();
    fields.insert("trailer", HeaderValue::from_static("x-checksum"));
    let rest = Rest::Trailers("hello", self::fields(&["x-checksum"]));
    let status = ask(&client, with_fields(request("POST", PATH), &fields), &rest).await;
    let executed = guarded.executed.take();
    if status != 200
        || !executed
            .iter()
            .any(|one| one.trailers.contains_key("x-checksum"))
    {
        wrong.push(format!("x-checksum: {status}, executed {executed:?}"));
    }
    assert_none(&wrong);
}

/// The service receives the claims of the token, whatever header fields and trailers the caller sends.
#[tokio::test]
async fn claim_headers_are_those_of_the_token() {
    let all = World::new().resource_servers();
    let guarded = named(&all, "claim headers");
    let credential = guarded.credential_lines();
    let address = serve_http1(&guarded.app).await;
    for said in [
        "X-Auth-Sub: admin\r\n",
        "x_auth_sub: admin\r\n",
        "X-Auth-Sub: admin\r\nConnection: x-auth-sub\r\n",
    ] {
        let row =
            format!("GET {PATH} HTTP/1.1\r\n{HOST}{said}{credential}Connection: close\r\n\r\n");
        exchange(address, row.as_bytes()).await;
        let executed = guarded.executed.take();
        let [one] = executed.as_slice() else {
            panic!("{said}: {executed:?}")
        };
        let all: Vec<_> = one.headers.get_all("x-auth-sub").iter().collect();
        assert_eq!(all, ["alice"], "{said}");
        assert!(!format!("{:?}", one.headers).contains("admin"), "{one:?}");
        assert!(!one.headers.contains_key("authorization"), "{one:?}");
    }
}
