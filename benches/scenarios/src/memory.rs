//! `cache-memory`: the memory of cached tokens.

use std::fs;

use bench_support::alloc;
use bench_support::fixture::AUDIENCE;
use bench_support::subject::router;
use tower_oauth::testing::{TestServer, TestSigningKey};
use tower_oauth::{Algorithm, AuthorizationServer, BearerLayer};

use crate::Finding;
use crate::api::Api;
use crate::fixture::{now, payload};

const TOKENS: usize = 100_000;
const SAMPLE: usize = 500;
const LARGE: usize = 512 << 20;
const LIMIT: usize = 16 << 20;

pub async fn cache() -> Vec<Finding> {
    let (server, _socket) = TestServer::start("127.0.0.1:0").await.expect("a socket");
    // Ed25519 signatures are deterministic, so a token can be created again.
    let key = TestSigningKey::generate(Algorithm::EdDsa);
    server.sign_with(&key);
    server.publish_key(&key);
    let tokens = Tokens {
        server,
        key,
        now: now(),
    };

    let large = tokens.api(LARGE);
    let (resident, heap) = tokens.fill(&large).await;
    let cached = tokens.cached(&large).await;
    drop(large);
    let each = resident / TOKENS;
    let measured = format!(
        "{each} B <= 1100 resident, {} B of heap; {cached} of {SAMPLE} still cached",
        heap / TOKENS,
    );
    let large = Finding::new("for each token", measured, each <= 1100 && cached == SAMPLE);

    let limited = tokens.api(LIMIT);
    let (_, heap) = tokens.fill(&limited).await;
    let measured = format!("{heap} B of heap <= {LIMIT} after {TOKENS} tokens");
    vec![large, Finding::new("in total", measured, heap <= LIMIT)]
}

struct Tokens {
    server: TestServer,
    key: TestSigningKey,
    now: i64,
}

impl Tokens {
    fn api(&self, bytes: usize) -> Api {
        let handle = AuthorizationServer::new(self.server.issuer()).expect("an issuer");
        let layer = BearerLayer::jwt(&handle, AUDIENCE).expect("a layer");
        Api::of(router().layer(layer.with_token_cache(bytes)))
    }

    fn token(&self, number: usize) -> String {
        let payload = payload(self.server.issuer(), number, self.now);
        let mint = self.server.access_token().with_key(&self.key);
        mint.with_payload_bytes(payload).sign()
    }

    /// Returns by how many bytes the process and its heap grow while `TOKENS` tokens are sent, once each.
    async fn fill(&self, api: &Api) -> (usize, usize) {
        // Fetch keys, open connections and grow other buffers first.
        for number in 0..100 {
            assert!(api.send(&self.token(TOKENS + number)).await.is_ok());
        }
        let before = resident();
        alloc::begin();
        for number in 0..TOKENS {
            assert!(api.send(&self.token(number)).await.is_ok());
        }
        let heap = alloc::end().grown;
        let resident = resident().saturating_sub(before);
        (resident, usize::try_from(heap).unwrap_or(0))
    }

    /// Returns how many tokens of a sample are cached: those that cause no more allocations than a token
    /// that was just sent.
    async fn cached(&self, api: &Api) -> usize {
        let mut cached = 0;
        for number in (0..TOKENS).step_by(TOKENS / SAMPLE) {
            let token = self.token(number);
            let first = allocations(api, &token).await;
            let second = allocations(api, &token).await;
            cached += usize::from(first <= second);
        }
        cached
    }
}

async fn allocations(api: &Api, token: &str) -> u64 {
    alloc::begin();
    assert!(api.send(token).await.is_ok());
    alloc::end().allocations
}

/// Returns the resident memory of this process in bytes.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("/proc");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kilobytes
        .and_then(|number| number.trim().parse::<usize>().ok())
        .expect("VmRSS")
        * 1024
}
