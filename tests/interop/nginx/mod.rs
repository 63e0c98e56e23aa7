//! nginx with its default buffers in front of an application.

mod cookies;

use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use axum::Router;
use axum::response::Html;
use axum::routing::get;
use tokio::net::TcpListener;
use tower_oauth::testing::{Browser, Page, ServerHandle, TestClient, TestServer, TestUser};
use tower_oauth::{Client, ConfigError, CookieKey, LoginLayer, Session};

use crate::process::{Process, free_port};
use crate::provider::folder;

/// An application behind nginx, with a demo authorization server.
struct Site {
    /// The public origin.
    origin: String,
    browser: Browser,
    _nginx: Process,
    _issuer: ServerHandle,
}

impl Site {
    /// `directives` are those of the `server` block; `change` configures the layer.
    async fn new(
        directives: &str,
        audience: &str,
        change: impl FnOnce(LoginLayer) -> Result<LoginLayer, ConfigError>,
    ) -> Self {
        let origin = format!("http://127.0.0.1:{}", free_port());
        let issuer = format!("127.0.0.1:{}", free_port());
        let client = TestClient::confidential("shop", "secret")
            .add_redirect_uri(&format!("{origin}/auth/callback"))
            .unwrap()
            .add_post_logout_redirect_uri(&format!("{origin}/auth/logout"))
            .unwrap()
            .with_audience(audience)
            .without_consent();
        let server = TestServer::new(&format!("http://{issuer}"))
            .unwrap()
            .add_client(client)
            .add_user(TestUser::new("alice", "wonderland"));
        let handle = server.listen(&issuer).await.unwrap();
        let login = LoginLayer::new(
            &server.authorization_server(),
            Client::confidential("shop", "secret"),
            &format!("{origin}/auth/callback"),
            CookieKey::generate().unwrap(),
        )
        .unwrap()
        .with_post_logout_redirect_uri(&format!("{origin}/auth/logout"))
        .unwrap();
        let login = change(login).unwrap();
        let pages = Router::new()
            .route("/account", get(account).layer(login.required()))
            .route("/", get(home))
            .layer(login);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let app = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move { axum::serve(listener, pages).await });
        Self {
            _nginx: nginx(&origin, &app, directives),
            origin,
            browser: Browser::new(),
            _issuer: handle,
        }
    }

    async fn open(&self, path: &str) -> Page {
        let url = format!("{}{path}", self.origin);
        self.browser.navigate(&url).await.unwrap()
    }

    /// Opens a page that requires a session, and signs in.
    async fn sign_in(&self) -> Page {
        let form = self.open("/account").await;
        form.sign_in("alice", "wonderland").await.unwrap()
    }
}

async fn home(session: Option<Session>) -> Html<String> {
    let user = session.as_ref().map_or("signed out", Session::subject);
    Html(format!(
        "{user}<form method=post action=/auth/logout><button>Sign out</button></form>"
    ))
}

async fn account(session: Session) -> String {
    format!("account of {}", session.subject())
}

/// Starts nginx for an origin. Everything that `directives` do not set has its default.
fn nginx(origin: &str, app: &str, directives: &str) -> Process {
    let address = origin.strip_prefix("http://").unwrap();
    let port = address.rsplit(':').next().unwrap();
    let prefix = folder().join("nginx").join(port);
    std::fs::create_dir_all(&prefix).unwrap();
    let temporary = ["client_body", "proxy", "fastcgi", "scgi", "uwsgi"]
        .map(|name| format!("{name}_temp_path {name};"))
        .concat();
    let configuration = format!(
        "daemon off; master_process off; pid nginx.pid; error_log stderr;
         events {{}}
         http {{
           access_log off; {temporary}
           server {{
             listen {address};
             {directives}
             location / {{ proxy_pass http://{app}; proxy_set_header Host $http_host; }}
           }}
         }}"
    );
    std::fs::write(prefix.join("nginx.conf"), configuration).unwrap();
    let prefix = prefix.to_str().unwrap();
    let arguments = ["-p", prefix, "-c", "nginx.conf", "-e", "stderr"];
    let process = Process::start("/usr/sbin/nginx", arguments, &[], "nginx.log");
    let port = port.parse::<u16>().unwrap();
    let start = Instant::now();
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        assert!(start.elapsed() < Duration::from_secs(10), "see nginx.log");
        std::thread::sleep(Duration::from_millis(20));
    }
    process
}
