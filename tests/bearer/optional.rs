//! Optional layers: only a request without credentials is anonymous; presented tokens are validated.

use axum::Router;
use axum::body::Body;
use http::Request;
use tower_oauth::bearer::{Refusal, TokenSource};

use crate::support::api::{Answer, api, ask, good, layer, server};
use crate::support::dpop::dpop_layer;

fn schemes(answer: &Answer) -> Vec<String> {
    let challenges = answer.challenges().into_iter();
    challenges.map(|one| one.scheme).collect()
}

async fn send(app: &Router, fields: &[(&str, &str)]) -> Answer {
    let mut request = Request::get("/maybe").body(Body::empty()).unwrap();
    for (name, value) in fields {
        let name: http::HeaderName = name.parse().unwrap();
        request.headers_mut().append(name, value.parse().unwrap());
    }
    ask(app, request).await
}

#[tokio::test]
async fn a_token_with_an_unsupported_scheme_is_rejected_and_not_ignored() {
    let server = server();
    let token = good(&server).sign();
    let cookie = TokenSource::cookie("t").unwrap();
    let optional = layer(&server).optional();
    let apps = [
        ("plain", api(optional.clone()), vec!["Bearer"]),
        (
            "with a cookie",
            api(optional.add_token_source(cookie)),
            vec!["Bearer"],
        ),
        (
            "with DPoP",
            api(dpop_layer(&server).optional()),
            vec!["Bearer", "DPoP"],
        ),
        ("required", api(layer(&server)), vec!["Bearer"]),
    ];
    let mut wrong = Vec::new();
    for (layer, app, offered) in &apps {
        for (name, credentials) in [
            ("DPoP", format!("DPoP {token}")),
            ("dpop", format!("dpop {token}")),
            ("DPoP without a token", "DPoP".to_owned()),
            ("DPoP and two tokens", "DPoP a b".to_owned()),
            ("GNAP", format!("GNAP {token}")),
            ("PoP", format!("pop {token}")),
            ("MAC", "MAC id=\"x\", mac=\"y\"".to_owned()),
            ("OAuth", format!("OAuth {token}")),
            ("longer Bearer", format!("BearerToken {token}")),
            ("X-Bearer", format!("X-Bearer {token}")),
            ("no space", format!("Bearer{token}")),
            ("Baerer", format!("Baerer {token}")),
            ("Bearr", format!("bearr {token}")),
            ("Barer", format!("Barer {token}")),
            ("no scheme", token.clone()),
            (
                "no scheme, opaque",
                "0123456789abcdef0123456789abcdef01".to_owned(),
            ),
            (
                "no scheme, 32 digits",
                "0123456789abcdef0123456789abcdef".to_owned(),
            ),
        ] {
            let answer = send(app, &[("authorization", &credentials)]).await;
            let with_dpop = *layer == "with DPoP" && credentials.to_lowercase().starts_with("dpop");
            let told = answer.headers.contains_key("www-authenticate");
            let is_refused = match with_dpop {
                true => [400, 401].contains(&answer.status.as_u16()) && told,
                false => answer.status == 401 && schemes(&answer) == *offered,
            };
            if !is_refused {
                wrong.push(format!(
                    "{layer}, {name}: {} {:?}",
                    answer.status, answer.body
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn an_unsupported_scheme_has_no_error_code_and_the_log_names_the_setting() {
    let server = server();
    let app = api(layer(&server).optional());
    let answer = send(&app, &[("authorization", "DPoP abc")]).await;
    assert_eq!(
        answer.challenge().parameters,
        [("realm".to_owned(), "api".to_owned())]
    );
    let Some(refusal @ Refusal::UnsupportedCredentials { .. }) = answer.refusal else {
        panic!("{answer:?}");
    };
    assert!(refusal.to_string().contains("with_dpop"), "{refusal}");
    assert!(!refusal.to_string().contains("abc"), "{refusal}");
}

/// RFC 9110 §5.3: intermediaries join field lines with a comma, so two credentials in one line are rejected like two lines.
#[tokio::test]
async fn an_access_token_joined_to_other_credentials_is_not_ignored() {
    let server = server();
    let token = good(&server).sign();
    let cookie = TokenSource::cookie("t").unwrap();
    for (layer, app) in [
        ("optional", api(layer(&server).optional())),
        (
            "with a cookie",
            api(layer(&server).optional().add_token_source(cookie)),
        ),
        ("with DPoP", api(dpop_layer(&server).optional())),
        ("required", api(layer(&server))),
    ] {
        for credentials in [
            format!("Basic YTpi, Bearer {token}"),
            format!("Basic YTpi,Bearer {token}"),
            format!("Basic YTpi ,\tbearer  {token}"),
            format!("Basic YTpi, , Bearer {token}, Basic YTpi"),
            format!("Negotiate YII=, DPoP {token}"),
            format!("Digest username=\"a\", realm=\"b\", Bearer {token}"),
            format!("Token abc, OAuth {token}"),
            format!("Bearer {token}, Basic YTpi"),
            format!("Bearer {token}, Bearer {token}"),
        ] {
            let answer = send(&app, &[("authorization", &credentials)]).await;
            let shown = credentials.replace(&token, "..");
            assert_eq!(answer.status, 400, "{layer}: {shown}");
        }
    }
}

/// Another layer may handle them.
#[tokio::test]
async fn schemes_of_other_layers_are_anonymous() {
    let server = server();
    let app = api(layer(&server).optional());
    for credentials in [
        "Basic YTpi",
        "Negotiate YII=",
        "NTLM TlRM",
        "Digest username=\"a\"",
        "Digest username=\"a\", bearer=\"b\", algorithm=MD5",
        "HOBA result=\"a\"",
        "Hawk id=\"a\", ts=\"1\"",
        "SharedAccessSignature sr=a&sig=b",
        "Negotiate",
        "NTLM",
        "AWS4-HMAC-SHA256 Credential=a/b, Signature=c",
        "Token abc",
        "undefined",
    ] {
        let answer = send(&app, &[("authorization", credentials)]).await;
        assert_eq!(
            (answer.status.as_u16(), &*answer.body),
            (200, "anonymous"),
            "{credentials}"
        );
    }
}

#[tokio::test]
async fn a_proof_of_possession_without_a_token_is_not_anonymous() {
    let server = server();
    for (name, app) in [
        ("without DPoP", api(layer(&server).optional())),
        ("with DPoP", api(dpop_layer(&server).optional())),
    ] {
        for proof in ["a proof", ""] {
            let answer = send(&app, &[("dpop", proof)]).await;
            assert_eq!(answer.status, 401, "{name} {proof:?}");
            assert!(answer.headers.contains_key("www-authenticate"), "{name}");
        }
    }
}

/// A token in another place does not hide the malformed one in `Authorization`.
#[tokio::test]
async fn a_token_of_another_source_beside_an_unsupported_scheme_is_rejected() {
    let server = server();
    let token = good(&server).sign();
    let source = TokenSource::header("x-token").unwrap();
    let app = api(layer(&server).optional().add_token_source(source));
    let alone = send(&app, &[("x-token", &token)]).await;
    assert_eq!(alone.status, 200);
    for (name, fields) in [
        (
            "DPoP",
            vec![("x-token", &*token), ("authorization", "DPoP abc")],
        ),
        ("twice", vec![("x-token", &*token), ("x-token", &*token)]),
        ("empty", vec![("x-token", "")]),
    ] {
        let answer = send(&app, &fields).await;
        assert_eq!(answer.status, 400, "{name}");
    }
    for bad in ["authorization", "Cookie", "", "a b", "é"] {
        assert!(TokenSource::header(bad).is_err(), "{bad:?}");
    }
}
