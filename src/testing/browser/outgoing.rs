//! A request before it leaves: who asks whom, and what that lets the other side see (Fetch §3.1,
//! Fetch Metadata §2.3, Referrer Policy §3).

use bytes::Bytes;
use http::header::REFERRER_POLICY;
use http::{HeaderMap, HeaderValue, Method};
use url::{Origin, Url};

use super::cookie_jar::Reach;
use super::site::is_same_site;

/// Whose request it is.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// The person at the address bar.
    AddressBar,
    /// A page: its URL, and how much it tells of itself.
    Page {
        url: Url,
        referrer_policy: ReferrerPolicy,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReferrerPolicy {
    NoReferrer,
    SameOrigin,
    /// `strict-origin-when-cross-origin`, the default, and whatever is not told apart here.
    Default,
}

/// The mode of a request, as `Sec-Fetch-Mode` spells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Navigate,
    NoCors,
    Cors,
    WebSocket,
}

#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) source: Source,
    pub(super) mode: Mode,
    /// As `Sec-Fetch-Dest` spells it.
    pub(super) destination: HeaderValue,
    /// Whether the whole window goes there.
    pub(super) top_level: bool,
    /// Whether a person's own act started it.
    pub(super) by_person: bool,
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

impl Outgoing {
    pub(super) fn navigation(url: Url, source: Source) -> Self {
        Self {
            method: Method::GET,
            url,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            source,
            mode: Mode::Navigate,
            destination: HeaderValue::from_static("document"),
            top_level: true,
            by_person: true,
        }
    }

    /// The origin of the page that asks; none at the address bar.
    pub(super) fn origin(&self) -> Option<Origin> {
        match &self.source {
            Source::AddressBar => None,
            Source::Page { url, .. } => Some(url.origin()),
        }
    }

    pub(super) fn is_same_origin(&self) -> bool {
        self.origin()
            .is_none_or(|origin| origin == self.url.origin())
    }

    /// Same-site or not is decided by who asks and who is asked; the redirects in between do not
    /// count (RFC 6265bis §5.2 as it was published).
    pub(super) fn reach(&self) -> Reach {
        match self.origin() {
            Some(origin) if !is_same_site(&origin, &self.url.origin()) => {
                if self.top_level {
                    Reach::Navigation {
                        safe: self.method.is_safe(),
                    }
                } else {
                    Reach::Subrequest
                }
            }
            _ => Reach::SameSite,
        }
    }

    /// A script's request carries cookies to its own origin only (credentials mode `same-origin`).
    pub(super) fn has_credentials(&self) -> bool {
        self.mode != Mode::Cors || self.is_same_origin()
    }

    /// `Sec-Fetch-Site` looks at every URL of the chain: once off the site, it stays off.
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

    /// `Origin`: with scripts across origins, and with every unsafe method; `null` where the page
    /// does not want to be named, or where a redirect left a foreign origin.
    pub(super) fn origin_field(&self, tainted: bool) -> Option<String> {
        let Source::Page {
            url,
            referrer_policy,
        } = &self.source
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
        let named = !hidden && !tainted;
        Some(if named {
            url.origin().ascii_serialization()
        } else {
            "null".to_owned()
        })
    }

    pub(super) fn referrer(&self) -> Option<String> {
        let Source::Page {
            url,
            referrer_policy,
        } = &self.source
        else {
            return None;
        };
        if self.mode == Mode::WebSocket {
            return None;
        }
        let mut whole = url.clone();
        whole.set_fragment(None);
        match (referrer_policy, self.is_same_origin()) {
            (ReferrerPolicy::NoReferrer, _) | (ReferrerPolicy::SameOrigin, false) => None,
            (_, true) => Some(whole.into()),
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
