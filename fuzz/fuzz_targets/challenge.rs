//! Challenges: for every configured realm the challenge is grammatical and contains exactly that realm.
#![no_main]

use std::convert::Infallible;
use std::future::Future as _;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use http::header::AUTHORIZATION;
use http::{Request, Response};
use libfuzzer_sys::fuzz_target;
use tower::{Layer as _, Service as _};
use tower_oauth::{AuthorizationServer, BearerLayer};

#[allow(dead_code)]
#[path = "../../tests/support/challenge.rs"]
mod challenge;

fuzz_target!(|data: &str| {
    let (realm, credentials) = data.split_once('\n').unwrap_or((data, ""));
    let server = AuthorizationServer::new("https://id.example.com").unwrap();
    let Ok(layer) = BearerLayer::jwt(&server, "api").unwrap().with_realm(realm) else {
        return;
    };
    let mut service = layer.layer(tower::service_fn(async |_: Request<()>| {
        Ok::<_, Infallible>(Response::new(()))
    }));
    let mut request = Request::new(());
    if let Ok(line) = credentials.parse() {
        request.headers_mut().insert(AUTHORIZATION, line);
    }
    // Without a back channel no token can be verified, so every response is a rejection. A response that waits for a
    // key is skipped.
    let mut response = pin!(service.call(request));
    let Poll::Ready(Ok(response)) = response
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    else {
        return;
    };
    assert!(
        [400, 401].contains(&response.status().as_u16()),
        "{response:?}"
    );
    let challenges = challenge::parse(response.headers()).unwrap();
    let [challenge] = challenges.as_slice() else {
        panic!("{challenges:?}");
    };
    assert_eq!(challenge.scheme, "Bearer");
    assert_eq!(challenge.parameter("realm"), Some(realm));
    let allowed = ["realm", "error", "error_description"];
    assert!(
        challenge
            .parameters
            .iter()
            .all(|(name, _)| allowed.contains(&name.as_str()))
    );
});
