//! `Principal`: one route for browsers and programs, and which of two identities speaks.
#![allow(clippy::unwrap_used, missing_docs)]

mod login_support;

use std::convert::Infallible;

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use login_support::*;
use serde::Deserialize;
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_oauth::bearer::RefusalBodyLayer;
use tower_oauth::extract::Principal;
use tower_oauth::testing::TestServer;
use tower_oauth::{BearerLayer, VerifiedToken};

const API: &str = "https://shop.example.com";
const BEARER: &str = "Bearer realm=\"api\"";
const COOKIE: &str = "Cookie realm=\"login\"";

async fn whoever(principal: Principal) -> String {
    describe(&principal)
}

async fn anybody(principal: Option<Principal>) -> String {
    principal.map_or_else(|| "nobody".to_owned(), |principal| describe(&principal))
}

/// All that both kinds have in common, so that a mixture would show.
fn describe(principal: &Principal) -> String {
    assert_eq!(principal.is_session(), principal.session().is_some());
    assert_ne!(principal.is_session(), principal.token().is_some());
    assert_eq!(principal.issuer(), ISSUER);
    assert_eq!(principal.claims().subject(), principal.subject());
    format!(
        "{} {} {} [{}]",
        if principal.is_session() {
            "session"
        } else {
            "token"
        },
        principal.subject().unwrap_or("-"),
        principal.user_key().map_or("-", |key| key.subject),
        principal.scopes(),
    )
}

fn bearer(server: &TestServer) -> BearerLayer {
    BearerLayer::jwt(&server.authorization_server(), API).unwrap()
}

fn routes() -> Router {
    Router::new()
        .route("/whoever", get(whoever).post(whoever))
        .route("/anybody", get(anybody).post(anybody))
}

/// The layers in either order.
fn shops() -> [(&'static str, Shop); 2] {
    ["login outside", "bearer outside"].map(|name| {
        let server = server();
        let (login, bearer) = (login(&server), bearer(&server).optional());
        let app = match name {
            "login outside" => routes().layer(bearer).layer(login),
            _ => routes().layer(login).layer(bearer),
        };
        (name, Shop { server, app })
    })
}

fn token(shop: &Shop, subject: &str) -> String {
    let mint = shop.server.access_token().with_audience(API);
    let mint = mint
        .with_subject(subject)
        .with_client("robot")
        .with_scope("orders:read");
    format!("Bearer {}", mint.sign())
}

const ALICE: &str = "session alice alice [openid]";
const MALLORY: &str = "token mallory mallory [orders:read]";

/// H64: every combination of the two in both orders of the layers: what is explicit wins, what is bad is
/// refused and never replaced, and nothing is mixed.
#[tokio::test]
async fn an_access_token_speaks_before_a_session_and_a_bad_one_is_refused() {
    for (order, shop) in shops() {
        let alice = shop.signed_in().await;
        let spoiled = Jar::of(&[(SESSION, "x")]);
        let good = token(&shop, "mallory");
        let sessions = [
            ("alice", &alice),
            ("spoiled", &spoiled),
            ("none", &Jar::default()),
        ];
        for (session, jar) in sessions {
            for (credentials, fields, status, text) in [
                (
                    "none",
                    vec![],
                    200,
                    if session == "alice" { ALICE } else { "nobody" },
                ),
                (
                    "Basic",
                    vec!["Basic YTpi"],
                    200,
                    if session == "alice" { ALICE } else { "nobody" },
                ),
                ("good", vec![good.as_str()], 200, MALLORY),
                ("another kind of", vec!["DPoP junk"], 401, ""),
                ("junk", vec!["Bearer junk"], 401, ""),
                ("empty", vec!["Bearer "], 400, ""),
                ("twice", vec![good.as_str(), good.as_str()], 400, ""),
                ("good and junk", vec![good.as_str(), "Bearer junk"], 400, ""),
            ] {
                for path in ["/whoever", "/anybody"] {
                    let name = format!("{order}: {session} session, {credentials} token, {path}");
                    let mut ask = Ask::page(path).jar(jar);
                    for field in &fields {
                        ask = ask.with(&[("authorization", field)]);
                    }
                    let answer = shop.send(ask).await;
                    let (status, text) = match (path, text) {
                        ("/whoever", "nobody") => (303, ""),
                        _ => (status, text),
                    };
                    assert_eq!(answer.status.as_u16(), status, "{name} {answer:?}");
                    assert_eq!(answer.text(), text, "{name}");
                    if status == 303 {
                        let location = format!("/auth/login?return_to=%2F{}", &path[1..]);
                        assert_eq!(answer.location(), location, "{name}");
                    }
                }
            }
        }
    }
}

/// H64: the other subject's token does not lend a session's name to a foreign page, in either order.
#[tokio::test]
async fn a_session_is_held_to_its_evidence_whatever_token_comes_along() {
    for (order, shop) in shops() {
        let jar = shop.signed_in().await;
        let good = token(&shop, "mallory");
        for (name, fields, status) in [
            ("own page", vec![("sec-fetch-site", "same-origin")], 200),
            ("foreign page", vec![("sec-fetch-site", "cross-site")], 403),
            ("no evidence", vec![], 403),
            (
                "token, own page",
                vec![
                    ("sec-fetch-site", "same-origin"),
                    ("authorization", good.as_str()),
                ],
                200,
            ),
            (
                "token, foreign page",
                vec![
                    ("sec-fetch-site", "cross-site"),
                    ("authorization", good.as_str()),
                ],
                403,
            ),
            (
                "token, no evidence",
                vec![("authorization", good.as_str())],
                403,
            ),
        ] {
            let ask = Ask::new("POST", "/whoever").with(&fields);
            let answer = shop.send(ask.clone().jar(&jar)).await;
            assert_eq!(answer.status.as_u16(), status, "{order}: {name}");
            let tokens = fields.iter().any(|(field, _)| *field == "authorization");
            if status == 200 {
                assert_eq!(
                    answer.text(),
                    if tokens { MALLORY } else { ALICE },
                    "{order}: {name}"
                );
            }
            // Without the cookie there is nothing to forge.
            let answer = shop.send(ask).await;
            let alone = if tokens {
                StatusCode::OK
            } else {
                StatusCode::UNAUTHORIZED
            };
            assert_eq!(answer.status, alone, "{order}: {name}, no session");
        }
    }
}

/// A program is told what either layer would tell it, a script where to sign in, a person is sent there.
#[tokio::test]
async fn nobody_is_challenged_by_both_layers_or_sent_to_sign_in() {
    for (order, shop) in shops() {
        let answer = shop.send(Ask::page("/whoever?a=b").with(&[])).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{order}");
        assert_eq!(
            answer.location(),
            "/auth/login?return_to=%2Fwhoever%3Fa%3Db",
            "{order}"
        );

        for (name, ask, hx) in [
            ("program", Ask::new("GET", "/whoever"), None),
            (
                "script",
                Ask::page("/whoever").set("sec-fetch-mode", "cors"),
                None,
            ),
            ("form of a script", Ask::new("POST", "/whoever"), None),
            (
                "prefetch",
                Ask::page("/whoever").set("sec-purpose", "prefetch"),
                None,
            ),
            (
                "websocket",
                Ask::page("/whoever").set("upgrade", "websocket"),
                None,
            ),
            (
                "htmx",
                Ask::page("/whoever")
                    .set("hx-request", "true")
                    .set("hx-current-url", "https://shop.example.com/list"),
                Some("/auth/login?return_to=%2Flist"),
            ),
        ] {
            let answer = shop.send(ask).await;
            let name = format!("{order}: {name}");
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{name}");
            let challenges: Vec<_> = answer.headers.get_all("www-authenticate").iter().collect();
            assert_eq!(challenges, [BEARER, COOKIE], "{name}");
            assert_eq!(
                answer.header("content-type"),
                "application/problem+json",
                "{name}"
            );
            assert_eq!(answer.header("cache-control"), "no-store", "{name}");
            let problem = answer.json();
            assert_eq!(problem["code"], "login_required", "{name}");
            assert!(
                problem["login_url"]
                    .as_str()
                    .unwrap()
                    .starts_with("/auth/login"),
                "{name}"
            );
            assert_eq!(
                problem["correlation_id"].as_str().unwrap().len(),
                16,
                "{name}"
            );
            let sent = answer
                .headers
                .get("hx-redirect")
                .map(|value| value.to_str().unwrap());
            assert_eq!(sent, hx, "{name}");
        }
        let grpc = [("content-type", "application/grpc"), ("te", "trailers")];
        let answer = shop.send(Ask::new("POST", "/whoever").with(&grpc)).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{order}");
        assert_eq!(answer.header("grpc-status"), "16", "{order}");
        assert_eq!(answer.text(), "", "{order}");
    }
}

/// What depends on who asks is nobody else's, whichever of the two they show.
#[tokio::test]
async fn an_answer_about_a_principal_is_in_no_shared_cache() {
    for (order, shop) in shops() {
        let jar = shop.signed_in().await;
        let good = token(&shop, "mallory");
        for ask in [
            Ask::page("/anybody"),
            Ask::page("/anybody").jar(&jar),
            Ask::page("/anybody").with(&[("authorization", &good)]),
        ] {
            let answer = shop.send(ask.clone()).await;
            assert_eq!(
                answer.header("cache-control"),
                "no-store",
                "{order} {ask:?}"
            );
            assert_eq!(answer.header("vary"), "cookie", "{order} {ask:?}");
        }
    }
}

/// Both layers must be there, also for a request that one of them alone would have let in.
#[tokio::test]
async fn a_missing_layer_is_a_500_that_names_it() {
    let server = server();
    let (login, bearer) = (login(&server), bearer(&server).optional());
    let whole = Shop {
        server: server.clone(),
        app: routes().layer(login.clone()),
    };
    let jar = whole.signed_in().await;
    let good = token(&whole, "mallory");
    for (missing, app) in [
        ("LoginLayer", routes()),
        ("LoginLayer", routes().layer(bearer)),
        ("BearerLayer", routes().layer(login)),
    ] {
        for path in ["/whoever", "/anybody"] {
            for ask in [
                Ask::page(path),
                Ask::new("GET", path),
                Ask::page(path).jar(&jar),
                Ask::page(path).with(&[("authorization", &good)]),
            ] {
                let answer = send(&app, ask).await;
                assert_eq!(
                    answer.status,
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "{missing} {path}"
                );
                assert!(
                    answer.text().contains(missing),
                    "{missing} {path}: {}",
                    answer.text()
                );
            }
        }
    }
}

/// A layer that is not optional lets no session through: people get its challenge.
#[tokio::test]
async fn a_bearer_layer_that_is_not_optional_keeps_sessions_out() {
    let server = server();
    let app = routes().layer(bearer(&server)).layer(login(&server));
    let shop = Shop { server, app };
    let jar = shop.signed_in().await;
    let answer = shop.send(Ask::page("/whoever").jar(&jar)).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(answer.header("www-authenticate"), BEARER);
    let good = token(&shop, "mallory");
    let ask = Ask::page("/whoever").with(&[("authorization", &good)]);
    assert_eq!(shop.send(ask.jar(&jar)).await.text(), MALLORY);
}

#[derive(Deserialize)]
struct Shopper {
    tier: String,
}

/// The claims of a token may be a type of the application's; another than the layer's is a mistake.
#[tokio::test]
async fn claims_are_the_type_that_the_bearer_layer_reads() {
    let server = server();
    let tier = |principal: Principal<Shopper>| async move {
        let tier = principal.token().map_or("-", |token| &token.claims().tier);
        format!(
            "{tier} {}",
            principal.claims().subject().unwrap_or_default()
        )
    };
    let app = Router::new()
        .route("/tier", get(tier))
        .route("/whoever", get(whoever))
        .route("/token", get(|_: VerifiedToken<Shopper>| async { "in" }))
        .layer(bearer(&server).optional().with_claims::<Shopper>())
        .layer(login(&server));
    let shop = Shop { server, app };
    let jar = shop.signed_in().await;
    let mint = shop.server.access_token().with_audience(API);
    let gold = mint
        .with_subject("mallory")
        .with_claim("tier", "gold")
        .sign();
    let gold = format!("Bearer {gold}");
    let send = async |path: &str| {
        let ask = Ask::page(path).with(&[("authorization", &gold)]);
        shop.send(ask.jar(&jar)).await
    };
    assert_eq!(send("/tier").await.text(), "gold mallory");
    assert_eq!(
        shop.send(Ask::page("/tier").jar(&jar)).await.text(),
        "- alice"
    );
    // The session is no way around it.
    let answer = send("/whoever").await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(answer.text().contains("other claims"), "{}", answer.text());
}

/// RFC 9700 §4.15: a token that a client got for itself stands for no person, whatever its `sub` is.
#[tokio::test]
async fn a_client_of_its_own_is_nobodys_user_key() {
    for (order, shop) in shops() {
        let mint = shop.server.access_token().with_audience(API);
        let mint = mint.with_subject("robot").with_client("robot");
        let robot = format!("Bearer {}", mint.sign());
        let ask = Ask::page("/whoever").with(&[("authorization", &robot)]);
        let text = shop.send(ask).await.text();
        assert!(text.starts_with("token robot - "), "{order}: {text}");
    }
}

/// A refusal is a refusal to the layers around: they may give it another body.
#[tokio::test]
async fn the_refusal_is_there_for_outer_layers() {
    let server = server();
    let app = routes()
        .layer(bearer(&server).optional())
        .layer(login(&server))
        .layer(RefusalBodyLayer::problem_json());
    let answer = send(&app, Ask::new("GET", "/whoever")).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(answer.json()["detail"], "an access token is required");
}

/// Services outside of axum ask with the request, and answer with what they are told.
#[tokio::test]
async fn any_tower_service_can_ask() {
    let server = server();
    let service = service_fn(|request: Request<axum::body::Body>| async move {
        let optional = Principal::<tower_oauth::Claims>::find(request.extensions());
        let answer = match Principal::of(&request) {
            Ok(principal) => Response::new(Full::<Bytes>::from(describe(&principal))),
            Err(rejection) => {
                assert!(!matches!(optional, Ok(Some(_))));
                rejection.into_http()
            }
        };
        Ok::<_, Infallible>(answer)
    });
    let layered = login(&server).layer(bearer(&server).optional().layer(service));
    let app = Router::new().fallback_service(layered);
    let shop = Shop { server, app };
    let jar = shop.signed_in().await;
    assert_eq!(shop.send(Ask::page("/").jar(&jar)).await.text(), ALICE);
    let good = token(&shop, "mallory");
    let ask = Ask::page("/").with(&[("authorization", &good)]);
    assert_eq!(shop.send(ask.jar(&jar)).await.text(), MALLORY);
    assert_eq!(
        shop.send(Ask::page("/")).await.status,
        StatusCode::SEE_OTHER
    );
    let answer = shop.send(Ask::new("GET", "/")).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);

    let bare = Router::new().fallback_service(service);
    let answer = bare
        .oneshot(Request::new(axum::body::Body::empty()))
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
}
