//! The flow that just happened, drawn from what was really sent.
//!
//! The authorization server of the quickstart keeps the requests it got, the application notes what
//! came back to its callback, and the ID token's `nonce` says which of them belong to a session.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use tower_oauth::Session;
use tower_oauth::testing::{Endpoint, RecordedRequest, TestServer};

use crate::pages::escape;

type Parameters = Vec<(String, String)>;

/// What the application saw of the flows, by `state` and by session.
#[derive(Clone, Default)]
pub(crate) struct Witness(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    callbacks: HashMap<String, Parameters>,
    calls: HashMap<String, ApiCall>,
}

/// Enough for a demonstration; then it begins anew.
const REMEMBERED: usize = 500;

/// A call of the API with an access token, and its answer.
#[derive(Clone)]
pub(crate) struct ApiCall {
    pub(crate) method: &'static str,
    pub(crate) status: u16,
    pub(crate) challenge: Option<String>,
    pub(crate) body: String,
    token: String,
}

impl ApiCall {
    pub(crate) async fn new(method: &'static str, token: &str, answer: reqwest::Response) -> Self {
        let challenge = answer.headers().get("www-authenticate");
        let challenge = challenge
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        let (status, token) = (answer.status().as_u16(), token.to_owned());
        Self {
            method,
            status,
            challenge,
            body: answer.text().await.unwrap_or_default(),
            token,
        }
    }
}

/// One flow, as far as it went.
#[derive(Default)]
pub(crate) struct Flow {
    authorization: Parameters,
    callback: Parameters,
    token: Parameters,
    call: Option<ApiCall>,
}

impl Witness {
    pub(crate) fn called_back(&self, query: &str) {
        let parameters: Parameters = url::form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect();
        if let Some(state) = value(&parameters, "state").map(str::to_owned) {
            let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if seen.callbacks.len() >= REMEMBERED {
                seen.callbacks.clear();
            }
            seen.callbacks.insert(state, parameters);
        }
    }

    pub(crate) fn called(&self, session: &Session, call: ApiCall) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.calls.len() >= REMEMBERED {
            seen.calls.clear();
        }
        seen.calls.insert(nonce(session), call);
    }

    pub(crate) fn flow_of(&self, session: &Session, issuer: &TestServer) -> Flow {
        let nonce = nonce(session);
        let requests = issuer.requests();
        let find = |endpoint, name: &str, wanted: &str| -> Parameters {
            let fits = |request: &&RecordedRequest| {
                request.endpoint() == endpoint && request.parameter(name).as_deref() == Some(wanted)
            };
            let found = requests.iter().rev().find(fits);
            found.map(with_client).unwrap_or_default()
        };
        let authorization = find(Endpoint::Authorization, "nonce", &nonce);
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let state = value(&authorization, "state").unwrap_or_default();
        let callback = seen.callbacks.get(state).cloned().unwrap_or_default();
        let token = find(
            Endpoint::Token,
            "code",
            value(&callback, "code").unwrap_or_default(),
        );
        Flow {
            authorization,
            callback,
            token,
            call: seen.calls.get(&nonce).cloned(),
        }
    }
}

/// The parameters of a request, and how the client proved itself.
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

pub(crate) fn draw(session: &Session, flow: &Flow) -> String {
    let mut html = "<h1>The flow that just happened</h1><p>The authorization code flow, with the \
                    parameters that were really sent. Secrets are shortened.</p>\
                    <div class=\"lanes\"><span>Browser</span><span>Application</span>\
                    <span>Authorization server</span><span>API</span></div>"
        .to_owned();

    step(
        &mut html,
        1,
        "Authorization request",
        "The application sends the browser away to sign in.",
    );
    arrow(&mut html, Lane::Application, Lane::Browser, "303 redirect");
    arrow(&mut html, Lane::Browser, Lane::Server, "GET /authorize");
    table(&mut html, &flow.authorization, "");

    step(
        &mut html,
        2,
        "Consent and redirect back",
        "The user signs in and agrees; the browser \
          brings a code back. The password was typed at the authorization server only.",
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
        "The application redeems the code, directly. Only who began \
          the flow knows the verifier that fits the challenge of step 1.",
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
        "The access token opens the API, which verifies it by \
          itself with the keys of the authorization server.",
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
            "<form method=\"post\" action=\"/account\"><p>Not yet. \
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

/// Secrets keep their first characters, so that one can see where each comes back.
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

/// The claims of the access token, to look at: the API is who verified them.
pub(crate) fn unverified_claims(token: &str) -> serde_json::Map<String, Value> {
    use base64::Engine as _;
    let payload = token.split('.').nth(1).unwrap_or_default();
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload);
    bytes
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default()
}
