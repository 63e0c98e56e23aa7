//! Places where things wait until the run lets them go on.

use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;

#[derive(Clone, Debug, Default)]
pub struct Gates(Arc<Mutex<Vec<oneshot::Sender<()>>>>);

impl Gates {
    /// Waits to be opened.
    pub async fn pass(&self) {
        let (sender, receiver) = oneshot::channel();
        self.0.lock().unwrap().push(sender);
        let _ = receiver.await;
    }

    /// Opens one of those that somebody still waits at.
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
