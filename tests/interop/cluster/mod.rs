//! `examples/sessions.rs` as two processes behind a load balancer, with Redis and oidc-provider.

mod front;
mod outages;
mod redis;
mod refresh;
mod sign_out;

use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use http::{HeaderMap, StatusCode, header};
use tower_oauth::testing::{Browser, Page};

use self::front::Front;
use self::redis::Redis;
use crate::process::{Process, free_port};
use crate::provider::{Provider, SECRET};

/// The modes that several processes can share.
const MODES: [&str; 2] = ["store", "shared"];

/// The duration of a lease plus a margin for busy machines.
const LEASE_TIMEOUT: Duration = Duration::from_secs(14);

struct Cluster {
    provider: Provider,
    redis: Redis,
    nodes: Vec<Node>,
    front: Front,
    mode: &'static str,
}

/// One process of the example.
struct Node {
    process: Process,
    base: String,
}

/// A signed-in user and the cookies of the browser.
struct User {
    browser: Browser,
    cookies: String,
}

/// The response of a process.
#[derive(Debug)]
struct NodeResponse {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Cluster {
    /// `login_ttl` is the lifetime in seconds of access tokens after a login; after a refresh it is ten minutes.
    async fn start(mode: &'static str, login_ttl: u32) -> Self {
        let front = Front::listen().await;
        let ttl = login_ttl.to_string();
        let provider = Provider::start(&[("APP", front.base()), ("LOGIN_TTL", &ttl)]);
        let mut cluster = Self {
            provider,
            redis: Redis::start(),
            nodes: Vec::new(),
            front,
            mode,
        };
        cluster.start_nodes();
        cluster
    }

    /// Starts two new processes behind the same address.
    fn start_nodes(&mut self) {
        self.nodes = vec![self.node(), self.node()];
        let bases = self.nodes.iter().map(|node| &node.base);
        let addresses = bases.map(|base| base.replace("http://", "")).collect();
        self.front.set_backends(addresses);
    }

    fn node(&self) -> Node {
        let environment = [
            ("MODE", self.mode.to_owned()),
            ("PORT", "0".to_owned()),
            ("BASE", self.front.base().to_owned()),
            ("ISSUER", self.provider.issuer().to_owned()),
            ("CLIENT_ID", "web-lasting".to_owned()),
            ("CLIENT_SECRET", SECRET.to_owned()),
            ("COOKIE_KEY", format!("cd{}", "ab".repeat(31))),
            ("REDIS_URL", self.redis.url()),
        ];
        let mut process = Process::start(example(), [""; 0], &environment, "sessions.log");
        let line = process.line("Listening on ");
        let (address, _) = line.split_once(',').unwrap();
        Node {
            base: format!("http://{address}"),
            process,
        }
    }

    fn base(&self) -> &str {
        self.front.base()
    }

    /// Starts a login up to the consent page. It returns to a page outside of the layer, so that the test
    /// sends the first request with the session.
    async fn ask_for_consent(&self, browser: &Browser) -> Page {
        let login = format!("{}/auth/login?return_to=/health", self.base());
        let page = browser.navigate(&login).await.unwrap();
        let form = page.form("").unwrap();
        let form = form.fill("login", "alice").unwrap();
        let form = form.fill("password", "any").unwrap();
        form.submit().await.unwrap()
    }

    async fn sign_in(&self) -> User {
        let browser = Browser::new();
        let consent = self.ask_for_consent(&browser).await;
        let page = consent.form("").unwrap().submit().await.unwrap();
        assert_eq!(page.text(), "ok", "{}", page.url());
        User {
            cookies: self.cookies(&browser),
            browser,
        }
    }

    /// Returns the `Cookie` header of the browser.
    fn cookies(&self, browser: &Browser) -> String {
        let cookies = browser.cookies(self.base());
        let pairs = cookies
            .iter()
            .map(|cookie| format!("{}={}", cookie.name(), cookie.value()));
        pairs.collect::<Vec<_>>().join("; ")
    }

    /// Sends a request through the load balancer.
    async fn get(&self, path: &str, user: &User) -> NodeResponse {
        get(self.base(), path, &user.cookies).await.unwrap()
    }

    /// Returns a hash of the session's access token.
    async fn token(&self, user: &User) -> String {
        let response = self.get("/token", user).await;
        assert_eq!(response.status, StatusCode::OK, "{response:?}");
        response.body
    }

    /// Returns the number of granted and of rejected refreshes.
    fn refreshes(&self) -> (u64, u64) {
        let state = self.provider.state();
        let count = |event| state["events"][event].as_u64().unwrap_or(0);
        (
            count("refresh_token granted"),
            count("refresh_token refused"),
        )
    }

    /// Waits until the provider holds a token request.
    async fn wait_for_held_request(&self) {
        until("a token request", async || {
            self.provider.state()["held"] == 1
        })
        .await;
    }
}

impl Node {
    async fn get(&self, path: &str, user: &User) -> Result<NodeResponse, reqwest::Error> {
        get(&self.base, path, &user.cookies).await
    }
}

impl NodeResponse {
    /// Checks for 503 with `Retry-After` and without `Set-Cookie`: the session continues.
    fn assert_unavailable(&self) {
        assert_eq!(self.status, StatusCode::SERVICE_UNAVAILABLE, "{self:?}");
        assert!(self.headers.contains_key(header::RETRY_AFTER), "{self:?}");
        assert!(!self.headers.contains_key(header::SET_COOKIE), "{self:?}");
    }
}

/// Sends a request of a script over a new connection.
async fn get(base: &str, path: &str, cookies: &str) -> Result<NodeResponse, reqwest::Error> {
    send(reqwest::Method::GET, base, path, cookies).await
}

async fn send(
    method: reqwest::Method,
    base: &str,
    path: &str,
    cookies: &str,
) -> Result<NodeResponse, reqwest::Error> {
    // Created once, because it takes longer than many requests.
    static CLIENT: LazyLock<reqwest::Client> = LazyLock::new(|| {
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(0)
            .timeout(Duration::from_secs(30));
        client.build().unwrap()
    });
    let request = CLIENT
        .request(method, format!("{base}{path}"))
        .header(header::COOKIE, cookies)
        .header("sec-fetch-site", "same-origin");
    // The callback is for navigations only.
    let request = match path.starts_with("/auth/callback?") {
        true => request
            .header(header::ACCEPT, "text/html")
            .header("sec-fetch-mode", "navigate")
            .header("sec-fetch-dest", "document"),
        false => request,
    };
    let response = request.send().await?;
    Ok(NodeResponse {
        status: response.status(),
        headers: response.headers().clone(),
        body: response.text().await?,
    })
}

/// Polls a condition and returns how long it took.
async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !condition().await {
        assert!(start.elapsed() < 2 * LEASE_TIMEOUT, "timeout: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    start.elapsed()
}

/// Returns the path of the example, which `tests/interop/run` builds.
fn example() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let folder = test.parent().unwrap().parent().unwrap();
    folder.join("examples").join("sessions")
}

/// Without `ISSUER`, the example starts a demo authorization server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the example: tests/interop/run"]
async fn the_example_works_without_settings() {
    let environment = [
        ("PORT", free_port().to_string()),
        ("ISSUER_ADDR", format!("127.0.0.1:{}", free_port())),
    ];
    let mut process = Process::start(example(), [""; 0], &environment, "sessions.log");
    let line = process.line("Listening on ");
    let (_, base) = line.split_once("public address ").unwrap();
    let browser = Browser::new();
    let page = browser.navigate(&format!("{base}/token")).await.unwrap();
    let page = page.sign_in("alice", "wonderland").await.unwrap();
    assert_eq!(page.url(), format!("{base}/token"));
    assert!(page.text().contains("alice"), "{}", page.text());
    let home = browser.navigate(base).await.unwrap();
    let home = home.form("/auth/logout").unwrap().submit().await.unwrap();
    assert!(home.text().contains("stranger"), "{}", home.text());
}
