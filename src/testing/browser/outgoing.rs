//! A request before it is sent, and the headers that follow from its initiator and its target (Fetch
//! §3.1, Fetch Metadata §2.3, Referrer Policy §3).

use bytes::Bytes;
use http::header::REFERRER_POLICY;
use http::{HeaderMap, HeaderValue, Method};
use url::{Host, Origin, Url};

use super::cookie_jar::SameSiteContext;
use crate::ConfigError;

/// What started a request.
#[derive(Clone, Debug)]
pub(super) enum Initiator {
    /// The user, with the address bar.
    AddressBar,
    /// A page with this URL and referrer policy.
    Page {
        url: Url,
        referrer_policy: ReferrerPolicy,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReferrerPolicy {
    NoReferrer,
    SameOrigin,
    /// `strict-origin-when-cross-origin`, the default; also stands for all other policies.
    Default,
}

/// The mode of a request (`Sec-Fetch-Mode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Navigate,
    NoCors,
    Cors,
    WebSocket,
}

#[derive(Debug)]
pub(super) struct OutgoingRequest {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) initiator: Initiator,
    pub(super) mode: Mode,
    /// The value of `Sec-Fetch-Dest`.
    pub(super) destination: HeaderValue,
    /// Whether this is a top-level navigation.
    pub(super) top_level: bool,
    /// Whether the user started the navigation (`Sec-Fetch-User`).
    pub(super) user_activated: bool,
}

impl ReferrerPolicy {
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        match headers.get(REFERRER_POLICY)?.as_bytes() {
            b"no-referrer" => Some(Self::NoReferrer),
            b"same-origin" => Some(Self::SameOrigin),
            _ => Some(Self::Default),
        }
    }
}

impl OutgoingRequest {
    pub(super) fn navigation(url: Url, initiator: Initiator) -> Self {
        Self {
            method: Method::GET,
            url,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            initiator,
            mode: Mode::Navigate,
            destination: HeaderValue::from_static("document"),
            top_level: true,
            user_activated: true,
        }
    }

    /// Returns the origin of the initiating page, or `None` for the address bar.
    pub(super) fn origin(&self) -> Option<Origin> {
        match &self.initiator {
            Initiator::AddressBar => None,
            Initiator::Page { url, .. } => Some(url.origin()),
        }
    }

    pub(super) fn is_same_origin(&self) -> bool {
        self.origin()
            .is_none_or(|origin| origin == self.url.origin())
    }

    /// Compares the site of the initiator with the site of the target. Redirects in between do not count
    /// (RFC 6265bis §5.2).
    pub(super) fn same_site_context(&self) -> SameSiteContext {
        match self.origin() {
            Some(origin) if !is_same_site(&origin, &self.url.origin()) => {
                if self.top_level {
                    SameSiteContext::CrossSiteNavigation {
                        safe: self.method.is_safe(),
                    }
                } else {
                    SameSiteContext::CrossSiteSubresource
                }
            }
            _ => SameSiteContext::CookieSameSite,
        }
    }

    /// Returns whether cookies are sent. A script sends them to its own origin only (credentials mode
    /// `same-origin`).
    pub(super) fn has_credentials(&self) -> bool {
        self.mode != Mode::Cors || self.is_same_origin()
    }

    /// Returns `Sec-Fetch-Site`, which covers all URLs of the redirect chain: one cross-site URL makes it
    /// `cross-site`.
    pub(super) fn fetch_site(&self, chain: &[Url]) -> &'static str {
        let Some(origin) = self.origin() else {
            return "none";
        };
        let mut site = "same-origin";
        for url in chain.iter().chain([&self.url]) {
            if url.origin() == origin {
                continue;
            }
            if !is_same_site(&url.origin(), &origin) {
                return "cross-site";
            }
            site = "same-site";
        }
        site
    }

    /// Returns `Origin` for cross-origin requests of scripts and for unsafe methods. It is `null` if the
    /// referrer policy hides the page, or after a redirect from another origin to a third one.
    pub(super) fn origin_field(&self, tainted: bool) -> Option<String> {
        let Initiator::Page {
            url,
            referrer_policy,
        } = &self.initiator
        else {
            return (!self.method.is_safe()).then(|| "null".to_owned());
        };
        let cors = match self.mode {
            Mode::Cors => !self.is_same_origin(),
            // RFC 6455 §4.1: always.
            Mode::WebSocket => true,
            Mode::Navigate | Mode::NoCors => false,
        };
        if !cors && self.method.is_safe() {
            return None;
        }
        let downgrade = url.scheme() == "https" && self.url.scheme() != "https";
        let hidden = match referrer_policy {
            _ if cors => false,
            ReferrerPolicy::NoReferrer => true,
            ReferrerPolicy::SameOrigin => !self.is_same_origin(),
            ReferrerPolicy::Default => downgrade,
        };
        Some(if hidden || tainted {
            "null".to_owned()
        } else {
            url.origin().ascii_serialization()
        })
    }

    pub(super) fn referrer(&self) -> Option<String> {
        let Initiator::Page {
            url,
            referrer_policy,
        } = &self.initiator
        else {
            return None;
        };
        if self.mode == Mode::WebSocket {
            return None;
        }
        let mut full = url.clone();
        full.set_fragment(None);
        match (referrer_policy, self.is_same_origin()) {
            (ReferrerPolicy::NoReferrer, _) | (ReferrerPolicy::SameOrigin, false) => None,
            (_, true) => Some(full.into()),
            (_, false) if url.scheme() == "https" && self.url.scheme() != "https" => None,
            (_, false) => Some(format!("{}/", url.origin().ascii_serialization())),
        }
    }
}

impl Mode {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Navigate => "navigate",
            Self::NoCors => "no-cors",
            Self::Cors => "cors",
            Self::WebSocket => "websocket",
        }
    }
}

/// Parses an origin: scheme, host and an optional port.
pub(in crate::testing) fn origin(text: &str) -> Result<Origin, ConfigError> {
    let parsed = Url::parse(text).ok().map(|url| url.origin());
    let is_exact = |origin: &Origin| {
        origin.is_tuple() && origin.ascii_serialization() == text.trim_end_matches('/')
    };
    parsed.filter(is_exact).ok_or_else(|| ConfigError::Url {
        setting: "origin",
        value: text.to_owned(),
        reason: "not an origin: only scheme, host and port are allowed",
    })
}

/// Returns whether two origins are same-site: equal scheme and registrable domain (HTML §7.1.1). Ports
/// do not matter.
///
/// This does not use the Public Suffix List: the registrable domain is the last two labels of the host,
/// or the whole host for an IP address or a single label.
pub(super) fn is_same_site(one: &Origin, other: &Origin) -> bool {
    match (one, other) {
        (Origin::Tuple(scheme, host, _), Origin::Tuple(other_scheme, other_host, _)) => {
            scheme == other_scheme && registrable(host) == registrable(other_host)
        }
        _ => one == other,
    }
}

fn registrable(host: &Host) -> String {
    match host {
        Host::Domain(name) => {
            let mut labels: Vec<&str> = name.rsplit('.').take(2).collect();
            labels.reverse();
            labels.join(".")
        }
        Host::Ipv4(address) => address.to_string(),
        Host::Ipv6(address) => address.to_string(),
    }
}

/// Returns whether a URL is potentially trustworthy (Secure Contexts §3.1). Browsers send fetch metadata
/// only to such URLs.
pub(super) fn is_trustworthy(url: &Url) -> bool {
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    url.scheme() == "https" || loopback
}
