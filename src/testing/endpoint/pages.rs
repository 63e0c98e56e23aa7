//! The pages of the test server.

use bytes::Bytes;
use http::header::REFRESH;
use http::{Response, StatusCode};
use url::Url;

use super::super::respond::with_header;
use super::super::server::TestServer;
use super::html::{escape, html, html_with_frames, source_of};
use super::request::ValidatedRequest;

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
