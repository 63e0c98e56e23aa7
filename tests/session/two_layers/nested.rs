//! A route inside two login layers: handlers, `required`, the relay and principals get the session of the
//! inner layer, or none.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::{Request, Response, StatusCode};
use tower::service_fn;
use tower_oauth::BearerLayer;
use tower_oauth::extract::Principal;
use tower_oauth::relay::{Relay, RequestBody};

use super::{ADMIN, Admission, Common, Site};

use crate::support::modes::{Mode, session_modes};
use crate::support::nodes::*;
use crate::support::shop::*;

session_modes! {
    all: [
        handlers_inside_an_inner_layer_do_not_see_the_session_of_the_outer_one,
        required_of_the_outer_layer_does_not_accept_the_session_of_the_inner_one,
        the_relay_sends_the_token_of_the_inner_session_only,
        the_principal_is_that_of_the_inner_session_only,
    ],
}

const SCRIPT: [(&str, &str); 2] = [("sec-fetch-site", "same-origin"), ("x-csrf", "1")];

/// An outer and an inner layer with default settings, and the cookies of a session at each.
struct Pair {
    outer: Site,
    inner: Site,
    outer_jar: Jar,
    inner_jar: Jar,
}

impl Pair {
    async fn new(mode: Mode) -> Self {
        let common = Common::new(mode);
        let site =
            |uri| common.site_of(&common.server, "shop", uri, Admission::Open, |login| login);
        let (outer, inner) = (site(ADMIN), site(CALLBACK));
        Self {
            outer_jar: outer.signed_in().await,
            inner_jar: inner.signed_in().await,
            outer,
            inner,
        }
    }

    fn around(&self, app: Router) -> Router {
        app.layer(self.inner.login.clone())
            .layer(self.outer.login.clone())
    }

    fn both(&self) -> Jar {
        Jar([self.outer_jar.0.clone(), self.inner_jar.0.clone()].concat())
    }
}

async fn handlers_inside_an_inner_layer_do_not_see_the_session_of_the_outer_one(mode: Mode) {
    let pair = Pair::new(mode).await;
    let nested = app(&pair.inner.login).layer(pair.outer.login.clone());
    let answer = send(&nested, Ask::page("/").jar(&pair.outer_jar)).await;
    assert_eq!(answer.text(), STRANGER);
    for path in ["/account", "/mine"] {
        let answer = send(&nested, Ask::page(path).jar(&pair.outer_jar)).await;
        assert!(answer.location().starts_with("/auth/login"), "{path}");
    }
    for jar in [&pair.inner_jar, &pair.both()] {
        let answer = send(&nested, Ask::page("/").jar(jar)).await;
        assert_eq!(answer.text(), ALICE);
    }
}

async fn required_of_the_outer_layer_does_not_accept_the_session_of_the_inner_one(mode: Mode) {
    let pair = Pair::new(mode).await;
    let staff = Router::new()
        .route("/staff", get(|| async { "staff" }))
        .layer(pair.outer.login.required());
    let nested = pair.around(staff);
    for jar in [&pair.outer_jar, &pair.both()] {
        let answer = send(&nested, Ask::page("/staff").jar(jar)).await;
        assert_eq!(answer.text(), "staff");
    }
    let answer = send(&nested, Ask::page("/staff").jar(&pair.inner_jar)).await;
    let login = "/admin/auth/login?return_to=%2Fstaff";
    assert_eq!(answer.location(), login);
}

async fn the_relay_sends_the_token_of_the_inner_session_only(mode: Mode) {
    let pair = Pair::new(mode).await;
    let sent = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&sent);
    let upstream = service_fn(move |request: Request<RequestBody<Body>>| {
        let token = request.headers()["authorization"].to_str().unwrap();
        noted.lock().unwrap().push(token.to_owned());
        async { Ok::<_, Infallible>(Response::new(Body::empty())) }
    });
    let relay = Relay::new("https://api.example.com").unwrap();
    let token = |session: tower_oauth::Session| async move {
        session.access_token().await.unwrap().expose().to_owned()
    };
    let app = Router::new()
        .route("/token", get(token))
        .nest_service("/api", relay.with_transport(upstream));
    let nested = pair.around(app);
    let ask = Ask::new("GET", "/api/orders").with(&SCRIPT);
    let answer = send(&nested, ask.clone().jar(&pair.outer_jar)).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert!(sent.lock().unwrap().is_empty());
    let inner = send(&nested, Ask::page("/token").jar(&pair.inner_jar)).await;
    let answer = send(&nested, ask.jar(&pair.both())).await;
    assert_eq!(answer.status, StatusCode::OK);
    let expected = format!("Bearer {}", inner.text());
    assert_eq!(*sent.lock().unwrap(), [expected]);
}

async fn the_principal_is_that_of_the_inner_session_only(mode: Mode) {
    let pair = Pair::new(mode).await;
    let server = pair.inner.server.authorization_server();
    let bearer = BearerLayer::jwt(&server, SHOP).unwrap().optional();
    let who = |principal: Option<Principal>| async move {
        principal.map_or("anonymous", |_| "authenticated")
    };
    let app = Router::new().route("/who", get(who)).layer(bearer);
    let nested = pair.around(app);
    for (jar, expected) in [
        (&pair.outer_jar, "anonymous"),
        (&pair.inner_jar, "authenticated"),
        (&pair.both(), "authenticated"),
    ] {
        let answer = send(&nested, Ask::page("/who").jar(jar)).await;
        assert_eq!(answer.text(), expected);
    }
}
