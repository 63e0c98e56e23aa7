//! Log events of logins: stable names, and no secrets.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use tower_oauth::testing::{Endpoint, Fault};
use tower_oauth::{Client, CookieKey, LoginLayer, Session};
use tracing::Instrument as _;

use crate::support::logs::Logs;
use crate::support::shop::*;

fn events(log: &str) -> Vec<String> {
    log.lines()
        .filter(|line| line.contains("tower_oauth::login"))
        .filter_map(|line| line.split("event=\"").nth(1))
        .map(|rest| rest.split('"').next().unwrap().to_owned())
        .collect()
}

/// Each action causes one event with a stable name.
#[tokio::test]
async fn each_action_causes_one_event_with_a_stable_name() {
    let log = Logs::default();
    let _recording = log.record();
    let shop = Shop::new();
    let mut jar = Jar::default();
    let logged = |what: &str, expected: &[&str]| {
        let text = log.take();
        assert_eq!(events(&text), expected, "{what}: {text}");
        text
    };
    let start = shop.start("/auth/login", &mut jar).await;
    let text = logged("start", &["login_started"]);
    assert!(
        text.contains("by_person=true") && text.contains("evicted=false"),
        "{text}"
    );
    assert!(text.contains("redirected a browser"), "{text}");
    let callback = shop.approve(start.location(), "alice").await;
    let answer = shop.send(Ask::page(&callback).jar(&jar)).await;
    logged("callback", &["login_succeeded"]);
    jar.take(&answer);

    shop.send(Ask::page("/").jar(&jar)).await;
    logged("a page", &[]);
    shop.send(Ask::new("POST", "/notes").jar(&jar)).await;
    let text = logged("another site", &["cross_site_request_rejected"]);
    assert!(
        text.contains("code=\"cross_site_request\"") && text.contains("status=403"),
        "{text}"
    );

    let planted = jar.clone().and(SESSION, "x").and(SESSION, "y");
    shop.send(Ask::page("/").jar(&planted)).await;
    logged("cookies planted beside the session", &[]);
    let invalid = Jar::of(&[(SESSION, "x"), (SESSION, "y")]);
    shop.send(Ask::page("/").jar(&invalid)).await;
    let text = logged("invalid cookies", &["session_cookie_rejected"]);
    assert!(text.contains("reason=\"invalid\""), "{text}");

    let own = [("sec-fetch-site", "same-origin")];
    shop.send(Ask::new("POST", "/auth/logout").with(&own).jar(&jar))
        .await;
    let text = logged("sign-out", &["logout_completed"]);
    assert!(text.contains("at_the_server=true"), "{text}");
    shop.send(Ask::page("/").jar(&jar)).await;
    let text = logged("a copy", &["session_cookie_rejected"]);
    assert!(text.contains("reason=\"signed_out\""), "{text}");

    let jar = shop.signed_in().await;
    log.take();
    shop.clock().advance(Duration::from_secs(3600));
    shop.send(Ask::page("/").jar(&jar)).await;
    let text = logged("an idle session", &["session_cookie_rejected"]);
    assert!(text.contains("reason=\"expired\""), "{text}");

    let mut jar = Jar::default();
    let start = shop.start("/auth/login?prompt=none", &mut jar).await;
    let state = start.parameter("state").unwrap();
    log.take();
    let silent = format!("/auth/callback?error=login_required&state={state}&iss={ISSUER}");
    shop.send(Ask::page(&silent).jar(&jar)).await;
    logged("no session at the server", &["silent_login_failed"]);

    let mut jar = Jar::default();
    for expected in [false, false, false, false, false, true] {
        shop.start("/auth/login", &mut jar).await;
        let text = logged("another tab", &["login_started"]);
        assert!(text.contains(&format!("evicted={expected}")), "{text}");
    }
}

/// The login runs in a task of its own that outlives the request, and the sign-out revokes in another one: their
/// events belong to the request all the same.
#[tokio::test]
async fn logins_and_logouts_are_logged_inside_the_span_of_the_request() {
    let log = Logs::default();
    let _recording = log.record();
    let shop = Shop::new();
    let mut jar = Jar::default();
    let start = shop.start("/auth/login", &mut jar).await;
    let callback = shop.approve(start.location(), "alice").await;
    let event_in_span = async |name: &str, request: Ask| {
        log.take();
        let span = tracing::info_span!("http_request", request_id = "c0ffee");
        let answer = shop.send(request).instrument(span).await;
        let text = log.take();
        let line = text.lines().find(|line| line.contains(name));
        let line = line.unwrap_or_else(|| panic!("{name} is missing: {text}"));
        assert!(
            line.contains("http_request{request_id=\"c0ffee\"}: "),
            "{line}"
        );
        (answer, line.to_owned())
    };

    let (answer, line) = event_in_span("login_succeeded", Ask::page(&callback).jar(&jar)).await;
    jar.take(&answer);
    assert!(line.contains("user signed in"), "{line}");
    assert!(line.contains("provider=\"default\""), "{line}");
    assert!(line.contains(&format!("issuer=\"{ISSUER}\"")), "{line}");
    assert!(line.contains("client_id=\"shop\""), "{line}");
    let session = field(&line, "session");
    assert_eq!(session.len(), 8, "{line}");

    let same_origin = [("sec-fetch-site", "same-origin")];
    let logout = Ask::new("POST", "/auth/logout").with(&same_origin);
    let (_, line) = event_in_span("logout_completed", logout.jar(&jar)).await;
    assert_eq!(field(&line, "session"), session, "the same session");
}

/// The value of a text field of an event.
fn field<'a>(line: &'a str, name: &str) -> &'a str {
    let (_, value) = line.split_once(&format!(" {name}=\"")).unwrap();
    value.split('"').next().unwrap()
}

/// The correlation id of a page identifies the log event, which alone has the reason.
#[tokio::test]
async fn the_correlation_id_of_a_page_identifies_the_log_event() {
    let log = Logs::default();
    let _recording = log.record();
    let shop = Shop::new();
    let mut jar = Jar::default();
    let start = shop.start("/auth/login", &mut jar).await;
    let callback = shop.approve(start.location(), "alice").await;
    let wrong = Fault::id_token(|mint| mint.with_claim("nonce", "other"));
    shop.server.fail(Endpoint::Token, wrong);
    log.take();
    let ask = Ask::page(&callback).set("accept", "application/json");
    let problem = shop.send(ask.jar(&jar)).await.json();
    let id = problem["correlation_id"].as_str().unwrap();
    let text = log.take();
    let line = text.lines().find(|line| line.contains(id)).unwrap();
    assert!(line.contains("ERROR"), "{line}");
    let code = problem["code"].as_str().unwrap();
    assert!(line.contains(&format!("code=\"{code}\"")), "{line}");
    assert!(
        line.contains("reason=\"the ID token was rejected"),
        "{line}"
    );
    assert!(!problem.to_string().contains("refused"), "{problem}");
}

/// A server may repeat in its errors what it received.
#[tokio::test]
async fn a_secret_in_the_error_of_a_token_response_is_not_logged() {
    let key = || CookieKey::from_bytes(&KEY).unwrap();
    let redirect_uri = format!("{SHOP}/auth/callback");
    for client in [
        Client::confidential("shop", "shop-secret"),
        Client::confidential_post("shop", "shop-secret"),
    ] {
        let log = Logs::default();
        let _recording = log.record();
        let server = server();
        let body =
            r#"{"error":"invalid_client","error_description":"the secret shop-secret is wrong"}"#;
        server.fail(Endpoint::Token, Fault::body("application/json", body));
        server.fail(Endpoint::Token, Fault::status(401));
        let name = format!("{client:?}");
        let handle = server.authorization_server();
        let layer = LoginLayer::new(&handle, client, &redirect_uri, key()).unwrap();
        let app = app(&layer);
        let shop = Shop { server, app };
        let answer = shop.sign_in("alice", &mut Jar::default()).await;
        assert_eq!(answer.status, 500, "{name}");
        let logged = log.take();
        assert!(
            logged.contains("the secret *** is wrong"),
            "{name}: {logged}"
        );
        assert!(!logged.contains("shop-secret"), "{name}: {logged}");
    }
}

/// No secret is logged at any level, in success and failure.
#[tokio::test]
async fn no_secret_is_ever_logged() {
    let log = Logs::default();
    let _recording = log.record();
    let shop = Shop::new();
    let mut secrets = vec![
        "shop-secret".to_owned(),
        "wonderland".to_owned(),
        url::form_urlencoded::byte_serialize(b"shop-secret").collect(),
    ];
    let faults: [Option<Fault>; 7] = [
        None,
        Some(Fault::status(500)),
        Some(Fault::disconnect()),
        Some(Fault::body(
            "application/json",
            "{\"access_token\":\"leaky-token\",\"error\":\"invalid_scope\"}",
        )),
        Some(Fault::id_token(|mint| {
            mint.with_claim("nonce", "leaky-nonce")
        })),
        Some(Fault::id_token(|mint| mint.with_broken_signature())),
        Some(Fault::id_token(|mint| {
            mint.with_claim("blob", "b".repeat(7000))
        })),
    ];
    secrets.extend(["leaky-token".to_owned(), "leaky-nonce".to_owned()]);
    for fault in faults {
        let mut jar = Jar::default();
        let start = shop
            .start("/auth/login?login_hint=leaky-hint", &mut jar)
            .await;
        for name in ["state", "nonce", "code_challenge"] {
            secrets.push(start.parameter(name).unwrap());
        }
        let callback = shop.approve(start.location(), "alice").await;
        secrets.push(parameter(&callback, "code").unwrap());
        if let Some(fault) = fault {
            shop.server.fail_once(Endpoint::Token, fault);
        }
        let tampered = with_parameter(&callback, "state", Some("leaky-state"));
        shop.send(Ask::page(&tampered).jar(&jar)).await;
        let answer = shop.send(Ask::page(&callback).jar(&jar)).await;
        // Repeated, and without the cookie.
        shop.send(Ask::page(&callback).jar(&jar)).await;
        shop.send(Ask::page(&callback)).await;
        jar.take(&answer);
        secrets.extend(jar.0.iter().map(|(_, value)| value.clone()));
        shop.send(Ask::page("/account").jar(&jar)).await;
        shop.send(Ask::new("POST", "/notes").jar(&jar)).await;
        let cut = Jar(jar
            .0
            .iter()
            .map(|(name, value)| (name.clone(), value[1..].to_owned()))
            .collect());
        shop.send(Ask::page("/account").jar(&cut)).await;
        let own = [("sec-fetch-site", "same-origin")];
        let answer = shop
            .send(Ask::new("POST", "/auth/logout").with(&own).jar(&jar))
            .await;
        secrets.extend(parameter(answer.location(), "state"));
        secrets.extend(parameter(answer.location(), "id_token_hint"));
        secrets.push("leaky-state".to_owned());
    }
    for request in shop.server.requests() {
        if request.endpoint() == Endpoint::Token {
            secrets.push(request.parameter("code_verifier").unwrap());
            secrets.push(request.header("authorization").unwrap().to_owned());
        }
    }
    let text = log.take();
    assert!(events(&text).len() > 30, "{text}");
    assert!(secrets.len() > 50 && secrets.iter().all(|secret| secret.len() > 5));
    for secret in &secrets {
        // Nor its beginning.
        let part = &secret[..secret.len().min(20)];
        assert!(!text.contains(part), "{part} is in the log");
    }
    assert!(!text.contains("leaky-hint"));
}

/// `Debug` and `Display` of public types contain no secrets.
#[tokio::test]
async fn no_debug_or_display_output_contains_a_secret() {
    let log = Logs::default();
    let _recording = log.record();
    let material = [0x61_u8; 32];
    let key = CookieKey::from_bytes(&material).unwrap();
    let server = server();
    let client = Client::confidential("shop", "shop-secret");
    let layer = login_with(&server, key.clone());
    let printed: Arc<Mutex<String>> = Arc::default();
    let kept = Arc::clone(&printed);
    let app = axum::Router::new()
        .route(
            "/",
            axum::routing::get(
                move |session: Session, request: axum::extract::Request| async move {
                    let token = session.access_token().await.unwrap();
                    *kept.lock().unwrap() = format!(
                        "{session:?} {session:#?} {token:?} {:?} {:?} {:?}",
                        request.extensions(),
                        session.user_key(),
                        session.claims(),
                    );
                    token.expose().to_owned()
                },
            ),
        )
        .layer(layer.clone());
    let shop = Shop { server, app };
    let jar = shop.signed_in().await;
    let token = shop.send(Ask::page("/").jar(&jar)).await.text();
    assert!(token.len() > 20);
    let service = tower::Layer::layer(&layer, axum::Router::<()>::new());
    let all = format!(
        "{} {key:?} {client:?} {layer:?} {layer:#?} {service:?} {:?} {}",
        printed.lock().unwrap(),
        layer.required(),
        log.take(),
    );
    assert!(all.contains("Session"), "{all}");
    for secret in [
        "shop-secret",
        "aaaaaaaa",
        "97, 97, 97",
        &token[..20],
        &token[token.len() - 20..],
        &jar.value(SESSION)[..20],
    ] {
        assert!(!all.contains(secret), "{secret} in {all}");
    }
}

/// A trace of all header fields, as `tower_http` makes it, contains no cookie of the layer, and no
/// URL with a state, a nonce or an ID token.
#[tokio::test]
async fn a_log_of_header_fields_contains_no_cookie_and_no_authorization_url() {
    let shop = Shop::new();
    let mut jar = Jar::default();
    let headers_of = |answer: &Answer| format!("{:?}", answer.headers);

    let start = shop.start("/auth/login", &mut jar).await;
    for name in ["state", "nonce"] {
        let value = start.parameter(name).unwrap();
        assert!(
            !headers_of(&start).contains(&value),
            "{}",
            headers_of(&start)
        );
    }
    let callback = shop.approve(start.location(), "alice").await;
    let back = shop.send(Ask::page(&callback).jar(&jar)).await;
    jar.take(&back);
    // A path of the application may be logged.
    assert!(headers_of(&back).contains("\"location\": \"/\""));
    shop.clock().advance(Duration::from_secs(600));
    let renewed = shop.send(Ask::page("/").jar(&jar)).await;
    assert_eq!(renewed.sets(), [SESSION]);
    let ask = Ask::new("POST", "/auth/logout").with(&[("sec-fetch-site", "same-origin")]);
    let left = shop.send(ask.jar(&jar)).await;
    let hint = left.parameter("id_token_hint").unwrap();
    assert!(!headers_of(&left).contains(&hint), "{}", headers_of(&left));

    for answer in [start, back, renewed, left] {
        assert!(!answer.set_cookies().is_empty());
        for cookie in answer.headers.get_all("set-cookie") {
            assert!(cookie.is_sensitive(), "{}", headers_of(&answer));
        }
    }
}

/// RFC 9700 §4.2, RFC 6750 §5.3: neither logs nor `Debug` output contain a token, a code, a `state` or a cookie, whether
/// the login succeeded or not.
#[tokio::test]
async fn no_secret_is_logged_or_printed_during_a_login() {
    let logs = Logs::default();
    let guard = logs.record();
    let shop = Shop::new();
    let layer = login(&shop.server);
    let shop = Shop {
        app: app(&layer),
        ..shop
    };
    let mut jar = Jar::default();
    let started = shop
        .start("/auth/login?login_hint=hint-of-alice", &mut jar)
        .await;
    let mut secrets: Vec<String> = ["state", "nonce", "code_challenge"]
        .iter()
        .map(|name| started.parameter(name).unwrap())
        .collect();
    secrets.push(jar.value(jar.transactions()[0]).to_owned());
    let callback = shop.approve(started.location(), "alice").await;
    secrets.push(parameter(&callback, "code").unwrap());
    let wrong = with_parameter(&callback, "iss", Some("https://evil.example"));
    let mut second = Jar::default();
    let answer = shop.start("/auth/login", &mut second).await;
    let refused = shop.approve(answer.location(), "alice").await;
    let refused = with_parameter(&refused, "code", Some("a-wrong-code"));
    secrets.push("a-wrong-code".to_owned());
    shop.send(Ask::page(&wrong)).await;
    shop.send(Ask::page(&refused).jar(&second)).await;
    jar.take(&shop.send(Ask::page(&callback).jar(&jar)).await);
    secrets.push(jar.value(SESSION).to_owned());
    assert_eq!(shop.greeting(&jar).await, "hello alice");
    let out = Ask::new("POST", "/auth/logout").with(&[("origin", SHOP)]);
    let answer = shop.send(out.jar(&jar)).await;
    secrets.extend(answer.parameter("state"));
    secrets.extend(answer.parameter("id_token_hint"));
    secrets.extend(["shop-secret".to_owned(), "hint-of-alice".to_owned()]);
    drop(guard);
    let told = format!("{}{layer:?}{:?}", logs.text(), layer.required());
    assert!(told.contains("login_succeeded"));
    for secret in &secrets {
        assert!(!told.contains(secret.as_str()), "{secret:.12} in {told}");
    }
}

/// Each is counted once, by a code that the crate chooses.
#[tokio::test]
async fn logins_refusals_and_ends_of_sessions_are_counted_by_code() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let guard = metrics::set_default_local_recorder(&recorder);
    let shop = Shop::new();
    let mut jar = shop.signed_in().await;
    let cross_site = [("sec-fetch-site", "cross-site")];
    let same_origin = [("sec-fetch-site", "same-origin")];
    for ask in [
        Ask::page("/auth/callback?code=x&state=made-up"),
        Ask::new("POST", "/notes").with(&cross_site).jar(&jar),
        Ask::new("GET", "/account"),
        Ask::new("POST", "/account").with(&[accept_html()]),
        Ask::page("/account"),
    ] {
        shop.send(ask).await;
    }
    let answer = shop.sign_in("bob", &mut jar).await;
    assert_eq!(answer.status.as_u16(), 303);
    let logout = Ask::new("POST", "/auth/logout").with(&same_origin);
    shop.send(logout.jar(&jar)).await;
    drop(guard);
    let mut seen = BTreeMap::new();
    for (key, _, _, value) in snapshotter.snapshot().into_vec() {
        let key = key.key();
        let label = key.labels().next().map(|label| label.value().to_owned());
        if let (Some(name), DebugValue::Counter(count)) =
            (key.name().strip_prefix("tower_oauth_"), value)
        {
            seen.insert((name.to_owned(), label.unwrap_or_default()), count);
        }
    }
    for (name, label, expected) in [
        ("logins_total", "success", 2),
        ("logins_total", "login_unknown", 1),
        ("session_refusals_total", "cross_site_request", 1),
        ("session_refusals_total", "login_required", 2),
        ("session_ends_total", "replaced", 1),
        ("session_ends_total", "signed_out", 1),
    ] {
        let count = seen.remove(&(name.to_owned(), label.to_owned()));
        assert_eq!(count, Some(expected), "{name} {label}: {seen:?}");
    }
    seen.retain(|(name, _), _| !name.starts_with("key_fetches"));
    assert!(seen.is_empty(), "{seen:?}");
}
