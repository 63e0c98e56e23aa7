//! A real Redis, that keeps what it knows when it is stopped.

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
        redis.start_again();
        redis
    }

    /// With all that was there when it was stopped.
    pub fn start_again(&mut self) {
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
        while self.ask("PING").is_none_or(|answer| answer != "+PONG") {
            assert!(Instant::now() < until, "Redis does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// In the middle of whatever it does.
    pub fn stop(&mut self) {
        self.process = None;
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// How many sessions it holds.
    pub fn sessions(&self) -> usize {
        let answer = self.ask("KEYS *session:*").unwrap();
        answer.strip_prefix('*').unwrap().parse().unwrap()
    }

    /// The first line of the answer.
    fn ask(&self, command: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        let patience = Some(Duration::from_secs(5));
        stream.set_read_timeout(patience).ok()?;
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
