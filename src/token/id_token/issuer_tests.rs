//! Which issuers and keys the ID tokens of a server with several forms of its issuer may have.

use serde_json::{Value, json};

use super::refreshed::{self, RefreshExpectations};
use super::tests::{NOW, change, sign, signing_key};
use super::{ClaimRequirements, IdTokenSettings, LoginExpectations, verify};
use crate::clock::tests::StillClock;
use crate::issuer::{AuthorizationServer, StaticKeys};
use crate::protocol::{AccessToken, AuthorizationCode, Claims, IdToken, Nonce, State};
use crate::token::expected_issuer::ExpectedIssuer;

const TEMPLATE: &str = "https://login.example.com/{tenantid}/v2.0";
const SHOP: &str = "11111111-aaaa-4aaa-8aaa-111111111111";
const OTHER_ON_LIST: &str = "22222222-bbbb-4bbb-8bbb-222222222222";
const NOT_ON_LIST: &str = "33333333-cccc-4ccc-8ccc-333333333333";
/// Of personal accounts (<https://learn.microsoft.com/en-us/entra/identity-platform/id-token-claims-reference>).
const CONSUMERS: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";

fn issuer_of(tenant: &str) -> String {
    TEMPLATE.replace("{tenantid}", tenant)
}

fn tenants() -> IdTokenSettings {
    let tenants = ExpectedIssuer::tenants(TEMPLATE, [SHOP, OTHER_ON_LIST]).unwrap();
    IdTokenSettings::default().with_issuer(tenants)
}

/// Returns a server whose only key has this member `issuer`.
fn server(issuer: &str, key_issuer: Option<&str>) -> AuthorizationServer {
    let mut key = serde_json::to_value(signing_key(1).public_jwk()).unwrap();
    if let Some(key_issuer) = key_issuer {
        key["issuer"] = key_issuer.into();
    }
    let keys = json!({ "keys": [key] }).to_string();
    let server = AuthorizationServer::new(issuer).unwrap();
    let server = server.with_keys(StaticKeys::from_jwks(&keys).unwrap());
    server.with_clock(StillClock::new(NOW))
}

fn token(changes: &Value) -> IdToken {
    let mut claims = json!({
        "iss": issuer_of(SHOP), "tid": SHOP, "sub": "alice", "aud": "shop", "exp": NOW + 300, "iat": NOW,
        "nonce": "n",
    });
    change(&mut claims, changes);
    IdToken::new(sign(&claims.to_string()))
}

/// Validates the ID token of a login. Returns the issuer of the session, or the code of the error.
async fn login(
    settings: &IdTokenSettings,
    server: &AuthorizationServer,
    token: &IdToken,
) -> Result<Claims, &'static str> {
    let none = ClaimRequirements::default();
    let expected = LoginExpectations {
        settings,
        client_id: "shop",
        nonce: Some(&Nonce::new("n")),
        access_token: &AccessToken::new("a"),
        code: &AuthorizationCode::new("c"),
        state: &State::new("s"),
        max_age: None,
        started_at: NOW,
        acr_values: None,
        claims: [&none; 2],
    };
    let verified = verify(server, token, &expected).await;
    verified.map_err(|error| error.code())
}

#[tokio::test]
async fn a_token_is_accepted_for_a_listed_tenant_with_the_same_tid_only() {
    let other_form = issuer_of(SHOP).replace("/v2.0", "");
    for (changes, expected) in [
        (json!({}), Ok(())),
        (
            json!({"iss": issuer_of(OTHER_ON_LIST), "tid": OTHER_ON_LIST}),
            Ok(()),
        ),
        (
            json!({"iss": issuer_of(NOT_ON_LIST), "tid": NOT_ON_LIST}),
            Err("id_token_issuer"),
        ),
        (
            json!({"iss": issuer_of(CONSUMERS), "tid": CONSUMERS}),
            Err("id_token_issuer"),
        ),
        // A `tid` that an application would decide by, of another tenant than the one that signed.
        (json!({"tid": OTHER_ON_LIST}), Err("id_token_issuer")),
        (json!({"tid": NOT_ON_LIST}), Err("id_token_issuer")),
        (json!({"tid": null}), Err("id_token_issuer")),
        (json!({"tid": [SHOP]}), Err("id_token_issuer")),
        (json!({"tid": SHOP.to_uppercase()}), Err("id_token_issuer")),
        (json!({"iss": TEMPLATE}), Err("id_token_issuer")),
        (
            json!({"iss": TEMPLATE, "tid": "{tenantid}"}),
            Err("id_token_issuer"),
        ),
        (json!({"iss": other_form}), Err("id_token_issuer")),
        (
            json!({"iss": format!("{}/", issuer_of(SHOP))}),
            Err("id_token_issuer"),
        ),
        (json!({"iss": null}), Err("id_token_issuer")),
    ] {
        let server = server(TEMPLATE, Some(TEMPLATE));
        let outcome = login(&tenants(), &server, &token(&changes)).await;
        assert_eq!(outcome.map(drop), expected, "{changes}");
    }
}

/// <https://learn.microsoft.com/en-us/entra/identity-platform/access-tokens#validate-the-issuer>: the member `issuer` of a
/// key says whose tokens it signs.
#[tokio::test]
async fn the_key_of_another_tenant_signs_no_token_of_this_one() {
    for (key_issuer, expected) in [
        (Some(TEMPLATE.to_owned()), Ok(())),
        (Some(issuer_of(SHOP)), Ok(())),
        (Some(issuer_of(OTHER_ON_LIST)), Err("id_token_key_unfit")),
        (Some(issuer_of(CONSUMERS)), Err("id_token_key_unfit")),
        (Some(String::new()), Err("id_token_key_unfit")),
        (
            Some("https://sts.example.com/{tenantid}/".to_owned()),
            Err("id_token_key_unfit"),
        ),
        (None, Err("id_token_key_unfit")),
    ] {
        let server = server(TEMPLATE, key_issuer.as_deref());
        let outcome = login(&tenants(), &server, &token(&json!({}))).await;
        assert_eq!(outcome.map(drop), expected, "{key_issuer:?}");
    }
}

#[tokio::test]
async fn a_refresh_keeps_the_tenant_of_the_login() {
    let server = server(TEMPLATE, Some(TEMPLATE));
    let settings = tenants();
    let first = login(&settings, &server, &token(&json!({}))).await.unwrap();
    let other = json!({"iss": issuer_of(OTHER_ON_LIST), "tid": OTHER_ON_LIST});
    let mut expired = other.clone();
    expired["exp"] = (NOW - 1000).into();
    for (changes, expected) in [
        (json!({}), Ok(true)),
        (other, Err("id_token_issuer")),
        // Not even the tokens beside an ID token that cannot be used.
        (expired, Err("id_token_issuer")),
        (json!({"exp": NOW - 1000}), Ok(false)),
    ] {
        let expected_values = RefreshExpectations {
            settings: &settings,
            client_id: "shop",
            login_claims: &first,
            access_token: None,
        };
        let outcome = refreshed::verify(&server, &token(&changes), &expected_values).await;
        let outcome = outcome.map(|claims| claims.is_some());
        assert_eq!(outcome.map_err(|one| one.code()), expected, "{changes}");
    }
}

#[tokio::test]
async fn an_alias_of_the_issuer_is_the_same_user() {
    const ISSUER: &str = "https://accounts.example.com";
    let aliases = ExpectedIssuer::Aliases(["accounts.example.com".to_owned()].into());
    let settings = IdTokenSettings::default().with_issuer(aliases);
    let server = server(ISSUER, None);
    for (iss, expected) in [
        (ISSUER, Ok(ISSUER)),
        ("accounts.example.com", Ok(ISSUER)),
        ("http://accounts.example.com", Err("id_token_issuer")),
        ("https://accounts.example.com/", Err("id_token_issuer")),
        ("Accounts.example.com", Err("id_token_issuer")),
    ] {
        let login_token = token(&json!({"iss": iss, "custom": {"a": [1, 2.5]}}));
        let claims = login(&settings, &server, &login_token).await;
        let issuer = claims.as_ref().map(|claims| claims.issuer().unwrap());
        assert_eq!(issuer.map_err(|code| *code), expected, "{iss}");
        let Ok(claims) = claims else { continue };
        let kept: Value = serde_json::from_str(claims.as_json()).unwrap();
        assert_eq!(kept["iss"], ISSUER);
        assert_eq!(kept["custom"], json!({"a": [1, 2.5]}));
        // The other form at a refresh is the same issuer.
        let expected = RefreshExpectations {
            settings: &settings,
            client_id: "shop",
            login_claims: &claims,
            access_token: None,
        };
        let refreshed = token(&json!({"iss": "accounts.example.com"}));
        let refreshed = refreshed::verify(&server, &refreshed, &expected).await;
        assert!(refreshed.unwrap().is_some(), "{iss}");
    }
}

#[test]
fn a_tenant_is_a_guid_and_the_server_has_a_template() {
    for (template, tenant, accepted) in [
        (TEMPLATE, SHOP, true),
        (TEMPLATE, &*SHOP.to_uppercase(), true),
        (TEMPLATE, CONSUMERS, true),
        (TEMPLATE, "common", false),
        (TEMPLATE, "organizations", false),
        (TEMPLATE, "contoso.example.com", false),
        (TEMPLATE, "{tenantid}", false),
        (TEMPLATE, "", false),
        (TEMPLATE, &SHOP[1..], false),
        ("https://login.example.com/v2.0", SHOP, false),
    ] {
        let tenants = ExpectedIssuer::tenants(template, [tenant]);
        assert_eq!(tenants.is_ok(), accepted, "{template} {tenant}");
    }
    assert!(ExpectedIssuer::tenants(TEMPLATE, []).is_err());
}
