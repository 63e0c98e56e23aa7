//! The pages of the quickstart. They need no JavaScript.

use std::fmt::Write;

use tower_oauth::Session;

use crate::flow_page::ApiCall;

/// Escapes text for HTML.
pub(crate) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

pub(crate) fn page(title: &str, session: Option<&Session>, body: &str) -> String {
    let links = match session {
        Some(_) => {
            "<a href=\"/account\">Account</a> <a href=\"/flow\">The flow</a>\
             <form method=\"post\" action=\"/auth/logout\"><button>Sign out</button></form>"
        }
        None => "<a class=\"button\" href=\"/auth/login?return_to=/account\">Sign in</a>",
    };
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <link rel=\"icon\" href=\"data:,\"><title>{title} · Notes</title><style>{STYLE}</style></head><body>\
         <header><a class=\"brand\" href=\"/\">Notes</a><nav>{links}</nav></header>\
         <main>{body}</main></body></html>",
        title = escape(title),
    )
}

/// `revoked` is shown if no user is signed in.
pub(crate) fn home(session: Option<&Session>, revoked: &str) -> String {
    let body = match session {
        Some(session) => format!(
            "<h1>Hello, {name}</h1><p>You are signed in. This page is public; \
             <a href=\"/account\">your account</a> requires a session. \
             <a href=\"/flow\">See the flow of your sign-in.</a></p>",
            name = escape(session.subject()),
        ),
        None => format!(
            "<h1>Hello, stranger</h1><p>This page is public. Your account page \
                 requires a session: please sign in with Notes ID as <code>alice</code> with \
                 <code>wonderland</code> or as <code>bob</code> with <code>builder</code>, or with \
                 Partner Inc. as <code>carol</code> with <code>keys</code>.</p>\
                 <p><a class=\"button\" href=\"/auth/login?return_to=/account\">Sign in</a></p>{revoked}"
        ),
    };
    page("Home", session, &body)
}

/// `token` is the section on the access token.
pub(crate) fn account(
    session: &Session,
    name: Option<&str>,
    call: Option<&ApiCall>,
    token: &str,
) -> String {
    let mut body = format!(
        "<h1>{name}</h1><dl><dt>Provider</dt><dd><code>{provider}</code></dd>\
         <dt>Subject</dt><dd><code>{subject}</code></dd>\
         <dt>Issuer</dt><dd><code>{issuer}</code></dd>\
         <dt>Scopes</dt><dd><code>{scopes}</code></dd></dl>\
         <h2>Your notes</h2><p>Your notes are stored in an API. This application can read them \
         (<code>notes:read</code>), but it was not granted <code>notes:write</code>.</p>\
         <form class=\"row\" method=\"post\" action=\"/account\">\
         <button name=\"call\" value=\"read\">Read my notes</button>\
         <button name=\"call\" value=\"write\" class=\"quiet\">Add a note</button></form>",
        name = escape(name.unwrap_or_else(|| session.subject())),
        provider = escape(session.provider()),
        subject = escape(session.subject()),
        issuer = escape(session.issuer()),
        scopes = escape(&session.scopes().to_string()),
    );
    if let Some(call) = call {
        let class = if call.status < 400 { "good" } else { "bad" };
        let _ = write!(
            body,
            "<section id=\"response\" class=\"card {class}\"><h3>{method} /api/notes → {status}</h3>",
            method = call.method,
            status = call.status,
        );
        if let Some(challenge) = &call.challenge {
            let _ = write!(
                body,
                "<p>The API rejected the request:</p><pre>WWW-Authenticate: {}</pre>",
                escape(challenge)
            );
        }
        if !call.body.is_empty() {
            let _ = write!(body, "<pre>{}</pre>", escape(&call.body));
        }
        body.push_str("</section>");
    }
    body.push_str(token);
    page("Account", Some(session), &body)
}

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1d232b;--soft:#5b6673;--paper:#fff;--card:#f5f7f9;--line:#d9dfe5;\
--blue:#1a56c4;--good:#11703c;--bad:#b3261e}\
@media(prefers-color-scheme:dark){:root{--ink:#e7ebef;--soft:#9aa6b2;--paper:#14181d;--card:#1d232a;\
--line:#333c46;--blue:#8ab4ff;--good:#6fd49b;--bad:#ff9a92}}\
*{box-sizing:border-box}body{margin:0;font:16px/1.55 system-ui,sans-serif;color:var(--ink);\
background:var(--paper)}header{display:flex;flex-wrap:wrap;gap:.5rem 1rem;align-items:center;\
justify-content:space-between;padding:.75rem 1.25rem;border-bottom:1px solid var(--line)}\
.brand{font-weight:700;color:inherit;text-decoration:none}nav{display:flex;gap:1rem;align-items:center}\
nav form{margin:0}main{max-width:56rem;margin:0 auto;padding:1.5rem 1.25rem 4rem}h1{line-height:1.2}\
a{color:var(--blue)}.button,button{display:inline-block;font:inherit;font-weight:600;padding:.4rem .9rem;\
border-radius:.5rem;border:1px solid var(--blue);background:var(--blue);color:var(--paper);cursor:pointer;\
text-decoration:none}nav button,.quiet{background:transparent;color:var(--blue)}\
.row{display:flex;flex-wrap:wrap;gap:.75rem}dl{display:grid;grid-template-columns:max-content 1fr;\
gap:.3rem 1rem;margin:0 0 1rem}dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}\
code,pre{font:.875em/1.5 ui-monospace,monospace}pre{white-space:pre-wrap;overflow-wrap:anywhere;margin:.5rem 0}\
.card{border:1px solid var(--line);border-left-width:4px;background:var(--card);border-radius:.5rem;\
padding:.75rem 1rem;margin:1rem 0}.card h3{margin:.1rem 0}.good{border-left-color:var(--good)}\
.bad{border-left-color:var(--bad)}.lanes,.arrow{display:grid;grid-template-columns:repeat(4,1fr)}\
.lanes{position:sticky;top:0;background:var(--paper);font-weight:600;text-align:center;padding:.5rem 0;\
border-bottom:1px solid var(--line);font-size:.85rem;z-index:1}\
.arrow{position:relative;margin:.5rem 0 .25rem;min-height:2.1rem;background:repeating-linear-gradient(90deg,\
transparent 0 calc(12.5% - .5px),var(--line) 0 calc(12.5% + .5px),transparent 0 25%)}\
.arrow span{font-size:.78rem;text-align:center;border-bottom:2px solid var(--blue);color:var(--blue);\
position:relative;padding:0 .5rem .15rem;align-self:end;margin-left:calc(50%/var(--n));\
margin-right:calc(50%/var(--n));white-space:nowrap;background:linear-gradient(var(--paper),var(--paper)) \
center/calc(100% - 4px) 100% no-repeat}\
.arrow span::after{content:'';position:absolute;bottom:-6px;border:5px solid transparent}\
.right span::after{right:-5px;border-left-color:var(--blue)}.left span::after{left:-5px;\
border-right-color:var(--blue)}.step{margin:2rem 0}.step>h2{margin:0 0 .25rem}.step>h2 b{color:var(--blue)}\
.params td,.params th{text-align:left;vertical-align:top;padding:.15rem .75rem .15rem 0;font-weight:400}\
.params{border-collapse:collapse}.params td:first-child{white-space:nowrap}.params td{overflow-wrap:anywhere}\
.params th{color:var(--soft);font-size:.85rem}.why{color:var(--soft);font-size:.85rem}\
@media(max-width:40rem){.params tr{display:block;padding:.2rem 0}.params td{display:block;padding:0}\
dl{grid-template-columns:1fr}.lanes{font-size:.68rem}.arrow span{font-size:.65rem;padding:0 0 .15rem}}";
