//! Gates at which operations wait until the run opens them.

use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;

#[derive(Clone, Debug, Default)]
pub struct Gates(Arc<Mutex<Vec<oneshot::Sender<()>>>>);

impl Gates {
    /// Waits until the gate is opened.
    pub async fn pass(&self) {
        let (sender, receiver) = oneshot::channel();
        self.0.lock().unwrap().push(sender);
        let _ = receiver.await;
    }

    /// Opens one of the gates at which an operation waits.
    pub fn open(&self, number: usize) -> bool {
        let mut gates = self.0.lock().unwrap();
        gates.retain(|gate| !gate.is_closed());
        if gates.is_empty() {
            return false;
        }
        let number = number % gates.len();
        gates.remove(number).send(()).is_ok()
    }
}
