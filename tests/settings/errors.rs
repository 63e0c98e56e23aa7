//! Invalid settings: each error names the setting, and none contains a secret.

use serde::Deserialize as _;
use serde::de::value::Error as ValueError;
use serde::de::{DeserializeOwned, IntoDeserializer};
use serde_json::json;
use tower_oauth::settings::{BearerSettings, ClientMetadataSettings, LoginSettings, SecretText};

use crate::files::Folder;
use crate::login::{COOKIE_KEY, PUBLIC, read, text};
use crate::support::keys::ED25519_PEM as PEM;

const SECRET: &str = "correct horse";

fn unreadable<T: DeserializeOwned>(text: &str) -> String {
    let read: Result<T, _> = toml::from_str(text);
    read.err()
        .unwrap_or_else(|| panic!("{text}"))
        .message()
        .to_owned()
}

#[test]
fn unknown_and_missing_settings_and_wrong_values_are_errors_of_the_reader() {
    for (text, expected) in [
        (
            text("redirect_url = 'x'", "", PUBLIC),
            &["redirect_url", "redirect_uri"][..],
        ),
        (text("", "isuer = 'x'", PUBLIC), &["isuer", "issuer"]),
        (
            text("", "", "id = 'shop'\nsecretfile = 'x'"),
            &["secretfile", "secret_file"],
        ),
        (
            text("", "server = { timeout = 3 }", PUBLIC),
            &["timeout", "metadata_url"],
        ),
        (
            text("", "end_session = { endpoint = 'x' }", PUBLIC),
            &["redirect_parameter"],
        ),
        (text("", "", "authentication = 'none'"), &["missing", "id"]),
        (text("same_site = 'none'", "", PUBLIC), &["none", "strict"]),
        (text("csrf = 'off'", "", PUBLIC), &["off", "same_origin"]),
        (text("session_limit = '8'", "", PUBLIC), &["\"8\"", "8h"]),
        (
            text("session_limit = 8", "", PUBLIC),
            &["integer", "string"],
        ),
        (text("session_limit = '8 h'", "", PUBLIC), &["8 h"]),
        (text("session_limit = 'h'", "", PUBLIC), &["\"h\""]),
        (text("session_limit = ''", "", PUBLIC), &["\"\""]),
        (text("session_limit = '+8h'", "", PUBLIC), &["+8h"]),
        (text("session_limit = '1.5h'", "", PUBLIC), &["1.5h"]),
        (text("session_limit = '8h30m'", "", PUBLIC), &["8h30m"]),
        (
            text("session_limit = '9999999999999999999d'", "", PUBLIC),
            &["invalid duration"],
        ),
        (text("session_limit = '8ü'", "", PUBLIC), &["8ü"]),
        (
            text("browser_session_cookie = 'yes'", "", PUBLIC),
            &["boolean"],
        ),
        (
            text("", "response_mode = 'fragment'", PUBLIC),
            &["fragment", "form_post.jwt"],
        ),
        (text("", "fapi2 = true", PUBLIC), &["string"]),
        (
            text("", "", "id = 'shop'\nauthentication = 'password'"),
            &["password", "private_key_jwt"],
        ),
        (
            text("", "", "id = 'shop'\nsecret = 4711"),
            &["a secret must be a string"],
        ),
        (
            text("", "", "id = 'shop'\nsecret = true"),
            &["a secret must be a string"],
        ),
        (
            text("", "", "id = 'shop'\nsecret = 1.5"),
            &["a secret must be a string"],
        ),
        (
            text("[client_metadata]\nclient_secret = 'x'", "", PUBLIC),
            &["client_secret"],
        ),
    ] {
        let error = unreadable::<LoginSettings>(&text);
        for part in expected {
            assert!(error.contains(part), "{part} in {error}");
        }
        assert!(!error.contains("4711"), "{error}");
    }
    for (text, part) in [
        ("audience = 'x'", "audience"),
        ("[[issuers]]\nissuer = 'x'\naudience = 'x'", "sequence"),
        (
            "[[issuers]]\nissuer = 'x'\nprofile = 'oidc'",
            "rfc9068_full",
        ),
        ("[introspection]\nissuer = 'x'", "client"),
        ("[dpop]\nrequired = true", "base_url"),
    ] {
        let error = unreadable::<BearerSettings>(text);
        assert!(error.contains(part), "{part} in {error}");
    }
}

#[test]
fn invalid_and_contradictory_settings_of_a_login_name_their_keys() {
    let folder = Folder::new("errors");
    let pem = folder.write("key.pem", PEM);
    let broken = folder.write("broken.pem", SECRET);
    let missing = folder.path().join("missing");
    let missing = missing.to_str().unwrap();
    let client = |settings: &str| text("", "", &format!("id = 'shop'\n{settings}"));
    let further = |settings: &str| {
        format!(
            "[further_providers.{settings}\n[further_providers.staff.client]\nid = 'a'\nauthentication = 'none'"
        )
    };
    let key_line = format!("cookie_key = '{COOKIE_KEY}'");
    for (text, expected) in [
        (
            client("secret = ''"),
            &["provider", "client secret", "must not be empty"][..],
        ),
        (
            client(""),
            &["provider.client: set `secret_file`", "\"none\""],
        ),
        (
            client("secret = 'correct horse'\nsecret_file = 'x'"),
            &["provider.client: set only one of"],
        ),
        (
            client("secret = 'correct horse'\nauthentication = 'none'"),
            &["provider.client: `authentication` needs another credential"],
        ),
        (
            client("authentication = 'private_key_jwt'"),
            &[
                "provider.client: `authentication` needs another credential",
                "private_key_file",
            ],
        ),
        (
            client(&format!("private_key_file = '{missing}'")),
            &[
                "provider.client.private_key_file: private key",
                "does not exist",
            ],
        ),
        (
            client(&format!("private_key_file = '{broken}'")),
            &["provider.client.private_key_file: signing key"],
        ),
        (
            client("private_key = 'correct horse'"),
            &["provider.client.private_key: signing key"],
        ),
        (client("secret = ' '"), &["client secret", "blank"]),
        (
            client("secret = 'x'\nkey_id = 'k'"),
            &["provider.client: `key_id`"],
        ),
        (
            client(&format!(
                "private_key_file = '{pem}'\nkey_algorithm = 'HS256'"
            )),
            &["provider.client.key_algorithm", "HS256"],
        ),
        (
            client(&format!(
                "private_key_file = '{pem}'\nkey_algorithm = 'ES256'"
            )),
            &["provider.client.key_algorithm", "another type of key"],
        ),
        (
            client("secret = 'correct horse'\nspiffe_assertions = true"),
            &["provider", "with_spiffe_assertions"],
        ),
        (
            text("session_limit = '8h'", "", PUBLIC),
            &["`session_limit` and `idle_limit`"],
        ),
        (
            text("session_limit = '1h'\nidle_limit = '2h'", "", PUBLIC),
            &[
                "session_limit, idle_limit: session limit",
                "must not exceed",
            ],
        ),
        (
            text("max_sessions_per_user = 0", "", PUBLIC),
            &["max_sessions_per_user: ", "1 to 256"],
        ),
        (
            text("login_time_limit = '1s'", "", PUBLIC),
            &["login_time_limit: ", "a minute and an hour"],
        ),
        (
            text("path_prefix = 'x'", "", PUBLIC),
            &["path_prefix: path prefix \"x\""],
        ),
        (
            text("route_names = { login = 'a/b' }", "", PUBLIC),
            &["route_names: route name \"a/b\""],
        ),
        (
            text("csrf_header = 'cookie'", "", PUBLIC),
            &["csrf_header: CSRF header"],
        ),
        (
            text(
                "post_logout_redirect_uri = 'https://evil.example'",
                "",
                PUBLIC,
            ),
            &["post_logout_redirect_uri: ", "its origin must be"],
        ),
        (
            text("[client_metadata]\nlogo_uri = 'x'", "", PUBLIC),
            &["client_metadata.logo_uri: logo_uri \"x\""],
        ),
        (
            text(
                "[client_metadata]\nmembers = { client_secret = 'correct horse' }",
                "",
                PUBLIC,
            ),
            &["client_metadata.members: ", "must not contain a secret"],
        ),
        (
            text(
                "[client_metadata]",
                "",
                "id = 'https://shop.example.com/x'\nauthentication = 'none'",
            ),
            &[
                "client_metadata: client id",
                "https://shop.example.com/auth/client-metadata.json",
            ],
        ),
        (
            text("", "scopes = 'email'", PUBLIC),
            &["provider.scopes: ", "`openid` is missing"],
        ),
        (
            text("", "authorization_parameters = { state = 'x' }", PUBLIC),
            &["provider.authorization_parameters: ", "state"],
        ),
        (
            text("", "resources = ['x']", PUBLIC),
            &["provider.resources: "],
        ),
        (
            text("", "authorization_details = 7", PUBLIC),
            &["provider.authorization_details: "],
        ),
        (
            text("", "requested_claims = 7", PUBLIC),
            &["provider.requested_claims: "],
        ),
        (
            text("", "id_token_algorithms = ['none']", PUBLIC),
            &["provider.id_token_algorithms: ", "\"none\""],
        ),
        (text("", "leeway = '2h'", PUBLIC), &["provider.leeway: "]),
        (
            text("", "server = { metadata_url = 'x' }", PUBLIC),
            &["provider.server.metadata_url: "],
        ),
        (
            text("", "server = { outage_limit = '2d' }", PUBLIC),
            &["provider.server.outage_limit: "],
        ),
        (
            text("", "name = 'A b'", PUBLIC),
            &["provider: provider name \"A b\""],
        ),
        (
            text("", "fapi2 = 'security_profile'", PUBLIC),
            &["provider.fapi2: "],
        ),
        (
            text("", "fapi2 = 'message_signing'", PUBLIC),
            &["provider: ", "`request_key_file`"],
        ),
        (
            text("", "request_key_id = 'a'", PUBLIC),
            &["provider: `request_key_id` needs"],
        ),
        (
            text(
                &further("staff]\nissuer = 'http://plain.example'"),
                "",
                PUBLIC,
            ),
            &["further_providers.staff.issuer: issuer \"http://plain.example\""],
        ),
        (
            text(
                &further("staff]\nissuer = 'https://a.example'\nname = 'x'"),
                "",
                PUBLIC,
            ),
            &["further_providers.staff: ", "remove `name`"],
        ),
        (
            text(
                &further("staff]\nissuer = 'https://a.example'"),
                "name = 'staff'",
                PUBLIC,
            ),
            &["further_providers.staff: provider name \"staff\""],
        ),
        (
            text("", "", PUBLIC).replace(&key_line, ""),
            &["set `cookie_key_file` or `cookie_key`"],
        ),
        (
            text("cookie_key_file = 'x'", "", PUBLIC),
            &["set `cookie_key` or `cookie_key_file`, not both"],
        ),
        (
            text("", "", PUBLIC).replace(&key_line, &format!("cookie_key_file = '{missing}'")),
            &["cookie_key_file: cookie key", "does not exist"],
        ),
        (
            text("", "", PUBLIC).replace(&key_line, "cookie_key = 'correct horse'"),
            &["cookie_key: cookie key"],
        ),
        (
            text("", "", PUBLIC).replace("https://shop", "http://shop"),
            &["redirect URI \"http://shop.example.com/auth/callback\""],
        ),
        (
            text("", "", PUBLIC).replace("https://id", "ftp://id"),
            &["provider.issuer: issuer \"ftp://id.example.test\""],
        ),
    ] {
        let built = read(&text).build();
        let error = built.err().unwrap_or_else(|| panic!("{text}")).to_string();
        for part in expected {
            assert!(error.contains(part), "{part} in {error}");
        }
        assert!(!error.contains(SECRET), "{error}");
    }
}

/// Readers pass on what they have read: the default error of serde quotes it.
#[test]
fn an_error_never_quotes_a_secret_of_another_type() {
    fn rejected<'de>(value: impl IntoDeserializer<'de, ValueError>) {
        let read = SecretText::deserialize(value.into_deserializer());
        let error = read.unwrap_err().to_string();
        assert_eq!(error, "a secret must be a string");
    }
    rejected(true);
    rejected(7_i8);
    rejected(-4711_i64);
    rejected(4711_u64);
    rejected(123_456_789_012_345_678_901_234_567_890_u128);
    rejected(-123_456_789_012_345_678_901_234_567_890_i128);
    rejected(1.5_f32);
    rejected(1.5_f64);
    rejected(SECRET.as_bytes());
    for value in [json!({ SECRET: SECRET }), json!([SECRET]), json!(null)] {
        let error = SecretText::deserialize(value).unwrap_err().to_string();
        assert!(!error.contains(SECRET), "{error}");
    }
}

/// A private key among the published ones is a mistake that `build` rejects; `Debug` may show it before.
#[test]
fn debug_shows_neither_the_keys_nor_the_values_of_client_metadata() {
    let settings = json!({
        "keys": [{ "kty": "OKP", "d": SECRET }], "members": { "client_secret": SECRET },
    });
    let settings: ClientMetadataSettings = serde_json::from_value(settings).unwrap();
    let shown = format!("{settings:?}");
    assert!(!shown.contains(SECRET), "{shown}");
    assert!(shown.contains("client_secret"), "{shown}");
}

#[tokio::test]
async fn a_missing_secret_file_is_reported_by_ready() {
    let settings = text("", "", "id = 'shop'\nsecret_file = '/nonexistent/secret'");
    let server = tower_oauth::testing::TestServer::new(crate::support::shop::ISSUER).unwrap();
    let login = read(&settings).build_with(|_| Ok(server.authorization_server()));
    let error = login.unwrap().ready().await.unwrap_err();
    assert!(error.to_string().contains("/nonexistent/secret"), "{error}");
}

#[test]
fn invalid_and_contradictory_settings_of_an_api_name_their_keys() {
    let issuer = |settings: &str| {
        format!("[[issuers]]\nissuer = 'https://id.example.test'\naudience = ['api']\n{settings}")
    };
    let introspection = |settings: &str| {
        format!(
            "[introspection]\nissuer = 'https://id.example.test'\naudience = ['api']\n\
             client = {{ id = 'api', secret = 'correct horse' }}\n{settings}"
        )
    };
    for (text, expected) in [
        (String::new(), &["set `issuers` or `introspection`"][..]),
        (
            issuer("").replace("audience = ['api']", ""),
            &["issuers[0]: set `audience`"],
        ),
        (
            issuer("clients = ['a']"),
            &["issuers[0]: set `audience` or `clients`, not both"],
        ),
        (
            issuer("").replace("'api'", "''"),
            &["issuers[0].audience: audience \"\""],
        ),
        (
            issuer("algorithms = ['HS256']"),
            &["issuers[0].algorithms: ", "HS256"],
        ),
        (issuer("leeway = '2h'"), &["issuers[0].leeway: "]),
        (issuer("max_age = '0s'"), &["issuers[0].max_age: "]),
        (issuer("scopes_from = []"), &["issuers[0].scopes_from: "]),
        (
            issuer("server = { metadata_url = 'x' }"),
            &["issuers[0].server.metadata_url: "],
        ),
        (
            format!("{}\n{}", issuer(""), issuer("")),
            &["issuers: issuer"],
        ),
        (format!("realm = ''\n{}", issuer("")), &["realm: realm"]),
        (
            format!("scope_hint = '\"'\n{}", issuer("")),
            &["scope_hint: scope"],
        ),
        (
            format!("dpop = {{ base_url = 'ftp://x' }}\n{}", issuer("")),
            &["dpop.base_url: "],
        ),
        (
            format!(
                "dpop = {{ base_url = 'https://x.example', nonce_key = 'correct horse' }}\n{}",
                issuer("")
            ),
            &["dpop.nonce_key: "],
        ),
        (
            format!(
                "dpop = {{ base_url = 'https://x.example', further_base_urls = ['x'] }}\n{}",
                issuer("")
            ),
            &["dpop.further_base_urls: "],
        ),
        (
            format!(
                "dpop = {{ base_url = 'https://x.example', max_age = '9d' }}\n{}",
                issuer("")
            ),
            &["dpop.max_age: "],
        ),
        (
            format!(
                "dpop = {{ base_url = 'https://x.example', leeway = '9d' }}\n{}",
                issuer("")
            ),
            &["dpop.leeway: "],
        ),
        (
            format!(
                "dpop = {{ base_url = 'https://x.example', algorithms = [] }}\n{}",
                issuer("")
            ),
            &["dpop.algorithms: "],
        ),
        (
            format!(
                "fapi2_security_profile = true\n{}",
                issuer("algorithms = ['RS256']")
            ),
            &["fapi2_security_profile: "],
        ),
        (
            issuer("server = { revocation_endpoint = 'https://id.example.test/revoke' }"),
            &["issuers[0].server.revocation_endpoint: it has an effect with a login layer only"],
        ),
        (
            introspection("server = { revocation_endpoint = 'https://id.example.test/revoke' }"),
            &["introspection.server.revocation_endpoint: "],
        ),
        (
            introspection("endpoint = 'x'"),
            &["introspection.endpoint: "],
        ),
        (
            introspection("cache_ttl = '9d'"),
            &["introspection.cache_ttl: "],
        ),
        (
            introspection("negative_cache_ttl = '9d'"),
            &["introspection.negative_cache_ttl: "],
        ),
        (introspection("leeway = '2h'"), &["introspection.leeway: "]),
        (
            introspection("concurrency = 0"),
            &["introspection.concurrency: "],
        ),
        (
            introspection("").replace("secret = 'correct horse'", "authentication = 'none'"),
            &["introspection: "],
        ),
        (
            introspection("").replace(
                "secret = 'correct horse'",
                "secret_file = 'a', secret = 'b'",
            ),
            &["introspection.client: set only one of"],
        ),
    ] {
        let settings: BearerSettings =
            toml::from_str(&text).unwrap_or_else(|error| panic!("{error}"));
        let built = settings.build();
        let error = built.err().unwrap_or_else(|| panic!("{text}")).to_string();
        for part in expected {
            assert!(error.contains(part), "{part} in {error}");
        }
        assert!(!error.contains(SECRET), "{error}");
    }
}
