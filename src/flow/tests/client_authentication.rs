//! Which endpoint a client uses, and which authentication methods it may use there.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::support::{ISSUER, Server, code_of, sign_in};
use crate::flow::Flow;
use crate::flow::StartRequest;
use crate::flow::tests::support::{Login, REDIRECT_URI};
use crate::issuer::{Client, CredentialSource};
use crate::token::id_token::tests::signing_key;

const LIST: &str = "token_endpoint_auth_methods_supported";

/// RFC 8414 §2. The secret must not be sent with a method that the server does not support.
#[tokio::test]
async fn a_secret_is_not_sent_with_a_method_that_the_metadata_does_not_list() {
    let basic = || Client::confidential("shop", "secret");
    let post = || Client::confidential_post("shop", "secret");
    let unsupported = "client_authentication_unsupported";
    for (list, client, expected) in [
        (json!(["client_secret_post"]), basic(), unsupported),
        (json!(["client_secret_post"]), post(), "ok"),
        (json!(["client_secret_basic"]), post(), unsupported),
        (json!(["Client_Secret_Basic"]), basic(), unsupported),
        (
            json!(["private_key_jwt"]),
            basic().with_unlisted_method(),
            "ok",
        ),
        (
            json!(["client_secret_post", "client_secret_basic"]),
            basic(),
            "ok",
        ),
        // Nothing is listed.
        (Value::Null, basic(), "ok"),
        (json!([]), basic(), "ok"),
        // Servers do not list these methods reliably.
        (json!(["client_secret_post"]), Client::public("shop"), "ok"),
        (
            json!(["client_secret_post"]),
            Client::mutual_tls("shop"),
            "ok",
        ),
    ] {
        let server = Server::new();
        server.set_metadata(&json!({ LIST: list }));
        let name = format!("{list} {client:?}");
        let flow = server.flow_of(client);
        assert_eq!(code_of(flow.ready().await), expected, "{name}");
        let state = flow.new_state().unwrap();
        let started = flow.start(&state, StartRequest::default()).await;
        assert_eq!(code_of(started), expected, "{name}");
        if expected == "ok" {
            let login = Login::start_with(&server, flow, StartRequest::default()).await;
            login.grant(&json!({}));
            assert_eq!(code_of(login.call_back().await), "ok", "{name}");
        }
        let sent = usize::from(expected == "ok");
        assert_eq!(server.requests("/token").len(), sent, "{name}");
    }
}

/// The revocation endpoint has a list of its own.
#[tokio::test]
async fn the_lists_of_other_endpoints_do_not_count() {
    const OWN: &str = "revocation_endpoint_auth_methods_supported";
    const OTHER: &str = "introspection_endpoint_auth_methods_supported";
    for (list, methods, sent) in [
        (LIST, json!(["client_secret_basic"]), 2),
        (OWN, json!(["client_secret_basic"]), 2),
        (OWN, json!(["private_key_jwt"]), 0),
        (OWN, json!(null), 2),
        (OWN, json!([]), 2),
        // A malformed list prevents only the use that needs it.
        (OWN, json!("client_secret_basic"), 0),
        (OTHER, json!(["private_key_jwt"]), 2),
        (OTHER, json!(7), 2),
    ] {
        let server = Server::new();
        let endpoint = format!("{ISSUER}/revoke");
        let name = format!("{list} {methods}");
        server.set_metadata(&json!({ "revocation_endpoint": endpoint, list: methods }));
        let (flow, record) = sign_in(&server).await;
        flow.revoke(&record).await;
        assert_eq!(server.requests("/revoke").len(), sent, "{name}");
    }
}

/// RFC 8705 §5.
#[tokio::test]
async fn a_client_with_a_certificate_uses_the_aliases_and_others_do_not() {
    let alias = |path: &str| format!("https://mtls.example.com/{path}");
    let aliases = json!({ "token_endpoint": alias("token"), "userinfo_endpoint": alias("userinfo"),
        "revocation_endpoint": alias("revoke"), "introspection_endpoint": "" });
    let top = json!({ "mtls_endpoint_aliases": aliases,
        "revocation_endpoint": format!("{ISSUER}/revoke") });
    let partial = json!({ "mtls_endpoint_aliases": { "token_endpoint": alias("token") },
        "revocation_endpoint": format!("{ISSUER}/revoke") });
    let certificate = || Client::mutual_tls("shop");
    let host = "mtls.example.com";
    for (metadata, client, hosts) in [
        (&top, certificate(), [host; 3]),
        (
            &partial,
            certificate(),
            [host, "id.example.com", "id.example.com"],
        ),
        (
            &top,
            Client::confidential("shop", "secret"),
            ["id.example.com"; 3],
        ),
        (
            &top,
            Client::confidential("shop", "secret").with_certificate_bound_tokens(),
            [host; 3],
        ),
    ] {
        let server = Server::new();
        server.set_metadata(metadata);
        let login = Login::start_with(&server, server.flow_of(client), StartRequest::default());
        let login = login.await;
        login.grant(&json!({}));
        let flow = login.flow.clone();
        let record = login.call_back().await.unwrap();
        flow.revoke(&record).await;
        let _unread = flow.userinfo(record.tokens(), "alice").await;
        for (path, host) in ["/token", "/revoke", "/userinfo"].iter().zip(hosts) {
            let requests = server.requests(path);
            let is_at_host = |uri: &http::Uri| uri.host() == Some(host);
            assert!(!requests.is_empty(), "{path}");
            assert!(
                requests.iter().all(|one| is_at_host(one.uri())),
                "{path} {host}"
            );
        }
    }
    // An alias is https.
    let server = Server::new();
    server
        .set_metadata(&json!({ "mtls_endpoint_aliases": { "token_endpoint": "http://a/token" } }));
    let flow = server.flow_of(certificate());
    let login = Login::start_with(&server, flow, StartRequest::default()).await;
    assert_eq!(code_of(login.call_back().await), "back_channel");
}

#[tokio::test]
async fn a_rejected_client_reads_what_to_try() {
    for (client, advice) in [
        (
            Client::confidential("shop", "a+b/c="),
            "Form-encoding changes them",
        ),
        (
            Client::confidential("shop", "abc"),
            "`Client::confidential_post`",
        ),
        (
            Client::confidential_post("shop", "abc"),
            "`Client::confidential`",
        ),
        (
            Client::client_secret_jwt("shop", "a+b/c=, and more than thirty-two bytes"),
            "`Client::with_hmac_algorithm`",
        ),
        (
            Client::private_key_jwt("shop", signing_key(3)),
            "`Client::with_untyped_assertions`",
        ),
        (
            Client::federated_assertion("shop", "a.b.c"),
            "federated credential",
        ),
        (Client::mutual_tls("shop"), "presents the certificate"),
        (Client::public("shop"), "registered as public"),
    ] {
        let server = Server::new();
        let login = Login::start_with(&server, server.flow_of(client), StartRequest::default());
        let login = login.await;
        server.answer_token_request(401, r#"{"error":"invalid_client"}"#);
        let error = login.call_back().await.unwrap_err();
        assert_eq!(error.code(), "client_refused");
        assert!(error.to_string().contains(advice), "{error}");
        assert!(!error.to_string().contains("a+b"), "{error}");
    }
}

/// RFC 6749 §3.2.1: the server authenticates the client before it looks at the refresh token or revokes a token.
#[tokio::test]
async fn refreshes_and_revocations_are_repeated_only_with_a_changed_credential() {
    const REJECTED: &str = r#"{"error":"invalid_client"}"#;
    let changing = || {
        let reads = AtomicUsize::new(0);
        CredentialSource::from_fn(move || {
            let read = reads.fetch_add(1, Ordering::Relaxed);
            async move { Ok(format!("secret {read}")) }
        })
    };
    let other = r#"{"error":"invalid_grant"}"#;
    for (source, status, body, sent) in [
        (changing(), 401, REJECTED, 2),
        (changing(), 400, REJECTED, 2),
        ("secret".into(), 401, REJECTED, 1),
        // The server may have used the token before it failed.
        (changing(), 500, REJECTED, 1),
        (changing(), 401, "", 1),
        (changing(), 400, other, 1),
    ] {
        let name = format!("{source:?} {status} {body}");
        let server = Server::new();
        server.set_metadata(&json!({ "revocation_endpoint": format!("{ISSUER}/revoke") }));
        let login = Login::start(&server).await;
        login.grant(&json!({}));
        let record = login.call_back().await.unwrap();
        let before = server.requests("/token").len();
        let flow = server.flow_of(Client::confidential_post("shop", source));
        server.answer_token_request(status, body);
        assert!(
            flow.refresh(&record, crate::flow::RefreshTarget::Session)
                .await
                .is_err(),
            "{name}"
        );
        let requests = &server.forms("/token")[before..];
        assert_eq!(requests.len(), sent, "{name}");
        let value = |at: usize, name: &str| {
            let parameter = requests[at].iter().find(|(found, _)| found == name);
            parameter.map(|(_, value)| value.clone())
        };
        let last = sent - 1;
        assert_eq!(
            value(0, "refresh_token"),
            value(last, "refresh_token"),
            "{name}"
        );
        assert_eq!(
            value(0, "client_secret") != value(last, "client_secret"),
            sent == 2
        );

        server.answer_revocations(&[(status, body)]);
        flow.revoke(&record).await;
        let revoked = match sent {
            // The refresh token twice, and the access token.
            2 => 3,
            // The first failure ends the attempt.
            _ => 1,
        };
        assert_eq!(server.requests("/revoke").len(), revoked, "{name}");
    }
}

#[test]
fn a_client_with_a_bearer_token_is_not_for_logins() {
    let client = Client::bearer_token("shop", "token");
    let server = Server::new().authorization_server();
    assert!(Flow::new(&server, client, REDIRECT_URI).is_err());
}
