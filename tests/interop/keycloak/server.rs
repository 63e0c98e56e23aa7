//! Keycloak as a child process, started once for all tests.

use std::sync::LazyLock;

use crate::process::{Process, free_port};
use crate::provider::folder;
use crate::tls::{Authority, CertifiedKey};

/// The client that administrates the server, and its secret.
pub const ADMIN: &str = "interop-admin";

pub struct Keycloak {
    http: u16,
    https: u16,
    authority: Authority,
    // A static is never dropped: the server ends when the test process closes its standard input.
    _process: Process,
}

/// Returns the server. The first caller starts it, which takes 15 to 50 seconds.
pub fn keycloak() -> &'static Keycloak {
    static SERVER: LazyLock<Keycloak> = LazyLock::new(Keycloak::start);
    &SERVER
}

impl Keycloak {
    fn start() -> Self {
        let authority = Authority::new();
        let server = authority.server();
        let file = |name: &str, content: &str| {
            let path = folder().join(name);
            std::fs::write(&path, content).unwrap();
            path.display().to_string()
        };
        let certificate = file("keycloak-server.pem", &server.certificate);
        let key = file("keycloak-server.key", &server.key);
        let clients = file("keycloak-ca.pem", &authority.pem());
        let log = folder().join("keycloak.log").display().to_string();
        let [http, https, management] = [free_port(), free_port(), free_port()];
        let arguments = [
            "start-dev".to_owned(),
            "--db=dev-mem".to_owned(),
            "--http-host=127.0.0.1".to_owned(),
            format!("--http-port={http}"),
            format!("--https-port={https}"),
            format!("--http-management-port={management}"),
            format!("--https-certificate-file={certificate}"),
            format!("--https-certificate-key-file={key}"),
            "--https-client-auth=request".to_owned(),
            format!("--truststore-paths={clients}"),
            "--proxy-headers=xforwarded".to_owned(),
            "--log=console,file".to_owned(),
            "--log-console-format=%s%n".to_owned(),
            format!("--log-file={log}"),
        ];
        let environment = [
            ("KC_BOOTSTRAP_ADMIN_CLIENT_ID", ADMIN.to_owned()),
            ("KC_BOOTSTRAP_ADMIN_CLIENT_SECRET", ADMIN.to_owned()),
            ("JAVA_OPTS_APPEND", "-XX:TieredStopAtLevel=1".to_owned()),
        ];
        let program = folder().join("keycloak/bin/kc.sh");
        let mut process = Process::start(program, arguments, &environment, "keycloak.log");
        process.line("Keycloak "); // "Keycloak 26.7.3 on JVM … started in …"
        Self {
            http,
            https,
            authority,
            _process: process,
        }
    }

    pub fn http(&self) -> String {
        format!("http://127.0.0.1:{}", self.http)
    }

    /// The address over TLS, where Keycloak requests client certificates.
    pub fn https(&self) -> String {
        format!("https://127.0.0.1:{}", self.https)
    }

    /// The certificate of the authority that the server trusts and is certified by.
    pub fn ca(&self) -> String {
        self.authority.pem()
    }

    /// Creates a client certificate with this common name.
    pub fn certify(&self, name: &str) -> CertifiedKey {
        self.authority.certify(name)
    }
}
