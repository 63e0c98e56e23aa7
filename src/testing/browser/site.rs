//! Origins and sites, as far as a test needs them.

use url::{Host, Origin, Url};

use crate::ConfigError;

/// Reads a web origin: a scheme, a host and at most a port.
pub(in crate::testing) fn origin(text: &str) -> Result<Origin, ConfigError> {
    let parsed = Url::parse(text).ok().map(|url| url.origin());
    let whole = |origin: &Origin| {
        origin.is_tuple() && origin.ascii_serialization() == text.trim_end_matches('/')
    };
    parsed.filter(whole).ok_or_else(|| ConfigError::Url {
        setting: "origin",
        value: text.to_owned(),
        reason: "it must be a scheme, a host and at most a port",
    })
}

/// Whether two origins belong to one site: equal scheme and registrable domain (HTML §7.1.1).
///
/// There is no list of public suffixes here: the registrable domain is the last two labels of the
/// host, and an address or a single label stands for itself. Ports do not matter.
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

/// Whether browsers take a URL for one nobody can listen to (Secure Contexts §3.1): they send fetch
/// metadata only there.
pub(super) fn is_trustworthy(url: &Url) -> bool {
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    url.scheme() == "https" || loopback
}
