//! Child processes that end with their test, or by `kill -9`.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::provider::folder;

/// Kills the program and its children when standard input ends, so that they do not outlive a killed test.
const WRAPPER: &str = r#"setsid "$@" & exec >&-; read -r _; kill -9 -$!; wait $! 2>/dev/null"#;

pub struct Process {
    shell: Child,
    output: Option<BufReader<ChildStdout>>,
}

impl Process {
    /// Starts a program. Its standard error is appended to `log` in the suite's folder.
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
            .args(["-c", WRAPPER, "sh"])
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

    /// Waits for the first line with this prefix and returns the rest. Later output is discarded.
    pub fn line(&mut self, prefix: &str) -> String {
        let mut output = self.output.take().unwrap();
        loop {
            let mut line = String::new();
            let length = output.read_line(&mut line).unwrap();
            assert_ne!(length, 0, "it ended without printing {prefix:?}");
            if let Some(rest) = line.strip_prefix(prefix) {
                std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
                return rest.trim_end().to_owned();
            }
        }
    }

    /// Kills the process (`kill -9`) and waits for its end.
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

/// Returns a free port of 127.0.0.1.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
