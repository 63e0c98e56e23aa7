//! The page template: no scripts, one style sheet, all variable text escaped.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{Response, StatusCode};

use super::super::respond::{empty, with_header};
use crate::crypto::digest;

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
