//! The pages of the admin example. They need no JavaScript.

use std::fmt::Write;
use std::time::SystemTime;

use tower_oauth::Session;
use tower_oauth::session::SessionInfo;

use crate::ADMINISTRATOR;

/// Escapes text for HTML.
fn escape(text: &str) -> String {
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

fn page(title: &str, session: Option<&Session>, body: &str) -> String {
    let links = match session {
        Some(session) => format!(
            "<span>{}</span>{admin}<form method=\"post\" action=\"/auth/logout\"><button class=\"quiet\">Sign out</button></form>",
            escape(session.subject()),
            admin = if session.subject() == ADMINISTRATOR {
                "<a href=\"/admin\">Sessions</a>"
            } else {
                ""
            },
        ),
        None => "<a class=\"button\" href=\"/auth/login\">Sign in</a>".to_owned(),
    };
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <link rel=\"icon\" href=\"data:,\"><title>{title} · Admin</title><style>{STYLE}</style></head><body>\
         <header><a class=\"brand\" href=\"/\">Admin example</a><nav>{links}</nav></header>\
         <main>{body}</main></body></html>",
        title = escape(title),
    )
}

pub(crate) fn home(session: Option<&Session>) -> String {
    let body = match session {
        Some(session) => format!(
            "<h1>Hello, {name}</h1><p>You are signed in. This is your session:</p>\
             <dl><dt>Session</dt><dd><code>{id}</code></dd>\
             <dt>Signed in</dt><dd>{since}</dd></dl>\
             <p>An administrator can end it at any time. Reload this page to see whether it is still active.</p>",
            name = escape(session.subject()),
            id = session.id(),
            since = ago(session.signed_in_at()),
        ),
        None => "<h1>Hello, stranger</h1><p>Sign in as <code>alice</code> with <code>wonderland</code> or as \
                 <code>bob</code> with <code>builder</code>. <code>carol</code> with <code>keys</code> is the \
                 administrator.</p><p>If you were signed in, your session has ended.</p>"
            .to_owned(),
    };
    page("Home", session, &body)
}

pub(crate) fn forbidden(session: &Session) -> String {
    let body = "<h1>No access</h1><p>This page is for administrators. Please sign out, and sign in as \
                <code>carol</code>.</p>";
    page("No access", Some(session), body)
}

pub(crate) fn list(
    session: &Session,
    user: &str,
    found: &[SessionInfo],
    ended: Option<usize>,
) -> String {
    let name = escape(user);
    let mut body = format!(
        "<h1>Sessions</h1>\
         <form class=\"row\" action=\"/admin\"><label for=\"user\">User</label>\
         <input id=\"user\" name=\"user\" value=\"{name}\" autocapitalize=\"none\" spellcheck=\"false\" required>\
         <button class=\"quiet\">Show</button></form>"
    );
    if let Some(ended) = ended {
        let _ = write!(
            body,
            "<p id=\"ended\" class=\"card\" role=\"status\">Ended: {ended}</p>"
        );
    }
    if found.is_empty() {
        let _ = write!(
            body,
            "<p><strong>{name}</strong> is not signed in anywhere.</p>"
        );
        return page("Sessions", Some(session), &body);
    }
    let _ = write!(
        body,
        "<table><caption><strong>{name}</strong> is signed in {count}</caption>\
         <thead><tr><th scope=\"col\">Session</th><th scope=\"col\">Signed in</th>\
         <th scope=\"col\">Expires</th><th></th></tr></thead><tbody>",
        count = match found.len() {
            1 => "once".to_owned(),
            2 => "twice".to_owned(),
            count => format!("{count} times"),
        },
    );
    for info in found {
        let mark = if info.id() == session.id() {
            " <span class=\"mark\">this session</span>"
        } else {
            ""
        };
        let _ = write!(
            body,
            "<tr><td><code>{id}</code>{mark}</td><td data-label=\"Signed in\">{since}</td><td data-label=\"Expires\">{end}</td><td>\
             <form method=\"post\" action=\"/admin/end\">\
             <input type=\"hidden\" name=\"user\" value=\"{name}\">\
             <button name=\"id\" value=\"{id}\" class=\"quiet\" aria-label=\"End session {id}\">End</button>\
             </form></td></tr>",
            id = info.id(),
            since = ago(info.signed_in_at()),
            end = until(info.ends_at()),
        );
    }
    let _ = write!(
        body,
        "</tbody></table><form method=\"post\" action=\"/admin/end-all\">\
         <button name=\"user\" value=\"{name}\">End all</button></form>"
    );
    page("Sessions", Some(session), &body)
}

fn ago(time: SystemTime) -> String {
    let seconds = SystemTime::now()
        .duration_since(time)
        .map_or(0, |past| past.as_secs());
    match seconds {
        0..=59 => "just now".to_owned(),
        _ => format!("{} ago", round_up(seconds)),
    }
}

fn until(time: SystemTime) -> String {
    let seconds = time
        .duration_since(SystemTime::now())
        .map_or(0, |left| left.as_secs());
    format!("in {}", round_up(seconds))
}

fn round_up(seconds: u64) -> String {
    let minutes = seconds.div_ceil(60);
    match minutes {
        0..=1 => "a minute".to_owned(),
        2..=119 => format!("{minutes} minutes"),
        _ => format!("{} hours", minutes / 60),
    }
}

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1d232b;--soft:#5b6673;--paper:#fff;--card:#f5f7f9;--line:#d9dfe5;\
--blue:#1a56c4}\
@media(prefers-color-scheme:dark){:root{--ink:#e7ebef;--soft:#9aa6b2;--paper:#14181d;--card:#1d232a;\
--line:#333c46;--blue:#8ab4ff}}\
*{box-sizing:border-box}body{margin:0;font:16px/1.55 system-ui,sans-serif;color:var(--ink);\
background:var(--paper)}header{display:flex;flex-wrap:wrap;gap:.5rem 1rem;align-items:center;\
justify-content:space-between;padding:.75rem 1.25rem;border-bottom:1px solid var(--line)}\
.brand{font-weight:700;color:inherit;text-decoration:none}nav{display:flex;flex-wrap:wrap;gap:1rem;\
align-items:center}form{margin:0}main{max-width:60rem;margin:0 auto;padding:1.5rem 1.25rem 4rem}\
h1{line-height:1.2}a{color:var(--blue)}.button,button{display:inline-block;font:inherit;font-weight:600;\
padding:.4rem .9rem;border-radius:.5rem;border:1px solid var(--blue);background:var(--blue);\
color:var(--paper);cursor:pointer;text-decoration:none}.quiet{background:transparent;color:var(--blue)}\
.row{display:flex;flex-wrap:wrap;gap:.75rem;align-items:center;margin:0 0 1.5rem}\
input{font:inherit;padding:.4rem .6rem;border:1px solid var(--line);border-radius:.5rem;\
background:var(--card);color:inherit;max-width:100%}\
dl{display:grid;grid-template-columns:max-content 1fr;gap:.3rem 1rem;margin:0 0 1rem}dt{color:var(--soft)}\
dd{margin:0;overflow-wrap:anywhere}code{font:.875em/1.5 ui-monospace,monospace;overflow-wrap:anywhere}\
table{border-collapse:collapse;width:100%;margin:0 0 1.5rem}caption{text-align:left;margin:0 0 .5rem}\
th,td{text-align:left;padding:.5rem .75rem .5rem 0;border-bottom:1px solid var(--line);vertical-align:middle}\
th{color:var(--soft);font-weight:400;font-size:.875rem}.mark{color:var(--soft);font-size:.875rem}\
.card{border:1px solid var(--line);background:var(--card);border-radius:.5rem;padding:.6rem 1rem}\
:focus-visible{outline:3px solid var(--blue);outline-offset:2px}\
@media(max-width:40rem){thead{position:absolute;left:-100vw}tr{display:block;padding:.5rem 0;\
border-bottom:1px solid var(--line)}td code{word-break:break-all}td{display:block;border:0;padding:.15rem 0}\
td[data-label]::before{content:attr(data-label) \" \";color:var(--soft)}dl{grid-template-columns:1fr}}";
