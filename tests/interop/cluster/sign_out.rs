//! Signing out at one process, or at the provider, is signing out at all of them.

use http::{StatusCode, header};

use super::{Cluster, MODES, Person, send};

async fn assert_signed_out_everywhere(cluster: &Cluster, person: &Person) {
    for node in &cluster.nodes {
        let answer = node.get("/", person).await.unwrap();
        assert!(answer.body.contains("stranger"), "{answer:?}");
        let answer = node.get("/token", person).await.unwrap();
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{answer:?}");
    }
}

/// L62, L47: an answer that was under way writes the session back nowhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs oidc-provider and Redis: tests/interop/run"]
async fn signing_out_at_one_process_is_signing_out_at_the_other() {
    for mode in MODES {
        let cluster = Cluster::start(mode, 600).await;
        let person = cluster.sign_in().await;
        for node in &cluster.nodes {
            let answer = node.get("/", &person).await.unwrap();
            assert!(answer.body.contains("alice"), "{answer:?}");
        }
        let slow = {
            let (base, cookies) = (cluster.nodes[1].base.clone(), person.cookies.clone());
            tokio::spawn(async move { super::get(&base, "/slow", &cookies).await })
        };
        // Time enough to arrive; it takes two seconds.
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        let post = reqwest::Method::POST;
        let answer = send(
            post,
            &cluster.nodes[0].base,
            "/auth/logout",
            &person.cookies,
        )
        .await;
        let answer = answer.unwrap();
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{answer:?}");
        let location = answer.headers[header::LOCATION].to_str().unwrap();
        assert!(
            location.starts_with(cluster.provider.issuer()),
            "{location}"
        );
        assert_signed_out_everywhere(&cluster, &person).await;
        let slow = slow.await.unwrap().unwrap();
        assert!(slow.body.contains("alice"), "{slow:?}");
        for set in slow.headers.get_all(header::SET_COOKIE) {
            assert!(set.to_str().unwrap().contains("Max-Age=0"), "{slow:?}");
        }
        assert_signed_out_everywhere(&cluster, &person).await;
    }
}

/// L66: the person signs out at the provider, whose word reaches one of the processes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs oidc-provider and Redis: tests/interop/run"]
async fn signing_out_at_the_provider_is_signing_out_at_every_process() {
    for mode in MODES {
        let cluster = Cluster::start(mode, 600).await;
        let person = cluster.sign_in().await;
        let other = cluster.sign_in().await;
        let page = format!("{}/session/end", cluster.provider.issuer());
        let page = person.browser.navigate(&page).await.unwrap();
        page.form("").unwrap().press("yes").await.unwrap();
        let seen = cluster.provider.seen();
        assert_eq!(seen["events"]["backchannel.success"], 1, "{seen}");
        assert_signed_out_everywhere(&cluster, &person).await;
        // The same person in another browser, whose session at the provider goes on.
        let answer = cluster.get("/", &other).await;
        assert!(answer.body.contains("alice"), "{answer:?}");
    }
}
