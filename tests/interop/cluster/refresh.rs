//! Refresh with two processes and rotating refresh tokens.

use std::collections::HashSet;
use std::time::Duration;

use http::StatusCode;
use tokio::task::JoinSet;

use super::{Cluster, LEASE_TIMEOUT, MODES, NodeResponse, User, get, until};

/// Sends concurrent requests through the load balancer.
async fn send_concurrently(
    cluster: &Cluster,
    count: usize,
    path: &'static str,
    user: &User,
) -> Vec<NodeResponse> {
    let mut requests = JoinSet::new();
    for _ in 0..count {
        let (base, cookies) = (cluster.base().to_owned(), user.cookies.clone());
        requests.spawn(async move { get(&base, path, &cookies).await.unwrap() });
    }
    requests.join_all().await
}

fn assert_one_token(responses: &[NodeResponse]) -> &str {
    for response in responses {
        assert_eq!(response.status, StatusCode::OK, "{response:?}");
        assert!(response.body.contains("alice"), "{response:?}");
    }
    let tokens: HashSet<&str> = responses.iter().map(|response| &*response.body).collect();
    assert_eq!(tokens.len(), 1, "{tokens:?}");
    &responses[0].body
}

/// The token has expired, so all requests need the new one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs oidc-provider and Redis: tests/interop/run"]
async fn two_hundred_requests_at_expiry_share_one_refresh() {
    for mode in MODES {
        let cluster = Cluster::start(mode, 2).await;
        let user = cluster.sign_in().await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let responses = send_concurrently(&cluster, 200, "/token", &user).await;
        let token = assert_one_token(&responses);
        assert_eq!(cluster.refreshes(), (1, 0), "{mode}");
        assert_eq!(
            cluster.provider.requests()["/token"],
            2,
            "{mode}: the code, a refresh"
        );
        let connections = cluster.front.connections();
        assert!(
            connections.len() == 2 && connections.iter().all(|count| *count >= 100),
            "{connections:?}"
        );
        // The old cookies name the same session with the new tokens.
        for node in &cluster.nodes {
            let response = node.get("/token", &user).await.unwrap();
            assert_eq!(response.body, token, "{mode}");
        }
        assert_eq!(cluster.provider.requests()["/token"], 2, "{mode}");
    }
}

/// The token is still valid, so no request waits for the refresh.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs oidc-provider and Redis: tests/interop/run"]
async fn two_hundred_requests_before_expiry_make_one_background_refresh() {
    for mode in MODES {
        let cluster = Cluster::start(mode, 12).await;
        let user = cluster.sign_in().await;
        // Tokens with a short lifetime are refreshed in its second half.
        tokio::time::sleep(Duration::from_secs(6)).await;
        cluster.provider.hold("before");
        let responses = send_concurrently(&cluster, 200, "/token", &user).await;
        let old = assert_one_token(&responses).to_owned();
        cluster.wait_for_held_request().await;
        cluster.provider.release();
        until("the new token", async || cluster.token(&user).await != old).await;
        assert_one_token(&send_concurrently(&cluster, 20, "/token", &user).await);
        assert_eq!(cluster.refreshes(), (1, 0), "{mode}");
        assert_eq!(cluster.provider.requests()["/token"], 2, "{mode}");
    }
}

/// Kills a process during its refresh. Requests that need the token wait until the lease expires; then the other
/// process continues.
async fn kill_during_refresh(cluster: &mut Cluster, user: &User, when: &str, end: StatusCode) {
    tokio::time::sleep(Duration::from_secs(2)).await;
    cluster.provider.hold(when);
    let pending = {
        let (base, cookies) = (cluster.nodes[0].base.clone(), user.cookies.clone());
        tokio::spawn(async move { get(&base, "/token", &cookies).await })
    };
    cluster.wait_for_held_request().await;
    cluster.nodes[0].process.kill();
    assert!(pending.await.unwrap().is_err(), "the response is lost");
    cluster.provider.release();
    let waited = until("the end of the lease", async || {
        let response = cluster.get("/token", user).await;
        if response.status != end {
            response.assert_unavailable();
        }
        response.status == end
    })
    .await;
    assert!(waited < LEASE_TIMEOUT, "{waited:?}");
}

/// The outcome of the request is unknown, so it is repeated after the lease. The provider had not received it.
async fn killed_before_the_token_request(mode: &'static str) {
    let mut cluster = Cluster::start(mode, 2).await;
    let user = cluster.sign_in().await;
    kill_during_refresh(&mut cluster, &user, "before", StatusCode::OK).await;
    assert_eq!(cluster.refreshes(), (1, 0));
    let requests = cluster.provider.requests()["/token"];
    assert_eq!(
        requests, 3,
        "the code, the lost refresh, the repeated refresh"
    );
    let token = cluster.token(&user).await;
    cluster.start_nodes();
    assert_eq!(cluster.token(&user).await, token);
    assert_eq!(cluster.refreshes(), (1, 0));
}

/// The provider had processed the request, and the new refresh token is lost. The provider rejects the reuse of
/// the old one: the session ends in all processes, and the user signs in again.
async fn killed_before_the_token_response(mode: &'static str) {
    let mut cluster = Cluster::start(mode, 2).await;
    let user = cluster.sign_in().await;
    kill_during_refresh(&mut cluster, &user, "after", StatusCode::UNAUTHORIZED).await;
    assert_eq!(cluster.refreshes(), (1, 1));
    cluster.start_nodes();
    let response = cluster.get("/", &user).await;
    assert_eq!(response.status, StatusCode::OK);
    assert!(response.body.contains("stranger"), "{response:?}");
    let user = cluster.sign_in().await;
    cluster.token(&user).await;
    assert_eq!(cluster.refreshes().1, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs oidc-provider and Redis: tests/interop/run"]
async fn killed_before_the_token_request_with_a_store() {
    killed_before_the_token_request("store").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs oidc-provider and Redis: tests/interop/run"]
async fn killed_before_the_token_request_with_a_shared_store() {
    killed_before_the_token_request("shared").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs oidc-provider and Redis: tests/interop/run"]
async fn killed_before_the_token_response_with_a_store() {
    killed_before_the_token_response("store").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs oidc-provider and Redis: tests/interop/run"]
async fn killed_before_the_token_response_with_a_shared_store() {
    killed_before_the_token_response("shared").await;
}

/// A browser that aborts its request during a refresh loses nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs oidc-provider and Redis: tests/interop/run"]
async fn an_aborted_request_does_not_lose_the_refresh_token() {
    for mode in MODES {
        let cluster = Cluster::start(mode, 2).await;
        let user = cluster.sign_in().await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        cluster.provider.hold("after");
        let pending = {
            let (base, cookies) = (cluster.nodes[0].base.clone(), user.cookies.clone());
            tokio::spawn(async move { get(&base, "/token", &cookies).await })
        };
        cluster.wait_for_held_request().await;
        pending.abort();
        assert!(pending.await.unwrap_err().is_cancelled());
        cluster.provider.release();
        cluster.token(&user).await;
        assert_eq!(cluster.refreshes(), (1, 0), "{mode}");
    }
}
