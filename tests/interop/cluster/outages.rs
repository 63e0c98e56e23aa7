//! Outages of Redis and of processes: users stay signed in, and no token is requested twice.

use std::time::Duration;

use http::StatusCode;
use tokio::task::JoinSet;

use super::{Cluster, MODES, get, until};

/// Responses are 503 during the outage; afterwards the session continues.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs oidc-provider and Redis: tests/interop/run"]
async fn sessions_survive_a_redis_outage() {
    for mode in MODES {
        let mut cluster = Cluster::start(mode, 4).await;
        let user = cluster.sign_in().await;
        assert!(cluster.get("/", &user).await.body.contains("alice"));
        let token = cluster.token(&user).await;
        // Wait for the refresh that the first request started.
        until("the new token", async || {
            cluster.token(&user).await != token
        })
        .await;
        let sessions = cluster.redis.sessions();
        let refreshes = cluster.refreshes();

        cluster.redis.stop();
        for path in ["/", "/token"].repeat(5) {
            cluster.get(path, &user).await.assert_unavailable();
        }
        assert_eq!(cluster.get("/health", &user).await.status, StatusCode::OK);
        assert_eq!(cluster.refreshes(), refreshes);

        cluster.redis.restart();
        for node in &cluster.nodes {
            let back = until("the session", async || {
                let response = node.get("/", &user).await.unwrap();
                if response.status != StatusCode::OK {
                    response.assert_unavailable();
                }
                response.body.contains("alice")
            });
            assert!(back.await < Duration::from_secs(10));
        }
        cluster.token(&user).await;
        assert_eq!(cluster.refreshes(), refreshes, "{mode}");
        assert_eq!(cluster.redis.sessions(), sessions, "{mode}");
    }
}

/// The token expires while Redis is down. Without a lease no process refreshes; afterwards one does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs oidc-provider and Redis: tests/interop/run"]
async fn a_token_that_expires_while_redis_is_down_is_refreshed_once() {
    for mode in MODES {
        let mut cluster = Cluster::start(mode, 2).await;
        let user = cluster.sign_in().await;
        cluster.redis.stop();
        tokio::time::sleep(Duration::from_secs(2)).await;
        for _ in 0..6 {
            cluster.get("/token", &user).await.assert_unavailable();
        }
        assert_eq!(cluster.provider.requests()["/token"], 1, "{mode}: the code");
        cluster.redis.restart();
        let mut requests = JoinSet::new();
        for _ in 0..50 {
            let (base, cookies) = (cluster.base().to_owned(), user.cookies.clone());
            requests.spawn(async move { get(&base, "/token", &cookies).await.unwrap() });
        }
        for response in requests.join_all().await {
            if response.status != StatusCode::OK {
                response.assert_unavailable();
            }
        }
        until("the session", async || {
            cluster.get("/token", &user).await.status == StatusCode::OK
        })
        .await;
        assert_eq!(cluster.refreshes(), (1, 0), "{mode}");
    }
}

/// Redis is down when a refresh completes. The process keeps the new refresh token until it is saved, and sends
/// no response before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs oidc-provider and Redis: tests/interop/run"]
async fn refreshed_tokens_are_saved_after_a_redis_outage() {
    for mode in MODES {
        let mut cluster = Cluster::start(mode, 2).await;
        let user = cluster.sign_in().await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        cluster.provider.hold("after");
        let pending = {
            let (base, cookies) = (cluster.nodes[0].base.clone(), user.cookies.clone());
            tokio::spawn(async move { get(&base, "/token", &cookies).await })
        };
        cluster.wait_for_held_request().await;
        cluster.redis.stop();
        cluster.provider.release();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(cluster.refreshes(), (1, 0), "{mode}");
        cluster.redis.restart();
        let response = pending.await.unwrap().unwrap();
        if response.status != StatusCode::OK {
            response.assert_unavailable();
        }
        until("the session", async || {
            cluster.get("/token", &user).await.status == StatusCode::OK
        })
        .await;
        let node = &cluster.nodes[1];
        let token = node.get("/token", &user).await.unwrap().body;
        assert_eq!(token, cluster.token(&user).await, "{mode}");
        assert_eq!(cluster.refreshes(), (1, 0), "{mode}");
    }
}

/// The session is in the cookie, and the key is in the environment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs oidc-provider and Redis: tests/interop/run"]
async fn cookie_sessions_survive_a_restart() {
    // The nodes have half of this time to start before the token is refreshed.
    let mut cluster = Cluster::start("cookie", 8).await;
    let user = cluster.sign_in().await;
    cluster.redis.stop();
    for node in &mut cluster.nodes {
        node.process.kill();
    }
    assert!(get(cluster.base(), "/", &user.cookies).await.is_err());
    cluster.start_nodes();
    assert!(cluster.get("/", &user).await.body.contains("alice"));
    // The refresh token survives as well.
    tokio::time::sleep(Duration::from_secs(8)).await;
    let response = cluster.nodes[0].get("/token", &user).await.unwrap();
    assert_eq!(response.status, StatusCode::OK, "{response:?}");
    assert_eq!(cluster.refreshes(), (1, 0));
}

/// A callback that is repeated at both processes redeems the code once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs oidc-provider and Redis: tests/interop/run"]
async fn a_callback_that_arrives_twenty_times_makes_one_token_request() {
    for mode in MODES {
        let cluster = Cluster::start(mode, 600).await;
        let browser = tower_oauth::testing::Browser::new();
        let consent = cluster.ask_for_consent(&browser).await;
        // Without backends the request fails, and the error has the callback URL.
        let addresses = cluster
            .nodes
            .iter()
            .map(|node| node.base.replace("http://", ""));
        cluster.front.set_backends(Vec::new());
        let error = consent.form("").unwrap().submit().await.unwrap_err();
        let tower_oauth::testing::BrowserError::Connection { url, .. } = error else {
            panic!("{error}");
        };
        cluster.front.set_backends(addresses.collect());
        let callback = url.strip_prefix(cluster.base()).unwrap();
        assert!(callback.starts_with("/auth/callback?"), "{callback}");

        let mut requests = JoinSet::new();
        for _ in 0..20 {
            let (base, path) = (cluster.base().to_owned(), callback.to_owned());
            let cookies = cluster.cookies(&browser);
            requests.spawn(async move { get(&base, &path, &cookies).await.unwrap() });
        }
        let responses = requests.join_all().await;
        let redirects = responses
            .iter()
            .filter(|response| response.status == StatusCode::SEE_OTHER)
            .count();
        assert!(redirects > 0, "{responses:?}");
        for response in &responses {
            let allowed = [StatusCode::SEE_OTHER, StatusCode::BAD_REQUEST];
            assert!(allowed.contains(&response.status), "{mode}: {response:?}");
        }
        assert_eq!(cluster.provider.requests()["/token"], 1, "{mode}");
    }
}
