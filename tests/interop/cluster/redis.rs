//! A Redis server with persistent data.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::process::{Process, free_port};
use crate::provider::folder;

pub struct Redis {
    process: Option<Process>,
    port: u16,
    data: PathBuf,
}

impl Redis {
    pub fn start() -> Self {
        let port = free_port();
        let mut redis = Self {
            process: None,
            port,
            data: folder().join(format!("redis-{port}")),
        };
        std::fs::create_dir_all(&redis.data).unwrap();
        redis.restart();
        redis
    }

    /// Starts the server with the data of the last run.
    pub fn restart(&mut self) {
        let port = self.port.to_string();
        let data = self.data.to_str().unwrap();
        let arguments = [
            ["--port", &port],
            ["--bind", "127.0.0.1"],
            ["--dir", data],
            ["--appendonly", "yes"],
            ["--appendfsync", "always"],
            ["--save", ""],
        ];
        let process = Process::start("redis-server", arguments.as_flattened(), &[], "redis.log");
        self.process = Some(process);
        let until = Instant::now() + Duration::from_secs(10);
        while self.send("PING").is_none_or(|response| response != "+PONG") {
            assert!(Instant::now() < until, "Redis does not respond");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Kills the server.
    pub fn stop(&mut self) {
        self.process = None;
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Returns the number of sessions.
    pub fn sessions(&self) -> usize {
        let response = self.send("KEYS *session:*").unwrap();
        response.strip_prefix('*').unwrap().parse().unwrap()
    }

    /// Sends a command and returns the first line of the response.
    fn send(&self, command: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        let timeout = Some(Duration::from_secs(5));
        stream.set_read_timeout(timeout).ok()?;
        stream.write_all(format!("{command}\r\n").as_bytes()).ok()?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).ok()?;
        Some(line.trim_end().to_owned())
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.stop();
        let _ = std::fs::remove_dir_all(&self.data);
    }
}
