//! Two processes and one refresh token that is good for once.

use std::collections::HashSet;
use std::time::Duration;

use http::StatusCode;
use tokio::task::JoinSet;

use super::{Answer, Cluster, LEASE, MODES, Person, get, until};

/// So many at once, by the round-robin.
async fn at_once(
    cluster: &Cluster,
    count: usize,
    path: &'static str,
    person: &Person,
) -> Vec<Answer> {
    let mut requests = JoinSet::new();
    for _ in 0..count {
        let (base, cookies) = (cluster.base().to_owned(), person.cookies.clone());
        requests.spawn(async move { get(&base, path, &cookies).await.unwrap() });
    }
    requests.join_all().await
}

fn assert_one_token(answers: &[Answer]) -> &str {
    for answer in answers {
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        assert!(answer.body.contains("alice"), "{answer:?}");
    }
    let tokens: HashSet<&str> = answers.iter().map(|answer| &*answer.body).collect();
    assert_eq!(tokens.len(), 1, "{tokens:?}");
    &answers[0].body
}

/// L51: the token has expired, so that all of them need the new one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs oidc-provider and Redis: tests/interop/run"]
async fn two_hundred_requests_at_expiry_share_one_refresh() {
    for mode in MODES {
        let cluster = Cluster::start(mode, 2).await;
        let person = cluster.sign_in().await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let answers = at_once(&cluster, 200, "/token", &person).await;
        let token = assert_one_token(&answers);
        assert_eq!(cluster.refreshes(), (1, 0), "{mode}");
        assert_eq!(
            cluster.provider.requests()["/token"],
            2,
            "{mode}: the code, a refresh"
        );
        let taken = cluster.front.taken();
        assert!(
            taken.len() == 2 && taken.iter().all(|taken| *taken >= 100),
            "{taken:?}"
        );
        // With the cookies of before, too, there is one session, and it has these tokens.
        for node in &cluster.nodes {
            let answer = node.get("/token", &person).await.unwrap();
            assert_eq!(answer.body, token, "{mode}");
        }
        assert_eq!(cluster.provider.requests()["/token"], 2, "{mode}");
    }
}

/// L50, L51: the token is good for some seconds yet, so that nobody waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs oidc-provider and Redis: tests/interop/run"]
async fn two_hundred_requests_shortly_before_expiry_make_one_refresh_and_wait_for_none() {
    for mode in MODES {
        let cluster = Cluster::start(mode, 12).await;
        let person = cluster.sign_in().await;
        // A token that lives as short as this is renewed in the second half of its life.
        tokio::time::sleep(Duration::from_secs(6)).await;
        cluster.provider.hold("before");
        let answers = at_once(&cluster, 200, "/token", &person).await;
        let old = assert_one_token(&answers).to_owned();
        cluster.one_is_held().await;
        cluster.provider.release();
        until("the new token", async || {
            cluster.token(&person).await != old
        })
        .await;
        assert_one_token(&at_once(&cluster, 20, "/token", &person).await);
        assert_eq!(cluster.refreshes(), (1, 0), "{mode}");
        assert_eq!(cluster.provider.requests()["/token"], 2, "{mode}");
    }
}

/// One process is killed with its refresh under way. Who needs the token waits for the end of the lease, which nobody
/// gave back, and the other process goes on.
async fn kill_in_the_middle(cluster: &mut Cluster, person: &Person, when: &str, end: StatusCode) {
    tokio::time::sleep(Duration::from_secs(2)).await;
    cluster.provider.hold(when);
    let pending = {
        let (base, cookies) = (cluster.nodes[0].base.clone(), person.cookies.clone());
        tokio::spawn(async move { get(&base, "/token", &cookies).await })
    };
    cluster.one_is_held().await;
    cluster.nodes[0].process.kill();
    assert!(pending.await.unwrap().is_err(), "it died with its answer");
    cluster.provider.release();
    // By the round-robin, which knows nothing of all that.
    let waited = until("the end of the lease", async || {
        let answer = cluster.get("/token", person).await;
        if answer.status != end {
            answer.assert_unavailable();
        }
        answer.status == end
    })
    .await;
    assert!(waited < LEASE, "{waited:?}");
}

/// L51: nobody knows whether it was carried out, so it is tried again when the lease has run out. It was not.
async fn killed_before_the_request_arrives(mode: &'static str) {
    let mut cluster = Cluster::start(mode, 2).await;
    let person = cluster.sign_in().await;
    kill_in_the_middle(&mut cluster, &person, "before", StatusCode::OK).await;
    assert_eq!(cluster.refreshes(), (1, 0));
    let requests = cluster.provider.requests()["/token"];
    assert_eq!(
        requests, 3,
        "the code, the one that was lost, the one that was not"
    );
    let token = cluster.token(&person).await;
    cluster.start_nodes();
    assert_eq!(cluster.token(&person).await, token);
    assert_eq!(cluster.refreshes(), (1, 0));
}

/// L51, L53: it was, and the new refresh token died with the process. The provider takes the second use of the
/// old one for a theft: the session has ended, on every process, and the person signs in again.
async fn killed_before_the_answer_arrives(mode: &'static str) {
    let mut cluster = Cluster::start(mode, 2).await;
    let person = cluster.sign_in().await;
    kill_in_the_middle(&mut cluster, &person, "after", StatusCode::UNAUTHORIZED).await;
    assert_eq!(cluster.refreshes(), (1, 1));
    cluster.start_nodes();
    let answer = cluster.get("/", &person).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(answer.body.contains("stranger"), "{answer:?}");
    let person = cluster.sign_in().await;
    cluster.token(&person).await;
    assert_eq!(cluster.refreshes().1, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs oidc-provider and Redis: tests/interop/run"]
async fn killed_before_the_request_arrives_with_a_store() {
    killed_before_the_request_arrives("store").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs oidc-provider and Redis: tests/interop/run"]
async fn killed_before_the_request_arrives_with_shared_memory() {
    killed_before_the_request_arrives("shared").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs oidc-provider and Redis: tests/interop/run"]
async fn killed_before_the_answer_arrives_with_a_store() {
    killed_before_the_answer_arrives("store").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs oidc-provider and Redis: tests/interop/run"]
async fn killed_before_the_answer_arrives_with_shared_memory() {
    killed_before_the_answer_arrives("shared").await;
}

/// L55: the browser gives up in the middle of a refresh, which loses nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs oidc-provider and Redis: tests/interop/run"]
async fn a_browser_that_gives_up_loses_no_refresh_token() {
    for mode in MODES {
        let cluster = Cluster::start(mode, 2).await;
        let person = cluster.sign_in().await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        cluster.provider.hold("after");
        let pending = {
            let (base, cookies) = (cluster.nodes[0].base.clone(), person.cookies.clone());
            tokio::spawn(async move { get(&base, "/token", &cookies).await })
        };
        cluster.one_is_held().await;
        pending.abort();
        assert!(pending.await.unwrap_err().is_cancelled());
        cluster.provider.release();
        cluster.token(&person).await;
        assert_eq!(cluster.refreshes(), (1, 0), "{mode}");
    }
}
