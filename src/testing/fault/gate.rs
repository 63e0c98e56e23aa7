//! A gate that holds requests up until a test lets them through.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// What [`Fault::wait_for`](super::Fault::wait_for) and
/// [`Fault::answer_waits_for`](super::Fault::answer_waits_for) wait for: closed until it is opened,
/// and open from then on. Clones are the same gate.
///
/// With it a test decides what happens while a request is under way, without time passing.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    open: AtomicBool,
    opened: Notify,
}

impl Gate {
    /// A closed gate.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets everybody through who waits or comes later.
    pub fn open(&self) {
        self.0.open.store(true, Ordering::SeqCst);
        self.0.opened.notify_waiters();
    }

    pub(in crate::testing) async fn passed(&self) {
        // Made before the look, so that an opening in between is not missed.
        let opened = self.0.opened.notified();
        if !self.0.open.load(Ordering::SeqCst) {
            opened.await;
        }
    }
}
