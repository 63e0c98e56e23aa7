//! Sign-out at one process or at the provider ends the session in all processes.

use http::{StatusCode, header};

use super::{Cluster, MODES, User, send};

async fn assert_signed_out_everywhere(cluster: &Cluster, user: &User) {
    for node in &cluster.nodes {
        let response = node.get("/", user).await.unwrap();
        assert!(response.body.contains("stranger"), "{response:?}");
        let response = node.get("/token", user).await.unwrap();
        assert_eq!(response.status, StatusCode::UNAUTHORIZED, "{response:?}");
    }
}

/// A pending response does not restore the session.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs oidc-provider and Redis: tests/interop/run"]
async fn sign_out_at_one_process_ends_the_session_at_the_other() {
    for mode in MODES {
        let cluster = Cluster::start(mode, 600).await;
        let user = cluster.sign_in().await;
        for node in &cluster.nodes {
            let response = node.get("/", &user).await.unwrap();
            assert!(response.body.contains("alice"), "{response:?}");
        }
        let slow = {
            let (base, cookies) = (cluster.nodes[1].base.clone(), user.cookies.clone());
            tokio::spawn(async move { super::get(&base, "/slow", &cookies).await })
        };
        // Time for the request to arrive; the response takes two seconds.
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        let post = reqwest::Method::POST;
        let response = send(post, &cluster.nodes[0].base, "/auth/logout", &user.cookies).await;
        let response = response.unwrap();
        // A program gets the place to continue at; a navigation would be redirected to the provider.
        assert_eq!(response.status, StatusCode::OK, "{response:?}");
        assert!(
            response.body.contains("/auth/logout?continue="),
            "{response:?}"
        );
        assert_signed_out_everywhere(&cluster, &user).await;
        let slow = slow.await.unwrap().unwrap();
        assert!(slow.body.contains("alice"), "{slow:?}");
        for set in slow.headers.get_all(header::SET_COOKIE) {
            assert!(set.to_str().unwrap().contains("Max-Age=0"), "{slow:?}");
        }
        assert_signed_out_everywhere(&cluster, &user).await;
    }
}

/// The logout token of the provider reaches one of the processes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs oidc-provider and Redis: tests/interop/run"]
async fn sign_out_at_the_provider_ends_the_session_at_all_processes() {
    for mode in MODES {
        let cluster = Cluster::start(mode, 600).await;
        let user = cluster.sign_in().await;
        let other = cluster.sign_in().await;
        let page = format!("{}/session/end", cluster.provider.issuer());
        let page = user.browser.navigate(&page).await.unwrap();
        page.form("").unwrap().press("yes").await.unwrap();
        let state = cluster.provider.state();
        assert_eq!(state["events"]["backchannel.success"], 1, "{state}");
        assert_signed_out_everywhere(&cluster, &user).await;
        // The user's session in another browser continues.
        let response = cluster.get("/", &other).await;
        assert!(response.body.contains("alice"), "{response:?}");
    }
}
