//! Which header fields of a request go through, and what may stand in trailers.

use http::HeaderValue;
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, TE, TRANSFER_ENCODING,
    UPGRADE,
};

use crate::bearer::{TrailerFilter, field_name_setting};
use crate::config_error::ConfigError;
use crate::protocol::AccessToken;
use crate::protocol::field_name::{is_one_of, normalize_header_name, remove};

/// What the application adds to the lists below; folded, and a prefix where it ends with `-`.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields {
    stripped: Vec<String>,
    passed: Vec<String>,
}

impl Fields {
    pub(super) fn strip(&mut self, name: &str) -> Result<(), ConfigError> {
        self.stripped
            .push(field_name_setting("stripped header", name)?);
        Ok(())
    }

    pub(super) fn pass(&mut self, name: &str) -> Result<(), ConfigError> {
        let name_folded = field_name_setting("passed header", name)?;
        if name_folded.ends_with('-') || is_one_of(NEVER, &name_folded) {
            return Err(ConfigError::Setting {
                setting: "passed header",
                value: name.to_owned(),
                reason: "it must be a whole name, and none that the relay itself answers for",
            });
        }
        self.passed.push(name_folded);
        Ok(())
    }

    /// `L58`: what the browser sent becomes what the relay sends.
    pub(super) fn outward(
        &self,
        headers: &mut HeaderMap,
        token: &AccessToken,
        socket: bool,
    ) -> Result<(), http::header::InvalidHeaderValue> {
        let mut authorization = HeaderValue::try_from(format!("Bearer {}", token.expose()))?;
        authorization.set_sensitive(true);
        let listed = listed_in(headers, &CONNECTION);
        let trailers = listed_in(headers, &TE).iter().any(|one| one == "trailers");
        // RFC 9112 §6.3: what says two lengths is told by one of them alone.
        if headers.contains_key(TRANSFER_ENCODING) {
            headers.remove(CONTENT_LENGTH);
        }
        remove(headers, |name, folded| {
            let imitates = folded == CONTENT_LENGTH.as_str() && *name != CONTENT_LENGTH;
            imitates || self.stays_here(folded) || listed.iter().any(|one| one == folded)
        });
        headers.insert(AUTHORIZATION, authorization);
        if socket {
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        } else if trailers {
            // RFC 9110 §10.1.4: said anew for the next hop, since trailers are passed.
            headers.insert(TE, HeaderValue::from_static("trailers"));
            headers.insert(CONNECTION, HeaderValue::from_static("te"));
        }
        Ok(())
    }

    /// `L58`: a reader may merge trailers into the head (RFC 9110 §6.5.1), so nothing gets through there either.
    pub(super) fn outward_trailers(&self) -> TrailerFilter {
        let fields = self.clone();
        TrailerFilter::new(move |folded| {
            is_one_of(OF_THE_HEAD, folded) || fields.stays_here(folded)
        })
    }

    fn stays_here(&self, folded: &str) -> bool {
        is_one_of(NEVER, folded) || self.is_stripped(folded)
    }

    fn is_stripped(&self, folded: &str) -> bool {
        let passed = self.passed.iter().any(|name| name == folded);
        !passed && (is_one_of(LOOK_ALIKES, folded) || is_one_of(&self.stripped, folded))
    }
}

/// A page wants to run the answer as a part of itself. The static header keeps that out already, but for
/// relays that ask for none and pages whose service worker adds it.
pub(super) fn asks_for_what_runs(headers: &HeaderMap) -> bool {
    let mut wanted = headers.get_all(FETCH_DEST).iter();
    wanted.any(|dest| RUNS.iter().any(|one| dest.as_bytes() == one.as_bytes()))
}

/// The members of a list without parameters, folded.
pub(super) fn listed_in(headers: &HeaderMap, field: &HeaderName) -> Vec<String> {
    let lines = headers.get_all(field).iter();
    lines
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .map(|member| normalize_header_name(String::from_utf8_lossy(member).trim()))
        .filter(|member| !member.is_empty())
        .collect()
}

const FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// Fetch §2.2.5: destinations that are like a script, and style sheets.
const RUNS: &[&str] = &[
    "audioworklet",
    "paintworklet",
    "script",
    "serviceworker",
    "sharedworker",
    "style",
    "worker",
    "xslt",
];

/// RFC 9110 §7.6.1: what one connection says of itself.
pub(super) const HOP_BY_HOP: &[&str] = &[
    "connection",
    "http2-settings",
    "keep-alive",
    "proxy-",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// What no request takes along: who the browser is to us, where it thought to be, and the hop.
const NEVER: &[&str] = &[
    "authorization",
    "cookie",
    "cookie2",
    "dpop",
    // The server here has answered it.
    "expect",
    "host",
    // A browser would give another origin no more than our own.
    "referer",
    "connection",
    "http2-settings",
    "keep-alive",
    "proxy-",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// RFC 9110 §6.5.1: how a message is framed, read and kept is said before its body, or not at all.
pub(super) const OF_THE_HEAD: &[&str] = &[
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

/// What services behind a gateway believe of who asks, from where, and for what.
pub(super) const LOOK_ALIKES: &[&str] = &[
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
