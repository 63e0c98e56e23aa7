//! The refresh and the revocation of a session's tokens, for the pages.

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use tower_oauth::Session;
use tower_oauth::testing::{Endpoint, TestServer};

use crate::flow_page::{shortened, unverified_claims};
use crate::pages::escape;

/// The part of an access token that the page shows.
pub(crate) struct TokenView {
    /// The start of its `jti`.
    id: String,
    seconds_left: i64,
}

impl TokenView {
    /// Access tokens are opaque to clients. This demo decodes one only to show which token it is.
    pub(crate) async fn of(session: &Session) -> Option<Self> {
        let token = session.access_token().await.ok()?;
        let claims = unverified_claims(token.expose());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
        Some(Self {
            id: shortened("jti", claims.get("jti")?.as_str()?),
            seconds_left: claims.get("exp")?.as_i64()? - i64::try_from(now).ok()?,
        })
    }
}

/// Renders the section on the access token; `before` is the token before a refresh.
pub(crate) fn section(token: Option<&TokenView>, before: Option<&TokenView>) -> String {
    let Some(token) = token else {
        return "<h2>Your access token</h2><p>Your access token has expired and cannot be refreshed. \
                <a href=\"/auth/login?return_to=/account\">Please sign in again.</a></p>"
            .to_owned();
    };
    let id = escape(&token.id);
    let mut html = format!(
        "<h2>Your access token</h2>\
         <dl><dt>Token</dt><dd><code>{id}</code></dd>\
         <dt>Expires in</dt><dd>{left} seconds</dd></dl>\
         <p>Access tokens are valid for two minutes. Shortly before expiry, the next request refreshes the token: \
         reload this page later to see a new one. Both tokens are in an encrypted cookie that the browser cannot read.</p>\
         <form class=\"row\" method=\"post\" action=\"/account\">\
         <button name=\"call\" value=\"refresh\" class=\"quiet\">Refresh now</button></form>",
        left = token.seconds_left,
    );
    if let Some(before) = before {
        let (class, title) = if before.id == token.id {
            ("bad", "The authorization server did not issue a new token")
        } else {
            ("good", "Refreshed")
        };
        let _ = write!(
            html,
            "<section id=\"refreshed\" class=\"card {class}\"><h3>{title}</h3>\
             <p><code>{}</code> was replaced by <code>{id}</code>.</p></section>",
            escape(&before.id),
        );
    }
    html
}

/// Renders the revocation requests of the last sign-out of a user of this server (RFC 7009).
pub(crate) fn last_sign_out(issuer: &TestServer) -> String {
    let (requests, revoked) = (issuer.requests(), issuer.revoked_tokens());
    let revocations = requests
        .iter()
        .filter(|request| request.endpoint() == Endpoint::Revocation);
    let mut last: Vec<String> = revocations
        .rev()
        .take(2)
        .map(|request| {
            let token = request.parameter("token").unwrap_or_default();
            let kind = request.parameter("token_type_hint").unwrap_or_default();
            let outcome = if revoked.contains(&token) {
                "revoked"
            } else {
                "already invalid"
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
        "<section class=\"card good\"><h3>The last sign-out</h3>\
         <p>The application ended the session and then revoked its tokens at the authorization \
         server <code>{}</code>:</p>\
         <table class=\"params\">{}</table></section>",
        escape(issuer.issuer()),
        last.concat(),
    )
}
