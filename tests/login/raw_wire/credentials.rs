//! Credentials that do not authorize the request.

use super::guarded::{DOCUMENT, PATH, World};
use super::http1::{alive, assert_none, refused};
use super::rows::{HOST, LAST};
use super::wire::{exchange, serve_http1};

/// A valid token is only accepted from the configured sources.
#[tokio::test]
async fn a_token_in_another_place_does_not_authorize() {
    let world = World::new();
    let token = world.token().to_owned();
    let places = [
        format!("GET {PATH}?access_token={token} HTTP/1.1\r\n{HOST}\r\n"),
        format!("GET {DOCUMENT}?access_token={token} HTTP/1.1\r\n{HOST}\r\n"),
        format!("GET {PATH} HTTP/1.1\r\n{HOST}Proxy-Authorization: Bearer {token}\r\n\r\n"),
        format!("GET {PATH} HTTP/1.1\r\n{HOST}X-Forwarded-Authorization: Bearer {token}\r\n\r\n"),
        format!("GET {PATH} HTTP/1.1\r\n{HOST}Sec-WebSocket-Protocol: bearer, {token}\r\n\r\n"),
        format!("GET {PATH} HTTP/1.1\r\n{HOST}Authorization : Bearer {token}\r\n\r\n"),
        format!("GET {PATH} HTTP/1.1\r\n{HOST}Authorization:\r\n Bearer {token}\r\n\r\n"),
        format!(
            "GET {PATH} HTTP/1.1\r\n{HOST}Authorization: Bearer {token}, Bearer {token}\r\n\r\n"
        ),
        format!(
            "GET {PATH} HTTP/1.1\r\n{HOST}Authorization: Bearer {token}\r\nAuthorization: Bearer {token}\r\n\r\n"
        ),
        format!("GET {PATH} HTTP/1.1\r\n{HOST}Authorization: Basic {token}\r\n\r\n"),
        format!("GET {PATH} HTTP/1.1\r\n{HOST}Authorization: {token}\r\n\r\n"),
        format!("GET {PATH} HTTP/1.1\r\n{HOST}Cookie: token={token}; access_token={token}\r\n\r\n"),
        format!("GET http://user:{token}@api.example.test{PATH} HTTP/1.1\r\n{HOST}\r\n"),
        format!(
            "GET {PATH} HTTP/1.1\r\n{HOST}Content-Type: application/x-www-form-urlencoded\r\n\
             Content-Length: {}\r\n\r\naccess_token={token}",
            token.len() + 13
        ),
        format!(
            "POST {PATH} HTTP/1.1\r\n{HOST}Content-Type: text/plain\r\n\
             Content-Length: {}\r\n\r\naccess_token={token}",
            token.len() + 13
        ),
        format!(
            "POST {PATH} HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\nTrailer: authorization\r\n\r\n\
             0\r\nauthorization: Bearer {token}\r\n\r\n"
        ),
        format!(
            "POST {PATH} HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\nContent-Type: \
             application/x-www-form-urlencoded\r\n\r\n0\r\naccess_token: {token}\r\n\
             cookie: __Host-token={token}\r\n\r\n"
        ),
    ];
    let mut wrong = Vec::new();
    for guarded in world.all().await {
        let rows = places.iter().map(|row| (PATH.to_owned(), row.clone()));
        wrong.extend(refused(&guarded, rows).await);
    }
    assert_none(&wrong);
}

/// A session without evidence that the request comes from a page of the application.
#[tokio::test]
async fn a_session_without_csrf_evidence_cannot_change_state_by_any_method_or_upgrade() {
    let mut wrong = Vec::new();
    let world = World::new();
    let mut all = world.logins().await;
    all.push(world.relay().await);
    for mut guarded in all {
        let address = serve_http1(&guarded.app).await;
        let cookie = guarded.credential[0].clone();
        let evidence = std::mem::replace(&mut guarded.credential, vec![cookie]);
        let cookie = guarded.credential_lines();
        for request in [
            format!("POST {PATH} HTTP/1.1"),
            format!("DELETE {PATH} HTTP/1.1"),
            format!("post {PATH} HTTP/1.1"),
            format!("get {PATH} HTTP/1.1"),
            format!("Get {PATH} HTTP/1.1"),
            format!("OPTIONs {PATH} HTTP/1.1"),
            format!("TRACK {PATH} HTTP/1.1"),
            format!("DEBUG {PATH} HTTP/1.1"),
            format!("X-ODD {PATH} HTTP/1.1"),
            format!("POST {PATH} HTTP/1.0"),
            "CONNECT other.example.test:443 HTTP/1.1".to_owned(),
            format!("GET {PATH} HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket"),
            format!("GET {PATH} HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: WebSocket, h2c"),
            format!(
                "GET {PATH} HTTP/1.1\r\nOrigin: https://other.example.test\r\nConnection: upgrade\r\nUpgrade: websocket"
            ),
            format!("POST {PATH} HTTP/1.1\r\nX-HTTP-Method-Override: GET"),
            format!("POST {PATH} HTTP/1.1\r\nOrigin: https://other.example.test"),
            format!(
                "POST {PATH} HTTP/1.1\r\nOrigin: https://shop.example.com\r\nOrigin: https://other.example.test"
            ),
            format!("POST {PATH} HTTP/1.1\r\nSec-Fetch-Site: cross-site\r\nX-CSRF: 1"),
            format!(
                "POST {PATH} HTTP/1.1\r\nSec-Fetch-Site: same-origin\r\nSec-Fetch-Site: cross-site"
            ),
        ] {
            let row = format!("{request}\r\n{HOST}{cookie}\r\n{LAST}");
            let replies = exchange(address, row.as_bytes()).await;
            let executed = guarded.executed.take();
            let statuses = [400, 403, 405];
            if !executed.is_empty()
                || replies
                    .first()
                    .is_some_and(|one| !statuses.contains(&one.status))
            {
                wrong.push(format!(
                    "{}: {request:?} got {:?}, executed {executed:?}",
                    guarded.name,
                    replies.first()
                ));
            }
        }
        guarded.credential = evidence;
        if let Err(error) = alive(&guarded, address).await {
            wrong.push(format!("{}: {error}", guarded.name));
        }
    }
    assert_none(&wrong);
}

/// A wildcard only matches paths with one interpretation.
#[tokio::test]
async fn a_wildcard_of_method_scopes_does_not_match_other_spellings() {
    let world = World::new();
    let all = world.resource_servers();
    let guarded = all
        .into_iter()
        .find(|one| one.name == "method scopes")
        .unwrap();
    let credential = guarded.credential_lines();
    let rows = [
        "/shop.Orders/Delete",
        "/shop.Orders/%44elete",
        "/shop.Orders/%2544elete",
        "/shop.Orders/Delete%00",
        "/shop.Orders/Delete%20",
        "/shop.Orders/Delete;x",
        "/shop.Orders/Delete~",
        "/shop.Orders/Delete-",
        "/shop.Orders/%u0044elete",
        "/shop.Orders/%ef%bc%a4elete",
        "/shop.Orders/x%2f..%2fDelete",
        "/shop.Orders/",
        "/shop.Orders//Delete",
        "/shop.Orders/./Delete",
        "//shop.Orders/Delete",
        "/shop.Orders/../shop.Orders/Delete",
        "/%73hop.Orders/Delete",
        "http://api.example.test/shop.Orders/%44elete",
        "*",
    ]
    .map(|target| {
        (
            target.to_owned(),
            format!("POST {target} HTTP/1.1\r\n{HOST}{credential}\r\n"),
        )
    });
    assert_none(&refused(&guarded, rows.into_iter()).await);
}
