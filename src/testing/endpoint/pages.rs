//! The pages a person sees: no script, one style, everything that varies escaped.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{Response, StatusCode};

use super::super::respond::{empty, with_header};
use super::super::server::TestServer;
use super::request::AuthorizationRequest;
use crate::crypto::digest;

/// The sign-in form; `wrong` is the name of a failed attempt.
pub(super) fn sign_in(
    server: &TestServer,
    request: &AuthorizationRequest,
    page: &str,
    wrong: Option<&str>,
) -> Response<Bytes> {
    let name = wrong.or(request.login_hint.as_deref()).unwrap_or_default();
    let error = match wrong {
        Some(_) => "<p class=\"error\" role=\"alert\">The user name or the password is wrong.</p>",
        None => "",
    };
    let content = format!(
        "<h1>Sign in</h1>\
         <p>to continue to <strong>{client}</strong></p>\
         {error}\
         <form id=\"sign-in\" method=\"post\" action=\"{action}\">\
         <input type=\"hidden\" name=\"page\" value=\"{page}\">\
         <label for=\"username\">User name</label>\
         <input id=\"username\" name=\"username\" value=\"{name}\" autocomplete=\"username\" \
         autocapitalize=\"none\" spellcheck=\"false\" required autofocus>\
         <label for=\"password\">Password</label>\
         <input id=\"password\" name=\"password\" type=\"password\" \
         autocomplete=\"current-password\" required>\
         <button type=\"submit\">Sign in</button>\
         </form>",
        client = escape(&request.client_id),
        action = escape(&server.url("/sign-in")),
        page = escape(page),
        name = escape(name),
    );
    // A form that fails is shown again with the status of a form that failed.
    let status = wrong.map_or(StatusCode::OK, |_| StatusCode::UNPROCESSABLE_ENTITY);
    html(status, "Sign in", &content, Some(&request.redirect_uri))
}

pub(super) fn consent(
    server: &TestServer,
    request: &AuthorizationRequest,
    page: &str,
) -> Response<Bytes> {
    let scopes: String = request
        .scopes
        .iter()
        .map(|scope| format!("<li>{}<code>{}</code></li>", meaning(scope), escape(scope)))
        .collect();
    let content = format!(
        "<h1>Allow access?</h1>\
         <p><strong>{client}</strong> asks to</p>\
         <ul>{scopes}</ul>\
         <form id=\"consent\" method=\"post\" action=\"{action}\">\
         <input type=\"hidden\" name=\"page\" value=\"{page}\">\
         <button type=\"submit\" name=\"decision\" value=\"allow\">Allow</button>\
         <button type=\"submit\" name=\"decision\" value=\"deny\" class=\"second\">Deny</button>\
         </form>\
         <p class=\"small\">Either way you go back to {origin}.</p>",
        client = escape(&request.client_id),
        action = escape(&server.url("/consent")),
        page = escape(page),
        origin = escape(&source_of(&request.redirect_uri)),
    );
    html(
        StatusCode::OK,
        "Allow access?",
        &content,
        Some(&request.redirect_uri),
    )
}

/// The question that stands before a logout nobody can vouch for.
pub(super) fn confirm_logout(
    server: &TestServer,
    page: &str,
    leads_to: Option<&str>,
) -> Response<Bytes> {
    let content = format!(
        "<h1>Sign out?</h1>\
         <form id=\"end-session\" method=\"post\" action=\"{action}\">\
         <input type=\"hidden\" name=\"page\" value=\"{page}\">\
         <button type=\"submit\">Sign out</button>\
         </form>",
        action = escape(&server.url("/end-session")),
        page = escape(page),
    );
    html(StatusCode::OK, "Sign out?", &content, leads_to)
}

pub(super) fn signed_out() -> Response<Bytes> {
    html(
        StatusCode::OK,
        "Signed out",
        "<h1>Signed out</h1><p>You can close this page.</p>",
        None,
    )
}

/// An error that is shown here, since there is no client to send it to.
pub(super) fn refusal(status: StatusCode, reason: &str) -> Response<Bytes> {
    let content = format!("<h1>This does not work</h1><p>{}</p>", escape(reason));
    html(status, "This does not work", &content, None)
}

pub(super) fn stale() -> Response<Bytes> {
    refusal(
        StatusCode::BAD_REQUEST,
        "This page is too old or belongs to another browser. Go back \
        to the application and start again.",
    )
}

fn html(status: StatusCode, title: &str, content: &str, leads_to: Option<&str>) -> Response<Bytes> {
    let document = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{}</title><style>{STYLE}</style></head><body><main>{content}</main></body></html>",
        escape(title),
    );
    let style = STANDARD.encode(digest::sha256(STYLE.as_bytes()));
    // Browsers hold the redirect that follows a form against `form-action` too.
    let target = leads_to
        .map(|uri| format!(" {}", source_of(uri)))
        .unwrap_or_default();
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; form-action 'self'{target}; \
         frame-ancestors 'none'; base-uri 'none'",
    );
    let fields = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, &policy),
        (HeaderName::from_static("x-frame-options"), "DENY"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // `no-referrer` would make the browser send `Origin: null` from our own forms.
        (REFERRER_POLICY, "same-origin"),
    ];
    let response = empty(status).map(|_| Bytes::from(document));
    fields
        .into_iter()
        .fold(response, |response, (name, value)| {
            with_header(response, name, value)
        })
}

/// The origin of a URL, or its scheme where that is no web origin: a source expression of CSP.
fn source_of(uri: &str) -> String {
    let Ok(url) = url::Url::parse(uri) else {
        return String::new();
    };
    let origin = url.origin();
    if origin.is_tuple() {
        origin.ascii_serialization()
    } else {
        format!("{}:", url.scheme())
    }
}

fn meaning(scope: &str) -> &'static str {
    match scope {
        "openid" => "know who you are ",
        "profile" => "see your profile ",
        "email" => "see your e-mail address ",
        "address" => "see your postal address ",
        "phone" => "see your telephone number ",
        "offline_access" => "act for you while you are away ",
        _ => "use ",
    }
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

const STYLE: &str = "
:root { color-scheme: light dark; --back: #f4f5f7; --card: #fff; --text: #1c2024; --soft: #5b6470;
  --line: #d3d8de; --accent: #1d5fd1; --on-accent: #fff; --error: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --back: #14171a; --card: #1e2226; --text: #e8eaed;
  --soft: #a3abb5; --line: #3a4149; --accent: #7aaaf7; --on-accent: #10151c; --error: #f2a29c; } }
* { box-sizing: border-box; }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 1rem;
  background: var(--back); color: var(--text); font: 1rem/1.5 system-ui, sans-serif; }
main { width: 100%; max-width: 24rem; padding: 2rem; background: var(--card);
  border: 1px solid var(--line); border-radius: .75rem; overflow-wrap: anywhere; }
h1 { margin: 0 0 .25rem; font-size: 1.4rem; line-height: 1.25; }
p { margin: 0 0 1.25rem; } ul { margin: 0 0 1.5rem; padding-left: 1.25rem; } li { margin: .35rem 0; }
code { padding: .1rem .35rem; border: 1px solid var(--line); border-radius: .3rem; font-size: .85em; }
label { display: block; margin: 0 0 .25rem; font-weight: 600; }
input { width: 100%; margin: 0 0 1rem; padding: .6rem .75rem; font: inherit; color: inherit;
  background: var(--back); border: 1px solid var(--line); border-radius: .5rem; }
button { width: 100%; margin-top: .5rem; padding: .65rem; font: inherit; font-weight: 600;
  color: var(--on-accent); background: var(--accent); border: 1px solid var(--accent);
  border-radius: .5rem; cursor: pointer; }
button.second { color: var(--text); background: transparent; border-color: var(--line); }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.error { color: var(--error); font-weight: 600; }
.small { margin: 1.25rem 0 0; color: var(--soft); font-size: .875rem; }
";
