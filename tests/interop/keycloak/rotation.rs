//! New and withdrawn keys while an API is in use.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use http::Method;
use serde_json::json;

use super::api::{call, keycloak_api};
use super::definitions::{KeycloakClient, Keys};
use super::realm::{Realm, member};

const KIND: &str = "org.keycloak.keys.KeyProvider";

/// Adds a key that signs from now on.
async fn add_key(realm: &Realm, name: &str, priority: u32) {
    let mut provider = realm.keys.provider(name, priority);
    provider["providerType"] = json!(KIND);
    provider["parentId"] = realm.get("").await["id"].clone();
    realm
        .admin(Method::POST, "/components", Some(provider))
        .await;
}

/// Removes a key from the key set.
async fn withdraw_key(realm: &Realm, name: &str) {
    let path = format!("/components?type={KIND}&name={name}");
    let mut provider = realm.get(&path).await[0].clone();
    provider["config"]["enabled"] = json!(["false"]);
    provider["config"]["active"] = json!(["false"]);
    let path = format!("/components/{}", member(&provider, "id"));
    realm.admin(Method::PUT, &path, Some(provider)).await;
}

/// Calls the API with one token until told to stop, and returns the number of calls.
fn keep_calling(api: &Router, token: &str, stop: &Arc<AtomicBool>) -> tokio::task::JoinHandle<u32> {
    let (api, token, stop) = (api.clone(), token.to_owned(), Arc::clone(stop));
    tokio::spawn(async move {
        let mut calls = 0;
        while !stop.load(Ordering::Relaxed) {
            call(&api, "/", &token).await.assert_accepted("the old key");
            calls += 1;
            tokio::task::yield_now().await;
        }
        calls
    })
}

#[tokio::test]
#[ignore = "needs Keycloak: tests/interop/run"]
async fn new_keys_reject_no_request_and_a_withdrawn_key_ends() {
    for keys in Keys::BOTH {
        let service = KeycloakClient::new("service").service();
        let realm = Realm::separate(keys, "rotation", service).await;
        let api = keycloak_api(&realm.server());
        let old = realm.client_credentials("service", None).await;
        call(&api, "/", &old).await.assert_accepted("first");

        let stop = Arc::new(AtomicBool::new(false));
        let caller = keep_calling(&api, &old, &stop);
        let mut tokens = vec![old.clone()];
        for (name, priority) in [("second", 200), ("third", 300)] {
            add_key(&realm, name, priority).await;
            let new = realm.client_credentials("service", None).await;
            let header = |token: &str| token.split('.').next().unwrap().to_owned();
            assert_ne!(header(&new), header(tokens.last().unwrap()), "{name}");
            call(&api, "/", &new).await.assert_accepted(name);
            tokens.push(new);
        }
        stop.store(true, Ordering::Relaxed);
        let calls = caller.await.unwrap();
        assert!(calls > 50, "only {calls} calls during the rotation");
        for token in &tokens {
            call(&api, "/", token)
                .await
                .assert_accepted("all three keys");
        }

        withdraw_key(&realm, keys.algorithm()).await;
        // An API that was started after the withdrawal does not know the key.
        let started = keycloak_api(&realm.server());
        let response = call(&started, "/", &old).await;
        response.assert_unauthorized("invalid_token", "", "withdrawn");
        for api in [&api, &started] {
            call(api, "/", &tokens[2]).await.assert_accepted("current");
        }
    }
}
