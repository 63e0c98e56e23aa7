//! Redis servers for tests: on free ports of 127.0.0.1, without persistence, and stopped with the test.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

pub struct Redis {
    child: Child,
    pub port: u16,
    folder: PathBuf,
    arguments: Vec<String>,
    /// The connection options of `redis-cli`.
    client: Vec<String>,
}

impl Redis {
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    pub fn start_with(arguments: &[&str]) -> Self {
        let port = free_port();
        let named = ["--port", &port.to_string(), "--bind", "127.0.0.1"].map(str::to_owned);
        Self::launch(port, named.to_vec(), arguments, Vec::new())
    }

    /// Starts a server that accepts only TLS, with these PEM files.
    pub fn start_tls(
        authority: &Path,
        certificate: &Path,
        key: &Path,
        clients: &str,
        more: &[&str],
    ) -> Self {
        let port = free_port();
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let named = [
            ("--port", "0".to_owned()),
            ("--tls-port", port.to_string()),
            ("--bind", "127.0.0.1".to_owned()),
            ("--tls-ca-cert-file", text(authority)),
            ("--tls-cert-file", text(certificate)),
            ("--tls-key-file", text(key)),
            ("--tls-auth-clients", clients.to_owned()),
        ];
        let named = named
            .into_iter()
            .flat_map(|(name, value)| [name.to_owned(), value]);
        let client = [
            "--tls".to_owned(),
            "--cacert".to_owned(),
            text(authority),
            "--cert".to_owned(),
            text(certificate),
            "--key".to_owned(),
            text(key),
        ];
        Self::launch(port, named.collect(), more, client.to_vec())
    }

    fn launch(port: u16, named: Vec<String>, more: &[&str], client: Vec<String>) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("redis-{port}"));
        fs::create_dir_all(&folder).unwrap();
        let mut arguments = named;
        arguments.extend(["--save", "", "--appendonly", "no", "--dir"].map(str::to_owned));
        arguments.push(folder.to_str().unwrap().to_owned());
        arguments.extend(more.iter().map(|one| (*one).to_owned()));
        let child = spawn(&arguments);
        let redis = Self {
            child,
            port,
            folder,
            arguments,
            client,
        };
        redis.wait();
        redis
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Kills the server. Its data is lost.
    pub fn stop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn start_again(&mut self) {
        self.child = spawn(&self.arguments);
        self.wait();
    }

    /// Suspends the server: it accepts connections and does not respond.
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args([signal, &id]).status();
        assert!(status.unwrap().success());
    }

    pub fn cli(&self, arguments: &[&str]) -> String {
        let output = Command::new("redis-cli")
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string()])
            .args(&self.client)
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .expect("redis-cli");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn wait(&self) {
        for _ in 0..200 {
            let response = self.cli(&["ping"]);
            if response == "PONG" || response.starts_with("NOAUTH") {
                return;
            }
            std::thread::sleep(Duration::from_millis(25));
        }
        panic!("redis-server did not start");
    }
}

fn spawn(arguments: &[String]) -> Child {
    Command::new("redis-server")
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server is installed")
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Starts a cluster of three nodes.
pub fn cluster() -> Vec<Redis> {
    let nodes: Vec<Redis> = (0..3)
        .map(|_| {
            let bus = free_port().to_string();
            Redis::start_with(&["--cluster-enabled", "yes", "--cluster-port", &bus])
        })
        .collect();
    join(&nodes);
    nodes
}

/// Joins servers that were started in cluster mode.
pub fn join(nodes: &[Redis]) {
    let addresses = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port));
    let addresses: Vec<String> = addresses.collect();
    let output = Command::new("redis-cli")
        .args(&nodes[0].client)
        .args(["--cluster", "create"])
        .args(&addresses)
        .arg("--cluster-yes")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
    for node in nodes {
        for attempt in 0.. {
            if node.cli(&["cluster", "info"]).contains("cluster_state:ok") {
                break;
            }
            assert!(attempt < 200, "the cluster did not form");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

pub fn cluster_url(nodes: &[Redis]) -> String {
    let addresses = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port));
    let addresses: Vec<String> = addresses.collect();
    format!("redis-cluster://{}", addresses.join(","))
}

/// A proxy that counts writes to a server and can drop responses.
#[derive(Clone)]
pub struct Proxy {
    pub port: u16,
    sent: Arc<AtomicUsize>,
    drops_next: Arc<AtomicBool>,
}

impl Proxy {
    pub async fn before(redis: &Redis) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Self {
            port: listener.local_addr().unwrap().port(),
            sent: Arc::default(),
            drops_next: Arc::default(),
        };
        let (this, port) = (proxy.clone(), redis.port);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                tokio::spawn(this.clone().forward(client, server));
            }
        });
        proxy
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Returns the number of writes since the last call.
    pub fn sent(&self) -> usize {
        self.sent.swap(0, Ordering::SeqCst)
    }

    /// Drops the next response and closes its connection.
    pub fn drop_next_response(&self) {
        self.drops_next.store(true, Ordering::SeqCst);
    }

    async fn forward(self, mut client: TcpStream, mut server: TcpStream) {
        let (mut request, mut response) = (vec![0; 65_536], vec![0; 65_536]);
        loop {
            tokio::select! {
                read = client.read(&mut request) => {
                    let Ok(length @ 1..) = read else { return };
                    self.sent.fetch_add(1, Ordering::SeqCst);
                    server.write_all(&request[..length]).await.unwrap();
                }
                read = server.read(&mut response) => {
                    let Ok(length @ 1..) = read else { return };
                    if self.drops_next.swap(false, Ordering::SeqCst) {
                        return;
                    }
                    client.write_all(&response[..length]).await.unwrap();
                }
            }
        }
    }
}
