//! Requests that try to bypass the layers of a resource server, or to deceive the service inside of them.

mod caches;
mod document;
mod optional;
mod slow_form;
mod status;
mod wire;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::routing::{any, get};
use http::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE};
use http::{HeaderMap, Request, StatusCode};
use serde::Deserialize;
use tower::ServiceExt as _;
use tower_oauth::bearer::{ClaimHeadersLayer, FormTokenLayer, Policy, TokenSource};
use tower_oauth::token::VerifyErrorKind as Why;
use tower_oauth::{BearerLayer, Claims, ScopeLayer, VerifiedToken};

use crate::support::api::{api, ask, good, layer, server, soon};
use crate::support::dpop::{Client, dpop, dpop_layer, request, show};

/// Returns the headers that the handler receives.
async fn seen(layers: impl FnOnce(Router) -> Router, request: Request<Body>) -> HeaderMap {
    let mirror = get(async |headers: HeaderMap| axum::Extension(Arc::new(headers)));
    let app = layers(Router::new().fallback(mirror));
    let response = soon(app.oneshot(request)).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let seen = response.extensions().get::<Arc<HeaderMap>>();
    seen.unwrap().as_ref().clone()
}

/// Credentials of other schemes are secrets too, and an inner service could assume that they were validated.
#[tokio::test]
async fn credentials_that_were_not_validated_are_not_forwarded_either() {
    let server = server();
    let token = good(&server).sign();
    let bearer = layer(&server).optional().without_forwarding();
    for authorization in ["Basic YTpi".to_owned(), format!("Token {token}")] {
        let request = Request::get("/").header(AUTHORIZATION, &authorization);
        let request = request.body(Body::empty()).unwrap();
        let bearer = bearer.clone();
        let headers = seen(|app| app.layer(bearer), request).await;
        assert!(!headers.contains_key(AUTHORIZATION), "{authorization}");
    }
}

/// Some CGI implementations map every character that is neither a letter nor a digit to `_`, like `-`.
#[tokio::test]
async fn no_spelling_of_a_header_name_forges_a_claim() {
    let server = server();
    let token = good(&server).with_subject("alice").sign();
    let mut request = Request::get("/").header(AUTHORIZATION, format!("Bearer {token}"));
    let names = "!#$%&'*+.^_`|~-".chars().flat_map(|sign| {
        [
            format!("x{sign}auth{sign}role"),
            format!("x-auth{sign}role"),
            format!("x{sign}auth-sub"),
        ]
    });
    for name in names {
        request = request.header(name, "root");
    }
    let claims = ClaimHeadersLayer::new("x-auth-").unwrap();
    let layers = |app: Router| app.layer(claims).layer(layer(&server));
    let headers = seen(layers, request.body(Body::empty()).unwrap()).await;
    let forged: Vec<_> = headers
        .iter()
        .filter(|(_, value)| *value == "root")
        .collect();
    assert!(forged.is_empty(), "{forged:?}");
    assert_eq!(headers["x-auth-sub"], "alice");
}

/// RFC 9110 §7.6.1: a proxy removes the fields that `Connection` names, so a caller could use it to become anonymous.
#[tokio::test]
async fn a_caller_cannot_make_the_next_hop_remove_claim_headers() {
    let server = server();
    let token = good(&server).with_subject("alice").sign();
    for (name, lines, left) in [
        ("alone", &["X-Auth-Sub"][..], &[][..]),
        (
            "among others",
            &["upgrade, x-auth-sub ,x-other"],
            &["upgrade,x-other"],
        ),
        ("in two lines", &["close", "x_auth_scope"], &["close"]),
        (
            "not there",
            &["keep-alive, Upgrade"],
            &["keep-alive, Upgrade"],
        ),
    ] {
        let mut request = Request::get("/").header(AUTHORIZATION, format!("Bearer {token}"));
        for line in lines {
            request = request.header(CONNECTION, *line);
        }
        let claims = ClaimHeadersLayer::new("x-auth-").unwrap();
        let layers = |app: Router| app.layer(claims).layer(layer(&server));
        let headers = seen(layers, request.body(Body::empty()).unwrap()).await;
        let kept: Vec<_> = headers.get_all(CONNECTION).iter().collect();
        let kept: Vec<_> = kept
            .iter()
            .map(|line| line.to_str().unwrap().replace(", x-", ",x-"))
            .collect();
        assert_eq!(kept, left, "{name}");
        assert_eq!(headers["x-auth-sub"], "alice", "{name}");
    }
}

#[derive(Deserialize)]
struct Plan {
    plan: String,
}

/// The outer layer validates the token of a gateway, the inner layer that of the caller: they must not be confused.
#[tokio::test]
async fn the_token_of_an_outer_layer_does_not_replace_that_of_an_inner_layer() {
    let server = server();
    let gold = good(&server).with_claim("plan", "gold").sign();
    let plain = good(&server).with_scope("read").sign();
    let inner_source = TokenSource::custom(|headers, _| headers.get("x-caller").cloned());
    let around = |inner: BearerLayer, route: Router| {
        route
            .layer(inner.add_token_source(inner_source.clone()))
            .layer(layer(&server).without_forwarding().with_claims::<Plan>())
    };
    let is_gold = Policy::all("read")
        .unwrap()
        .and_claim("no gold", |plan: &Plan| plan.plan == "gold")
        .unwrap();
    let by_policy = get(async || "gold").layer(ScopeLayer::new(is_gold));
    let by_type = get(async |token: VerifiedToken<Plan>| token.claims().plan.clone());
    let by_hand = get(async |request: Request<Body>| {
        let outer = request.extensions().get::<VerifiedToken<Plan>>().is_some();
        let inner = request
            .extensions()
            .get::<VerifiedToken<Claims>>()
            .is_some();
        format!("{outer} {inner}")
    });
    let routes = Router::new()
        .route("/policy", by_policy)
        .route("/type", by_type)
        .route("/hand", by_hand);
    let ask_as = async |app: &Router, path: &str, caller: Option<&str>| {
        let mut request = Request::get(path).header(AUTHORIZATION, format!("Bearer {gold}"));
        if let Some(caller) = caller {
            request = request.header("x-caller", caller);
        }
        let answer = ask(app, request.body(Body::empty()).unwrap()).await;
        (answer.status.as_u16(), answer.body)
    };

    let app = around(layer(&server), routes.clone());
    assert_eq!(ask_as(&app, "/policy", Some(&plain)).await.0, 500);
    assert_eq!(ask_as(&app, "/type", Some(&plain)).await.0, 500);
    let by_hand = ask_as(&app, "/hand", Some(&plain)).await;
    assert_eq!(by_hand, (200, "false true".to_owned()));
    let app = around(layer(&server).optional(), routes);
    assert_eq!(ask_as(&app, "/type", None).await.0, 401);
    let by_hand = ask_as(&app, "/hand", None).await;
    assert_eq!(by_hand, (200, "false false".to_owned()));
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

/// RFC 6750 §2: a form with two tokens is rejected, whatever else it contains.
#[tokio::test]
async fn no_malformed_pair_of_a_form_hides_a_second_token() {
    let server = server();
    let token = good(&server).sign();
    let app = api(layer(&server)).layer(FormTokenLayer::new());
    let one = format!("access_token={token}");
    for (name, body, status) in [
        ("129 pairs", format!("{}{one}", "a=b&".repeat(128)), 400),
        ("not UTF-8 beside it", format!("a=%ff&{one}"), 400),
        ("not UTF-8 in a name", format!("%ff=a&{one}"), 400),
        ("the second not UTF-8", "access_token=%ff".to_owned(), 400),
        ("escaped", format!("access%5ftoken={token}"), 400),
        (
            "a thousand",
            format!("{}a", "access_token=a&".repeat(1000)),
            400,
        ),
        (
            "none",
            "a=%ff&access_token[]=b&b=access_token".to_owned(),
            200,
        ),
    ] {
        let kind = "application/x-www-form-urlencoded";
        let request = Request::post("/").header(CONTENT_TYPE, kind);
        let request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        let answer = ask(&app, request.body(Body::from(body)).unwrap()).await;
        assert_eq!(answer.status.as_u16(), status, "{name}");
    }
}
