//! Settings of providers and of their layer.

use std::time::Duration;

use http::StatusCode;
use tower_oauth::login::{Identity, IdentityError, IdentitySource, UserApi};
use tower_oauth::protocol::Metadata;
use tower_oauth::testing::Endpoint;
use tower_oauth::{AuthorizationServer, ConfigError};

use super::*;
use crate::support::keys::ed25519;
use crate::support::shop::{Ask, send};

fn server(issuer: &str) -> AuthorizationServer {
    AuthorizationServer::new(issuer).unwrap()
}

fn named(name: &str) -> Result<Provider, ConfigError> {
    Provider::new(name, &server(PARTNER), client())
}

fn layer() -> LoginLayer {
    LoginLayer::new(&server(ISSUER), client(), CALLBACK, key()).unwrap()
}

#[test]
fn a_name_is_a_plain_segment_and_unique() {
    for (name, is_valid) in [
        ("a", true),
        ("github", true),
        ("entra-id-2", true),
        (&"a".repeat(32), true),
        (&"a".repeat(33), false),
        ("", false),
        ("GitHub", false),
        ("a/b", false),
        ("a.b", false),
        ("..", false),
        ("a b", false),
        ("a%2fb", false),
        ("ä", false),
        ("a_b", false),
    ] {
        assert_eq!(named(name).is_ok(), is_valid, "{name}");
        assert_eq!(
            layer().with_provider_name(name, "x").is_ok(),
            is_valid,
            "{name}"
        );
    }
    let two = layer().add_provider(named("a").unwrap()).unwrap();
    let error = two.clone().add_provider(named("a").unwrap()).unwrap_err();
    assert!(error.to_string().contains("\"a\""), "{error}");
    assert!(two.clone().add_provider(named("default").unwrap()).is_err());
    assert!(two.clone().with_provider_name("a", "A").is_err());
    assert!(two.with_provider_name("b", "B").is_ok());
}

#[test]
fn a_layer_has_at_most_16_providers() {
    let add = |login: LoginLayer, n: u8| login.add_provider(named(&format!("p{n}")).unwrap());
    let most = (1..16).try_fold(layer(), add).unwrap();
    assert!(add(most, 16).is_err());
}

/// Another authorization server could replay such an assertion (RFC 10070).
#[test]
fn a_client_with_an_endpoint_as_audience_is_no_client_beside_another_server() {
    let legacy = || {
        let client = Client::private_key_jwt("shop", ed25519());
        client.with_assertion_audience("https://partner.example.test/token")
    };
    let signing = || Client::private_key_jwt("shop", ed25519());
    for (name, first, second, issuer, is_valid) in [
        ("issuers", signing(), signing(), PARTNER, true),
        ("an endpoint", signing(), legacy(), PARTNER, false),
        ("an endpoint at first", legacy(), signing(), PARTNER, false),
        ("one server", signing(), legacy(), ISSUER, true),
        ("no other assertion", client(), legacy(), PARTNER, true),
    ] {
        let first = LoginLayer::new(&server(ISSUER), first, CALLBACK, key()).unwrap();
        let second = Provider::new("second", &server(issuer), second).unwrap();
        assert_eq!(first.add_provider(second).is_ok(), is_valid, "{name}");
    }
}

/// Mix-up (RFC 9700 §4.4): such a server would send the code of its user to the callback of another provider.
#[test]
fn the_first_of_several_providers_has_a_server_that_accepts_no_uri_below_the_registered_one() {
    let github = || Provider::github("shop", "secret").unwrap();
    let slack = || Provider::slack("shop", "secret").unwrap();
    let stated = || {
        let provider = named("stated").unwrap();
        provider.with_redirect_uris_below_accepted()
    };
    let create = |first| LoginLayer::for_provider(first, CALLBACK, key()).unwrap();
    for (name, provider) in [
        ("github", github()),
        ("slack", slack()),
        ("stated", stated()),
    ] {
        let alone = create(provider.clone().with_display_name("Forge"));
        let renamed = alone.clone().with_provider_name("forge", "Forge").unwrap();
        for (name, first) in [(name, alone), ("forge", renamed)] {
            let error = first.add_provider(named("partner").unwrap()).unwrap_err();
            let error = error.to_string();
            assert!(error.contains(name), "{error}");
            assert!(error.contains("`add_provider`"), "{error}");
        }
        let several = layer().add_provider(provider).unwrap();
        let several = several.add_provider(named("partner").unwrap()).unwrap();
        let own = several.redirect_uri_of(name).unwrap();
        let other = several.redirect_uri_of("partner").unwrap();
        assert!(!other.starts_with(&format!("{own}/")), "{other}");
    }
}

/// One user key is never of two kinds of evidence.
#[test]
fn the_issuer_of_a_source_is_not_one_whose_id_tokens_another_provider_accepts() {
    const TENANT: &str = "11111111-aaaa-4aaa-8aaa-111111111111";
    const OTHER: &str = "22222222-bbbb-4bbb-8bbb-222222222222";
    let tenant = |id: &str| format!("https://login.microsoftonline.com/{id}/v2.0");
    let google = || Provider::google("shop", "secret").unwrap();
    let tenants = || Provider::microsoft_tenants([TENANT], "shop", "secret").unwrap();
    let plain = || named("plain").unwrap();
    for (issuer, beside, is_valid) in [
        (PARTNER, plain(), false),
        (ISSUER, plain(), true),
        ("https://accounts.google.com", google(), false),
        ("https://google.com", google(), true),
        (&tenant(TENANT), tenants(), false),
        (&tenant(OTHER), tenants(), true),
        (ISSUER, source_at(ISSUER).with_name("again").unwrap(), true),
    ] {
        let source = || source_at(issuer);
        for (first, second) in [(source(), beside.clone()), (beside.clone(), source())] {
            let first = LoginLayer::for_provider(first, CALLBACK, key()).unwrap();
            let added = first.add_provider(second);
            assert_eq!(added.is_ok(), is_valid, "{issuer} {beside:?}");
        }
    }
}

struct Source;

impl IdentitySource for Source {
    async fn identify(&self, _: &UserApi) -> Result<Identity, IdentityError> {
        Ok(Identity::new("7"))
    }
}

fn source_at(issuer: &str) -> Provider {
    let metadata = Metadata::new(issuer)
        .with_authorization_endpoint(format!("{issuer}/authorize"))
        .with_token_endpoint(format!("{issuer}/token"));
    let server = AuthorizationServer::from_metadata(metadata).unwrap();
    Provider::without_id_token("source", &server, client(), Source).unwrap()
}

#[tokio::test]
async fn all_providers_of_a_layer_have_the_fapi_2_profile_or_none_has_it() {
    let client = || Client::private_key_jwt("shop", ed25519());
    let first = || LoginLayer::new(&server(ISSUER), client(), CALLBACK, key()).unwrap();
    let plain = || Provider::new("second", &server(PARTNER), client()).unwrap();
    let fapi2 = || plain().with_fapi2_security_profile().unwrap();
    let both = first().with_fapi2_security_profile().unwrap();
    assert!(both.clone().add_provider(fapi2()).is_ok());
    assert!(both.add_provider(plain()).is_err());
    let later = first().add_provider(plain()).unwrap();
    assert!(later.with_fapi2_security_profile().is_err());
    // The setting of the first one may follow.
    let either = first().add_provider(fapi2()).unwrap();
    let error = either.ready().await.unwrap_err();
    assert_eq!(error.code(), "fapi2_settings", "{error}");
    assert!(either.with_fapi2_security_profile().is_ok());
    // A setting that the profile excludes.
    assert!(fapi2().with_leeway(Duration::from_secs(300)).is_err());
}

/// Each provider has its own, except for what the layer has.
#[tokio::test]
async fn settings_apply_to_one_provider_and_those_of_the_layer_to_all() {
    let staff = staff_server();
    let partner = partner_server(&staff);
    let second = provider("partner", &partner)
        .with_scopes("openid email")
        .unwrap();
    let login = LoginLayer::new(&staff.authorization_server(), client(), CALLBACK, key())
        .and_then(|login| login.with_login_time_limit(Duration::from_secs(60)))
        .and_then(|login| login.add_provider(second))
        .and_then(|login| login.with_scopes("openid profile"))
        .and_then(|login| {
            login.with_route_names(tower_oauth::login::RouteNames::new().with_login("enter"))
        })
        .unwrap();
    let app = app(&login);
    for (name, scope) in [("default", "openid profile"), ("partner", "openid email")] {
        let start = Ask::page(&format!("/auth/enter/{name}"));
        let answer = send(&app, start).await;
        assert_eq!(answer.parameter("scope").as_deref(), Some(scope));
        let mut jar = crate::support::shop::Jar::default();
        jar.take(&answer);
        let state = answer.parameter("state").unwrap();
        staff.clock().advance(Duration::from_secs(61));
        let callback = login
            .redirect_uri_of(name)
            .unwrap()
            .strip_prefix(SHOP)
            .unwrap();
        let late = format!("{callback}?code=c&state={state}");
        let answer = send(&app, Ask::page(&late).jar(&jar)).await;
        assert!(
            answer.text().contains("login_expired"),
            "{name}: {}",
            answer.text()
        );
    }
    assert_eq!(
        send(&app, Ask::page("/auth/login/partner")).await.status,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn the_layer_is_ready_if_all_providers_are() {
    let shop = TwoProviders::new();
    shop.login.ready().await.unwrap();
    let fault = tower_oauth::testing::Fault::without_member("token_endpoint");
    let shop = TwoProviders::new();
    shop.partner.fail(Endpoint::Metadata, fault);
    let error = shop.login.ready().await.unwrap_err();
    assert_eq!(
        error.kind(),
        tower_oauth::login::FlowErrorKind::Configuration,
        "{error}"
    );
}

/// A layer that owns `/auth/login/…` answers for all names.
#[tokio::test]
async fn two_layers_with_paths_of_one_another_are_misconfigured() {
    let nested = "https://shop.example.com/auth/login/callback";
    let inner = LoginLayer::new(&server(PARTNER), client(), nested, key()).unwrap();
    let inner = inner.with_cookie_name("inner").unwrap();
    let outer = layer();
    for (outer, is_conflict) in [
        (outer.clone(), false),
        (outer.add_provider(named("partner").unwrap()).unwrap(), true),
    ] {
        let app = Router::new()
            .route("/account", get(greet).layer(inner.required()))
            .layer(inner.clone())
            .layer(outer);
        let answer = send(&app, Ask::page("/account")).await;
        let expected = match is_conflict {
            true => StatusCode::INTERNAL_SERVER_ERROR,
            false => StatusCode::SEE_OTHER,
        };
        assert_eq!(answer.status, expected, "{answer:?}");
    }
}
