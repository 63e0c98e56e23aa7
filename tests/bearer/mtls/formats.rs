//! Client certificates in the header fields of specific proxies.

use axum::Router;
use axum::routing::get;
use http::{HeaderMap, HeaderValue};
use tower_oauth::bearer::CertificateFormat::{self, AwsAlb, Envoy, HaProxy, Nginx, Traefik};

use super::*;

const PROXY: &str = "10.0.0.1:4711";

/// Returns a DER sequence like that of a certificate, whose base64 contains `+`, `/` and `=`.
fn certificate(seed: u8) -> Vec<u8> {
    let mut content = [0xfb, 0xef, 0xbe, 0xff, 0xff, 0xff, seed].repeat(90);
    while (content.len() + 4) % 3 != 1 {
        content.push(0);
    }
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&[0x30, 0x82], &length[..], &content].concat()
}

fn pem(der: &[u8]) -> String {
    let base64 = STANDARD.encode(der);
    let lines: Vec<&str> = base64
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    let text = lines.join("\n");
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}

/// Percent-encodes all but unreserved characters and those in `safe`.
fn encoded(text: &str, safe: &str) -> String {
    text.chars()
        .map(|one| match one {
            _ if one.is_ascii_alphanumeric() || "-._~".contains(one) || safe.contains(one) => {
                one.to_string()
            }
            _ => format!("%{:02X}", u32::from(one)),
        })
        .collect()
}

fn behind(format: CertificateFormat, name: &str) -> Mtls {
    let is_proxy = |peer: &SocketAddr| peer.to_string() == PROXY;
    let trusted = move |extensions: &http::Extensions| extensions.get().is_some_and(is_proxy);
    Mtls::from_header_in(format, name, trusted).unwrap()
}

fn from(peer: &str, token: &str, name: &str, lines: &[String]) -> Request<Body> {
    let mut request = request(token);
    request
        .extensions_mut()
        .insert::<SocketAddr>(peer.parse().unwrap());
    for line in lines {
        let line = HeaderValue::from_bytes(line.as_bytes()).unwrap();
        let name: http::HeaderName = name.parse().unwrap();
        request.headers_mut().append(name, line);
    }
    request
}

/// A proxy, its header field, and values that are valid, malformed or contain another certificate.
struct Proxy {
    format: CertificateFormat,
    name: &'static str,
    good: String,
    also_good: Vec<String>,
    /// Well-formed values with another certificate.
    other: Vec<String>,
    malformed: Vec<String>,
}

#[allow(clippy::too_many_lines)]
fn proxies() -> Vec<Proxy> {
    let (ours, other) = (certificate(1), certificate(2));
    let (pem_ours, pem_other) = (pem(&ours), pem(&other));
    let both = format!("{pem_ours}{pem_other}");
    let reversed = format!("{pem_other}{pem_ours}");
    let all = |text: &str| encoded(text, "");
    let safe = |text: &str| encoded(text, "+=/");
    let base64 = |der: &[u8]| STANDARD.encode(der);
    let (base64_ours, base64_other) = (base64(&ours), base64(&other));
    assert!("+/=".chars().all(|one| base64_ours.contains(one)));
    let cut = &ours[..ours.len() - 3];
    let longer = [&ours[..], &[0]].concat();
    let cut_pem = &pem_ours[..pem_ours.len() - 40];
    let no_end = pem_ours.replace("-----END CERTIFICATE-----\n", "");
    let key = pem_ours.replace("CERTIFICATE", "PRIVATE KEY");
    let bad_pems = [
        cut_pem.to_owned(),
        no_end,
        key,
        pem(cut),
        pem(&longer),
        pem(b""),
        format!("x{pem_ours}"),
        format!("{pem_ours}x"),
        pem_ours.replacen('\n', " ", 1),
        pem_ours.replacen("+", " ", 1),
        "\n".to_owned(),
    ];
    let xfcc = |cert: &str| {
        let subject = r#"Subject="CN=a\"b\\,O=x;y,z";URI="#;
        format!("By=spiffe://mesh/api;Hash=00;Cert=\"{cert}\";{subject}")
    };
    let (envoy_ours, envoy_other) = (xfcc(&all(&pem_ours)), xfcc(&all(&pem_other)));
    vec![
        Proxy {
            format: Nginx,
            name: "ssl-client-cert",
            good: all(&pem_ours),
            also_good: vec![
                // `+` is literal, and escapes may be in lower case.
                safe(&pem_ours),
                all(&pem_ours).replace("%0A", "%0a"),
                all(&pem_ours.replace('\n', "\r\n")),
                all(pem_ours.trim_end()),
            ],
            other: vec![all(&pem_other)],
            malformed: bad_pems
                .iter()
                .map(|pem| all(pem))
                .chain([
                    all(&both),
                    pem_ours.replace('\n', " "),
                    pem_ours.replace('\n', "\t"),
                    all(&pem_ours).replace("%20", "+"),
                    all(&pem_ours).replacen("%0A", "%0G", 1),
                    format!("{}%", all(&pem_ours)),
                    format!("{}%0", all(&pem_ours)),
                    base64_ours.clone(),
                    format!(":{base64_ours}:"),
                    all(&all(&pem_ours)),
                ])
                .collect(),
        },
        Proxy {
            format: AwsAlb,
            name: "x-amzn-mtls-clientcert",
            good: safe(&both),
            also_good: vec![safe(&pem_ours), all(&pem_ours), all(&both)],
            other: vec![safe(&reversed)],
            malformed: bad_pems
                .iter()
                .map(|pem| safe(pem))
                .chain([
                    safe(&format!("{pem_ours}{cut_pem}")),
                    safe(&pem_ours).replace("%20", "+"),
                    safe(&pem_ours.repeat(17)),
                ])
                .collect(),
        },
        Proxy {
            format: HaProxy,
            name: "x-ssl-client-cert",
            good: base64_ours.clone(),
            also_good: vec![],
            other: vec![base64_other.clone()],
            malformed: vec![
                base64(cut),
                base64(&longer),
                base64_ours.trim_end_matches('=').to_owned(),
                base64_ours.replace('+', " "),
                base64_ours.replace('+', "-").replace('/', "_"),
                format!("{base64_ours},{base64_other}"),
                format!("{base64_ours}{base64_other}"),
                format!(":{base64_ours}:"),
                all(&base64_ours),
            ],
        },
        Proxy {
            format: Traefik,
            name: "x-forwarded-tls-client-cert",
            good: base64_ours.clone(),
            also_good: vec![
                all(&base64_ours),
                format!("{base64_ours},{base64_other}"),
                all(&format!("{base64_ours},{base64_other}")),
                format!("{},{}", all(&base64_ours), all(&base64_other)),
            ],
            other: vec![format!("{base64_other},{base64_ours}")],
            malformed: vec![
                base64(cut),
                base64(&longer),
                base64_ours.replace('+', " "),
                base64_ours.replacen('+', "%20", 1),
                format!("{base64_ours},"),
                format!(",{base64_ours}"),
                format!("{base64_ours},x"),
                format!("{base64_ours};{base64_other}"),
                format!("{base64_ours}%"),
                all(&pem_ours),
                vec![base64_ours.clone(); 17].join(","),
            ],
        },
        Proxy {
            format: Envoy,
            name: "x-forwarded-client-cert",
            good: envoy_ours.clone(),
            also_good: vec![
                // The first element comes from the attacker.
                format!("{envoy_other},{envoy_ours}"),
                format!("{envoy_other}, {envoy_ours}"),
                format!("Cert=\"junk\",{envoy_ours}"),
                format!("cert={}", all(&pem_ours)),
                format!("Hash=00;CHAIN=\"{}\"", all(&both)),
                format!("Cert=\"{}\";Chain=\"{}\"", all(&pem_ours), all(&both)),
            ],
            other: vec![
                format!("{envoy_ours},{envoy_other}"),
                format!("Chain=\"{}\"", all(&reversed)),
            ],
            malformed: bad_pems
                .iter()
                .map(|pem| xfcc(&all(pem)))
                .chain([
                    xfcc(""),
                    "By=a;Hash=00;Subject=\"CN=x\"".to_owned(),
                    // The certificate is not in the last element.
                    format!("{envoy_ours},By=a;Hash=00"),
                    format!("{envoy_ours},"),
                    format!("{envoy_ours};"),
                    format!(",{envoy_ours}"),
                    // An open quote from the client would include the separator of the proxy.
                    format!("Cert=\"{},{envoy_ours}", all(&pem_other)),
                    format!("Cert=\"{}\";X=\",{envoy_ours}", all(&pem_other)),
                    format!("X=\"\\,{envoy_ours}"),
                    format!("X=\"\"\",{envoy_ours}"),
                    format!("X=a\"b,{envoy_ours}"),
                    format!("{envoy_ours};Cert=\"{}\"", all(&pem_ours)),
                    format!("{envoy_ours};cert=\"{}\"", all(&pem_other)),
                    format!("Cert=\"{}\";Chain=\"{}\"", all(&pem_ours), all(&reversed)),
                    xfcc(&all(&both)),
                    xfcc(&all(&pem_ours).replace("%20", "+")),
                    all(&pem_ours),
                    "Cert".to_owned(),
                    "=".to_owned(),
                ])
                .collect(),
        },
    ]
}

#[tokio::test]
async fn each_proxy_format_is_parsed_and_other_values_are_rejected() {
    let server = server();
    let bound = good(&server).bound_to_certificate(certificate(1)).sign();
    let plain = good(&server).sign();
    let mut wrong = Vec::new();
    for proxy in proxies() {
        let app = api_with(&server, behind(proxy.format, proxy.name));
        let refused = Outcome::InvalidToken(Why::Bound);
        let unreadable = Outcome::InvalidRequest;
        let mut rows = vec![
            (vec![], refused, Outcome::Accepted),
            (vec![String::new()], refused, unreadable),
            (vec!["x".repeat(70_000)], refused, unreadable),
            (vec!["\u{a0}".to_owned()], refused, unreadable),
            (
                vec![proxy.good.clone(), proxy.good.clone()],
                refused,
                unreadable,
            ),
            (vec![proxy.good.clone(), String::new()], refused, unreadable),
            (vec![String::new(), proxy.good.clone()], refused, unreadable),
        ];
        for line in [proxy.good.clone()].into_iter().chain(proxy.also_good) {
            rows.push((vec![line], Outcome::Accepted, Outcome::Accepted));
        }
        for line in proxy.other {
            rows.push((vec![line], refused, Outcome::Accepted));
        }
        for line in proxy.malformed {
            rows.push((vec![line], refused, unreadable));
        }
        for (lines, expect_bound, expect_plain) in rows {
            for (token, expect) in [(&bound, expect_bound), (&plain, expect_plain)] {
                let request = from(PROXY, token, proxy.name, &lines);
                let outcome = ask(&app, request).await.outcome();
                if outcome != expect {
                    wrong.push(format!("{:?} {lines:?}: {outcome:?}", proxy.format));
                }
            }
        }
        // From any other peer the field is ignored, well-formed or not.
        for line in [proxy.good.clone(), "junk".to_owned()] {
            let lines = [line];
            let request = from("203.0.113.9:4711", &bound, proxy.name, &lines);
            assert_eq!(ask(&app, request).await.outcome(), refused);
            let request = from("203.0.113.9:4711", &plain, proxy.name, &lines);
            assert_eq!(ask(&app, request).await.outcome(), Outcome::Accepted);
        }
        // The formats are off by default.
        let request = from(PROXY, &bound, proxy.name, std::slice::from_ref(&proxy.good));
        let app = api_with(&server, Mtls::from_tls());
        assert_eq!(ask(&app, request).await.outcome(), refused);
        let request = from(PROXY, &bound, "client-cert", &[proxy.good]);
        let app = api_with(&server, behind_proxy());
        assert_eq!(ask(&app, request).await.outcome(), refused);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn no_handler_receives_the_certificate_header() {
    let server = server();
    let bearer = layer(&server).with_mtls(behind(HaProxy, "x-ssl-client-cert"));
    let tell = async |headers: HeaderMap| {
        let names = headers.keys().map(|name| name.as_str().to_owned());
        names.collect::<Vec<_>>().join(" ")
    };
    let app = Router::new().route("/", get(tell)).layer(bearer.optional());
    let token = good(&server).bound_to_certificate(certificate(1)).sign();
    let plain = good(&server).sign();
    let field = [STANDARD.encode(certificate(1))];
    for name in [
        "x-ssl-client-cert",
        "X_SSL_Client_Cert",
        "x.ssl-client_cert",
    ] {
        for peer in [PROXY, "203.0.113.9:4711"] {
            let answer = ask(&app, from(peer, &plain, name, &field)).await;
            assert_eq!(answer.body, "authorization", "{name} {peer}");
            let mut anonymous = from(peer, &plain, name, &field);
            anonymous.headers_mut().remove(AUTHORIZATION);
            let answer = ask(&app, anonymous).await;
            assert_eq!(
                (answer.status.as_u16(), &*answer.body),
                (200, ""),
                "{name} {peer}"
            );
        }
    }
    // A malformed field is rejected, also without a token.
    let two = [field[0].clone(), field[0].clone()];
    for lines in [&["junk".to_owned()][..], &[String::new()], &two] {
        for (peer, status) in [(PROXY, 400), ("203.0.113.9:4711", 200)] {
            let mut anonymous = from(peer, &plain, "x-ssl-client-cert", lines);
            anonymous.headers_mut().remove(AUTHORIZATION);
            let answer = ask(&app, anonymous).await;
            assert_eq!(answer.status, status, "{lines:?} {peer}");
        }
    }
    let answer = ask(&app, from(PROXY, &token, "x-ssl-client-cert", &field)).await;
    assert_eq!(answer.body, "authorization");
    // A client cannot send it as a trailer either.
    let mut request = from(PROXY, &token, "x-ssl-client-cert", &field);
    let trailer = HeaderValue::from_static("X-SSL-Client-Cert");
    request.headers_mut().insert("trailer", trailer);
    assert_eq!(ask(&app, request).await.status, 400);
}

#[tokio::test]
async fn a_malformed_certificate_header_is_logged_once_as_a_warning() {
    let server = server();
    let app = api_with(&server, behind(Nginx, "ssl-client-cert"));
    let token = good(&server).sign();
    let logs = crate::support::logs::Logs::default();
    let recording = logs.record();
    for _ in 0..3 {
        let lines = ["secret\u{a0}of\u{a0}a\u{a0}caller".to_owned()];
        ask(&app, from(PROXY, &token, "ssl-client-cert", &lines)).await;
    }
    drop(recording);
    let text = logs.text();
    let about = text
        .lines()
        .filter(|line| line.contains("malformed certificate header"));
    let levels: Vec<_> = about
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(levels, ["WARN", "DEBUG", "DEBUG"]);
    assert!(text.contains("ssl-client-cert") && text.contains("not percent-encoded"));
    assert!(!text.contains("secret"));
}
