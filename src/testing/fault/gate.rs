//! A gate that blocks requests until a test opens it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Blocks requests until it is opened. Clones share the gate.
///
/// Use it with [`Fault::wait_for`](super::Fault::wait_for) or
/// [`Fault::hold_response`](super::Fault::hold_response) to run code while a request is in flight.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<GateState>);

#[derive(Debug, Default)]
struct GateState {
    open: AtomicBool,
    opened: Notify,
}

impl Gate {
    /// Creates a closed gate.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens the gate for waiting and later requests. It cannot be closed again.
    pub fn open(&self) {
        self.0.open.store(true, Ordering::SeqCst);
        self.0.opened.notify_waiters();
    }

    pub(in crate::testing) async fn passed(&self) {
        // Created before the check, so that an opening in between is not missed.
        let opened = self.0.opened.notified();
        if !self.0.open.load(Ordering::SeqCst) {
            opened.await;
        }
    }
}
