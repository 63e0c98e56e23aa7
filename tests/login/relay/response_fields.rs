//! Response fields by which an upstream would act for the origin of the application: on browsers,
//! scripts and proxies.

use super::*;

use crate::support::logs;

const ACTING: Fields = &[
    // Script libraries.
    ("hx-redirect", "https://evil.example/"),
    ("hx-location", "/"),
    ("hx-trigger", "deleted"),
    ("hx-trigger-after-swap", "x"),
    ("hx-trigger-after-settle", "x"),
    ("hx-refresh", "true"),
    ("hx-push-url", "/x"),
    ("hx-replace-url", "/x"),
    ("hx-reswap", "outerHTML"),
    ("hx-retarget", "body"),
    ("hx-reselect", "body"),
    ("turbo-location", "/x"),
    ("turbo-visit-control", "reload"),
    ("turbolinks-location", "/x"),
    ("x-xhr-redirected-to", "/x"),
    ("x-up-location", "/x"),
    ("x-up-events", "[]"),
    ("x-up-target", "body"),
    ("x-inertia-location", "/x"),
    ("x-inertia", "true"),
    ("x-livewire", "1"),
    ("x-pjax-url", "/x"),
    ("x-ic-redirect", "/x"),
    ("x-ic-script", "alert(1)"),
    ("x-nextjs-redirect", "/x"),
    ("x-remix-redirect", "/x"),
    ("x-action-redirect", "/x"),
    ("datastar-selector", "body"),
    ("x-ajax-redirect", "/x"),
    ("x-hx-redirect", "/x"),
    ("x-htmx-trigger", "x"),
    ("x-spf-referer", "/x"),
    ("x-refresh", "true"),
    ("x-reload", "1"),
    ("livewire-redirect", "/x"),
    // Browsers.
    ("refresh", "0; url=https://evil.example/"),
    ("speculation-rules", "\"/rules.json\""),
    ("clear-site-data", "\"*\""),
    ("service-worker-allowed", "/"),
    ("sourcemap", "/x.map"),
    ("x-sourcemap", "/x.map"),
    (
        "link",
        "<https://evil.example/x.css>; rel=preload; as=style",
    ),
    ("report-to", "{}"),
    ("reporting-endpoints", "default=\"https://evil.example/\""),
    ("nel", "{}"),
    ("alt-svc", "h3=\":443\""),
    ("strict-transport-security", "max-age=0"),
    ("set-login", "logged-out"),
    ("accept-ch", "sec-ch-ua"),
    ("critical-ch", "sec-ch-ua"),
    ("origin-agent-cluster", "?1"),
    ("document-policy", "x"),
    ("document-policy-report-only", "x"),
    ("permissions-policy", "camera=*"),
    ("feature-policy", "camera *"),
    ("cross-origin-opener-policy", "unsafe-none"),
    ("cross-origin-embedder-policy", "unsafe-none"),
    (
        "content-security-policy-report-only",
        "default-src 'none'; report-uri https://evil.example/",
    ),
    ("integrity-policy", "blocked-destinations=(script)"),
    ("supports-loading-mode", "credentialed-prerender"),
    ("no-vary-search", "params"),
    ("activate-storage-access", "load"),
    ("observe-browsing-topics", "?1"),
    ("ad-auction-signals", "x"),
    ("x-dns-prefetch-control", "on"),
    ("set-cookie", "a=b"),
    ("set_cookie", "a=b"),
    ("a-field-of-next-year", "x"),
    // Proxies.
    ("x-accel-redirect", "/internal"),
    ("x-accel-expires", "600"),
    ("x-sendfile", "/etc/passwd"),
    ("x-sendfile-type", "x"),
    ("x-reproxy-file", "/etc/passwd"),
    ("x-litespeed-location", "/internal"),
    ("x-envoy-immediate-health-check-fail", "1"),
    ("x-appengine-blobkey", "x"),
    ("x-middleware-rewrite", "/x"),
    ("surrogate-control", "max-age=600"),
];

/// Only this application acts with the authority of its origin.
#[tokio::test]
async fn no_upstream_field_acts_for_the_origin() {
    let upstream = Upstream::responding(200, ACTING);
    let (answer, _) = relayed_request(&upstream, Ask::new("GET", "/api/x").with(&SCRIPT)).await;
    for (name, value) in ACTING {
        assert_eq!(answer.header(name), "", "{name}: {value}");
    }
}

/// Fields that describe a response, or belong to the API, are readable by scripts.
#[tokio::test]
async fn fields_of_an_api_reach_the_script() {
    const OWN: Fields = &[
        ("etag", "\"1\""),
        ("last-modified", "Sat, 01 Nov 2025 10:00:00 GMT"),
        ("content-type", "application/json"),
        ("content-language", "de"),
        ("content-disposition", "attachment"),
        ("accept-ranges", "bytes"),
        ("retry-after", "3"),
        ("ratelimit-limit", "9"),
        ("ratelimit", "\"x\";r=1"),
        ("deprecation", "@1"),
        ("sunset", "Sat, 01 Nov 2025 10:00:00 GMT"),
        ("traceparent", "00-1-2-01"),
        ("request-id", "1"),
        ("x-request-id", "1"),
        ("x-total-count", "7"),
        ("x-ratelimit-remaining", "8"),
        ("x-next-page", "2"),
    ];
    let upstream = Upstream::responding(200, OWN);
    let (answer, _) = relayed_request(&upstream, Ask::new("GET", "/api/x").with(&SCRIPT)).await;
    for (name, value) in OWN {
        assert_eq!(answer.header(name), *value, "{name}");
    }
}

/// A script that follows a URL of the upstream stays at the relay.
#[tokio::test]
async fn urls_of_the_upstream_become_paths_of_the_relay() {
    const OWN: Fields = &[
        ("location", "/v1/orders/7"),
        (
            "content-location",
            "https://api.example.com/v1/orders/7?a=b",
        ),
        ("operation-location", "https://queue.example.com/7"),
    ];
    let upstream = Upstream::responding(201, OWN);
    let (answer, _) = relayed_request(&upstream, Ask::new("POST", "/api/x").with(&SCRIPT)).await;
    assert_eq!(answer.status, 201);
    assert_eq!(answer.header("location"), "/api/orders/7");
    assert_eq!(answer.header("content-location"), "/api/orders/7?a=b");
    assert_eq!(answer.header("operation-location"), "");
}

#[tokio::test]
async fn the_removed_response_fields_can_be_configured_within_limits() {
    const SENT: Fields = &[
        ("link", "</v1/orders?page=2>; rel=next"),
        ("hx-trigger", "saved"),
        ("hx-redirect", "/x"),
        ("x-shop-secret", "1"),
        ("x-shop", "2"),
        ("etag", "\"1\""),
    ];
    let set_up = |relay: Relay<Upstream>| {
        let relay = relay.add_passed_response_header("Link").unwrap();
        let relay = relay.add_passed_response_header("hx_trigger").unwrap();
        let relay = relay.add_stripped_response_header("X-Shop-").unwrap();
        relay.add_stripped_response_header("etag").unwrap()
    };
    let shop = shop_with(&Upstream::responding(200, SENT), set_up, |login| login);
    let jar = shop.signed_in().await;
    let ask = Ask::new("GET", "/api/x").with(&SCRIPT);
    let answer = shop.send(ask.jar(&jar)).await;
    let there = SENT
        .iter()
        .map(|(name, _)| answer.headers.contains_key(*name));
    let there: Vec<_> = there.collect();
    assert_eq!(there, [true, true, false, false, true, false]);
    for name in [
        "set-cookie",
        "Set_Cookie",
        "www-authenticate",
        "access-control-allow-origin",
        "clear-site-data",
        "strict-transport-security",
        "service-worker-allowed",
        "alt-svc",
        "set-login",
        "connection",
        "upgrade",
        "hx-",
        "",
        "a b",
    ] {
        let refused = Relay::new(API).unwrap().add_passed_response_header(name);
        assert!(
            matches!(refused, Err(ConfigError::Setting { .. })),
            "{name}"
        );
    }
    let refused = Relay::new(API).unwrap().add_stripped_response_header("a b");
    assert!(matches!(refused, Err(ConfigError::Setting { .. })));
}

/// The log names the removed field and the setting that would forward it.
#[tokio::test]
async fn a_removed_field_is_named_in_the_log() {
    let upstream = Upstream::responding(200, &[("acme-page", "7"), ("set-cookie", "a=b")]);
    let shop = shop(&upstream);
    let jar = shop.signed_in().await;
    let logs = logs::Logs::default();
    let recording = logs.record();
    let ask = Ask::new("GET", "/api/x").with(&SCRIPT);
    shop.send(ask.jar(&jar)).await;
    drop(recording);
    let text = logs.text();
    assert!(
        text.contains("acme-page") && text.contains("add_passed_response_header"),
        "{text}"
    );
    assert!(!text.contains("set-cookie"), "{text}");
}
