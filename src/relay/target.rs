//! Where requests go: an origin and a path that are fixed when the relay is made (RFC 10017 §6.1.3.6).

use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};
use url::Url;

use crate::config_error::ConfigError;
use crate::issuer::is_loopback;

#[derive(Clone, Debug)]
pub(super) struct Target {
    scheme: Scheme,
    authority: Authority,
    /// What every path there begins with; no slash at its end.
    base: String,
    /// What is taken off of every path here; no slash at its end.
    prefix: String,
}

/// Why a request goes nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Astray {
    /// It is not below the prefix.
    Elsewhere,
    /// Somebody behind could read its path as another one.
    Unclear,
}

impl Target {
    pub(super) fn new(upstream: &str) -> Result<Self, ConfigError> {
        let refused = |reason| ConfigError::Url {
            setting: "upstream",
            value: upstream.to_owned(),
            reason,
        };
        let printable = |byte: u8| byte.is_ascii_graphic() && byte != b'\\';
        if !upstream.bytes().all(printable) {
            return Err(refused(
                "it must be printable ASCII without spaces and backslashes",
            ));
        }
        let url = Url::parse(upstream).map_err(|_| refused("it is not a URL"))?;
        // RFC 6750 §5.3: the token goes over TLS, or does not leave this machine.
        let scheme = match url.scheme() {
            "https" => Scheme::HTTPS,
            "http" if is_loopback(&url) => Scheme::HTTP,
            _ => return Err(refused("it must be https, or http on a loopback host")),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refused("it must have no user name"));
        }
        if upstream.contains(['?', '#']) {
            return Err(refused("it must have no query and no fragment"));
        }
        let host = url.host_str().unwrap_or_default();
        let authority = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        let base = url.path().trim_end_matches('/');
        if !is_plain(base) || base.starts_with("//") {
            return Err(refused("its path can be read as another one"));
        }
        Ok(Self {
            scheme,
            authority: Authority::try_from(authority)
                .map_err(|_| refused("its host cannot be used"))?,
            base: base.to_owned(),
            prefix: String::new(),
        })
    }

    pub(super) fn with_prefix(mut self, prefix: &str) -> Result<Self, ConfigError> {
        let name = prefix.trim_end_matches('/');
        let is_path = PathAndQuery::try_from(prefix).is_ok_and(|path| path.path() == prefix);
        if !is_path || !name.starts_with('/') || name.starts_with("//") || !is_plain(name) {
            return Err(ConfigError::Setting {
                setting: "prefix",
                value: prefix.to_owned(),
                reason: "it must be a path such as `/api`",
            });
        }
        name.clone_into(&mut self.prefix);
        Ok(self)
    }

    /// `L58`: of the request's target only the path below the prefix and the query go on. Its host, if it
    /// names one, is not looked at.
    pub(super) fn find(&self, uri: &Uri) -> Result<Uri, Astray> {
        let Some(asked) = uri.path_and_query() else {
            return Err(Astray::Unclear);
        };
        let rest = asked.path().strip_prefix(self.prefix.as_str());
        let rest = rest.ok_or(Astray::Elsewhere)?;
        if !rest.is_empty() && !rest.starts_with('/') {
            return Err(Astray::Elsewhere);
        }
        if !is_plain(rest) {
            return Err(Astray::Unclear);
        }
        let mut path = format!("{}{rest}", self.base);
        // A reader of references takes what follows two slashes for a host (RFC 3986 §4.2).
        if path.starts_with("//") {
            return Err(Astray::Unclear);
        }
        if path.is_empty() {
            path.push('/');
        }
        if let Some(query) = asked.query() {
            path.push('?');
            path.push_str(query);
        }
        let path = PathAndQuery::try_from(path).map_err(|_| Astray::Unclear)?;
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(path);
        Uri::from_parts(parts).map_err(|_| Astray::Unclear)
    }
}

/// However a server behind decodes the path, it stays below where it begins: no segment is `.` or `..`,
/// also with `\` for `/`, with parameters behind it, or encoded more than once.
fn is_plain(path: &str) -> bool {
    let mut text = path.as_bytes().to_vec();
    for _ in 0..MAX_DECODINGS {
        // 0xC0 and 0xC1 begin nothing in UTF-8 but a longer spelling of an ASCII character.
        let is_odd = |byte: &u8| byte.is_ascii_control() || matches!(byte, 0xC0 | 0xC1);
        if text.iter().any(is_odd) || text.split(is_slash).any(is_dots) {
            return false;
        }
        let decoded = decode(&text);
        if decoded.len() == text.len() {
            return true;
        }
        text = decoded;
    }
    false
}

fn is_slash(byte: &u8) -> bool {
    matches!(byte, b'/' | b'\\')
}

fn is_dots(segment: &[u8]) -> bool {
    let name = segment.split(|byte| *byte == b';').next();
    matches!(name.unwrap_or_default().trim_ascii(), b"." | b"..")
}

/// RFC 3986 §2.1; what is no encoding stays.
fn decode(text: &[u8]) -> Vec<u8> {
    let digit = |byte: Option<&u8>| char::from(*byte?).to_digit(16);
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        let value = match (*first, digit(tail.first()), digit(tail.get(1))) {
            (b'%', Some(high), Some(low)) => u8::try_from(high * 16 + low).ok(),
            _ => None,
        };
        decoded.push(value.unwrap_or(*first));
        rest = tail
            .get(if value.is_some() { 2 } else { 0 }..)
            .unwrap_or_default();
    }
    decoded
}

/// More is nobody's honest path, and would cost time.
const MAX_DECODINGS: usize = 4;
