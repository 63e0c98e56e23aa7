//! The variables of the example.

use std::error::Error;

use tower_oauth::Algorithm;

use super::configuration::Configuration;
use crate::support::keys::ED25519_PEM;

/// Reads these variables beside those that are required.
fn read(variables: &[(&str, &str)]) -> Result<Configuration, Box<dyn Error>> {
    let required = [
        ("ISSUER", "https://id.example.com"),
        ("CLIENT_ID", "a"),
        ("CLIENT_SECRET", "b"),
    ];
    let all = || variables.iter().chain(&required);
    Configuration::read(|wanted| {
        let variable = all().find(|(name, _)| *name == wanted);
        variable.map(|(_, value)| (*value).to_owned())
    })
}

#[test]
fn a_wrong_variable_is_named() {
    for (name, value) in [
        ("ISSUER", ""),
        ("CLIENT_ID", ""),
        ("CLIENT_SECRET", ""),
        ("CLIENT_AUTH", "secret"),
        ("SESSIONS", "redis"),
        ("REQUEST", "signed"),
        ("PROFILE", "fapi"),
        ("CLAIMS", "{"),
        ("SENDER", "key"),
        ("RESPONSE_MODE", "fragment"),
        ("ID_TOKEN_ALG", "HS256"),
        ("TLS_CERT", "rp.pem"),
        ("CLIENT_CERT", "client.pem"),
        ("USERINFO", "maybe"),
    ] {
        let error = read(&[(name, value)]).err().unwrap().to_string();
        assert!(error.contains(name), "{name}: {error}");
    }
}

/// With `private_key_jwt`, which needs the key.
#[test]
fn a_wrong_variable_of_the_client_key_is_named() {
    let folder = std::env::temp_dir();
    let file = folder.join(format!("certification-key-{}.pem", std::process::id()));
    std::fs::write(&file, ED25519_PEM).unwrap();
    let file = file.to_str().unwrap();
    for (key, algorithm, named) in [
        ("", "", "CLIENT_KEY"),
        ("/nowhere/key.pem", "", "/nowhere/key.pem"),
        (file, "ES512", "CLIENT_KEY_ALG"),
    ] {
        let error = read(&[
            ("CLIENT_AUTH", "private_key_jwt"),
            ("CLIENT_KEY", key),
            ("CLIENT_KEY_ALG", algorithm),
        ]);
        let error = error.err().unwrap().to_string();
        assert!(error.contains(named), "{key} {algorithm}: {error}");
    }
    std::fs::remove_file(file).unwrap();
}

/// RFC 9864 §2.2.
#[test]
fn ed25519_and_eddsa_are_one_algorithm() {
    for name in ["Ed25519", "EdDSA"] {
        let read = read(&[("ID_TOKEN_ALG", name)]).unwrap();
        assert_eq!(read.id_token_algorithm, Some(Algorithm::EdDsa), "{name}");
    }
}

#[test]
fn unsigned_responses_are_an_error_with_message_signing() {
    let folder = std::env::temp_dir();
    let file = folder.join(format!("certification-mode-{}.pem", std::process::id()));
    std::fs::write(&file, ED25519_PEM).unwrap();
    let file = file.to_str().unwrap();
    for (profile, mode, is_error) in [
        ("fapi2_message_signing", "query", true),
        ("fapi2_message_signing", "form_post", true),
        ("fapi2_message_signing", "jwt", false),
        ("fapi2_message_signing", "form_post.jwt", false),
        ("fapi2_message_signing", "", false),
        ("fapi2_security", "query", false),
        ("oidc", "form_post", false),
    ] {
        let error = read(&[
            ("PROFILE", profile),
            ("RESPONSE_MODE", mode),
            ("CLIENT_KEY", file),
        ]);
        let error = error.err().map(|error| error.to_string());
        assert_eq!(error.is_some(), is_error, "{profile} {mode}: {error:?}");
        assert!(error.is_none_or(|error| error.contains("RESPONSE_MODE")));
    }
    std::fs::remove_file(file).unwrap();
}

#[test]
fn tokens_without_a_sender_constraint_are_an_error_with_a_profile_of_fapi() {
    for (profile, sender, is_error) in [
        ("fapi2_security", "none", true),
        ("fapi2_security", "", false),
        ("fapi2_security", "dpop", false),
        ("oidc", "none", false),
    ] {
        let error = read(&[("PROFILE", profile), ("SENDER", sender)]).err();
        assert_eq!(error.is_some(), is_error, "{profile} {sender}: {error:?}");
    }
}
