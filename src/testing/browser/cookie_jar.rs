//! Storage and retrieval of cookies (RFC 6265bis §5.7, §5.8).

use std::time::SystemTime;

use url::{Host, Url};

use super::cookie::{Cookie, CookieSameSite, SetCookie};

#[derive(Debug, Default)]
pub(super) struct CookieJar(Vec<Cookie>);

/// Where a request comes from, for `SameSite` (RFC 6265bis §5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SameSiteContext {
    /// From the same site, or from the address bar.
    CookieSameSite,
    /// A cross-site top-level navigation; `safe` if its method is.
    CrossSiteNavigation { safe: bool },
    /// A cross-site request of a script, an element or a frame.
    CrossSiteSubresource,
}

impl CookieJar {
    /// Stores the cookie of a `Set-Cookie` header, or ignores it as a browser would.
    pub(super) fn store(
        &mut self,
        url: &Url,
        field: &str,
        context: SameSiteContext,
        now: SystemTime,
    ) {
        self.remove_expired(now);
        let Some(mut cookie) = SetCookie::parse(field, now).and_then(|set| accept(url, &set))
        else {
            return;
        };
        // A cross-site response sets SameSite cookies only for a navigation (§5.7 step 19).
        if context == SameSiteContext::CrossSiteSubresource
            && cookie.same_site != CookieSameSite::None
        {
            return;
        }
        // A response over http must not overwrite or shadow a Secure cookie (§5.7 step 18).
        let shadows = |other: &Cookie| {
            other.secure
                && other.name == cookie.name
                && (domain_matches(&other.host, &cookie.host)
                    || domain_matches(&cookie.host, &other.host))
                && path_matches(&other.path, &cookie.path)
        };
        if url.scheme() != "https" && self.0.iter().any(shadows) {
            return;
        }
        let same = |other: &Cookie| {
            other.name == cookie.name
                && other.host == cookie.host
                && other.host_only == cookie.host_only
                && other.path == cookie.path
        };
        // An overwritten cookie keeps its creation time and so its position (§5.7 step 23).
        match self.0.iter_mut().find(|other| same(other)) {
            Some(old) => std::mem::swap(old, &mut cookie),
            None => self.0.push(cookie),
        }
        self.remove_expired(now);
    }

    /// Returns the cookies to send with a request: longest paths first, then the oldest.
    pub(super) fn matching(
        &mut self,
        url: &Url,
        context: SameSiteContext,
        now: SystemTime,
    ) -> Vec<Cookie> {
        self.remove_expired(now);
        let host = host_of(url);
        let mut cookies: Vec<Cookie> = self
            .0
            .iter()
            .filter(|cookie| {
                let host_matches = if cookie.host_only {
                    cookie.host == host
                } else {
                    domain_matches(&host, &cookie.host)
                };
                let site_allows = match (context, cookie.same_site) {
                    (SameSiteContext::CookieSameSite, _) | (_, CookieSameSite::None) => true,
                    (SameSiteContext::CrossSiteNavigation { safe }, CookieSameSite::Lax) => safe,
                    _ => false,
                };
                host_matches
                    && site_allows
                    && path_matches(url.path(), &cookie.path)
                    && (!cookie.secure || url.scheme() == "https")
            })
            .cloned()
            .collect();
        cookies.sort_by_key(|cookie| std::cmp::Reverse(cookie.path.len()));
        cookies
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    fn remove_expired(&mut self, now: SystemTime) {
        self.0
            .retain(|cookie| cookie.expires.is_none_or(|expires| expires > now));
    }
}

/// Applies the rules that depend only on the cookie and the URL of the response.
fn accept(url: &Url, set: &SetCookie<'_>) -> Option<Cookie> {
    let host = host_of(url);
    let secure_origin = url.scheme() == "https";
    if set.secure && !secure_origin {
        return None;
    }
    let domain = set
        .domain
        .filter(|domain| !domain.is_empty())
        .map(str::to_ascii_lowercase);
    if let Some(domain) = &domain {
        // A single label counts as a public suffix: `Domain=com` is rejected unless it is the host.
        if !domain_matches(&host, domain) || (!domain.contains('.') && *domain != host) {
            return None;
        }
    }
    let same_site = match set.same_site.map(str::to_ascii_lowercase).as_deref() {
        Some("none") => CookieSameSite::None,
        Some("strict") => CookieSameSite::Strict,
        _ => CookieSameSite::Lax,
    };
    if same_site == CookieSameSite::None && !set.secure {
        return None;
    }
    // Prefixes are compared case-insensitively (§4.1.3), so that `__HOST-` is not a way around them.
    let name = set.name.to_ascii_lowercase();
    let for_host = name.starts_with("__host-");
    let for_http = name.starts_with("__http-") || name.starts_with("__host-http-");
    let prefixed = for_host || for_http || name.starts_with("__secure-");
    if (prefixed && !set.secure)
        || (for_host && (domain.is_some() || set.path != Some("/")))
        || (for_http && !set.http_only)
    {
        return None;
    }
    Some(Cookie {
        name: set.name.to_owned(),
        value: set.value.to_owned(),
        host_only: domain.is_none(),
        host: domain.unwrap_or(host),
        path: set.path.map_or_else(|| default_path(url), str::to_owned),
        secure: set.secure,
        http_only: set.http_only,
        same_site,
        expires: set.expires,
    })
}

fn host_of(url: &Url) -> String {
    url.host_str().unwrap_or_default().to_ascii_lowercase()
}

/// §5.1.3: equal, or a subdomain. An IP address is never a subdomain.
fn domain_matches(host: &str, domain: &str) -> bool {
    host == domain
        || (host
            .strip_suffix(domain)
            .is_some_and(|rest| rest.ends_with('.'))
            && matches!(Host::parse(host), Ok(Host::Domain(_))))
}

/// §5.1.4: equal, or a parent directory.
fn path_matches(path: &str, directory: &str) -> bool {
    path.strip_prefix(directory)
        .is_some_and(|rest| rest.is_empty() || directory.ends_with('/') || rest.starts_with('/'))
}

/// §5.1.4: the directory of the URL.
fn default_path(url: &Url) -> String {
    match url.path().rfind('/') {
        Some(0) | None => "/".to_owned(),
        Some(end) => url.path()[..end].to_owned(),
    }
}
