//! Two login layers with the same client, cookie key, cookie name and store, but different routes: neither
//! accepts sessions or logins of the other, and one logout token ends the sessions of both.

mod nested;
mod one_application;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use http::StatusCode;
use tower_oauth::session::LoginDecision;
use tower_oauth::store::MemoryStore;
use tower_oauth::testing::{TestClient, TestServer, TestUser};
use tower_oauth::{Client, CookieKey, LoginLayer};
use url::Url;

use crate::support::logs;
use crate::support::modes::{Mode, session_modes};
use crate::support::nodes::*;
use crate::support::shop::*;

session_modes! {
    all: [
        a_session_of_one_layer_is_rejected_at_another_with_the_same_client_and_key,
        a_session_of_another_client_or_issuer_is_rejected,
        another_spelling_of_the_same_origin_and_folder_is_the_same_layer,
        a_login_started_at_one_layer_is_rejected_at_another,
        two_layers_of_one_client_have_different_cookies_by_default,
    ],
    with_store: [
        one_logout_token_ends_the_sessions_of_both_layers,
        a_logout_token_at_one_layer_ends_a_login_in_progress_at_another,
        the_sessions_of_both_layers_are_listed_and_ended_at_either,
    ],
}

const ADMIN: &str = "https://shop.example.com/admin/auth/callback";

/// Redirect URIs of other layers than that of [`CALLBACK`].
const OTHERS: [(&str, &str); 8] = [
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
    ("another host", "https://admin.example.com/auth/callback"),
    ("a host below", "https://a.shop.example.com/auth/callback"),
    (
        "another port",
        "https://shop.example.com:8443/auth/callback",
    ),
    ("http on loopback", "http://localhost:3000/auth/callback"),
];

/// Other spellings of the origin and folder of [`CALLBACK`].
const SAME: [(&str, &str); 4] = [
    (
        "the default port",
        "https://shop.example.com:443/auth/callback",
    ),
    ("case of the host", "https://SHOP.example.com/auth/callback"),
    (
        "case of the scheme",
        "HTTPS://shop.example.com/auth/callback",
    ),
    (
        "another last segment",
        "https://shop.example.com/auth/return",
    ),
];

/// Whether a layer admits a user or rejects every login with `with_on_login`.
#[derive(Clone, Copy, PartialEq)]
enum Admission {
    Open,
    Closed,
}

/// One layer in front of the pages of `support::shop`, at an origin and folder.
struct Site {
    server: TestServer,
    login: LoginLayer,
    app: Router,
    origin: String,
    folder: String,
    asked: Arc<AtomicUsize>,
}

/// What two layers share.
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

    /// Creates a layer with the cookie name `shop`, whatever its routes are.
    fn site(&self, redirect_uri: &str, admission: Admission) -> Site {
        let name = |login: LoginLayer| login.with_cookie_name("shop").unwrap();
        self.site_of(&self.server, "shop", redirect_uri, admission, name)
    }

    fn site_of(
        &self,
        server: &TestServer,
        client: &str,
        redirect_uri: &str,
        admission: Admission,
        configure: impl FnOnce(LoginLayer) -> LoginLayer,
    ) -> Site {
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        let client = Client::confidential(client, format!("{client}-secret"));
        let key = CookieKey::from_bytes(&KEY).unwrap();
        let server_of = server.authorization_server();
        let login = LoginLayer::new(&server_of, client, redirect_uri, key).unwrap();
        let login = self.mode.place_in(login, self.memory.clone());
        let login = configure(login).with_on_login(move |_| {
            counter.fetch_add(1, Ordering::SeqCst);
            async move {
                match admission {
                    Admission::Open => LoginDecision::allow(),
                    Admission::Closed => LoginDecision::deny("Only for staff."),
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
    let mut server = crate::support::still_server(issuer)
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
    /// Starts a login. Returns the cookies of the browser and the URL of the redirect.
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

    /// Asserts that these cookies are rejected here, and that presenting them changes nothing.
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
        // An encrypted cookie of another layer cannot be read, and the sign-out reports that it ended
        // nothing.
        match answer.status {
            StatusCode::BAD_REQUEST => {
                assert_eq!(answer.json()["code"], "session_cookie_unreadable", "{name}");
            }
            _ => assert_eq!(answer.location(), "/", "{name}"),
        }
    }

    /// Delivers logout tokens for all sessions of alice, by `sid` or by `sub`.
    async fn log_out_alice(&self, by_sid: bool) -> Vec<String> {
        let mint = || self.server.logout_token("shop");
        let of_session = |sid: &String| mint().with_claim("sid", &**sid).sign();
        let tokens: Vec<String> = match by_sid {
            true => self
                .server
                .session_ids("alice")
                .iter()
                .map(of_session)
                .collect(),
            false => vec![mint().with_subject("alice").sign()],
        };
        for token in &tokens {
            let status = self.send_logout_token(token).await;
            assert_eq!(status, StatusCode::OK, "by_sid: {by_sid}");
        }
        tokens
    }

    async fn send_logout_token(&self, token: &str) -> StatusCode {
        let path = format!("{}/backchannel-logout", self.folder);
        send(&self.app, delivery(token).at(&path)).await.status
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

async fn a_session_of_one_layer_is_rejected_at_another_with_the_same_client_and_key(mode: Mode) {
    for (name, redirect_uri) in OTHERS {
        let common = Common::new(mode);
        let open = common.site(CALLBACK, Admission::Open);
        let closed = common.site(redirect_uri, Admission::Closed);
        let jar = open.signed_in().await;
        closed.is_stranger(&renamed(&jar), name).await;
        assert_eq!(closed.asked.load(Ordering::SeqCst), 0, "{name}");
        // Neither the requests nor the sign-out at the other layer have ended it.
        assert_eq!(open.greeting(&jar).await, ALICE, "{name}");

        // Vice versa.
        let (open, other) = (common.site(redirect_uri, Admission::Open), &open);
        let jar = open.signed_in().await;
        other.is_stranger(&renamed(&jar), name).await;
        assert_eq!(open.greeting(&jar).await, ALICE, "{name}");
    }
}

async fn a_session_of_another_client_or_issuer_is_rejected(mode: Mode) {
    let common = Common::new(mode);
    let name = |login: LoginLayer| login.with_cookie_name("shop").unwrap();
    let open = common.site(CALLBACK, Admission::Open);
    let jar = renamed(&open.signed_in().await);
    let other_issuer = server_at("https://id.example.org");
    for (what, server, client) in [
        ("client", &common.server, "desk"),
        ("issuer", &other_issuer, "shop"),
    ] {
        let closed = common.site_of(server, client, CALLBACK, Admission::Closed, name);
        closed.is_stranger(&jar, what).await;
    }
    assert_eq!(open.greeting(&jar).await, ALICE);
}

/// The same layer in another spelling: replicas need not agree on the spelling.
async fn another_spelling_of_the_same_origin_and_folder_is_the_same_layer(mode: Mode) {
    for (what, redirect_uri) in SAME {
        let common = Common::new(mode);
        let one = common.site(CALLBACK, Admission::Open);
        let two = common.site(redirect_uri, Admission::Open);
        let jar = one.signed_in().await;
        assert_eq!(two.greeting(&jar).await, ALICE, "{what}");
    }
}

async fn a_login_started_at_one_layer_is_rejected_at_another(mode: Mode) {
    for (name, redirect_uri) in OTHERS {
        let common = Common::new(mode);
        let open = common.site(CALLBACK, Admission::Open);
        let closed = common.site(redirect_uri, Admission::Open);
        let (jar, callback) = open.start().await;
        let query = callback.split_once('?').unwrap().1;
        let url = Url::parse(redirect_uri).unwrap();
        let there = format!("{}?{query}", url.path());
        let ask = Ask::page(&there).jar(&renamed(&jar));
        let answer = send(&closed.app, ask).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{name}");
        assert_eq!(closed.asked.load(Ordering::SeqCst), 0, "{name}");
        // It is still accepted at the layer that started it.
        let answer = send(&open.app, Ask::page(&callback).jar(&jar)).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{name}");
    }
}

/// One logout token reaches one layer. Indexes and used `jti`s are those of the client, not of the layer.
async fn one_logout_token_ends_the_sessions_of_both_layers(mode: Mode) {
    for by_sid in [false, true] {
        for told in [0, 1] {
            let name = format!("{by_sid} {told}");
            let common = Common::new(mode);
            let sites = [CALLBACK, ADMIN].map(|uri| common.site(uri, Admission::Open));
            let jars = [sites[0].signed_in().await, sites[1].signed_in().await];
            let sids = common.server.session_ids("alice");
            assert_eq!(sids.len(), 2, "{name}: each browser signed in there");
            let tokens = sites[told].log_out_alice(by_sid).await;
            for (site, jar) in sites.iter().zip(&jars) {
                assert_eq!(site.greeting(jar).await, STRANGER, "{name}");
                // For the other layer it is the same token.
                assert_eq!(
                    site.send_logout_token(&tokens[0]).await,
                    StatusCode::BAD_REQUEST,
                    "{name}"
                );
            }
            let left = sites[told].login.sessions().of_user("alice").await.unwrap();
            assert_eq!(left, [], "{name}");
        }
    }
}

/// One layer with sessions in the store, the other with sessions in cookies and the same store.
#[tokio::test]
async fn one_logout_token_ends_the_sessions_of_layers_with_different_backends() {
    for told in [0, 1] {
        for by_sid in [false, true] {
            let name = format!("{told} {by_sid}");
            let mut common = Common::new(Mode::Store);
            let stored = common.site(ADMIN, Admission::Open);
            common.mode = Mode::Shared;
            let sites = [stored, common.site(CALLBACK, Admission::Open)];
            let jars = [sites[0].signed_in().await, sites[1].signed_in().await];
            assert_eq!(common.server.session_ids("alice").len(), 2, "{name}");
            sites[told].log_out_alice(by_sid).await;
            for (site, jar) in sites.iter().zip(&jars) {
                assert_eq!(site.greeting(jar).await, STRANGER, "{name}");
            }
        }
    }
}

/// A logout that arrives while a login at the other layer is in progress.
async fn a_logout_token_at_one_layer_ends_a_login_in_progress_at_another(mode: Mode) {
    let common = Common::new(mode);
    let sites = [CALLBACK, ADMIN].map(|uri| common.site(uri, Admission::Open));
    let (jar, callback) = sites[1].start().await;
    let token = common.server.logout_token("shop").with_subject("alice");
    assert_eq!(
        sites[0].send_logout_token(&token.sign()).await,
        StatusCode::OK
    );
    let answer = send(&sites[1].app, Ask::page(&callback).jar(&jar)).await;
    assert!(answer.status.is_client_error(), "{answer:?}");
    assert_eq!(answer.sets(), [""; 0]);
}

/// An administrator lists and ends the sessions of the client, and listing removes no record.
async fn the_sessions_of_both_layers_are_listed_and_ended_at_either(mode: Mode) {
    for name in ["end", "end_user", "end_sid"] {
        let common = Common::new(mode);
        let sites = [CALLBACK, ADMIN].map(|uri| common.site(uri, Admission::Open));
        let first = sites[0].signed_in().await;
        let first_sid = common.server.session_ids("alice").remove(0);
        let second = sites[1].signed_in().await;
        let sessions = sites[0].login.sessions();
        let listed = sessions.of_user("alice").await.unwrap();
        assert_eq!(listed.len(), 2, "{name}");
        let there = sites[1].login.sessions().of_user("alice").await.unwrap();
        assert_eq!(listed, there, "{name}");
        for (site, jar) in sites.iter().zip([&first, &second]) {
            assert_eq!(site.greeting(jar).await, ALICE, "{name}");
        }
        let mut sids = common.server.session_ids("alice");
        sids.retain(|sid| *sid != first_sid);
        match name {
            "end" => {
                for session in &listed {
                    sessions.end(session.id()).await.unwrap();
                }
            }
            "end_user" => assert_eq!(sessions.end_user("alice").await.unwrap(), 2, "{name}"),
            _ => {
                assert_eq!(sessions.end_sid(&sids[0]).await.unwrap(), 1, "{name}");
                assert_eq!(sites[0].greeting(&first).await, ALICE, "{name}");
                assert_eq!(sessions.end_sid(&first_sid).await.unwrap(), 1, "{name}");
            }
        }
        for (site, jar) in sites.iter().zip([&first, &second]) {
            assert_eq!(site.greeting(jar).await, STRANGER, "{name}");
        }
    }
}

/// One origin and one browser: neither layer clears or replaces a cookie of the other.
async fn two_layers_of_one_client_have_different_cookies_by_default(mode: Mode) {
    let common = Common::new(mode);
    let site = |uri| common.site_of(&common.server, "shop", uri, Admission::Open, |login| login);
    let sites = [CALLBACK, ADMIN, "https://shop.example.com/callback"].map(site);
    let mut browser = Jar::default();
    for site in &sites {
        let (jar, callback) = site.start().await;
        let all = Jar([browser.0.clone(), jar.0].concat());
        let answer = send(&site.app, Ask::page(&callback).jar(&all)).await;
        assert_eq!(answer.clears().len(), 1, "its login, {answer:?}");
        browser.take(&answer);
    }
    let mut names = browser.names();
    names.sort_unstable();
    names.dedup();
    assert!(names.contains(&SESSION), "{names:?}");
    assert_eq!(names.len(), sites.len(), "{names:?}");
    for site in &sites {
        let answer = send(&site.app, Ask::page("/").jar(&browser)).await;
        assert_eq!(answer.text(), ALICE);
        assert_eq!(answer.set_cookies(), [""; 0]);
    }
}
