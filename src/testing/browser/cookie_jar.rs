//! What a browser keeps and what it sends along (RFC 6265bis §5.7, §5.8).

use std::time::SystemTime;

use url::{Host, Url};

use super::cookie::{Cookie, SameSite, SetCookie};

#[derive(Debug, Default)]
pub(super) struct CookieJar(Vec<Cookie>);

/// How a request stands to the site it goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// From the same site, or by hand.
    SameSite,
    /// From another site, as a navigation of the whole window by this kind of method.
    Navigation { safe: bool },
    /// From another site, for a part of a page or a script.
    Subrequest,
}

impl CookieJar {
    /// Takes a `Set-Cookie` field in; what the rules refuse is dropped, as a browser drops it.
    pub(super) fn store(&mut self, url: &Url, field: &str, reach: Reach, now: SystemTime) {
        self.forget_expired(now);
        let Some(mut cookie) = SetCookie::parse(field, now).and_then(|set| accept(url, &set))
        else {
            return;
        };
        // A page of another site sets cookies for itself only by a navigation (§5.7 step 19).
        if reach == Reach::Subrequest && cookie.same_site != SameSite::None {
            return;
        }
        // Over http nobody overwrites or shadows a cookie that came over https (§5.7 step 18).
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
        // One that is overwritten keeps its place in the order (§5.7 step 23).
        match self.0.iter_mut().find(|other| same(other)) {
            Some(old) => std::mem::swap(old, &mut cookie),
            None => self.0.push(cookie),
        }
        self.forget_expired(now);
    }

    /// The cookies that go along with a request: longest paths first, then the oldest.
    pub(super) fn matching(&mut self, url: &Url, reach: Reach, now: SystemTime) -> Vec<Cookie> {
        self.forget_expired(now);
        let host = host_of(url);
        let mut cookies: Vec<Cookie> = self
            .0
            .iter()
            .filter(|cookie| {
                let host_fits = if cookie.host_only {
                    cookie.host == host
                } else {
                    domain_matches(&host, &cookie.host)
                };
                let site_fits = match (reach, cookie.same_site) {
                    (Reach::SameSite, _) | (_, SameSite::None) => true,
                    (Reach::Navigation { safe }, SameSite::Lax) => safe,
                    _ => false,
                };
                host_fits
                    && site_fits
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

    fn forget_expired(&mut self, now: SystemTime) {
        self.0
            .retain(|cookie| cookie.expires.is_none_or(|expires| expires > now));
    }
}

/// The rules that need only the cookie and the URL it came from.
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
        // A single label is a public suffix: `Domain=com` is refused, unless it is the host itself.
        if !domain_matches(&host, domain) || (!domain.contains('.') && *domain != host) {
            return None;
        }
    }
    let same_site = match set.same_site.map(str::to_ascii_lowercase).as_deref() {
        Some("none") => SameSite::None,
        Some("strict") => SameSite::Strict,
        _ => SameSite::Lax,
    };
    if same_site == SameSite::None && !set.secure {
        return None;
    }
    // Prefixes are compared without regard to case (§4.1.3), so that none slips by.
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

/// §5.1.3: equal, or a subdomain; an address is never a subdomain.
fn domain_matches(host: &str, domain: &str) -> bool {
    host == domain
        || (host
            .strip_suffix(domain)
            .is_some_and(|rest| rest.ends_with('.'))
            && matches!(Host::parse(host), Ok(Host::Domain(_))))
}

/// §5.1.4: equal, or a folder above.
fn path_matches(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder)
        .is_some_and(|rest| rest.is_empty() || folder.ends_with('/') || rest.starts_with('/'))
}

/// §5.1.4: the folder of the URL.
fn default_path(url: &Url) -> String {
    match url.path().rfind('/') {
        Some(0) | None => "/".to_owned(),
        Some(end) => url.path()[..end].to_owned(),
    }
}
