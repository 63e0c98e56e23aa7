//! A request before it is sent, and the headers that follow from its initiator and its target (Fetch
//! §3.1, Fetch Metadata §2.3, Referrer Policy §3).

use bytes::Bytes;
use http::header::REFERRER_POLICY;
use http::{HeaderMap, HeaderValue, Method};
use url::{Origin, Url};

use super::cookie_jar::SameSiteContext;
use super::site::is_same_site;

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
