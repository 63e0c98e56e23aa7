//! Two login layers with the same client, cookie key, cookie name and store, but other routes: no
//! session and no login in progress crosses between them, and one logout token ends both.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use http::StatusCode;
use tower_oauth::session::LoginDecision;
use tower_oauth::store::MemoryStore;
use tower_oauth::testing::{TestClient, TestServer, TestUser};
use tower_oauth::{Client, CookieKey, LoginLayer};
use url::Url;

use crate::login_support::*;
use crate::logout_support::*;

const STRANGER: &str = "hello stranger";
const ALICE: &str = "hello alice";
const ADMIN: &str = "https://shop.example.com/admin/auth/callback";

/// Redirect URIs that make another layer than [`CALLBACK`] does.
const OTHERS: [(&str, &str); 9] = [
    ("another folder", ADMIN),
    ("no folder", "https://shop.example.com/callback"),
    (
        "a folder below",
        "https://shop.example.com/auth/admin/callback",
    ),
    (
        "case of the folder",
        "https://shop.example.com/Auth/callback",
    ),
    (
        "an encoded folder",
        "https://shop.example.com/%61uth/callback",
    ),
    ("another host", "https://admin.example.com/auth/callback"),
    ("a host below", "https://a.shop.example.com/auth/callback"),
    (
        "another port",
        "https://shop.example.com:8443/auth/callback",
    ),
    ("http on loopback", "http://localhost:3000/auth/callback"),
];

/// Other spellings of the origin and folder of [`CALLBACK`].
const SAME: [(&str, &str); 5] = [
    (
        "the default port",
        "https://shop.example.com:443/auth/callback",
    ),
    ("case of the host", "https://SHOP.example.com/auth/callback"),
    (
        "case of the scheme",
        "HTTPS://shop.example.com/auth/callback",
    ),
    ("a dot segment", "https://shop.example.com/./auth/callback"),
    (
        "another last segment",
        "https://shop.example.com/auth/return",
    ),
];

/// Whoever signs in at a layer gets a session, or is turned away by `with_on_login`.
#[derive(Clone, Copy, PartialEq)]
enum Door {
    Open,
    Closed,
}

/// One layer in front of the pages of `login_support`, at its own origin and folder.
struct Site {
    server: TestServer,
    login: LoginLayer,
    app: Router,
    origin: String,
    folder: String,
    asked: Arc<AtomicUsize>,
}

/// What two layers have in common.
struct Common {
    server: TestServer,
    memory: MemoryStore,
    mode: Mode,
}

impl Common {
    fn new(mode: Mode) -> Self {
        let server = server_at(ISSUER);
        let memory = MemoryStore::new().with_clock(server.clock());
        Self {
            memory: memory.with_single_process(),
            server,
            mode,
        }
    }

    /// A layer with the cookie name `shop`, whatever its routes are.
    fn site(&self, redirect_uri: &str, door: Door) -> Site {
        let name = |login: LoginLayer| login.with_cookie_name("shop").unwrap();
        self.site_of(&self.server, "shop", redirect_uri, door, name)
    }

    fn site_of(
        &self,
        server: &TestServer,
        client: &str,
        redirect_uri: &str,
        door: Door,
        configure: impl FnOnce(LoginLayer) -> LoginLayer,
    ) -> Site {
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        let client = Client::confidential(client, format!("{client}-secret"));
        let key = CookieKey::from_bytes(&KEY).unwrap();
        let server_of = server.authorization_server();
        let login = LoginLayer::new(&server_of, client, redirect_uri, key).unwrap();
        let login = match self.mode {
            Mode::Store => login.with_session_store(self.memory.clone()),
            Mode::Shared => login.with_shared_memory(self.memory.clone()),
            Mode::Cookie => login,
        };
        let login = configure(login).with_on_login(move |_| {
            counter.fetch_add(1, Ordering::SeqCst);
            async move {
                match door {
                    Door::Open => LoginDecision::allow(),
                    Door::Closed => LoginDecision::deny("Only for staff."),
                }
            }
        });
        let url = Url::parse(redirect_uri).unwrap();
        Site {
            server: server.clone(),
            app: app(&login),
            login,
            origin: url.origin().ascii_serialization(),
            folder: url.path().rsplit_once('/').unwrap().0.to_owned(),
            asked,
        }
    }
}

fn server_at(issuer: &str) -> TestServer {
    logs::listen();
    let mut server = TestServer::new(issuer)
        .unwrap()
        .add_user(TestUser::new("alice", "wonderland"));
    for name in ["shop", "desk"] {
        let mut client = TestClient::confidential(name, &format!("{name}-secret"));
        for (_, uri) in [("", CALLBACK)].iter().chain(&OTHERS).chain(&SAME) {
            client = client.add_redirect_uri(uri).unwrap();
        }
        server = server.add_client(client.without_consent());
    }
    server
}

impl Site {
    /// Starts a login: the cookies of the browser, and where the authorization server sends it.
    async fn start(&self) -> (Jar, String) {
        let mut jar = Jar::default();
        let ask = Ask::page(&format!("{}/login", self.folder));
        let answer = send(&self.app, ask).await;
        jar.take(&answer);
        let stub = Router::new().fallback(|| async { "stub" });
        let browser = self.server.browser().with_origin(&self.origin, stub);
        let page = browser.unwrap().navigate(answer.location()).await.unwrap();
        let page = page.sign_in("alice", "wonderland").await.unwrap();
        let callback = page.url().strip_prefix(&self.origin).unwrap();
        (jar, callback.to_owned())
    }

    async fn signed_in(&self) -> Jar {
        let (mut jar, callback) = self.start().await;
        let answer = send(&self.app, Ask::page(&callback).jar(&jar)).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{answer:?}");
        jar.take(&answer);
        jar
    }

    async fn greeting(&self, jar: &Jar) -> String {
        send(&self.app, Ask::page("/").jar(jar)).await.text()
    }

    /// Asserts that these cookies are worth nothing here, and that presenting them changes nothing.
    async fn is_stranger(&self, jar: &Jar, name: &str) {
        assert_eq!(self.greeting(jar).await, STRANGER, "{name}");
        let answer = send(&self.app, Ask::page("/account").jar(jar)).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{name}");
        let path = format!("{}/session", self.folder);
        let answer = send(&self.app, Ask::new("GET", &path).jar(jar)).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{name}");
        let own = [("sec-fetch-site", "same-origin")];
        let ask = Ask::new("POST", &format!("{}/logout", self.folder)).with(&own);
        let answer = send(&self.app, ask.jar(jar)).await;
        assert_eq!(answer.location(), "/", "{name}");
    }

    async fn tell(&self, token: &str) -> StatusCode {
        let path = format!("{}/backchannel-logout", self.folder);
        send(&self.app, notice(token).at(&path)).await.status
    }
}

/// Cookies as an attacker may rename them: for a site with and without the prefix for https.
fn renamed(jar: &Jar) -> Jar {
    let plain = |name: &str| name.trim_start_matches("__Host-Http-").to_owned();
    let cookies = jar.0.iter().flat_map(|(name, value)| {
        let plain = plain(name);
        let secure = format!("__Host-Http-{plain}");
        [(secure, value.clone()), (plain, value.clone())]
    });
    Jar(cookies.collect())
}

#[tokio::test]
async fn a_session_of_one_layer_is_none_at_another_with_the_same_client_and_key() {
    for mode in ALL {
        for (what, redirect_uri) in OTHERS {
            let name = format!("{mode:?}: {what}");
            let common = Common::new(mode);
            let open = common.site(CALLBACK, Door::Open);
            let closed = common.site(redirect_uri, Door::Closed);
            let jar = open.signed_in().await;
            closed.is_stranger(&renamed(&jar), &name).await;
            assert_eq!(closed.asked.load(Ordering::SeqCst), 0, "{name}");
            // Neither the requests nor the sign-out at the other layer have ended it.
            assert_eq!(open.greeting(&jar).await, ALICE, "{name}");

            // The other way round.
            let (open, other) = (common.site(redirect_uri, Door::Open), &open);
            let jar = open.signed_in().await;
            other.is_stranger(&renamed(&jar), &name).await;
            assert_eq!(open.greeting(&jar).await, ALICE, "{name}");
        }
    }
}

#[tokio::test]
async fn a_session_of_another_client_or_issuer_is_none_here() {
    for mode in ALL {
        let common = Common::new(mode);
        let name = |login: LoginLayer| login.with_cookie_name("shop").unwrap();
        let open = common.site(CALLBACK, Door::Open);
        let jar = renamed(&open.signed_in().await);
        let other_issuer = server_at("https://id.example.org");
        for (what, server, client) in [
            ("client", &common.server, "desk"),
            ("issuer", &other_issuer, "shop"),
        ] {
            let closed = common.site_of(server, client, CALLBACK, Door::Closed, name);
            closed.is_stranger(&jar, &format!("{mode:?}: {what}")).await;
        }
        assert_eq!(open.greeting(&jar).await, ALICE, "{mode:?}");
    }
}

/// The same layer, written in another way: replicas need not agree on the spelling.
#[tokio::test]
async fn another_spelling_of_the_same_origin_and_folder_is_the_same_layer() {
    for mode in ALL {
        for (what, redirect_uri) in SAME {
            let common = Common::new(mode);
            let one = common.site(CALLBACK, Door::Open);
            let two = common.site(redirect_uri, Door::Open);
            let jar = one.signed_in().await;
            assert_eq!(two.greeting(&jar).await, ALICE, "{mode:?}: {what}");
        }
    }
}

#[tokio::test]
async fn a_login_that_began_at_one_layer_is_completed_at_no_other() {
    for mode in ALL {
        for (what, redirect_uri) in OTHERS {
            let name = format!("{mode:?}: {what}");
            let common = Common::new(mode);
            let open = common.site(CALLBACK, Door::Open);
            let closed = common.site(redirect_uri, Door::Open);
            let (jar, callback) = open.start().await;
            let query = callback.split_once('?').unwrap().1;
            let url = Url::parse(redirect_uri).unwrap();
            let there = format!("{}?{query}", url.path());
            let ask = Ask::page(&there).jar(&renamed(&jar));
            let answer = send(&closed.app, ask).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{name}");
            assert_eq!(closed.asked.load(Ordering::SeqCst), 0, "{name}");
            // It still is where it began.
            let answer = send(&open.app, Ask::page(&callback).jar(&jar)).await;
            assert_eq!(answer.status, StatusCode::SEE_OTHER, "{name}");
        }
    }
}
