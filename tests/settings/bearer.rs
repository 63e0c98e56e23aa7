//! The settings of a bearer layer.

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::header::{AUTHORIZATION, CACHE_CONTROL, HeaderMap, WWW_AUTHENTICATE};
use http::{Request, Response, StatusCode};
use tower::ServiceExt as _;
use tower_oauth::VerifiedToken;
use tower_oauth::settings::BearerSettings;
use tower_oauth::testing::{Endpoint, TestClient, TestServer};

const ISSUER: &str = "https://id.example.test";
const AUDIENCE: &str = "https://api.example.test";

async fn show(token: Option<VerifiedToken>, headers: HeaderMap) -> String {
    let subject = token
        .as_ref()
        .and_then(|token| token.subject())
        .unwrap_or("anonymous");
    let scopes = token.as_ref().map(|token| token.scopes().to_string());
    let forwarded = headers.contains_key(AUTHORIZATION);
    format!("{subject} {} {forwarded}", scopes.unwrap_or_default())
}

fn app(server: &TestServer, text: &str) -> Router {
    let settings: BearerSettings = toml::from_str(text).unwrap_or_else(|error| panic!("{error}"));
    let layer = settings.build_with(|_| Ok(server.authorization_server()));
    let layer = layer.unwrap_or_else(|error| panic!("{text}: {error}"));
    Router::new().route("/", get(show)).layer(layer)
}

async fn send(app: &Router, token: Option<&str>) -> Response<Body> {
    let mut request = Request::get("/").body(Body::empty()).unwrap();
    if let Some(token) = token {
        let value = format!("Bearer {token}").parse().unwrap();
        request.headers_mut().insert(AUTHORIZATION, value);
    }
    app.clone().oneshot(request).await.unwrap()
}

async fn body(response: Response<Body>) -> String {
    let bytes = axum::body::to_bytes(response.into_body(), 10_000)
        .await
        .unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn issuers(settings: &str) -> String {
    format!("[[issuers]]\nissuer = '{ISSUER}'\naudience = ['other', '{AUDIENCE}']\n{settings}")
}

#[tokio::test]
async fn tokens_are_accepted_as_the_settings_of_the_issuer_say() {
    let server = TestServer::new(ISSUER).unwrap();
    let mint = || {
        server
            .access_token()
            .with_audience(AUDIENCE)
            .with_scope("read")
    };
    for (settings, token, expected) in [
        ("", mint().sign(), StatusCode::OK),
        (
            "",
            server.access_token().with_audience("x").sign(),
            StatusCode::UNAUTHORIZED,
        ),
        (
            "profile = 'keycloak'",
            mint().sign(),
            StatusCode::UNAUTHORIZED,
        ),
        (
            "algorithms = ['ES256']",
            mint().sign(),
            StatusCode::UNAUTHORIZED,
        ),
        ("algorithms = ['RS256']", mint().sign(), StatusCode::OK),
        (
            "leeway = '5m'",
            mint().with_expires_in(-200).sign(),
            StatusCode::OK,
        ),
        (
            "leeway = '10s'",
            mint().with_expires_in(-200).sign(),
            StatusCode::UNAUTHORIZED,
        ),
    ] {
        let response = send(&app(&server, &issuers(settings)), Some(&token)).await;
        assert_eq!(response.status(), expected, "{settings}");
    }
    // The client instead of an audience.
    let text = issuers("profile = 'cognito'").replace(
        "audience = ['other', 'https://api.example.test']",
        "clients = ['x']",
    );
    let without_audience = server.access_token().without_claim("aud");
    let cognito = without_audience.with_claim("token_use", "access");
    for (client, expected) in [("x", StatusCode::OK), ("y", StatusCode::UNAUTHORIZED)] {
        let token = cognito.clone().with_client(client).sign();
        let response = send(&app(&server, &text), Some(&token)).await;
        assert_eq!(response.status(), expected, "{client}");
    }
    let app = app(&server, &issuers("scopes_from = ['permissions']"));
    let token = mint()
        .with_claim("permissions", serde_json::json!(["write"]))
        .sign();
    let response = send(&app, Some(&token)).await;
    assert!(body(response).await.contains(" write "));
}

#[tokio::test]
async fn responses_are_as_the_settings_of_the_layer_say() {
    let server = TestServer::new(ISSUER).unwrap();
    let token = server.access_token().with_audience(AUDIENCE).sign();
    let with = |settings: &str| app(&server, &format!("{settings}\n{}", issuers("")));
    let challenge = |response: &Response<Body>| {
        let fields = response.headers().get_all(WWW_AUTHENTICATE).iter();
        let fields: Vec<_> = fields
            .map(|field| field.to_str().unwrap().to_owned())
            .collect();
        fields.join(", ")
    };
    let response = send(&with("realm = 'orders'\nscope_hint = 'read'"), None).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    let text = challenge(&response);
    assert!(
        text.contains("realm=\"orders\"") && text.contains("scope=\"read\""),
        "{text}"
    );

    let response = send(&with("optional = true"), None).await;
    assert!(body(response).await.starts_with("anonymous"));

    assert!(
        body(send(&with(""), Some(&token)).await)
            .await
            .ends_with("true")
    );
    let response = send(&with("without_forwarding = true"), Some(&token)).await;
    assert!(body(response).await.ends_with("false"));

    let response = send(&with("private_responses = true"), Some(&token)).await;
    let cache = response.headers()[CACHE_CONTROL].to_str().unwrap();
    assert!(cache.contains("private"), "{cache}");

    let dpop =
        format!("dpop = {{ base_url = '{AUDIENCE}', required = true, algorithms = ['ES256'] }}");
    let response = send(&with(&dpop), Some(&token)).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    let text = challenge(&response);
    assert!(
        text.contains("DPoP") && text.contains("algs=\"ES256\""),
        "{text}"
    );
}

fn introspection(settings: &str) -> String {
    format!(
        "[introspection]\nissuer = '{ISSUER}'\naudience = ['{AUDIENCE}']\n\
         client = {{ id = 'api', secret = 'api-secret' }}\n{settings}\n"
    )
}

#[tokio::test]
async fn introspection_is_requested_and_read_as_the_settings_say() {
    let client = TestClient::confidential("api", "api-secret");
    let server = TestServer::new(ISSUER).unwrap().add_client(client);
    let token = server.access_token().with_audience(AUDIENCE);
    let token = token.with_claim("permissions", serde_json::json!(["write"]));
    let token = token.with_scope("read").opaque();
    for (settings, scope, accept) in [
        ("", " read ", "application/json"),
        (
            "scopes_from = ['permissions']",
            " write ",
            "application/json",
        ),
        (
            "signed_responses = true",
            " read ",
            "application/token-introspection+jwt",
        ),
    ] {
        let response = send(&app(&server, &introspection(settings)), Some(&token)).await;
        let shown = body(response).await;
        assert!(shown.contains(scope), "{settings}: {shown}");
        let mut sent = server.requests();
        sent.retain(|one| one.endpoint() == Endpoint::Introspection);
        let sent = sent.pop().unwrap();
        assert_eq!(sent.header("accept"), Some(accept), "{settings}");
    }
}

#[tokio::test]
async fn opaque_tokens_are_introspected_and_jwts_are_not_if_there_are_issuers() {
    let client = TestClient::confidential("api", "api-secret");
    let server = TestServer::new(ISSUER).unwrap().add_client(client);
    let introspection = introspection("cache_ttl = '30s'");
    let jwt = server.access_token().with_audience(AUDIENCE).sign();
    let opaque = server.access_token().with_audience(AUDIENCE).opaque();
    for (text, asked) in [
        (introspection.clone(), [true, true]),
        (format!("{introspection}\n{}", issuers("")), [false, true]),
    ] {
        for (token, is_asked) in [&jwt, &opaque].into_iter().zip(asked) {
            let before = server.count(Endpoint::Introspection);
            let response = send(&app(&server, &text), Some(token)).await;
            let after = server.count(Endpoint::Introspection);
            assert_eq!(after > before, is_asked);
            if !is_asked || token == &opaque {
                assert_eq!(response.status(), StatusCode::OK);
            }
        }
    }
}
