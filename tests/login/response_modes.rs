//! How authorization responses come back: in the query, as a form, or as signed JWTs.

mod form_post;
mod signed;

use axum::Router;
use http::StatusCode;
use tower_oauth::LoginLayer;
use tower_oauth::login::ResponseMode;
use tower_oauth::testing::TestServer;

use crate::support::authorization_server::claims;
use crate::support::shop::*;

const MODES: [ResponseMode; 4] = [
    ResponseMode::Query,
    ResponseMode::FormPost,
    ResponseMode::Jwt,
    ResponseMode::FormPostJwt,
];

fn server_with_modes() -> TestServer {
    server().with_response_modes()
}

fn shop_in(mode: ResponseMode) -> Shop {
    shop_with(|login| login.with_response_mode(mode))
}

fn shop_with(configure: impl FnOnce(LoginLayer) -> LoginLayer) -> Shop {
    let server = server_with_modes();
    let app = app(&configure(login(&server)));
    Shop { server, app }
}

/// Starts a login of Alice, and returns the response of the authorization server: the query of the redirect, or the form.
async fn response_of_alice(shop: &Shop, jar: &mut Jar) -> String {
    let answer = shop.start("/auth/login?return_to=/notes", jar).await;
    response_to(shop, answer.location(), "alice", "wonderland").await
}

async fn response_to(shop: &Shop, location: &str, user: &str, password: &str) -> String {
    let echo = |uri: http::Uri, form: String| async move {
        format!("{}{form}", uri.query().unwrap_or_default())
    };
    let browser = shop.server.browser();
    let browser = browser
        .with_origin(SHOP, Router::new().fallback(echo))
        .unwrap();
    let page = browser.navigate(location).await.unwrap();
    page.sign_in(user, password).await.unwrap().html()
}

/// A form that a page of the authorization server submits.
fn posted(form: &str) -> Ask {
    Ask::new("POST", "/auth/callback")
        .with(&PAGE)
        .set("sec-fetch-site", "cross-site")
        .set("origin", ISSUER)
        .set("content-type", "application/x-www-form-urlencoded")
        .body(form)
}

/// The callback with a response, by the redirect that follows a form.
async fn callback(shop: &Shop, jar: &Jar, response: &str, mode: ResponseMode) -> Answer {
    let uri = match mode {
        ResponseMode::FormPost | ResponseMode::FormPostJwt => {
            // Browsers send no Lax cookies with the form.
            let answer = shop.send(posted(response)).await;
            if answer.status != StatusCode::SEE_OTHER {
                return answer;
            }
            answer.location().to_owned()
        }
        _ => format!("/auth/callback?{response}"),
    };
    shop.send(Ask::page(&uri).set("accept", "application/json").jar(jar))
        .await
}

fn code_of(answer: &Answer) -> String {
    answer.json()["code"].as_str().unwrap().to_owned()
}

/// With a browser, so with the cookies that it sends.
#[tokio::test]
async fn a_login_works_in_every_mode_and_ends_the_session_before() {
    for mode in MODES {
        let shop = shop_in(mode);
        let browser = shop.browser();
        let page = browser.navigate(&format!("{SHOP}/account")).await.unwrap();
        let page = page.sign_in("alice", "wonderland").await.unwrap();
        assert_eq!(page.text(), "account of alice", "{mode:?}");
        let alice = browser.cookie(SHOP, SESSION).unwrap();
        let copy = Jar::of(&[(SESSION, alice.value())]);
        assert_eq!(shop.greeting(&copy).await, "hello alice", "{mode:?}");

        let again = browser
            .navigate(&format!("{SHOP}/auth/login?prompt=login"))
            .await
            .unwrap();
        let page = again.sign_in("bob", "builder").await.unwrap();
        assert_eq!(page.text(), "hello bob", "{mode:?}");
        assert_eq!(shop.greeting(&copy).await, "hello stranger", "{mode:?}");
    }
}

/// The error is shown once it is verified.
#[tokio::test]
async fn an_error_response_is_read_in_every_mode() {
    for mode in MODES {
        let shop = shop_in(mode);
        let mut jar = Jar::default();
        let answer = shop
            .start("/auth/login?prompt=none&return_to=/notes", &mut jar)
            .await;
        let browser = shop.server.browser();
        let echo = |uri: http::Uri, form: String| async move {
            format!("{}{form}", uri.query().unwrap_or_default())
        };
        let browser = browser
            .with_origin(SHOP, Router::new().fallback(echo))
            .unwrap();
        let page = browser.navigate(answer.location()).await.unwrap();
        let page = match page.form("#form-post") {
            Ok(form) => form.submit().await.unwrap(),
            Err(_) => page,
        };
        let answer = callback(&shop, &jar, &page.html(), mode).await;
        // `login_required`: the silent login ended without one.
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{mode:?}: {answer:?}");
        assert_eq!(answer.location(), "/notes", "{mode:?}");
    }
}

/// Hostile: a response in a mode without the protection that was asked for.
#[tokio::test]
async fn a_response_in_another_mode_is_rejected_and_the_login_can_still_complete() {
    let jwt = "response=eyJhbGciOiJSUzI1NiJ9.e30.AA";
    for mode in MODES {
        for other in MODES {
            let shop = shop_in(mode);
            let mut jar = Jar::default();
            let good = response_of_alice(&shop, &mut jar).await;
            let calls = shop.server.requests().len();
            let foreign = match other {
                ResponseMode::Jwt | ResponseMode::FormPostJwt => jwt.to_owned(),
                // What the plain response would be, if an attacker had it.
                _ => {
                    let state = state_of(&good);
                    format!("code=x&state={state}&iss={ISSUER}")
                }
            };
            if other == mode {
                continue;
            }
            let answer = match other {
                ResponseMode::FormPost | ResponseMode::FormPostJwt => {
                    shop.send(posted(&foreign).set("accept", "application/json"))
                        .await
                }
                _ => callback(&shop, &jar, &foreign, ResponseMode::Query).await,
            };
            let name = format!("{mode:?} asked, {other:?} came: {answer:?}");
            let is_form = |mode| matches!(mode, ResponseMode::FormPost | ResponseMode::FormPostJwt);
            match is_form(other) && !is_form(mode) {
                true => {
                    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{name}");
                    assert_eq!(answer.header("allow"), "GET", "{name}");
                }
                false => {
                    assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{name}");
                    assert_eq!(code_of(&answer), "response_mode_mismatch", "{name}");
                }
            }
            assert!(answer.set_cookies().is_empty(), "{name}");
            assert_eq!(shop.server.requests().len(), calls, "{name}: no request");
            let answer = callback(&shop, &jar, &good, mode).await;
            assert_eq!(answer.status, StatusCode::SEE_OTHER, "{name}");
            assert_eq!(answer.location(), "/notes", "{name}");
        }
    }
}

/// Returns the `state` of a response.
fn state_of(response: &str) -> String {
    match parameter(&format!("/?{response}"), "response") {
        None => parameter(&format!("/?{response}"), "state").unwrap(),
        Some(jwt) => claims(&jwt)["state"].as_str().unwrap().to_owned(),
    }
}
