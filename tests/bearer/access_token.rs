//! The serialization, header and signature of JWT access tokens (RFC 7515, RFC 8725, RFC 9068 §4).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::header::AUTHORIZATION;
use http::{Request, StatusCode};
use serde_json::json;
use tower_oauth::testing::{Endpoint, TestServer, TestSigningKey, TokenMint};
use tower_oauth::token::{JwtVerifier, TokenProfile, VerifyErrorKind, VerifyErrorKind as Why};
use tower_oauth::{Algorithm, BearerLayer};

use crate::support::api::{
    AUDIENCE, Case, ISSUER, Outcome, api, ask, case, check, good, layer, present, server, verifier,
    verifier_of,
};
use crate::support::der::{self, decode, encode};
use crate::support::logs::Logs;

const MALFORMED: Outcome = Outcome::InvalidToken(Why::Malformed);

const ALGORITHM: Outcome = Outcome::InvalidToken(Why::Algorithm);

const EXTENSION: Outcome = Outcome::InvalidToken(Why::Extension);

const TYPE: Outcome = Outcome::InvalidToken(Why::Type);

const SIGNATURE: Outcome = Outcome::InvalidToken(Why::Signature);

const UNKNOWN: Outcome = Outcome::InvalidToken(Why::UnknownKey);

const UNFIT: Outcome = Outcome::InvalidToken(Why::UnfitKey);

const AMBIGUOUS: Outcome = Outcome::InvalidToken(Why::AmbiguousKey);

/// Sends tokens that must be rejected without a key, to an API with cached keys and to one without, and checks that
/// neither sends a request.
async fn check_without_fetch(server: &TestServer, cases: &[Case]) {
    let warm = api(layer(server));
    assert_eq!(
        present(&warm, &good(server).sign()).await.outcome(),
        Outcome::Accepted
    );
    server.clear_requests();
    check(&warm, cases).await;
    check(&api(layer(server)), cases).await;
    assert!(
        server.requests().is_empty(),
        "a malformed token caused a request"
    );
}

const NOT_ACCESS: Outcome = Outcome::InvalidToken(VerifyErrorKind::NotAnAccessToken);

#[tokio::test]
async fn a_malformed_jws_is_rejected_without_a_fetch() {
    let server = server();
    let token = good(&server).sign();
    let [header, payload, signature] = token.split('.').collect::<Vec<_>>().try_into().unwrap();
    let jwe = encode(br#"{"alg":"dir","enc":"A256GCM","zip":"DEF"}"#);
    let mut odd = signature.to_owned();
    // The last base64url character of 64 bytes has two data bits and four zero bits.
    let last = odd.pop().unwrap();
    odd.push(match last {
        'A' => 'B',
        'Q' => 'R',
        'g' => 'h',
        _ => 'x',
    });
    let cases = [
        case("one dot", ".", MALFORMED),
        case("two dots", "..", MALFORMED),
        case("two segments", "a.b", MALFORMED),
        case("four segments", "a.b.c.d", MALFORMED),
        case("not a JWT", "junk", MALFORMED),
        case("no signature", format!("{header}.{payload}"), MALFORMED),
        case("a trailing dot", format!("{token}."), MALFORMED),
        case("a leading dot", format!(".{token}"), MALFORMED),
        case(
            "an empty header",
            format!(".{payload}.{signature}"),
            MALFORMED,
        ),
        case(
            "an empty payload",
            format!("{header}..{signature}"),
            MALFORMED,
        ),
        case(
            "an empty signature",
            format!("{header}.{payload}."),
            MALFORMED,
        ),
        case("a fourth segment", format!("{token}.AAAA"), MALFORMED),
        case("empty segments", format!("{jwe}....AAAA"), EXTENSION),
        case("a JWE", format!("{jwe}.AAAA.AAAA.AAAA.AAAA"), EXTENSION),
        case(
            "five segments with a JWS header",
            format!("{header}.{payload}.{signature}.AAAA.AAAA"),
            MALFORMED,
        ),
        case(
            "flattened",
            format!(r#"{{"protected":"{header}"}}"#),
            Outcome::InvalidRequest,
        ),
        case(
            "flattened, encoded",
            encode(format!(r#"{{"payload":"{payload}"}}"#)),
            MALFORMED,
        ),
        case("padding at the end", format!("{token}=="), MALFORMED),
        case(
            "padding inside",
            format!("{header}=.{payload}.{signature}"),
            Outcome::InvalidRequest,
        ),
        case(
            "plus",
            format!("{header}.{payload}.+{}", &signature[1..]),
            MALFORMED,
        ),
        case(
            "slash",
            format!("{header}.{payload}./{}", &signature[1..]),
            MALFORMED,
        ),
        case(
            "whitespace",
            format!("{header}. {payload}.{signature}"),
            Outcome::InvalidRequest,
        ),
        case(
            "trailing bits",
            format!("{header}.{payload}.{odd}"),
            MALFORMED,
        ),
    ];
    check_without_fetch(&server, &cases).await;
}

#[tokio::test]
async fn a_header_that_is_not_a_strict_json_object_is_rejected_without_a_fetch() {
    let server = server();
    let kid = server.key(Algorithm::Es256).kid().to_owned();
    let with = |text: &[u8]| good(&server).with_header_bytes(text).sign();
    let fields = format!(r#""alg":"ES256","typ":"at+jwt","kid":"{kid}""#);
    let deep = |levels: usize| {
        format!(
            "{{{fields},\"x\":{}{}}}",
            "[".repeat(levels),
            "]".repeat(levels)
        )
    };
    let cases = [
        case("an array", with(b"[]"), MALFORMED),
        case("a string", with(br#""x""#), MALFORMED),
        case("a number", with(b"1"), MALFORMED),
        case("null", with(b"null"), MALFORMED),
        case("no JSON", with(b"alg"), MALFORMED),
        case(
            "alg twice",
            good(&server).add_raw_header("alg", r#""ES256""#).sign(),
            MALFORMED,
        ),
        case(
            "alg twice, none last",
            good(&server).add_raw_header("alg", r#""none""#).sign(),
            MALFORMED,
        ),
        case(
            "kid twice",
            good(&server).add_raw_header("kid", r#""x""#).sign(),
            MALFORMED,
        ),
        case(
            "alg twice after unescaping",
            with(format!(r#"{{{fields},"\u0061lg":"ES256"}}"#).as_bytes()),
            MALFORMED,
        ),
        case(
            "100 000 deep",
            with(deep(100_000).as_bytes()),
            Outcome::InvalidToken(Why::TooLong),
        ),
        case("as deep as fits", with(deep(5_000).as_bytes()), MALFORMED),
        case("seventeen deep", with(deep(16).as_bytes()), MALFORMED),
        case(
            "invalid UTF-8",
            with(
                &[
                    b"{\"alg\":\"ES256\",\"typ\":\"at+jwt\",\"x\":\"",
                    &b"\xff\xfe"[..],
                    b"\"}",
                ]
                .concat(),
            ),
            MALFORMED,
        ),
        case(
            "a byte order mark",
            with(format!("\u{feff}{{{fields}}}").as_bytes()),
            MALFORMED,
        ),
        case(
            "a lone surrogate",
            with(format!(r#"{{{fields},"x":"\ud800"}}"#).as_bytes()),
            MALFORMED,
        ),
        case(
            "a lone surrogate as a name",
            with(format!(r#"{{{fields},"\udc00":1}}"#).as_bytes()),
            MALFORMED,
        ),
        case(
            "UTF-16",
            with(
                &"{}"
                    .encode_utf16()
                    .flat_map(u16::to_be_bytes)
                    .collect::<Vec<_>>(),
            ),
            MALFORMED,
        ),
        case(
            "trailing text",
            with(format!("{{{fields}}} {{}}").as_bytes()),
            MALFORMED,
        ),
        case(
            "a trailing comma",
            with(format!("{{{fields},}}").as_bytes()),
            MALFORMED,
        ),
        case(
            "a comment",
            with(format!("{{{fields}}}//").as_bytes()),
            MALFORMED,
        ),
        case(
            "a NUL behind it",
            with(format!("{{{fields}}}\0").as_bytes()),
            MALFORMED,
        ),
        case(
            "sixteen deep is read",
            with(deep(15).as_bytes()),
            Outcome::Accepted,
        ),
    ];
    let (strict, fine) = cases.split_at(cases.len() - 1);
    check_without_fetch(&server, strict).await;
    check(&api(layer(&server)), fine).await;
}

#[tokio::test]
async fn an_algorithm_that_is_not_allowed_is_rejected_without_a_fetch() {
    let server = server();
    let rsa = server.key(Algorithm::Rs256);
    let jwk = rsa.public_jwk();
    let spki = der::rsa_public_key(&jwk);
    let pem = der::pem(&spki);
    let hmac = |secret: &[u8]| {
        good(&server)
            .with_hmac(secret)
            .with_header("kid", rsa.kid())
            .sign()
    };
    let named = |json: &str| good(&server).with_raw_header("alg", json).sign();
    let unsigned = |name: &str| {
        good(&server)
            .without_signature()
            .with_header("alg", name)
            .sign()
    };
    let none = good(&server).without_signature().sign();
    let signature = good(&server).sign();
    let signature = signature.rsplit('.').next().unwrap();
    let cases = [
        case("none", none.clone(), ALGORITHM),
        case(
            "none with a signature",
            format!("{none}{signature}"),
            ALGORITHM,
        ),
        case("None", unsigned("None"), ALGORITHM),
        case("NONE", unsigned("NONE"), ALGORITHM),
        case("nOnE", unsigned("nOnE"), ALGORITHM),
        case("none and a space", unsigned("none "), ALGORITHM),
        case(
            "no signature with an allowed alg",
            unsigned("ES256"),
            MALFORMED,
        ),
        case("lower case", named(r#""es256""#), ALGORITHM),
        case(
            "lower case RSA",
            good(&server)
                .with_key(&rsa)
                .with_header("alg", "rs256")
                .sign(),
            ALGORITHM,
        ),
        case("a space behind", named(r#""ES256 ""#), ALGORITHM),
        case("a NUL behind", named("\"ES256\\u0000\""), ALGORITHM),
        case("full-width letters", named("\"ＥＳ256\""), ALGORITHM),
        case(
            "missing",
            good(&server).without_header("alg").sign(),
            ALGORITHM,
        ),
        case("null", named("null"), ALGORITHM),
        case("a number", named("256"), ALGORITHM),
        case("a list", named(r#"["ES256"]"#), ALGORITHM),
        case("an object", named(r#"{"ES256":1}"#), ALGORITHM),
        case("empty", named(r#""""#), ALGORITHM),
        case(
            "HMAC under the public key in PEM",
            hmac(pem.as_bytes()),
            ALGORITHM,
        ),
        case(
            "without the last line end",
            hmac(pem.trim_end().as_bytes()),
            ALGORITHM,
        ),
        case(
            "PEM behind whitespace",
            hmac(format!("\n  {pem}").as_bytes()),
            ALGORITHM,
        ),
        case("SPKI in DER", hmac(&spki), ALGORITHM),
        case("the JWK", hmac(jwk.to_string().as_bytes()), ALGORITHM),
        case(
            "the modulus",
            hmac(&decode(jwk["n"].as_str().unwrap())),
            ALGORITHM,
        ),
        case("HMAC under an empty key", hmac(b""), ALGORITHM),
        case(
            "RS512",
            good(&server).with_algorithm(Algorithm::Rs512).sign(),
            ALGORITHM,
        ),
        case(
            "PS384",
            good(&server).with_algorithm(Algorithm::Ps384).sign(),
            ALGORITHM,
        ),
        case("ES256K", named(r#""ES256K""#), ALGORITHM),
        case("Ed448", named(r#""Ed448""#), ALGORITHM),
    ];
    check_without_fetch(&server, &cases).await;
}

#[tokio::test]
async fn only_the_allowed_algorithms_are_accepted() {
    let server = server();
    let all = [
        Algorithm::Rs256,
        Algorithm::Rs384,
        Algorithm::Rs512,
        Algorithm::Ps256,
        Algorithm::Ps384,
        Algorithm::Ps512,
        Algorithm::Es256,
        Algorithm::Es384,
        Algorithm::EdDsa,
    ];
    let default = [0, 3, 6, 7, 8];
    let sign = |algorithm| good(&server).with_algorithm(algorithm).sign();
    let tokens = all.map(sign);
    let api_of_default = api(layer(&server));
    for (at, token) in tokens.iter().enumerate() {
        let expect = if default.contains(&at) {
            Outcome::Accepted
        } else {
            ALGORITHM
        };
        let outcome = present(&api_of_default, token).await.outcome();
        assert_eq!(outcome, expect, "{}", all[at]);
        let only = api(verifier(&server).with_algorithms([all[at]]).unwrap());
        for (other, token) in tokens.iter().enumerate() {
            let expect = if other == at {
                Outcome::Accepted
            } else {
                ALGORITHM
            };
            let outcome = present(&only, token).await.outcome();
            assert_eq!(
                outcome, expect,
                "{} where {} is allowed",
                all[other], all[at]
            );
        }
    }
    // RFC 9864 §2.2: the fully-specified name of EdDSA with Ed25519.
    let ed25519 = good(&server)
        .with_algorithm(Algorithm::EdDsa)
        .with_header("alg", "Ed25519")
        .sign();
    assert_eq!(
        present(&api_of_default, &ed25519).await.outcome(),
        Outcome::Accepted
    );
}

#[tokio::test]
async fn an_unsupported_header_extension_is_rejected_without_a_fetch() {
    let server = server();
    let with = |name: &str, json: &str| good(&server).with_raw_header(name, json).sign();
    let cases = [
        case("a registered name", with("crit", r#"["exp"]"#), EXTENSION),
        case(
            "an unknown name",
            good(&server)
                .with_raw_header("crit", r#"["foo"]"#)
                .with_raw_header("foo", "1")
                .sign(),
            EXTENSION,
        ),
        case("empty", with("crit", "[]"), EXTENSION),
        case("a string", with("crit", r#""b64""#), EXTENSION),
        case("null", with("crit", "null"), EXTENSION),
        case("a name twice", with("crit", r#"["foo","foo"]"#), EXTENSION),
        case("crit itself", with("crit", r#"["crit"]"#), EXTENSION),
        case("b64 false", with("b64", "false"), EXTENSION),
        case("b64 true", with("b64", "true"), EXTENSION),
        case(
            "b64 false and critical",
            good(&server)
                .with_raw_header("crit", r#"["b64"]"#)
                .with_raw_header("b64", "false")
                .sign(),
            EXTENSION,
        ),
        case("a nested JWT", with("cty", r#""JWT""#), EXTENSION),
        case(
            "in lower case, in full",
            with("cty", r#""application/jwt""#),
            EXTENSION,
        ),
        case("zip", with("zip", r#""DEF""#), EXTENSION),
    ];
    check_without_fetch(&server, &cases).await;
}

#[tokio::test]
async fn the_type_of_another_token_is_rejected_without_a_fetch() {
    let server = server();
    let with = |json: &str| good(&server).with_raw_header("typ", json).sign();
    let cases = [
        case("JWT", with(r#""JWT""#), TYPE),
        case("missing", good(&server).without_header("typ").sign(), TYPE),
        case("a DPoP proof", with(r#""dpop+jwt""#), TYPE),
        case("a logout token", with(r#""logout+jwt""#), TYPE),
        case(
            "an introspection response",
            with(r#""token-introspection+jwt""#),
            TYPE,
        ),
        case("a security event", with(r#""secevent+jwt""#), TYPE),
        case("something longer", with(r#""at+jwtx""#), TYPE),
        case(
            "the prefix twice",
            with(r#""application/application/at+jwt""#),
            TYPE,
        ),
        case(
            "another tree of the same length",
            with(r#""applicatiom/at+jwt""#),
            TYPE,
        ),
        case("another tree", with(r#""text/at+jwt""#), TYPE),
        case("a parameter", with(r#""at+jwt;a=b""#), TYPE),
        case("empty", with(r#""""#), TYPE),
        case("a letter that only folds to t", with("\"AT+JWŦ\""), TYPE),
        case("a number", with("1"), MALFORMED),
        case("a list", with(r#"["at+jwt"]"#), MALFORMED),
        case("null", with("null"), MALFORMED),
    ];
    check_without_fetch(&server, &cases).await;
    let fine = [
        case("upper case", with(r#""AT+JWT""#), Outcome::Accepted),
        case(
            "in full",
            with(r#""application/at+jwt""#),
            Outcome::Accepted,
        ),
        case(
            "in full and upper case",
            with(r#""APPLICATION/AT+JWT""#),
            Outcome::Accepted,
        ),
        case(
            "with an escape",
            with(r#""at\u002bjwt""#),
            Outcome::Accepted,
        ),
    ];
    check(&api(layer(&server)), &fine).await;
}

#[tokio::test]
async fn each_profile_requires_its_mark_and_rejects_the_types_of_other_tokens() {
    let server = server();
    let token = |typ: &str| good(&server).with_header("typ", typ).with_scope("read");
    let keycloak = |mark: &str| token("JWT").with_claim("typ", mark).sign();
    let not_marked = Outcome::InvalidToken(Why::NotAnAccessToken);
    let claims = Outcome::InvalidToken(Why::Claims);
    let others = [
        "dpop+jwt",
        "logout+jwt",
        "secevent+jwt",
        "token-introspection+jwt",
        "id_token+jwt",
        "jose",
    ];
    for profile in [
        TokenProfile::Rfc9068,
        TokenProfile::Rfc9068Full,
        TokenProfile::Keycloak,
        TokenProfile::Generic,
    ] {
        let api = api(verifier(&server).with_profile(profile));
        for other in others {
            let outcome = present(&api, &token(other).with_claim("typ", "Bearer").sign())
                .await
                .outcome();
            assert_eq!(outcome, TYPE, "{profile:?} took {other}");
        }
    }
    let generic = [
        case("JWT", token("JWT").sign(), Outcome::Accepted),
        case(
            "missing",
            token("JWT").without_header("typ").sign(),
            Outcome::Accepted,
        ),
        case("at+jwt", token("at+jwt").sign(), Outcome::Accepted),
        case(
            "scp and cid",
            token("JWT")
                .without_claim("scope")
                .without_claim("client_id")
                .with_claim("scp", json!(["read"]))
                .with_claim("cid", "c")
                .sign(),
            Outcome::Accepted,
        ),
        case(
            "permissions and azp",
            token("JWT")
                .without_claim("scope")
                .without_claim("client_id")
                .with_claim("permissions", json!(["read"]))
                .with_claim("azp", "c")
                .sign(),
            Outcome::Accepted,
        ),
        case(
            "an empty mark",
            token("JWT")
                .without_claim("scope")
                .with_claim("permissions", json!([]))
                .sign(),
            not_marked,
        ),
        case(
            "a nonce",
            token("JWT").with_claim("nonce", "n").sign(),
            Outcome::Accepted,
        ),
        case(
            "nothing granted",
            token("JWT").without_claim("scope").sign(),
            not_marked,
        ),
        case(
            "no client",
            token("JWT").without_claim("client_id").sign(),
            not_marked,
        ),
        case(
            "at_hash",
            token("JWT").with_claim("at_hash", "x").sign(),
            not_marked,
        ),
        case(
            "c_hash",
            token("JWT").with_claim("c_hash", json!(null)).sign(),
            not_marked,
        ),
        case(
            "c_hash in a token of type at+jwt",
            token("at+jwt").with_claim("c_hash", "x").sign(),
            Outcome::Accepted,
        ),
    ];
    check(
        &api(verifier(&server).with_profile(TokenProfile::Generic)),
        &generic,
    )
    .await;
    let keycloak = [
        case("Bearer", keycloak("Bearer"), Outcome::Accepted),
        case(
            "Bearer without typ in the header",
            token("JWT")
                .without_header("typ")
                .with_claim("typ", "Bearer")
                .sign(),
            Outcome::Accepted,
        ),
        case("ID", keycloak("ID"), not_marked),
        case("Refresh", keycloak("Refresh"), not_marked),
        case("Offline", keycloak("Offline"), not_marked),
        case("Logout", keycloak("Logout"), not_marked),
        case("bearer", keycloak("bearer"), not_marked),
        case("no mark", token("JWT").sign(), not_marked),
        case(
            "a list",
            token("JWT").with_claim("typ", json!(["Bearer"])).sign(),
            not_marked,
        ),
        case(
            "a nonce",
            token("JWT")
                .with_claim("typ", "Bearer")
                .with_claim("nonce", "n")
                .sign(),
            Outcome::Accepted,
        ),
    ];
    check(
        &api(verifier(&server).with_profile(TokenProfile::Keycloak)),
        &keycloak,
    )
    .await;
    let full = [
        case("all there", good(&server).sign(), Outcome::Accepted),
        case("no sub", good(&server).without_claim("sub").sign(), claims),
        case(
            "no client_id",
            good(&server).without_claim("client_id").sign(),
            claims,
        ),
        case("no iat", good(&server).without_claim("iat").sign(), claims),
        case("no jti", good(&server).without_claim("jti").sign(), claims),
        case(
            "jti is a number",
            good(&server).with_claim("jti", 1).sign(),
            claims,
        ),
    ];
    check(
        &api(verifier(&server).with_profile(TokenProfile::Rfc9068Full)),
        &full,
    )
    .await;
    let lean = ["sub", "client_id", "iat", "jti"]
        .into_iter()
        .fold(good(&server), TokenMint::without_claim);
    assert_eq!(
        present(&api(layer(&server)), &lean.sign()).await.outcome(),
        Outcome::Accepted
    );
}

#[tokio::test]
async fn a_key_verifies_only_its_own_algorithm() {
    let server = server();
    let [es256, es384, rs256, ps256, eddsa] = [
        Algorithm::Es256,
        Algorithm::Es384,
        Algorithm::Rs256,
        Algorithm::Ps256,
        Algorithm::EdDsa,
    ]
    .map(|one| server.key(one));
    let api = api(layer(&server));
    let renamed = |key: &TestSigningKey, kid: &TestSigningKey| {
        good(&server)
            .with_key(key)
            .with_header("kid", kid.kid())
            .sign()
    };
    let cases = [
        case(
            "RS256 under the kid of an EC key",
            renamed(&rs256, &es256),
            UNFIT,
        ),
        case(
            "ES256 under the kid of an RSA key",
            renamed(&es256, &rs256),
            UNFIT,
        ),
        case(
            "EdDSA under the kid of an EC key",
            renamed(&eddsa, &es256),
            UNFIT,
        ),
        case(
            "ES256 under the kid of a P-384 key",
            renamed(&es256, &es384),
            UNFIT,
        ),
        case(
            "ES384 under the kid of a P-256 key",
            renamed(&es384, &es256),
            UNFIT,
        ),
        case(
            "PS256 under the kid of an RS256 key",
            renamed(&ps256, &rs256),
            UNFIT,
        ),
        case(
            "PS256 by the very key that is for RS256",
            good(&server)
                .with_key(&rs256)
                .with_header("alg", "PS256")
                .sign(),
            UNFIT,
        ),
        case(
            "RS256 by the very key that is for PS256",
            good(&server)
                .with_key(&ps256)
                .with_header("alg", "RS256")
                .sign(),
            UNFIT,
        ),
    ];
    check(&api, &cases).await;
    assert_eq!(
        server.count(Endpoint::KeySet),
        1,
        "a known kid causes no further fetch"
    );
}

#[tokio::test]
async fn an_rsa_key_without_alg_verifies_both_paddings_as_stated_in_the_header() {
    let server = server();
    let key = TestSigningKey::generate(Algorithm::Rs256);
    let mut jwk = key.public_jwk();
    jwk.as_object_mut().unwrap().remove("alg");
    server.publish_jwk(jwk);
    let pss = TestSigningKey::generate(Algorithm::Ps256);
    let mut jwk = pss.public_jwk();
    jwk.as_object_mut().unwrap().remove("alg");
    server.publish_jwk(jwk);
    let cases = [
        case(
            "RS256",
            good(&server).with_key(&key).sign(),
            Outcome::Accepted,
        ),
        case(
            "PS256",
            good(&server).with_key(&pss).sign(),
            Outcome::Accepted,
        ),
        case(
            "RS256 called PS256",
            good(&server)
                .with_key(&key)
                .with_header("alg", "PS256")
                .sign(),
            SIGNATURE,
        ),
        case(
            "PS256 called RS256",
            good(&server)
                .with_key(&pss)
                .with_header("alg", "RS256")
                .sign(),
            SIGNATURE,
        ),
        case(
            "RS256 called ES256",
            good(&server)
                .with_key(&key)
                .with_header("alg", "ES256")
                .sign(),
            UNFIT,
        ),
    ];
    check(&api(layer(&server)), &cases).await;
}

#[tokio::test]
async fn an_invalid_signature_is_rejected() {
    let server = server();
    let others = [
        Algorithm::Rs256,
        Algorithm::Ps256,
        Algorithm::Es384,
        Algorithm::EdDsa,
    ];
    others
        .iter()
        .for_each(|algorithm| drop(server.key(*algorithm)));
    let api = api(layer(&server));
    let token = good(&server).sign();
    let (input, signature) = token.rsplit_once('.').unwrap();
    let raw = decode(signature);
    let with = |signature: &[u8]| format!("{input}.{}", encode(signature));
    let other = good(&server).with_subject("mallory").sign();
    let shifted = [&[0][..], &raw].concat();
    let order = decode("_____wAAAAD__________7zm-q2nF56E87nKwvxjJVE");
    let (r, s) = raw.split_at(32);
    let cases = [
        case("DER", with(&der::ecdsa_signature(&raw)), SIGNATURE),
        case("r and s are zero", with(&[0; 64]), SIGNATURE),
        case("r is zero", with(&[&[0; 32], s].concat()), SIGNATURE),
        case("s is zero", with(&[r, &[0; 32]].concat()), SIGNATURE),
        case("r is the order", with(&[&order, s].concat()), SIGNATURE),
        case("s is the order", with(&[r, &order].concat()), SIGNATURE),
        case("63 bytes", with(&raw[..63]), SIGNATURE),
        case("65 bytes", with(&shifted), SIGNATURE),
        case(
            "the length of P-384",
            with(&[&[0; 16], r, &[0; 16], s].concat()),
            SIGNATURE,
        ),
        case(
            "a bit flipped",
            good(&server).with_broken_signature().sign(),
            SIGNATURE,
        ),
        case("truncated", with(&raw[..32]), SIGNATURE),
        case("one byte", with(&raw[..1]), SIGNATURE),
        case(
            "of another token",
            format!("{}.{signature}", other.rsplit_once('.').unwrap().0),
            SIGNATURE,
        ),
        case(
            "a foreign key under a known kid",
            good(&server).with_wrong_key().sign(),
            SIGNATURE,
        ),
        case("the token itself", token.clone(), Outcome::Accepted),
    ];
    check(&api, &cases).await;
    // The scalar plus the group order: signature malleability (RFC 8032 §8.4).
    let token = good(&server).with_algorithm(Algorithm::EdDsa).sign();
    let (input, signature) = token.rsplit_once('.').unwrap();
    let mut raw = decode(signature);
    let order = decode("7dP1XBpjEljWnPei3vneFAAAAAAAAAAAAAAAAAAAABA");
    let mut carry = 0;
    for (byte, add) in raw[32..].iter_mut().zip(order) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        *byte = u8::try_from(sum % 256).unwrap();
        carry = sum / 256;
    }
    let twin = format!("{input}.{}", encode(raw));
    check(&api, &[case("S and the order", twin, SIGNATURE)]).await;
    for algorithm in others {
        let token = good(&server).with_algorithm(algorithm).sign();
        let (input, signature) = token.rsplit_once('.').unwrap();
        let raw = decode(signature);
        let with = |signature: &[u8]| format!("{input}.{}", encode(signature));
        let cases = [
            case(
                "a bit flipped",
                good(&server)
                    .with_algorithm(algorithm)
                    .with_broken_signature()
                    .sign(),
                SIGNATURE,
            ),
            case("truncated", with(&raw[..raw.len() - 1]), SIGNATURE),
            case("a byte before", with(&[&[0][..], &raw].concat()), SIGNATURE),
            case("a byte behind", with(&[&raw[..], &[0]].concat()), SIGNATURE),
            case("zeros", with(&vec![0; raw.len()]), SIGNATURE),
            case("ones", with(&vec![0xff; raw.len()]), SIGNATURE),
            case("the token itself", token.clone(), Outcome::Accepted),
        ];
        check(&api, &cases).await;
    }
}

#[tokio::test]
async fn a_key_in_the_token_header_is_not_used() {
    let server = server();
    let api = api(layer(&server));
    assert_eq!(
        present(&api, &good(&server).sign()).await.outcome(),
        Outcome::Accepted
    );
    server.clear_requests();
    let attacker = TestSigningKey::generate(Algorithm::Es256);
    let known = server.key(Algorithm::Es256).kid().to_owned();
    let evil = "https://evil.example.test/jwks";
    let forged = |kid: &str| good(&server).with_key(&attacker).with_header("kid", kid);
    let cases = [
        case(
            "jwk",
            forged(&known)
                .with_header("jwk", attacker.public_jwk())
                .sign(),
            SIGNATURE,
        ),
        case(
            "jku",
            forged(&known).with_header("jku", evil).sign(),
            SIGNATURE,
        ),
        case(
            "x5u",
            forged(&known).with_header("x5u", evil).sign(),
            SIGNATURE,
        ),
        case(
            "x5c",
            forged(&known).with_header("x5c", json!(["MIIB"])).sign(),
            SIGNATURE,
        ),
        case(
            "a kid that is a URL",
            forged(&format!("{evil}#1")).sign(),
            UNKNOWN,
        ),
        case(
            "jwk and its kid",
            forged(attacker.kid())
                .with_header("jwk", attacker.public_jwk())
                .sign(),
            UNKNOWN,
        ),
    ];
    check(&api, &cases).await;
    let asked: Vec<String> = server
        .requests()
        .iter()
        .map(|one| one.uri().to_string())
        .collect();
    assert_eq!(
        asked,
        vec![format!("{ISSUER}/jwks"); 3],
        "the two unknown key ids were looked for, and once whether the key was replaced"
    );
    // The same header parameters are ignored if the signature is valid.
    let harmless = good(&server)
        .with_header("jku", evil)
        .with_header("jwk", attacker.public_jwk())
        .sign();
    assert_eq!(present(&api, &harmless).await.outcome(), Outcome::Accepted);
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn a_hostile_key_id_causes_at_most_one_fetch_and_is_in_no_request() {
    for kid in [
        "../../etc/passwd",
        "' OR 1=1 --",
        "\u{0}",
        "?a=b#c",
        "\u{202e}",
        "${jndi:ldap://x}",
        &"k".repeat(9_000),
        "",
    ] {
        let server = server();
        let api = api(layer(&server));
        let token = good(&server).with_header("kid", kid).sign();
        assert_eq!(present(&api, &token).await.outcome(), UNKNOWN, "{kid:.20}");
        assert!(
            server.count(Endpoint::KeySet) <= 2,
            "one to have a key set, one for the key"
        );
        assert!(server.requests().iter().all(
            |one| one.uri().path().starts_with("/.well-known/") || one.uri().path() == "/jwks"
        ));
        assert!(
            server
                .requests()
                .iter()
                .all(|one| one.uri().query().is_none())
        );
    }
    let server = server();
    let typed = |json: &str| good(&server).with_raw_header("kid", json).sign();
    let cases = [
        case("a number", typed("1"), MALFORMED),
        case("null", typed("null"), MALFORMED),
        case("a list", typed("[]"), MALFORMED),
        case("an object", typed("{}"), MALFORMED),
        case("true", typed("true"), MALFORMED),
    ];
    check_without_fetch(&server, &cases).await;
}

#[tokio::test]
async fn for_a_token_without_kid_up_to_three_suitable_keys_are_tried() {
    let server = server();
    // Keys for other algorithms are not suitable.
    server.key(Algorithm::Rs256);
    server.key(Algorithm::EdDsa);
    let token = good(&server).without_header("kid").sign();
    assert_eq!(
        present(&api(layer(&server)), &token).await.outcome(),
        Outcome::Accepted
    );
    let foreign = TestSigningKey::generate(Algorithm::Es256);
    let by_foreign = good(&server)
        .with_key(&foreign)
        .without_header("kid")
        .sign();
    let logs = Logs::default();
    let _recording = logs.record_only("key_id_missing");
    for keys in 2..=4 {
        server.publish_key(&TestSigningKey::generate(Algorithm::Es256));
        let api = api(layer(&server));
        let (expected, of_foreign) = match keys {
            4 => (AMBIGUOUS, AMBIGUOUS),
            _ => (Outcome::Accepted, Outcome::InvalidToken(Why::Signature)),
        };
        assert_eq!(present(&api, &token).await.outcome(), expected, "{keys}");
        let outcome = present(&api, &by_foreign).await.outcome();
        assert_eq!(outcome, of_foreign, "{keys}");
        // A key id that is present and unknown never falls back to trying keys.
        let unknown = good(&server).with_header("kid", "unknown").sign();
        assert_eq!(present(&api, &unknown).await.outcome(), UNKNOWN, "{keys}");
    }
    assert!(logs.text().contains("keys=4 limit=3"), "{}", logs.text());
    let forged = good(&server)
        .with_key(&TestSigningKey::generate(Algorithm::Es384))
        .without_header("kid")
        .sign();
    assert_eq!(
        present(&api(layer(&server)), &forged).await.outcome(),
        UNKNOWN,
        "no candidate"
    );
}

#[tokio::test]
async fn a_key_of_one_issuer_does_not_verify_a_token_of_another() {
    let ours = server();
    let theirs = crate::support::still_server("https://other.example.test")
        .unwrap()
        .with_algorithm(Algorithm::Es256);
    let (key, other) = (
        TestSigningKey::generate(Algorithm::Es256),
        TestSigningKey::generate(Algorithm::Es256),
    );
    let (key, other) = (key.with_kid("same"), other.with_kid("same"));
    ours.publish_key(&key);
    theirs.publish_key(&other);
    let at_ours = api(layer(&ours));
    let at_theirs = api(layer(&theirs));
    let token = |issuer: &TestServer, key| good(issuer).with_key(key).sign();
    assert_eq!(
        present(&at_ours, &token(&ours, &key)).await.outcome(),
        Outcome::Accepted
    );
    assert_eq!(
        present(&at_theirs, &token(&theirs, &other)).await.outcome(),
        Outcome::Accepted
    );
    assert_eq!(
        present(&at_ours, &token(&ours, &other)).await.outcome(),
        SIGNATURE
    );
    assert_eq!(
        present(&at_theirs, &token(&theirs, &key)).await.outcome(),
        SIGNATURE
    );
    let issuer = Outcome::InvalidToken(Why::Issuer);
    assert_eq!(
        present(&at_ours, &token(&theirs, &other)).await.outcome(),
        issuer
    );
}

#[tokio::test]
async fn layers_do_not_share_changed_settings() {
    let server = server();
    let handle = server.authorization_server();
    let strict = verifier_of(&handle);
    let lax = strict
        .clone()
        .with_profile(TokenProfile::Generic)
        .with_algorithms([Algorithm::Rs512])
        .unwrap();
    let other = BearerLayer::jwt(&handle, "https://other.example.test").unwrap();
    let token = good(&server).sign();
    let rs512 = good(&server)
        .with_algorithm(Algorithm::Rs512)
        .with_header("typ", "JWT")
        .with_scope("a")
        .sign();
    let [strict, lax, other] = [api(strict), api(lax), api(other)];
    assert_eq!(present(&strict, &token).await.outcome(), Outcome::Accepted);
    assert_eq!(present(&strict, &rs512).await.outcome(), ALGORITHM);
    assert_eq!(present(&lax, &rs512).await.outcome(), Outcome::Accepted);
    assert_eq!(present(&lax, &token).await.outcome(), ALGORITHM);
    assert_eq!(
        present(&other, &token).await.outcome(),
        Outcome::InvalidToken(Why::Audience)
    );
    assert_eq!(
        server.count(Endpoint::KeySet),
        1,
        "layers of one server share its keys"
    );
}

#[tokio::test]
async fn checks_run_in_the_order_of_their_cost() {
    let server = server();
    let broken = || good(&server).with_wrong_key();
    let unknown = TestSigningKey::generate(Algorithm::Es256);
    let far = || good(&server).with_key(&unknown);
    let chain = [
        case(
            "size before shape",
            "x".repeat(20_000),
            Outcome::InvalidToken(Why::TooLong),
        ),
        case(
            "shape before algorithm",
            good(&server)
                .without_signature()
                .with_payload_bytes("x")
                .add_raw_header("alg", "1")
                .sign(),
            MALFORMED,
        ),
        case(
            "algorithm before type",
            broken()
                .with_header("alg", "none")
                .with_header("typ", "x")
                .sign(),
            ALGORITHM,
        ),
        case(
            "type before issuer",
            broken()
                .with_header("typ", "x")
                .with_issuer("https://x.test")
                .sign(),
            TYPE,
        ),
        case(
            "issuer before times",
            far()
                .with_issuer("https://x.test")
                .with_expires_in(-999)
                .sign(),
            Outcome::InvalidToken(Why::Issuer),
        ),
        case(
            "times before key",
            far().with_expires_in(-999).sign(),
            Outcome::InvalidToken(Why::Expired),
        ),
        case(
            "types of claims before key",
            far().with_claim("sub", 1).sign(),
            Outcome::InvalidToken(Why::Claims),
        ),
    ];
    check_without_fetch(&server, &chain).await;
    let rest = [
        case(
            "key before audience",
            far().with_audience("x").sign(),
            UNKNOWN,
        ),
        case(
            "signature before audience",
            broken().with_audience("x").sign(),
            SIGNATURE,
        ),
        case(
            "signature before scope",
            broken().with_scope("read").sign(),
            SIGNATURE,
        ),
        case(
            "audience last",
            good(&server).with_audience("x").sign(),
            Outcome::InvalidToken(Why::Audience),
        ),
    ];
    check(&api(layer(&server)), &rest).await;
}

#[tokio::test]
async fn no_handler_runs_for_a_token_that_is_not_verified() {
    let server = server();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let api = Router::new()
        .route(
            "/",
            get(move || async move { counted.fetch_add(1, Ordering::SeqCst).to_string() }),
        )
        .layer(layer(&server));
    for token in [
        good(&server).with_broken_signature().sign(),
        good(&server).with_wrong_key().sign(),
        good(&server).with_audience("x").sign(),
        good(&server).with_expires_in(-99).sign(),
        good(&server)
            .with_key(&TestSigningKey::generate(Algorithm::Es256))
            .sign(),
    ] {
        let answer = present(&api, &token).await;
        assert!(matches!(answer.outcome(), Outcome::InvalidToken(_)));
        assert_eq!(answer.body, "");
    }
    assert_eq!(calls.load(Ordering::SeqCst), 0);
    present(&api, &good(&server).sign()).await;
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn json_escapes_and_white_space_do_not_change_a_token() {
    let server = server();
    let kid = server.key(Algorithm::Es256).kid().to_owned();
    let header =
        format!("\n{{ \"kid\" : \"{kid}\" ,\t\"\\u0061lg\":\"ES256\",\"typ\":\"at\\u002Bjwt\" }} ");
    let payload = format!(
        r#"{{"aud":"https:\/\/api.example.test","iss":"https:\/\/id.example.test","exp":{},"s\u0075b":"alice"}}"#,
        server.clock().unix_seconds() + 60
    );
    let token = good(&server)
        .with_header_bytes(header)
        .with_payload_bytes(payload)
        .sign();
    assert_eq!(
        present(&api(layer(&server)), &token).await.outcome(),
        Outcome::Accepted
    );
}

#[tokio::test]
async fn the_longest_token_is_accepted_and_one_more_byte_is_not() {
    let server = server();
    let api = api(layer(&server));
    let of = |length: usize| {
        good(&server)
            .with_algorithm(Algorithm::EdDsa)
            .with_claim("x", "x".repeat(length))
            .sign()
    };
    let padding = (16_384 - of(0).len()) * 3 / 4;
    let lengths = (padding - 4..=padding + 4).map(of);
    let (fits, rest): (Vec<_>, Vec<_>) = lengths.partition(|token| token.len() <= 16_384);
    assert!(!fits.is_empty() && !rest.is_empty());
    assert_eq!(
        present(&api, fits.last().unwrap()).await.outcome(),
        Outcome::Accepted
    );
    assert_eq!(
        present(&api, &rest[0]).await.outcome(),
        Outcome::InvalidToken(Why::TooLong)
    );
}

#[tokio::test]
async fn a_token_whose_subject_is_its_client_is_a_client_credentials_token() {
    use tower_oauth::VerifiedToken;
    let server = server();
    let api = Router::new()
        .route(
            "/",
            get(async |token: VerifiedToken| {
                format!(
                    "{:?} {:?} {}",
                    token.subject(),
                    token.client_id(),
                    token.is_client_only()
                )
            }),
        )
        .layer(layer(&server));
    for (mint, expect) in [
        (good(&server), r#"Some("alice") Some("test-client") false"#),
        (
            good(&server).with_subject("test-client"),
            r#"Some("test-client") Some("test-client") true"#,
        ),
        (
            good(&server).without_claim("sub"),
            r#"None Some("test-client") false"#,
        ),
        (
            good(&server).without_claim("client_id"),
            r#"Some("alice") None false"#,
        ),
        (
            good(&server)
                .without_claim("sub")
                .without_claim("client_id"),
            "None None false",
        ),
    ] {
        let request = Request::get("/").header(AUTHORIZATION, format!("Bearer {}", mint.sign()));
        assert_eq!(
            ask(&api, request.body(Body::empty()).unwrap()).await.body,
            expect
        );
    }
}

/// Some authorization servers issue refresh and ID tokens with all claims that a profile requires, and state their type
/// in another claim.
#[tokio::test]
async fn a_token_that_states_another_type_is_rejected() {
    let server = server();
    for profile in [
        TokenProfile::Generic,
        TokenProfile::Auth0,
        TokenProfile::Okta,
        TokenProfile::Entra,
    ] {
        let verifier = JwtVerifier::new(&server.authorization_server(), AUDIENCE).unwrap();
        let api = api(verifier.with_profile(profile));
        let token = |claim: &str, value: &str| {
            let token = good(&server).with_header("typ", "JWT").with_scope("read");
            let token = token.with_claim("scp", json!(["read"]));
            let token = token.with_claim("cid", "shop").with_claim("azp", "shop");
            token.with_claim(claim, value).sign()
        };
        for (claim, value, expect) in [
            ("typ", "Bearer", Outcome::Accepted),
            ("token_use", "access", Outcome::Accepted),
            ("token_type", "Bearer", Outcome::Accepted),
            ("typ", "Refresh", NOT_ACCESS),
            ("typ", "Offline", NOT_ACCESS),
            ("typ", "ID", NOT_ACCESS),
            ("token_use", "id", NOT_ACCESS),
            ("token_use", "refresh", NOT_ACCESS),
            ("token_type", "refresh", NOT_ACCESS),
            ("tokenName", "id_token", NOT_ACCESS),
            ("tokenName", "refresh_token", NOT_ACCESS),
            ("s_hash", "LDktKdoQak3Pk0cnXxCltA", NOT_ACCESS),
        ] {
            let outcome = present(&api, &token(claim, value)).await.outcome();
            assert_eq!(outcome, expect, "{profile:?} {claim} {value}");
        }
    }
}

/// RFC 7515 §5.2: every changed character makes a token invalid.
#[tokio::test]
async fn an_access_token_with_a_changed_character_is_rejected() {
    let server = server();
    let api = api(layer(&server));
    let good = good(&server).sign();
    let status = async |token: &str| present(&api, token).await.status;
    assert_eq!(status(&good).await, StatusCode::OK);
    for at in 0..good.len() {
        for other in ["A", "Q", "g", "w", "_", ".", "="] {
            let mut changed = good.clone();
            changed.replace_range(at..=at, other);
            let refused = status(&changed).await.is_client_error();
            assert!(refused || changed == good, "character {at}");
        }
    }
}
