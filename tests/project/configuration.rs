//! An invalid setting is rejected by the method that sets it, with its value in the error.

use std::time::Duration;

use tower_oauth::token::Audience;
use tower_oauth::{AuthorizationServer, BearerLayer, ConfigError, ScopeLayer};

use crate::support::api::{self, server};

/// Asserts that the error contains the debug form of the value.
fn shows(error: &ConfigError, value: &str) {
    let message = error.to_string();
    assert!(
        message.contains(&format!("{value:?}")),
        "{value:?} is not in {message:?}"
    );
}

#[test]
fn an_issuer_is_an_absolute_https_url() {
    for issuer in [
        "",
        " ",
        "id.example.test",
        "//id.example.test",
        "http://id.example.test",
        "http://127.0.0.1.example.test",
        "http://localhost.example.test",
        "http://192.168.0.1",
        "http://0.0.0.0",
        "http://[::2]",
        "ftp://id.example.test",
        "file:///etc/passwd",
        "data:,x",
        "javascript:alert(1)",
        "https://",
        "https:id.example.test",
        "https:/id.example.test",
        "https:///id.example.test",
        "https:\\\\id.example.test",
        "https://id.example.test\\x",
        "https://id.example.test?tenant=a",
        "https://id.example.test#a",
        "https://id.example.test/?",
        "https://id.example.test/#",
        "https://user@id.example.test",
        "https://user:secret@id.example.test",
        "https://@id.example.test",
        "https://:@id.example.test",
        " https://id.example.test",
        "https://id.example.test ",
        "https://id.example.test\n",
        "https://id.exa\tmple.test",
        "https://id.example.test/a b",
        "https://\u{456}d.example.test",
        "https://id.example.test/\u{e4}",
        "https://id.example.test\u{0}",
        "https://id.example.test:99999",
        "https://[::1",
        "https://id%00.example.test",
        // A resolver may ask the network for names below `localhost`.
        "http://id.localhost:9000",
        "http://localhost.:9000",
    ] {
        let error = AuthorizationServer::new(issuer).expect_err(issuer);
        assert!(matches!(error, ConfigError::Issuer { .. }), "{issuer:?}");
        shows(&error, issuer);
    }
    for issuer in [
        "https://id.example.test",
        "https://id.example.test/",
        "https://id.example.test:8443/tenant/a_b~c",
        "https://id.example.test/a%20b",
        "https://203.0.113.1",
        "https://[2001:db8::1]",
        "http://localhost",
        "http://127.0.0.1:9000",
        "http://[::1]:9000/tenant",
    ] {
        assert_eq!(AuthorizationServer::new(issuer).unwrap().issuer(), issuer);
    }
}

#[test]
fn an_audience_is_required_and_not_empty() {
    let server = server().authorization_server();
    for (audience, value) in [
        (Audience::from(""), ""),
        (Audience::from("  "), "  "),
        (Audience::from("\t"), "\t"),
        (Audience::from(String::new()), ""),
        (Audience::from(["https://api.example.test", ""]), ""),
        (Audience::AnyOf(Vec::new()), ""),
    ] {
        let error = BearerLayer::jwt(&server, audience).unwrap_err();
        assert!(matches!(error, ConfigError::Audience { .. }));
        shows(&error, value);
    }
    assert!(BearerLayer::jwt(&server, "api").is_ok());
    assert!(BearerLayer::jwt(&server, Audience::Unchecked).is_ok());
}

#[test]
fn a_scope_has_only_characters_that_rfc_6749_allows() {
    for (list, value) in [
        ("a\"b", "a\"b"),
        ("fine a\"b", "a\"b"),
        ("a\\b", "a\\b"),
        ("a\tb", "a\tb"),
        ("a\nb", "a\nb"),
        ("a\r\nSet-Cookie: x", "a\r\nSet-Cookie:"),
        ("\u{e4}", "\u{e4}"),
        ("\u{7f}", "\u{7f}"),
        ("\u{0}", "\u{0}"),
        ("", ""),
        ("   ", "   "),
    ] {
        for refused in [
            ScopeLayer::all(list),
            ScopeLayer::any(list),
            ScopeLayer::any_of_all(["fine", list]),
        ] {
            let error = refused.expect_err(list);
            assert!(matches!(error, ConfigError::Scope { .. }), "{list:?}");
            shows(&error, value);
        }
    }
    assert!(ScopeLayer::any_of_all([]).is_err());
    assert!(ScopeLayer::all("https://api.example.test/orders.read !#[]~").is_ok());
}

#[test]
fn a_realm_has_only_characters_that_need_no_escaping() {
    let layer = || api::layer(&server());
    for realm in [
        "",
        "a\"b",
        "a\\b",
        "a\r\nb",
        "a\tb",
        "\u{e4}",
        "\u{7f}",
        "\u{1f600}",
        "a\u{0}",
    ] {
        let error = layer().with_realm(realm).expect_err(realm);
        assert!(matches!(
            error,
            ConfigError::Setting {
                setting: "realm",
                ..
            }
        ));
        shows(&error, realm);
    }
    assert!(layer().with_realm("notes, of 'Alice' (all)").is_ok());
}

#[test]
fn durations_are_bounded_and_do_not_overflow() {
    let verifier = || api::verifier(&server());
    for (leeway, fine) in [
        (Duration::ZERO, true),
        (Duration::from_secs(300), true),
        (Duration::from_millis(300_001), false),
        (Duration::from_secs(301), false),
        (Duration::MAX, false),
    ] {
        let set = verifier().with_leeway(leeway);
        assert_eq!(set.is_ok(), fine, "{leeway:?}");
        if let Err(error) = set {
            assert!(
                error.to_string().contains(&format!("{leeway:?}")),
                "{error}"
            );
        }
    }
    for (limit, fine) in [
        (Duration::ZERO, true),
        (Duration::from_secs(86_400), true),
        (Duration::from_secs(86_401), false),
        (Duration::MAX, false),
    ] {
        let set = server().authorization_server().with_outage_limit(limit);
        assert_eq!(set.is_ok(), fine, "{limit:?}");
        if let Err(error) = set {
            assert!(error.to_string().contains(&format!("{limit:?}")), "{error}");
        }
    }
    let error = verifier()
        .with_max_age(Duration::from_millis(999))
        .unwrap_err();
    assert!(error.to_string().contains("999ms"), "{error}");
}

#[test]
fn algorithms_are_asymmetric_and_at_least_one_is_required() {
    let verifier = || api::verifier(&server());
    assert!(verifier().with_algorithms([]).is_err());
    // Only algorithms of the type can be allowed, and all of them are asymmetric.
    let all = [
        tower_oauth::Algorithm::Rs256,
        tower_oauth::Algorithm::Rs384,
        tower_oauth::Algorithm::Rs512,
        tower_oauth::Algorithm::Ps256,
        tower_oauth::Algorithm::Ps384,
        tower_oauth::Algorithm::Ps512,
        tower_oauth::Algorithm::Es256,
        tower_oauth::Algorithm::Es384,
        tower_oauth::Algorithm::EdDsa,
    ];
    assert!(
        all.iter()
            .all(|one| !one.name().starts_with("HS") && one.name() != "none")
    );
    assert!(verifier().with_algorithms(all).is_ok());
}
