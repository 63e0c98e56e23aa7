//! The settings of a login layer.

use std::time::Duration;

use serde_json::json;
use tower_oauth::login::{
    ClientMetadata, Csrf, PushedRequests, ResponseMode, RouteNames, SameSite,
};
use tower_oauth::settings::LoginSettings;
use tower_oauth::testing::{TestClient, TestServer, TestUser};
use tower_oauth::{
    Algorithm, AuthorizationServer, Client, ConfigError, CookieKey, CredentialSource, LoginLayer,
    Provider, SigningKey,
};

use crate::files::Folder;
use crate::support::keys::ED25519_PEM as PEM;
use crate::support::shop::{CALLBACK, ISSUER, LOGOUT, SHOP, app};

pub const COOKIE_KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// Settings with some of the layer and some of its provider.
pub fn text(layer: &str, provider: &str, client: &str) -> String {
    format!(
        "redirect_uri = '{CALLBACK}'\ncookie_key = '{COOKIE_KEY}'\n{layer}\n\
         [provider]\nissuer = '{ISSUER}'\n{provider}\n[provider.client]\n{client}\n"
    )
}

pub const PUBLIC: &str = "id = 'shop'\nauthentication = 'none'";

pub fn read(text: &str) -> LoginSettings {
    toml::from_str(text).unwrap_or_else(|error| panic!("{error}"))
}

fn from_code(client: Client) -> LoginLayer {
    let server = AuthorizationServer::new(ISSUER).unwrap();
    let key = CookieKey::from_text(COOKIE_KEY).unwrap();
    LoginLayer::new(&server, client, CALLBACK, key).unwrap()
}

/// All settings of a layer, without its number.
pub fn shown(login: &LoginLayer) -> String {
    let shown = format!("{login:?}");
    let (before, after) = shown.split_once("layer: ").unwrap();
    let after = after.trim_start_matches(|one: char| one.is_ascii_digit());
    format!("{before}{after}")
}

type Row = (
    &'static str,
    fn(LoginLayer) -> Result<LoginLayer, ConfigError>,
);

/// In the table of the layer.
const LAYER: &[Row] = &[
    (
        "post_logout_redirect_uri = 'https://shop.example.com/auth/logout'",
        |login| login.with_post_logout_redirect_uri(LOGOUT),
    ),
    ("default_return_to = '/home'", |login| {
        login.with_default_return_to("/home")
    }),
    ("path_prefix = '/auth'", |login| {
        login.with_path_prefix("/auth")
    }),
    (
        "route_names = { login = 'a', logout = 'b', session = 'c', backchannel_logout = 'd', \
         frontchannel_logout = 'e', client_metadata = 'f', jwks = 'g' }",
        |login| {
            let names = RouteNames::new()
                .with_login("a")
                .with_logout("b")
                .with_session("c");
            let names = names
                .with_backchannel_logout("d")
                .with_frontchannel_logout("e");
            login.with_route_names(names.with_client_metadata("f").with_jwks("g"))
        },
    ),
    ("cookie_name = 'own'", |login| login.with_cookie_name("own")),
    ("same_site = 'strict'", |login| {
        Ok(login.with_same_site(SameSite::Strict))
    }),
    ("browser_session_cookie = true", |login| {
        Ok(login.with_browser_session_cookie())
    }),
    ("csrf = 'static_header'", |login| {
        Ok(login.with_csrf(Csrf::StaticHeader))
    }),
    ("csrf_header = 'x-own'", |login| {
        login.with_csrf_header("x-own")
    }),
    ("session_limit = '12h'\nidle_limit = '90s'", |login| {
        login.with_session_limits(Duration::from_secs(43_200), Duration::from_secs(90))
    }),
    ("max_sessions_per_user = 3", |login| {
        login.with_max_sessions_per_user(3)
    }),
    ("login_time_limit = '15m'", |login| {
        login.with_login_time_limit(Duration::from_secs(900))
    }),
    ("clear_site_data = true", |login| {
        Ok(login.with_clear_site_data())
    }),
    ("third_party_login = true", |login| {
        Ok(login.with_third_party_login())
    }),
    ("unnamed_frontchannel_logout = true", |login| {
        Ok(login.with_unnamed_frontchannel_logout())
    }),
    (
        "[client_metadata]\nclient_name = 'Shop'\nclient_uri = 'https://a.example'\nlogo_uri = 'https://b.example'\n\
         tos_uri = 'https://c.example'\npolicy_uri = 'https://d.example'\nmax_age = '10m'\n\
         members = { contacts = ['a'] }\nkeys = [{ kty = 'OKP', crv = 'Ed25519', kid = 'k', \
         x = '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo' }]",
        |login| {
            let key = json!({ "kty": "OKP", "crv": "Ed25519", "kid": "k",
                "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" });
            let metadata = ClientMetadata::new()
                .with_client_name("Shop")
                .with_max_age(Duration::from_secs(600))
                .with_client_uri("https://a.example")?
                .with_logo_uri("https://b.example")?
                .with_tos_uri("https://c.example")?
                .with_policy_uri("https://d.example")?
                .with_member("contacts", json!(["a"]))?
                .add_key(&key)?;
            login.with_client_metadata(metadata)
        },
    ),
];

/// In the table of the provider.
const PROVIDER: &[Row] = &[
    ("scopes = 'openid email'", |login| {
        login.with_scopes("openid email")
    }),
    (
        "authorization_parameters = { audience = 'api', prompt = 'consent' }",
        |login| {
            let login = login.with_authorization_parameter("audience", "api")?;
            login.with_authorization_parameter("prompt", "consent")
        },
    ),
    (
        "resources = ['https://a.example', 'https://b.example']",
        |login| {
            login
                .add_resource("https://a.example")?
                .add_resource("https://b.example")
        },
    ),
    ("authorization_details = [{ type = 'payment' }]", |login| {
        login.with_authorization_details(json!([{ "type": "payment" }]))
    }),
    (
        "requested_claims = { userinfo = { email = { essential = true } } }",
        |login| {
            login.with_requested_claims(json!({ "userinfo": { "email": { "essential": true } } }))
        },
    ),
    ("pushed_requests = 'required'", |login| {
        Ok(login.with_pushed_requests(PushedRequests::Required))
    }),
    ("response_mode = 'form_post.jwt'", |login| {
        Ok(login.with_response_mode(ResponseMode::FormPostJwt))
    }),
    ("dpop = true", |login| Ok(login.with_dpop())),
    ("id_token_algorithms = ['ES256', 'PS256']", |login| {
        login.with_id_token_algorithms([Algorithm::Es256, Algorithm::Ps256])
    }),
    ("trusted_audiences = ['project']", |login| {
        login.with_trusted_audiences(["project"])
    }),
    ("leeway = '45s'", |login| {
        login.with_leeway(Duration::from_secs(45))
    }),
    ("default_token_lifetime = '77s'", |login| {
        Ok(login.with_default_token_lifetime(Duration::from_secs(77)))
    }),
    (
        "end_session = { endpoint = 'https://id.example.test/leave', redirect_parameter = 'back' }",
        |login| login.with_end_session_endpoint("https://id.example.test/leave", "back"),
    ),
    ("name = 'staff'\ndisplay_name = 'Example Inc.'", |login| {
        login.with_provider_name("staff", "Example Inc.")
    }),
];

#[test]
fn each_setting_is_that_of_its_method() {
    let plain = shown(&from_code(Client::public("shop")));
    let layers = LAYER.iter().map(|row| (text(row.0, "", PUBLIC), row));
    let providers = PROVIDER.iter().map(|row| (text("", row.0, PUBLIC), row));
    for (text, (name, change)) in layers.chain(providers) {
        let built = read(&text)
            .build()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let expected = shown(&change(from_code(Client::public("shop"))).unwrap());
        assert_eq!(shown(&built), expected, "{name}");
        assert_ne!(expected, plain, "{name} cannot be seen");
    }
    assert_eq!(shown(&read(&text("", "", PUBLIC)).build().unwrap()), plain);
}

#[test]
fn each_kind_of_client_and_key_is_that_of_its_constructor() {
    let folder = Folder::new("clients");
    let (secret, pem) = (folder.write("secret", "s"), folder.write("key.pem", PEM));
    let key = || SigningKey::from_pem(PEM).unwrap();
    let jwk = r#"{"kty":"OKP","crv":"Ed25519","kid":"j","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
        "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    let long = "a secret of at least 32 characters";
    for (settings, expected) in [
        ("secret = 's'".to_owned(), Client::confidential("shop", "s")),
        (
            "secret = 's'\nauthentication = 'client_secret_basic'".to_owned(),
            Client::confidential("shop", "s"),
        ),
        (
            "secret = 's'\nauthentication = 'client_secret_post'".to_owned(),
            Client::confidential_post("shop", "s"),
        ),
        (
            format!("secret = '{long}'\nauthentication = 'client_secret_jwt'"),
            Client::client_secret_jwt("shop", long),
        ),
        (
            format!("secret_file = '{secret}'"),
            Client::confidential("shop", CredentialSource::file(&secret)),
        ),
        (
            format!("private_key_file = '{pem}'\nkey_id = 'k'"),
            Client::private_key_jwt("shop", key().with_key_id("k")),
        ),
        (
            format!(
                "private_key = '''{jwk}'''\nassertion_audience = 'https://id.example.test/token'"
            ),
            Client::private_key_jwt("shop", SigningKey::from_jwk(jwk).unwrap())
                .with_assertion_audience("https://id.example.test/token"),
        ),
        (
            format!(
                "private_key = '''{PEM}'''\nkey_algorithm = 'EdDSA'\nuntyped_assertions = true"
            ),
            Client::private_key_jwt("shop", key()).with_untyped_assertions(),
        ),
        (
            format!("assertion_file = '{secret}'\nspiffe_assertions = true"),
            Client::federated_assertion("shop", CredentialSource::file(&secret))
                .with_spiffe_assertions(),
        ),
        (
            "authentication = 'tls'".to_owned(),
            Client::mutual_tls("shop"),
        ),
        (
            "authentication = 'none'\nunlisted_method = true\ncertificate_bound_tokens = true"
                .to_owned(),
            Client::public("shop")
                .with_unlisted_method()
                .with_certificate_bound_tokens(),
        ),
    ] {
        let client = format!("id = 'shop'\n{settings}");
        let built = read(&text("", "", &client)).build();
        let built = built.unwrap_or_else(|error| panic!("{settings}: {error}"));
        assert_eq!(shown(&built), shown(&from_code(expected)), "{settings}");
    }
}

#[test]
fn the_profiles_and_signed_requests_have_the_key_of_the_file() {
    let folder = Folder::new("profiles");
    let pem = folder.write("key.pem", PEM);
    let client = format!("id = 'shop'\nprivate_key_file = '{pem}'");
    let key = || SigningKey::from_pem(PEM).unwrap();
    let code = || from_code(Client::private_key_jwt("shop", key()));
    for (settings, expected) in [
        (
            "fapi2 = 'security_profile'".to_owned(),
            code().with_fapi2_security_profile(),
        ),
        (
            format!("fapi2 = 'message_signing'\nrequest_key_file = '{pem}'\nrequest_key_id = 'r'"),
            code().with_fapi2_message_signing(key().with_key_id("r")),
        ),
        (
            format!("request_key = '''{PEM}'''"),
            Ok(code().with_signed_requests(key())),
        ),
    ] {
        let built = read(&text("", &settings, &client)).build().unwrap();
        assert_eq!(shown(&built), shown(&expected.unwrap()), "{settings}");
    }
}

#[test]
fn further_providers_are_added_by_their_keys() {
    let further = "[further_providers.b]\nissuer = 'https://b.example'\nscopes = 'openid b'\n\
                   [further_providers.b.client]\nid = 'shop-b'\nauthentication = 'none'\n\
                   [further_providers.a]\nissuer = 'https://a.example'\ndisplay_name = 'A'\n\
                   server = { revocation_endpoint = 'https://a.example/revoke', outage_limit = '2h' }\n\
                   [further_providers.a.client]\nid = 'shop-a'\nauthentication = 'none'\n";
    let built = read(&text(further, "name = 'first'", PUBLIC))
        .build()
        .unwrap();
    let a = AuthorizationServer::new("https://a.example")
        .and_then(|one| one.with_revocation_endpoint("https://a.example/revoke"))
        .and_then(|one| one.with_outage_limit(Duration::from_secs(7200)))
        .and_then(|one| Provider::new("a", &one, Client::public("shop-a")))
        .unwrap()
        .with_display_name("A");
    let b = AuthorizationServer::new("https://b.example")
        .and_then(|one| Provider::new("b", &one, Client::public("shop-b")))
        .and_then(|one| one.with_scopes("openid b"));
    let expected = from_code(Client::public("shop"))
        .with_provider_name("first", "first")
        .and_then(|login| login.add_provider(a))
        .and_then(|login| login.add_provider(b?));
    assert_eq!(shown(&built), shown(&expected.unwrap()));
}

#[test]
fn settings_show_no_secret() {
    let client = "id = 'shop'\nsecret = 'correct horse'";
    let provider = format!("request_key = '''{PEM}'''\nserver = {{ outage_limit = '1h' }}");
    let settings = read(&text("", &provider, client));
    let shown = format!("{settings:?} {settings:#?} {:?}", settings.build().unwrap());
    for secret in ["correct horse", "MC4CAQAw", COOKIE_KEY] {
        assert!(!shown.contains(secret), "{shown}");
    }
    assert!(shown.contains("SecretText(..)"));
}

#[tokio::test]
async fn users_sign_in_with_secrets_from_files_and_the_layer_can_be_refined() {
    let folder = Folder::new("sign-in");
    let secret = folder.write("secret", "shop-secret\n");
    let key = folder.cookie_key("key");
    let text = text(
        "",
        "scopes = 'openid email'",
        &format!("id = 'shop'\nsecret_file = '{secret}'"),
    );
    let text = text.replace(
        &format!("cookie_key = '{COOKIE_KEY}'"),
        &format!("cookie_key_file = '{key}'"),
    );
    let client = TestClient::confidential("shop", "shop-secret").without_consent();
    let server = TestServer::new(ISSUER)
        .unwrap()
        .add_client(client.add_redirect_uri(CALLBACK).unwrap())
        .add_user(TestUser::new("alice", "wonderland"));
    let login = read(&text)
        .build_with(|one| {
            assert_eq!(one.issuer(), ISSUER);
            Ok(server.authorization_server())
        })
        .and_then(|login| login.with_default_return_to("/account"))
        .unwrap();
    login.ready().await.unwrap();
    let browser = server.browser().with_origin(SHOP, app(&login)).unwrap();
    let page = browser
        .navigate(&format!("{SHOP}/auth/login"))
        .await
        .unwrap();
    let page = page.sign_in("alice", "wonderland").await.unwrap();
    assert_eq!(page.text(), "account of alice");
}
