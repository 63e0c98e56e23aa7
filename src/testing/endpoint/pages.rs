//! The pages of the test server.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY, REFRESH,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{Response, StatusCode};
use url::Url;

use super::super::respond::{empty, with_header};
use super::super::server::TestServer;
use super::request::ValidatedRequest;
use crate::crypto::digest;

/// Returns the sign-in page; `rejected_name` is the user name of a failed attempt.
pub(super) fn sign_in(
    server: &TestServer,
    request: &ValidatedRequest,
    page: &str,
    rejected_name: Option<&str>,
) -> Response<Bytes> {
    let name = rejected_name
        .or(request.login_hint.as_deref())
        .unwrap_or_default();
    let error = match rejected_name {
        Some(_) => {
            "<p class=\"error\" role=\"alert\">User name or password is incorrect. Please try again.</p>"
        }
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
    // A failed attempt is not a 200.
    let status = rejected_name.map_or(StatusCode::OK, |_| StatusCode::UNPROCESSABLE_ENTITY);
    html(status, "Sign in", &content, Some(&request.redirect_uri))
}

pub(super) fn consent(
    server: &TestServer,
    request: &ValidatedRequest,
    page: &str,
) -> Response<Bytes> {
    let scopes: String = request
        .scopes
        .iter()
        .map(|scope| {
            format!(
                "<li>{}<code>{}</code></li>",
                describe_scope(scope),
                escape(scope)
            )
        })
        .collect();
    let content = format!(
        "<h1>Allow access?</h1>\
         <p><strong>{client}</strong> wants to</p>\
         <ul>{scopes}</ul>\
         <form id=\"consent\" method=\"post\" action=\"{action}\">\
         <input type=\"hidden\" name=\"page\" value=\"{page}\">\
         <button type=\"submit\" name=\"decision\" value=\"allow\">Allow</button>\
         <button type=\"submit\" name=\"decision\" value=\"deny\" class=\"second\">Deny</button>\
         </form>\
         <p class=\"small\">You will return to {origin} in either case.</p>",
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

/// Returns the page that asks for confirmation of a logout without a valid hint.
pub(super) fn confirm_logout(
    server: &TestServer,
    page: &str,
    redirect_uri: Option<&str>,
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
    html(StatusCode::OK, "Sign out?", &content, redirect_uri)
}

/// Returns the signed-out page. Its frames are the front-channel logout requests; afterwards it redirects.
pub(super) fn signed_out(frames: &[Url], redirect_uri: Option<&str>) -> Response<Bytes> {
    let mut content = "<h1>Signed out</h1>".to_owned();
    content.push_str(&match redirect_uri.map(escape) {
        Some(uri) => format!(
            "<p>You will be redirected in a moment.</p><p><a href=\"{uri}\">Continue</a></p>",
        ),
        None => "<p>You can close this page.</p>".to_owned(),
    });
    for frame in frames {
        content.push_str(&format!(
            "<iframe hidden title=\"Sign-out of {host}\" src=\"{src}\"></iframe>",
            host = escape(frame.host_str().unwrap_or_default()),
            src = escape(frame.as_str()),
        ));
    }
    let sources: Vec<String> = frames
        .iter()
        .map(|frame| source_of(frame.as_str()))
        .collect();
    let page = html_with_frames(
        StatusCode::OK,
        "Signed out",
        &content,
        redirect_uri,
        &sources,
    );
    match redirect_uri {
        // Without a script the page cannot tell when its frames have loaded: it waits two seconds.
        Some(uri) => with_header(page, REFRESH, &format!("2; url={uri}")),
        None => page,
    }
}

/// Returns the page that submits a response to the client (Form Post Response Mode §2).
pub(super) fn form_post(redirect_uri: &str, pairs: &[(String, String)]) -> Response<Bytes> {
    let fields: String = pairs
        .iter()
        .map(|(name, value)| {
            let (name, value) = (escape(name), escape(value));
            format!("<input type=\"hidden\" name=\"{name}\" value=\"{value}\">")
        })
        .collect();
    let content = format!(
        "<h1>Signed in</h1>\
         <form id=\"form-post\" method=\"post\" action=\"{action}\">{fields}\
         <button type=\"submit\">Continue</button></form>\
         <script>{SUBMIT}</script>",
        action = escape(redirect_uri),
    );
    let page = html(StatusCode::OK, "Signed in", &content, Some(redirect_uri));
    let script = STANDARD.encode(digest::sha256(SUBMIT.as_bytes()));
    let policy = page.headers().get(CONTENT_SECURITY_POLICY);
    let policy = policy
        .and_then(|policy| policy.to_str().ok())
        .unwrap_or_default();
    let policy = format!("{policy}; script-src 'sha256-{script}'");
    let page = with_header(page, CONTENT_SECURITY_POLICY, &policy);
    // So that the form has the `Origin` of this server, and the client no more of this URL.
    with_header(page, REFERRER_POLICY, "strict-origin")
}

/// Returns an error page, for errors that cannot be sent to a client (RFC 6749 §4.1.2.1).
pub(super) fn error(status: StatusCode, reason: &str) -> Response<Bytes> {
    let content = format!("<h1>Something went wrong</h1><p>{}</p>", escape(reason));
    html(status, "Something went wrong", &content, None)
}

pub(super) fn expired() -> Response<Bytes> {
    error(
        StatusCode::BAD_REQUEST,
        "This page has expired or was opened in another browser. Please go back to \
         the application and start again.",
    )
}

fn describe_scope(scope: &str) -> &'static str {
    match scope {
        "openid" => "see your user ID ",
        "profile" => "see your profile ",
        "email" => "see your e-mail address ",
        "address" => "see your postal address ",
        "phone" => "see your telephone number ",
        "offline_access" => "access your data while you are not using it ",
        _ => "use ",
    }
}

/// Renders a page whose forms may lead to this server or to `redirect_uri`.
pub(super) fn html(
    status: StatusCode,
    title: &str,
    content: &str,
    redirect_uri: Option<&str>,
) -> Response<Bytes> {
    html_with_frames(status, title, content, redirect_uri, &[])
}

/// Renders a page that may also show frames of these sources.
pub(super) fn html_with_frames(
    status: StatusCode,
    title: &str,
    content: &str,
    redirect_uri: Option<&str>,
    frames: &[String],
) -> Response<Bytes> {
    let document = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{}</title><style>{STYLE}</style></head><body><main>{content}</main></body></html>",
        escape(title),
    );
    let style = STANDARD.encode(digest::sha256(STYLE.as_bytes()));
    // Browsers apply `form-action` to the redirect after a form as well.
    let target = redirect_uri
        .map(|uri| format!(" {}", source_of(uri)))
        .unwrap_or_default();
    let frames = match frames {
        [] => String::new(),
        frames => format!("; frame-src {}", frames.join(" ")),
    };
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; form-action 'self'{target}; \
         frame-ancestors 'none'; base-uri 'none'{frames}",
    );
    let fields = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, &policy),
        (HeaderName::from_static("x-frame-options"), "DENY"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // `no-referrer` would make the browser send `Origin: null` with this server's forms.
        (REFERRER_POLICY, "same-origin"),
    ];
    let response = empty(status).map(|_| Bytes::from(document));
    fields
        .into_iter()
        .fold(response, |response, (name, value)| {
            with_header(response, name, value)
        })
}

/// Returns the CSP source expression of a URL: its origin, or its scheme if the origin is opaque.
pub(super) fn source_of(uri: &str) -> String {
    let Ok(url) = Url::parse(uri) else {
        return String::new();
    };
    let origin = url.origin();
    if origin.is_tuple() {
        origin.ascii_serialization()
    } else {
        format!("{}:", url.scheme())
    }
}

pub(super) fn escape(text: &str) -> String {
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

const SUBMIT: &str = "document.forms[0].submit()";

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
