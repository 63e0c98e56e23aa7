//! What the log says about a store that fails: the category, the reason and the address, without passwords.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use tower_oauth::store::{Expect, Key, Put, Record, Removed, Store, StoreError};

use crate::support::logs::Logs;
use crate::support::shop::*;

/// A store of an application that always fails.
struct Failing(fn() -> StoreError);

impl Store for Failing {
    fn address(&self) -> Option<String> {
        Some("postgres://10.0.0.1/shop".to_owned())
    }

    async fn get(&self, _: &Key) -> Result<Option<Record>, StoreError> {
        Err(self.0())
    }

    async fn put(&self, _: &Key, _: Bytes, _: Duration, _: Expect) -> Result<Put, StoreError> {
        Err(self.0())
    }

    async fn remove(&self, _: &Key, _: Expect) -> Result<Removed, StoreError> {
        Err(self.0())
    }
}

/// Sends a request with a session, and returns what is logged about the store.
pub(crate) async fn log_of(store: impl Store) -> String {
    let server = server();
    let app = app(&login(&server).with_session_store(store));
    let logs = Logs::default();
    let recording = logs.record_only("store_operation_failed");
    let cookie = format!("{SESSION}={}", "A".repeat(43));
    let answer = send(&app, Ask::page("/").with(&[("cookie", &cookie)])).await;
    assert_eq!(answer.status.as_u16(), 503);
    drop(recording);
    assert!(
        !answer.text().contains("10.0.0.1"),
        "only the log has the address"
    );
    logs.text()
}

#[derive(Debug, thiserror::Error)]
#[error("the pool is closed")]
struct PoolError(#[source] io::Error);

#[tokio::test]
async fn the_reason_of_a_store_of_the_application_is_logged_by_category() {
    let cases: [(fn() -> StoreError, _, _); 5] = [
        (
            || StoreError::unavailable("relation \"sessions\" does not exist"),
            "unavailable",
            "does not exist",
        ),
        (
            || StoreError::unavailable(PoolError(io::ErrorKind::ConnectionRefused.into())),
            "refused",
            "the pool is closed: connection refused",
        ),
        (
            || StoreError::unavailable(io::Error::from(io::ErrorKind::TimedOut)),
            "timed_out",
            "timed out",
        ),
        (
            || {
                StoreError::unavailable(
                    "cannot reach postgres://shop:s3cret@10.0.0.1/shop, password=s3cret",
                )
            },
            "unavailable",
            "postgres://***@10.0.0.1/shop, password=***",
        ),
        (|| StoreError::Full, "full", "the store is full"),
    ];
    for (error, reason, text) in cases {
        let log = log_of(Failing(error)).await;
        assert!(log.contains("WARN"), "{log}");
        assert!(log.contains(&format!("reason=\"{reason}\"")), "{log}");
        assert!(log.contains(text), "{text}: {log}");
        assert!(log.contains("store=\"postgres://10.0.0.1/shop\""), "{log}");
        assert!(!log.contains("s3cret"), "{log}");
    }
}
