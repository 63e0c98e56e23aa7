//! The page that shows the requests of a sign-in.
//!
//! The test authorization servers record their requests, the application records its callbacks, and the
//! `nonce` of the ID token identifies those of a session.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use tower_oauth::Session;
use tower_oauth::testing::{Endpoint, RecordedRequest, TestServer};

use crate::pages::escape;

type Parameters = Vec<(String, String)>;

/// Records callbacks by `state` and API calls by session.
#[derive(Clone, Default)]
pub(crate) struct Recorder(Arc<Mutex<Recorded>>);

#[derive(Default)]
struct Recorded {
    callbacks: HashMap<String, Parameters>,
    calls: HashMap<String, ApiCall>,
}

/// The records are cleared when they reach this number.
const MAX_RECORDED: usize = 500;

/// A call of the API and its response.
#[derive(Clone)]
pub(crate) struct ApiCall {
    pub(crate) method: &'static str,
    pub(crate) status: u16,
    pub(crate) challenge: Option<String>,
    pub(crate) body: String,
    token: String,
}

impl ApiCall {
    pub(crate) async fn new(
        method: &'static str,
        token: &str,
        response: reqwest::Response,
    ) -> Self {
        let challenge = response.headers().get("www-authenticate");
        let challenge = challenge
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        let (status, token) = (response.status().as_u16(), token.to_owned());
        Self {
            method,
            status,
            challenge,
            body: response.text().await.unwrap_or_default(),
            token,
        }
    }
}

/// The recorded requests of one flow.
#[derive(Default)]
pub(crate) struct Flow {
    authorization: Parameters,
    callback: Parameters,
    token: Parameters,
    call: Option<ApiCall>,
}

impl Recorder {
    pub(crate) fn record_callback(&self, query: &str) {
        let parameters: Parameters = url::form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect();
        if let Some(state) = value(&parameters, "state").map(str::to_owned) {
            let mut recorded = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if recorded.callbacks.len() >= MAX_RECORDED {
                recorded.callbacks.clear();
            }
            recorded.callbacks.insert(state, parameters);
        }
    }

    pub(crate) fn record_call(&self, session: &Session, call: ApiCall) {
        let mut recorded = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if recorded.calls.len() >= MAX_RECORDED {
            recorded.calls.clear();
        }
        recorded.calls.insert(nonce(session), call);
    }

    pub(crate) fn flow_of(&self, session: &Session, servers: &[TestServer]) -> Flow {
        let nonce = nonce(session);
        let server = servers
            .iter()
            .find(|server| server.issuer() == session.issuer());
        let requests = server.map(TestServer::requests).unwrap_or_default();
        let find = |endpoint, name: &str, wanted: &str| -> Parameters {
            let matches = |request: &&RecordedRequest| {
                request.endpoint() == endpoint && request.parameter(name).as_deref() == Some(wanted)
            };
            let found = requests.iter().rev().find(matches);
            found.map(with_client).unwrap_or_default()
        };
        let authorization = find(Endpoint::Authorization, "nonce", &nonce);
        let recorded = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let state = value(&authorization, "state").unwrap_or_default();
        let callback = recorded.callbacks.get(state).cloned().unwrap_or_default();
        let token = find(
            Endpoint::Token,
            "code",
            value(&callback, "code").unwrap_or_default(),
        );
        Flow {
            authorization,
            callback,
            token,
            call: recorded.calls.get(&nonce).cloned(),
        }
    }
}

/// Returns the parameters of a request and the client authentication.
fn with_client(request: &RecordedRequest) -> Parameters {
    let mut parameters = request.parameters();
    if let Some(credentials) = request.header("authorization") {
        parameters.insert(0, ("Authorization".to_owned(), credentials.to_owned()));
    }
    parameters
}

fn nonce(session: &Session) -> String {
    let nonce = session.claims().get("nonce");
    nonce
        .as_ref()
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

fn value<'a>(parameters: &'a Parameters, name: &str) -> Option<&'a str> {
    parameters
        .iter()
        .find_map(|(key, value)| (key == name).then_some(value.as_str()))
}

pub(crate) fn render(session: &Session, flow: &Flow) -> String {
    let mut html = "<h1>The flow of your sign-in</h1><p>The authorization code flow with the \
                    parameters that were sent. Secrets are shortened.</p>\
                    <div class=\"lanes\"><span>Browser</span><span>Application</span>\
                    <span>Authorization server</span><span>API</span></div>"
        .to_owned();

    step(
        &mut html,
        1,
        "Authorization request",
        "The application redirects the browser to the authorization server.",
    );
    arrow(&mut html, Lane::Application, Lane::Browser, "303 redirect");
    arrow(&mut html, Lane::Browser, Lane::Server, "GET /authorize");
    table(&mut html, &flow.authorization, "");

    step(
        &mut html,
        2,
        "Consent and redirect back",
        "The user signs in and gives consent; the authorization server redirects \
          the browser back with a code. The application never sees the password.",
    );
    arrow(
        &mut html,
        Lane::Server,
        Lane::Browser,
        "sign-in, consent, 303 redirect",
    );
    arrow(
        &mut html,
        Lane::Browser,
        Lane::Application,
        "GET /auth/callback",
    );
    table(&mut html, &flow.callback, "");

    step(
        &mut html,
        3,
        "Token request",
        "The application redeems the code with a direct request. Only the client that started \
          the flow knows the code verifier for the challenge of step 1.",
    );
    arrow(&mut html, Lane::Application, Lane::Server, "POST /token");
    table(&mut html, &flow.token, "");
    arrow(
        &mut html,
        Lane::Server,
        Lane::Application,
        "ID token, access token",
    );
    let claims: serde_json::Map<String, Value> = session.claims().deserialize().unwrap_or_default();
    table(&mut html, &claim_rows(&claims), "claims of the ID token");

    step(
        &mut html,
        4,
        "Resource access",
        "The application calls the API with the access token. The API verifies the token \
          with the keys of the authorization server.",
    );
    match &flow.call {
        Some(call) => {
            arrow(
                &mut html,
                Lane::Application,
                Lane::Api,
                &format!("{} /api/notes", call.method),
            );
            let sent = vec![("Authorization".to_owned(), format!("Bearer {}", call.token))];
            table(&mut html, &sent, "");
            table(
                &mut html,
                &claim_rows(&unverified_claims(&call.token)),
                "claims of the access token",
            );
            arrow(
                &mut html,
                Lane::Api,
                Lane::Application,
                &call.status.to_string(),
            );
            if let Some(challenge) = &call.challenge {
                let _ = write!(html, "<pre>WWW-Authenticate: {}</pre>", escape(challenge));
            }
        }
        None => html.push_str(
            "<form method=\"post\" action=\"/account\"><p>The API has not been called yet. \
             <button name=\"call\" value=\"read\">Read my notes</button></p></form>",
        ),
    }
    html.push_str("</section>");
    html
}

#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Lane {
    Browser = 1,
    Application = 2,
    Server = 3,
    Api = 4,
}

fn step(html: &mut String, number: u8, title: &str, why: &str) {
    if number > 1 {
        html.push_str("</section>");
    }
    let _ = write!(
        html,
        "<section class=\"step\" id=\"step-{number}\"><h2><b>{number}</b> {title}</h2><p class=\"why\">{why}</p>"
    );
}

#[allow(clippy::as_conversions)]
fn arrow(html: &mut String, from: Lane, to: Lane, label: &str) {
    let (first, last) = (from.min_of(to) as u8, from.max_of(to) as u8);
    let direction = if from < to { "right" } else { "left" };
    let _ = write!(
        html,
        "<div class=\"arrow {direction}\"><span style=\"grid-column:{first}/{end};--n:{lanes}\">{label}</span></div>",
        end = last + 1,
        lanes = last - first + 1,
        label = escape(label),
    );
}

impl Lane {
    fn min_of(self, other: Self) -> Self {
        if self < other { self } else { other }
    }

    fn max_of(self, other: Self) -> Self {
        if self < other { other } else { self }
    }
}

fn table(html: &mut String, rows: &Parameters, caption: &str) {
    html.push_str("<div class=\"card\"><table class=\"params\">");
    if !caption.is_empty() {
        let _ = write!(html, "<tr><th colspan=\"2\">{caption}</th></tr>");
    }
    for (name, value) in rows {
        let _ = write!(
            html,
            "<tr><td><code>{}</code></td><td><code>{}</code></td></tr>",
            escape(name),
            escape(&shortened(name, value))
        );
    }
    html.push_str("</table></div>");
}

const SECRETS: [&str; 11] = [
    "state",
    "nonce",
    "code",
    "code_challenge",
    "code_verifier",
    "client_secret",
    "token",
    "at_hash",
    "sid",
    "jti",
    "Authorization",
];

/// Shortens secrets to their first characters, which are enough to recognize them in later steps.
pub(crate) fn shortened(name: &str, value: &str) -> String {
    if !SECRETS.contains(&name) {
        return value.to_owned();
    }
    let (scheme, secret) = match value.split_once(' ') {
        Some((scheme, secret)) if name == "Authorization" => (format!("{scheme} "), secret),
        _ => (String::new(), value),
    };
    let start: String = secret.chars().take(6).collect();
    format!("{scheme}{start}…")
}

fn claim_rows(claims: &serde_json::Map<String, Value>) -> Parameters {
    let text = |value: &Value| {
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    };
    claims
        .iter()
        .map(|(name, value)| (name.clone(), text(value)))
        .collect()
}

/// Decodes the claims of an access token for display, without verification.
pub(crate) fn unverified_claims(token: &str) -> serde_json::Map<String, Value> {
    use base64::Engine as _;
    let payload = token.split('.').nth(1).unwrap_or_default();
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload);
    bytes
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default()
}
