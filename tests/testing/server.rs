//! The pages of the test server reject what an authorization server has to reject.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use tower::ServiceExt;
use tower_oauth::testing::TestServer;

use crate::support::authorization_server::{
    AUDIENCE, CALLBACK, HOME, ISSUER, authorize, browser, claims, document, json, part, query,
    redeem, server, userinfo,
};

#[tokio::test]
async fn the_code_flow_ends_with_tokens() {
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

    let response = query(&page);
    assert_eq!(page.text(), "callback");
    assert_eq!(response["state"], "the state");
    assert_eq!(response["iss"], ISSUER);

    let response = redeem(&server, &response["code"], &[]).await;
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
    assert_eq!(info.get("email"), None, "the scope email was not requested");
}

#[tokio::test]
async fn the_server_never_redirects_to_an_unregistered_uri() {
    let server = server();
    let trailing = format!("{CALLBACK}/");
    let with_query = format!("{CALLBACK}?x=1");
    for (name, changes) in [
        ("unknown client", vec![("client_id", "unknown")]),
        ("no client", vec![("client_id", "")]),
        ("no redirect URI", vec![("redirect_uri", "")]),
        ("trailing slash", vec![("redirect_uri", &*trailing)]),
        ("additional query", vec![("redirect_uri", &*with_query)]),
        (
            "other host",
            vec![("redirect_uri", "https://evil.example/auth/callback")],
        ),
        (
            "upper case",
            vec![("redirect_uri", "https://SHOP.example.com/auth/callback")],
        ),
        ("client without redirect URIs", vec![("client_id", "cli")]),
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
async fn errors_of_a_registered_client_are_sent_by_redirect() {
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
            "invalid code_challenge",
            vec![("code_challenge", "abc")],
            "invalid_request",
        ),
        ("no scope", vec![("scope", "")], "invalid_scope"),
        (
            "unregistered scope",
            vec![("scope", "openid notes:write")],
            "invalid_scope",
        ),
        ("malformed scope", vec![("scope", "a\"b")], "invalid_scope"),
        (
            "unsupported prompt",
            vec![("prompt", "create")],
            "invalid_request",
        ),
        (
            "none and login",
            vec![("prompt", "none login")],
            "invalid_request",
        ),
        (
            "malformed max_age",
            vec![("max_age", "-1")],
            "invalid_request",
        ),
        (
            "request object",
            vec![("request", "e30.e30.")],
            "request_not_supported",
        ),
        (
            "request URI",
            vec![("request_uri", "urn:x")],
            "request_uri_not_supported",
        ),
        ("no session", vec![("prompt", "none")], "login_required"),
        (
            "unknown hint",
            vec![("id_token_hint", "a.b.c")],
            "invalid_request",
        ),
    ] {
        let page = browser(&server)
            .navigate(&authorize(&changes))
            .await
            .unwrap();
        assert!(page.url().starts_with(CALLBACK), "{name}: {}", page.url());
        let response = query(&page);
        assert_eq!(response["error"], expected, "{name}");
        assert_eq!(response["state"], "the state", "{name}");
        assert_eq!(response["iss"], ISSUER, "{name}");
        assert!(!response.contains_key("code"), "{name}");
    }
    let twice = format!("{}&nonce=other", authorize(&[]));
    let page = browser(&server).navigate(&twice).await.unwrap();
    assert_eq!(query(&page)["error"], "invalid_request");
}

#[tokio::test]
async fn a_wrong_password_shows_the_form_again() {
    let server = server();
    let browser = browser(&server);
    let page = browser
        .navigate(&authorize(&[("login_hint", "ali\"ce<")]))
        .await
        .unwrap();
    assert_eq!(page.form("").unwrap().value("username"), Some("ali\"ce<"));
    for (username, password) in [("alice", "builder"), ("unknown", "wonderland"), ("<b>", "")] {
        let page = page.sign_in(username, password).await.unwrap();
        assert_eq!(page.status(), StatusCode::UNPROCESSABLE_ENTITY);
        assert!(
            page.text().contains("User name or password is incorrect"),
            "{}",
            page.text()
        );
        assert!(!page.html().contains("<b>"), "input is escaped");
        assert_eq!(page.form("").unwrap().value("username"), Some(username));
    }
    let page = page.sign_in("alice", "wonderland").await.unwrap();
    assert!(query(&page).contains_key("code"));
}

#[tokio::test]
async fn denied_consent_is_sent_to_the_client_as_access_denied() {
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

    // The form can be submitted once.
    let again = page.form("#consent").unwrap().press("allow").await.unwrap();
    assert_eq!(again.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn pages_have_a_strict_content_security_policy() {
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
async fn the_sign_in_form_rejects_login_csrf() {
    let server = server();
    let victim = browser(&server);
    let attacker = browser(&server);
    // The attacker makes the victim's browser submit the attacker's form and credentials.
    let opened = attacker.navigate(&authorize(&[])).await.unwrap();
    let field = opened.form("").unwrap().value("page").unwrap().to_owned();
    victim.navigate(&authorize(&[])).await.unwrap();
    let html = format!(
        "<form method=post action='{ISSUER}/sign-in'><input name=page value='{field}'>\
         <input name=username value=bob><input name=password value=builder><button>go</button></form>",
    );
    for (browser, status) in [
        (victim.clone(), StatusCode::FORBIDDEN),
        // Without fetch metadata, `Origin` decides.
        (victim.without_fetch_metadata(), StatusCode::FORBIDDEN),
    ] {
        let page = browser.document("https://evil.example/", &html).unwrap();
        let page = page.form("").unwrap().submit().await.unwrap();
        assert_eq!(page.status(), status);
    }
    // Without both headers, the hidden field still belongs to another browser.
    let body = format!("page={field}&username=bob&password=builder");
    let request = Request::post(format!("{ISSUER}/sign-in"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Bytes::from(body))
        .unwrap();
    let response = server.back_channel().oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn the_hidden_field_of_the_sign_in_page_does_not_skip_the_sign_in() {
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
    let response = forged.form("").unwrap().submit().await.unwrap();
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn prompt_and_max_age_decide_which_page_is_shown() {
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

    // With a session and consent no page is shown.
    assert!(query(&open(&[]).await).contains_key("code"));
    assert!(query(&open(&[("prompt", "none")]).await).contains_key("code"));
    let hinted = open(&[("prompt", "none"), ("id_token_hint", &hint)]).await;
    assert!(query(&hinted).contains_key("code"));
    // More scopes than the user consented to.
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

    // Another user than the one of the hint.
    let page = open(&[("prompt", "login"), ("id_token_hint", &hint)]).await;
    let page = page.sign_in("bob", "builder").await.unwrap();
    assert_eq!(query(&page)["error"], "login_required");
}

#[tokio::test]
async fn wrong_methods_and_media_types_are_rejected() {
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
async fn metadata_is_served_at_both_well_known_paths() {
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
    for invalid in [
        "http://id.example.test",
        "id.example.test",
        "https://id.example.test/?x",
    ] {
        let error = TestServer::new(invalid).unwrap_err();
        assert!(error.to_string().contains(invalid), "{error}");
    }
}

#[tokio::test]
async fn logout_with_a_hint_for_the_current_sign_in_needs_no_confirmation() {
    let server = server();
    let browser = browser(&server);
    let page = browser.navigate(&authorize(&[])).await.unwrap();
    let page = page.sign_in("alice", "wonderland").await.unwrap();
    let tokens = json(&redeem(&server, &query(&page)["code"], &[]).await);
    let hint = tokens["id_token"].as_str().unwrap();
    // An expired hint is accepted.
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
async fn logout_without_a_hint_asks_for_confirmation() {
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
async fn logout_redirects_only_to_registered_uris() {
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
