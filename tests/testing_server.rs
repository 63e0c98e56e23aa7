//! The test server is strict: what a real authorization server must refuse, it refuses.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::HashMap;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use serde_json::Value;
use tower::ServiceExt;
use tower_oauth::Algorithm;
use tower_oauth::testing::{
    Browser, ClientAuthentication, Endpoint, Fault, Grant, ManualClock, Page, SigningKey,
    TestClient, TestServer, TestUser,
};

const ISSUER: &str = "https://id.example.test";
const CALLBACK: &str = "https://shop.example.com/auth/callback";
const HOME: &str = "https://shop.example.com/";
const AUDIENCE: &str = "https://api.example.test";
// The pair of RFC 7636, appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

fn server() -> TestServer {
    TestServer::new(ISSUER)
        .unwrap()
        .add_client(
            TestClient::confidential("shop", "shop secret:1")
                .add_redirect_uri(CALLBACK)
                .unwrap()
                .add_post_logout_redirect_uri(HOME)
                .unwrap()
                .with_scopes("openid profile email notes:read")
                .unwrap()
                .with_audience(AUDIENCE),
        )
        .add_client(
            TestClient::public("app")
                .add_redirect_uri(CALLBACK)
                .unwrap(),
        )
        .add_client(
            TestClient::confidential("cli", "cli-secret")
                .with_scopes("notes:read notes:write")
                .unwrap()
                .with_grants([Grant::ClientCredentials])
                .with_audience(AUDIENCE),
        )
        .add_client(
            TestClient::confidential("posting", "secret")
                .with_authentication(ClientAuthentication::Post)
                .with_grants([Grant::ClientCredentials]),
        )
        .add_user(
            TestUser::new("alice", "wonderland")
                .with_subject("subject-of-alice")
                .with_claim("email", "alice@example.test")
                .with_claim("name", "Alice <Liddell>"),
        )
        .add_user(TestUser::new("bob", "builder"))
}

fn browser(server: &TestServer) -> Browser {
    let shop = Router::new()
        .route("/", get(async || "home"))
        .route("/auth/callback", get(async || "callback"));
    server
        .browser()
        .with_origin("https://shop.example.com", shop)
        .unwrap()
}

/// A good authorization request with some parameters replaced, or taken away where they are empty.
fn authorize(changes: &[(&str, &str)]) -> String {
    let mut pairs: Vec<(&str, &str)> = vec![
        ("response_type", "code"),
        ("client_id", "shop"),
        ("redirect_uri", CALLBACK),
        ("scope", "openid profile"),
        ("state", "the state"),
        ("nonce", "the-nonce"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ];
    for (name, value) in changes {
        pairs.retain(|(other, _)| other != name);
        pairs.push((name, value));
    }
    let query = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish();
    format!("{ISSUER}/authorize?{query}")
}

fn query(page: &Page) -> HashMap<String, String> {
    let url = url::Url::parse(page.url()).unwrap();
    url.query_pairs().into_owned().collect()
}

async fn code(server: &TestServer) -> String {
    let page = browser(server).navigate(&authorize(&[])).await.unwrap();
    let page = page.sign_in("alice", "wonderland").await.unwrap();
    query(&page)["code"].clone()
}

fn basic(id: &str, secret: &str) -> String {
    let encode =
        |text: &str| -> String { url::form_urlencoded::byte_serialize(text.as_bytes()).collect() };
    let pair = format!("{}:{}", encode(id), encode(secret));
    format!("Basic {}", STANDARD.encode(pair))
}

async fn post(
    server: &TestServer,
    authorization: Option<&str>,
    pairs: &[(&str, &str)],
) -> Response<Bytes> {
    let body = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish();
    let mut request = Request::post(format!("{ISSUER}/token"))
        .header("content-type", "application/x-www-form-urlencoded");
    if let Some(authorization) = authorization {
        request = request.header("authorization", authorization);
    }
    let request = request.body(Bytes::from(body)).unwrap();
    server.back_channel().oneshot(request).await.unwrap()
}

async fn redeem(server: &TestServer, code: &str, changes: &[(&str, &str)]) -> Response<Bytes> {
    let mut pairs = vec![
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", CALLBACK),
        ("code_verifier", VERIFIER),
    ];
    for (name, value) in changes {
        pairs.retain(|(other, _)| other != name);
        pairs.push((name, value));
    }
    post(server, Some(&basic("shop", "shop secret:1")), &pairs).await
}

async fn refresh(server: &TestServer, token: &str, scope: &str) -> Response<Bytes> {
    let pairs = [
        ("grant_type", "refresh_token"),
        ("refresh_token", token),
        ("scope", scope),
    ];
    post(server, Some(&basic("shop", "shop secret:1")), &pairs).await
}

async fn userinfo(server: &TestServer, token: &str) -> Response<Bytes> {
    let request = Request::get(format!("{ISSUER}/userinfo"))
        .header("authorization", format!("Bearer {token}"))
        .body(Bytes::new())
        .unwrap();
    server.back_channel().oneshot(request).await.unwrap()
}

async fn document(server: &TestServer, path: &str) -> Value {
    let request = Request::get(format!("{ISSUER}{path}"))
        .body(Bytes::new())
        .unwrap();
    json(&server.back_channel().oneshot(request).await.unwrap())
}

fn json(response: &Response<Bytes>) -> Value {
    serde_json::from_slice(response.body()).unwrap()
}

fn error(response: &Response<Bytes>) -> String {
    json(response)["error"].as_str().unwrap().to_owned()
}

/// The payload of a token, unverified: the bearer layer's own tests verify.
fn claims(token: &str) -> Value {
    part(token, 1)
}

fn part(token: &str, at: usize) -> Value {
    let part = token.split('.').nth(at).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

#[tokio::test]
async fn the_code_flow_leads_from_the_sign_in_page_to_tokens() {
    let server = server();
    let page = browser(&server).navigate(&authorize(&[])).await.unwrap();
    assert_eq!(page.title(), "Sign in");
    assert!(page.text().contains("shop"), "{}", page.text());
    let form = page.form("#sign-in").unwrap();
    let form = form.fill("username", "alice").unwrap();
    let page = form
        .fill("password", "wonderland")
        .unwrap()
        .submit()
        .await
        .unwrap();

    assert_eq!(page.title(), "Allow access?");
    assert!(page.text().contains("openid") && page.text().contains("profile"));
    let page = page.form("#consent").unwrap().press("Allow").await.unwrap();

    let answer = query(&page);
    assert_eq!(page.text(), "callback");
    assert_eq!(answer["state"], "the state");
    assert_eq!(answer["iss"], ISSUER);

    let response = redeem(&server, &answer["code"], &[]).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert_eq!(response.headers()["pragma"], "no-cache");
    let tokens = json(&response);
    assert_eq!(tokens["token_type"], "Bearer");
    assert_eq!(tokens["expires_in"], 300);
    assert_eq!(tokens["scope"], "openid profile");

    let access_token = tokens["access_token"].as_str().unwrap();
    let header = part(access_token, 0);
    assert_eq!(header["typ"], "at+jwt");
    assert_eq!(header["alg"], "RS256");
    let access = claims(access_token);
    assert_eq!(access["aud"], AUDIENCE);
    assert_eq!(access["sub"], "subject-of-alice");
    assert_eq!(access["client_id"], "shop");
    assert_eq!(access["scope"], "openid profile");

    let id = claims(tokens["id_token"].as_str().unwrap());
    assert_eq!(id["iss"], ISSUER);
    assert_eq!(id["aud"], "shop");
    assert_eq!(id["nonce"], "the-nonce");
    assert_eq!(id["auth_time"], 1_800_000_000);
    assert!(id["sid"].is_string() && id["at_hash"].is_string());

    let info = json(&userinfo(&server, access_token).await);
    assert_eq!(info["sub"], "subject-of-alice");
    assert_eq!(info["name"], "Alice <Liddell>");
    assert_eq!(info.get("email"), None, "email was not asked for");
}

#[tokio::test]
async fn no_redirect_ever_goes_to_an_unregistered_place() {
    let server = server();
    let trailing = format!("{CALLBACK}/");
    let with_query = format!("{CALLBACK}?x=1");
    for (name, changes) in [
        ("unknown client", vec![("client_id", "nobody")]),
        ("no client", vec![("client_id", "")]),
        ("no redirect URI", vec![("redirect_uri", "")]),
        ("trailing slash", vec![("redirect_uri", &*trailing)]),
        ("a query more", vec![("redirect_uri", &*with_query)]),
        (
            "other host",
            vec![("redirect_uri", "https://evil.example/auth/callback")],
        ),
        (
            "upper case",
            vec![("redirect_uri", "https://SHOP.example.com/auth/callback")],
        ),
        ("client without any", vec![("client_id", "cli")]),
    ] {
        let page = browser(&server)
            .navigate(&authorize(&changes))
            .await
            .unwrap();
        assert_eq!(page.status(), StatusCode::BAD_REQUEST, "{name}");
        assert!(page.redirects().is_empty(), "{name}");
        assert!(page.url().starts_with(ISSUER), "{name}");
    }
    let twice = format!("{}&redirect_uri=https://evil.example/", authorize(&[]));
    let page = browser(&server).navigate(&twice).await.unwrap();
    assert_eq!(page.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_bad_request_of_a_known_client_is_answered_by_redirect() {
    let server = server();
    for (name, changes, expected) in [
        (
            "no response type",
            vec![("response_type", "")],
            "invalid_request",
        ),
        (
            "implicit",
            vec![("response_type", "token")],
            "unsupported_response_type",
        ),
        (
            "hybrid",
            vec![("response_type", "code id_token")],
            "unsupported_response_type",
        ),
        (
            "form post",
            vec![("response_mode", "form_post")],
            "invalid_request",
        ),
        ("no PKCE", vec![("code_challenge", "")], "invalid_request"),
        (
            "no method",
            vec![("code_challenge_method", "")],
            "invalid_request",
        ),
        (
            "plain",
            vec![("code_challenge_method", "plain")],
            "invalid_request",
        ),
        (
            "no digest",
            vec![("code_challenge", "abc")],
            "invalid_request",
        ),
        ("no scope", vec![("scope", "")], "invalid_scope"),
        (
            "foreign scope",
            vec![("scope", "openid notes:write")],
            "invalid_scope",
        ),
        ("odd scope", vec![("scope", "a\"b")], "invalid_scope"),
        ("odd prompt", vec![("prompt", "create")], "invalid_request"),
        (
            "none and login",
            vec![("prompt", "none login")],
            "invalid_request",
        ),
        ("odd max_age", vec![("max_age", "-1")], "invalid_request"),
        (
            "request object",
            vec![("request", "e30.e30.")],
            "request_not_supported",
        ),
        (
            "by reference",
            vec![("request_uri", "urn:x")],
            "request_uri_not_supported",
        ),
        (
            "nobody signed in",
            vec![("prompt", "none")],
            "login_required",
        ),
        (
            "foreign hint",
            vec![("id_token_hint", "a.b.c")],
            "invalid_request",
        ),
    ] {
        let page = browser(&server)
            .navigate(&authorize(&changes))
            .await
            .unwrap();
        assert!(page.url().starts_with(CALLBACK), "{name}: {}", page.url());
        let answer = query(&page);
        assert_eq!(answer["error"], expected, "{name}");
        assert_eq!(answer["state"], "the state", "{name}");
        assert_eq!(answer["iss"], ISSUER, "{name}");
        assert!(!answer.contains_key("code"), "{name}");
    }
    let twice = format!("{}&nonce=other", authorize(&[]));
    let page = browser(&server).navigate(&twice).await.unwrap();
    assert_eq!(query(&page)["error"], "invalid_request");
}

#[tokio::test]
async fn a_wrong_password_is_told_on_the_page_and_can_be_tried_again() {
    let server = server();
    let browser = browser(&server);
    let page = browser
        .navigate(&authorize(&[("login_hint", "ali\"ce<")]))
        .await
        .unwrap();
    assert_eq!(page.form("").unwrap().value("username"), Some("ali\"ce<"));
    for (username, password) in [("alice", "builder"), ("nobody", "wonderland"), ("<b>", "")] {
        let page = page.sign_in(username, password).await.unwrap();
        assert_eq!(page.status(), StatusCode::UNPROCESSABLE_ENTITY);
        assert!(
            page.text().contains("user name or the password is wrong"),
            "{}",
            page.text()
        );
        assert!(!page.html().contains("<b>"), "what was typed is escaped");
        assert_eq!(page.form("").unwrap().value("username"), Some(username));
    }
    let page = page.sign_in("alice", "wonderland").await.unwrap();
    assert!(query(&page).contains_key("code"));
}

#[tokio::test]
async fn whoever_denies_is_sent_back_with_access_denied() {
    let server = server();
    let page = browser(&server).navigate(&authorize(&[])).await.unwrap();
    let form = page
        .form("#sign-in")
        .unwrap()
        .fill("username", "bob")
        .unwrap();
    let page = form
        .fill("password", "builder")
        .unwrap()
        .submit()
        .await
        .unwrap();
    let denied = page.form("#consent").unwrap().press("deny").await.unwrap();
    assert_eq!(query(&denied)["error"], "access_denied");

    // The page is used up.
    let again = page.form("#consent").unwrap().press("allow").await.unwrap();
    assert_eq!(again.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn pages_carry_a_policy_that_lets_nothing_in() {
    let server = server();
    let page = browser(&server).navigate(&authorize(&[])).await.unwrap();
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'none'"), "{policy}");
    assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
    assert!(
        policy.contains("form-action 'self' https://shop.example.com;"),
        "{policy}"
    );
    assert_eq!(page.header("cache-control"), Some("no-store"));
    assert_eq!(page.header("x-frame-options"), Some("DENY"));
    assert!(!page.html().contains("<script"));
    assert!(
        policy.contains("style-src 'sha256-") && !policy.contains("unsafe"),
        "{policy}"
    );
}

#[tokio::test]
async fn the_sign_in_form_takes_nothing_from_elsewhere() {
    let server = server();
    let victim = browser(&server);
    let attacker = browser(&server);
    // The attacker opens the page, and plants its form with a password of theirs into the victim's browser.
    let opened = attacker.navigate(&authorize(&[])).await.unwrap();
    let field = opened.form("").unwrap().value("page").unwrap().to_owned();
    victim.navigate(&authorize(&[])).await.unwrap();
    let html = format!(
        "<form method=post action='{ISSUER}/sign-in'><input name=page value='{field}'>\
         <input name=username value=bob><input name=password value=builder><button>go</button></form>",
    );
    for (browser, status) in [
        (victim.clone(), StatusCode::FORBIDDEN),
        // Without fetch metadata `Origin` is the evidence.
        (victim.without_fetch_metadata(), StatusCode::FORBIDDEN),
    ] {
        let page = browser.document("https://evil.example/", &html).unwrap();
        let page = page.form("").unwrap().submit().await.unwrap();
        assert_eq!(page.status(), status);
    }
    // Without any evidence the hidden field is still another browser's.
    let body = format!("page={field}&username=bob&password=builder");
    let request = Request::post(format!("{ISSUER}/sign-in"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Bytes::from(body))
        .unwrap();
    let response = server.back_channel().oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn the_sign_in_page_cannot_be_skipped_by_its_own_hidden_field() {
    let server = server();
    let browser = browser(&server);
    let page = browser.navigate(&authorize(&[])).await.unwrap();
    page.sign_in("alice", "wonderland").await.unwrap();
    let page = browser
        .navigate(&authorize(&[("prompt", "login")]))
        .await
        .unwrap();
    let field = page
        .form("#sign-in")
        .unwrap()
        .value("page")
        .unwrap()
        .to_owned();
    let html = format!(
        "<form method=post action=/consent><input name=page value='{field}'>\
         <input name=decision value=allow></form>",
    );
    let forged = browser.document(&format!("{ISSUER}/"), &html).unwrap();
    let answer = forged.form("").unwrap().submit().await.unwrap();
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn prompt_and_max_age_decide_whether_somebody_sees_a_page() {
    let server = server();
    let browser = browser(&server);
    let open =
        async |changes: &[(&str, &str)]| browser.navigate(&authorize(changes)).await.unwrap();
    let first = open(&[])
        .await
        .sign_in("alice", "wonderland")
        .await
        .unwrap();
    let first = redeem(&server, &query(&first)["code"], &[]).await;
    let hint = json(&first)["id_token"].as_str().unwrap().to_owned();

    // Signed in and agreed: straight through, silently as well.
    assert!(query(&open(&[]).await).contains_key("code"));
    assert!(query(&open(&[("prompt", "none")]).await).contains_key("code"));
    let hinted = open(&[("prompt", "none"), ("id_token_hint", &hint)]).await;
    assert!(query(&hinted).contains_key("code"));
    // More than was agreed to.
    assert_eq!(
        open(&[("scope", "openid email")]).await.title(),
        "Allow access?"
    );
    let silent = open(&[("prompt", "none"), ("scope", "openid email")]).await;
    assert_eq!(query(&silent)["error"], "consent_required");
    assert_eq!(
        open(&[("prompt", "consent")]).await.title(),
        "Allow access?"
    );

    server.clock().advance(Duration::from_secs(100));
    assert!(query(&open(&[("max_age", "100")]).await).contains_key("code"));
    let silent = open(&[("max_age", "99"), ("prompt", "none")]).await;
    assert_eq!(query(&silent)["error"], "login_required");
    for changes in [
        [("max_age", "99")],
        [("prompt", "login")],
        [("max_age", "0")],
    ] {
        let page = open(&changes).await;
        assert_eq!(page.title(), "Sign in", "{changes:?}");
        let page = page.sign_in("alice", "wonderland").await.unwrap();
        let tokens = redeem(&server, &query(&page)["code"], &[]).await;
        let id = claims(json(&tokens)["id_token"].as_str().unwrap());
        assert_eq!(id["auth_time"], 1_800_000_100, "{changes:?}");
    }

    // Somebody else than the hint says.
    let page = open(&[("prompt", "login"), ("id_token_hint", &hint)]).await;
    let page = page.sign_in("bob", "builder").await.unwrap();
    assert_eq!(query(&page)["error"], "login_required");
}

#[tokio::test]
async fn a_code_is_good_once_for_its_client_its_redirect_uri_and_its_verifier() {
    let server = server();
    let other_verifier = "a".repeat(43);
    for (name, changes, expected) in [
        (
            "wrong verifier",
            vec![("code_verifier", &*other_verifier)],
            "invalid_grant",
        ),
        (
            "challenge as verifier",
            vec![("code_verifier", CHALLENGE)],
            "invalid_grant",
        ),
        (
            "no verifier",
            vec![("code_verifier", "")],
            "invalid_request",
        ),
        (
            "other redirect URI",
            vec![("redirect_uri", HOME)],
            "invalid_grant",
        ),
        (
            "no redirect URI",
            vec![("redirect_uri", "")],
            "invalid_request",
        ),
        ("unknown code", vec![("code", "unknown")], "invalid_grant"),
        ("no code", vec![("code", "")], "invalid_request"),
        ("no grant type", vec![("grant_type", "")], "invalid_request"),
        (
            "unknown grant type",
            vec![("grant_type", "password")],
            "unsupported_grant_type",
        ),
        (
            "foreign grant type",
            vec![("grant_type", "client_credentials")],
            "unauthorized_client",
        ),
    ] {
        let code = code(&server).await;
        let response = redeem(&server, &code, &changes).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{name}");
        assert_eq!(error(&response), expected, "{name}");
        assert_eq!(response.headers()["cache-control"], "no-store", "{name}");
    }

    // Another client's code.
    let stolen = code(&server).await;
    let pairs = [
        ("grant_type", "authorization_code"),
        ("code", stolen.as_str()),
        ("redirect_uri", CALLBACK),
        ("code_verifier", VERIFIER),
        ("client_id", "app"),
    ];
    assert_eq!(error(&post(&server, None, &pairs).await), "invalid_grant");
    assert_eq!(redeem(&server, &stolen, &[]).await.status(), StatusCode::OK);

    // Too late.
    let late = code(&server).await;
    server.clock().advance(Duration::from_secs(60));
    assert_eq!(error(&redeem(&server, &late, &[]).await), "invalid_grant");
}

#[tokio::test]
async fn a_replayed_code_takes_back_what_it_brought() {
    let server = server();
    let code = code(&server).await;
    let tokens = json(&redeem(&server, &code, &[]).await);
    let access_token = tokens["access_token"].as_str().unwrap();
    assert_eq!(
        userinfo(&server, access_token).await.status(),
        StatusCode::OK
    );

    assert_eq!(error(&redeem(&server, &code, &[]).await), "invalid_grant");
    let refused = userinfo(&server, access_token).await;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(
        refused.headers()["www-authenticate"],
        "Bearer error=\"invalid_token\""
    );
    let refreshed = refresh(&server, tokens["refresh_token"].as_str().unwrap(), "").await;
    assert_eq!(error(&refreshed), "invalid_grant");
}

#[tokio::test]
async fn refresh_tokens_rotate_and_a_replay_ends_the_grant() {
    let server = server();
    let first = json(&redeem(&server, &code(&server).await, &[]).await);
    let first = first["refresh_token"].as_str().unwrap();
    assert_eq!(
        error(&refresh(&server, first, "openid email").await),
        "invalid_scope"
    );

    let second = refresh(&server, first, "openid").await;
    assert_eq!(second.status(), StatusCode::OK);
    let second = json(&second);
    assert_eq!(second["scope"], "openid");
    assert_eq!(
        claims(second["id_token"].as_str().unwrap())["nonce"],
        "the-nonce"
    );
    let rotated = second["refresh_token"].as_str().unwrap();
    assert_ne!(rotated, first);

    assert_eq!(error(&refresh(&server, first, "").await), "invalid_grant");
    assert_eq!(error(&refresh(&server, rotated, "").await), "invalid_grant");
    assert_eq!(
        error(&refresh(&server, "unknown", "").await),
        "invalid_grant"
    );
}

#[tokio::test]
async fn a_client_proves_who_it_is_in_its_own_one_way() {
    let server = server();
    let good = basic("cli", "cli-secret");
    let shop = basic("shop", "shop secret:1");
    let wrong = basic("cli", "other");
    let posting = basic("posting", "secret");
    let unknown = basic("nobody", "x");
    let grant = ("grant_type", "client_credentials");
    type Case<'a> = (
        &'a str,
        Option<&'a str>,
        Vec<(&'a str, &'a str)>,
        u16,
        &'a str,
    );
    let cases: Vec<Case<'_>> = vec![
        ("basic", Some(&good), vec![grant], 200, ""),
        (
            "post",
            None,
            vec![grant, ("client_id", "cli"), ("client_secret", "cli-secret")],
            200,
            "",
        ),
        (
            "wrong secret",
            Some(&wrong),
            vec![grant],
            401,
            "invalid_client",
        ),
        (
            "unknown client",
            Some(&unknown),
            vec![grant],
            401,
            "invalid_client",
        ),
        (
            "no secret",
            None,
            vec![grant, ("client_id", "cli")],
            401,
            "invalid_client",
        ),
        ("nobody", None, vec![grant], 401, "invalid_client"),
        (
            "garbage",
            Some("Basic !"),
            vec![grant],
            401,
            "invalid_client",
        ),
        (
            "other scheme",
            Some("Bearer x"),
            vec![grant],
            401,
            "invalid_client",
        ),
        (
            "both ways",
            Some(&good),
            vec![grant, ("client_secret", "cli-secret")],
            400,
            "invalid_request",
        ),
        (
            "two names",
            Some(&good),
            vec![grant, ("client_id", "shop")],
            400,
            "invalid_request",
        ),
        (
            "not its way",
            Some(&posting),
            vec![grant],
            401,
            "invalid_client",
        ),
        (
            "a secret from a public client",
            None,
            vec![grant, ("client_id", "app"), ("client_secret", "x")],
            401,
            "invalid_client",
        ),
        (
            "public client",
            None,
            vec![grant, ("client_id", "app")],
            400,
            "unauthorized_client",
        ),
        (
            "not allowed",
            Some(&shop),
            vec![grant],
            400,
            "unauthorized_client",
        ),
        (
            "twice",
            Some(&good),
            vec![grant, grant],
            400,
            "invalid_request",
        ),
        (
            "foreign scope",
            Some(&good),
            vec![grant, ("scope", "admin")],
            400,
            "invalid_scope",
        ),
    ];
    for (name, authorization, pairs, status, expected) in cases {
        let response = post(&server, authorization, &pairs).await;
        assert_eq!(response.status(), status, "{name}");
        assert_eq!(response.headers()["cache-control"], "no-store", "{name}");
        if status == 401 {
            assert!(
                response.headers().contains_key("www-authenticate"),
                "{name}"
            );
        }
        if status != 200 {
            assert_eq!(error(&response), expected, "{name}");
        }
    }
    let tokens = json(&post(&server, Some(&good), &[grant, ("scope", "notes:read")]).await);
    assert_eq!(tokens.get("refresh_token"), None);
    let claims = claims(tokens["access_token"].as_str().unwrap());
    assert_eq!(
        (&claims["sub"], &claims["scope"]),
        (&"cli".into(), &"notes:read".into())
    );
    // Its token opens no userinfo: nobody signed in.
    let refused = userinfo(&server, tokens["access_token"].as_str().unwrap()).await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn methods_and_media_types_are_held_to() {
    let server = server();
    for (method, path, body_type, status) in [
        ("GET", "/token", "", 405),
        ("POST", "/token", "application/json", 400),
        ("POST", "/token", "", 400),
        ("POST", "/jwks", "", 405),
        ("DELETE", "/authorize", "", 405),
        ("GET", "/sign-in", "", 405),
        ("GET", "/nowhere", "", 404),
        ("GET", "/userinfo", "", 401),
    ] {
        let request = Request::builder()
            .method(method)
            .uri(format!("{ISSUER}{path}"))
            .header("content-type", body_type)
            .body(Bytes::from_static(b"grant_type=client_credentials"))
            .unwrap();
        let response = server.back_channel().oneshot(request).await.unwrap();
        assert_eq!(response.status(), status, "{method} {path} {body_type}");
    }
}

#[tokio::test]
async fn metadata_is_found_at_both_places_and_under_a_path() {
    let openid = document(&server(), "/.well-known/openid-configuration").await;
    let oauth = document(&server(), "/.well-known/oauth-authorization-server").await;
    assert_eq!(openid, oauth);
    assert_eq!(openid["issuer"], ISSUER);
    assert_eq!(
        openid["code_challenge_methods_supported"],
        serde_json::json!(["S256"])
    );
    assert_eq!(
        openid["authorization_response_iss_parameter_supported"],
        true
    );

    let tenant = TestServer::new("https://id.example.test/tenant").unwrap();
    for (path, found) in [
        ("/tenant/.well-known/openid-configuration", true),
        ("/.well-known/oauth-authorization-server/tenant", true),
        ("/.well-known/openid-configuration", false),
        ("/.well-known/oauth-authorization-server", false),
    ] {
        let request = Request::get(path).body(Bytes::new()).unwrap();
        let response = tenant.back_channel().oneshot(request).await.unwrap();
        assert_eq!(response.status() == StatusCode::OK, found, "{path}");
    }
    for refused in [
        "http://id.example.test",
        "id.example.test",
        "https://id.example.test/?x",
    ] {
        let error = TestServer::new(refused).unwrap_err();
        assert!(error.to_string().contains(refused), "{error}");
    }
}

#[tokio::test]
async fn keys_rotate_and_are_withdrawn() {
    let server = server();
    let kids = async || -> Vec<String> {
        let set = document(&server, "/jwks").await;
        let keys = set["keys"].as_array().unwrap();
        keys.iter()
            .map(|key| key["kid"].as_str().unwrap().to_owned())
            .collect()
    };
    let first = server.key(Algorithm::Rs256);
    assert_eq!(kids().await, [first.kid()]);
    server.rotate_keys();
    let second = server.key(Algorithm::Rs256);
    assert_eq!(kids().await, [first.kid(), second.kid()]);
    assert_eq!(part(&server.access_token().sign(), 0)["kid"], second.kid());
    server.withdraw_old_keys();
    assert_eq!(kids().await, [second.kid()]);

    let elliptic = server.key(Algorithm::Es256);
    assert_eq!(kids().await, [second.kid(), elliptic.kid()]);
    let stranger = SigningKey::generate(Algorithm::Es256).with_kid("stranger");
    server.publish_key(&stranger);
    server.withdraw_key(elliptic.kid());
    assert_eq!(kids().await, [second.kid(), "stranger"]);
    server.sign_with(&stranger);
    let token = server
        .access_token()
        .with_algorithm(Algorithm::Es256)
        .sign();
    assert_eq!(part(&token, 0)["kid"], "stranger");
    server.publish_jwk(serde_json::json!({ "kty": "oct", "k": "AA", "kid": "odd" }));
    assert_eq!(kids().await.last().unwrap(), "odd");
}

#[tokio::test]
async fn requests_are_recorded_counted_and_waited_for() {
    let server = server();
    let waiting = {
        let server = server.clone();
        tokio::spawn(async move { server.wait_for(Endpoint::Token, 2).await })
    };
    tokio::task::yield_now().await;
    post(&server, None, &[("grant_type", "x"), ("client_id", "cli")]).await;
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    post(&server, Some("Basic x"), &[("grant_type", "y")]).await;
    waiting.await.unwrap();

    assert_eq!(server.count(Endpoint::Token), 2);
    assert_eq!(server.count(Endpoint::KeySet), 0);
    let requests = server.requests();
    assert_eq!(requests[0].endpoint(), Endpoint::Token);
    assert_eq!(requests[0].parameter("client_id").as_deref(), Some("cli"));
    assert_eq!(requests[1].header("authorization"), Some("Basic x"));
    server.forget_requests();
    assert_eq!(server.requests().len(), 0);
}

#[tokio::test]
async fn faults_come_on_demand_and_go() {
    let server = server();
    let ask = async || {
        let request = Request::get("/jwks").body(Bytes::new()).unwrap();
        server.back_channel().oneshot(request).await
    };
    server.fail_once(Endpoint::KeySet, Fault::status(503));
    assert_eq!(ask().await.unwrap().status(), 503);
    assert_eq!(ask().await.unwrap().status(), 200);

    server.fail_times(Endpoint::KeySet, 2, Fault::disconnect());
    assert!(ask().await.is_err() && ask().await.is_err());
    assert_eq!(ask().await.unwrap().status(), 200);

    server.fail(Endpoint::KeySet, Fault::body("text/html", "<p>no</p>"));
    server.fail(Endpoint::KeySet, Fault::status(502));
    for _ in 0..3 {
        let answer = ask().await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), answer.body().as_ref()),
            (502, &b"<p>no</p>"[..])
        );
    }
    server.mend(Endpoint::KeySet);
    server.fail_once(Endpoint::KeySet, Fault::without_member("keys"));
    assert_eq!(json(&ask().await.unwrap()), serde_json::json!({}));

    server.fail_once(Endpoint::KeySet, Fault::delay(Duration::from_secs(10)));
    let clock = server.clock();
    let (answer, ()) = tokio::join!(ask(), async {
        clock.wait_for_sleepers(1).await;
        clock.advance(Duration::from_secs(10));
    });
    assert_eq!(answer.unwrap().status(), 200);
    assert_eq!(server.count(Endpoint::KeySet), 10, "failures count as well");
}

#[tokio::test]
async fn a_lost_answer_was_nevertheless_given() {
    let server = server();
    let code = code(&server).await;
    server.fail_once(Endpoint::Token, Fault::lose_answer());
    let body = format!(
        "grant_type=authorization_code&code={code}&code_verifier={VERIFIER}&redirect_uri={CALLBACK}"
    );
    let request = Request::post("/token")
        .header("content-type", "application/x-www-form-urlencoded")
        .header("authorization", basic("shop", "shop secret:1"))
        .body(Bytes::from(body))
        .unwrap();
    assert!(server.back_channel().oneshot(request).await.is_err());
    assert_eq!(error(&redeem(&server, &code, &[]).await), "invalid_grant");
}

#[tokio::test]
async fn tokens_and_redirects_go_wrong_on_demand() {
    let server = server();
    server.fail_once(
        Endpoint::Token,
        Fault::id_token(|mint| mint.with_claim("nonce", "other").without_claim("at_hash")),
    );
    server.fail_once(
        Endpoint::Token,
        Fault::access_token(|mint| mint.with_audience("https://other.example.test")),
    );
    server.fail_once(Endpoint::Token, Fault::member("token_type", "mac"));
    let tokens = json(&redeem(&server, &code(&server).await, &[]).await);
    let id = claims(tokens["id_token"].as_str().unwrap());
    assert_eq!((&id["nonce"], id.get("at_hash")), (&"other".into(), None));
    let access = claims(tokens["access_token"].as_str().unwrap());
    assert_eq!(access["aud"], "https://other.example.test");
    assert_eq!(tokens["token_type"], "mac");

    // Whichever page the redirect comes from.
    server.fail_once(
        Endpoint::Authorization,
        Fault::parameter("iss", "https://evil.example"),
    );
    server.fail_once(Endpoint::Authorization, Fault::without_parameter("state"));
    let page = browser(&server).navigate(&authorize(&[])).await.unwrap();
    let answer = query(&page.sign_in("alice", "wonderland").await.unwrap());
    assert_eq!(answer["iss"], "https://evil.example");
    assert!(answer.contains_key("code") && !answer.contains_key("state"));
}

#[tokio::test]
async fn logout_with_a_hint_of_this_sign_in_needs_no_question() {
    let server = server();
    let browser = browser(&server);
    let page = browser.navigate(&authorize(&[])).await.unwrap();
    let page = page.sign_in("alice", "wonderland").await.unwrap();
    let tokens = json(&redeem(&server, &query(&page)["code"], &[]).await);
    let hint = tokens["id_token"].as_str().unwrap();
    // It may be old.
    server.clock().advance(Duration::from_secs(86_400));
    let url = format!(
        "{ISSUER}/end-session?id_token_hint={hint}&post_logout_redirect_uri={HOME}&state=s%20t"
    );
    let page = browser.navigate(&url).await.unwrap();
    assert_eq!(page.url(), "https://shop.example.com/?state=s+t");
    let page = browser
        .navigate(&authorize(&[("prompt", "none")]))
        .await
        .unwrap();
    assert_eq!(query(&page)["error"], "login_required");
}

#[tokio::test]
async fn logout_without_a_hint_asks_the_person() {
    let server = server();
    let browser = browser(&server);
    let page = browser.navigate(&authorize(&[])).await.unwrap();
    page.sign_in("alice", "wonderland").await.unwrap();
    let signed_in = async || {
        let page = browser
            .navigate(&authorize(&[("prompt", "none")]))
            .await
            .unwrap();
        query(&page).contains_key("code")
    };
    let url = format!("{ISSUER}/end-session?client_id=shop&post_logout_redirect_uri={HOME}");
    let page = browser.navigate(&url).await.unwrap();
    assert_eq!(page.title(), "Sign out?");
    assert!(signed_in().await);
    let page = page
        .form("#end-session")
        .unwrap()
        .press("Sign out")
        .await
        .unwrap();
    assert_eq!(page.url(), HOME);
    assert!(!signed_in().await);
}

#[tokio::test]
async fn logout_leads_only_to_registered_places() {
    let server = server();
    for (name, parameters) in [
        (
            "unregistered",
            "client_id=shop&post_logout_redirect_uri=https://evil.example/",
        ),
        (
            "no client",
            "post_logout_redirect_uri=https://shop.example.com/",
        ),
        (
            "other client",
            "client_id=app&post_logout_redirect_uri=https://shop.example.com/",
        ),
        (
            "forged hint",
            "id_token_hint=e30.e30.&post_logout_redirect_uri=https://shop.example.com/",
        ),
        ("twice", "client_id=shop&client_id=shop"),
    ] {
        let url = format!("{ISSUER}/end-session?{parameters}");
        let page = browser(&server).navigate(&url).await.unwrap();
        assert_eq!(page.status(), StatusCode::BAD_REQUEST, "{name}");
        assert!(page.redirects().is_empty(), "{name}");
    }
    let page = browser(&server)
        .navigate(&format!("{ISSUER}/end-session"))
        .await
        .unwrap();
    assert_eq!(page.title(), "Signed out");
}

#[tokio::test]
async fn the_server_listens_on_a_socket_until_it_is_dropped() {
    let (server, listening) = TestServer::start("127.0.0.1:0").await.unwrap();
    let callback = format!("{}/nowhere", server.issuer());
    let server = server
        .add_client(
            TestClient::public("app")
                .without_consent()
                .add_redirect_uri(&callback)
                .unwrap(),
        )
        .add_user(TestUser::new("alice", "wonderland"));
    assert_eq!(
        server.issuer(),
        format!("http://{}", listening.local_addr())
    );
    let url = format!(
        "{}/authorize?response_type=code&client_id=app&redirect_uri={callback}&scope=openid\
         &code_challenge={CHALLENGE}&code_challenge_method=S256",
        server.issuer(),
    );
    let page = Browser::new().navigate(&url).await.unwrap();
    let page = page.sign_in("alice", "wonderland").await.unwrap();
    assert_eq!(page.status(), StatusCode::NOT_FOUND);
    assert!(query(&page).contains_key("code"));

    server.fail_once(Endpoint::KeySet, Fault::disconnect());
    let keys = format!("{}/jwks", server.issuer());
    assert!(Browser::new().navigate(&keys).await.is_err());
    assert!(Browser::new().navigate(&keys).await.is_ok());
    drop(listening);
    assert!(Browser::new().navigate(&keys).await.is_err());
}

#[tokio::test]
async fn every_algorithm_signs_what_the_bearer_layer_accepts() {
    let server = server();
    let api = Router::new()
        .route("/", get(async || "notes"))
        .layer(tower_oauth::BearerLayer::jwt(&server.authorization_server(), AUDIENCE).unwrap());
    let status = async |token: String| {
        let request = Request::get("/").header("authorization", format!("Bearer {token}"));
        let request = request.body(axum::body::Body::empty()).unwrap();
        api.clone().oneshot(request).await.unwrap().status()
    };
    let algorithms = [
        Algorithm::Rs256,
        Algorithm::Ps256,
        Algorithm::Es256,
        Algorithm::Es384,
        Algorithm::EdDsa,
    ];
    // All published before the application fetches the key set.
    algorithms
        .iter()
        .for_each(|algorithm| drop(server.key(*algorithm)));
    for algorithm in algorithms {
        let good = server
            .access_token()
            .with_audience(AUDIENCE)
            .with_algorithm(algorithm);
        assert_eq!(status(good.sign()).await, StatusCode::OK, "{algorithm}");
        for (name, bad) in [
            ("broken", good.clone().with_broken_signature()),
            ("foreign", good.clone().with_foreign_key()),
            ("none", good.clone().without_signature()),
            (
                "hmac",
                good.clone()
                    .with_hmac(server.key(algorithm).public_jwk().to_string()),
            ),
            ("twice", good.clone().add_raw_claim("aud", "\"x\"")),
            ("infinite", good.clone().with_raw_claim("exp", "1e400")),
            ("raw", good.clone().with_payload_text("[]")),
            ("header", good.clone().with_header_text("{}")),
        ] {
            assert_eq!(
                status(bad.sign()).await,
                StatusCode::UNAUTHORIZED,
                "{algorithm} {name}"
            );
        }
    }
    assert_eq!(server.count(Endpoint::KeySet), 1);
}

#[tokio::test]
async fn two_servers_never_share_a_key() {
    let (one, other) = (server(), server());
    assert_ne!(
        one.key(Algorithm::Rs256).kid(),
        other.key(Algorithm::Rs256).kid()
    );
}

#[tokio::test]
async fn a_ticking_clock_shows_the_time_and_can_be_pushed() {
    use tower_oauth::clock::Clock;

    let clock = ManualClock::ticking();
    let now = clock.unix_seconds();
    let system = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    assert!(now.abs_diff(i64::try_from(system).unwrap()) <= 1);
    let sleep = clock.sleep(Duration::from_secs(3600));
    let (_, ()) = tokio::join!(sleep, async {
        clock.wait_for_sleepers(1).await;
        clock.advance(Duration::from_secs(3600));
    });
    assert!(clock.unix_seconds() >= now + 3600);
    assert_eq!(clock.sleepers(), 0);
}
