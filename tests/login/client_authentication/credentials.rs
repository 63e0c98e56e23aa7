//! Credentials that are read from files and functions, and replaced while the application runs.

use std::future::pending;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::http::StatusCode;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tower_oauth::testing::{ClientAuthentication, Endpoint, TestClient};
use tower_oauth::{Client, CredentialSource};

use super::{attempt, browser, layer, server_with, shop, sign_in, token_requests};
use crate::support::logs::Logs;
use crate::support::shop::CALLBACK;

const OLD: &str = "the old secret, long enough for HS256";
const NEW: &str = "the new secret, long enough for HS256";

/// A folder that is removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("tower-oauth-credentials-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// Replaces the file `secret` as Kubernetes does: a symbolic link to a folder is renamed.
    fn publish(&self, version: &str, content: &str) -> PathBuf {
        std::fs::create_dir(self.path(version)).unwrap();
        std::fs::write(self.path(version).join("secret"), content).unwrap();
        link(Path::new(version), &self.path("next"));
        std::fs::rename(self.path("next"), self.path("data")).unwrap();
        let secret = self.path("secret");
        if !secret.is_symlink() {
            link(Path::new("data/secret"), &secret);
        }
        secret
    }
}

fn link(target: &Path, at: &Path) {
    #[cfg(unix)]
    std::os::unix::fs::symlink(target, at).unwrap();
    #[cfg(not(unix))]
    panic!("no symbolic links for {target:?} at {at:?}");
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.0);
    }
}

fn registered(secret: &str) -> TestClient {
    TestClient::confidential("shop", secret)
}

/// Returns these texts one after the other, the last one for ever.
fn changing(texts: &'static [&'static str]) -> (CredentialSource, Arc<AtomicUsize>) {
    let reads = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&reads);
    let source = CredentialSource::from_fn(move || {
        let read = counted.fetch_add(1, Ordering::Relaxed);
        let text = texts.get(read).or_else(|| texts.last()).copied();
        async move { text.ok_or_else(|| "no text".into()) }
    });
    (source, reads)
}

#[cfg(unix)]
#[tokio::test]
async fn a_secret_file_that_is_replaced_during_a_hundred_logins_fails_none() {
    let folder = Folder::new();
    let secret = folder.publish("v1", &format!("{OLD}\n"));
    let server = server_with(registered(OLD));
    let app = shop(
        &server,
        Client::confidential_post("shop", CredentialSource::file(&secret)),
    );
    let mut logins = JoinSet::new();
    for _ in 0..100 {
        let browser = browser(&server, app.clone());
        logins.spawn(async move { sign_in(&browser).await.text() });
    }
    // Some logins are done, others have read the old secret and not sent it yet.
    server.wait_for(Endpoint::Token, 10).await;
    folder.publish("v2", &format!("{NEW}\n"));
    let changed = registered(NEW).add_redirect_uri(CALLBACK).unwrap();
    let server = server.add_client(changed.without_consent());
    let pages = logins.join_all().await;
    assert!(pages.iter().all(|page| page == "alice"), "{pages:?}");

    let requests = token_requests(&server);
    let sent = |text: &str| {
        let is_text = |one: &String| one == text;
        let secrets = requests
            .iter()
            .filter_map(|one| one.parameter("client_secret"));
        secrets.filter(is_text).count()
    };
    assert!(
        sent(OLD) >= 10 && sent(NEW) >= 1,
        "{} {}",
        sent(OLD),
        sent(NEW)
    );
    assert_eq!(sent(OLD) + sent(NEW), requests.len());
}

#[tokio::test]
async fn both_secrets_are_accepted_while_they_are_registered() {
    let server = server_with(registered(OLD).add_secret(NEW));
    for secret in [OLD, NEW] {
        let client = Client::confidential("shop", secret);
        assert_eq!(attempt(&server, client).await.0, StatusCode::OK, "{secret}");
    }
    let neither = Client::confidential("shop", "another");
    assert_eq!(
        attempt(&server, neither).await.0,
        StatusCode::INTERNAL_SERVER_ERROR
    );
}

#[tokio::test]
async fn a_rejected_credential_that_changed_is_sent_once_more() {
    type Method = fn(&'static str, CredentialSource) -> Client;
    let methods: [(Method, ClientAuthentication); 3] = [
        (Client::confidential, ClientAuthentication::Basic),
        (Client::confidential_post, ClientAuthentication::Post),
        (
            Client::client_secret_jwt,
            ClientAuthentication::ClientSecretJwt,
        ),
    ];
    const THIRD: &str = "another secret, long enough for HS256";
    let (ok, rejected) = (StatusCode::OK, StatusCode::INTERNAL_SERVER_ERROR);
    let cases: [(&str, &'static [&'static str], StatusCode, usize, usize); 4] = [
        ("replaced in between", &[OLD, NEW], ok, 2, 2),
        ("unchanged", &[OLD], rejected, 1, 2),
        ("wrong again", &[OLD, THIRD, NEW], rejected, 2, 2),
        ("valid", &[NEW, OLD], ok, 1, 1),
    ];
    for (create, method) in methods {
        for (name, texts, expected, sent, read) in cases {
            let server = server_with(registered(NEW).with_authentication(method));
            let logs = Logs::default();
            let recording = logs.record_only("client_credential_replaced");
            let (source, reads) = changing(texts);
            let (status, requests) = attempt(&server, create("shop", source)).await;
            drop(recording);
            assert_eq!(
                (status, requests.len()),
                (expected, sent),
                "{name} {method:?}"
            );
            assert_eq!(reads.load(Ordering::Relaxed), read, "{name} {method:?}");
            let log = logs.text();
            assert_eq!(
                log.contains("once more"),
                sent == 2,
                "{name} {method:?}: {log}"
            );
            assert!(texts.iter().all(|text| !log.contains(text)), "{log}");
            if let [first, second] = &requests[..] {
                assert_eq!(first.parameter("code"), second.parameter("code"));
            }
        }
    }
}

#[tokio::test]
async fn a_credential_that_cannot_be_read_is_used_later_without_a_restart() {
    let folder = Folder::new();
    let text = |name: &str| folder.path(name).display().to_string();
    let outage = (
        "client_credential_unavailable",
        StatusCode::SERVICE_UNAVAILABLE,
    );
    let invalid = (
        "client_credential_invalid",
        StatusCode::INTERNAL_SERVER_ERROR,
    );
    for (name, content, reason, (code, status)) in [
        ("missing", None, "No such file or directory", outage),
        ("folder", None, "not a regular file", invalid),
        ("empty", Some(Vec::new()), "it is empty", outage),
        (
            "blank",
            Some(b" \n".to_vec()),
            "it is empty or blank",
            outage,
        ),
        ("line-break", Some(b"\r\n".to_vec()), "it is empty", outage),
        (
            "long",
            Some(vec![b'x'; 64 * 1024 + 1]),
            "longer than 64 KiB",
            invalid,
        ),
        ("binary", Some(vec![0xff, 0xfe]), "not UTF-8", invalid),
    ] {
        match content {
            Some(content) => drop(folder.write(name, content)),
            None if name == "folder" => std::fs::create_dir(folder.path(name)).unwrap(),
            None => {}
        }
        let server = server_with(registered(NEW));
        let client = Client::confidential("shop", CredentialSource::file(folder.path(name)));
        let login = layer(&server, client.clone()).unwrap();
        let error = login.ready().await.unwrap_err();
        assert_eq!(error.code(), code, "{name}");

        let logs = Logs::default();
        let recording = logs.record_only("login_failed");
        let app = shop(&server, client);
        let page = sign_in(&browser(&server, app.clone())).await;
        drop(recording);
        assert_eq!(page.status(), status, "{name}");
        assert!(!page.text().contains("tower-oauth-credentials"), "{name}");
        let log = logs.text();
        assert!(
            log.contains(reason) && log.contains(&text(name)),
            "{name}: {log}"
        );
        assert_eq!(server.count(Endpoint::Token), 0, "{name}");

        if name != "folder" {
            folder.write(name, format!("{NEW}\r\n"));
            let page = sign_in(&browser(&server, app)).await;
            assert_eq!(page.text(), "alice", "{name}");
        }
    }
}

#[tokio::test]
async fn a_function_that_fails_is_an_outage() {
    let failing: [(CredentialSource, &str); 3] = [
        (
            CredentialSource::from_fn(|| async {
                Err::<String, _>("vault is sealed at redis://app:hunter2@vault\n".into())
            }),
            "vault is sealed at redis://***@vault",
        ),
        (
            CredentialSource::from_fn(|| async {
                panic!("the client of the vault") as Result<String, _>
            }),
            "it panicked",
        ),
        (
            CredentialSource::from_fn(|| async { Ok(String::new()) }),
            "it is empty",
        ),
    ];
    for (source, reason) in failing {
        let server = server_with(registered(NEW));
        let logs = Logs::default();
        let recording = logs.record_only("login_failed");
        let (status, requests) = attempt(&server, Client::confidential("shop", source)).await;
        drop(recording);
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{reason}");
        assert_eq!(requests.len(), 0, "{reason}");
        assert!(logs.text().contains(reason), "{reason}: {}", logs.text());
        assert!(!logs.text().contains("hunter2"), "{}", logs.text());
    }
}

#[tokio::test]
async fn a_function_has_five_seconds() {
    let server = server_with(registered(NEW));
    let called = Arc::new(Notify::new());
    let notify = Arc::clone(&called);
    let source = CredentialSource::from_fn(move || {
        notify.notify_one();
        pending::<Result<String, _>>()
    });
    let app = shop(&server, Client::confidential("shop", source));
    let browser = browser(&server, app);
    let login = tokio::spawn(async move { sign_in(&browser).await.status() });
    called.notified().await;
    server.clock().wait_for_sleepers(1).await;
    server.clock().advance(Duration::from_secs(5));
    assert_eq!(login.await.unwrap(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(server.count(Endpoint::Token), 0);
}

/// What cannot be checked when the client is created is checked when it is read.
#[tokio::test]
async fn an_invalid_credential_of_a_source_is_an_error_of_the_configuration() {
    const SHORT: &str = "a short secret";
    const LINES: &str = "two\nlines";
    for (client, reason, secret) in [
        (
            Client::client_secret_jwt("shop", changing(&[SHORT]).0),
            "at least 32 bytes for HS256",
            SHORT,
        ),
        (
            Client::confidential_post("shop", changing(&[LINES]).0),
            "control characters",
            LINES,
        ),
        (
            Client::federated_assertion("shop", changing(&[SHORT]).0),
            "signed JWT",
            SHORT,
        ),
    ] {
        let server = server_with(TestClient::client_secret_jwt("shop", NEW));
        let logs = Logs::default();
        let recording = logs.record_only("login_failed");
        let (status, requests) = attempt(&server, client).await;
        drop(recording);
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR, "{reason}");
        assert_eq!(requests.len(), 0, "{reason}");
        let log = logs.text();
        assert!(log.contains(reason) && !log.contains(secret), "{log}");
    }
}
