//! A script in place of a browser: it keeps cookies, follows redirects and submits forms, and sends no `Sec-Fetch-*` field
//! and no `Accept`.

use std::collections::HashMap;

use axum::Router;
use axum::body::Body;
use http::header::{CONTENT_TYPE, COOKIE, HOST, LOCATION, SET_COOKIE};
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;
use tower_oauth::testing::{Endpoint, Fault, GrantType, TestServer};
use url::Url;

use super::fapi2::{self, FapiWorld};
use super::{BASE, World, client};

struct Script {
    server: TestServer,
    base: &'static str,
    application: Router,
    /// By origin and name.
    cookies: HashMap<(String, String), String>,
}

/// The response at the end of all redirects.
struct Response {
    url: String,
    status: StatusCode,
    text: String,
}

impl Script {
    fn new(server: &TestServer, base: &'static str, application: &Router) -> Self {
        Self {
            server: server.clone(),
            base,
            application: application.clone(),
            cookies: HashMap::new(),
        }
    }

    async fn get(&mut self, path: &str) -> Response {
        self.follow(format!("{}{path}", self.base), None).await
    }

    async fn post(&mut self, path: &str, form: &str) -> Response {
        let url = format!("{}{path}", self.base);
        self.follow(url, Some(form.to_owned())).await
    }

    /// Signs in as Alice, and submits the form of a response.
    async fn sign_in(&mut self) -> Response {
        let page = self.get("/auth/login").await;
        let mut fields = page.fields();
        fields.push(("username".to_owned(), "alice".to_owned()));
        fields.push(("password".to_owned(), "wonderland".to_owned()));
        let page = self.submit(&page, &fields).await;
        match page.text.contains("id=\"form-post\"") {
            true => self.submit(&page, &page.fields()).await,
            false => page,
        }
    }

    async fn submit(&mut self, page: &Response, fields: &[(String, String)]) -> Response {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(fields);
        let action = between(&page.text, "action=\"", "\"").unwrap();
        self.follow(unescape(action), Some(form.finish())).await
    }

    async fn follow(&mut self, mut url: String, mut form: Option<String>) -> Response {
        for _ in 0..10 {
            let (response, text) = self.send(&url, form.take()).await;
            let Some(location) = response.headers.get(LOCATION) else {
                let status = response.status;
                return Response { url, status, text };
            };
            let next = Url::parse(&url).unwrap().join(location.to_str().unwrap());
            url = next.unwrap().to_string();
        }
        panic!("too many redirects, at last to {url}");
    }

    async fn send(&mut self, url: &str, form: Option<String>) -> (http::response::Parts, String) {
        let parsed = Url::parse(url).unwrap();
        let origin = parsed.origin().ascii_serialization();
        let own = self.cookies.iter().filter(|((at, _), _)| *at == origin);
        let cookies: Vec<_> = own
            .map(|((_, name), value)| format!("{name}={value}"))
            .collect();
        let target = &parsed[url::Position::BeforePath..url::Position::AfterQuery];
        let authority = &parsed[url::Position::BeforeHost..url::Position::AfterPort];
        let mut request = match form {
            Some(_) => {
                Request::post(target).header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            }
            None => Request::get(target),
        };
        request = request.header(HOST, authority);
        if !cookies.is_empty() {
            request = request.header(COOKIE, cookies.join("; "));
        }
        let request = request.body(Body::from(form.unwrap_or_default())).unwrap();
        let (parts, text) = if origin == self.base {
            let response = self.application.clone().oneshot(request).await;
            read(response.unwrap()).await
        } else {
            read(self.server.clone().oneshot(request).await.unwrap()).await
        };
        for field in parts.headers.get_all(SET_COOKIE) {
            let field = field.to_str().unwrap();
            let (name, value) = field.split(';').next().unwrap().split_once('=').unwrap();
            let key = (origin.clone(), name.to_owned());
            match value.is_empty() || field.contains("Max-Age=0") {
                true => self.cookies.remove(&key),
                false => self.cookies.insert(key, value.to_owned()),
            };
        }
        (parts, text)
    }
}

async fn read<B>(response: http::Response<B>) -> (http::response::Parts, String)
where
    B: http_body::Body,
    B::Error: std::fmt::Debug,
{
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    (parts, String::from_utf8(bytes.to_vec()).unwrap())
}

impl Response {
    /// Returns the hidden fields.
    fn fields(&self) -> Vec<(String, String)> {
        let inputs = self.text.split("<input type=\"hidden\" ").skip(1);
        let attribute = |input, name: &str| {
            let value = between(input, &format!("{name}=\""), "\"");
            unescape(value.unwrap())
        };
        inputs
            .map(|input| (attribute(input, "name"), attribute(input, "value")))
            .collect()
    }
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(start)?;
    Some(rest.split_once(end)?.0)
}

fn unescape(text: &str) -> String {
    text.replace("&quot;", "\"").replace("&amp;", "&")
}

/// Signs in, refreshes and signs out.
async fn drive(name: &str, mut script: Script) {
    let server = script.server.clone();
    let page = script.sign_in().await;
    assert_eq!(page.status, StatusCode::OK, "{name}: {}", page.text);
    assert_eq!(page.url, format!("{}/account", script.base), "{name}");
    assert!(
        page.text.contains("subject: alice"),
        "{name}: {}",
        page.text
    );
    assert_eq!(server.count(Endpoint::UserInfo), 1, "{name}");

    let page = script.get("/refresh").await;
    assert_eq!(page.status, StatusCode::OK, "{name}: {}", page.text);
    assert_eq!(server.count_grant(GrantType::RefreshToken), 1, "{name}");
    assert_eq!(server.count(Endpoint::UserInfo), 2, "{name}");

    let page = script.post("/auth/logout?return_to=/", "").await;
    assert_eq!(page.url, format!("{}/", script.base), "{name}");
    assert!(page.text.contains("signed out"), "{name}: {}", page.text);
    assert_eq!(server.count(Endpoint::EndSession), 1, "{name}");
}

#[tokio::test]
async fn a_script_signs_in_refreshes_and_signs_out_in_every_profile() {
    for mode in ["", "query", "form_post", "jwt", "form_post.jwt"] {
        let variables = [("PROFILE", "oidc"), ("RESPONSE_MODE", mode)];
        let world = World::new("", client(), &variables).await;
        let script = Script::new(&world.server, BASE, &world.application);
        drive(&format!("oidc {mode}"), script).await;
        let sent = world.server.sent_logout_tokens();
        assert_eq!(sent[0].status(), Some(StatusCode::OK), "{mode}");
    }
    for profile in ["fapi2_security", "fapi2_message_signing"] {
        for method in ["private_key_jwt", "mtls"] {
            let world = FapiWorld::new(profile, method).await;
            let script = Script::new(&world.server, fapi2::BASE, &world.application);
            drive(&format!("{profile} {method}"), script).await;
        }
    }
}

/// OpenID Connect Core §4, as a link and as a form of the suite.
#[tokio::test]
async fn a_script_starts_a_login_for_the_authorization_server() {
    let world = World::new("", client(), &[]).await;
    let iss: String =
        url::form_urlencoded::byte_serialize(world.server.issuer().as_bytes()).collect();
    for by_form in [false, true] {
        let mut script = Script::new(&world.server, BASE, &world.application);
        let form = format!("iss={iss}&login_hint=alice");
        let page = match by_form {
            true => script.post("/auth/login", &form).await,
            false => script.get(&format!("/auth/login?{form}")).await,
        };
        assert!(page.text.contains("id=\"sign-in\""), "{}", page.text);
        assert!(page.url.contains("/authorize?"), "{}", page.url);
    }
}

/// The page of a failure, whatever carried the response.
#[tokio::test]
async fn a_script_gets_the_code_of_a_failure() {
    for mode in ["query", "form_post", "jwt", "form_post.jwt"] {
        let world = World::new("", client(), &[("RESPONSE_MODE", mode)]).await;
        let nonce = Fault::id_token(|mint| mint.with_claim("nonce", "another"));
        world.server.fail_once(Endpoint::Token, nonce);
        let mut script = Script::new(&world.server, BASE, &world.application);
        let page = script.sign_in().await;
        assert!(!page.status.is_success(), "{mode}");
        let line = "error: id_token_nonce";
        assert!(page.text.contains(line), "{mode}: {}", page.text);
        assert_eq!(world.server.count(Endpoint::UserInfo), 0, "{mode}");
    }
}
