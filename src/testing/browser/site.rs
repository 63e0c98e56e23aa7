//! Origins and sites.

use url::{Host, Origin, Url};

use crate::ConfigError;

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
