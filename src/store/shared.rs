//! Any store behind one type, so that layers need no type parameter for it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{Expect, Key, Put, Store, StoreError};

/// A store that many share.
#[derive(Clone)]
pub(crate) struct SharedStore(Arc<dyn Erased>);

impl SharedStore {
    pub(crate) fn new(store: impl Store) -> Self {
        Self(Arc::new(store))
    }

    pub(crate) async fn put(
        &self,
        key: &Key,
        value: Bytes,
        ttl: Duration,
        expect: Expect,
    ) -> Result<Put, StoreError> {
        self.0.put(key, value, ttl, expect).await
    }
}

impl fmt::Debug for SharedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedStore(..)")
    }
}

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// The twin of [`Store`] that can be an object. It has the verbs that are in use.
trait Erased: Send + Sync {
    fn put<'a>(
        &'a self,
        key: &'a Key,
        value: Bytes,
        ttl: Duration,
        expect: Expect,
    ) -> Answer<'a, Put>;
}

impl<S: Store> Erased for S {
    fn put<'a>(
        &'a self,
        key: &'a Key,
        value: Bytes,
        ttl: Duration,
        expect: Expect,
    ) -> Answer<'a, Put> {
        Box::pin(Store::put(self, key, value, ttl, expect))
    }
}
