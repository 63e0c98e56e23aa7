//! DPoP-bound access tokens at the layer: schemes, challenges and replay (RFC 9449 §7, §11).

mod nonce;
mod proof;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::{any, get};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, PROXY_AUTHORIZATION};
use http::{Request, StatusCode};
use serde_json::json;
use tower_oauth::bearer::{ClientCertificate, FormTokenLayer, Mtls, TokenSource};
use tower_oauth::clock::Clock;
use tower_oauth::store::{Expect, Key, MemoryStore, Put, Record, Removed, Store, StoreError};
use tower_oauth::testing::{DpopKey, Endpoint, TestClient};
use tower_oauth::token::{Dpop, ProofError, VerifyErrorKind, VerifyErrorKind as Why};
use tower_oauth::{Algorithm, BearerLayer, ScopeLayer, VerifiedToken};

use crate::support::api::{
    self, AUDIENCE, Outcome, api, ask, good, layer, present, present_at, server, soon,
};
use crate::support::dpop::{Client, dpop, dpop_layer, request, show};

const PROOF_REFUSED: &str = "401 Bearer DPoP=invalid_dpop_proof";

const REPLAYED: VerifyErrorKind = VerifyErrorKind::DpopProof(ProofError::Replayed);

/// RFC 9449 §7.1, §7.2: scheme, binding and key must match.
#[tokio::test]
async fn a_token_is_accepted_only_with_the_scheme_of_its_binding() {
    let server = server();
    let api = api(dpop_layer(&server));
    let (client, thief) = (Client::new(&server), Client::new(&server));
    let (bound, unbound) = (client.token(), good(&server).sign());
    let proof = |token: &str| client.proof("/", token).sign();
    let stolen = thief.proof("/", &bound).sign();
    let bound_jkt = |jkt: &str| {
        good(&server)
            .with_claim("cnf", json!({ "jkt": jkt }))
            .sign()
    };
    let by_case = bound_jkt(&client.key.thumbprint().to_uppercase());
    let padded = bound_jkt(&format!("{}=", client.key.thumbprint()));
    let token_refused = "401 Bearer DPoP=invalid_token";
    let bearer_refused = "401 Bearer=invalid_token DPoP";

    let mut wrong = Vec::new();
    for (name, authorization, proof, said, kind) in [
        (
            "good",
            format!("DPoP {bound}"),
            Some(proof(&bound)),
            "200",
            None,
        ),
        (
            "scheme in capitals",
            format!("DPOP {bound}"),
            Some(proof(&bound)),
            "200",
            None,
        ),
        ("bearer", format!("Bearer {unbound}"), None, "200", None),
        (
            "another key",
            format!("DPoP {bound}"),
            Some(stolen),
            token_refused,
            Some(VerifyErrorKind::DpopKey),
        ),
        (
            "bound as Bearer",
            format!("Bearer {bound}"),
            None,
            bearer_refused,
            Some(VerifyErrorKind::Bound),
        ),
        (
            "bound as Bearer with its proof",
            format!("Bearer {bound}"),
            Some(proof(&bound)),
            bearer_refused,
            Some(VerifyErrorKind::Bound),
        ),
        (
            "unbound as DPoP",
            format!("DPoP {unbound}"),
            Some(proof(&unbound)),
            token_refused,
            Some(VerifyErrorKind::NotBound),
        ),
        (
            "unbound as DPoP without a proof",
            format!("DPoP {unbound}"),
            None,
            token_refused,
            Some(VerifyErrorKind::NotBound),
        ),
        (
            "unbound as Bearer with a proof",
            format!("Bearer {unbound}"),
            Some(proof(&unbound)),
            bearer_refused,
            Some(VerifyErrorKind::StrayDpopProof),
        ),
        (
            "a thumbprint in another case",
            format!("DPoP {by_case}"),
            Some(proof(&by_case)),
            token_refused,
            None,
        ),
        (
            "a thumbprint with padding",
            format!("DPoP {padded}"),
            Some(proof(&padded)),
            token_refused,
            Some(VerifyErrorKind::Bound),
        ),
        (
            "an expired token with a valid proof",
            format!("DPoP {}", client.mint().with_expires_in(-600).sign()),
            Some(proof(&bound)),
            token_refused,
            Some(VerifyErrorKind::Expired),
        ),
    ] {
        let mut request = Request::get("/").header(AUTHORIZATION, authorization);
        if let Some(proof) = proof {
            request = request.header("dpop", proof);
        }
        let answer = ask(&api, request.body(Body::empty()).unwrap()).await;
        if answer.said() != said || (kind.is_some() && answer.kind() != kind) {
            wrong.push(format!("{name}: {} {:?}", answer.said(), answer.kind()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// RFC 9449 §7.2: concurrent requests with and without a proof, with a token that is already cached.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cached_bound_token_is_not_accepted_as_a_bearer_token() {
    let server = server();
    let api = api(dpop_layer(&server));
    let client = Client::new(&server);
    let token = client.token();
    let mut tasks = Vec::new();
    for at in 0..40 {
        let (api, token, client) = (api.clone(), token.clone(), client.clone());
        tasks.push(tokio::spawn(async move {
            if at % 2 == 0 {
                let proof = client.proof("/", &token).sign();
                ("200", show(&api, &token, &proof).await.said())
            } else {
                let said = present(&api, &token).await.said();
                ("401 Bearer=invalid_token DPoP", said)
            }
        }));
    }
    for task in tasks {
        let (expect, said) = task.await.unwrap();
        assert_eq!(said, expect);
    }
    assert_eq!(server.count(Endpoint::KeySet), 1);
}

/// RFC 9449 §6.2: the `cnf` of an introspection response binds the token, also if the response is cached.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_opaque_token_is_bound_by_its_introspection_response() {
    let server = server().add_client(TestClient::confidential("api", "secret"));
    let as_api = tower_oauth::Client::confidential("api", "secret");
    let layer = BearerLayer::introspect(&server.authorization_server(), as_api, AUDIENCE).unwrap();
    let api = api(layer.with_dpop(dpop(&server)));
    let (client, thief) = (Client::new(&server), Client::new(&server));
    let token = client.mint().opaque();
    let tasks: Vec<_> = (0..20)
        .map(|at| {
            let (api, token, client) = (api.clone(), token.clone(), client.clone());
            tokio::spawn(async move {
                if at % 2 == 0 {
                    let proof = client.proof("/", &token).sign();
                    ("200", show(&api, &token, &proof).await.said())
                } else {
                    let said = present(&api, &token).await.said();
                    ("401 Bearer=invalid_token DPoP", said)
                }
            })
        })
        .collect();
    for task in tasks {
        let (expect, said) = task.await.unwrap();
        assert_eq!(said, expect);
    }
    assert_eq!(server.count(Endpoint::Introspection), 1);
    let stolen = show(&api, &token, &thief.proof("/", &token).sign()).await;
    assert_eq!(stolen.kind(), Some(VerifyErrorKind::DpopKey));
    assert_eq!(server.count(Endpoint::Introspection), 1);

    // Some servers respond with the type that the token would have without the binding.
    let bearer = client.mint().with_claim("token_type", "Bearer").opaque();
    let answer = show(&api, &bearer, &client.proof("/", &bearer).sign()).await;
    assert_eq!(answer.said(), "200");
    let answer = present(&api, &bearer).await;
    assert_eq!(answer.said(), "401 Bearer=invalid_token DPoP");
    let unbound = good(&server).with_claim("token_type", "DPoP").opaque();
    let answer = show(&api, &unbound, &client.proof("/", &unbound).sign()).await;
    assert_eq!(answer.said(), "401 Bearer DPoP=invalid_token");
}

/// A token that is bound to a key and a certificate requires both, and only a request with both uses up its proof.
#[tokio::test]
async fn a_token_with_two_bindings_requires_both_proofs() {
    let server = server();
    let store = MemoryStore::new().with_clock(server.clock());
    let both = layer(&server)
        .with_dpop(dpop(&server).with_store(store.clone()))
        .with_mtls(Mtls::from_tls());
    let (both, proofs_alone) = (api(both), api(dpop_layer(&server)));
    let client = Client::new(&server);
    let certificate = ClientCertificate::from_der(b"ours");
    let digest = URL_SAFE_NO_PAD.encode(certificate.thumbprint());
    let cnf = json!({ "jkt": client.key.thumbprint(), "x5t#S256": digest });
    let token = good(&server).with_claim("cnf", cnf).sign();
    let shown = |proof: &str, certificate: Option<ClientCertificate>| {
        let mut request = request("/", &format!("DPoP {token}"), proof);
        request.extensions_mut().extend(
            certificate
                .map(|one| {
                    let mut extensions = http::Extensions::new();
                    extensions.insert(one);
                    extensions
                })
                .unwrap_or_default(),
        );
        request
    };
    let good = client.proof("/", &token).sign();
    let stolen = Client::new(&server).proof("/", &token).sign();
    let other = ClientCertificate::from_der(b"another");
    for (name, api, proof, certificate, said) in [
        (
            "the key alone",
            &both,
            &good,
            None,
            "401 Bearer DPoP=invalid_token",
        ),
        (
            "another certificate",
            &both,
            &good,
            Some(other),
            "401 Bearer DPoP=invalid_token",
        ),
        (
            "another key",
            &both,
            &stolen,
            Some(certificate.clone()),
            "401 Bearer DPoP=invalid_token",
        ),
        (
            "a layer without mTLS",
            &proofs_alone,
            &good,
            Some(certificate.clone()),
            "401 Bearer DPoP=invalid_token",
        ),
    ] {
        assert_eq!(
            ask(api, shown(proof, certificate)).await.said(),
            said,
            "{name}"
        );
    }
    assert!(store.is_empty());
    assert_eq!(
        ask(&both, shown(&good, Some(certificate))).await.said(),
        "200"
    );
    assert_eq!(store.len(), 1);
}

/// RFC 9449 §7.1: the challenges, and the one that has the error.
#[tokio::test]
async fn each_scheme_has_a_challenge_and_the_used_one_has_the_error() {
    let server = server();
    let layer = dpop_layer(&server).with_realm("shop").unwrap();
    let api = api(layer);
    let client = Client::new(&server);
    let token = client.mint().with_scope("write").sign();

    let bare = ask(&api, Request::get("/").body(Body::empty()).unwrap()).await;
    assert_eq!(bare.said(), "401 Bearer DPoP");
    let lines: Vec<_> = bare.headers.get_all("www-authenticate").iter().collect();
    assert_eq!(
        lines,
        [
            r#"Bearer realm="shop""#,
            r#"DPoP realm="shop", algs="RS256 PS256 ES256 ES384 EdDSA""#
        ]
    );
    // Other schemes, and a proof alone, are not credentials.
    for (name, value) in [
        ("authorization", "Basic x"),
        ("dpop", "x"),
        ("authorization", "DPoPX x"),
    ] {
        let request = Request::get("/").header(name, value);
        let answer = ask(&api, request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.said(), "401 Bearer DPoP", "{name}: {value}");
    }

    let both = Request::get("/")
        .header(AUTHORIZATION, format!("Bearer {}", good(&server).sign()))
        .header(AUTHORIZATION, format!("DPoP {token}"))
        .header("dpop", client.proof("/", &token).sign());
    let both = ask(&api, both.body(Body::empty()).unwrap()).await;
    assert_eq!(
        both.said(),
        "400 Bearer=invalid_request DPoP=invalid_request"
    );
    for value in [
        "DPoP",
        "DPoP  ",
        "DPoP a b",
        "DPoP\ta",
        "DPoP a, Bearer b",
        "DPoP \"a\"",
    ] {
        let answer = ask(&api, request("/", value, "x")).await;
        assert_eq!(
            answer.said(),
            "400 Bearer=invalid_request DPoP=invalid_request",
            "{value:?}"
        );
    }

    let refused = show(&api, &token, "x").await;
    assert_eq!(
        refused
            .headers
            .get_all("www-authenticate")
            .iter()
            .nth(1)
            .unwrap(),
        "DPoP realm=\"shop\", error=\"invalid_dpop_proof\", error_description=\"the DPoP proof is malformed or \
         unsupported\", algs=\"RS256 PS256 ES256 ES384 EdDSA\""
    );
    assert_eq!(refused.header("cache-control"), Some("no-store"));

    // The inner scope layer uses the scheme of the request.
    let proof = client.proof("/read", &token).sign();
    let answer = ask(&api, request("/read", &format!("DPoP {token}"), &proof)).await;
    assert_eq!(answer.said(), "403 Bearer DPoP=insufficient_scope");
    assert_eq!(answer.challenges()[1].parameter("scope"), Some("read"));
    let answer = present_at(&api, "/read", &good(&server).sign()).await;
    assert_eq!(answer.said(), "403 Bearer=insufficient_scope DPoP");
}

/// Without `Dpop` the scheme is not offered, and bound tokens are rejected.
#[tokio::test]
async fn a_layer_without_dpop_rejects_bound_tokens() {
    let server = server();
    let api = api(layer(&server));
    let client = Client::new(&server);
    let token = client.token();
    let proof = client.proof("/", &token).sign();
    assert_eq!(
        show(&api, &token, &proof).await.outcome(),
        Outcome::NoCredentials
    );
    let bound = Outcome::InvalidToken(VerifyErrorKind::Bound);
    assert_eq!(present(&api, &token).await.outcome(), bound);
}

/// RFC 9728 §2, `dpop_bound_access_tokens_required`: only bound tokens are accepted.
#[tokio::test]
async fn bearer_is_neither_accepted_nor_offered_if_dpop_is_required() {
    let server = server();
    let client = Client::new(&server);
    let token = client.token();
    for optional in [false, true] {
        let mut layer = layer(&server).with_dpop(dpop(&server).required());
        if optional {
            layer = layer.optional();
        }
        let api = api(layer);
        let proof = client.proof("/", &token).sign();
        assert_eq!(show(&api, &token, &proof).await.said(), "200");
        for bearer in [good(&server).sign(), token.clone()] {
            let answer = present(&api, &bearer).await;
            assert_eq!(answer.said(), "401 DPoP=invalid_token");
            assert_eq!(answer.kind(), Some(VerifyErrorKind::DpopRequired));
        }
        let request = Request::get("/maybe").body(Body::empty()).unwrap();
        let said = ask(&api, request).await.said();
        assert_eq!(said, if optional { "200" } else { "401 DPoP" });
    }
}

/// An optional layer rejects invalid credentials.
#[tokio::test]
async fn an_optional_layer_checks_proofs_that_are_present() {
    let server = server();
    let api = api(dpop_layer(&server).optional());
    let client = Client::new(&server);
    let token = client.token();
    let authorization = format!("DPoP {token}");
    let proof = client.proof("/maybe", &token);
    let answer = ask(&api, request("/maybe", &authorization, &proof.sign())).await;
    assert_eq!(answer.body, r#"Some("alice")"#);
    let answer = ask(
        &api,
        request(
            "/maybe",
            &authorization,
            &proof.with_claim("htm", "PUT").sign(),
        ),
    )
    .await;
    assert_eq!(answer.said(), PROOF_REFUSED);
}

/// RFC 9110 §11.7.2: `Proxy-Authorization` is not for the resource server.
#[tokio::test]
async fn proxy_authorization_is_ignored() {
    let server = server();
    let api = api(dpop_layer(&server));
    let client = Client::new(&server);
    let token = client.token();
    let request = Request::get("/")
        .header(PROXY_AUTHORIZATION, format!("DPoP {token}"))
        .header("dpop", client.proof("/", &token).sign());
    let answer = ask(&api, request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.said(), "401 Bearer DPoP");
    assert_eq!(answer.header("proxy-authenticate"), None);
}

/// RFC 9449 §11.1: a proof is valid once, and only an accepted request uses it up.
#[tokio::test]
async fn a_proof_is_valid_once_and_a_rejected_request_does_not_use_it_up() {
    let server = server();
    let api = api(dpop_layer(&server));
    let client = Client::new(&server);
    let token = client.token();
    let proof = || client.proof("/", &token).with_claim("jti", "one");

    // Every other check runs before the proof is recorded.
    let other = client
        .mint()
        .with_audience("https://other.example.test")
        .sign();
    for (name, token, refused) in [
        ("bad signature", &token, proof().with_broken_signature()),
        ("another method", &token, proof().with_claim("htm", "POST")),
        ("another token", &token, proof().with_access_token("x")),
        (
            "another key",
            &token,
            Client::new(&server)
                .proof("/", &token)
                .with_claim("jti", "one"),
        ),
        ("a bad token", &other, proof().with_access_token(&other)),
    ] {
        assert_eq!(
            show(&api, token, &refused.sign()).await.status,
            401,
            "{name}"
        );
    }
    let good = proof().sign();
    assert_eq!(show(&api, &token, &good).await.said(), "200");
    for (name, again) in [
        ("the same", good),
        ("signed anew", proof().sign()),
        ("other claims", proof().with_claim("x", 1).sign()),
        (
            "the URL spelled otherwise",
            proof()
                .with_claim("htu", "HTTPS://API.example.test:443")
                .sign(),
        ),
    ] {
        let answer = show(&api, &token, &again).await;
        assert_eq!(answer.said(), PROOF_REFUSED, "{name}");
        assert_eq!(answer.kind(), Some(REPLAYED), "{name}");
    }

    // RFC 9449 §11.1: with another URL or key, the same `jti` is another proof.
    let elsewhere = client
        .proof("/maybe", &token)
        .with_claim("jti", "one")
        .sign();
    let answer = ask(
        &api,
        request("/maybe", &format!("DPoP {token}"), &elsewhere),
    )
    .await;
    assert_eq!(answer.said(), "200");
    let stranger = Client::new(&server);
    let theirs = stranger.token();
    let proof = stranger.proof("/", &theirs).with_claim("jti", "one").sign();
    assert_eq!(show(&api, &theirs, &proof).await.said(), "200");
}

/// RFC 9449 §11.1: a proof is recorded while it is within its window, and then removed.
#[tokio::test]
async fn a_proof_is_recorded_as_long_as_it_is_valid() {
    let server = server();
    let clock = server.clock();
    let store = MemoryStore::new().with_clock(clock.clone());
    let api = api(layer(&server).with_dpop(dpop(&server).with_store(store.clone())));
    let client = Client::new(&server);
    let token = client.token();
    // Created ten seconds ahead, so it is valid for seventy.
    let ahead = clock.unix_seconds() + 10;
    let proof = client.proof("/", &token).with_claim("iat", ahead).sign();
    assert_eq!(show(&api, &token, &proof).await.said(), "200");
    for _ in 0..7 {
        clock.advance(Duration::from_secs(10));
        assert_eq!(show(&api, &token, &proof).await.kind(), Some(REPLAYED));
    }
    // With the wall clock one minute back, it is still valid and still recorded.
    clock.adjust_wall_clock(-59);
    clock.advance(Duration::from_secs(59));
    assert_eq!(show(&api, &token, &proof).await.kind(), Some(REPLAYED));
    clock.advance(Duration::from_secs(2));
    let stale = VerifyErrorKind::DpopProof(ProofError::Time);
    assert_eq!(show(&api, &token, &proof).await.kind(), Some(stale));
    assert_eq!(store.len(), 1);
    let other = client.proof("/", &token).sign();
    assert_eq!(show(&api, &token, &other).await.said(), "200");
    assert_eq!(store.len(), 1, "the first is cleared away");
}

/// RFC 9449 §11.1.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_of_a_hundred_concurrent_requests_with_the_same_proof_succeeds() {
    let server = server();
    let handled = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&handled);
    let api = Router::new()
        .route(
            "/",
            get(async move || counter.fetch_add(1, Ordering::SeqCst).to_string()),
        )
        .layer(dpop_layer(&server));
    let client = Client::new(&server);
    let token = client.token();
    let proof = client.proof("/", &token).sign();
    let tasks: Vec<_> = (0..100)
        .map(|_| {
            let (api, token, proof) = (api.clone(), token.clone(), proof.clone());
            tokio::spawn(async move { show(&api, &token, &proof).await.said() })
        })
        .collect();
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    let passed = answers.iter().filter(|said| *said == "200").count();
    let refused = answers.iter().filter(|said| *said == PROOF_REFUSED).count();
    assert_eq!((passed, refused), (1, 99));
    assert_eq!(handled.load(Ordering::SeqCst), 1);
    assert_eq!(server.count(Endpoint::KeySet), 1);
}

/// A flood of proofs fills the store, and earlier proofs are still rejected as replays.
#[tokio::test]
async fn a_full_replay_store_keeps_its_entries() {
    let server = server();
    let store = MemoryStore::new()
        .with_clock(server.clock())
        .with_max_entries(20)
        .unwrap();
    let api = api(layer(&server).with_dpop(dpop(&server).with_store(store.clone())));
    let (client, flooder) = (Client::new(&server), Client::new(&server));
    let token = client.token();
    let old = client.proof("/", &token).sign();
    assert_eq!(show(&api, &token, &old).await.said(), "200");
    let theirs = flooder.token();
    for at in 0..60 {
        let answer = show(&api, &theirs, &flooder.proof("/", &theirs).sign()).await;
        if at < 19 {
            assert_eq!(answer.said(), "200");
        } else {
            assert_eq!(answer.outcome(), Outcome::Unavailable);
            assert_eq!(answer.kind(), Some(VerifyErrorKind::StoreUnavailable));
        }
    }
    assert_eq!(show(&api, &token, &old).await.kind(), Some(REPLAYED));
    let new = client.proof("/", &token).sign();
    assert_eq!(
        show(&api, &token, &new).await.outcome(),
        Outcome::Unavailable
    );
    // Bearer tokens do not use the store.
    assert_eq!(present(&api, &good(&server).sign()).await.said(), "200");
    // The store recovers when the first entries expire.
    server.clock().advance(Duration::from_secs(131));
    let new = client.proof("/", &token).sign();
    assert_eq!(show(&api, &token, &new).await.said(), "200");
}

/// A rejected request records nothing.
#[tokio::test]
async fn rejected_requests_do_not_fill_the_replay_store() {
    let server = server();
    let store = MemoryStore::new().with_clock(server.clock());
    let api = api(layer(&server).with_dpop(dpop(&server).with_store(store.clone())));
    let client = Client::new(&server);
    let (token, unbound) = (client.token(), good(&server).sign());
    for _ in 0..50 {
        show(
            &api,
            &token,
            &client.proof("/", &token).with_wrong_key().sign(),
        )
        .await;
        show(&api, &token, &client.proof("/", "x").sign()).await;
        show(&api, &unbound, &client.proof("/", &unbound).sign()).await;
        present(&api, &token).await;
    }
    assert!(store.is_empty());
}

/// A store that fails or never responds, and counts its calls.
#[derive(Clone)]
struct Broken {
    hangs: bool,
    asked: Arc<AtomicUsize>,
}

impl Store for Broken {
    async fn get(&self, _: &Key) -> Result<Option<Record>, StoreError> {
        Err(StoreError::unavailable("down"))
    }

    async fn put(&self, _: &Key, _: Bytes, _: Duration, _: Expect) -> Result<Put, StoreError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.hangs {
            std::future::pending::<()>().await;
        }
        Err(StoreError::unavailable("down"))
    }

    async fn remove(&self, _: &Key, _: Expect) -> Result<Removed, StoreError> {
        Err(StoreError::unavailable("down"))
    }
}

/// If the store fails, no proof is accepted and the client is not blamed.
#[tokio::test]
async fn an_unavailable_replay_store_is_a_503() {
    let server = server();
    let asked = Arc::new(AtomicUsize::new(0));
    let broken = Broken {
        hangs: false,
        asked: Arc::clone(&asked),
    };
    let api = api(layer(&server).with_dpop(dpop(&server).with_store(broken)));
    let client = Client::new(&server);
    let token = client.token();
    let answer = show(&api, &token, &client.proof("/", &token).sign()).await;
    assert_eq!(answer.outcome(), Outcome::Unavailable);
    assert_eq!(answer.kind(), Some(VerifyErrorKind::StoreUnavailable));
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    // An invalid proof is still rejected as such, without a call of the store.
    assert_eq!(show(&api, &token, "x").await.said(), PROOF_REFUSED);
    assert_eq!(present(&api, &good(&server).sign()).await.said(), "200");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

/// The wait for the store is bounded.
#[tokio::test]
async fn a_hanging_replay_store_times_out_after_two_seconds() {
    let server = server();
    let broken = Broken {
        hangs: true,
        asked: Arc::default(),
    };
    let api = api(layer(&server).with_dpop(dpop(&server).with_store(broken)));
    let client = Client::new(&server);
    let token = client.token();
    // The keys are cached, so the only timer is that of the store.
    present(&api, &good(&server).sign()).await;
    let before = server.clock().sleepers();
    let proof = client.proof("/", &token).sign();
    let waiting = tokio::spawn({
        let api = api.clone();
        async move { show(&api, &token, &proof).await.outcome() }
    });
    soon(server.clock().wait_for_sleepers(before + 1)).await;
    assert!(!waiting.is_finished());
    server.clock().advance(Duration::from_secs(2));
    assert_eq!(soon(waiting).await.unwrap(), Outcome::Unavailable);
}

/// RFC 9449 §11.1: a proof used at one process is a replay at all others that share the store.
#[tokio::test]
async fn processes_that_share_a_store_detect_each_others_replays() {
    let server = server();
    let store = MemoryStore::new().with_clock(server.clock());
    let nodes =
        [(); 2].map(|()| api(layer(&server).with_dpop(dpop(&server).with_store(store.clone()))));
    let client = Client::new(&server);
    let token = client.token();
    let proof = client.proof("/", &token).sign();
    assert_eq!(show(&nodes[0], &token, &proof).await.said(), "200");
    assert_eq!(show(&nodes[1], &token, &proof).await.kind(), Some(REPLAYED));
    // So do layers with clones of one `Dpop` and the default store.
    let shared = dpop(&server);
    let nodes = [(); 2].map(|()| api(layer(&server).with_dpop(shared.clone())));
    let proof = client.proof("/", &token).sign();
    assert_eq!(show(&nodes[1], &token, &proof).await.said(), "200");
    assert_eq!(show(&nodes[0], &token, &proof).await.kind(), Some(REPLAYED));
}

/// RFC 9449 §4.3 (9): `htu` is compared with the configured base URL.
#[tokio::test]
async fn host_and_forwarding_headers_do_not_affect_the_target() {
    let server = server();
    let api = api(dpop_layer(&server));
    let client = Client::new(&server);
    let token = client.token();
    let elsewhere = "https://evil.example/";
    for (name, value) in [
        (HOST.as_str(), "evil.example"),
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-server", "evil.example"),
        ("x-original-host", "evil.example"),
        ("x-original-url", elsewhere),
        ("x-rewrite-url", elsewhere),
        ("forwarded", "host=evil.example;proto=https"),
    ] {
        let field = |proof: String| {
            let mut request = request("/", &format!("DPoP {token}"), &proof);
            request.headers_mut().insert(name, value.parse().unwrap());
            request
        };
        let captured = client
            .key
            .proof("GET", elsewhere)
            .with_access_token(&token)
            .sign();
        let answer = ask(&api, field(captured)).await;
        assert_eq!(answer.said(), PROOF_REFUSED, "{name}");
        let wrong_target = VerifyErrorKind::DpopProof(ProofError::Target);
        assert_eq!(answer.kind(), Some(wrong_target), "{name}");
        // They do not prevent a valid request either.
        let answer = ask(&api, field(client.proof("/", &token).sign())).await;
        assert_eq!(answer.said(), "200", "{name}");
    }
    // Neither does the authority of a request target in absolute form (HTTP/2, proxies).
    for (url, said) in [
        (elsewhere, PROOF_REFUSED),
        ("https://api.example.test/", "200"),
    ] {
        let proof = client
            .key
            .proof("GET", url)
            .with_access_token(&token)
            .sign();
        let answer = ask(&api, request(elsewhere, &format!("DPoP {token}"), &proof)).await;
        assert_eq!(answer.said(), said, "{url}");
    }
}

/// A proof names the path that the client sent, although `Router::nest` removes a prefix.
#[tokio::test]
async fn the_proof_names_the_whole_path_of_a_nested_router() {
    let server = server();
    let whoami = async |token: VerifiedToken| format!("{:?}", token.subject());
    let inner = Router::new()
        .route("/orders/{id}", get(whoami))
        .layer(dpop_layer(&server));
    let api = Router::new().nest("/v1", Router::new().nest("/shop", inner));
    let client = Client::new(&server);
    let token = client.token();
    for (path, said) in [
        ("/v1/shop/orders/7", "200"),
        ("/v1/shop/orders/7?x=1", "200"),
        ("/orders/7", PROOF_REFUSED),
        ("/shop/orders/7", PROOF_REFUSED),
        ("/v1/shop/v1/shop/orders/7", PROOF_REFUSED),
        ("/v1/shop/orders/8", PROOF_REFUSED),
    ] {
        let proof = client.proof(path, &token).sign();
        let request = request("/v1/shop/orders/7", &format!("DPoP {token}"), &proof);
        assert_eq!(ask(&api, request).await.said(), said, "{path}");
    }
}

/// The check includes the prefix that `Router::nest` removes: dot segments in it lead to the same handler.
#[tokio::test]
async fn dot_segments_in_the_prefix_of_a_nested_router_are_rejected() {
    let server = server();
    let whoami = async |token: VerifiedToken| format!("{:?}", token.subject());
    let inner = Router::new()
        .route("/x", get(whoami))
        .layer(dpop_layer(&server));
    let api = Router::new().nest("/{a}/{b}", inner);
    let client = Client::new(&server);
    let token = client.token();
    for (path, named, said) in [
        ("/v1/shop/x", "/v1/shop/x", "200"),
        ("/admin/../x", "/x", PROOF_REFUSED),
        ("/admin/%2e%2e/x", "/x", PROOF_REFUSED),
        ("/%2e/v1/x", "/v1/x", PROOF_REFUSED),
        ("/v1/a%5Cb/x", "/v1/a%5Cb/x", PROOF_REFUSED),
        ("/v1/a%2Fb/x", "/v1/a%2Fb/x", "200"),
    ] {
        let proof = client.proof(named, &token).sign();
        let request = request(path, &format!("DPoP {token}"), &proof);
        assert_eq!(ask(&api, request).await.said(), said, "{path}");
    }
}

/// If a proxy removes a prefix, the prefix belongs to the base URL.
#[tokio::test]
async fn the_base_url_includes_the_prefix_that_a_proxy_removes() {
    let server = server();
    let dpop = Dpop::new("https://example.test/api/")
        .unwrap()
        .with_clock(server.clock())
        .add_base_url("http://localhost:8080")
        .unwrap();
    let api = api(layer(&server).with_dpop(dpop));
    let client = Client::new(&server);
    let token = client.token();
    for (url, said) in [
        ("https://example.test/api/", "200"),
        ("https://example.test/api/x/..", "200"),
        ("http://localhost:8080/", "200"),
        ("https://example.test/", PROOF_REFUSED),
        ("https://example.test/api", PROOF_REFUSED),
        ("https://localhost:8080/", PROOF_REFUSED),
        ("https://api.example.test/", PROOF_REFUSED),
    ] {
        let proof = client
            .key
            .proof("GET", url)
            .with_access_token(&token)
            .sign();
        assert_eq!(show(&api, &token, &proof).await.said(), said, "{url}");
    }
    for url in [
        "http://example.test",
        "https://example.test/?x",
        "example.test",
        "https://u@example.test",
    ] {
        assert!(Dpop::new(url).is_err(), "{url}");
    }
}

/// gRPC responses have the challenges in their metadata.
#[tokio::test]
async fn grpc_clients_receive_the_same_challenges() {
    let server = server();
    let api = api(dpop_layer(&server));
    let client = Client::new(&server);
    let token = client.token();
    let call = |proof: String| {
        Request::post("/")
            .header("content-type", "application/grpc")
            .header(AUTHORIZATION, format!("DPoP {token}"))
            .header("dpop", proof)
            .body(Body::empty())
            .unwrap()
    };
    let proof = client.proof("/", &token).with_claim("htm", "POST");
    assert_eq!(ask(&api, call(proof.sign())).await.said(), "200");
    let answer = ask(&api, call("x".to_owned())).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(answer.header("grpc-status"), Some("16"));
    assert_eq!(
        answer.header("grpc-message"),
        Some("the DPoP proof is malformed or unsupported")
    );
    assert_eq!(answer.said(), "401 Bearer DPoP=invalid_dpop_proof");
}

/// No log event, `Debug` output or response contains a proof, a nonce or a token.
#[tokio::test]
async fn credentials_are_neither_logged_nor_echoed() {
    let server = server();
    let nonces = tower_oauth::token::DpopNonceKey::from_bytes(&[7; 32]).unwrap();
    let dpop = dpop(&server).with_nonces(nonces.clone());
    let layer = layer(&server).with_dpop(dpop.clone());
    assert_eq!(format!("{nonces:?}"), "DpopNonceKey(..)");
    assert!(!format!("{dpop:?} {layer:?}").contains("7, 7"));
    let api = api(layer);
    let client = Client::new(&server);
    let token = client.mint().with_claim("x", "marked-claim").sign();
    let proof = client
        .proof("/", &token)
        .with_claim("jti", "marked-identifier");
    let refused = proof.clone().with_claim("htu", "https://marked.example/");
    let logs = crate::support::logs::Logs::default();
    let _recording = logs.record();
    for proof in [proof, refused] {
        let proof = proof.sign();
        let answer = show(&api, &token, &proof).await;
        assert_eq!(answer.status, 401);
        let response = format!("{:?} {}", answer.headers, answer.body);
        let logged = logs.take();
        assert!(logged.contains("the DPoP proof"), "{logged}");
        for secret in [
            proof.as_str(),
            token.as_str(),
            "marked",
            client.key.thumbprint().as_str(),
        ] {
            assert!(!response.contains(secret), "{response}");
            assert!(!logged.contains(secret), "{logged}");
        }
    }
}

/// A request that waits for the key set, and then for the replay store.
#[tokio::test]
async fn the_first_request_waits_for_the_keys_and_then_for_the_store() {
    let server = server();
    let api = Router::new()
        .route(
            "/",
            get(async || "in").layer(ScopeLayer::all("read").unwrap()),
        )
        .layer(dpop_layer(&server));
    let client = Client::new(&server);
    let token = client.mint().with_scope("read").sign();
    assert_eq!(server.count(Endpoint::KeySet), 0);
    let answer = show(&api, &token, &client.proof("/", &token).sign()).await;
    assert_eq!(answer.body, "in");
    let answer = show(&api, &token, &client.proof("/", &token).sign()).await;
    assert_eq!(answer.body, "in");
    assert_eq!(server.count(Endpoint::KeySet), 1);
}

/// Both `Dpop` and the testing client default to the system clock.
#[tokio::test]
async fn the_default_clock_is_the_system_clock() {
    let server = crate::support::still_server(api::ISSUER)
        .unwrap()
        .with_algorithm(Algorithm::Es256);
    let now = tower_oauth::clock::SystemClock::default().now();
    let now = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    server
        .clock()
        .adjust_wall_clock(i64::try_from(now).unwrap() - server.clock().unix_seconds());
    let layer = BearerLayer::jwt(&server.authorization_server(), AUDIENCE).unwrap();
    let api = api(layer.with_dpop(Dpop::new(AUDIENCE).unwrap()));
    let key = DpopKey::new(Algorithm::Es256);
    let token = server
        .access_token()
        .with_audience(AUDIENCE)
        .bound_to(&key)
        .sign();
    let proof = key.proof("GET", AUDIENCE).with_access_token(&token).sign();
    assert_eq!(show(&api, &token, &proof).await.said(), "200");
    assert_eq!(show(&api, &token, &proof).await.kind(), Some(REPLAYED));
}

/// RFC 9449 §7.2: neither another token source nor the token cache makes a bound token usable without a proof.
#[tokio::test]
async fn a_bound_token_requires_a_proof_from_every_token_source() {
    let server = server();
    let cookie = TokenSource::cookie("t").unwrap();
    let custom = TokenSource::custom(|headers, _| headers.get("x-token").cloned());
    let bearer = dpop_layer(&server)
        .optional()
        .add_token_source(cookie)
        .add_token_source(custom);
    let app = api(bearer).layer(FormTokenLayer::new());
    let client = Client::new(&server);
    let token = client.token();
    let good = client.proof("/", &token).sign();
    assert_eq!(show(&app, &token, &good).await.said(), "200");

    let form = || {
        let kind = "application/x-www-form-urlencoded";
        Request::post("/").header(CONTENT_TYPE, kind)
    };
    let body = || Body::from(format!("access_token={token}"));
    let proof = |method: &str| {
        let proof = client.proof("/", &token).with_claim("htm", method);
        proof.sign()
    };
    let get = || Request::get("/").header("dpop", proof("GET"));
    let cases = [
        (
            "cookie",
            get()
                .header("cookie", format!("t={token}"))
                .body(Body::empty()),
            401,
        ),
        (
            "custom",
            get().header("x-token", &token).body(Body::empty()),
            401,
        ),
        (
            "form",
            form().header("dpop", proof("POST")).body(body()),
            401,
        ),
        (
            "form and header",
            form()
                .header(AUTHORIZATION, format!("DPoP {token}"))
                .body(body()),
            400,
        ),
        (
            "cookie and header",
            get()
                .header(AUTHORIZATION, format!("DPoP {token}"))
                .header("cookie", format!("t={token}"))
                .body(Body::empty()),
            400,
        ),
    ];
    for (name, request, status) in cases {
        let answer = ask(&app, request.unwrap()).await;
        assert_eq!(answer.status.as_u16(), status, "{name}");
        if status == 401 {
            assert_eq!(answer.kind(), Some(Why::Bound), "{name}");
        }
    }
}

/// A proof is for one target, and not for one that a router or another spelling makes look equal.
#[tokio::test]
async fn a_proof_is_accepted_once_for_all_spellings_of_its_target() {
    let server = server();
    let client = Client::new(&server);
    let token = client.token();
    let dpop = dpop(&server)
        .add_base_url("https://other.example.test")
        .unwrap();
    let inner = Router::new()
        .fallback(any(async || "here"))
        .layer(layer(&server).with_dpop(dpop));
    let app = Router::new().nest("/in", inner);
    let mut wrong = Vec::new();
    for (name, path, htu, status) in [
        ("whole path", "/in/a", "https://api.example.test/in/a", 200),
        (
            "second name",
            "/in/b",
            "https://other.example.test/in/b",
            200,
        ),
        ("inner path", "/in/a", "https://api.example.test/a", 401),
        ("above", "/in/../a", "https://api.example.test/in/a", 401),
        ("slashes", "/in//a", "https://api.example.test/in/a", 401),
        ("dot", "/in/a", "https://api.example.test./in/a", 401),
        (
            "escaped slash",
            "/in/a%2Fb",
            "https://api.example.test/in/a/b",
            401,
        ),
        (
            "absolute",
            "http://evil.test/in/c",
            "http://evil.test/in/c",
            401,
        ),
    ] {
        let proof = client.proof("/", &token).with_claim("htu", htu).sign();
        let answer = ask(&app, request(path, &format!("DPoP {token}"), &proof)).await;
        if answer.status.as_u16() != status {
            wrong.push(format!("{name}: {}", answer.status));
        }
    }
    // One `jti` with two spellings of the target is a replay.
    let twice = client.proof("/", &token).with_claim("jti", "once");
    for (htu, status) in [
        ("https://api.example.test/in/%7Ea", 200),
        ("HTTPS://api.example.test:443/in/x/../~a?q", 401),
    ] {
        let proof = twice.clone().with_claim("htu", htu).sign();
        let answer = ask(&app, request("/in/~a", &format!("DPoP {token}"), &proof)).await;
        assert_eq!(answer.status.as_u16(), status, "{htu}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
