//! A loaded session: the record, and the revision for the next compare-and-swap.

use std::sync::Arc;

use super::secret::SessionSecret;
use crate::record::SessionRecord;

/// A session as a request has loaded it.
#[derive(Clone, Debug)]
pub(crate) struct LoadedSession {
    record: Arc<SessionRecord>,
    revision: Revision,
    /// Whether the cookie of the browser is older than the record.
    stale_cookie: bool,
}

/// The location and the version against which a write is compared.
#[derive(Clone, Debug)]
pub(super) enum Revision {
    /// The session is in its cookie. With a shared store: the version of its entry there, or `None` without
    /// an entry.
    Cookie(Option<u64>),
    Stored {
        secret: SessionSecret,
        version: u64,
    },
}

impl LoadedSession {
    /// Wraps a record as it was read from its cookie or from the store.
    pub(super) fn new(record: SessionRecord, revision: Revision) -> Self {
        Self {
            record: Arc::new(record),
            revision,
            stale_cookie: false,
        }
    }

    /// Returns the same session with a newer record, which is not in a cookie yet.
    #[must_use]
    pub(super) fn with_record(&self, record: SessionRecord) -> Self {
        Self {
            record: Arc::new(record),
            revision: self.revision.clone(),
            stale_cookie: true,
        }
    }

    #[must_use]
    pub(super) fn with_revision(self, revision: Revision) -> Self {
        Self { revision, ..self }
    }

    pub(crate) fn record(&self) -> &Arc<SessionRecord> {
        &self.record
    }

    /// Returns the secret in the cookie if the session is in a store.
    pub(crate) fn secret(&self) -> Option<&SessionSecret> {
        match &self.revision {
            Revision::Cookie(_) => None,
            Revision::Stored { secret, .. } => Some(secret),
        }
    }

    pub(super) fn revision(&self) -> &Revision {
        &self.revision
    }

    /// Reports whether the session has to be written to its cookie again.
    pub(crate) fn wants_cookie(&self) -> bool {
        self.stale_cookie && matches!(self.revision, Revision::Cookie(_))
    }
}
