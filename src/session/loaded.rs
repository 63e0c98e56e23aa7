//! A session as a request holds it: the record, and what it is compared with when it is written.

use std::sync::Arc;

use super::secret::SessionSecret;
use crate::flow::SessionRecord;

/// A session that was opened, and by what.
#[derive(Clone, Debug)]
pub(crate) struct LoadedSession {
    record: Arc<SessionRecord>,
    seat: Seat,
    /// The browser's cookie is older than the record.
    stale_cookie: bool,
}

/// Where a session is written to.
#[derive(Clone, Debug)]
pub(super) enum Seat {
    /// Into its cookie; with shared memory this is the version of what the store knows of it.
    Cookie(Option<u64>),
    Stored {
        ticket: SessionSecret,
        version: u64,
    },
}

impl LoadedSession {
    /// As its cookie or its store has it.
    pub(super) fn new(record: SessionRecord, seat: Seat) -> Self {
        Self {
            record: Arc::new(record),
            seat,
            stale_cookie: false,
        }
    }

    /// The same session with a newer record, which a cookie does not hold yet.
    #[must_use]
    pub(super) fn with_record(&self, record: SessionRecord) -> Self {
        Self {
            record: Arc::new(record),
            seat: self.seat.clone(),
            stale_cookie: true,
        }
    }

    #[must_use]
    pub(super) fn with_seat(self, seat: Seat) -> Self {
        Self { seat, ..self }
    }

    pub(crate) fn record(&self) -> &Arc<SessionRecord> {
        &self.record
    }

    /// The ticket, where the session is in a store.
    pub(crate) fn ticket(&self) -> Option<&SessionSecret> {
        match &self.seat {
            Seat::Cookie(_) => None,
            Seat::Stored { ticket, .. } => Some(ticket),
        }
    }

    pub(super) fn seat(&self) -> &Seat {
        &self.seat
    }

    /// Whether the session has to be written into its cookie anew.
    pub(crate) fn wants_cookie(&self) -> bool {
        self.stale_cookie && matches!(self.seat, Seat::Cookie(_))
    }
}
