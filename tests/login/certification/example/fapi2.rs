//! The FAPI 2.0 plans: TLS with a private authority, and a certificate or a key of the client.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::serve::Listener;
use http::StatusCode;
use tokio::net::TcpListener;
use tower::ServiceExt as _;
use tower_oauth::SigningKey;
use tower_oauth::testing::{Endpoint, ManualClock, TestClient, TestServer, TestUser};

use super::application;
use super::configuration::Configuration;
use crate::support::keys::ED25519_PEM;

#[allow(dead_code)]
#[path = "../../../../examples/mtls/certificates.rs"]
mod certificates;
#[path = "../../../../examples/mtls/listener.rs"]
mod listener;

use certificates::Ca;
use listener::TlsListener;

pub(super) const BASE: &str = "https://rp.example.com";

/// The example at an authorization server with a profile of FAPI 2.0.
pub(super) struct FapiWorld {
    pub(super) server: TestServer,
    pub(super) application: Router,
    /// The connections with a certificate of the client.
    with_certificate: Arc<AtomicUsize>,
    folder: PathBuf,
}

impl Drop for FapiWorld {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl FapiWorld {
    /// `method` is that of the client authentication; only `mtls` has a certificate.
    pub(super) async fn new(profile: &str, method: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let name = format!("certification-fapi2-{}-{port}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.join(name);
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let authority = Ca::new().unwrap();
        let ours = authority.certify("client").unwrap();
        let issuer = format!("https://localhost:{port}/a/b/");
        let mut variables = vec![
            ("ISSUER", issuer.clone()),
            ("CLIENT_ID", "certified".to_owned()),
            ("CLIENT_AUTH", method.to_owned()),
            ("CLIENT_KEY", write("key.pem", ED25519_PEM)),
            ("PROFILE", profile.to_owned()),
            ("ID_TOKEN_ALG", "PS256".to_owned()),
            ("SCOPES", "openid".to_owned()),
            ("BASE", BASE.to_owned()),
            ("CA", write("ca.pem", &authority.0.pem())),
        ];
        let public = SigningKey::from_pem(ED25519_PEM).unwrap().public_jwk();
        let client = match method {
            "mtls" => {
                let key = write("client.key", &ours.key.serialize_pem());
                variables.push(("CLIENT_CERT", write("client.pem", &ours.pem())));
                variables.push(("CLIENT_CERT_KEY", key));
                TestClient::mutual_tls("certified").add_request_key(public)
            }
            _ => TestClient::private_key_jwt("certified", public),
        };
        let client = client
            .add_redirect_uri(&format!("{BASE}/auth/callback"))
            .unwrap()
            .add_post_logout_redirect_uri(&format!("{BASE}/auth/logout"))
            .unwrap()
            .without_consent();
        let server = TestServer::new(&issuer)
            .unwrap()
            .with_clock(ManualClock::ticking())
            .with_fapi2()
            .with_signed_requests()
            .with_response_modes()
            .add_client(client)
            .add_user(TestUser::new("alice", "wonderland"));
        let with_certificate = Arc::new(AtomicUsize::new(0));
        serve_tls(&server, listener, &authority, Arc::clone(&with_certificate));
        let variable = |wanted: &str| {
            let variable = variables.iter().find(|(name, _)| *name == wanted);
            variable.map(|(_, value)| value.clone())
        };
        let configuration = Configuration::read(variable).unwrap();
        Self {
            server,
            application: application::application(&configuration).unwrap(),
            with_certificate,
            folder,
        }
    }
}

#[tokio::test]
async fn the_example_signs_in_with_the_fapi_profiles_over_tls() {
    for (profile, method) in [
        ("fapi2_security", "private_key_jwt"),
        ("fapi2_security", "mtls"),
        ("fapi2_message_signing", "private_key_jwt"),
        ("fapi2_message_signing", "mtls"),
    ] {
        let name = format!("{profile} {method}");
        let world = FapiWorld::new(profile, method).await;
        let browser = world.server.browser();
        let browser = browser.with_origin(BASE, world.application.clone());
        let start = format!("{BASE}/auth/login");
        let page = browser.unwrap().navigate(&start).await.unwrap();
        let page = page.sign_in("alice", "wonderland").await.unwrap();
        let text = page.text();
        assert!(text.contains("userinfo: {"), "{name}: {text}");
        assert_eq!(page.status(), StatusCode::OK, "{name}");

        let requests = world.server.requests();
        let mut pushed = requests
            .iter()
            .filter(|it| it.endpoint() == Endpoint::PushedAuthorizationRequest);
        let request = pushed.next().unwrap();
        assert!(pushed.next().is_none(), "{name}");
        let signs = profile == "fapi2_message_signing";
        assert_eq!(request.parameter("request").is_some(), signs, "{name}");
        let token = requests
            .iter()
            .find(|it| it.endpoint() == Endpoint::Token)
            .unwrap();
        let has_certificate = world.with_certificate.load(Ordering::Relaxed) > 0;
        assert_eq!(has_certificate, method == "mtls", "{name}");
        assert_eq!(token.header("dpop").is_none(), method == "mtls", "{name}");
    }
}

/// Serves the authorization server over TLS, and asks for the certificate of the client.
fn serve_tls(
    server: &TestServer,
    listener: TcpListener,
    authority: &Ca,
    with_certificate: Arc<AtomicUsize>,
) {
    let certificate = authority.certify("localhost").unwrap();
    let config = authority.tls_config(certificate).unwrap();
    let listener = Counting {
        listener: TlsListener::new(listener, &config).unwrap(),
        with_certificate,
    };
    let server = server.clone();
    let handle = move |request| {
        let server = server.clone();
        async move {
            server
                .oneshot(request)
                .await
                .map_err(|_| StatusCode::BAD_GATEWAY)
        }
    };
    let service = Router::new().fallback(handle);
    tokio::spawn(axum::serve(listener, service).into_future());
}

/// Counts the connections with a certificate.
struct Counting {
    listener: TlsListener,
    with_certificate: Arc<AtomicUsize>,
}

impl Listener for Counting {
    type Io = <TlsListener as Listener>::Io;
    type Addr = <TlsListener as Listener>::Addr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (stream, address) = self.listener.accept().await;
        if stream.get_ref().1.peer_certificates().is_some() {
            self.with_certificate.fetch_add(1, Ordering::Relaxed);
        }
        (stream, address)
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}
