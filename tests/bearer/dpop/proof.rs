//! Validation of a single DPoP proof (RFC 9449 §4.3).

use axum::Router;
use axum::body::Body;
use http::Request;
use http::header::AUTHORIZATION;
use serde_json::{Value, json};
use tower_oauth::Algorithm;
use tower_oauth::testing::{DpopKey, DpopProof, TestServer};
use tower_oauth::token::{ProofError, VerifyErrorKind};

use crate::support::api::{api, ask, layer, server};
use crate::support::dpop::{Client, dpop, dpop_layer, request, show};

const PROOF_REFUSED: &str = "401 Bearer DPoP=invalid_dpop_proof";

/// An API, a client and an access token that is bound to its key.
struct Scene {
    server: TestServer,
    api: Router,
    client: Client,
    token: String,
}

impl Scene {
    async fn new() -> Self {
        let server = server();
        let api = api(dpop_layer(&server));
        let client = Client::new(&server);
        let token = client.token();
        let scene = Self {
            server,
            api,
            client,
            token,
        };
        let answer = show(&scene.api, &scene.token, &scene.good().sign()).await;
        assert_eq!(answer.said(), "200", "{answer:?}");
        scene
    }

    /// Returns a valid proof, which a test modifies.
    fn good(&self) -> DpopProof {
        self.client.proof("/", &self.token)
    }

    /// Sends every proof, and reports all unexpected results.
    async fn check(&self, cases: impl IntoIterator<Item = (&str, DpopProof, Option<ProofError>)>) {
        let cases = cases.into_iter();
        let texts = cases.map(|(name, proof, expect)| (name, proof.sign(), expect));
        self.check_texts(texts).await;
    }

    async fn check_texts(
        &self,
        cases: impl IntoIterator<Item = (&str, String, Option<ProofError>)>,
    ) {
        let mut wrong = Vec::new();
        for (name, proof, expect) in cases {
            let answer = show(&self.api, &self.token, &proof).await;
            let said = if expect.is_some() {
                PROOF_REFUSED
            } else {
                "200"
            };
            let kind = expect.map(VerifyErrorKind::DpopProof);
            if answer.said() != said || answer.kind() != kind {
                wrong.push(format!("{name}: {} {:?}", answer.said(), answer.kind()));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

/// RFC 9449 §4.3 (1), (2).
#[tokio::test]
async fn a_request_has_one_proof_in_one_field() {
    let scene = Scene::new().await;
    let authorization = format!("DPoP {}", scene.token);
    let bare = Request::get("/").header(AUTHORIZATION, &authorization);
    let answer = ask(&scene.api, bare.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.said(), PROOF_REFUSED, "no proof");
    let missing = VerifyErrorKind::DpopProof(ProofError::Missing);
    assert_eq!(answer.kind(), Some(missing));

    let twice = Request::get("/")
        .header(AUTHORIZATION, &authorization)
        .header("dpop", scene.good().sign())
        .header("dpop", scene.good().sign());
    let answer = ask(&scene.api, twice.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.said(), PROOF_REFUSED, "two fields");
    let repeated = VerifyErrorKind::DpopProof(ProofError::Repeated);
    assert_eq!(answer.kind(), Some(repeated));

    let (one, two) = (scene.good().sign(), scene.good().sign());
    let (head, rest) = one.split_once('.').unwrap();
    let huge = "A".repeat(1 << 16);
    scene
        .check_texts([
            (
                "a list of two",
                format!("{one}, {two}"),
                Some(ProofError::Repeated),
            ),
            (
                "a list of one",
                format!("{one},"),
                Some(ProofError::Repeated),
            ),
            ("empty", String::new(), Some(ProofError::Malformed)),
            ("two parts", format!("{head}."), Some(ProofError::Malformed)),
            (
                "four parts",
                format!("{one}.AA"),
                Some(ProofError::Malformed),
            ),
            ("padded", format!("{one}="), Some(ProofError::Malformed)),
            (
                "in quotes",
                format!("\"{one}\""),
                Some(ProofError::Malformed),
            ),
            (
                "with a space",
                format!("{head} .{rest}"),
                Some(ProofError::Malformed),
            ),
            (
                "an access token",
                scene.token.clone(),
                Some(ProofError::Type),
            ),
            (
                "64 KiB",
                format!("{head}.{huge}.AA"),
                Some(ProofError::Malformed),
            ),
            ("many dots", ".".repeat(8000), Some(ProofError::Malformed)),
            ("two proofs behind each other", one, None),
            ("and the second", two, None),
        ])
        .await;
    // hyper accepts field values that are not ASCII.
    let mut odd = request("/", &authorization, "");
    let bytes = http::HeaderValue::from_bytes(b"\xff\xfe").unwrap();
    odd.headers_mut().insert("dpop", bytes);
    assert_eq!(ask(&scene.api, odd).await.said(), PROOF_REFUSED);
}

/// RFC 9449 §4.3 (4), §11.5.
#[tokio::test]
async fn the_type_must_be_dpop_jwt() {
    let scene = Scene::new().await;
    let typ = |typ: &str| scene.good().with_header("typ", typ);
    let refused = Some(ProofError::Type);
    scene
        .check([
            ("JWT", typ("JWT"), refused),
            ("no typ", scene.good().without_header("typ"), refused),
            ("another case", typ("DPoP+JWT"), refused),
            ("in full", typ("application/dpop+jwt"), refused),
            ("an access token's", typ("at+jwt"), refused),
            ("empty", typ(""), refused),
            (
                "number",
                scene.good().with_header("typ", 1),
                Some(ProofError::Malformed),
            ),
            (
                "twice",
                scene.good().add_raw_header("typ", r#""dpop+jwt""#),
                Some(ProofError::Malformed),
            ),
            (
                "crit",
                scene.good().with_header("crit", json!(["b64"])),
                Some(ProofError::Malformed),
            ),
        ])
        .await;
}

/// RFC 9449 §4.3 (5), §11.6.
#[tokio::test]
async fn only_allowed_algorithms_are_accepted() {
    let scene = Scene::new().await;
    let alg = |alg: &str| scene.good().with_header("alg", alg);
    let refused = Some(ProofError::Algorithm);
    let jwk = scene.client.key.public_jwk().to_string();
    scene
        .check([
            ("none", alg("none"), refused),
            ("None", alg("None"), refused),
            ("HS256", scene.good().with_hmac(jwk), refused),
            ("ES256K", alg("ES256K"), refused),
            ("es256", alg("es256"), refused),
            ("no alg", scene.good().without_header("alg"), refused),
            ("number", scene.good().with_header("alg", 256), refused),
            ("not by default", alg("RS512"), refused),
            ("another one", alg("ES384"), Some(ProofError::Key)),
        ])
        .await;

    // The list can be configured.
    let only = dpop(&scene.server)
        .with_algorithms([Algorithm::EdDsa])
        .unwrap();
    let api = api(layer(&scene.server).with_dpop(only));
    let answer = show(&api, &scene.token, &scene.good().sign()).await;
    assert_eq!(answer.said(), PROOF_REFUSED);
    assert_eq!(answer.challenges()[1].parameter("algs"), Some("EdDSA"));
}

/// RFC 9449 §4.3 (5), RFC 7638: keys of every type, and their thumbprints.
#[tokio::test]
async fn proofs_with_every_allowed_algorithm_are_accepted() {
    let server = server();
    let api = api(dpop_layer(&server));
    for algorithm in [
        Algorithm::Rs256,
        Algorithm::Ps256,
        Algorithm::Es256,
        Algorithm::Es384,
        Algorithm::EdDsa,
    ] {
        let client = Client::with_algorithm(&server, algorithm);
        let token = client.token();
        let answer = show(&api, &token, &client.proof("/", &token).sign()).await;
        assert_eq!(answer.said(), "200", "{algorithm} {answer:?}");
    }
    let client = Client::with_algorithm(&server, Algorithm::EdDsa);
    let token = client.token();
    let renamed = client.proof("/", &token).with_header("alg", "Ed25519");
    assert_eq!(show(&api, &token, &renamed.sign()).await.said(), "200");
}

/// RFC 9449 §4.3 (6), (7).
#[tokio::test]
async fn the_key_is_public_and_fits_the_algorithm() {
    let scene = Scene::new().await;
    let own = scene.client.key.public_jwk();
    let with = |name: &str, value: Value| {
        let mut jwk = own.clone();
        jwk[name] = value;
        scene.good().with_header("jwk", jwk)
    };
    let p384 = DpopKey::new(Algorithm::Es384).public_jwk();
    let rsa = DpopKey::new(Algorithm::Rs256);
    let mut rsa_1024 = rsa.public_jwk();
    // 128 bytes in canonical base64url, with an odd last byte.
    rsa_1024["n"] = format!("{}E", &rsa_1024["n"].as_str().unwrap()[..170]).into();
    let weak = scene.good().with_header("alg", "RS256");
    let refused = Some(ProofError::Key);
    let mut cases = vec![
        ("no jwk", scene.good().without_header("jwk"), refused),
        (
            "oct",
            scene
                .good()
                .with_header("jwk", json!({"kty": "oct", "k": "AAAA"})),
            refused,
        ),
        (
            "RSA of 1024 bits",
            weak.with_header("jwk", rsa_1024),
            refused,
        ),
        (
            "RSA for ES256",
            scene.good().with_header("jwk", rsa.public_jwk()),
            refused,
        ),
        (
            "P-384 for ES256",
            scene.good().with_header("jwk", p384),
            refused,
        ),
        ("another crv", with("crv", json!("P-384")), refused),
        ("an unknown crv", with("crv", json!("P-257")), refused),
        ("off the curve", with("y", own["x"].clone()), refused),
        ("short coordinate", with("x", json!("AAAA")), refused),
        (
            "padded",
            with("x", json!(format!("{}=", own["x"].as_str().unwrap()))),
            refused,
        ),
        ("without y", with("y", Value::Null), refused),
        (
            "for another algorithm",
            with("alg", json!("ES384")),
            refused,
        ),
        ("for encryption", with("use", json!("enc")), refused),
        (
            "for signing alone",
            with("key_ops", json!(["sign"])),
            refused,
        ),
        (
            "string",
            scene.good().with_header("jwk", own.to_string()),
            refused,
        ),
        (
            "null",
            scene.good().with_header("jwk", Value::Null),
            refused,
        ),
        (
            "list",
            scene.good().with_header("jwk", json!([own])),
            refused,
        ),
        (
            "kid alone",
            scene
                .good()
                .without_header("jwk")
                .with_header("kid", scene.client.key.thumbprint()),
            refused,
        ),
        (
            "the keys of another client",
            scene
                .good()
                .without_header("jwk")
                .with_header("jku", "https://evil.example/jwks"),
            refused,
        ),
        ("a kid beside it", with("kid", json!("any")), None),
        ("its own algorithm", with("alg", json!("ES256")), None),
    ];
    for private in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
        cases.push(("private member", with(private, json!("AAAA")), refused));
        cases.push((
            "private member of another type",
            with(private, json!(null)),
            refused,
        ));
    }
    scene.check(cases).await;
}

/// RFC 9449 §4.3 (6).
#[tokio::test]
async fn the_signature_verifies_with_the_key_in_the_header() {
    let scene = Scene::new().await;
    let good = scene.good().sign();
    let (input, signature) = good.rsplit_once('.').unwrap();
    let (head, _) = input.split_once('.').unwrap();
    let other = scene.good().sign();
    let (_, rest) = other.split_once('.').unwrap();
    let mut der = String::from("MEUC");
    der.push_str(signature);
    let refused = Some(ProofError::Signature);
    scene
        .check_texts([
            (
                "broken",
                scene.good().with_broken_signature().sign(),
                refused,
            ),
            (
                "of another key",
                scene.good().with_wrong_key().sign(),
                refused,
            ),
            (
                "of another proof",
                format!("{head}.{}.{signature}", rest.split_once('.').unwrap().0),
                refused,
            ),
            ("not of its length", format!("{input}.{der}"), refused),
            ("zeros", format!("{input}.{}", "A".repeat(86)), refused),
            ("empty", format!("{input}."), Some(ProofError::Malformed)),
        ])
        .await;
}

/// RFC 9449 §4.3 (8): methods are compared byte for byte.
#[tokio::test]
async fn htm_is_the_method_of_the_request() {
    let scene = Scene::new().await;
    let htm = |method: &str| scene.good().with_claim("htm", method);
    scene
        .check([
            ("get", htm("get"), Some(ProofError::Method)),
            ("POST for GET", htm("POST"), Some(ProofError::Method)),
            ("HEAD for GET", htm("HEAD"), Some(ProofError::Method)),
            ("with a space", htm("GET "), Some(ProofError::Method)),
            ("empty", htm(""), Some(ProofError::Method)),
            (
                "missing",
                scene.good().without_claim("htm"),
                Some(ProofError::Claims),
            ),
            (
                "list",
                scene.good().with_claim("htm", json!(["GET"])),
                Some(ProofError::Claims),
            ),
        ])
        .await;
    let posted = Request::post("/")
        .header(AUTHORIZATION, format!("DPoP {}", scene.token))
        .header("dpop", htm("POST").sign());
    let answer = ask(&scene.api, posted.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.said(), "200");
}

/// RFC 9449 §4.3 (9): the URL of the request, in any equivalent spelling.
#[tokio::test]
async fn htu_is_the_url_of_the_request() {
    let scene = Scene::new().await;
    let htu = |url: &str| scene.good().with_claim("htu", url);
    let refused = Some(ProofError::Target);
    let long = format!("https://api.example.test/{}", "a".repeat(4000));
    scene
        .check([
            ("other host", htu("https://evil.example/"), refused),
            (
                "host within a host",
                htu("https://api.example.test.evil.example/"),
                refused,
            ),
            (
                "host with a dot",
                htu("https://api.example.test./"),
                refused,
            ),
            ("http", htu("http://api.example.test/"), refused),
            (
                "http at the port of https",
                htu("http://api.example.test:443/"),
                refused,
            ),
            ("other port", htu("https://api.example.test:8443/"), refused),
            ("extra slash", htu("https://api.example.test//"), refused),
            (
                "another path",
                htu("https://api.example.test/read"),
                refused,
            ),
            ("%2F", htu("https://api.example.test/%2F"), refused),
            ("as it is", htu("https://api.example.test/"), None),
            ("no path", htu("https://api.example.test"), None),
            ("capitals", htu("HTTPS://API.Example.Test/"), None),
            ("default port", htu("https://api.example.test:443/"), None),
            (
                "query and fragment",
                htu("https://api.example.test/?x#y"),
                None,
            ),
            ("dot segments", htu("https://api.example.test/a/../"), None),
            ("user name", htu("https://user@api.example.test/"), refused),
            (
                "user name of another host",
                htu("https://api.example.test@evil.example/"),
                refused,
            ),
            (
                "backslash",
                htu("https://evil.example\\@api.example.test/"),
                refused,
            ),
            ("relative", htu("/"), refused),
            ("//evil", htu("//evil"), refused),
            ("//host", htu("//api.example.test/"), refused),
            ("empty", htu(""), refused),
            ("4 KB", htu(&long), refused),
            ("line end", htu("https://api.example.test/\n"), refused),
            ("not ASCII", htu("https://api.example.test/\u{e9}"), refused),
            (
                "tab in the host",
                htu("https://api.exa\tmple.test/"),
                refused,
            ),
            ("other scheme", htu("ftp://api.example.test/"), refused),
            (
                "list",
                scene
                    .good()
                    .with_claim("htu", json!(["https://api.example.test/"])),
                Some(ProofError::Claims),
            ),
            (
                "missing",
                scene.good().without_claim("htu"),
                Some(ProofError::Claims),
            ),
            (
                "100 KiB",
                htu(&"a".repeat(100 << 10)),
                Some(ProofError::Malformed),
            ),
        ])
        .await;
}

/// RFC 9449 §4.3 (9), RFC 3986 §6.2: both paths are normalized, and compared case-sensitively.
#[tokio::test]
async fn paths_are_compared_after_normalization() {
    let scene = Scene::new().await;
    // There are no such routes, so a request that the layer accepts has the status 404.
    let mut wrong = Vec::new();
    for (path, htu, fits) in [
        ("/a~b?x=1", "HTTPS://API.Example.test:443/a%7eb?x#y", true),
        ("/a%7Eb", "https://api.example.test/a~b", true),
        ("/A", "https://api.example.test/a", false),
        ("/a", "https://api.example.test/a/", false),
        ("/a/", "https://api.example.test/a", false),
        ("/a%2Fb", "https://api.example.test/a/b", false),
        ("/a%2fb", "https://api.example.test/a%2Fb", true),
        ("//a", "https://api.example.test/a", false),
        ("//a", "https://api.example.test//a", true),
        ("/a;v=1/%3B", "https://api.example.test/a;v=1/%3b", true),
        ("/a/b", "https://api.example.test/a/./x/../b", true),
        ("/%61", "https://api.example.test/a", true),
        ("/a%zz", "https://api.example.test/a%zz", false),
        ("/a?q", "https://api.example.test/a", true),
        ("https://evil.example/a", "https://evil.example/a", false),
        ("https://evil.example/a", "https://api.example.test/a", true),
    ] {
        let proof = scene.good().with_claim("htu", htu).sign();
        let request = request(path, &format!("DPoP {}", scene.token), &proof);
        let answer = ask(&scene.api, request).await;
        let expect = if fits { "404" } else { PROOF_REFUSED };
        if answer.said() != expect {
            wrong.push(format!("{path} {htu}: {}", answer.said()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// RFC 9449 §4.3 (9), RFC 3986 §6.2.2.3: dot segments are removed before URLs are compared, so a proof for one path would
/// be valid for a service that interprets another.
#[tokio::test]
async fn a_request_path_with_dot_segments_is_rejected() {
    let scene = Scene::new().await;
    let mut wrong = Vec::new();
    for (path, named) in [
        ("/admin/../x", "/x"),
        ("/admin/../x", "/admin/../x"),
        ("/admin/%2e%2e/x", "/x"),
        ("/admin/.%2E/x", "/x"),
        ("/admin/%2e./x", "/x"),
        ("/admin/%2E%2E/x", "/admin/%2E%2E/x"),
        ("/admin/./x", "/admin/x"),
        ("/admin/%2e/x", "/admin/x"),
        ("/../x", "/x"),
        ("/x/..", "/"),
        ("/x/.", "/x/"),
        ("/x/%2E", "/x/"),
        ("/x/%2e%2E", "/"),
        ("/admin\\..\\x", "/admin\\..\\x"),
        ("/admin\\x", "/admin/x"),
        ("/admin\\x", "/admin\\x"),
        ("/admin%5Cx", "/admin%5Cx"),
        ("/admin%5c..%5cx", "/admin%5C..%5Cx"),
        ("/x%00", "/x%00"),
        ("/x%0d%0aa", "/x%0D%0Aa"),
        ("/x%1F", "/x%1F"),
        ("/x%7f", "/x%7F"),
        ("https://evil.example/admin/../x", "/x"),
    ] {
        let htu = format!("https://api.example.test{named}");
        let proof = scene.good().with_claim("htu", &*htu).sign();
        let request = request(path, &format!("DPoP {}", scene.token), &proof);
        let answer = ask(&scene.api, request).await;
        if answer.said() != PROOF_REFUSED {
            wrong.push(format!("{path} {named}: {}", answer.said()));
        }
        let kind = answer.kind();
        if !matches!(
            kind,
            Some(VerifyErrorKind::DpopProof(ProofError::AmbiguousTarget(_)))
        ) {
            wrong.push(format!("{path} {named}: {kind:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// RFC 9449 §4.3 (11): created within the last minute, or a few seconds ahead.
#[tokio::test]
async fn iat_is_within_the_window() {
    let scene = Scene::new().await;
    let now = scene.server.clock().unix_seconds();
    let iat = |seconds: i64| scene.good().with_claim("iat", now + seconds);
    let raw = |json: &str| scene.good().with_raw_claim("iat", json);
    let refused = Some(ProofError::Time);
    scene
        .check([
            ("a minute ago", iat(-60), None),
            ("old", iat(-61), refused),
            ("ten seconds ahead", iat(10), None),
            ("future", iat(11), refused),
            ("years ago", raw("0"), refused),
            ("float", raw(&format!("{now}.5")), None),
            (
                "string",
                scene.good().with_claim("iat", now.to_string()),
                Some(ProofError::Claims),
            ),
            (
                "missing",
                scene.good().without_claim("iat"),
                Some(ProofError::Claims),
            ),
            ("null", raw("null"), Some(ProofError::Claims)),
            ("negative", raw("-1"), Some(ProofError::Claims)),
            ("far beyond", raw("1e300"), Some(ProofError::Claims)),
            ("no number", raw("1e400"), Some(ProofError::Malformed)),
            (
                "twice",
                scene.good().add_raw_claim("iat", &now.to_string()),
                Some(ProofError::Malformed),
            ),
            ("exp ahead", scene.good().with_claim("exp", now + 30), None),
            (
                "exp past",
                scene.good().with_claim("exp", now - 10),
                refused,
            ),
            (
                "nbf ahead",
                scene.good().with_claim("nbf", now + 30),
                refused,
            ),
        ])
        .await;
}

/// RFC 9449 §4.3 (11).
#[tokio::test]
async fn the_window_is_configurable_within_limits() {
    use std::time::Duration;
    let scene = Scene::new().await;
    let now = scene.server.clock().unix_seconds();
    let wide = dpop(&scene.server)
        .with_max_age(Duration::from_secs(300))
        .unwrap();
    let wide = wide.with_leeway(Duration::ZERO).unwrap();
    let api = api(layer(&scene.server).with_dpop(wide));
    for (seconds, expect) in [
        (-300, "200"),
        (-301, PROOF_REFUSED),
        (0, "200"),
        (1, PROOF_REFUSED),
    ] {
        let proof = scene.good().with_claim("iat", now + seconds).sign();
        assert_eq!(
            show(&api, &scene.token, &proof).await.said(),
            expect,
            "{seconds}"
        );
    }
    for (max_age, leeway) in [(0, 0), (301, 0), (60, 61)] {
        let dpop = dpop(&scene.server).with_max_age(Duration::from_secs(max_age));
        let dpop = dpop.and_then(|dpop| dpop.with_leeway(Duration::from_secs(leeway)));
        assert!(dpop.is_err(), "{max_age} {leeway}");
    }
    assert!(dpop(&scene.server).with_algorithms([]).is_err());
}

/// A `jti` has 1 to 256 bytes.
#[tokio::test]
async fn jti_has_a_bounded_length() {
    let scene = Scene::new().await;
    let jti = |jti: &str| scene.good().with_claim("jti", jti);
    let refused = Some(ProofError::Claims);
    scene
        .check([
            ("missing", scene.good().without_claim("jti"), refused),
            ("number", scene.good().with_claim("jti", 7), refused),
            ("null", scene.good().with_claim("jti", Value::Null), refused),
            ("empty", jti(""), refused),
            ("256 bytes", jti(&"a".repeat(256)), None),
            ("257 bytes", jti(&"a".repeat(257)), refused),
            (
                "a megabyte",
                jti(&"a".repeat(1 << 20)),
                Some(ProofError::Malformed),
            ),
            ("one character", jti("a"), None),
            ("any text", jti("\u{0}\u{1f600} \n"), None),
        ])
        .await;
}

/// RFC 9449 §4.3 (12a): the digest in its canonical encoding.
#[tokio::test]
async fn ath_is_the_digest_of_the_access_token() {
    let scene = Scene::new().await;
    let other = scene.client.token();
    assert_ne!(other, scene.token);
    let digest = |token: &str| -> String {
        let proof = scene.good().with_access_token(token).sign();
        let payload = proof.split('.').nth(1).unwrap();
        let payload = base64_url(payload);
        let claims: Value = serde_json::from_slice(&payload).unwrap();
        claims["ath"].as_str().unwrap().to_owned()
    };
    let own = digest(&scene.token);
    let hex: String = base64_url(&own)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let ath = |ath: &str| scene.good().with_claim("ath", ath);
    let refused = Some(ProofError::Token);
    scene
        .check([
            ("as it is", ath(&own), None),
            (
                "missing",
                scene.good().without_claim("ath"),
                Some(ProofError::Claims),
            ),
            (
                "number",
                scene.good().with_claim("ath", 7),
                Some(ProofError::Claims),
            ),
            ("empty", ath(""), refused),
            (
                "wrong",
                ath(&own.chars().rev().collect::<String>()),
                refused,
            ),
            (
                "of another token",
                scene.good().with_access_token(&other),
                refused,
            ),
            (
                "digest of the whole field",
                scene
                    .good()
                    .with_access_token(&format!("DPoP {}", scene.token)),
                refused,
            ),
            ("padded", ath(&format!("{own}=")), refused),
            ("hex", ath(&hex), refused),
            ("cut", ath(&own[..42]), refused),
        ])
        .await;
}

/// RFC 9449 §4.3 (2), (3).
#[tokio::test]
async fn claims_are_strict_json() {
    let scene = Scene::new().await;
    let malformed = Some(ProofError::Malformed);
    scene
        .check([
            (
                "jti twice",
                scene.good().add_raw_claim("jti", r#""x""#),
                malformed,
            ),
            (
                "htu twice",
                scene
                    .good()
                    .add_raw_claim("htu", r#""https://api.example.test/""#),
                malformed,
            ),
            (
                "nested too deep",
                scene.good().with_raw_claim("x", &"[".repeat(20)),
                malformed,
            ),
            (
                "no JSON",
                scene.good().with_raw_claim("x", "tru"),
                malformed,
            ),
            (
                "a nonce that was not requested",
                scene.good().with_nonce("any"),
                None,
            ),
            (
                "a nonce that is not a string",
                scene.good().with_claim("nonce", 7),
                Some(ProofError::Claims),
            ),
            (
                "unknown claims",
                scene.good().with_claim("x", json!({"y": [1]})),
                None,
            ),
        ])
        .await;
}

fn base64_url(text: &str) -> Vec<u8> {
    let value = |byte: u8| -> u32 {
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        u32::try_from(alphabet.iter().position(|one| *one == byte).unwrap()).unwrap()
    };
    let bits: String = text
        .bytes()
        .map(|byte| format!("{:06b}", value(byte)))
        .collect();
    bits.as_bytes()
        .chunks_exact(8)
        .map(|byte| u8::from_str_radix(std::str::from_utf8(byte).unwrap(), 2).unwrap())
        .collect()
}
