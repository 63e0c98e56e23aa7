//! Bytes on a socket, without and with a credential.

use std::net::SocketAddr;

use super::guarded::{DOCUMENT, Guarded, PATH, World};
use super::rows::{FRAMINGS, Framing, HOST, LAST, METHODS, TARGETS};
use super::wire::{Reply, exchange, serve_http1};

/// Returns whether the response is a rejection.
fn is_refusal(guarded: &Guarded, target: &str, reply: &Reply) -> bool {
    let is_document = guarded.has_document && target.ends_with(DOCUMENT);
    match reply.status {
        // Over gRPC the status is in a header field.
        200 if reply.head.contains("grpc-status: 16") => true,
        200 | 204 => is_document,
        303 => guarded.is_login(),
        status => [
            400, 401, 403, 404, 405, 411, 413, 414, 415, 417, 421, 501, 505,
        ]
        .contains(&status),
    }
}

/// A valid request is executed once, on a new connection.
pub(crate) async fn alive(guarded: &Guarded, address: SocketAddr) -> Result<(), String> {
    let credential = guarded.credential_lines();
    let request = format!("GET {PATH} HTTP/1.1\r\n{HOST}Connection: close\r\n{credential}\r\n");
    let replies = exchange(address, request.as_bytes()).await;
    match replies.as_slice() {
        [one] if one.status == 200 => guarded.assert_executed("GET", PATH),
        _ => Err(format!("a valid request got {replies:?}")),
    }
}

/// Sends all rows, and fails with those that are not rejected.
pub(crate) async fn refused(
    guarded: &Guarded,
    rows: impl Iterator<Item = (String, String)>,
) -> Vec<String> {
    let address = serve_http1(&guarded.app).await;
    let mut wrong = Vec::new();
    for (target, row) in rows {
        let replies = exchange(address, format!("{row}{LAST}").as_bytes()).await;
        let executed = guarded.executed.take();
        let first = replies.first();
        // Lines are cut off, so that no token is printed.
        let lines = row.split("\r\n");
        let row: Vec<String> = lines.map(|line| line.chars().take(70).collect()).collect();
        if !executed.is_empty() {
            let all: Vec<_> = executed
                .iter()
                .map(|one| format!("{} {}", one.method, one.target))
                .collect();
            wrong.push(format!("{}: {row:?} executed {all:?}", guarded.name));
        } else if first.is_some_and(|reply| !is_refusal(guarded, &target, reply)) {
            wrong.push(format!("{}: {row:?} got {first:?}", guarded.name));
        }
    }
    if let Err(error) = alive(guarded, address).await {
        wrong.push(format!("{}: {error}", guarded.name));
    }
    wrong
}

#[track_caller]
pub(crate) fn assert_none(wrong: &[String]) {
    let shown = &wrong[..wrong.len().min(40)];
    assert!(
        wrong.is_empty(),
        "{} rows:\n{}",
        wrong.len(),
        shown.join("\n")
    );
}

/// A layer forwards no method, target, version or framing without a credential.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_without_a_credential_is_executed() {
    let mut wrong = Vec::new();
    for guarded in World::new().all().await {
        let rows = METHODS.iter().flat_map(|method| {
            TARGETS.iter().flat_map(move |target| {
                // All framings for targets that could be the document; a few for the others.
                let all = [DOCUMENT, PATH, "*"].contains(target)
                    && ["GET", "POST", "OPTIONS", "CONNECT"].contains(method);
                let framings = if all { FRAMINGS } else { &FRAMINGS[..1] };
                let of_today = framings.iter().map(move |framing| {
                    let Framing { fields, body } = framing;
                    format!("{method} {target} HTTP/1.1\r\n{HOST}{fields}\r\n{body}")
                });
                let old = [format!("{method} {target} HTTP/1.0\r\n{HOST}\r\n")];
                let rows = of_today.chain(old);
                rows.map(move |row| ((*target).to_owned(), row))
            })
        });
        wrong.extend(refused(&guarded, rows).await);
    }
    assert_none(&wrong);
}

/// With a credential the service executes the method, target and body that were sent, or nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_executed_with_a_credential_is_what_was_sent() {
    let mut wrong = Vec::new();
    for guarded in World::new().all().await {
        let address = serve_http1(&guarded.app).await;
        let credential = guarded.credential_lines();
        // These two set the identity of the caller, so no spelling of the caller may replace it.
        let removes = ["relay", "claim headers"].contains(&guarded.name);
        for method in METHODS {
            for framing in FRAMINGS {
                let Framing { fields, body } = framing;
                let row = format!(
                    "{method} {PATH} HTTP/1.1\r\n{HOST}{fields}{credential}\r\n{body}{LAST}"
                );
                let replies = exchange(address, row.as_bytes()).await;
                let executed = guarded.executed.take();
                let is_as_sent = match executed.as_slice() {
                    [] => replies.first().is_none_or(|reply| reply.status >= 400),
                    [one] => {
                        let target = format!("{}{PATH}", guarded.base);
                        let authority = one.target == PATH[1..] || one.target == PATH;
                        one.method.as_str() == *method
                            && (one.target == target || *method == "CONNECT" && authority)
                            && (!one.upgrade
                                || *method == "CONNECT"
                                || fields.contains("Upgrade: "))
                            && (one.body.is_empty()
                                || one.body == body.as_bytes()
                                || one.body == b"hello")
                            && one
                                .subject
                                .as_deref()
                                .is_none_or(|subject| subject == guarded.subject)
                            && !(removes && one.headers.contains_key("x_auth_sub"))
                    }
                    _ => false,
                };
                if !is_as_sent {
                    wrong.push(format!(
                        "{}: {method} {fields:?} {replies:?} executed {executed:?}",
                        guarded.name
                    ));
                }
            }
        }
        if let Err(error) = alive(&guarded, address).await {
            wrong.push(format!("{}: {error}", guarded.name));
        }
    }
    assert_none(&wrong);
}
