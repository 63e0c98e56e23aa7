//! The names, attributes and encryption of this layer's cookies.
//!
//! With https, names have the prefix `__Host-Http-` (older browsers enforce its `__Host-` part):
//! `Secure`, `HttpOnly`, `Path=/` and no `Domain`. With http, which is allowed on loopback only,
//! cookies can have neither the prefix nor `Secure`.

use std::time::Duration;

use http::header::HeaderValue;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::crypto::binding::Binding;
use crate::crypto::digest::sha256;
use crate::crypto::seal::{Purpose, SealContext};
use crate::crypto::{CookieKey, base64url};
use crate::flow::{Flow, route_folder};
use crate::random::{Random, RandomError};
use crate::telemetry::LogOnce;

/// When browsers send the session cookie with requests that another site caused (the
/// `SameSite` attribute).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SameSite {
    /// Also with navigations: a user who follows a link to the application is signed in there.
    #[default]
    Lax,
    /// Never. A link from another site shows the application as to a signed-out user. After the
    /// authorization server redirects back, the layer shows a page of this origin that continues to
    /// the target, so that signing in still works.
    ///
    /// A new login ends the previous session, as with `Lax`, with one exception: if a link from
    /// another site led to the login route, directly or by a page that needs a session, the old
    /// cookie is replaced, but a copy of it stays valid until the session expires.
    Strict,
}

/// How long a browser keeps a cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CookieLifetime {
    Of(Duration),
    /// Until the browser is closed.
    Browser,
}

/// The cookies of a layer. A suffix is the name of a cookie without the prefix of the layer.
#[derive(Clone, Debug)]
pub(super) struct Cookies {
    prefix: String,
    /// Distinguishes the cookies of logins from those of another layer, authorization server or
    /// `SameSite` attribute under the same prefix.
    login_tag: String,
    secure: bool,
    key: CookieKey,
    random: Random,
    /// Binds cookies to this layer: cookies of another layer do not open.
    binding: Binding,
    pub(super) large_session_warning: LogOnce,
}

impl Cookies {
    /// Creates the cookies of a layer. Two layers on one host have the same names only if they also
    /// have the same routes.
    pub(super) fn new(flow: &Flow, key: CookieKey) -> Self {
        let client_id = flow.client().id();
        let app = if route_folder(flow.redirect_uri()) == DEFAULT_FOLDER {
            app_name(client_id, MAX_APP_NAME)
        } else {
            let digest = format!("-{:.4x}", flow.binding());
            app_name(client_id, MAX_APP_NAME - digest.len()) + &digest
        };
        let cookies = Self {
            prefix: String::new(),
            login_tag: login_tag(flow.binding(), SameSite::default()),
            secure: flow.redirect_uri().scheme() == "https",
            key,
            random: *flow.random(),
            binding: flow.binding(),
            large_session_warning: LogOnce::default(),
        };
        cookies.with_app(&app)
    }

    /// Sets the application name in the names.
    pub(super) fn with_app(self, app: &str) -> Self {
        let prefix = if self.secure { "__Host-Http-" } else { "" };
        let prefix = format!("{prefix}{app}-");
        Self { prefix, ..self }
    }

    /// Sets the `SameSite` attribute of the session, which the names of login cookies depend on.
    pub(super) fn with_same_site(self, same_site: SameSite) -> Self {
        let login_tag = login_tag(self.binding, same_site);
        Self { login_tag, ..self }
    }

    pub(super) fn random(&self) -> Random {
        self.random
    }

    pub(super) fn login_tag(&self) -> &str {
        &self.login_tag
    }

    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(super) fn name(&self, suffix: &str) -> String {
        format!("{}{suffix}", self.prefix)
    }

    /// Returns the number of bytes that a cookie adds to a request.
    pub(super) fn cost(&self, suffix: &str, value: &str) -> usize {
        self.prefix.len() + suffix.len() + value.len() + "=; ".len()
    }

    /// Returns a `Set-Cookie` value, marked as sensitive; `None` if it is not a valid header value,
    /// which cannot happen for the values of this crate.
    pub(super) fn set(
        &self,
        suffix: &str,
        value: &str,
        lifetime: CookieLifetime,
        same_site: SameSite,
    ) -> Option<HeaderValue> {
        let prefix = &self.prefix;
        let secure = if self.secure { "; Secure" } else { "" };
        let same_site = match same_site {
            SameSite::Lax => "Lax",
            SameSite::Strict => "Strict",
        };
        let max_age = match lifetime {
            CookieLifetime::Of(lifetime) => format!("; Max-Age={}", lifetime.as_secs()),
            CookieLifetime::Browser => String::new(),
        };
        let text = format!(
            "{prefix}{suffix}={value}; Path=/{secure}; HttpOnly; SameSite={same_site}{max_age}"
        );
        let mut cookie = HeaderValue::try_from(text).ok()?;
        cookie.set_sensitive(true);
        Some(cookie)
    }

    /// Returns the `Set-Cookie` value that removes a cookie.
    pub(super) fn clear(&self, suffix: &str) -> Option<HeaderValue> {
        let lifetime = CookieLifetime::Of(Duration::ZERO);
        self.set(suffix, "", lifetime, SameSite::Lax)
    }

    /// Encrypts the value of a cookie.
    pub(super) fn seal(
        &self,
        purpose: Purpose,
        suffix: &str,
        plain: &[u8],
    ) -> Result<String, RandomError> {
        let name = self.name(suffix);
        self.key
            .seal(&self.random, self.context(purpose, &name), plain)
    }

    /// Decrypts the value of a cookie that was sealed for this purpose under this name.
    pub(super) fn open(
        &self,
        purpose: Purpose,
        suffix: &str,
        value: &str,
    ) -> Option<Zeroizing<Vec<u8>>> {
        let name = self.name(suffix);
        self.key.open(self.context(purpose, &name), value)
    }

    fn context<'a>(&'a self, purpose: Purpose, name: &'a str) -> SealContext<'a> {
        SealContext {
            purpose,
            name,
            binding: self.binding,
            session_secret: None,
        }
    }

    #[cfg(test)]
    pub(super) fn of_test(app: &str, secure: bool) -> Self {
        let cookies = Self {
            prefix: String::new(),
            login_tag: "Tag".to_owned(),
            secure,
            key: CookieKey::from_bytes(&[7; 32]).unwrap(),
            random: Random::system(),
            binding: Binding::new(&["https://id.example.com", "shop"]),
            large_session_warning: LogOnce::default(),
        };
        cookies.with_app(app)
    }
}

fn login_tag(binding: Binding, same_site: SameSite) -> String {
    let same_site = match same_site {
        SameSite::Lax => b"lax".as_slice(),
        SameSite::Strict => b"strict",
    };
    let digest = sha256(&[binding.as_bytes(), same_site].concat());
    base64url::encode(&digest[..3])
}

/// Returns whether an application name may be part of a cookie name.
pub(super) fn is_app_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_APP_NAME && name.bytes().all(is_name_byte)
}

/// Replaces the characters of a client id that a cookie name cannot have by `-`.
fn app_name(client_id: &str, max_len: usize) -> String {
    let bytes = client_id.bytes().take(max_len);
    bytes
        .map(|byte| {
            if is_name_byte(byte) {
                char::from(byte)
            } else {
                '-'
            }
        })
        .collect()
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

const MAX_APP_NAME: usize = 32;

/// Limit on the cookies of this layer in a request: by default, nginx responds 400 to a header field
/// of more than 8 KiB.
pub(super) const MAX_REQUEST_BYTES: usize = 8 * 1024 - 128;

/// Limit on the cookies and the location of a response: by default, nginx responds 502 if the header
/// fields of a response exceed 4 KiB. The rest is for the other fields.
pub(super) const MAX_RESPONSE_BYTES: usize = 4 * 1024 - 512;

/// With routes in this folder, the client id alone is the application name.
const DEFAULT_FOLDER: &str = "/auth";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_attributes_follow_the_scheme() {
        let minute = CookieLifetime::Of(Duration::from_secs(60));
        let value = Cookies::of_test("shop", true).set("session", "v", minute, SameSite::Lax);
        assert_eq!(
            value.unwrap(),
            "__Host-Http-shop-session=v; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=60"
        );
        assert_eq!(
            Cookies::of_test("shop", false).clear("session").unwrap(),
            "shop-session=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0"
        );
    }
}
