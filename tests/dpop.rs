//! Tokens bound to a key, at the layer: who may use them, where, and how often (RFC 9449 §7, §11).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST, PROXY_AUTHORIZATION};
use http::{Request, StatusCode};
use serde_json::json;
use support::dpop::{Client, dpop, dpop_layer, request, show};
use support::{AUDIENCE, Outcome, api, ask, good, layer, present, present_at, server, soon};
use tower_oauth::bearer::{ClientCertificate, Mtls};
use tower_oauth::clock::Clock;
use tower_oauth::store::{Expect, Key, MemoryStore, Put, Record, Removed, Store, StoreError};
use tower_oauth::testing::{DpopKey, Endpoint, TestClient, TestServer};
use tower_oauth::token::{Dpop, ProofError, VerifyErrorKind};
use tower_oauth::{Algorithm, BearerLayer, ScopeLayer, VerifiedToken};

const PROOF_REFUSED: &str = "401 Bearer DPoP=invalid_dpop_proof";
const REPLAYED: VerifyErrorKind = VerifyErrorKind::DpopProof(ProofError::Replayed);

/// `V148`, `V149`, `V150`, `V124`, `D13` to `D16`: scheme, binding and key have to fit each other.
#[tokio::test]
async fn a_token_comes_by_the_scheme_it_was_made_for() {
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
            "C1 scheme in capitals",
            format!("DPOP {bound}"),
            Some(proof(&bound)),
            "200",
            None,
        ),
        ("bearer", format!("Bearer {unbound}"), None, "200", None),
        (
            "V148 another key",
            format!("DPoP {bound}"),
            Some(stolen),
            token_refused,
            Some(VerifyErrorKind::DpopKey),
        ),
        (
            "V149 bound as Bearer",
            format!("Bearer {bound}"),
            None,
            bearer_refused,
            Some(VerifyErrorKind::Bound),
        ),
        (
            "V149 bound as Bearer with its proof",
            format!("Bearer {bound}"),
            Some(proof(&bound)),
            bearer_refused,
            Some(VerifyErrorKind::Bound),
        ),
        (
            "V150 unbound as DPoP",
            format!("DPoP {unbound}"),
            Some(proof(&unbound)),
            token_refused,
            Some(VerifyErrorKind::NotBound),
        ),
        (
            "D14 unbound as DPoP without a proof",
            format!("DPoP {unbound}"),
            None,
            token_refused,
            Some(VerifyErrorKind::NotBound),
        ),
        (
            "D16 unbound as Bearer with a proof",
            format!("Bearer {unbound}"),
            Some(proof(&unbound)),
            bearer_refused,
            Some(VerifyErrorKind::StrayDpopProof),
        ),
        (
            "V148 a thumbprint in another case",
            format!("DPoP {by_case}"),
            Some(proof(&by_case)),
            token_refused,
            None,
        ),
        (
            "V148 a thumbprint with padding",
            format!("DPoP {padded}"),
            Some(proof(&padded)),
            token_refused,
            Some(VerifyErrorKind::Bound),
        ),
        (
            "a bad token with a good proof",
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

/// `V125`: however they come together, the bearer ones are refused, on a token that was verified before.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_bound_token_seen_before_is_no_bearer_token() {
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

/// `V124`, `V125`, `V130`, `D13`, `D17`: an opaque token is bound by what introspection says of it, and an
/// answer that is remembered binds it as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_opaque_token_is_bound_by_what_introspection_says() {
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
        assert_eq!(said, expect, "V124 V125");
    }
    assert_eq!(server.count(Endpoint::Introspection), 1);
    let stolen = show(&api, &token, &thief.proof("/", &token).sign()).await;
    assert_eq!(stolen.kind(), Some(VerifyErrorKind::DpopKey));
    assert_eq!(server.count(Endpoint::Introspection), 1);

    let bearer = client.mint().with_claim("token_type", "Bearer").opaque();
    let answer = show(&api, &bearer, &client.proof("/", &bearer).sign()).await;
    assert_eq!(answer.said(), "401 Bearer DPoP=invalid_token", "V130");
    let unbound = good(&server).with_claim("token_type", "DPoP").opaque();
    let answer = show(&api, &unbound, &client.proof("/", &unbound).sign()).await;
    assert_eq!(answer.said(), "401 Bearer DPoP=invalid_token", "D17");
}

/// `V156`: a token bound to a key and a certificate asks for both, and only both use its proof up.
#[tokio::test]
async fn one_of_two_bindings_is_not_enough() {
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
            "a layer of proofs alone",
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

/// `V10`, `C2`, `C8`, `D22`, `D25`: what is said, and on which scheme.
#[tokio::test]
async fn each_scheme_has_a_challenge_and_the_error_is_on_the_one_that_was_used() {
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
    // Schemes that are none of ours, and a proof alone, are no credentials.
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
        "400 Bearer=invalid_request DPoP=invalid_request",
        "V10"
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

    // `C6`: the scope layer further in knows which scheme it was.
    let proof = client.proof("/read", &token).sign();
    let answer = ask(&api, request("/read", &format!("DPoP {token}"), &proof)).await;
    assert_eq!(answer.said(), "403 Bearer DPoP=insufficient_scope");
    assert_eq!(answer.challenges()[1].parameter("scope"), Some("read"));
    let answer = present_at(&api, "/read", &good(&server).sign()).await;
    assert_eq!(answer.said(), "403 Bearer=insufficient_scope DPoP");
}

/// `D15`: without a `Dpop` nothing is offered, and bound tokens are refused as before.
#[tokio::test]
async fn a_layer_that_knows_no_proofs_takes_no_bound_tokens() {
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

/// `D27`: bound tokens alone, and `Bearer` is not offered.
#[tokio::test]
async fn where_it_is_required_bearer_is_neither_taken_nor_offered() {
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

/// `C5`: what is presented is judged, also where nothing has to be.
#[tokio::test]
async fn an_optional_layer_judges_proofs_that_are_shown() {
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

/// `D26`: neither the other field of credentials nor what could stand beside it is ever read.
#[tokio::test]
async fn credentials_for_a_proxy_are_not_for_us() {
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

/// `V144`, `V153`, `D18`, `D19`: a proof is good once, and only a good request uses it up.
#[tokio::test]
async fn a_proof_is_good_once_and_a_refused_request_does_not_use_it_up() {
    let server = server();
    let api = api(dpop_layer(&server));
    let client = Client::new(&server);
    let token = client.token();
    let proof = || client.proof("/", &token).with_claim("jti", "one");

    // Everything that refuses comes before the proof is remembered.
    let other = client
        .mint()
        .with_audience("https://other.example.test")
        .sign();
    for (name, token, refused) in [
        (
            "V153 bad signature",
            &token,
            proof().with_broken_signature(),
        ),
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
        ("V144 the same", good),
        ("V144 signed anew", proof().sign()),
        ("V144 other claims", proof().with_claim("x", 1).sign()),
        (
            "V144 the URL spelled otherwise",
            proof()
                .with_claim("htu", "HTTPS://API.example.test:443")
                .sign(),
        ),
    ] {
        let answer = show(&api, &token, &again).await;
        assert_eq!(answer.said(), PROOF_REFUSED, "{name}");
        assert_eq!(answer.kind(), Some(REPLAYED), "{name}");
    }

    // Within another context it is another identifier: another URL, another key.
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

/// `D18`: remembered from the first moment it can be shown to the last, and then no longer.
#[tokio::test]
async fn a_proof_is_remembered_as_long_as_it_could_be_shown() {
    let server = server();
    let clock = server.clock();
    let store = MemoryStore::new().with_clock(clock.clone());
    let api = api(layer(&server).with_dpop(dpop(&server).with_store(store.clone())));
    let client = Client::new(&server);
    let token = client.token();
    // Made ten seconds ahead, so that it fits for seventy.
    let ahead = clock.unix_seconds() + 10;
    let proof = client.proof("/", &token).with_claim("iat", ahead).sign();
    assert_eq!(show(&api, &token, &proof).await.said(), "200");
    for _ in 0..7 {
        clock.advance(Duration::from_secs(10));
        assert_eq!(show(&api, &token, &proof).await.kind(), Some(REPLAYED));
    }
    // A minute back on the wall, and it still fits and is still known.
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

/// `V145`, `D18`: of a hundred at once, one.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_hundred_equal_proofs_at_once_one_passes() {
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

/// `V146`, `D20`: a flood fills the store, and what was shown before stays refused.
#[tokio::test]
async fn a_flood_makes_nobody_forget() {
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
    // Bearer tokens need no store.
    assert_eq!(present(&api, &good(&server).sign()).await.said(), "200");
    // It mends itself when the first have ended.
    server.clock().advance(Duration::from_secs(131));
    let new = client.proof("/", &token).sign();
    assert_eq!(show(&api, &token, &new).await.said(), "200");
}

/// `D19`: requests that are refused leave nothing behind.
#[tokio::test]
async fn refused_requests_do_not_fill_the_store() {
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

/// A store that fails or never answers, and counts how often it was asked.
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

/// `V152`, `D21`: a store that is away accepts nothing and blames nobody.
#[tokio::test]
async fn a_store_that_is_away_is_an_outage() {
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
    // What is wrong by itself is told, and the store is not asked.
    assert_eq!(show(&api, &token, "x").await.said(), PROOF_REFUSED);
    assert_eq!(present(&api, &good(&server).sign()).await.said(), "200");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

/// `D21`: nobody waits for ever.
#[tokio::test]
async fn a_store_that_hangs_is_waited_for_two_seconds() {
    let server = server();
    let broken = Broken {
        hangs: true,
        asked: Arc::default(),
    };
    let api = api(layer(&server).with_dpop(dpop(&server).with_store(broken)));
    let client = Client::new(&server);
    let token = client.token();
    // The keys are at hand, so that the only sleep is the store's.
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

/// `D21`: what one process has seen, every other that shares the store knows.
#[tokio::test]
async fn processes_that_share_a_store_share_what_they_have_seen() {
    let server = server();
    let store = MemoryStore::new().with_clock(server.clock());
    let nodes =
        [(); 2].map(|()| api(layer(&server).with_dpop(dpop(&server).with_store(store.clone()))));
    let client = Client::new(&server);
    let token = client.token();
    let proof = client.proof("/", &token).sign();
    assert_eq!(show(&nodes[0], &token, &proof).await.said(), "200");
    assert_eq!(show(&nodes[1], &token, &proof).await.kind(), Some(REPLAYED));
    // So do layers made of one `Dpop`, without any store of one's own.
    let shared = dpop(&server);
    let nodes = [(); 2].map(|()| api(layer(&server).with_dpop(shared.clone())));
    let proof = client.proof("/", &token).sign();
    assert_eq!(show(&nodes[1], &token, &proof).await.said(), "200");
    assert_eq!(show(&nodes[0], &token, &proof).await.kind(), Some(REPLAYED));
}

/// `V141`, `C15`, `D9`: no field of a request says where it was sent.
#[tokio::test]
async fn no_field_of_a_request_says_where_it_was_sent() {
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
        // And none of them stands in the way.
        let answer = ask(&api, field(client.proof("/", &token).sign())).await;
        assert_eq!(answer.said(), "200", "{name}");
    }
    // Nor does the URI of the request itself, in the absolute form that HTTP/2 and proxies have.
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

/// `D28`: where a router takes a prefix off the path, the proof still names all of it.
#[tokio::test]
async fn under_a_nested_router_the_proof_names_the_whole_path() {
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

/// What axum's `nest` takes off counts too: dots in the prefix lead to the same handler.
#[tokio::test]
async fn under_a_nested_router_the_whole_path_must_be_without_dots() {
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

/// `D9`: behind a proxy that takes a prefix off, the prefix is a part of the base.
#[tokio::test]
async fn behind_a_proxy_the_base_url_holds_what_it_took_off() {
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

/// A gRPC caller is told the same in the metadata.
#[tokio::test]
async fn grpc_callers_are_told_the_same() {
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

/// `X3`: neither a proof nor a nonce nor a token is printed by anything that can be printed.
#[tokio::test]
async fn nothing_that_was_shown_is_logged_or_told() {
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
    let logs = support::logs::Logs::default();
    let _recording = logs.record();
    for proof in [proof, refused] {
        let proof = proof.sign();
        let answer = show(&api, &token, &proof).await;
        assert_eq!(answer.status, 401);
        let told = format!("{:?} {}", answer.headers, answer.body);
        let logged = logs.take();
        assert!(logged.contains("the DPoP proof"), "{logged}");
        for secret in [
            proof.as_str(),
            token.as_str(),
            "marked",
            client.key.thumbprint().as_str(),
        ] {
            assert!(!told.contains(secret), "{told}");
            assert!(!logged.contains(secret), "{logged}");
        }
    }
}

/// Keys that have to be fetched first, and a proof that has to be remembered then: one way for both.
#[tokio::test]
async fn the_first_request_of_all_waits_for_keys_and_store_in_turn() {
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

/// The system's clock is the default on both sides.
#[tokio::test]
async fn without_a_clock_of_its_own_it_is_the_systems() {
    let server = TestServer::new(support::ISSUER)
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
