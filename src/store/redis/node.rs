//! One server, and the connection to it that all who ask share.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, Pipeline, RedisConnectionInfo, Value};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

use super::address::{Address, Target};
use super::failure::Failure;
use super::tls::Tls;
use crate::clock::{Clock as _, SystemClock, within};

/// For name, connection, TLS and login together.
const CONNECT: Duration = Duration::from_millis(900);

const ANSWER: Duration = Duration::from_millis(900);

/// A connection that was idle for longer may have been dropped on the way without a word: a verb on it would
/// fail after [`ANSWER`].
const IDLE: Duration = Duration::from_secs(15);

/// How long those who come are told of an attempt that failed, before the next is made.
const PAUSE: Duration = Duration::from_millis(100);

/// What all servers of a store have in common.
#[derive(Debug)]
pub(super) struct Options {
    login: RedisConnectionInfo,
    tls: Option<Tls>,
    cluster: bool,
}

impl Options {
    pub(super) fn new(target: &Target, tls: &Tls) -> Self {
        Self {
            login: target.login.clone(),
            tls: target.tls.then(|| tls.clone()),
            cluster: target.cluster,
        }
    }
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) address: Address,
    options: Arc<Options>,
    idle: Duration,
    slot: Mutex<Slot>,
}

#[derive(Debug, Default)]
struct Slot {
    link: Option<Link>,
    /// How many connections there were.
    count: u64,
    /// When the last attempt failed, and why.
    failed: Option<(Duration, Failure)>,
}

#[derive(Clone, Debug)]
struct Link {
    connection: MultiplexedConnection,
    number: u64,
    used_at: Duration,
}

impl Node {
    pub(super) fn new(address: Address, options: Arc<Options>) -> Self {
        Self {
            address,
            options,
            idle: IDLE,
            slot: Mutex::default(),
        }
    }

    /// Sends a command, once: where its answer is lost, whoever asks has to be told so.
    pub(super) async fn ask(&self, command: &Cmd) -> Result<Value, Failure> {
        let mut link = self.link().await?;
        let answer = command.query_async(&mut link.connection);
        self.answer(link.number, answer).await
    }

    /// The same, of a slot that is on its way to this server.
    pub(super) async fn ask_ahead(&self, command: &Cmd) -> Result<Value, Failure> {
        let mut link = self.link().await?;
        let mut both = Pipeline::new();
        both.cmd("ASKING").ignore();
        both.add_command(command.clone());
        let answer = both.query_async(&mut link.connection);
        let (value,) = self.answer(link.number, answer).await?;
        Ok(value)
    }

    async fn answer<T>(
        &self,
        number: u64,
        answer: impl Future<Output = redis::RedisResult<T>>,
    ) -> Result<T, Failure> {
        let failure = match within(&SystemClock, ANSWER, answer).await {
            Some(Ok(value)) => return Ok(value),
            Some(Err(error)) => Failure::from(error),
            None => Failure::TimedOut,
        };
        if failure.ends_connection() {
            let mut slot = self.slot.lock().await;
            slot.link.take_if(|link| link.number == number);
        }
        Err(failure)
    }

    /// The connection at hand, or a new one. While one makes it, the others wait for it.
    async fn link(&self) -> Result<Link, Failure> {
        let mut slot = self.slot.lock().await;
        let now = SystemClock.monotonic();
        slot.link
            .take_if(|link| now.saturating_sub(link.used_at) >= self.idle);
        if let Some(link) = &mut slot.link {
            link.used_at = now;
            return Ok(link.clone());
        }
        if let Some((at, failure)) = &slot.failed
            && now.saturating_sub(*at) < PAUSE
        {
            return Err(failure.clone());
        }
        // Boxed, so that not every verb has the size of a TLS handshake.
        let opened = within(&SystemClock, CONNECT, Box::pin(self.open())).await;
        let opened = opened.unwrap_or(Err(Failure::TimedOut));
        match opened.map_err(Failure::before_asking) {
            Ok(connection) => {
                slot.count += 1;
                let number = slot.count;
                slot.failed = None;
                let link = Link {
                    connection,
                    number,
                    used_at: SystemClock.monotonic(),
                };
                Ok(slot.link.insert(link).clone())
            }
            Err(failure) => {
                slot.failed = Some((SystemClock.monotonic(), failure.clone()));
                Err(failure)
            }
        }
    }

    async fn open(&self) -> Result<MultiplexedConnection, Failure> {
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
            Address::Unix(_) => Err(Failure::NoConnection("no Unix sockets".to_owned())),
        }
    }

    async fn log_in(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Result<MultiplexedConnection, Failure> {
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let (mut connection, driver) =
            MultiplexedConnection::new_with_config(&self.options.login, stream, config).await?;
        tokio::spawn(driver);
        // A replica outside a cluster answers reads with what may be old. Who may not ask is not told.
        if !self.options.cluster
            && let Ok(Value::Array(role)) = redis::cmd("ROLE").query_async(&mut connection).await
            && let Some(Value::BulkString(role)) = role.first()
            && role != b"master"
        {
            return Err(Failure::NoConnection("it is a replica".to_owned()));
        }
        Ok(connection)
    }
}

fn no_connection(error: &std::io::Error) -> Failure {
    Failure::NoConnection(error.kind().to_string())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// Answers the commands of a connection with `+OK`, until it has answered `PING`; then it is silent.
    async fn answer_until_ping(mut stream: TcpStream) {
        let mut buffer = [0; 4096];
        while let Ok(read) = stream.read(&mut buffer).await {
            let sent = &buffer[..read];
            let commands = sent.iter().filter(|byte| **byte == b'*').count();
            let answer = "+OK\r\n".repeat(commands);
            if read == 0 || stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
            if sent.windows(4).any(|word| word == b"PING") {
                std::future::pending::<()>().await;
            }
        }
    }

    #[tokio::test]
    async fn a_connection_that_was_idle_for_long_is_not_used_again() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(answer_until_ping(stream));
            }
        });
        let target = Target::parse(&format!("redis://127.0.0.1:{port}")).unwrap();
        let options = Arc::new(Options::new(&target, &Tls::default()));
        let mut node = Node::new(target.addresses[0].clone(), options);
        assert!(node.idle <= Duration::from_secs(15));
        node.idle = Duration::ZERO;
        for used in 1..=3 {
            node.ask(&redis::cmd("PING")).await.unwrap();
            assert_eq!(connections.load(Ordering::SeqCst), used);
        }
        // Without that, the silent connection costs a verb.
        node.idle = IDLE;
        let failure = node.ask(&redis::cmd("PING")).await.unwrap_err();
        assert!(matches!(failure, Failure::TimedOut), "{failure}");
        node.ask(&redis::cmd("PING")).await.unwrap();
    }
}
