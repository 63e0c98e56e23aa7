//! `required()` and the extractors: which requests pass, and the error if a layer is missing.

use axum::Router;
use axum::routing::get;
use http::StatusCode;
use tower_oauth::Session;

use crate::support::shop::*;

/// Alternative spellings of a path.
#[tokio::test]
async fn no_spelling_of_a_path_bypasses_required() {
    let server = server();
    let login = login(&server);
    let shop = Shop {
        server,
        app: Router::new()
            .route("/public", get(|| async { "public" }))
            .merge(
                Router::new()
                    .fallback(|| async { "secret" })
                    .layer(login.required()),
            )
            .layer(login),
    };
    for path in [
        "/admin",
        "/public/..%2fadmin",
        "//admin",
        "/admin%2f",
        "/admin;x",
        "/ADMIN",
        "/admin?x=/public",
        "/./admin",
        "/public/../admin",
        "/%61dmin",
        "/admin/",
        "/public/",
        "/public%2f",
    ] {
        for ask in [
            Ask::page(path),
            Ask::new("GET", path),
            Ask::new("POST", path),
            Ask::new("HEAD", path),
        ] {
            let answer = shop.send(ask).await;
            assert_ne!(answer.status, StatusCode::OK, "{path}");
            assert_ne!(answer.text(), "secret", "{path}");
        }
    }
    assert_eq!(shop.send(Ask::page("/public")).await.text(), "public");
    let jar = shop.signed_in().await;
    assert_eq!(
        shop.send(Ask::page("/admin").jar(&jar)).await.text(),
        "secret"
    );
}

/// The return target is the original URL, if it is a path of this origin.
#[tokio::test]
async fn a_user_returns_to_the_requested_path_if_it_is_acceptable() {
    let shop = Shop::new();
    for (path, expected) in [
        ("/account", "/auth/login?return_to=%2Faccount"),
        (
            "/account?a=1&b=%2F",
            "/auth/login?return_to=%2Faccount%3Fa%3D1%26b%3D%252F",
        ),
        ("/mine", "/auth/login?return_to=%2Fmine"),
    ] {
        let answer = shop.send(Ask::page(path)).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{path}");
        assert_eq!(answer.location(), expected, "{path}");
        assert_eq!(answer.set_cookies(), [""; 0], "{path}");
    }
    let all = Shop {
        app: Router::new()
            .fallback(|| async { "secret" })
            .layer(login(&shop.server).required()),
        ..shop
    };
    // Without and with the layer around it.
    let answer = all.send(Ask::page("//evil.example/x")).await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    let login = login(&all.server);
    let app = Router::new()
        .fallback(|| async { "secret" })
        .layer(login.required())
        .layer(login);
    let answer = send(&app, Ask::page("//evil.example/x")).await;
    assert_eq!(answer.location(), "/auth/login");
}

#[tokio::test]
async fn a_missing_or_foreign_layer_is_reported_as_a_500() {
    let server = server();
    let (one, two) = (login(&server), login(&server));
    let plain = Router::new()
        .route("/required", get(|_: Session| async { "in" }))
        .route("/optional", get(|_: Option<Session>| async { "in" }))
        .route("/guarded", get(|| async { "in" }).layer(one.required()));
    for path in ["/required", "/optional", "/guarded"] {
        let answer = send(&plain, Ask::page(path)).await;
        assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "{path}");
        assert!(answer.text().contains("LoginLayer"), "{}", answer.text());
    }
    let foreign = Router::new()
        .route("/guarded", get(|| async { "in" }).layer(one.required()))
        .layer(two);
    let answer = send(&foreign, Ask::page("/guarded")).await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);

    // Later settings do not make it another layer.
    let guard = one.required();
    let same = Router::new()
        .route("/guarded", get(|| async { "in" }).layer(guard))
        .layer(one.with_scopes("openid profile").unwrap());
    let answer = send(&same, Ask::page("/guarded")).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
}

/// In a nested router, users return to the full path.
#[tokio::test]
async fn a_nested_router_inside_the_layer_keeps_the_full_path() {
    let server = server();
    let login = login(&server);
    let inner = Router::new().route("/x", get(|| async { "in" }).layer(login.required()));
    let app = Router::new().nest("/deep", inner).layer(login.clone());
    let answer = send(&app, Ask::page("/deep/x?y=1")).await;
    assert_eq!(
        answer.location(),
        "/auth/login?return_to=%2Fdeep%2Fx%3Fy%3D1"
    );

    // The layer itself does not work in a nested router: its routes are not found.
    let app = Router::new().nest(
        "/deep",
        Router::new()
            .route("/x", get(|| async { "in" }))
            .layer(login),
    );
    let answer = send(&app, Ask::page("/auth/login")).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
}

/// If the layer responds itself, the capacity that the inner service reserved is released.
#[tokio::test]
async fn responses_of_the_layer_release_the_capacity_of_the_inner_service() {
    use bytes::Bytes;
    use http::{Request, Response};
    use http_body_util::Full;
    use tower::limit::ConcurrencyLimitLayer;
    use tower::{Layer as _, Service as _, ServiceExt as _, service_fn};

    let server = server();
    let login = login(&server);
    let inner = service_fn(|_: Request<Full<Bytes>>| async {
        Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::from("in"))))
    });
    let limited = ConcurrencyLimitLayer::new(1).layer(inner);
    let mut outer = login.layer(login.required().layer(limited));
    let mut other = outer.clone();
    for path in ["/auth/session", "/guarded"] {
        let request = Request::get(path).body(Full::default()).unwrap();
        let answer = outer.ready().await.unwrap().call(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{path}");
        // The other clone can be ready while the first one exists.
        let ready = other.ready();
        assert!(
            tokio::time::timeout(std::time::Duration::from_secs(5), ready)
                .await
                .is_ok()
        );
        let request = Request::get("/auth/session").body(Full::default()).unwrap();
        other.call(request).await.unwrap();
    }
}
