//! One server with a shared connection.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, Pipeline, RedisConnectionInfo, Value};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

use super::address::{Address, RedisUrl};
use super::error::CommandError;
use super::tls::Tls;
use crate::clock::{Clock as _, SystemClock, within};
use crate::store::error::io_failure;
use crate::telemetry::StoreFailure;

/// Includes name resolution, TCP, TLS and authentication.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(900);

const RESPONSE_TIMEOUT: Duration = Duration::from_millis(900);

/// Idle connections are replaced after this time: a firewall may have dropped them silently, and a command would
/// fail after [`RESPONSE_TIMEOUT`].
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// Minimum time between connection attempts. Commands in between fail with the error of the last attempt.
const RECONNECT_DELAY: Duration = Duration::from_millis(100);

/// The options of all nodes of a store.
#[derive(Debug)]
pub(super) struct Options {
    login: RedisConnectionInfo,
    tls: Option<Tls>,
    cluster: bool,
}

impl Options {
    pub(super) fn new(url: &RedisUrl, tls: &Tls) -> Self {
        Self {
            login: url.login.clone(),
            tls: url.tls.then(|| tls.clone()),
            cluster: url.cluster,
        }
    }
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) address: Address,
    options: Arc<Options>,
    idle_timeout: Duration,
    state: Mutex<ConnectionState>,
}

#[derive(Debug, Default)]
struct ConnectionState {
    current: Option<NumberedConnection>,
    /// The number of connections that were opened so far.
    count: u64,
    /// Time and error of the last failed attempt.
    failed: Option<(Duration, CommandError)>,
}

#[derive(Clone, Debug)]
struct NumberedConnection {
    connection: MultiplexedConnection,
    number: u64,
    used_at: Duration,
}

impl Node {
    pub(super) fn new(address: Address, options: Arc<Options>) -> Self {
        Self {
            address,
            options,
            idle_timeout: IDLE_TIMEOUT,
            state: Mutex::default(),
        }
    }

    /// Sends a command once. If the response is lost, it is unknown whether the command was executed.
    pub(super) async fn send(&self, command: &Cmd) -> Result<Value, CommandError> {
        let mut current = self.connection().await?;
        let response = command.query_async(&mut current.connection);
        self.response(current.number, response).await
    }

    /// Like [`send`](Self::send), for a slot that is migrating to this node.
    pub(super) async fn send_asking(&self, command: &Cmd) -> Result<Value, CommandError> {
        let mut current = self.connection().await?;
        let mut pipeline = Pipeline::new();
        pipeline.cmd("ASKING").ignore();
        pipeline.add_command(command.clone());
        let response = pipeline.query_async(&mut current.connection);
        let (value,) = self.response(current.number, response).await?;
        Ok(value)
    }

    async fn response<T>(
        &self,
        number: u64,
        response: impl Future<Output = redis::RedisResult<T>>,
    ) -> Result<T, CommandError> {
        let error = match within(&SystemClock, RESPONSE_TIMEOUT, response).await {
            Some(Ok(value)) => return Ok(value),
            Some(Err(error)) => CommandError::from(error),
            None => CommandError::TimedOut,
        };
        if error.ends_connection() {
            let mut state = self.state.lock().await;
            state.current.take_if(|current| current.number == number);
        }
        Err(error)
    }

    /// Returns the current connection or opens a new one. Concurrent callers wait for the same attempt.
    async fn connection(&self) -> Result<NumberedConnection, CommandError> {
        let mut state = self.state.lock().await;
        let now = SystemClock.monotonic();
        state
            .current
            .take_if(|current| now.saturating_sub(current.used_at) >= self.idle_timeout);
        if let Some(current) = &mut state.current {
            current.used_at = now;
            return Ok(current.clone());
        }
        if let Some((at, error)) = &state.failed
            && now.saturating_sub(*at) < RECONNECT_DELAY
        {
            return Err(error.clone());
        }
        // Boxed, so that the futures of operations do not contain that of the TLS handshake.
        let opened = within(&SystemClock, CONNECT_TIMEOUT, Box::pin(self.open())).await;
        let opened = opened.unwrap_or(Err(CommandError::TimedOut));
        match opened.map_err(CommandError::before_sending) {
            Ok(connection) => {
                state.count += 1;
                let number = state.count;
                state.failed = None;
                let current = NumberedConnection {
                    connection,
                    number,
                    used_at: SystemClock.monotonic(),
                };
                Ok(state.current.insert(current).clone())
            }
            Err(error) => {
                state.failed = Some((SystemClock.monotonic(), error.clone()));
                Err(error)
            }
        }
    }

    async fn open(&self) -> Result<MultiplexedConnection, CommandError> {
        match &self.address {
            Address::Tcp(host, port) => {
                let stream = TcpStream::connect((host.as_str(), *port)).await;
                let stream = stream.map_err(|error| no_connection(&error))?;
                stream
                    .set_nodelay(true)
                    .map_err(|error| no_connection(&error))?;
                match &self.options.tls {
                    Some(tls) => self.log_in(tls.connect(host, stream).await?).await,
                    None => self.log_in(stream).await,
                }
            }
            #[cfg(unix)]
            Address::Unix(path) => {
                let stream = tokio::net::UnixStream::connect(path).await;
                self.log_in(stream.map_err(|error| no_connection(&error))?)
                    .await
            }
            #[cfg(not(unix))]
            Address::Unix(_) => {
                let reason = "Unix sockets are not supported on this platform";
                Err(CommandError::no_connection(
                    StoreFailure::Unavailable,
                    reason,
                ))
            }
        }
    }

    async fn log_in(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Result<MultiplexedConnection, CommandError> {
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let (mut connection, driver) =
            MultiplexedConnection::new_with_config(&self.options.login, stream, config).await?;
        tokio::spawn(driver);
        // A replica outside a cluster may return outdated entries. Skipped if the user may not run `ROLE`.
        if !self.options.cluster
            && let Ok(Value::Array(role)) = redis::cmd("ROLE").query_async(&mut connection).await
            && let Some(Value::BulkString(role)) = role.first()
            && role != b"master"
        {
            let reason = "the server is a replica".to_owned();
            return Err(CommandError::no_connection(StoreFailure::ReadOnly, reason));
        }
        Ok(connection)
    }
}

fn no_connection(error: &std::io::Error) -> CommandError {
    CommandError::no_connection(io_failure(error), error.kind().to_string())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// Responds `+OK` to the commands of a connection up to and including `PING`, then stops responding.
    async fn respond_until_ping(mut stream: TcpStream) {
        let mut buffer = [0; 4096];
        while let Ok(read) = stream.read(&mut buffer).await {
            let sent = &buffer[..read];
            let commands = sent.iter().filter(|byte| **byte == b'*').count();
            let response = "+OK\r\n".repeat(commands);
            if read == 0 || stream.write_all(response.as_bytes()).await.is_err() {
                return;
            }
            if sent.windows(4).any(|word| word == b"PING") {
                std::future::pending::<()>().await;
            }
        }
    }

    #[tokio::test]
    async fn an_idle_connection_is_replaced() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(respond_until_ping(stream));
            }
        });
        let url = RedisUrl::parse(&format!("redis://127.0.0.1:{port}")).unwrap();
        let options = Arc::new(Options::new(&url, &Tls::default()));
        let mut node = Node::new(url.addresses[0].clone(), options);
        assert!(node.idle_timeout <= Duration::from_secs(15));
        node.idle_timeout = Duration::ZERO;
        for used in 1..=3 {
            node.send(&redis::cmd("PING")).await.unwrap();
            assert_eq!(connections.load(Ordering::SeqCst), used);
        }
        // Without the timeout, a command on the silent connection fails.
        node.idle_timeout = IDLE_TIMEOUT;
        let error = node.send(&redis::cmd("PING")).await.unwrap_err();
        assert!(matches!(error, CommandError::TimedOut), "{error}");
        node.send(&redis::cmd("PING")).await.unwrap();
    }
}
