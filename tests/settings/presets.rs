//! Providers that this crate knows, by name.

use tower_oauth::{Client, ConfigError, CookieKey, LoginLayer, Provider, SigningKey};

use crate::login::{COOKIE_KEY, read, shown};
use crate::support::shop::CALLBACK;

/// `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256`
fn p256() -> String {
    rcgen::KeyPair::generate().unwrap().serialize_pem()
}

const SECRET: &str = "id = 'shop'\nsecret = 'hush'";
const TENANT: &str = "7e6b25a1-0a3d-4b4f-9c1e-2f4d5c6b7a89";
const OTHER_TENANT: &str = "0c5a1b7e-91a4-4b43-8a55-13a1f2d3c4b5";
const REALM: &str = "https://id.example.com/realms/shop";

fn text(provider: &str, client: &str) -> String {
    format!(
        "redirect_uri = '{CALLBACK}'\ncookie_key = '{COOKIE_KEY}'\n[provider]\n{provider}\n[provider.client]\n{client}\n"
    )
}

fn layer_of(provider: Provider) -> LoginLayer {
    let key = CookieKey::from_text(COOKIE_KEY).unwrap();
    LoginLayer::for_provider(provider, CALLBACK, key).unwrap()
}

#[test]
fn each_preset_is_that_of_its_constructor() {
    let tenants = format!("preset = 'microsoft'\ntenants = ['{TENANT}', '{OTHER_TENANT}']");
    let rows: [(&str, Result<Provider, ConfigError>); 15] = [
        ("preset = 'google'", Provider::google("shop", "hush")),
        ("preset = 'github'", Provider::github("shop", "hush")),
        ("preset = 'discord'", Provider::discord("shop", "hush")),
        ("preset = 'slack'", Provider::slack("shop", "hush")),
        ("preset = 'gitlab'", Provider::gitlab("shop", "hush")),
        (
            "preset = 'gitlab'\nissuer = 'https://git.example.com'",
            Provider::gitlab_at("https://git.example.com", "shop", "hush"),
        ),
        (
            "preset = 'microsoft'\ntenants = ['7e6b25a1-0a3d-4b4f-9c1e-2f4d5c6b7a89']",
            Provider::microsoft(TENANT, "shop", "hush"),
        ),
        (
            &tenants,
            Provider::microsoft_tenants([TENANT, OTHER_TENANT], "shop", "hush"),
        ),
        (
            "preset = 'auth0'\ndomain = 'shop.eu.auth0.com'",
            Provider::auth0("shop.eu.auth0.com", "shop", "hush"),
        ),
        (
            "preset = 'okta'\nissuer = 'https://shop.okta.com'",
            Provider::okta("https://shop.okta.com", "shop", "hush"),
        ),
        (
            "preset = 'keycloak'\nissuer = 'https://id.example.com/realms/shop'",
            Provider::keycloak(REALM, "shop", "hush"),
        ),
        (
            "preset = 'authentik'\nissuer = 'https://id.example.com/application/o/shop/'",
            Provider::authentik("https://id.example.com/application/o/shop/", "shop", "hush"),
        ),
        (
            "preset = 'cognito'\nissuer = 'https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_Ab1'\n\
             domain = 'shop.auth.eu-west-1.amazoncognito.com'",
            Provider::cognito(
                "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_Ab1",
                "shop.auth.eu-west-1.amazoncognito.com",
                "shop",
                "hush",
            ),
        ),
        (
            "preset = 'zitadel'\nissuer = 'https://id.example.com'\nproject_id = '4711'",
            Provider::zitadel("https://id.example.com", "4711", "shop", "hush"),
        ),
        // Settings apply on top of the preset.
        (
            "preset = 'google'\nname = 'work'\ndisplay_name = 'Work'\nscopes = 'openid'\n\
             authorization_parameters = { access_type = 'offline' }\nserver = { outage_limit = '2h' }",
            Provider::google("shop", "hush")
                .and_then(|one| one.with_name("work"))
                .map(|one| one.with_display_name("Work"))
                .and_then(|one| one.with_scopes("openid"))
                .and_then(|one| one.with_authorization_parameter("access_type", "offline"))
                .and_then(|one| {
                    let limit = std::time::Duration::from_secs(7200);
                    one.with_authorization_server(|server| server.with_outage_limit(limit))
                }),
        ),
    ];
    for (settings, expected) in rows {
        let built = read(&text(settings, SECRET)).build();
        let built = built.unwrap_or_else(|error| panic!("{settings}: {error}"));
        assert_eq!(
            shown(&built),
            shown(&layer_of(expected.unwrap())),
            "{settings}"
        );
    }
}

#[test]
fn presets_have_a_key_or_another_client_if_it_is_set() {
    let pem = p256();
    let key = || SigningKey::from_pem(&pem).unwrap().with_key_id("K");
    let client = format!("id = 'shop'\nprivate_key = '''{pem}'''\nkey_id = 'K'");
    let built = read(&text("preset = 'apple'\nteam_id = 'TEAMID1234'", &client))
        .build()
        .unwrap();
    let expected = Provider::apple("shop", "TEAMID1234", key()).unwrap();
    assert_eq!(shown(&built), shown(&layer_of(expected)));
    let keycloak = format!("preset = 'keycloak'\nissuer = '{REALM}'");
    let built = read(&text(&keycloak, &client)).build().unwrap();
    let expected = Provider::keycloak(REALM, "shop", "x")
        .and_then(|one| one.with_client(Client::private_key_jwt("shop", key())));
    assert_eq!(shown(&built), shown(&layer_of(expected.unwrap())));
    let basic = format!("{SECRET}\nauthentication = 'client_secret_basic'");
    let built = read(&text("preset = 'google'", &basic)).build().unwrap();
    let expected = Provider::google("shop", "x")
        .and_then(|one| one.with_client(Client::confidential("shop", "hush")));
    assert_eq!(shown(&built), shown(&layer_of(expected.unwrap())));
}

/// The callbacks of further providers are below that of the first one.
#[test]
fn github_and_slack_are_not_the_first_of_several_providers() {
    let partner = "[further_providers.partner]\nissuer = 'https://partner.example'\n\
                   [further_providers.partner.client]\nid = 'shop'\nauthentication = 'none'\n";
    for preset in ["github", "slack"] {
        let alone = text(&format!("preset = '{preset}'"), SECRET);
        read(&alone).build().unwrap();
        let error = read(&format!("{alone}{partner}")).build().unwrap_err();
        let expected = format!("further_providers.partner: first provider \"{preset}\": ");
        assert!(error.to_string().starts_with(&expected), "{error}");
        let further = format!("{partner}[further_providers.{preset}]\npreset = '{preset}'\n");
        let further = format!("{further}[further_providers.{preset}.client]\n{SECRET}\n");
        let first = text("issuer = 'https://id.example.com'", SECRET);
        read(&format!("{first}{further}")).build().unwrap();
    }
}

#[test]
fn a_setting_that_the_preset_needs_or_does_not_use_is_named() {
    for (provider, client, expected) in [
        (
            "scopes = 'openid'",
            SECRET,
            "provider: set `issuer` or `preset`",
        ),
        (
            "issuer = 'https://id.example.com'\ndomain = 'x'",
            SECRET,
            "provider.domain: it has an effect with",
        ),
        (
            "issuer = 'https://id.example.com'\ntenants = []",
            SECRET,
            "provider.tenants: ",
        ),
        (
            "preset = 'google'\nissuer = 'https://id.example.com'",
            SECRET,
            "provider.issuer: it has no effect",
        ),
        (
            "preset = 'github'\nproject_id = 'x'",
            SECRET,
            "provider.project_id: it has no effect",
        ),
        (
            "preset = 'okta'",
            SECRET,
            "provider: the preset needs `issuer`",
        ),
        (
            "preset = 'auth0'",
            SECRET,
            "provider: the preset needs `domain`",
        ),
        (
            "preset = 'microsoft'",
            SECRET,
            "provider: `preset = \"microsoft\"` needs `tenants`",
        ),
        (
            "preset = 'microsoft'\ntenants = ['common']",
            SECRET,
            "provider: ",
        ),
        (
            "preset = 'apple'\nteam_id = 'x'",
            SECRET,
            "provider.client: `preset = \"apple\"` needs",
        ),
        ("preset = 'apple'", SECRET, "`team_id`"),
        (
            "preset = 'google'",
            "id = 'shop'",
            "provider.client: set `secret_file`",
        ),
        (
            "preset = 'google'",
            "id = 'shop'\nsecret = 'hush'\nunlisted_method = true",
            "provider.client: with further settings",
        ),
    ] {
        let built = read(&text(provider, client)).build();
        let error = built
            .err()
            .unwrap_or_else(|| panic!("{provider}"))
            .to_string();
        assert!(error.contains(expected), "{expected} in {error}");
    }
}

#[test]
fn a_setting_that_the_client_or_the_provider_of_a_preset_ignores_is_named() {
    let apple = format!("id = 'shop'\nkey_id = 'K'\nprivate_key = '''{}'''", p256());
    let (apple, github, discord) = (
        ("preset = 'apple'\nteam_id = 'x'", apple.as_str()),
        ("preset = 'github'", SECRET),
        ("preset = 'discord'", SECRET),
    );
    let of_client = [
        "authentication = 'client_secret_post'",
        "assertion_audience = 'https://x.example'",
        "untyped_assertions = true",
        "spiffe_assertions = true",
        "certificate_bound_tokens = true",
        "unlisted_method = true",
    ];
    let of_id_tokens = [
        "id_token_algorithms = ['ES256']",
        "trusted_audiences = ['x']",
        "leeway = '10s'",
        "requested_claims = { id_token = { email = {} } }",
        "server.metadata_url = 'https://github.com/metadata'",
        "server.outage_limit = '2h'",
    ];
    let mut rows = Vec::new();
    for setting in of_client {
        let client = format!("{}\n{setting}", apple.1);
        rows.push(("provider.client", setting, text(apple.0, &client)));
    }
    for setting in of_id_tokens {
        for (preset, client) in [github, discord] {
            let provider = format!("{preset}\n{setting}");
            rows.push(("provider", setting, text(&provider, client)));
        }
    }
    for (preset, client) in [apple, github, discord] {
        assert!(read(&text(preset, client)).build().is_ok(), "{preset}");
    }
    for (table, setting, text) in rows {
        let built = read(&text).build();
        let error = built.err().unwrap_or_else(|| panic!("{text}")).to_string();
        let name = setting.split(' ').next().unwrap();
        let expected = format!("{table}.{name}: it has no effect with this preset");
        assert!(error.contains(&expected), "{expected} in {error}");
    }
}

#[test]
fn a_preset_that_does_not_exist_is_an_error_of_the_reader() {
    let unknown =
        toml::from_str::<tower_oauth::settings::LoginSettings>(&text("preset = 'gogle'", SECRET));
    let error = unknown.unwrap_err();
    assert!(error.message().contains("gogle") && error.message().contains("google"));
}
