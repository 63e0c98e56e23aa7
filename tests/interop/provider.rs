//! oidc-provider as a child process.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tower_oauth::{Algorithm, AuthorizationServer, SigningKey};

/// The secret of all confidential clients, set in `provider.mjs`.
pub const SECRET: &str = "interop-secret-0123456789abcdef-0123456789";

pub struct Provider {
    child: Child,
    settings: Vec<(&'static str, String)>,
    issuer: String,
    /// The address that it listens on: the issuer, unless a setting names another one.
    address: String,
    client_keys: serde_json::Value,
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
            address: ready["address"].as_str().unwrap().to_owned(),
            client_keys: ready["client_keys"].clone(),
        }
    }

    /// Restarts the provider on the same port, with the same clients and new keys.
    pub fn restart(&mut self) {
        self.stop();
        let port = self.issuer.rsplit(':').next().unwrap().to_owned();
        let (child, ready) = spawn(&self.settings, &port);
        assert_eq!(ready["issuer"], self.issuer);
        self.client_keys = ready["client_keys"].clone();
        self.child = child;
    }

    fn stop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn authorization_server(&self) -> AuthorizationServer {
        AuthorizationServer::new(&self.issuer).unwrap()
    }

    /// The key of the clients `rs-key`, `rs-key-signed` and `web-signed`.
    pub fn client_key(&self) -> SigningKey {
        self.client_key_for(Algorithm::Es256)
    }

    /// The key of the client `web-key-…` with this algorithm.
    pub fn client_key_for(&self, algorithm: Algorithm) -> SigningKey {
        let pem = self.client_keys[algorithm.name()].as_str().unwrap();
        let key = SigningKey::from_pem(pem).unwrap().with_key_id("client");
        key.with_algorithm(algorithm).unwrap()
    }

    /// Revokes an access token of the client `svc`.
    pub fn revoke(&self, token: &str) {
        let form = format!("token={token}&client_id=svc&client_secret={SECRET}");
        self.send("POST /token/revocation", &form);
    }

    /// Requests an access token for the client `svc` with the scope `api:read`.
    pub fn client_credentials(&self, resource: &str) -> String {
        let form = format!(
            "grant_type=client_credentials&client_id=svc&client_secret={SECRET}&scope=api%3Aread&resource={resource}"
        );
        let response = self.send("POST /token", &form);
        let response: serde_json::Value = serde_json::from_str(&response).expect(&response);
        response["access_token"]
            .as_str()
            .unwrap_or_else(|| panic!("no token for {resource}: {response}"))
            .to_owned()
    }

    /// Returns the number of requests by path since the start.
    pub fn requests(&self) -> BTreeMap<String, u64> {
        serde_json::from_str(&self.send("GET /interop/requests", "")).unwrap()
    }

    /// Returns the state of `gate.mjs`: the number of held requests, events and refresh tokens.
    pub fn state(&self) -> serde_json::Value {
        serde_json::from_str(&self.send("GET /interop/state", "")).unwrap()
    }

    /// Holds token requests `before` the provider receives them, or their responses `after`.
    pub fn hold(&self, when: &str) {
        self.send(&format!("POST /interop/hold/{when}"), "");
    }

    /// Releases held requests and stops holding.
    pub fn release(&self) {
        self.send("POST /interop/release", "");
    }

    /// Sends a token request as the client `web-lasting`, as an attacker could, and returns the response.
    pub fn token_request(&self, form: &str) -> serde_json::Value {
        let form = format!("{form}&client_id=web-lasting&client_secret={SECRET}");
        serde_json::from_str(&self.send("POST /token", &form)).unwrap()
    }

    /// Returns whether the token is active at the provider.
    pub fn is_active(&self, token: &str) -> bool {
        let form = format!("token={token}&client_id=rs-post&client_secret={SECRET}");
        let response = self.send("POST /token/introspection", &form);
        let response: serde_json::Value = serde_json::from_str(&response).expect(&response);
        response["active"].as_bool().unwrap()
    }

    /// Sends a request without the crate under test and returns the body.
    fn send(&self, line: &str, form: &str) -> String {
        let address = self.issuer.strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        let timeout = Some(Duration::from_secs(10));
        stream.set_read_timeout(timeout).unwrap();
        // HTTP/1.0: the response ends with the connection and is never chunked.
        write!(
            stream,
            "{line} HTTP/1.0\r\nHost: {address}\r\nContent-Length: {}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\n\r\n{form}",
            form.len()
        )
        .unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        let (_, body) = response.split_once("\r\n\r\n").expect("an HTTP response");
        body.to_owned()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Returns the folder with the scripts and npm packages, created by `tests/interop/run`.
pub fn folder() -> PathBuf {
    std::env::var_os("TOWER_OAUTH_INTEROP").map_or_else(
        || panic!("TOWER_OAUTH_INTEROP is not set: use tests/interop/run"),
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
        // The provider ends when this pipe closes, even if this process is killed.
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
