//! Which header fields of a request are forwarded, and which may be trailers.

use http::HeaderValue;
use http::header::{
    CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, TE, TRANSFER_ENCODING, UPGRADE,
};

use crate::bearer::{TrailerFilter, field_name_setting};
use crate::config_error::ConfigError;
use crate::flow::ApiCredentials;
use crate::protocol::field_name::{is_one_of, normalize_header_name, remove};

/// The names that the application adds to the lists below; normalized, and prefixes if they end
/// with `-`.
#[derive(Clone, Debug, Default)]
pub(super) struct RequestFields {
    stripped: Vec<String>,
    passed: Vec<String>,
}

impl RequestFields {
    pub(super) fn strip(&mut self, name: &str) -> Result<(), ConfigError> {
        self.stripped
            .push(field_name_setting("stripped header", name)?);
        Ok(())
    }

    pub(super) fn pass(&mut self, name: &str) -> Result<(), ConfigError> {
        let name_folded = field_name_setting("passed header", name)?;
        if name_folded.ends_with('-') || is_one_of(NEVER_FORWARDED, &name_folded) {
            return Err(ConfigError::Setting {
                setting: "passed header",
                value: name.to_owned(),
                reason: "it must be a complete header name, and not one that the relay always removes",
            });
        }
        self.passed.push(name_folded);
        Ok(())
    }

    /// Turns the header fields of the browser's request into those for the upstream.
    pub(super) fn rewrite(
        &self,
        headers: &mut HeaderMap,
        credentials: ApiCredentials,
        socket: bool,
    ) {
        let listed = listed_in(headers, &CONNECTION);
        let trailers = listed_in(headers, &TE).iter().any(|one| one == "trailers");
        // RFC 9112 §6.3: with `Transfer-Encoding`, `Content-Length` must not be forwarded (request
        // smuggling).
        if headers.contains_key(TRANSFER_ENCODING) {
            headers.remove(CONTENT_LENGTH);
        }
        remove(headers, |name, folded| {
            let is_look_alike = folded == CONTENT_LENGTH.as_str() && *name != CONTENT_LENGTH;
            is_look_alike || self.is_removed(folded) || listed.iter().any(|one| one == folded)
        });
        credentials.apply(headers);
        if socket {
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        } else if trailers {
            // RFC 9110 §10.1.4: `TE` is hop-by-hop, so it is set for the next hop; trailers are
            // forwarded.
            headers.insert(TE, HeaderValue::from_static("trailers"));
            headers.insert(CONNECTION, HeaderValue::from_static("te"));
        }
    }

    /// A recipient may merge trailers into the header section (RFC 9110 §6.5.1), so the same fields
    /// are removed from trailers.
    pub(super) fn request_trailers(&self) -> TrailerFilter {
        let fields = self.clone();
        TrailerFilter::new(move |folded| {
            is_one_of(HEAD_ONLY_FIELDS, folded) || fields.is_removed(folded)
        })
    }

    fn is_removed(&self, folded: &str) -> bool {
        is_one_of(NEVER_FORWARDED, folded) || self.is_stripped(folded)
    }

    fn is_stripped(&self, folded: &str) -> bool {
        let passed = self.passed.iter().any(|name| name == folded);
        !passed && (is_one_of(GATEWAY_FIELDS, folded) || is_one_of(&self.stripped, folded))
    }
}

/// Returns whether a page would execute the response. The static header excludes that already,
/// except for relays without it and for pages whose service worker adds it.
pub(super) fn requests_executable(headers: &HeaderMap) -> bool {
    let mut destinations = headers.get_all(FETCH_DEST).iter();
    destinations.any(|dest| {
        EXECUTABLE_DESTINATIONS
            .iter()
            .any(|one| dest.as_bytes() == one.as_bytes())
    })
}

/// Returns the members of a comma-separated list, normalized.
pub(super) fn listed_in(headers: &HeaderMap, field: &HeaderName) -> Vec<String> {
    let lines = headers.get_all(field).iter();
    lines
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .map(|member| normalize_header_name(String::from_utf8_lossy(member).trim()))
        .filter(|member| !member.is_empty())
        .collect()
}

const FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// Script-like destinations (Fetch §2.2.5), and style sheets.
const EXECUTABLE_DESTINATIONS: &[&str] = &[
    "audioworklet",
    "paintworklet",
    "script",
    "serviceworker",
    "sharedworker",
    "style",
    "worker",
    "xslt",
];

/// Hop-by-hop fields (RFC 9110 §7.6.1).
pub(super) const HOP_BY_HOP: &[&str] = &[
    "connection",
    "http2-settings",
    "keep-alive",
    "proxy-",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// Fields that are never forwarded: credentials for this application, the origin that the browser
/// addressed, and hop-by-hop fields.
const NEVER_FORWARDED: &[&str] = &[
    "authorization",
    "cookie",
    "cookie2",
    "dpop",
    // The server of this application has answered it.
    "expect",
    "host",
    // Browsers send other origins at most the origin of the page.
    "referer",
    "connection",
    "http2-settings",
    "keep-alive",
    "proxy-",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// Fields about framing, processing or caching, which must not be trailers (RFC 9110 §6.5.1).
pub(super) const HEAD_ONLY_FIELDS: &[&str] = &[
    "cache-control",
    "content-encoding",
    "content-length",
    "content-range",
    "content-security-policy",
    "content-type",
    "cross-origin-resource-policy",
    "location",
    "trailer",
    "x-content-type-options",
];

/// Fields that services behind a gateway trust: identities, addresses, and request targets.
pub(super) const GATEWAY_FIELDS: &[&str] = &[
    "cf-access-",
    "cf-connecting-ip",
    "client-cert",
    "client-cert-chain",
    "client-ip",
    "cluster-client-ip",
    "fastly-client-ip",
    "forwarded",
    "iv-",
    "mellon-",
    "oidc-",
    "remote-",
    "shib-",
    "sm-",
    "ssl-client-",
    "true-client-ip",
    "x-access-token",
    "x-amzn-mtls-",
    "x-amzn-oidc-",
    "x-anonymous-consumer",
    "x-apigateway-api-userinfo",
    "x-appengine-",
    "x-arr-",
    "x-auth-",
    "x-authenticated-",
    "x-authentik-",
    "x-authorization",
    "x-azure-",
    "x-client-cert",
    "x-client-cert-",
    "x-client-dn",
    "x-client-ip",
    "x-client-verified",
    "x-client-verify",
    "x-cluster-client-ip",
    "x-consumer-",
    "x-credential-",
    "x-custom-ip-authorization",
    "x-endpoint-api-userinfo",
    "x-envoy-",
    "x-forwarded",
    "x-forwarded-",
    "x-goog-authenticated-user-",
    "x-goog-iap-",
    "x-host",
    "x-http-host-override",
    "x-http-method",
    "x-http-method-override",
    "x-id-token",
    "x-jwt-",
    "x-method-override",
    "x-ms-client-principal",
    "x-ms-client-principal-",
    "x-ms-token-",
    "x-original-",
    "x-originating-",
    "x-pomerium-",
    "x-proxyuser-ip",
    "x-real-ip",
    "x-remote-",
    "x-rewrite-url",
    "x-serverless-authorization",
    "x-ssl-",
    "x-tls-",
    "x-token-",
    "x-user",
    "x-user-email",
    "x-user-groups",
    "x-user-id",
    "x-user-name",
    "x-user-roles",
    "x-userinfo",
    "x-username",
    "x-vouch-",
    "x-webauth-",
];
