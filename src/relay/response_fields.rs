//! Which header fields of a response are forwarded.
//!
//! A response of the relay has the origin of this application, so a field that browsers, scripts of
//! the page or proxies act on has the authority of this application. Fields with registered names
//! are forwarded only if they are listed, because browsers add new ones every year. `X-` fields
//! belong to the API, since specifications may not define new ones (RFC 6648), so they are
//! forwarded unless a script library or a proxy is known to act on them.

use http::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, HeaderMap, HeaderName, TRANSFER_ENCODING,
    WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, StatusCode};

use super::request_fields::{HEAD_ONLY_FIELDS, HOP_BY_HOP, listed_in};
use crate::bearer::{TrailerFilter, field_name_setting};
use crate::config_error::ConfigError;
use crate::protocol::field_name::{is_one_of, remove};

/// The names that the application adds to the lists below; normalized, and prefixes if they end
/// with `-`.
#[derive(Clone, Debug, Default)]
pub(super) struct ResponseFields {
    stripped: Vec<String>,
    passed: Vec<String>,
}

impl ResponseFields {
    pub(super) fn strip(&mut self, name: &str) -> Result<(), ConfigError> {
        self.stripped
            .push(field_name_setting("stripped response header", name)?);
        Ok(())
    }

    pub(super) fn pass(&mut self, name: &str) -> Result<(), ConfigError> {
        let folded = field_name_setting("passed response header", name)?;
        if folded.ends_with('-') || is_never_forwarded(&folded) {
            return Err(ConfigError::Setting {
                setting: "passed response header",
                value: name.to_owned(),
                reason: "it must be a whole name, and not of a field that changes cookies, credentials, \
                         CORS, TLS or stored data of this origin",
            });
        }
        self.passed.push(folded);
        Ok(())
    }

    /// Turns the header fields of the upstream's response into those for the browser.
    pub(super) fn rewrite(&self, status: StatusCode, headers: &mut HeaderMap) {
        let listed = listed_in(headers, &CONNECTION);
        // RFC 9112 §6.3: with `Transfer-Encoding`, `Content-Length` must not be forwarded.
        if headers.contains_key(TRANSFER_ENCODING) {
            headers.remove(CONTENT_LENGTH);
        }
        remove(headers, |name, folded| {
            let passes = self.passes(folded) && !listed.iter().any(|one| one == folded);
            if !passes && !is_never_forwarded(folded) {
                tracing::debug!(
                    name: "relay_response_field_removed",
                    target: "tower_oauth::relay",
                    field = name.as_str(),
                    setting = "add_passed_response_header",
                    "removed a header field from a response"
                );
            }
            !passes
        });
        if status == StatusCode::UNAUTHORIZED {
            // A 401 needs a challenge (RFC 9110 §15.5.2). Browsers show no password prompt for this
            // one.
            headers.insert(
                WWW_AUTHENTICATE,
                HeaderValue::from_static("Cookie realm=\"relay\""),
            );
        }
        // As a page of this origin, a response could do all that the application can do.
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.append(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
        headers.insert(RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
    }

    /// Returns the same filter for trailers, where no more fields are forwarded than in the header
    /// section.
    pub(super) fn response_trailers(&self) -> TrailerFilter {
        let fields = self.clone();
        TrailerFilter::new(move |folded| {
            is_one_of(HEAD_ONLY_FIELDS, folded)
                || !Self::default().passes(folded)
                || !fields.passes(folded)
        })
    }

    /// Returns whether a field of this normalized name is forwarded to the browser.
    pub(super) fn passes(&self, folded: &str) -> bool {
        if is_never_forwarded(folded) {
            return false;
        }
        let passed = self.passed.iter().any(|name| name == folded);
        let stripped = is_one_of(&self.stripped, folded);
        passed || !stripped && is_one_of(API_FIELDS, folded) && !is_one_of(ACTIVE_FIELDS, folded)
    }
}

fn is_never_forwarded(folded: &str) -> bool {
    is_one_of(HOP_BY_HOP, folded) || is_one_of(NEVER_FORWARDED, folded)
}

const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Fields that change cookies, credentials, cross-origin access, TLS or stored data of the whole
/// origin.
const NEVER_FORWARDED: &[&str] = &[
    "access-control-",
    "activate-storage-access",
    "alt-svc",
    "authentication-info",
    "clear-site-data",
    "cross-origin-resource-policy",
    // A nonce is for the proofs of this application.
    "dpop-nonce",
    "expect-ct",
    "public-key-pins",
    "public-key-pins-report-only",
    "sec-session-",
    "secure-session-",
    "service-worker-allowed",
    "set-cookie",
    "set-cookie2",
    "set-login",
    "strict-transport-security",
    "www-authenticate",
];

/// Fields that describe a response of an API and that browsers do not act on.
/// `Content-Security-Policy` can only restrict, and `Location` is followed by the script.
const API_FIELDS: &[&str] = &[
    "accept-patch",
    "accept-post",
    "accept-ranges",
    "age",
    "allow",
    "api-supported-versions",
    "api-deprecated-versions",
    "cache-control",
    "content-digest",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-range",
    "content-security-policy",
    "content-type",
    "correlation-id",
    "date",
    "dav",
    "deprecation",
    "digest",
    "etag",
    "expires",
    "grpc-",
    "idempotency-key",
    "last-modified",
    "location",
    "lock-token",
    "mcp-protocol-version",
    "mcp-session-id",
    "odata-entityid",
    "odata-version",
    "operation-location",
    "pragma",
    "preference-applied",
    "ratelimit",
    "ratelimit-",
    "referrer-policy",
    "repr-digest",
    "request-id",
    "retry-after",
    "sec-websocket-accept",
    "sec-websocket-extensions",
    "sec-websocket-protocol",
    "sec-websocket-version",
    "server",
    "server-timing",
    "signature",
    "signature-input",
    "sunset",
    "traceparent",
    "traceresponse",
    "tracestate",
    "trailer",
    "tus-",
    "upload-",
    "vary",
    "via",
    "warning",
    "x-",
];

/// `X-` fields that scripts of the page, or a proxy in front of it, act on.
const ACTIVE_FIELDS: &[&str] = &[
    // Browsers.
    "x-allow-fledge",
    "x-content-security-policy",
    "x-dns-prefetch-control",
    "x-fledge-",
    "x-permitted-cross-domain-policies",
    "x-sourcemap",
    "x-ua-compatible",
    "x-webkit-csp",
    "x-xss-protection",
    // Script libraries: navigation, redirects, scripts, events, replaced parts of the page.
    "x-action-",
    "x-ajax-",
    "x-astro-",
    "x-datastar-",
    "x-htmx-",
    "x-hx-",
    "x-ic-",
    "x-inertia",
    "x-inertia-",
    "x-livewire",
    "x-livewire-",
    "x-location",
    "x-nextjs-",
    "x-october-",
    "x-pjax",
    "x-pjax-",
    "x-redirect",
    "x-redirect-",
    "x-refresh",
    "x-reload",
    "x-remix-",
    "x-spf-",
    "x-sveltekit-",
    "x-turbo-",
    "x-turbolinks-",
    "x-up-",
    "x-xhr-redirected-to",
    // Servers and proxies: internal redirects, files, caches, health.
    "x-accel-",
    "x-appengine-",
    "x-envoy-",
    "x-internal-redirect",
    "x-lighttpd-",
    "x-litespeed-",
    "x-middleware-",
    "x-reproxy-",
    "x-send-file",
    "x-sendfile",
    "x-sendfile-",
    "x-sendfile2",
];
