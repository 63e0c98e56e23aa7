//! Ambiguous paths are rejected before a token is sent.

use super::*;

use crate::support::logs;

/// Paths below `/api`, and the ambiguity of each.
const AMBIGUOUS: &[(&str, &str)] = &[
    ("/%u002e%u002e/admin", "IIS escapes"),
    ("/%U002E%U002E%U002Fadmin", "IIS escapes"),
    ("/\u{ff0e}\u{ff0e}/admin", "full-width dots, raw"),
    ("/%ef%bc%8e%ef%bc%8e/admin", "full-width dots"),
    ("/x%EF%BC%8Fadmin", "a full-width slash"),
    ("/x%EF%BC%BCadmin", "a full-width backslash"),
    ("/%E2%80%A4%E2%80%A4/admin", "one dot leaders"),
    ("/%E2%80%A5/admin", "a two dot leader"),
    ("/%E3%80%82%E3%80%82/admin", "ideographic full stops"),
    ("/%EF%BD%A1%EF%BD%A1/admin", "half-width full stops"),
    ("/%EF%B9%92%EF%B9%92/admin", "small full stops"),
    ("/x%E2%81%84admin", "a fraction slash"),
    ("/x%E2%88%95admin", "a division slash"),
    ("/x%E2%A7%B8admin", "a big solidus"),
    ("/..%C2%A5admin", "a yen sign behind dots"),
    ("/x%EF%BC%852e", "a full-width percent sign"),
    ("/a%2Fb", "an encoded slash"),
    ("/a%5Cb", "an encoded backslash"),
    ("/a\\b", "a backslash"),
    ("/a%2Eb", "an encoded dot"),
    ("/a%252fb", "a slash encoded twice"),
    (
        "/%25%32%65%25%32%65/admin",
        "dots encoded twice, digit by digit",
    ),
    ("/%c0%ae%c0%ae/admin", "overlong dots"),
    ("/x%e0%80%afadmin", "an overlong slash"),
    ("/%ae%ae/admin", "dots with the eighth bit"),
    ("/a;admin", "a parameter"),
    ("/a%3Badmin", "an encoded parameter"),
    ("/a//b", "an empty segment"),
    ("/a%00b", "a control character"),
    ("/a%0ab", "a line end"),
    ("/a%7F", "a control character"),
    ("/100%", "a lone percent sign"),
    ("/a%4", "half an escape"),
    ("/a%zz", "no escape"),
    ("/a%3Fb", "an encoded question mark"),
    ("/a%23b", "an encoded number sign"),
    ("/%61dmin", "an encoded letter"),
    ("/caf\u{e9}", "raw UTF-8"),
];

/// RFC 10017 §6.1.3.6: however an upstream decodes, it must find the path that was checked.
#[tokio::test]
async fn an_ambiguous_path_gets_no_token() {
    let upstream = Upstream::default();
    let nested = shop(&upstream);
    let jar = nested.signed_in().await;
    let relay = Relay::new(API).unwrap().with_prefix("/api").unwrap();
    let by_prefix = Router::new()
        .fallback_service(relay.with_transport(upstream.clone()))
        .layer(login(&nested.server));
    for (path, what) in AMBIGUOUS {
        for app in [&nested.app, &by_prefix] {
            let ask = Ask::new("GET", &format!("/api{path}")).with(&SCRIPT);
            let answer = send(app, ask.jar(&jar)).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{what}: {path}");
            assert_eq!(answer.json()["code"], "unclear_path", "{what}");
        }
    }
    assert!(upstream.received().is_empty());
    for path in [
        "/a%20b/caf%C3%A9",
        "/%E2%82%AC/%F0%9F%98%80",
        "/a:b@c,(d)!*'$&=+",
        "/a%3Ab%40c%2Cd%26%3D%2B",
        "/50%25",
        "/.hidden/a..b/...",
        "/a/?q=..%2f..%2f;//%u002e\\",
    ] {
        let ask = Ask::new("GET", &format!("/api{path}")).with(&SCRIPT);
        let answer = nested.send(ask.jar(&jar)).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        assert_eq!(
            upstream.received().pop().unwrap().uri,
            format!("{API}{path}")
        );
    }
}

/// The log has the ambiguity; the response has one sentence.
#[tokio::test]
async fn the_log_names_the_ambiguity_of_a_path() {
    let shop = shop(&Upstream::default());
    let jar = shop.signed_in().await;
    let logs = logs::Logs::default();
    let recording = logs.record();
    let ask = Ask::new("GET", "/api/%u002e%u002e/admin").with(&SCRIPT);
    shop.send(ask.jar(&jar)).await;
    drop(recording);
    let text = logs.text();
    assert!(text.contains("a %u escape"), "{text}");
    assert!(text.contains("/api/%u002e%u002e/admin"), "{text}");
}

/// An ambiguous base is a configuration error, not an error of each request.
#[test]
fn an_ambiguous_base_or_prefix_is_rejected_at_construction() {
    for upstream in [
        "https://api.example.com/v1%2Fx",
        "https://api.example.com/v1;x",
        "https://api.example.com/a//b",
        "https://api.example.com/%61",
        "https://api.example.com/%u002e",
    ] {
        assert!(Relay::new(upstream).is_err(), "{upstream}");
    }
    for prefix in ["/api;x", "/a%2fb", "/a//b", "/%61pi", "/a\\b"] {
        let relay = Relay::new(API).unwrap();
        assert!(relay.with_prefix(prefix).is_err(), "{prefix}");
    }
}
