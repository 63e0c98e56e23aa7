//! The `Session` extractor, and login layers in the wrong place.

use axum::routing::get;
use axum::{Extension, Router};
use http::StatusCode;
use tower_oauth::{BearerLayer, Session, VerifiedToken};

use crate::support::shop::*;

const API: &str = "https://api.example.com";

async fn required(session: Session) -> String {
    session.subject().to_owned()
}

async fn optional(session: Option<Session>) -> String {
    session.map_or_else(
        || "anonymous".to_owned(),
        |session| session.subject().to_owned(),
    )
}

/// A navigation without a session is redirected to the login; other requests get 401.
#[tokio::test]
async fn a_handler_that_takes_a_session_is_not_called_without_one() {
    let server = server();
    let app = Router::new()
        .route("/required", get(required).post(required))
        .route("/optional", get(optional).post(optional))
        .layer(login(&server));
    let shop = Shop { server, app };
    let jar = shop.signed_in().await;
    let own = [("sec-fetch-site", "same-origin")];
    for (ask, signed_in, anonymous) in [
        (Ask::page("/required"), "alice", StatusCode::SEE_OTHER),
        (
            Ask::new("GET", "/required"),
            "alice",
            StatusCode::UNAUTHORIZED,
        ),
        (
            Ask::new("POST", "/required").with(&own),
            "alice",
            StatusCode::UNAUTHORIZED,
        ),
        (Ask::page("/optional"), "alice", StatusCode::OK),
        (
            Ask::new("POST", "/optional").with(&own),
            "alice",
            StatusCode::OK,
        ),
    ] {
        let answer = shop.send(ask.clone().jar(&jar)).await;
        assert_eq!(answer.text(), signed_in, "{ask:?}");
        let answer = shop.send(ask.clone()).await;
        assert_eq!(answer.status, anonymous, "{ask:?}");
        if anonymous == StatusCode::OK {
            assert_eq!(answer.text(), "anonymous");
        }
    }
}

/// A missing layer must not make every request anonymous.
#[tokio::test]
async fn without_the_layer_even_an_optional_session_is_500_and_names_the_layer() {
    let app = Router::new()
        .route("/required", get(required))
        .route("/optional", get(optional));
    for path in ["/required", "/optional"] {
        for ask in [Ask::page(path), Ask::new("GET", path)] {
            let answer = send(&app, ask).await;
            assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "{path}");
            assert!(answer.text().contains("LoginLayer"), "{}", answer.text());
            assert_eq!(answer.header("cache-control"), "no-store");
        }
    }
}

/// The layer must be outermost. In a nested router it only receives requests that match a route, without the prefix: its
/// own routes are not found, so the first login fails.
#[tokio::test]
async fn a_nested_login_layer_without_a_fallback_does_not_serve_its_routes() {
    let server = server();
    let login = login(&server);
    let guarded = get(|| async { "in" }).layer(login.required());
    let inner = Router::new()
        .route("/account", guarded)
        .layer(login.clone());
    let app = Router::new().nest("/shop", inner.clone());
    for path in [
        "/auth/login",
        "/auth/callback",
        "/auth/logout",
        "/auth/session",
    ] {
        for path in [path.to_owned(), format!("/shop{path}")] {
            let answer = send(&app, Ask::page(&path)).await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
            assert_eq!(answer.set_cookies(), [""; 0], "{path}");
        }
    }
    // Protected routes stay protected, and redirect to a login route that does not exist.
    let answer = send(&app, Ask::page("/shop/account")).await;
    assert_eq!(answer.location(), "/auth/login?return_to=%2Fshop%2Faccount");
    let answer = send(&app, Ask::new("GET", "/shop/account")).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);

    // With a fallback it receives all paths below the prefix, where its routes are not.
    let app = Router::new().nest(
        "/shop",
        inner.fallback(|| async { "else" }).layer(login.clone()),
    );
    assert_eq!(
        send(&app, Ask::page("/shop/auth/login")).await.text(),
        "else"
    );
    assert_eq!(
        send(&app, Ask::page("/auth/callback")).await.status,
        StatusCode::NOT_FOUND
    );

    // As the outermost layer around a nested router it works.
    let inner = Router::new().route("/account", get(required));
    let app = Router::new().nest("/shop", inner).layer(login);
    let answer = send(&app, Ask::page("/shop/account")).await;
    assert_eq!(answer.location(), "/auth/login?return_to=%2Fshop%2Faccount");
    assert_eq!(
        send(&app, Ask::page("/auth/login")).await.status,
        StatusCode::SEE_OTHER
    );
}

/// The innermost layer decides.
#[tokio::test]
async fn the_session_of_an_outer_layer_is_not_that_of_an_inner_layer() {
    let server = server();
    let outer = login(&server);
    let inner = login(&server).with_cookie_name("inner").unwrap();
    let app = Router::new()
        .route("/", get(optional))
        .layer(inner)
        .layer(outer);
    let shop = Shop { server, app };
    let jar = shop.signed_in().await;
    assert_eq!(jar.names(), [SESSION]);
    assert_eq!(
        shop.send(Ask::page("/").jar(&jar)).await.text(),
        "anonymous"
    );
}

/// A session and an access token in one request are independent of each other.
#[tokio::test]
async fn a_session_and_an_access_token_never_replace_each_other() {
    let server = server();
    let bearer = BearerLayer::jwt(&server.authorization_server(), API).unwrap();
    let both = |session: Session, token: VerifiedToken| async move {
        format!(
            "{} {}",
            session.subject(),
            token.subject().unwrap_or_default()
        )
    };
    let app = Router::new()
        .route("/both", get(both).layer(bearer.clone()))
        .route("/api", get(|_: VerifiedToken| async { "in" }).layer(bearer))
        .route("/page", get(optional).post(optional))
        .layer(login(&server));
    let shop = Shop { server, app };
    let jar = shop.signed_in().await;
    let token = |subject: &str| {
        let mint = shop
            .server
            .access_token()
            .with_audience(API)
            .with_subject(subject);
        format!("Bearer {}", mint.sign())
    };
    let mallory = token("mallory");
    let with =
        |path: &str, authorization: &str| Ask::page(path).with(&[("authorization", authorization)]);

    let answer = shop.send(with("/both", &mallory).jar(&jar)).await;
    assert_eq!(answer.text(), "alice mallory");
    // A token does not authenticate at pages, an invalid one does not affect them, and a session does not authenticate
    // at an API.
    for authorization in [mallory.as_str(), "Bearer junk", "Basic YTpi"] {
        assert_eq!(
            shop.send(with("/page", authorization).jar(&jar))
                .await
                .text(),
            "alice"
        );
        assert_eq!(
            shop.send(with("/page", authorization)).await.text(),
            "anonymous"
        );
    }
    assert_eq!(
        shop.send(Ask::page("/api").jar(&jar)).await.status,
        StatusCode::UNAUTHORIZED
    );
    let answer = shop.send(with("/api", "Bearer junk").jar(&jar)).await;
    assert!(answer.status.is_client_error());
    // Nor does a token replace the CSRF evidence that a session needs.
    let post = Ask::new("POST", "/page").with(&[("authorization", mallory.as_str())]);
    assert_eq!(
        shop.send(post.jar(&jar)).await.status,
        StatusCode::FORBIDDEN
    );
}

/// Tower services read the extension.
#[tokio::test]
async fn the_session_is_in_the_request_extensions() {
    let server = server();
    let app = Router::new()
        .route(
            "/",
            get(|Extension(session): Extension<Session>| async move {
                format!("{} {}", session.issuer(), session.user_key().subject)
            }),
        )
        .layer(login(&server));
    let shop = Shop { server, app };
    let jar = shop.signed_in().await;
    let answer = shop.send(Ask::page("/").jar(&jar)).await;
    assert_eq!(answer.text(), format!("{ISSUER} alice"));
}

/// Pages and an API in one router: the outermost layer is that for logins, and redirects pages only.
#[tokio::test]
async fn an_api_inside_the_login_layer_responds_with_its_own_challenge() {
    let server = server();
    let (layer, handle) = (login(&server), server.authorization_server());
    let pages = Router::new().route("/required", get(required).layer(layer.required()));
    let orders = async |token: VerifiedToken| token.subject().unwrap_or_default().to_owned();
    let api = Router::new().route("/orders", get(orders).post(orders));
    let api = api.layer(BearerLayer::jwt(&handle, API).unwrap());
    let app = Router::new().merge(pages).nest("/api", api).layer(layer);
    let shop = Shop { server, app };
    let page = shop.send(Ask::page("/required")).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER);
    for ask in [
        Ask::page("/api/orders"),
        Ask::new("GET", "/api/orders"),
        Ask::new("POST", "/api/orders"),
    ] {
        let answer = shop.send(ask.clone()).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{ask:?}");
        let challenge = answer.headers.get("www-authenticate").unwrap();
        assert_eq!(challenge, "Bearer realm=\"api\"", "{ask:?}");
        let token = shop.server.access_token().with_audience(API).sign();
        let bearer = format!("Bearer {token}");
        let answer = shop
            .send(ask.clone().with(&[("authorization", &bearer)]))
            .await;
        assert_eq!(answer.status, StatusCode::OK, "{ask:?}");
    }
}
