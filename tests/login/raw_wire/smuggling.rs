//! The body of a rejected request is never parsed as the next request.

use super::guarded::{PATH, World};
use super::http1::assert_none;
use super::rows::HOST;
use super::wire::{exchange, serve_http1};

/// The hidden request has a valid credential, as if a proxy had added it, so it would be executed if it was parsed as a
/// request.
#[tokio::test]
async fn the_body_of_a_rejected_request_is_not_parsed_as_the_next_request() {
    let mut wrong = Vec::new();
    for guarded in World::new().all().await {
        let address = serve_http1(&guarded.app).await;
        let credential = guarded.credential_lines();
        let hidden = format!("GET /smuggled HTTP/1.1\r\n{HOST}{credential}\r\n");
        let padded = format!("{hidden}{}", " ".repeat(256 * 1024));
        let next = format!("GET {PATH} HTTP/1.1\r\n{HOST}{credential}Connection: close\r\n\r\n");
        // Without a body the connection stays open, so the rows below are not rejected for another reason.
        let row = format!("POST /../refused HTTP/1.1\r\n{HOST}\r\n{next}");
        exchange(address, row.as_bytes()).await;
        if guarded.executed.take().len() != 1 {
            wrong.push(format!("{}: the connection does not go on", guarded.name));
        }
        let length = hidden.len();
        let chunk = format!("{length:x}\r\n{hidden}\r\n0\r\n\r\n");
        for (name, fields, body) in [
            (
                "length",
                format!("Content-Length: {length}\r\n"),
                hidden.clone(),
            ),
            (
                "a large body",
                format!("Content-Length: {}\r\n", padded.len()),
                padded.clone(),
            ),
            (
                "chunked",
                "Transfer-Encoding: chunked\r\n".to_owned(),
                chunk.clone(),
            ),
            (
                "a chunk extension",
                "Transfer-Encoding: chunked\r\n".to_owned(),
                format!("{length:x};x=\"y\"\r\n{hidden}\r\n0\r\n\r\n"),
            ),
            (
                "Expect",
                format!("Expect: 100-continue\r\nContent-Length: {length}\r\n"),
                hidden.clone(),
            ),
            (
                "a form",
                format!(
                    "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n"
                ),
                hidden.clone(),
            ),
            (
                "an upgrade with a body",
                format!(
                    "Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: {length}\r\n"
                ),
                hidden.clone(),
            ),
            (
                "both framings",
                "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n".to_owned(),
                chunk.clone(),
            ),
            (
                "both framings, in the other order",
                format!("Transfer-Encoding: chunked\r\nContent-Length: {length}\r\n"),
                chunk.clone(),
            ),
        ] {
            for method in ["POST", "GET", "OPTIONS", "TRACE"] {
                let row = format!("{method} /refused HTTP/1.1\r\n{HOST}{fields}\r\n{body}{next}");
                let replies = exchange(address, row.as_bytes()).await;
                let executed = guarded.executed.take();
                let is_in_step =
                    executed.iter().all(|one| one.target.ends_with(PATH)) && executed.len() <= 1;
                let is_refused = replies.first().is_none_or(|one| one.status != 200);
                if !is_in_step || !is_refused {
                    wrong.push(format!(
                        "{}: {method} with {name}: {replies:?}, executed {executed:?}",
                        guarded.name
                    ));
                }
            }
        }
    }
    assert_none(&wrong);
}

/// Bytes that only one of the framings treats as a request are not executed without their own credential.
#[tokio::test]
async fn conflicting_framings_hide_no_request_behind_an_authorized_one() {
    let mut wrong = Vec::new();
    for guarded in World::new().all().await {
        let address = serve_http1(&guarded.app).await;
        let credential = guarded.credential_lines();
        let hidden = format!("GET /smuggled HTTP/1.1\r\n{HOST}Connection: close\r\n\r\n");
        let length = hidden.len() + 5;
        for row in [
            format!(
                "POST {PATH} HTTP/1.1\r\n{HOST}{credential}Content-Length: {length}\r\n\
                 Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"
            ),
            format!("POST {PATH} HTTP/1.1\r\n{HOST}{credential}Content-Length: 0\r\n\r\n{hidden}"),
            format!("POST {PATH} HTTP/1.1\r\n{HOST}{credential}\r\n{hidden}"),
        ] {
            let replies = exchange(address, row.as_bytes()).await;
            let executed = guarded.executed.take();
            if executed.iter().any(|one| !one.target.ends_with(PATH)) {
                wrong.push(format!(
                    "{}: {row:?}: {replies:?}, executed {executed:?}",
                    guarded.name
                ));
            }
        }
    }
    assert_none(&wrong);
}
