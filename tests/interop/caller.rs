//! Another OAuth client (`client.mjs`) as a child process: requests tokens and calls an API.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use crate::provider::{Provider, folder};

pub struct Caller {
    child: Child,
    requests: ChildStdin,
    responses: BufReader<ChildStdout>,
}

/// The response of an API, and the request headers.
#[derive(Debug)]
pub struct ApiResponse(Value);

impl Caller {
    /// `settings` are certificates in the format of `client.mjs`.
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
            responses: BufReader::new(child.stdout.take().unwrap()),
            child,
        }
    }

    /// Requests an access token for this audience; `how` sets its binding.
    pub fn token(&mut self, audience: &str, how: &Value) -> String {
        let mut parameters = how.clone();
        parameters["resource"] = audience.into();
        let result = self.execute(&json!({ "token": parameters }));
        result["token"].as_str().unwrap().to_owned()
    }

    /// Calls an API with the library.
    pub fn call(&mut self, url: &str, token: &str, how: &Value) -> ApiResponse {
        let mut parameters = how.clone();
        parameters["url"] = url.into();
        parameters["token"] = token.into();
        ApiResponse(self.execute(&json!({ "call": parameters })))
    }

    /// Calls an API with exactly these headers.
    pub fn send(&mut self, url: &str, headers: &Value, how: &Value) -> ApiResponse {
        let mut parameters = how.clone();
        parameters["url"] = url.into();
        parameters["headers"] = headers.clone();
        ApiResponse(self.execute(&json!({ "send": parameters })))
    }

    fn execute(&mut self, command: &Value) -> Value {
        writeln!(self.requests, "{command}").unwrap();
        let mut line = String::new();
        self.responses.read_line(&mut line).unwrap();
        let result: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
        assert_eq!(result.get("failed"), None, "{command}: {result:#}");
        result
    }
}

impl ApiResponse {
    pub fn status(&self) -> u64 {
        self.0["status"].as_u64().unwrap()
    }

    pub fn body(&self) -> &str {
        self.0["body"].as_str().unwrap()
    }

    /// Returns a response header, or an empty string.
    pub fn header(&self, name: &str) -> &str {
        self.0["headers"][name].as_str().unwrap_or_default()
    }

    /// Returns a request header.
    pub fn sent(&self, name: &str) -> &str {
        self.0["sent"][name].as_str().unwrap_or_default()
    }

    /// Returns the status, and the scheme and error code of the challenge that has an error.
    pub fn rejection(&self) -> (u64, String, String) {
        let challenges = self.header("www-authenticate");
        let mut result = (self.status(), String::new(), String::new());
        for scheme in ["Bearer", "DPoP"] {
            let Some(start) = challenges.find(&format!("{scheme} ")) else {
                continue;
            };
            let end = challenges[start + 1..]
                .find(", DPoP ")
                .or_else(|| challenges[start + 1..].find(", Bearer "))
                .map_or(challenges.len(), |end| start + 1 + end);
            let challenge = &challenges[start..end];
            if let Some((_, rest)) = challenge.split_once("error=\"") {
                assert_eq!(result.1, "", "two errors: {challenges}");
                result.1 = scheme.to_owned();
                result.2 = rest.split('"').next().unwrap().to_owned();
            }
        }
        result
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
