//! `Principal`: routes for browsers and programs, and which of two credentials takes precedence.

use std::convert::Infallible;

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use serde::Deserialize;
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_oauth::bearer::RefusalBodyLayer;
use tower_oauth::extract::Principal;
use tower_oauth::testing::TestServer;
use tower_oauth::{BearerLayer, Client, CookieKey, LoginLayer, ScopeLayer, Session, VerifiedToken};

use crate::support::shop::*;

const API: &str = "https://shop.example.com";

const BEARER: &str = "Bearer realm=\"api\"";

const COOKIE: &str = "Cookie realm=\"login\"";

async fn required(principal: Principal) -> String {
    describe(&principal)
}

async fn optional(principal: Option<Principal>) -> String {
    principal.map_or_else(|| "anonymous".to_owned(), |principal| describe(&principal))
}

/// All properties that both kinds have, so that a mixture would be detected.
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
        .route("/required", get(required).post(required))
        .route("/optional", get(optional).post(optional))
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

async fn who(principal: Principal) -> String {
    let kind = if principal.is_session() {
        "session"
    } else {
        "token"
    };
    format!("{kind} {:?} {}", principal.subject(), principal.issuer())
}

/// Every combination of both in both orders of the layers: a valid token takes precedence, an invalid token is rejected and
/// never replaced by the session, and the two are never mixed.
#[tokio::test]
async fn an_access_token_takes_precedence_over_a_session_and_an_invalid_one_is_rejected() {
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
                    if session == "alice" {
                        ALICE
                    } else {
                        "anonymous"
                    },
                ),
                (
                    "Basic",
                    vec!["Basic YTpi"],
                    200,
                    if session == "alice" {
                        ALICE
                    } else {
                        "anonymous"
                    },
                ),
                ("good", vec![good.as_str()], 200, MALLORY),
                ("another kind of", vec!["DPoP junk"], 401, ""),
                ("junk", vec!["Bearer junk"], 401, ""),
                ("empty", vec!["Bearer "], 400, ""),
                ("twice", vec![good.as_str(), good.as_str()], 400, ""),
                ("good and junk", vec![good.as_str(), "Bearer junk"], 400, ""),
            ] {
                for path in ["/required", "/optional"] {
                    let name = format!("{order}: {session} session, {credentials} token, {path}");
                    let mut ask = Ask::page(path).jar(jar);
                    for field in &fields {
                        ask = ask.with(&[("authorization", field)]);
                    }
                    let answer = shop.send(ask).await;
                    let (status, text) = match (path, text) {
                        ("/required", "anonymous") => (303, ""),
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

/// A token of another subject does not let a page of another site use the session, in either order.
#[tokio::test]
async fn csrf_protection_applies_to_a_session_beside_any_token() {
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
            let ask = Ask::new("POST", "/required").with(&fields);
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
            // Without the cookie there is no session to protect.
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

/// Programs get the challenges of both layers, scripts also the URL of the login, and navigations a redirect to it.
#[tokio::test]
async fn an_anonymous_request_gets_the_challenges_of_both_layers_or_is_redirected() {
    for (order, shop) in shops() {
        let answer = shop.send(Ask::page("/required?a=b").with(&[])).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{order}");
        assert_eq!(
            answer.location(),
            "/auth/login?return_to=%2Frequired%3Fa%3Db",
            "{order}"
        );

        for (name, ask, hx) in [
            ("program", Ask::new("GET", "/required"), None),
            (
                "script",
                Ask::page("/required").set("sec-fetch-mode", "cors"),
                None,
            ),
            ("form of a script", Ask::new("POST", "/required"), None),
            (
                "prefetch",
                Ask::page("/required").set("sec-purpose", "prefetch"),
                None,
            ),
            (
                "websocket",
                Ask::page("/required").set("upgrade", "websocket"),
                None,
            ),
            (
                "htmx",
                Ask::page("/required")
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
        let answer = shop.send(Ask::new("POST", "/required").with(&grpc)).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{order}");
        assert_eq!(answer.header("grpc-status"), "16", "{order}");
        assert_eq!(answer.text(), "", "{order}");
    }
}

/// The response depends on the caller, whichever credential it sends.
#[tokio::test]
async fn a_response_for_a_principal_is_not_stored_by_shared_caches() {
    for (order, shop) in shops() {
        let jar = shop.signed_in().await;
        let good = token(&shop, "mallory");
        for ask in [
            Ask::page("/optional"),
            Ask::page("/optional").jar(&jar),
            Ask::page("/optional").with(&[("authorization", &good)]),
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

/// Both layers are required, even for a request that one of them authenticated.
#[tokio::test]
async fn a_missing_layer_is_500_and_is_named() {
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
        for path in ["/required", "/optional"] {
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

/// Users with a session get the challenge of the bearer layer.
#[tokio::test]
async fn a_bearer_layer_that_is_not_optional_rejects_sessions() {
    let server = server();
    let app = routes().layer(bearer(&server)).layer(login(&server));
    let shop = Shop { server, app };
    let jar = shop.signed_in().await;
    let answer = shop.send(Ask::page("/required").jar(&jar)).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(answer.header("www-authenticate"), BEARER);
    let good = token(&shop, "mallory");
    let ask = Ask::page("/required").with(&[("authorization", &good)]);
    assert_eq!(shop.send(ask.jar(&jar)).await.text(), MALLORY);
}

#[derive(Deserialize)]
struct Shopper {
    tier: String,
}

/// Another claims type than that of the layer is a configuration error.
#[tokio::test]
async fn claims_have_the_type_of_the_bearer_layer() {
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
        .route("/required", get(required))
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
    // A session does not avoid the error.
    let answer = send("/required").await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(
        answer.text().contains("different claims types"),
        "{}",
        answer.text()
    );
}

/// RFC 9700 §4.15: a client-credentials token does not represent a user, whatever its `sub` is.
#[tokio::test]
async fn a_client_credentials_token_has_no_user_key() {
    for (order, shop) in shops() {
        let mint = shop.server.access_token().with_audience(API);
        let mint = mint.with_subject("robot").with_client("robot");
        let robot = format!("Bearer {}", mint.sign());
        let ask = Ask::page("/required").with(&[("authorization", &robot)]);
        let text = shop.send(ask).await.text();
        assert!(text.starts_with("token robot - "), "{order}: {text}");
    }
}

/// Outer layers can add an error body.
#[tokio::test]
async fn the_refusal_is_in_the_response_extensions() {
    let server = server();
    let app = routes()
        .layer(bearer(&server).optional())
        .layer(login(&server))
        .layer(RefusalBodyLayer::problem_json());
    let answer = send(&app, Ask::new("GET", "/required")).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(answer.json()["detail"], "an access token is required");
}

/// Services other than axum use the request and return the rejection.
#[tokio::test]
async fn any_tower_service_can_read_the_principal() {
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

/// RFC 6749 §3.3, RFC 6750 §3.1: a session is not an access token and an access token is not a session, in either order
/// of the layers.
#[tokio::test]
async fn a_session_does_not_authenticate_at_an_api_and_a_token_does_not_at_pages() {
    for bearer_outside in [false, true] {
        let server = server();
        let (login, issuer) = (login(&server), server.authorization_server());
        let bearer = BearerLayer::jwt(&issuer, API).unwrap().optional();
        let read = get(|_: VerifiedToken| async { "api" }).layer(ScopeLayer::all("read").unwrap());
        let routes = Router::new().route("/api", read).route(
            "/page",
            get(|_: Session| async { "page" }).layer(login.required()),
        );
        let app = if bearer_outside {
            routes.layer(login).layer(bearer)
        } else {
            routes.layer(bearer).layer(login)
        };
        let shop = Shop { server, app };
        let jar = shop.signed_in().await;
        let token = shop
            .server
            .access_token()
            .with_audience(API)
            .with_scope("read")
            .sign();
        let token = format!("Bearer {token}");
        let bring = |path: &str| Ask::new("GET", path).with(&[("authorization", &token)]);
        assert_eq!(shop.send(bring("/api")).await.text(), "api");
        assert_eq!(
            shop.send(Ask::new("GET", "/page").jar(&jar)).await.text(),
            "page"
        );
        let unauthorized = StatusCode::UNAUTHORIZED;
        assert_eq!(shop.send(bring("/page")).await.status, unauthorized);
        assert_eq!(
            shop.send(Ask::new("GET", "/api").jar(&jar)).await.status,
            unauthorized
        );
        assert_eq!(
            shop.send(Ask::new("GET", "/api")).await.status,
            unauthorized
        );
        // The contents of a cookie are not a token, and a token is not an encrypted cookie.
        let sealed = format!("Bearer {}", jar.value(SESSION));
        let answer = shop
            .send(Ask::new("GET", "/api").with(&[("authorization", &sealed)]))
            .await;
        assert_eq!(answer.status, unauthorized);
        let planted = Jar::of(&[(SESSION, &token[7..])]);
        assert_eq!(
            shop.send(Ask::new("GET", "/page").jar(&planted))
                .await
                .status,
            unauthorized
        );
    }
}

/// Error pages are escaped and allow no scripts or frames, also those that `Principal` sends.
#[tokio::test]
async fn the_page_of_a_rejected_principal_has_the_same_policy() {
    let server = server();
    let bearer = BearerLayer::jwt(&server.authorization_server(), SHOP).unwrap();
    for login_outside in [true, false] {
        let route = Router::new().route("/both", get(who).post(who));
        let (bearer, login) = (bearer.clone().optional(), login(&server));
        let app = match login_outside {
            true => route.layer(bearer).layer(login),
            false => route.layer(login).layer(bearer),
        };
        let form = Ask::new("POST", "/both").with(&[
            PAGE[0],
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
        ]);
        let page = send(&app, form).await;
        assert_eq!(page.status, StatusCode::UNAUTHORIZED);
        assert!(page.header("content-type").starts_with("text/html"));
        assert!(
            page.header("content-security-policy")
                .contains("frame-ancestors 'none'"),
            "{}",
            page.head()
        );
        assert_eq!(page.header("x-content-type-options"), "nosniff");
        assert_eq!(page.header("cache-control"), "no-store");
        assert_eq!(page.header("referrer-policy"), "same-origin");
    }
}

/// One token or one session authenticates a request, and both belong to the layers around the
/// handler.
#[tokio::test]
async fn a_session_of_another_layer_authenticates_no_request() {
    let server = server();
    let authority = server.authorization_server();
    let bearer = |audience: &str| BearerLayer::jwt(&authority, audience).unwrap().optional();
    // Two login layers: the session of the outer layer does not count in the inner one.
    let inner = LoginLayer::new(
        &authority,
        Client::confidential("shop", "shop-secret"),
        "https://shop.example.com/nested/auth/callback",
        CookieKey::from_bytes(&[9; 32]).unwrap(),
    );
    let inner = inner.unwrap().with_cookie_name("inner").unwrap();
    let nested = Router::new()
        .route("/both", get(who))
        .route(
            "/option",
            get(|one: Option<Principal>| async move { one.is_some().to_string() }),
        )
        .layer(bearer("https://inner.example"))
        .layer(inner);
    let app = Router::new()
        .nest("/nested", nested)
        .route("/both", get(who))
        .route("/token", get(|_: Option<VerifiedToken>| async { "x" }))
        .layer(bearer(SHOP))
        .layer(login(&server));
    let shop = Shop { server, app };
    let jar = shop.signed_in().await;
    let ask = |path: &str| Ask::new("GET", path).jar(&jar);
    assert!(shop.send(ask("/both")).await.text().starts_with("session"));
    assert_eq!(
        shop.send(ask("/nested/both")).await.status,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(shop.send(ask("/nested/option")).await.text(), "false");
    let token = shop
        .server
        .access_token()
        .with_audience(SHOP)
        .with_subject("robot");
    let token = format!("Bearer {}", token.sign());
    let with = |path: &str, value: &str| ask(path).with(&[("authorization", value)]);
    assert!(
        shop.send(with("/both", &token))
            .await
            .text()
            .starts_with("token Some(\"robot\")")
    );
    for bad in [
        with("/nested/both", &token),
        with("/both", "Bearer x"),
        with("/both", "bearer"),
        with("/both", "Bearer "),
        with("/both", &token).with(&[("authorization", &token)]),
        with("/both", &token).with(&[("authorization", "Basic eDp5")]),
        with("/both", "DPoP x"),
        with("/both", &format!("{token}, Basic x")),
    ] {
        let answer = shop.send(bad.clone()).await;
        let refused = answer.status.is_client_error();
        // An unknown authentication scheme leaves the session; nothing else does.
        assert!(refused || answer.text().starts_with("session"), "{bad:?}");
        assert!(!answer.text().starts_with("token"), "{bad:?}");
    }
}
