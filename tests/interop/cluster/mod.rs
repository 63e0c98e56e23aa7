//! `examples/sessions.rs` as two processes behind a round-robin, with a real Redis and the provider.

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

/// Which of the two modes that many processes can share.
const MODES: [&str; 2] = ["store", "shared"];

/// Longer than a lease, by what a test on a busy machine needs.
const LEASE: Duration = Duration::from_secs(14);

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

/// Somebody who signed in, and the cookies of their browser.
struct Person {
    browser: Browser,
    cookies: String,
}

/// What a process answered.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Cluster {
    /// With access tokens of a login that live so many seconds; those of a refresh live ten minutes.
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

    /// Two new processes, behind the same address as those before.
    fn start_nodes(&mut self) {
        self.nodes = vec![self.node(), self.node()];
        let bases = self.nodes.iter().map(|node| &node.base);
        let addresses = bases.map(|base| base.replace("http://", "")).collect();
        self.front.stand_before(addresses);
    }

    fn node(&self) -> Node {
        let environment = [
            ("MODE", self.mode.to_owned()),
            ("PORT", "0".to_owned()),
            ("BASE", self.front.base().to_owned()),
            ("ISSUER", self.provider.issuer().to_owned()),
            ("CLIENT_ID", "web-lasting".to_owned()),
            ("CLIENT_SECRET", SECRET.to_owned()),
            ("COOKIE_KEY", "ab".repeat(32)),
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

    /// From the application to the provider's question; a page outside of the layer is where it would end,
    /// so that the first request with the session is the test's own.
    async fn ask_for_consent(&self, browser: &Browser) -> Page {
        let login = format!("{}/auth/login?return_to=/health", self.base());
        let page = browser.navigate(&login).await.unwrap();
        let form = page.form("").unwrap();
        let form = form.fill("login", "alice").unwrap();
        let form = form.fill("password", "any").unwrap();
        form.submit().await.unwrap()
    }

    async fn sign_in(&self) -> Person {
        let browser = Browser::new();
        let consent = self.ask_for_consent(&browser).await;
        let page = consent.form("").unwrap().submit().await.unwrap();
        assert_eq!(page.text(), "good", "{}", page.url());
        Person {
            cookies: self.cookies(&browser),
            browser,
        }
    }

    /// What the browser sends along.
    fn cookies(&self, browser: &Browser) -> String {
        let cookies = browser.cookies(self.base());
        let pairs = cookies
            .iter()
            .map(|cookie| format!("{}={}", cookie.name(), cookie.value()));
        pairs.collect::<Vec<_>>().join("; ")
    }

    /// By the round-robin.
    async fn get(&self, path: &str, person: &Person) -> Answer {
        get(self.base(), path, &person.cookies).await.unwrap()
    }

    /// Which access token the session has: what one can compare, not the token.
    async fn token(&self, person: &Person) -> String {
        let answer = self.get("/token", person).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        answer.body
    }

    /// How often the provider granted a refresh, and how often it refused one.
    fn refreshes(&self) -> (u64, u64) {
        let seen = self.provider.seen();
        let count = |event| seen["events"][event].as_u64().unwrap_or(0);
        (
            count("refresh_token granted"),
            count("refresh_token refused"),
        )
    }

    /// Waits until a token request is held back at the provider.
    async fn one_is_held(&self) {
        until("a token request", async || {
            self.provider.seen()["held"] == 1
        })
        .await;
    }
}

impl Node {
    async fn get(&self, path: &str, person: &Person) -> Result<Answer, reqwest::Error> {
        get(&self.base, path, &person.cookies).await
    }
}

impl Answer {
    /// Nobody is told that they are signed out, and everybody when to come again.
    fn assert_unavailable(&self) {
        assert_eq!(self.status, StatusCode::SERVICE_UNAVAILABLE, "{self:?}");
        assert!(self.headers.contains_key(header::RETRY_AFTER), "{self:?}");
        assert!(!self.headers.contains_key(header::SET_COOKIE), "{self:?}");
    }
}

/// A request of a script on a page of the application, over a connection of its own.
async fn get(base: &str, path: &str, cookies: &str) -> Result<Answer, reqwest::Error> {
    send(reqwest::Method::GET, base, path, cookies).await
}

async fn send(
    method: reqwest::Method,
    base: &str,
    path: &str,
    cookies: &str,
) -> Result<Answer, reqwest::Error> {
    // Made once, which takes longer than many requests.
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
    let answer = request.send().await?;
    Ok(Answer {
        status: answer.status(),
        headers: answer.headers().clone(),
        body: answer.text().await?,
    })
}

/// Looks again and again; how long it took.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !holds().await {
        assert!(start.elapsed() < 2 * LEASE, "{what} did not come");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    start.elapsed()
}

/// Beside the folder of this test; `tests/interop/run` builds it first.
fn example() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let folder = test.parent().unwrap().parent().unwrap();
    folder.join("examples").join("sessions")
}

/// As its header says: with no more than a port, the example brings an authorization server along.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the example: tests/interop/run"]
async fn the_example_works_by_itself() {
    let environment = [
        ("PORT", free_port().to_string()),
        ("ISSUER_ADDR", format!("127.0.0.1:{}", free_port())),
    ];
    let mut process = Process::start(example(), [""; 0], &environment, "sessions.log");
    let line = process.line("Listening on ");
    let (_, base) = line.split_once("people come to ").unwrap();
    let browser = Browser::new();
    let page = browser.navigate(&format!("{base}/token")).await.unwrap();
    let page = page.sign_in("alice", "wonderland").await.unwrap();
    assert_eq!(page.url(), format!("{base}/token"));
    assert!(page.text().contains("alice"), "{}", page.text());
    let home = browser.navigate(base).await.unwrap();
    let home = home.form("/auth/logout").unwrap().submit().await.unwrap();
    assert!(home.text().contains("stranger"), "{}", home.text());
}
