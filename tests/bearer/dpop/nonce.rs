//! Server-provided nonces in DPoP proofs (RFC 9449 §8, §9).

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::HeaderName;
use axum::routing::get;
use http::Request;
use http::header::CACHE_CONTROL;
use tower_oauth::store::MemoryStore;
use tower_oauth::testing::TestServer;
use tower_oauth::token::{DpopNonceKey, ProofError, VerifyErrorKind};

use crate::support::api::{Answer, api, ask, good, layer, present, server};
use crate::support::dpop::{Client, dpop, request, show};

const NONCE_ASKED: &str = "401 Bearer DPoP=use_dpop_nonce";
const NONCE: &str = "dpop-nonce";

fn key(byte: u8) -> DpopNonceKey {
    DpopNonceKey::from_bytes(&[byte; 32]).unwrap()
}

fn node(server: &TestServer, nonces: DpopNonceKey) -> Router {
    api(layer(server).with_dpop(dpop(server).with_nonces(nonces)))
}

/// Sends a valid proof, with this nonce or without one.
async fn show_with(api: &Router, client: &Client, nonce: Option<&str>) -> Answer {
    let token = client.token();
    let proof = client.proof("/", &token);
    let proof = match nonce {
        Some(nonce) => proof.with_nonce(nonce),
        None => proof,
    };
    show(api, &token, &proof.sign()).await
}

/// Returns the nonce that a replica issues to a client without one.
async fn nonce_of(api: &Router, client: &Client) -> String {
    let answer = show_with(api, client, None).await;
    assert_eq!(answer.said(), NONCE_ASKED);
    answer.header(NONCE).unwrap().to_owned()
}

/// RFC 9449 §9: the response has a nonce, and the next request with it is accepted.
#[tokio::test]
async fn a_client_without_a_nonce_receives_one() {
    let server = server();
    let api = node(&server, key(1));
    let client = Client::new(&server);
    let answer = show_with(&api, &client, None).await;
    assert_eq!(answer.said(), NONCE_ASKED);
    assert_eq!(answer.kind(), Some(VerifyErrorKind::DpopNonce));
    assert_eq!(answer.header(CACHE_CONTROL.as_str()), Some("no-store"));
    let description = answer.challenges()[1]
        .parameter("error_description")
        .map(str::to_owned);
    assert_eq!(
        description.as_deref(),
        Some("the DPoP proof must contain the nonce of this response")
    );
    // `1*NQCHAR` (RFC 9449 §8.1), and short.
    let nonce = answer.header(NONCE).unwrap();
    let is_plain = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    assert!(
        nonce.bytes().all(is_plain) && (22..=64).contains(&nonce.len()),
        "{nonce}"
    );

    // A nonce may be used in several proofs.
    for _ in 0..3 {
        let answer = show_with(&api, &client, Some(nonce)).await;
        assert_eq!(answer.said(), "200");
        assert_eq!(answer.header(NONCE), None);
        assert_eq!(answer.header(CACHE_CONTROL.as_str()), None);
    }
}

/// RFC 9449 §11.3: a missing, expired, foreign or forged nonce is rejected.
#[tokio::test]
async fn only_a_current_nonce_of_this_server_is_accepted() {
    let server = server();
    let api = node(&server, key(1));
    let client = Client::new(&server);
    let own = nonce_of(&api, &client).await;
    let foreign = nonce_of(&node(&server, key(2)), &client).await;
    assert_ne!(own, foreign);
    let changed = |at: usize| {
        let other = if own.as_bytes()[at] == b'A' { "B" } else { "A" };
        let mut changed = own.clone();
        changed.replace_range(at..=at, other);
        changed
    };
    // The key id of one key with the tag of another.
    let mixed = format!("{}{}", &own[..6], &foreign[6..]);
    let cases = [
        ("foreign", foreign.clone()),
        ("forged key id", changed(0)),
        ("forged time", changed(12)),
        ("forged tag", changed(30)),
        ("mixed", mixed),
        ("cut", own[..37].to_owned()),
        ("longer", format!("{own}A")),
        ("padded", format!("{own}==")),
        ("empty", String::new()),
        ("a number", "1800000000".to_owned()),
        ("not ASCII", "\u{e9}".repeat(19)),
        ("4 KB", "A".repeat(4000)),
    ];
    for (name, nonce) in &cases {
        let answer = show_with(&api, &client, Some(nonce)).await;
        assert_eq!(answer.said(), NONCE_ASKED, "{name}");
        assert_eq!(answer.header(NONCE), Some(own.as_str()), "{name}");
    }
    assert_eq!(show_with(&api, &client, Some(&own)).await.said(), "200");
    // A nonce of another JSON type makes the proof invalid.
    let token = client.token();
    let proof = client.proof("/", &token).with_claim("nonce", 7).sign();
    let claims = VerifyErrorKind::DpopProof(ProofError::Claims);
    assert_eq!(show(&api, &token, &proof).await.kind(), Some(claims));
}

/// RFC 9449 §8.2: a nonce is issued for two minutes and accepted for two more.
#[tokio::test]
async fn the_response_to_a_previous_nonce_has_the_next_one() {
    let server = server();
    let clock = server.clock();
    // The clock of the test starts at the beginning of a period.
    assert_eq!(clock.unix_seconds() % 120, 0);
    let api = node(&server, key(1));
    let client = Client::new(&server);
    let first = nonce_of(&api, &client).await;
    clock.advance(Duration::from_secs(119));
    assert_eq!(nonce_of(&api, &client).await, first);
    assert_eq!(
        show_with(&api, &client, Some(&first)).await.header(NONCE),
        None
    );

    clock.advance(Duration::from_secs(1));
    let answer = show_with(&api, &client, Some(&first)).await;
    assert_eq!(answer.said(), "200");
    assert_eq!(answer.header(CACHE_CONTROL.as_str()), Some("no-store"));
    let second = answer.header(NONCE).unwrap().to_owned();
    assert_ne!(second, first);
    assert_eq!(
        show_with(&api, &client, Some(&second)).await.header(NONCE),
        None
    );

    clock.advance(Duration::from_secs(119));
    let answer = show_with(&api, &client, Some(&first)).await;
    assert_eq!(
        (answer.said().as_str(), answer.header(NONCE)),
        ("200", Some(second.as_str()))
    );
    clock.advance(Duration::from_secs(1));
    let answer = show_with(&api, &client, Some(&first)).await;
    assert_eq!(answer.said(), NONCE_ASKED, "stale");
    assert_ne!(answer.header(NONCE), Some(second.as_str()));
    assert_eq!(show_with(&api, &client, Some(&second)).await.said(), "200");
}

/// Also if the clocks of the replicas differ slightly.
#[tokio::test]
async fn replicas_with_the_same_key_accept_each_others_nonces() {
    let (here, there) = (server(), server());
    let (one, other) = (node(&here, key(1)), node(&there, key(1)));
    let (client, client_there) = (Client::new(&here), Client::new(&there));
    let nonce = nonce_of(&one, &client).await;
    assert_eq!(
        show_with(&other, &client_there, Some(&nonce)).await.said(),
        "200"
    );
    there.clock().advance(Duration::from_secs(120));
    let ahead = nonce_of(&other, &client_there).await;
    let answer = show_with(&one, &client, Some(&ahead)).await;
    assert_eq!(
        (answer.said().as_str(), answer.header(NONCE)),
        ("200", None)
    );
    there.clock().advance(Duration::from_secs(120));
    let far_ahead = nonce_of(&other, &client_there).await;
    assert_eq!(
        show_with(&one, &client, Some(&far_ahead)).await.said(),
        NONCE_ASKED
    );
}

/// The documented rotation procedure rejects no request.
#[tokio::test]
async fn nonce_keys_rotate_without_rejections() {
    let server = server();
    let client = Client::new(&server);
    let old = node(&server, key(1));
    // Every replica accepts the new key before one issues nonces with it.
    let between = node(&server, key(1).add_previous(key(2)));
    let new = node(&server, key(2).add_previous(key(1)));
    let old_nonce = nonce_of(&old, &client).await;
    assert_eq!(nonce_of(&between, &client).await, old_nonce);
    let new_nonce = nonce_of(&new, &client).await;
    for (name, api, nonce, said) in [
        ("the old at the new", &new, &old_nonce, "200"),
        ("the new at those between", &between, &new_nonce, "200"),
        ("the new at the old", &old, &new_nonce, NONCE_ASKED),
    ] {
        assert_eq!(
            show_with(api, &client, Some(nonce)).await.said(),
            said,
            "{name}"
        );
    }
}

/// The nonce is checked before the proof is recorded, and after all other checks.
#[tokio::test]
async fn a_proof_without_a_nonce_is_not_used_up() {
    let server = server();
    let store = MemoryStore::new().with_clock(server.clock());
    let dpop = dpop(&server).with_nonces(key(1)).with_store(store.clone());
    let api = api(layer(&server).with_dpop(dpop));
    let client = Client::new(&server);
    let token = client.token();
    let proof = client.proof("/", &token).with_claim("jti", "one");
    let asked = show(&api, &token, &proof.sign()).await;
    assert_eq!(asked.said(), NONCE_ASKED);
    assert!(store.is_empty());
    let nonce = asked.header(NONCE).unwrap();
    let answer = show(&api, &token, &proof.clone().with_nonce(nonce).sign()).await;
    assert_eq!(answer.said(), "200", "the same jti");
    // Another error is reported as such, without a nonce.
    for (proof, said) in [
        (
            proof.clone().with_claim("htm", "PUT"),
            "401 Bearer DPoP=invalid_dpop_proof",
        ),
        (
            proof.clone().with_broken_signature(),
            "401 Bearer DPoP=invalid_dpop_proof",
        ),
        (
            Client::new(&server).proof("/", &token),
            "401 Bearer DPoP=invalid_token",
        ),
    ] {
        let answer = show(&api, &token, &proof.sign()).await;
        assert_eq!((answer.said().as_str(), answer.header(NONCE)), (said, None));
    }
    // A request without DPoP receives no nonce.
    let bare = ask(&api, Request::get("/").body(Body::empty()).unwrap()).await;
    assert_eq!(
        (bare.said().as_str(), bare.header(NONCE)),
        ("401 Bearer DPoP", None)
    );
    let bearer = present(&api, &good(&server).sign()).await;
    assert_eq!(
        (bearer.said().as_str(), bearer.header(NONCE)),
        ("200", None)
    );
}

/// RFC 9449 §8.1, §8.2: one nonce field and `no-store`, whatever fields the handler sets.
#[tokio::test]
async fn a_response_has_one_nonce_and_is_not_stored() {
    let server = server();
    let handler = async || {
        let fields = [
            (HeaderName::from_static(NONCE), "the handler's"),
            (CACHE_CONTROL, "public, max-age=3600"),
            (HeaderName::from_static("cdn-cache-control"), "max-age=3600"),
            (HeaderName::from_static("surrogate-control"), "max-age=3600"),
            (HeaderName::from_static("x-other"), "kept"),
        ];
        (fields, "answer")
    };
    let dpop = dpop(&server).with_nonces(key(1));
    let api = Router::new()
        .route("/", get(handler))
        .layer(layer(&server).with_dpop(dpop));
    let client = Client::new(&server);
    let nonce = nonce_of(&api, &client).await;
    server.clock().advance(Duration::from_secs(120));
    let answer = show_with(&api, &client, Some(&nonce)).await;
    assert_eq!(answer.said(), "200");
    assert!(
        answer
            .header(NONCE)
            .is_some_and(|one| one != "the handler's" && one != nonce)
    );
    assert_eq!(answer.header(CACHE_CONTROL.as_str()), Some("no-store"));
    assert_eq!(answer.header("cdn-cache-control"), None);
    assert_eq!(answer.header("surrogate-control"), None);
    assert_eq!(answer.header("x-other"), Some("kept"));
}

/// gRPC responses have the nonce in their metadata.
#[tokio::test]
async fn grpc_clients_receive_nonces() {
    let server = server();
    let api = node(&server, key(1));
    let client = Client::new(&server);
    let token = client.token();
    let proof = client.proof("/", &token).with_claim("htm", "POST").sign();
    let mut call = request("/", &format!("DPoP {token}"), &proof);
    *call.method_mut() = http::Method::POST;
    call.headers_mut()
        .insert("content-type", "application/grpc".parse().unwrap());
    let answer = ask(&api, call).await;
    assert_eq!(answer.said(), "401 Bearer DPoP=use_dpop_nonce");
    assert_eq!(answer.header("grpc-status"), Some("16"));
    assert!(answer.header(NONCE).is_some());
}

#[test]
fn a_nonce_key_is_32_bytes_or_more_in_one_of_their_spellings() {
    let hex = format!("08{}", "07".repeat(31));
    assert!(DpopNonceKey::from_text(&hex).is_ok());
    assert!(DpopNonceKey::from_text(&format!("{hex}, {hex}")).is_ok());
    for text in [
        "",
        "secret",
        &hex[..62],
        &format!("{hex},"),
        &"07".repeat(32),
    ] {
        let error = DpopNonceKey::from_text(text).unwrap_err().to_string();
        assert!(error.starts_with("DPoP nonce key: "), "{error}");
    }
    for bytes in [&[7; 31][..], &[0; 32]] {
        assert!(DpopNonceKey::from_bytes(bytes).is_err());
    }
    let error = DpopNonceKey::from_env("TOWER_OAUTH_NO_SUCH_VARIABLE").unwrap_err();
    assert!(
        error
            .to_string()
            .contains("\"TOWER_OAUTH_NO_SUCH_VARIABLE\""),
        "{error}"
    );
    assert!(DpopNonceKey::generate().is_ok());
}

/// RFC 9449 §4.3 (11): a fresh nonce shows that a proof is recent, also to a client whose clock is wrong.
#[tokio::test]
async fn a_nonce_can_decide_instead_of_iat_and_the_proof_is_remembered_as_long() {
    let server = server();
    let store = MemoryStore::new().with_clock(server.clock());
    let by_nonce = dpop(&server)
        .with_nonces_instead_of_iat(key(1))
        .with_store(store.clone());
    let by_nonce = api(layer(&server).with_dpop(by_nonce));
    let both = node(&server, key(1));
    let client = Client::new(&server);
    let token = client.mint().with_expires_in(3600).sign();
    let nonce = nonce_of(&by_nonce, &client).await;
    let proof = |iat: serde_json::Value, nonce: &str| {
        let proof = client
            .proof("/", &token)
            .with_claim("iat", iat)
            .with_nonce(nonce);
        proof.with_claim("jti", "one").sign()
    };
    for (iat, expected) in [
        (
            serde_json::json!("1800000000"),
            "401 Bearer DPoP=invalid_dpop_proof",
        ),
        (
            serde_json::json!(null),
            "401 Bearer DPoP=invalid_dpop_proof",
        ),
        (serde_json::json!(1), "200"),
    ] {
        let answer = show(&by_nonce, &token, &proof(iat.clone(), &nonce)).await;
        assert_eq!(answer.said(), expected, "{iat}");
    }
    let slow = proof(serde_json::json!(1), &nonce);
    assert_eq!(
        show(&both, &token, &slow).await.said(),
        "401 Bearer DPoP=invalid_dpop_proof"
    );
    // The same `jti` is a replay until the nonce is not accepted any more.
    let mut outcomes = Vec::new();
    for _ in 0..20 {
        server.clock().advance(Duration::from_secs(30));
        outcomes.push(show(&by_nonce, &token, &slow).await.said());
    }
    let replays = outcomes
        .iter()
        .take_while(|said| said.contains("invalid_dpop_proof"))
        .count();
    assert!(replays >= 4, "{outcomes:?}");
    assert!(
        outcomes[replays..].iter().all(|said| said == NONCE_ASKED),
        "{outcomes:?}"
    );
    let early = client.proof("/", &token).without_claim("nonce").sign();
    assert_eq!(show(&by_nonce, &token, &early).await.said(), NONCE_ASKED);
}
