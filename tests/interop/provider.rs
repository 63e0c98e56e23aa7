//! oidc-provider as a child process of the test that needs it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tower_oauth::{AuthorizationServer, SigningKey};

/// What every confidential client has; `provider.mjs` gives it to them.
pub const SECRET: &str = "interop-secret-0123456789abcdef-0123456789";

pub struct Provider {
    child: Child,
    settings: Vec<(&'static str, String)>,
    issuer: String,
    client_key: String,
}

impl Provider {
    pub fn start(settings: &[(&'static str, &str)]) -> Self {
        let settings = settings
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()))
            .collect::<Vec<_>>();
        let (child, ready) = spawn(&settings, "0");
        Self {
            child,
            settings,
            issuer: ready["issuer"].as_str().unwrap().to_owned(),
            client_key: ready["client_key"].as_str().unwrap().to_owned(),
        }
    }

    /// Ends it, and starts another on the same port: with the same clients and with new keys.
    pub fn restart(&mut self) {
        self.stop();
        let port = self.issuer.rsplit(':').next().unwrap().to_owned();
        let (child, ready) = spawn(&self.settings, &port);
        assert_eq!(ready["issuer"], self.issuer);
        self.client_key = ready["client_key"].as_str().unwrap().to_owned();
        self.child = child;
    }

    fn stop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    pub fn authorization_server(&self) -> AuthorizationServer {
        AuthorizationServer::new(&self.issuer).unwrap()
    }

    /// What `rs-key` and `rs-key-signed` sign who they are by.
    pub fn client_key(&self) -> SigningKey {
        SigningKey::from_pem(&self.client_key)
            .unwrap()
            .with_key_id("client")
    }

    /// Takes back an access token of client `svc`.
    pub fn revoke(&self, token: &str) {
        let form = format!("token={token}&client_id=svc&client_secret={SECRET}");
        self.ask("POST /token/revocation", &form);
    }

    /// An access token that client `svc` gets for itself, with the scope `api:read`.
    pub fn client_credentials(&self, resource: &str) -> String {
        let form = format!(
            "grant_type=client_credentials&client_id=svc&client_secret={SECRET}&scope=api%3Aread&resource={resource}"
        );
        let answer = self.ask("POST /token", &form);
        let answer: serde_json::Value = serde_json::from_str(&answer).expect(&answer);
        answer["access_token"]
            .as_str()
            .unwrap_or_else(|| panic!("no token for {resource}: {answer}"))
            .to_owned()
    }

    /// How many requests each of its paths got since it started.
    pub fn requests(&self) -> BTreeMap<String, u64> {
        serde_json::from_str(&self.ask("GET /interop/requests", "")).unwrap()
    }

    /// What `gate.mjs` saw: how many token requests it holds back, events, refresh tokens.
    pub fn seen(&self) -> serde_json::Value {
        serde_json::from_str(&self.ask("GET /interop/seen", "")).unwrap()
    }

    /// Holds token requests back: `before` the provider sees them, or their answers `after` it gave them.
    pub fn hold(&self, when: &str) {
        self.ask(&format!("POST /interop/hold/{when}"), "");
    }

    /// Lets go what was held back, and holds no more.
    pub fn release(&self) {
        self.ask("POST /interop/release", "");
    }

    /// A request to the token endpoint as client `web-lasting`, by whoever: the answer.
    pub fn token_request(&self, form: &str) -> serde_json::Value {
        let form = format!("{form}&client_id=web-lasting&client_secret={SECRET}");
        serde_json::from_str(&self.ask("POST /token", &form)).unwrap()
    }

    /// Whether the provider still takes this token for a good one.
    pub fn is_active(&self, token: &str) -> bool {
        let form = format!("token={token}&client_id=rs-post&client_secret={SECRET}");
        let answer = self.ask("POST /token/introspection", &form);
        let answer: serde_json::Value = serde_json::from_str(&answer).expect(&answer);
        answer["active"].as_bool().unwrap()
    }

    /// One request outside of the crate that is tested, and its body.
    fn ask(&self, line: &str, form: &str) -> String {
        let address = self.issuer.strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        let patience = Some(Duration::from_secs(10));
        stream.set_read_timeout(patience).unwrap();
        // HTTP/1.0: the answer ends with the connection and is never chunked.
        write!(
            stream,
            "{line} HTTP/1.0\r\nHost: {address}\r\nContent-Length: {}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\n\r\n{form}",
            form.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").expect("an HTTP response");
        body.to_owned()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Where `tests/interop/run` put the scripts and what they import.
pub fn folder() -> PathBuf {
    std::env::var_os("TOWER_OAUTH_INTEROP").map_or_else(
        || panic!("TOWER_OAUTH_INTEROP names no folder: use tests/interop/run"),
        PathBuf::from,
    )
}

fn spawn(settings: &[(&'static str, String)], port: &str) -> (Child, serde_json::Value) {
    let folder = folder();
    let log = File::options()
        .create(true)
        .append(true)
        .open(folder.join("provider.log"))
        .unwrap();
    let mut child = Command::new("node")
        .arg("provider.mjs")
        .current_dir(&folder)
        .env("PORT", port)
        .envs(settings.iter().map(|(name, value)| (name, value)))
        // Held open: the provider ends with it, even if this process is killed.
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let ready = line
        .strip_prefix("READY ")
        .unwrap_or_else(|| panic!("oidc-provider did not start, see provider.log: {line:?}"));
    (child, serde_json::from_str(ready).unwrap())
}
