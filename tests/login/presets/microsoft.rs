//! Entra ID with several tenants: issuers from a template, and keys of one tenant.

use serde_json::{Value, json};
use tower_oauth::Provider;

use super::documents;
use super::imitation::{App, Imitation, KEY};
use crate::support::logs::Logs;

const CONTOSO: &str = "11111111-aaaa-4aaa-8aaa-111111111111";
const FABRIKAM: &str = "22222222-bbbb-4bbb-8bbb-222222222222";
const STRANGER: &str = "33333333-cccc-4ccc-8ccc-333333333333";
/// https://learn.microsoft.com/en-us/entra/identity-platform/id-token-claims-reference
const CONSUMERS: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";
const TEMPLATE: &str = "https://login.microsoftonline.com/{tenantid}/v2.0";

fn issuer(tenant: &str) -> String {
    TEMPLATE.replace("{tenantid}", tenant)
}

fn claims(tenant: &str) -> Value {
    json!({
        "ver": "2.0", "iss": issuer(tenant), "tid": tenant, "aud": "shop", "sub": "the-same-sub",
        "preferred_username": "admin@contoso.example", "email": "admin@contoso.example",
    })
}

/// Imitates the endpoints of an audience, with one key whose member `issuer` is this: "each key has an issuer"
/// (https://learn.microsoft.com/en-us/entra/identity-platform/access-tokens#validate-the-issuer).
fn entra(audience: &str, key_issuer: &str) -> Imitation {
    let document = documents::microsoft(audience, TEMPLATE);
    let url = format!(
        "https://login.microsoftonline.com/{audience}/v2.0/.well-known/openid-configuration"
    );
    let provider = Imitation::of(&url, &document);
    let mut key = KEY.public_jwk();
    key["issuer"] = key_issuer.into();
    provider.answer(
        document["jwks_uri"].as_str().unwrap(),
        json!({ "keys": [key] }),
    );
    provider
}

fn token_endpoint(audience: &str) -> String {
    format!("https://login.microsoftonline.com/{audience}/oauth2/v2.0/token")
}

async fn sign_in(tenants: &[&str], audience: &str, key_issuer: &str, claims: &Value) -> Value {
    let provider = entra(audience, key_issuer);
    let preset = Provider::microsoft_tenants(tenants.iter().copied(), "shop", "secret").unwrap();
    let mut app = App::new(&provider, preset);
    let answer = app.sign_in(&token_endpoint(audience), claims).await;
    match answer.status.as_u16() {
        303 => app.me().await["issuer"].clone(),
        status => status.into(),
    }
}

#[tokio::test]
async fn only_users_of_listed_tenants_sign_in_and_their_issuer_is_that_of_the_tenant() {
    let both = [CONTOSO, FABRIKAM];
    let mut of_fabrikam = claims(CONTOSO);
    of_fabrikam["tid"] = FABRIKAM.into();
    let mut without_tenant = claims(CONTOSO);
    without_tenant.as_object_mut().unwrap().remove("tid");
    let mut literal = claims(CONTOSO);
    literal["iss"] = TEMPLATE.into();
    for (name, claims, expected) in [
        ("a listed tenant", claims(CONTOSO), json!(issuer(CONTOSO))),
        ("another one", claims(FABRIKAM), json!(issuer(FABRIKAM))),
        ("not on the list", claims(STRANGER), json!(502)),
        ("a personal account", claims(CONSUMERS), json!(502)),
        ("tid is not that of iss", of_fabrikam, json!(502)),
        ("no tid", without_tenant, json!(502)),
        ("the template itself", literal, json!(502)),
    ] {
        let outcome = sign_in(&both, "organizations", TEMPLATE, &claims).await;
        assert_eq!(outcome, expected, "{name}");
    }
}

#[tokio::test]
async fn personal_accounts_sign_in_only_if_their_tenant_is_listed() {
    let listed = [CONTOSO, CONSUMERS];
    let outcome = sign_in(&listed, "common", TEMPLATE, &claims(CONSUMERS)).await;
    assert_eq!(outcome, issuer(CONSUMERS));
    let outcome = sign_in(&listed, "common", &issuer(CONSUMERS), &claims(CONSUMERS)).await;
    assert_eq!(outcome, issuer(CONSUMERS));
}

#[tokio::test]
async fn the_key_of_another_tenant_signs_no_token_of_this_one() {
    let both = [CONTOSO, FABRIKAM];
    for (key_issuer, expected) in [
        (TEMPLATE.to_owned(), json!(issuer(CONTOSO))),
        (issuer(CONTOSO), json!(issuer(CONTOSO))),
        (issuer(FABRIKAM), json!(502)),
        (issuer(CONSUMERS), json!(502)),
        ("https://sts.windows.net/{tenantid}/".to_owned(), json!(502)),
    ] {
        let outcome = sign_in(&both, "organizations", &key_issuer, &claims(CONTOSO)).await;
        assert_eq!(outcome, expected, "{key_issuer}");
    }
}

#[tokio::test]
async fn the_log_names_the_tenant_that_is_not_listed_and_the_setting() {
    let logs = Logs::default();
    let recording = logs.record_only("login_failed");
    sign_in(&[CONTOSO], "organizations", TEMPLATE, &claims(STRANGER)).await;
    drop(recording);
    let text = logs.text();
    assert!(text.contains(STRANGER), "{text}");
    assert!(text.contains("the tenants of the provider"), "{text}");
}

/// https://github.com/MicrosoftDocs/azure-docs/issues/113944: the issuer of these documents is the template.
#[tokio::test]
async fn metadata_for_several_tenants_are_not_those_of_one_tenant() {
    let document = documents::microsoft(CONTOSO, TEMPLATE);
    let url = format!(
        "https://login.microsoftonline.com/{CONTOSO}/v2.0/.well-known/openid-configuration"
    );
    let provider = Imitation::of(&url, &document);
    let preset = Provider::microsoft(CONTOSO, "shop", "secret").unwrap();
    let mut app = App::new(&provider, preset);
    let answer = app
        .send(crate::support::shop::Ask::page("/auth/login"))
        .await;
    assert_eq!(answer.status, 500);
}

#[test]
fn a_tenant_is_a_guid() {
    for tenant in [
        "common",
        "organizations",
        "consumers",
        "contoso.onmicrosoft.com",
        "",
    ] {
        assert!(
            Provider::microsoft(tenant, "shop", "secret").is_err(),
            "{tenant}"
        );
        let several = Provider::microsoft_tenants([CONTOSO, tenant], "shop", "secret");
        assert!(several.is_err(), "{tenant}");
    }
    assert!(Provider::microsoft_tenants([], "shop", "secret").is_err());
    assert!(Provider::microsoft_tenants([CONTOSO], "shop", "secret").is_ok());
}
