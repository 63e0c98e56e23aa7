//! Programs beside a test: they end with it, and by `kill -9` when it says so.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::provider::folder;

/// Ends what it started when its own standard input ends, so that nothing outlives a test that was killed.
const HOLD: &str = r#""$@" & exec >&-; read -r _; kill -9 $!; wait $! 2>/dev/null"#;

pub struct Process {
    shell: Child,
    output: Option<BufReader<ChildStdout>>,
}

impl Process {
    /// What it writes to standard error is appended to `log`, in the folder of the suite.
    pub fn start<A: AsRef<OsStr>>(
        program: impl AsRef<Path>,
        arguments: impl IntoIterator<Item = A>,
        environment: &[(&str, String)],
        log: &str,
    ) -> Self {
        let log = File::options()
            .create(true)
            .append(true)
            .open(folder().join(log))
            .unwrap();
        let mut shell = Command::new("sh")
            .args(["-c", HOLD, "sh"])
            .arg(program.as_ref())
            .args(arguments)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        Self {
            output: shell.stdout.take().map(BufReader::new),
            shell,
        }
    }

    /// The first line of its output that begins so, without that beginning. What it writes afterwards is lost.
    pub fn line(&mut self, beginning: &str) -> String {
        let mut output = self.output.take().unwrap();
        loop {
            let mut line = String::new();
            let length = output.read_line(&mut line).unwrap();
            assert_ne!(length, 0, "it ended and never said {beginning:?}");
            if let Some(rest) = line.strip_prefix(beginning) {
                std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
                return rest.trim_end().to_owned();
            }
        }
    }

    /// `kill -9`, and waits for the end.
    pub fn kill(&mut self) {
        drop(self.shell.stdin.take());
        self.shell.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port of 127.0.0.1 that nobody listens on.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
