//! What the pages say.

use bytes::Bytes;
use http::header::REFRESH;
use http::{Response, StatusCode};
use url::Url;

use super::super::respond::with_header;
use super::super::server::TestServer;
use super::html::{escape, html, html_with_frames, source_of};
use super::request::AuthorizationRequest;

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

/// The end. The frames tell applications of it; then the page leads on.
pub(super) fn signed_out(frames: &[Url], leads_to: Option<&str>) -> Response<Bytes> {
    let mut content = "<h1>Signed out</h1>".to_owned();
    content.push_str(&match leads_to.map(escape) {
        Some(uri) => format!(
            "<p>You will be taken back in a moment.</p><p><a href=\"{uri}\">Continue</a></p>",
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
    let page = html_with_frames(StatusCode::OK, "Signed out", &content, leads_to, &sources);
    match leads_to {
        // Without a script nobody knows when the frames have come: a moment must do.
        Some(uri) => with_header(page, REFRESH, &format!("2; url={uri}")),
        None => page,
    }
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
