//! The pages of the layer: plain HTML, without scripts.

use std::fmt;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;

use super::refusal::LoginRefusal;
use crate::crypto::digest::sha256;

/// The contents of an error page, for [`LoginLayer::with_error_page`](super::LoginLayer::with_error_page).
///
/// Texts are not escaped; [`error_description`](Self::error_description) and
/// [`accept_language`](Self::accept_language) are controlled by others. The page is sent with a
/// content security policy that allows styles, images and fonts of this origin, and no scripts.
#[derive(Debug)]
pub struct ErrorPage<'a> {
    pub(super) refusal: &'a LoginRefusal,
    pub(super) correlation_id: &'a str,
    pub(super) login_url: &'a str,
    pub(super) accept_language: Option<&'a str>,
    pub(super) continue_url: Option<&'a str>,
}

impl ErrorPage<'_> {
    /// Returns the status of the response.
    pub fn status(&self) -> StatusCode {
        self.refusal.status
    }

    /// Returns the stable code of the error, such as `state_mismatch`.
    pub fn code(&self) -> &'static str {
        self.refusal.code
    }

    /// Returns a message for the user, in English.
    pub fn message(&self) -> &str {
        &self.refusal.message
    }

    /// Returns the `error` and `error_description` of the authorization response (RFC 6749
    /// §4.1.2.1), shortened and without control characters. Escape it. Those of the token endpoint
    /// are for administrators, and in the log only.
    pub fn error_description(&self) -> Option<&str> {
        self.refusal.error_description.as_deref()
    }

    /// Returns the id under which the log has the reason of the error.
    pub fn correlation_id(&self) -> &str {
        self.correlation_id
    }

    /// Returns the `Accept-Language` field of the request (RFC 9110 §12.5.4). Escape it.
    ///
    /// To show the page in another language, choose the text by [`code`](Self::code).
    pub fn accept_language(&self) -> Option<&str> {
        self.accept_language
    }

    /// Returns the URL of a new login, if it may help.
    pub fn login_url(&self) -> Option<&str> {
        self.refusal.can_restart.then_some(self.login_url)
    }

    /// Returns the URL to continue at, after a sign-out that could not be saved in the store yet: at
    /// the authorization server, or the target of the sign-out.
    pub fn continue_url(&self) -> Option<&str> {
        self.continue_url
    }

    fn title(&self) -> &'static str {
        match self.status() {
            _ if self.code() == NOT_SIGNED_OUT => "Sign-out failed",
            StatusCode::SERVICE_UNAVAILABLE if self.continue_url.is_some() => {
                "Signed out in this browser"
            }
            StatusCode::FORBIDDEN if self.refusal.can_restart => "Access denied",
            StatusCode::FORBIDDEN => "Request rejected",
            StatusCode::UNAUTHORIZED => "Please sign in",
            StatusCode::SERVICE_UNAVAILABLE => "Temporarily unavailable",
            _ => "Sign-in failed",
        }
    }
}

/// The default error page, as HTML.
impl fmt::Display for ErrorPage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let title = self.title();
        write!(f, "{}<h1>{title}</h1>", head(title))?;
        write!(f, "<p>{}</p>", Escaped(self.message()))?;
        // The bare code adds nothing for the user.
        let description = self.error_description();
        if let Some(description) = description.filter(|&text| text != self.code()) {
            write!(
                f,
                "<p class=\"quote\">Message from the sign-in service: <q>{}</q></p>",
                Escaped(description)
            )?;
        }
        if let Some(url) = self.login_url() {
            let url = Escaped(url);
            let label = match self.status() {
                StatusCode::SERVICE_UNAVAILABLE => "Try again",
                StatusCode::UNAUTHORIZED => "Sign in",
                _ => "Sign in again",
            };
            write!(f, "<p><a class=\"go\" href=\"{url}\">{label}</a></p>")?;
        }
        if let Some(url) = self.continue_url() {
            let url = Escaped(url);
            write!(f, "<p><a class=\"go\" href=\"{url}\">Continue</a></p>")?;
        }
        write!(
            f,
            "<p class=\"small\">{} · {} · {}<br>Please include this line if you contact support.</p>{FOOT}",
            self.status().as_u16(),
            Escaped(self.code()),
            Escaped(self.correlation_id())
        )
    }
}

/// The page that asks for confirmation of a sign-out: a link from another site must not sign out.
pub(super) fn confirm_logout(action: &str, stay: &str) -> String {
    format!(
        "{}<h1>Sign out?</h1><form method=\"post\" action=\"{}\"><button class=\"go\">Sign out</button>\
         </form><p><a href=\"{}\">Stay signed in</a></p>{FOOT}",
        head("Sign out?"),
        Escaped(action),
        Escaped(stay),
    )
}

/// The page that asks for confirmation of a login: a link from another site must not start one.
pub(super) fn confirm_login(login_url: &str) -> String {
    let title = "Continue to sign in?";
    format!(
        "{}<h1>{title}</h1><p>Another site sent you here to sign in. If you did not expect that, close this page.</p>\
         <p><a class=\"go\" href=\"{}\">Continue</a></p>{FOOT}",
        head(title),
        Escaped(login_url),
    )
}

/// The page that continues to `target` after a login, so that the browser sends a `SameSite=Strict`
/// cookie with the next request.
pub(super) fn signed_in(target: &str) -> String {
    let target = Escaped(target);
    format!(
        "{}<meta http-equiv=\"refresh\" content=\"0;url={target}\"><h1>Signed in</h1>\
         <p><a class=\"go\" href=\"{target}\">Continue</a></p>{FOOT}",
        head("Signed in"),
    )
}

/// The code of a sign-out whose session cookie could not be read.
pub(super) const NOT_SIGNED_OUT: &str = "session_cookie_unreadable";

/// Returns the content security policy of the pages of this layer: one style sheet, by its digest.
///
/// It has no `form-action`: browsers apply it to the redirects after a form, and the sign-out form
/// redirects to the authorization server.
pub(super) fn policy() -> &'static str {
    static POLICY: LazyLock<String> = LazyLock::new(|| {
        let digest = STANDARD.encode(sha256(STYLE.as_bytes()));
        format!(
            "default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; frame-ancestors 'none'"
        )
    });
    &POLICY
}

/// The content security policy of the application's error pages.
pub(super) const CUSTOM_PAGE_POLICY: &str = "default-src 'none'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data:; font-src 'self'; base-uri 'none'; frame-ancestors 'none'";

pub(super) fn head(title: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title>\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><style>{STYLE}</style><main>"
    )
}

pub(super) const FOOT: &str = "</main></html>";

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1c1e21;--paper:#fff;--soft:#5f6670;--go:#1f5fbf}\
@media(prefers-color-scheme:dark){:root{--ink:#e8e9eb;--paper:#16181b;--soft:#9aa1ab;--go:#6ea8ff}}\
body{margin:0;background:var(--paper);color:var(--ink);font:1.05rem/1.5 system-ui,sans-serif}\
main{max-width:34rem;margin:12vh auto 0;padding:0 1.25rem;overflow-wrap:anywhere}\
h1{font-size:1.5rem;line-height:1.25}a{color:var(--go)}\
.go{display:inline-block;padding:.55rem 1.1rem;border:1px solid var(--go);border-radius:.4rem;\
background:none;color:var(--go);font:inherit;text-decoration:none;cursor:pointer}\
.choices{list-style:none;margin:1.5rem 0;padding:0}.choices li{margin:.75rem 0}\
.choices .go{display:block;text-align:center}\
.quote,.small{color:var(--soft)}.small{margin-top:2.5rem;font-size:.85rem}";

/// Escapes text for an element or a quoted attribute.
pub(super) struct Escaped<'a>(pub(super) &'a str);

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
    fn untrusted_text_is_escaped() {
        let mut refusal = LoginRefusal::new(StatusCode::BAD_REQUEST, "authorization_error", "No.");
        refusal.error_description = Some("<script>alert(1)</script>\"'&".to_owned());
        refusal.can_restart = true;
        let page = ErrorPage {
            refusal: &refusal,
            correlation_id: "c0ffee",
            login_url: "/auth/login?return_to=\"><img onerror=x>",
            accept_language: Some("<script>"),
            continue_url: Some("/\"><script>"),
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
        let hostile = "/x\"><b>";
        assert!(!confirm_logout(hostile, hostile).contains("<b>"));
        assert!(!confirm_login(hostile).contains("<b>"));
        assert!(!signed_in("/x\"><b>").contains("<b>"));
    }
}
