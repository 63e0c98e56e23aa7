//! The few pages the layer shows: plain, readable, without a script.

use std::fmt;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;

use super::refusal::Refusal;
use crate::crypto::digest::sha256;

/// What an error page of one's own is made of.
///
/// Texts are not escaped: [`said`](Self::said) above all is a stranger's. The page is sent with a policy
/// that allows styles, images and fonts of the application's own origin, and no script.
#[derive(Debug)]
pub struct ErrorPage<'a> {
    pub(super) refusal: &'a Refusal,
    pub(super) correlation_id: &'a str,
    pub(super) login_url: &'a str,
    pub(super) accept_language: Option<&'a str>,
    pub(super) go_on: Option<&'a str>,
}

impl ErrorPage<'_> {
    /// The status of the response.
    pub fn status(&self) -> StatusCode {
        self.refusal.status
    }

    /// A stable name of what happened, such as `state_mismatch`.
    pub fn code(&self) -> &'static str {
        self.refusal.code
    }

    /// What happened, in English, for the person at the browser.
    pub fn message(&self) -> &str {
        &self.refusal.message
    }

    /// What the authorization server wrote about it: capped, without control characters, to be escaped.
    pub fn said(&self) -> Option<&str> {
        self.refusal.said.as_deref()
    }

    /// The name under which the log has the rest.
    pub fn correlation_id(&self) -> &str {
        self.correlation_id
    }

    /// The languages that the browser asks for (RFC 9110 §12.5.4), as it wrote them: a stranger's text.
    /// [`code`](Self::code) is what words in another language are chosen by.
    pub fn accept_language(&self) -> Option<&str> {
        self.accept_language
    }

    /// Where to begin anew, if that may help.
    pub fn start_again(&self) -> Option<&str> {
        self.refusal.start_again.then_some(self.login_url)
    }
}

impl ErrorPage<'_> {
    /// Returns where the browser can go on: after a sign-out that the store did not accept yet, to the authorization
    /// server, or to the target of the sign-out.
    pub fn go_on(&self) -> Option<&str> {
        self.go_on
    }
}

/// Our own error page.
impl fmt::Display for ErrorPage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let title = self.title();
        write!(f, "{}<h1>{title}</h1>", head(title))?;
        write!(f, "<p>{}</p>", Escaped(self.message()))?;
        // The bare code says nothing to a person that our own words do not.
        if let Some(said) = self.said().filter(|&said| said != self.code()) {
            write!(
                f,
                "<p class=\"said\">The service said: <q>{}</q></p>",
                Escaped(said)
            )?;
        }
        if let Some(url) = self.start_again() {
            let url = Escaped(url);
            let words = match self.status() {
                StatusCode::SERVICE_UNAVAILABLE => "Try again",
                _ => "Sign in again",
            };
            write!(f, "<p><a class=\"go\" href=\"{url}\">{words}</a></p>")?;
        }
        if let Some(url) = self.go_on() {
            let url = Escaped(url);
            write!(f, "<p><a class=\"go\" href=\"{url}\">Continue</a></p>")?;
        }
        write!(
            f,
            "<p class=\"small\">{} · {} · {}<br>Quote this line if you ask for help.</p>{FOOT}",
            self.status().as_u16(),
            Escaped(self.code()),
            Escaped(self.correlation_id())
        )
    }
}

impl ErrorPage<'_> {
    fn title(&self) -> &'static str {
        match self.status() {
            _ if self.code() == NOT_SIGNED_OUT => "Not signed out",
            StatusCode::SERVICE_UNAVAILABLE if self.go_on.is_some() => "Signed out here",
            StatusCode::FORBIDDEN if self.refusal.start_again => "Access denied",
            StatusCode::FORBIDDEN => "Request refused",
            StatusCode::UNAUTHORIZED => "Please sign in",
            StatusCode::SERVICE_UNAVAILABLE => "Not possible at the moment",
            _ => "Signing in did not work",
        }
    }
}

/// Asks before it signs out: a link from elsewhere must not do it (`L60`).
pub(super) fn ask_to_sign_out(action: &str) -> String {
    format!(
        "{}<h1>Sign out?</h1><form method=\"post\" action=\"{}\"><button class=\"go\">Sign out</button>\
         </form><p><a href=\"/\">Stay signed in</a></p>{FOOT}",
        head("Sign out?"),
        Escaped(action),
    )
}

/// A page of our own site between the authorization server and the target, so that the browser sends a
/// Strict cookie with the next request.
pub(super) fn landing(target: &str) -> String {
    let target = Escaped(target);
    format!(
        "{}<meta http-equiv=\"refresh\" content=\"0;url={target}\"><h1>Signed in</h1>\
         <p><a class=\"go\" href=\"{target}\">Continue</a></p>{FOOT}",
        head("Signed in"),
    )
}

/// The code of a sign-out that could read no session cookie.
pub(super) const NOT_SIGNED_OUT: &str = "session_cookie_unreadable";

/// The content security policy of our own pages: one style sheet, known by its digest (`H19`).
///
/// There is no `form-action`: browsers hold the redirects that follow a form against it, and signing out
/// goes on to the authorization server.
pub(super) fn policy() -> &'static str {
    static POLICY: LazyLock<String> = LazyLock::new(|| {
        let digest = STANDARD.encode(sha256(STYLE.as_bytes()));
        format!(
            "default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; frame-ancestors 'none'"
        )
    });
    &POLICY
}

/// The policy of a page of the application's own making.
pub(super) const OWN_PAGE_POLICY: &str = "default-src 'none'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data:; font-src 'self'; base-uri 'none'; frame-ancestors 'none'";

fn head(title: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title>\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><style>{STYLE}</style><main>"
    )
}

const FOOT: &str = "</main></html>";

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1c1e21;--paper:#fff;--soft:#5f6670;--go:#1f5fbf}\
@media(prefers-color-scheme:dark){:root{--ink:#e8e9eb;--paper:#16181b;--soft:#9aa1ab;--go:#6ea8ff}}\
body{margin:0;background:var(--paper);color:var(--ink);font:1.05rem/1.5 system-ui,sans-serif}\
main{max-width:34rem;margin:12vh auto 0;padding:0 1.25rem;overflow-wrap:anywhere}\
h1{font-size:1.5rem;line-height:1.25}a{color:var(--go)}\
.go{display:inline-block;padding:.55rem 1.1rem;border:1px solid var(--go);border-radius:.4rem;\
background:none;color:var(--go);font:inherit;text-decoration:none;cursor:pointer}\
.said,.small{color:var(--soft)}.small{margin-top:2.5rem;font-size:.85rem}";

/// Text inside an element or a quoted attribute.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                _ => write!(f, "{character}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_a_stranger_wrote_becomes_markup() {
        let mut refusal = Refusal::new(StatusCode::BAD_REQUEST, "authorization_error", "No.");
        refusal.said = Some("<script>alert(1)</script>\"'&".to_owned());
        refusal.start_again = true;
        let page = ErrorPage {
            refusal: &refusal,
            correlation_id: "c0ffee",
            login_url: "/auth/login?return_to=\"><img onerror=x>",
            accept_language: Some("<script>"),
            go_on: Some("/\"><script>"),
        }
        .to_string();
        assert!(
            page.contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;"),
            "{page}"
        );
        assert!(
            !page.contains("<script") && !page.contains("<img"),
            "{page}"
        );
        assert!(
            page.contains("c0ffee") && page.contains("authorization_error"),
            "{page}"
        );
        assert!(!ask_to_sign_out("/x\"><b>").contains("<b>"));
        assert!(!landing("/x\"><b>").contains("<b>"));
    }
}
