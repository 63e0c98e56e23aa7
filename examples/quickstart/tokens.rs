//! What becomes of the tokens of a session: renewed while it lasts, revoked when it ends.

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use tower_oauth::Session;
use tower_oauth::testing::{Endpoint, TestServer};

use crate::pages::escape;
use crate::picture::{shortened, unverified_claims};

/// The access token of a session, as far as a page may show it.
pub(crate) struct Shown {
    /// The start of its `jti`.
    name: String,
    seconds_left: i64,
}

impl Shown {
    /// An access token is opaque to who sends it. This one is looked into only to tell one from another.
    pub(crate) async fn of(session: &Session) -> Option<Self> {
        let token = session.access_token().await.ok()?;
        let claims = unverified_claims(token.expose());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
        Some(Self {
            name: shortened("jti", claims.get("jti")?.as_str()?),
            seconds_left: claims.get("exp")?.as_i64()? - i64::try_from(now).ok()?,
        })
    }
}

/// Where the account page tells of the access token; `before` is the one that was renewed just now.
pub(crate) fn section(token: Option<&Shown>, before: Option<&Shown>) -> String {
    let Some(token) = token else {
        return "<h2>Your access token</h2><p>It has expired and cannot be renewed. \
                <a href=\"/auth/login?return_to=/account\">Sign in again.</a></p>"
            .to_owned();
    };
    let name = escape(&token.name);
    let mut html = format!(
        "<h2>Your access token</h2>\
         <dl><dt>Token</dt><dd><code>{name}</code></dd>\
         <dt>Good for</dt><dd>{left} seconds more</dd></dl>\
         <p>It lives two minutes. Before it ends, the next request gets another one with the refresh token: \
         load this page again after a while and see. The browser carries both, sealed, and can read neither.</p>\
         <form class=\"row\" method=\"post\" action=\"/account\">\
         <button name=\"call\" value=\"renew\" class=\"quiet\">Renew it now</button></form>",
        left = token.seconds_left,
    );
    if let Some(before) = before {
        let (class, told) = if before.name == token.name {
            ("bad", "The authorization server gave no other token")
        } else {
            ("good", "Renewed")
        };
        let _ = write!(
            html,
            "<section id=\"renewed\" class=\"card {class}\"><h3>{told}</h3>\
             <p><code>{}</code> became <code>{name}</code></p></section>",
            escape(&before.name),
        );
    }
    html
}

/// What the authorization server was told at the last sign-out of anybody (RFC 7009).
pub(crate) fn last_sign_out(issuer: &TestServer) -> String {
    let (requests, revoked) = (issuer.requests(), issuer.revoked_tokens());
    let told = requests
        .iter()
        .filter(|request| request.endpoint() == Endpoint::Revocation);
    let mut last: Vec<String> = told
        .rev()
        .take(2)
        .map(|request| {
            let token = request.parameter("token").unwrap_or_default();
            let kind = request.parameter("token_type_hint").unwrap_or_default();
            let outcome = if revoked.contains(&token) {
                "revoked"
            } else {
                "gone already"
            };
            format!(
                "<tr><td><code>POST /revoke</code></td><td>{}</td><td><code>{}</code></td><td>{outcome}</td></tr>",
                escape(&kind.replace('_', " ")),
                escape(&shortened("token", &token)),
            )
        })
        .collect();
    if last.is_empty() {
        return String::new();
    }
    last.reverse();
    format!(
        "<section id=\"revoked\" class=\"card good\"><h3>The last sign-out</h3>\
         <p>The session ended here first. Then the application had its tokens revoked at the authorization \
         server, the access token along with the refresh token:</p>\
         <table class=\"params\">{}</table></section>",
        last.concat(),
    )
}
