//! A minimal round-robin load balancer for TCP connections.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

pub struct Front {
    base: String,
    backends: Arc<Mutex<Backends>>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Backends {
    addresses: Vec<String>,
    next: usize,
    /// Number of connections by address.
    connections: BTreeMap<String, usize>,
}

impl Front {
    /// Starts without backends: connections are closed.
    pub async fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let backends = Arc::<Mutex<Backends>>::default();
        let task = tokio::spawn(accept(listener, Arc::clone(&backends)));
        Self {
            base,
            backends,
            task,
        }
    }

    /// Returns the public origin.
    pub fn base(&self) -> &str {
        &self.base
    }

    pub fn set_backends(&self, addresses: Vec<String>) {
        self.backends.lock().unwrap().addresses = addresses;
    }

    /// Returns the number of connections of each backend.
    pub fn connections(&self) -> Vec<usize> {
        let backends = self.backends.lock().unwrap();
        backends.connections.values().copied().collect()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, backends: Arc<Mutex<Backends>>) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let order = backends.lock().unwrap().order();
        let backends = Arc::clone(&backends);
        tokio::spawn(async move {
            for address in order {
                if let Ok(mut backend) = TcpStream::connect(&address).await {
                    *backends
                        .lock()
                        .unwrap()
                        .connections
                        .entry(address)
                        .or_default() += 1;
                    let _ = copy_bidirectional(&mut stream, &mut backend).await;
                    return;
                }
            }
        });
    }
}

impl Backends {
    /// Returns all addresses, starting with a different one each time.
    fn order(&mut self) -> Vec<String> {
        let mut order = self.addresses.clone();
        self.next += 1;
        let count = order.len().max(1);
        order.rotate_left(self.next % count);
        order
    }
}
