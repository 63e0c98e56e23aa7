//! Redis stops, processes stop: nobody is signed out, and nothing happens twice.

use std::time::Duration;

use http::StatusCode;
use tokio::task::JoinSet;

use super::{Cluster, MODES, get, until};

/// L48: 503 as long as nobody can know, then all is as it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs oidc-provider and Redis: tests/interop/run"]
async fn redis_stops_and_starts() {
    for mode in MODES {
        let mut cluster = Cluster::start(mode, 4).await;
        let person = cluster.sign_in().await;
        assert!(cluster.get("/", &person).await.body.contains("alice"));
        let token = cluster.token(&person).await;
        // The first request has begun a refresh; it is to be over.
        until("the new token", async || {
            cluster.token(&person).await != token
        })
        .await;
        let sessions = cluster.redis.sessions();
        let refreshes = cluster.refreshes();

        cluster.redis.stop();
        for path in ["/", "/token"].repeat(5) {
            cluster.get(path, &person).await.assert_unavailable();
        }
        assert_eq!(cluster.get("/health", &person).await.status, StatusCode::OK);
        assert_eq!(cluster.refreshes(), refreshes);

        cluster.redis.start_again();
        for node in &cluster.nodes {
            let back = until("the session", async || {
                let answer = node.get("/", &person).await.unwrap();
                if answer.status != StatusCode::OK {
                    answer.assert_unavailable();
                }
                answer.body.contains("alice")
            });
            assert!(back.await < Duration::from_secs(10));
        }
        cluster.token(&person).await;
        assert_eq!(cluster.refreshes(), refreshes, "{mode}");
        assert_eq!(cluster.redis.sessions(), sessions, "{mode}");
    }
}

/// L51: the token expires while Redis is down. Without a lease nobody asks for another, then one process does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs oidc-provider and Redis: tests/interop/run"]
async fn a_token_that_expires_while_redis_is_down_is_refreshed_once() {
    for mode in MODES {
        let mut cluster = Cluster::start(mode, 2).await;
        let person = cluster.sign_in().await;
        cluster.redis.stop();
        tokio::time::sleep(Duration::from_secs(2)).await;
        for _ in 0..6 {
            cluster.get("/token", &person).await.assert_unavailable();
        }
        assert_eq!(cluster.provider.requests()["/token"], 1, "{mode}: the code");
        cluster.redis.start_again();
        let mut requests = JoinSet::new();
        for _ in 0..50 {
            let (base, cookies) = (cluster.base().to_owned(), person.cookies.clone());
            requests.spawn(async move { get(&base, "/token", &cookies).await.unwrap() });
        }
        for answer in requests.join_all().await {
            if answer.status != StatusCode::OK {
                answer.assert_unavailable();
            }
        }
        until("the session", async || {
            cluster.get("/token", &person).await.status == StatusCode::OK
        })
        .await;
        assert_eq!(cluster.refreshes(), (1, 0), "{mode}");
    }
}

/// L54: the new refresh token is there, and Redis is not. It is kept until it can be saved, and no answer leaves
/// before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs oidc-provider and Redis: tests/interop/run"]
async fn redis_stops_between_a_refresh_and_its_saving() {
    for mode in MODES {
        let mut cluster = Cluster::start(mode, 2).await;
        let person = cluster.sign_in().await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        cluster.provider.hold("after");
        let pending = {
            let (base, cookies) = (cluster.nodes[0].base.clone(), person.cookies.clone());
            tokio::spawn(async move { get(&base, "/token", &cookies).await })
        };
        cluster.one_is_held().await;
        cluster.redis.stop();
        cluster.provider.release();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(cluster.refreshes(), (1, 0), "{mode}");
        cluster.redis.start_again();
        let answer = pending.await.unwrap().unwrap();
        if answer.status != StatusCode::OK {
            answer.assert_unavailable();
        }
        until("the session", async || {
            cluster.get("/token", &person).await.status == StatusCode::OK
        })
        .await;
        let node = &cluster.nodes[1];
        let token = node.get("/token", &person).await.unwrap().body;
        assert_eq!(token, cluster.token(&person).await, "{mode}");
        assert_eq!(cluster.refreshes(), (1, 0), "{mode}");
    }
}

/// The cookie is the session, and the key is in the environment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs oidc-provider and Redis: tests/interop/run"]
async fn processes_restart_and_cookie_sessions_live_on() {
    let mut cluster = Cluster::start("cookie", 2).await;
    let person = cluster.sign_in().await;
    cluster.redis.stop();
    for node in &mut cluster.nodes {
        node.process.kill();
    }
    assert!(get(cluster.base(), "/", &person.cookies).await.is_err());
    cluster.start_nodes();
    assert!(cluster.get("/", &person).await.body.contains("alice"));
    // With its refresh token.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let answer = cluster.nodes[0].get("/token", &person).await.unwrap();
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(cluster.refreshes(), (1, 0));
}

/// L13: one callback that arrives many times, at both processes: the code is redeemed once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs oidc-provider and Redis: tests/interop/run"]
async fn a_callback_that_arrives_twenty_times_makes_one_token_request() {
    for mode in MODES {
        let cluster = Cluster::start(mode, 600).await;
        let browser = tower_oauth::testing::Browser::new();
        let consent = cluster.ask_for_consent(&browser).await;
        // Turned away at the door, the browser says where it wanted to go.
        let addresses = cluster
            .nodes
            .iter()
            .map(|node| node.base.replace("http://", ""));
        cluster.front.stand_before(Vec::new());
        let error = consent.form("").unwrap().submit().await.unwrap_err();
        let tower_oauth::testing::BrowserError::Connection { url, .. } = error else {
            panic!("{error}");
        };
        cluster.front.stand_before(addresses.collect());
        let callback = url.strip_prefix(cluster.base()).unwrap();
        assert!(callback.starts_with("/auth/callback?"), "{callback}");

        let mut requests = JoinSet::new();
        for _ in 0..20 {
            let (base, path) = (cluster.base().to_owned(), callback.to_owned());
            let cookies = cluster.cookies(&browser);
            requests.spawn(async move { get(&base, &path, &cookies).await.unwrap() });
        }
        let answers = requests.join_all().await;
        let redirects = answers
            .iter()
            .filter(|answer| answer.status == StatusCode::SEE_OTHER)
            .count();
        assert!(redirects > 0, "{answers:?}");
        for answer in &answers {
            let known = [StatusCode::SEE_OTHER, StatusCode::BAD_REQUEST];
            assert!(known.contains(&answer.status), "{mode}: {answer:?}");
        }
        assert_eq!(cluster.provider.requests()["/token"], 1, "{mode}");
    }
}
