//! nginx with its default buffers in front of an application.

mod cookies;
mod prefix;

use std::net::TcpStream;
use std::time::{Duration, Instant};

use axum::Router;
use axum::response::Html;
use axum::routing::get;
use tokio::net::TcpListener;
use tower_oauth::testing::{Browser, Page, ServerHandle, TestClient, TestServer, TestUser};
use tower_oauth::{Client, CookieKey, LoginLayer, Session};

use crate::process::{Process, free_port};
use crate::provider::folder;

/// An application behind nginx, with a demo authorization server.
struct Site {
    /// The public address.
    base: String,
    browser: Browser,
    _nginx: Process,
    _issuer: ServerHandle,
}

impl Site {
    /// `prefix` is the part of the path that nginx removes, `directives` are those of the `location` block.
    async fn new(prefix: &str, directives: &str, audience: &str) -> Self {
        let address = format!("127.0.0.1:{}", free_port());
        let base = format!("http://{address}{prefix}");
        let issuer = format!("127.0.0.1:{}", free_port());
        let client = TestClient::confidential("shop", "secret")
            .add_redirect_uri(&format!("{base}/auth/callback"))
            .unwrap()
            .add_post_logout_redirect_uri(&format!("{base}/auth/logout"))
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
            &format!("{base}/auth/callback"),
            CookieKey::generate().unwrap(),
        )
        .unwrap()
        .with_post_logout_redirect_uri(&format!("{base}/auth/logout"))
        .unwrap();
        let login = match prefix {
            "" => login,
            _ => login.with_path_prefix(prefix).unwrap(),
        };
        let pages = Router::new()
            .route("/account", get(account).layer(login.required()))
            .route("/", get(home))
            .layer(login);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let app = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move { axum::serve(listener, pages).await });
        Self {
            _nginx: nginx(&address, &location(prefix, &app, directives)),
            base,
            browser: Browser::new(),
            _issuer: handle,
        }
    }

    async fn open(&self, path: &str) -> Page {
        let url = format!("{}{path}", self.base);
        self.browser.navigate(&url).await.unwrap()
    }

    /// Opens a page that requires a session, and signs in.
    async fn sign_in(&self) -> Page {
        let form = self.open("/account").await;
        form.sign_in("alice", "wonderland").await.unwrap()
    }
}

async fn home(login: LoginLayer, session: Option<Session>) -> Html<String> {
    let user = session.as_ref().map_or("signed out", Session::subject);
    let action = login.logout_path();
    Html(format!(
        "{user}<form method=post action={action}><button>Sign out</button></form>"
    ))
}

async fn account(session: Session) -> String {
    format!("account of {}", session.subject())
}

/// Returns a block that hands requests to the application, without the prefix.
fn location(prefix: &str, app: &str, directives: &str) -> String {
    // With a path after the address, nginx replaces the prefix by it.
    let path = if prefix.is_empty() { "" } else { "/" };
    format!(
        "location {prefix}/ {{
            proxy_pass http://{app}{path};
            proxy_set_header Host $http_host;
            {directives}
        }}"
    )
}

/// Starts nginx at an address. Everything that is not set here has its default.
fn nginx(address: &str, location: &str) -> Process {
    let (_, port) = address.rsplit_once(':').unwrap();
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
           server {{ listen {address}; {location} }}
         }}"
    );
    std::fs::write(prefix.join("nginx.conf"), configuration).unwrap();
    let prefix = prefix.to_str().unwrap();
    let arguments = ["-p", prefix, "-c", "nginx.conf", "-e", "stderr"];
    let process = Process::start("/usr/sbin/nginx", arguments, &[], "nginx.log");
    let start = Instant::now();
    while TcpStream::connect(address).is_err() {
        assert!(start.elapsed() < Duration::from_secs(10), "see nginx.log");
        std::thread::sleep(Duration::from_millis(20));
    }
    process
}
