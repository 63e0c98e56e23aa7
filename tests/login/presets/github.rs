//! GitHub and Discord: users without an ID token.

use serde_json::{Value, json};
use tower_oauth::Provider;

use super::imitation::{App, Imitation};
use crate::support::logs::Logs;
use crate::support::shop::{Ask, parameter};

const TOKEN: &str = "https://github.com/login/oauth/access_token";
const USER: &str = "https://api.github.com/user";
const EMAILS: &str = "https://api.github.com/user/emails";

/// https://docs.github.com/en/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps: scopes are separated by commas,
/// and there is neither `expires_in` nor a refresh token.
fn tokens(scope: &str) -> Value {
    json!({ "access_token": "gho_16C7e42F292c6912E7710c838347Ae178B4a", "scope": scope, "token_type": "bearer" })
}

/// https://docs.github.com/en/rest/users/users#get-the-authenticated-user
fn octocat() -> Value {
    json!({
        "login": "octocat", "id": 1, "node_id": "MDQ6VXNlcjE=", "avatar_url": "https://github.com/images/error/octocat_happy.gif",
        "html_url": "https://github.com/octocat", "type": "User", "name": "monalisa octocat",
        "email": "what-the-user-published@example.com",
    })
}

/// https://docs.github.com/en/rest/users/emails#list-email-addresses-for-the-authenticated-user
fn emails() -> Value {
    json!([
        { "email": "other@github.com", "primary": false, "verified": true, "visibility": null },
        { "email": "octocat@github.com", "primary": true, "verified": true, "visibility": "public" },
    ])
}

fn github() -> Imitation {
    let provider = Imitation::default();
    provider.answer(TOKEN, tokens("read:user,user:email"));
    provider.answer(USER, octocat());
    provider.answer(EMAILS, emails());
    provider
}

fn app(provider: &Imitation) -> App {
    App::new(provider, Provider::github("shop", "secret").unwrap())
}

#[tokio::test]
async fn a_user_is_the_number_of_the_account_with_the_verified_primary_address() {
    let provider = github();
    let mut app = app(&provider);
    let started = app.start().await;
    let location = &started.location;
    assert!(location.starts_with("https://github.com/login/oauth/authorize?"));
    assert_eq!(
        parameter(location, "scope").unwrap(),
        "read:user user:email"
    );
    // There is no ID token that would have it.
    assert_eq!(parameter(location, "nonce"), None);
    assert!(parameter(location, "code_challenge").is_some());
    assert_eq!(app.callback(&started).await.status, 303);

    let sent = provider.request(TOKEN);
    assert_eq!(sent.header("accept"), "application/json");
    assert_eq!(sent.form()["client_secret"], "secret");
    assert!(sent.form().contains_key("code_verifier"));
    for url in [USER, EMAILS] {
        let sent = provider.request(url);
        assert_eq!(sent.method, "GET");
        assert_eq!(sent.header("accept"), "application/json");
        assert!(sent.header("user-agent").starts_with("tower-oauth/"));
        let bearer = "Bearer gho_16C7e42F292c6912E7710c838347Ae178B4a";
        assert_eq!(sent.header("authorization"), bearer);
    }
    let me = app.me().await;
    assert_eq!(me["issuer"], "https://github.com/login/oauth");
    assert_eq!(
        (&me["subject"], &me["source"]),
        (&json!("1"), &json!("Userinfo"))
    );
    assert_eq!(
        (&me["name"], &me["user_name"]),
        (&json!("monalisa octocat"), &json!("octocat"))
    );
    assert_eq!(
        (&me["email"], &me["email_verified"]),
        (&json!("octocat@github.com"), &json!(true))
    );
    assert_eq!(me["scopes"], "read:user user:email");
    // The token does not expire: it is usable as long as the session lasts.
    app.clock.advance(std::time::Duration::from_secs(1200));
    assert_eq!(app.me().await["access_token"], true);
}

#[tokio::test]
async fn an_address_that_is_not_primary_and_verified_is_none() {
    let email = |primary: Value, verified: Value| json!([{ "email": "a@example.com", "primary": primary, "verified": verified }]);
    let with_scope = "read:user,user:email";
    for (scope, emails, requests, expected) in [
        (
            with_scope,
            email(true.into(), true.into()),
            1,
            json!("a@example.com"),
        ),
        (with_scope, email(true.into(), false.into()), 1, Value::Null),
        (with_scope, email(false.into(), true.into()), 1, Value::Null),
        (
            with_scope,
            email("true".into(), "true".into()),
            1,
            Value::Null,
        ),
        (with_scope, json!([]), 1, Value::Null),
        (with_scope, json!({}), 1, Value::Null),
        (
            "user",
            email(true.into(), true.into()),
            1,
            json!("a@example.com"),
        ),
        // A GitHub App has permissions and no scopes.
        (
            "",
            email(true.into(), true.into()),
            1,
            json!("a@example.com"),
        ),
        // The user need not grant all.
        ("read:user", email(true.into(), true.into()), 0, Value::Null),
    ] {
        let provider = github();
        provider.answer(TOKEN, tokens(scope));
        provider.answer(EMAILS, emails.clone());
        let mut app = app(&provider);
        let started = app.start().await;
        assert_eq!(app.callback(&started).await.status, 303, "{scope} {emails}");
        assert_eq!(app.me().await["email"], expected, "{scope} {emails}");
        assert_eq!(provider.count(EMAILS), requests, "{scope} {emails}");
    }
}

#[tokio::test]
async fn another_person_with_an_old_user_name_is_another_user() {
    let provider = github();
    let mut subjects = Vec::new();
    for id in [1, 583_231] {
        let mut user = octocat();
        user["id"] = id.into();
        provider.answer(USER, user);
        let mut app = app(&provider);
        let started = app.start().await;
        app.callback(&started).await;
        let me = app.me().await;
        assert_eq!(me["user_name"], "octocat");
        subjects.push(me["subject"].clone());
    }
    assert_eq!(subjects, [json!("1"), json!("583231")]);
}

/// https://docs.github.com/en/apps/oauth-apps/maintaining-oauth-apps/troubleshooting-oauth-app-access-token-request-errors:
/// errors have status 200.
#[tokio::test]
async fn an_error_with_status_200_is_an_error_even_beside_a_token() {
    let with_token = |error: &str| {
        let mut tokens = tokens("user:email");
        tokens["error"] = error.into();
        tokens
    };
    for answer in [
        json!({ "error": "bad_verification_code", "error_description": "The code passed is incorrect or expired." }),
        json!({ "error": "incorrect_client_credentials" }),
        json!({ "error": "redirect_uri_mismatch" }),
        json!({ "error": "unverified_user_email" }),
        with_token("bad_verification_code"),
    ] {
        let provider = github();
        provider.answer(TOKEN, answer.clone());
        let mut app = app(&provider);
        let started = app.start().await;
        let status = app.callback(&started).await.status;
        assert!(
            status.is_client_error() || status.is_server_error(),
            "{answer}"
        );
        assert_eq!(provider.count(USER), 0, "{answer}");
        assert!(!app.is_signed_in().await, "{answer}");
    }
}

#[tokio::test]
async fn a_user_without_a_number_is_no_user() {
    for id in [
        json!(0),
        json!("1"),
        json!("octocat"),
        json!(-1),
        json!(1.5),
        Value::Null,
        json!([1]),
    ] {
        let provider = github();
        let mut user = octocat();
        user["id"] = id.clone();
        provider.answer(USER, user);
        let mut app = app(&provider);
        let started = app.start().await;
        assert_eq!(app.callback(&started).await.status, 502, "{id}");
        assert!(!app.is_signed_in().await, "{id}");
    }
}

/// An outage is 503, what an operator has to correct is 500, and a response that makes no sense is 502.
#[tokio::test]
async fn a_failure_of_the_api_names_the_request_and_has_the_status_of_its_cause() {
    for (url, status, body, expected) in [
        (USER, 500, "", 503),
        (USER, 503, "", 503),
        (USER, 429, "", 503),
        (USER, 401, r#"{"message":"Bad credentials"}"#, 502),
        (USER, 403, "", 500),
        (USER, 404, "", 500),
        (USER, 302, "", 502),
        (USER, 200, "<html>", 502),
        (USER, 200, r#"{"id":1,"id":2}"#, 502),
        (USER, 200, "[]", 502),
        (EMAILS, 404, "", 500),
        (EMAILS, 500, "", 503),
    ] {
        let provider = github();
        provider.answer_with(url, status, body);
        let mut app = app(&provider);
        let started = app.start().await;
        let logs = Logs::default();
        let recording = logs.record_only("login_failed");
        let answer = app.callback(&started).await;
        drop(recording);
        assert_eq!(answer.status, expected, "{url} {status} {body}");
        let retry = answer.headers.contains_key("retry-after");
        assert_eq!(retry, expected == 503, "{url} {status}");
        let text = logs.text();
        assert!(text.contains(url), "{text}");
        assert!(!text.contains("gho_"), "{text}");
        assert!(!app.is_signed_in().await, "{url} {status}");
    }
}

#[tokio::test]
async fn userinfo_asks_the_same_api_and_another_user_is_rejected() {
    let provider = github();
    let mut app = app(&provider);
    let started = app.start().await;
    app.callback(&started).await;
    assert_eq!(app.send(Ask::page("/userinfo")).await.text(), "1");
    let mut other = octocat();
    other["id"] = 2.into();
    provider.answer(USER, other);
    let text = app.send(Ask::page("/userinfo")).await.text();
    assert!(text.contains("another subject"), "{text}");
    provider.answer_with(USER, 500, "");
    let text = app.send(Ask::page("/userinfo")).await.text();
    assert!(text.contains("status 500"), "{text}");
}

/// https://discord.com/developers/docs/topics/oauth2 and https://discord.com/developers/docs/resources/user
#[tokio::test]
async fn a_user_of_discord_is_the_snowflake_of_the_account() {
    const ME: &str = "https://discord.com/api/users/@me";
    const DISCORD_TOKEN: &str = "https://discord.com/api/oauth2/token";
    for (id, expected) in [
        (json!("80351110224678912"), 303),
        (json!(80_351_110_224_678_912_u64), 502),
        (json!("nelly"), 502),
        (json!(""), 502),
        (Value::Null, 502),
    ] {
        let provider = Imitation::default();
        provider.answer(
            DISCORD_TOKEN,
            json!({
                "access_token": "6qrZcUqja7812RVdnEKjpzOL4CvHBFG", "token_type": "Bearer", "expires_in": 604_800,
                "refresh_token": "D43f5y0ahjqew82jZ4NViEr2YafMKhue", "scope": "identify email",
            }),
        );
        provider.answer(
            ME,
            json!({
                "id": id, "username": "nelly", "discriminator": "1337", "global_name": "Nelly",
                "avatar": "8342729096ea3675442027381ff50dfe", "verified": true, "email": "nelly@discord.com",
            }),
        );
        let mut app = App::new(&provider, Provider::discord("shop", "secret").unwrap());
        let started = app.start().await;
        assert!(
            started
                .location
                .starts_with("https://discord.com/oauth2/authorize?")
        );
        assert_eq!(app.callback(&started).await.status, expected, "{id}");
        if expected == 303 {
            let me = app.me().await;
            assert_eq!(me["issuer"], "https://discord.com");
            assert_eq!(me["subject"], "80351110224678912");
            assert_eq!(
                (&me["name"], &me["user_name"]),
                (&json!("Nelly"), &json!("nelly"))
            );
            assert_eq!(
                (&me["email"], &me["email_verified"]),
                (&json!("nelly@discord.com"), &json!(true))
            );
        }
    }
}
