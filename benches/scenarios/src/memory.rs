//! P7: what remembered verdicts take.

use std::fs;

use bench_support::alloc;
use bench_support::fixture::AUDIENCE;
use bench_support::subject::router;
use tower_oauth::testing::{TestSigningKey, TestServer};
use tower_oauth::{Algorithm, AuthorizationServer, BearerLayer};

use crate::Finding;
use crate::api::Api;
use crate::fixture::{now, payload};

const TOKENS: usize = 100_000;
const SAMPLE: usize = 500;
const ROOM: usize = 512 << 20;
const BOUND: usize = 16 << 20;

pub async fn remembered() -> Vec<Finding> {
    let (server, _socket) = TestServer::start("127.0.0.1:0").await.expect("a socket");
    // The same token again needs a signature that comes out the same again.
    let key = TestSigningKey::generate(Algorithm::EdDsa);
    server.sign_with(&key);
    server.publish_key(&key);
    let tokens = Tokens {
        server,
        key,
        now: now(),
    };

    let roomy = tokens.api(ROOM);
    let (resident, heap) = tokens.fill(&roomy).await;
    let kept = tokens.kept(&roomy).await;
    drop(roomy);
    let each = resident / TOKENS;
    let measured = format!(
        "{each} B <= 1100 resident, {} B of heap; {kept} of {SAMPLE} still remembered",
        heap / TOKENS,
    );
    let roomy = Finding::new("each", measured, each <= 1100 && kept == SAMPLE);

    let bounded = tokens.api(BOUND);
    let (_, heap) = tokens.fill(&bounded).await;
    let measured = format!("{heap} B of heap <= {BOUND} after {TOKENS} tokens");
    vec![roomy, Finding::new("bound", measured, heap <= BOUND)]
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

    /// By how much the process and its heap grow over so many tokens, each made, shown once and
    /// thrown away.
    async fn fill(&self, api: &Api) -> (usize, usize) {
        // Keys, connections and the first growth of everything else.
        for number in 0..100 {
            assert!(api.present(&self.token(TOKENS + number)).await.is_ok());
        }
        let before = resident();
        alloc::begin();
        for number in 0..TOKENS {
            assert!(api.present(&self.token(number)).await.is_ok());
        }
        let heap = alloc::end().grown;
        let resident = resident().saturating_sub(before);
        (resident, usize::try_from(heap).unwrap_or(0))
    }

    /// How many of a sample are remembered: those that cost no more allocations than a token that was
    /// shown just before.
    async fn kept(&self, api: &Api) -> usize {
        let mut kept = 0;
        for number in (0..TOKENS).step_by(TOKENS / SAMPLE) {
            let token = self.token(number);
            let first = allocations(api, &token).await;
            let second = allocations(api, &token).await;
            kept += usize::from(first <= second);
        }
        kept
    }
}

async fn allocations(api: &Api, token: &str) -> u64 {
    alloc::begin();
    assert!(api.present(token).await.is_ok());
    alloc::end().allocations
}

/// Bytes of this process that lie in memory.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("/proc");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kilobytes
        .and_then(|number| number.trim().parse::<usize>().ok())
        .expect("VmRSS")
        * 1024
}
