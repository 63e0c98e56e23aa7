//! A client that is not ours, as a child process: it gets tokens of the provider and calls an API.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use crate::provider::{Provider, folder};

pub struct Caller {
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// What an API answered, and what it was sent.
#[derive(Debug)]
pub struct Answer(Value);

impl Caller {
    /// `settings` are certificates, as `client.mjs` wants them.
    pub fn start(provider: &Provider, settings: &[(&str, &str)]) -> Self {
        let mut child = Command::new("node")
            .arg("client.mjs")
            .arg(provider.issuer())
            .current_dir(folder())
            .envs(settings.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            requests: child.stdin.take().unwrap(),
            answers: BufReader::new(child.stdout.take().unwrap()),
            child,
        }
    }

    /// An access token for this audience; with `how` it is bound.
    pub fn token(&mut self, audience: &str, how: &Value) -> String {
        let mut what = how.clone();
        what["resource"] = audience.into();
        let answer = self.ask(&json!({ "token": what }));
        answer["token"].as_str().unwrap().to_owned()
    }

    /// Calls an API by the library's own means.
    pub fn call(&mut self, url: &str, token: &str, how: &Value) -> Answer {
        let mut what = how.clone();
        what["url"] = url.into();
        what["token"] = token.into();
        Answer(self.ask(&json!({ "call": what })))
    }

    /// Calls an API with exactly these header fields.
    pub fn send(&mut self, url: &str, headers: &Value, how: &Value) -> Answer {
        let mut what = how.clone();
        what["url"] = url.into();
        what["headers"] = headers.clone();
        Answer(self.ask(&json!({ "send": what })))
    }

    fn ask(&mut self, what: &Value) -> Value {
        writeln!(self.requests, "{what}").unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        let answer: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
        assert_eq!(answer.get("failed"), None, "{what}: {answer:#}");
        answer
    }
}

impl Answer {
    pub fn status(&self) -> u64 {
        self.0["status"].as_u64().unwrap()
    }

    pub fn body(&self) -> &str {
        self.0["body"].as_str().unwrap()
    }

    /// A field of the answer, or nothing.
    pub fn header(&self, name: &str) -> &str {
        self.0["headers"][name].as_str().unwrap_or_default()
    }

    /// What stood in this field of the request.
    pub fn sent(&self, name: &str) -> &str {
        self.0["sent"][name].as_str().unwrap_or_default()
    }

    /// Status and error code, and the scheme on whose challenge the code stands.
    pub fn refusal(&self) -> (u64, String, String) {
        let challenges = self.header("www-authenticate");
        let mut found = (self.status(), String::new(), String::new());
        for scheme in ["Bearer", "DPoP"] {
            let Some(at) = challenges.find(&format!("{scheme} ")) else {
                continue;
            };
            let end = challenges[at + 1..]
                .find(", DPoP ")
                .or_else(|| challenges[at + 1..].find(", Bearer "))
                .map_or(challenges.len(), |end| at + 1 + end);
            let challenge = &challenges[at..end];
            if let Some((_, rest)) = challenge.split_once("error=\"") {
                assert_eq!(found.1, "", "two errors: {challenges}");
                found.1 = scheme.to_owned();
                found.2 = rest.split('"').next().unwrap().to_owned();
            }
        }
        found
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
