//! Redirect URIs (RFC 6749 §3.1.2) and what is derived from them.

use url::Url;

use crate::config_error::ConfigError;
use crate::crypto::binding::Binding;
use crate::issuer::is_loopback;
use crate::protocol::request_target::find_ambiguity;
use crate::record::EntryId;

/// The redirect URI of a flow, and what is derived from it.
#[derive(Clone, Debug)]
pub(crate) struct RedirectUri {
    /// The string as configured: the authorization server compares it byte for byte (RFC 9700 §2.1).
    text: String,
    url: Url,
    /// The URL parser has normalized the URL: scheme and host in lower case, no default port, no dot segments. The
    /// percent-encoding of the path is kept, since routes are compared byte for byte.
    binding: Binding,
}

impl RedirectUri {
    /// Returns the redirect URI of a layer. All layers of a client in the same folder have the same binding.
    pub(super) fn new(issuer: &str, client_id: &str, text: &str) -> Result<Self, ConfigError> {
        let url = parse(text)?;
        let binding = binding(issuer, client_id, &url, route_folder(&url));
        Ok(Self {
            text: text.to_owned(),
            binding,
            url,
        })
    }

    /// Returns the redirect URI of a further provider of a layer. Each has its own, so that a response shows which
    /// provider it belongs to (RFC 9700 §4.4.2.2).
    pub(super) fn below(
        &self,
        issuer: &str,
        client_id: &str,
        name: &str,
    ) -> Result<Self, ConfigError> {
        let text = format!("{}/{name}", self.text);
        let url = parse(&text)?;
        let binding = binding(issuer, client_id, &url, url.path());
        Ok(Self { text, url, binding })
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    pub(super) fn binding(&self) -> Binding {
        self.binding
    }

    pub(super) fn entry(&self) -> EntryId {
        EntryId::of(&self.binding)
    }
}

fn binding(issuer: &str, client_id: &str, redirect_uri: &Url, path: &str) -> Binding {
    let origin = redirect_uri.origin().ascii_serialization();
    Binding::new(&[issuer, client_id, &origin, path])
}

fn parse(text: &str) -> Result<Url, ConfigError> {
    let url = redirect_target("redirect URI", text)?;
    // Some servers append the authorization response with a second `?`, others drop the query.
    match url.query() {
        None => Ok(url),
        Some(_) => Err(ConfigError::Url {
            setting: "redirect URI",
            value: text.to_owned(),
            reason: "it must not have a query",
        }),
    }
}

/// Returns the path of a redirect URI without its last segment and the slash before it.
pub(crate) fn route_folder(redirect_uri: &Url) -> &str {
    let path = redirect_uri.path();
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// Parses a redirect URI (RFC 6749 §3.1.2, RFC 9700 §2.6): `https`, or `http` on a loopback host, and without
/// parts that browsers and servers interpret differently.
pub(super) fn redirect_target(setting: &'static str, value: &str) -> Result<Url, ConfigError> {
    let invalid = |reason| {
        Err(ConfigError::Url {
            setting,
            value: value.to_owned(),
            reason,
        })
    };
    if !value.bytes().all(|byte| byte.is_ascii_graphic()) || value.contains('\\') {
        return invalid("it must be printable ASCII without spaces and backslashes");
    }
    let Ok(url) = Url::parse(value) else {
        return invalid("it is not an absolute URL");
    };
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(&url) => {}
        _ => return invalid("it must use https, or http on a loopback host"),
    }
    if value.contains('#') {
        return invalid("it must not have a fragment");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return invalid("it must not have a user name or password");
    }
    let path = path_as_written(value);
    // The URL parser removes dot segments, and requests are compared with what is left.
    if path != url.path() || find_ambiguity(path).is_some() {
        return invalid(
            "its path must be unambiguous: no dot segments, `;`, two slashes in a row, encoded slashes or needless escapes",
        );
    }
    Ok(url)
}

fn path_as_written(url: &str) -> &str {
    let after_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = after_scheme.find('/').map_or("/", |at| &after_scheme[at..]);
    path.split('?').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_redirect_uris_are_rejected_and_named_in_the_error() {
        for (value, accepted) in [
            ("https://shop.example.com/auth/callback", true),
            ("https://shop.example.com/auth/callback?tenant=1", true),
            ("http://127.0.0.1:3000/auth/callback", true),
            ("http://[::1]:3000/auth/callback", true),
            ("http://localhost:3000/auth/callback", true),
            ("http://shop.example.com/auth/callback", false),
            ("http://localhost.example.com/auth/callback", false),
            ("https://shop.example.com/auth/callback#top", false),
            ("https://shop.example.com/auth/callback#", false),
            ("https://user@shop.example.com/auth/callback", false),
            ("https://:pass@shop.example.com/auth/callback", false),
            ("https://shop.example.com/auth callback", false),
            ("https://shop.example.com\\auth", false),
            ("https://shöp.example.com/auth/callback", false),
            ("shop://callback", false),
            ("javascript:alert(1)", false),
            ("/auth/callback", false),
            ("", false),
        ] {
            match redirect_target("redirect URI", value) {
                Ok(_) => assert!(accepted, "{value}"),
                Err(error) => {
                    let named = error.to_string().contains(&format!("{value:?}"));
                    assert!(!accepted && named, "{value}");
                }
            }
        }
    }
}
