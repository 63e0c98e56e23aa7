//! The contents of the metadata document and of the key set (draft-ietf-oauth-client-id-metadata-document §4, RFC 7517 §5).

use serde_json::{Map, Value, json};

use super::options::ClientMetadata;
use crate::config_error::ConfigError;
use crate::crypto::PublishedKey;
use crate::flow::{Flow, Registration};
use crate::issuer::AssertionPublicKey;
use crate::login::settings::Settings;

/// Returns the document. It is computed for each response, since settings apply in any order.
pub(in crate::login) fn client_metadata_json(
    settings: &Settings,
    metadata: &ClientMetadata,
) -> Result<Value, ConfigError> {
    let url = settings.url_of(&settings.paths.client_metadata);
    let client = described_client(settings, &url)?;
    let mut members = Map::new();
    let registrations = registrations(settings, &client.id);
    let keys = key_set(&registrations, metadata)?;
    for registration in registrations {
        if client.uses_document && registration.is_symmetric {
            return Err(ConfigError::Setting {
                setting: "client of the metadata document",
                value: client.id,
                reason: "it must not authenticate with a secret, which the authorization server does not know: use \
                         `Client::private_key_jwt`, `Client::mutual_tls` or `Client::public`",
            });
        }
        merge(&mut members, registration.members)?;
    }
    add_application_members(&mut members, metadata)?;
    if !members.contains_key("token_endpoint_auth_method") {
        return Err(ConfigError::Setting {
            setting: "client metadata",
            value: client.id,
            reason: "set `token_endpoint_auth_method` with `ClientMetadata::with_member`: `tls_client_auth` or \
                     `self_signed_tls_client_auth`",
        });
    }
    let mut set = |name: &str, value: Value| members.insert(name.to_owned(), value);
    if client.uses_document {
        set("client_id", client.id.into());
    }
    if !keys.is_empty() {
        set("jwks_uri", settings.url_of(&settings.paths.jwks).into());
    }
    if settings.manager.accepts_logout_tokens() {
        let url = settings.url_of(&settings.paths.backchannel_logout);
        set("backchannel_logout_uri", url.into());
        // So that a sign-out ends one session, not all sessions of the user.
        set("backchannel_logout_session_required", true.into());
    }
    let url = settings.url_of(&settings.paths.frontchannel_logout);
    set("frontchannel_logout_uri", url.into());
    if !settings.ends_unnamed_sessions {
        set("frontchannel_logout_session_required", true.into());
    }
    Ok(Value::Object(members))
}

/// Returns the key set.
pub(in crate::login) fn key_set_json(
    settings: &Settings,
    metadata: &ClientMetadata,
) -> Result<Value, ConfigError> {
    let url = settings.url_of(&settings.paths.client_metadata);
    let client = described_client(settings, &url)?;
    let keys = key_set(&registrations(settings, &client.id), metadata)?;
    let keys: Vec<Value> = keys.iter().map(PublishedKey::to_jwk).collect();
    Ok(json!({ "keys": keys }))
}

struct DescribedClient {
    id: String,
    /// Whether the id is the URL of the document.
    uses_document: bool,
}

/// Returns the client whose id is the URL of the document, or else the first, if no id is another URL: that would be a
/// document elsewhere, or a mistake (§4: both must be equal, byte for byte).
fn described_client(settings: &Settings, url: &str) -> Result<DescribedClient, ConfigError> {
    let ids = || settings.flows().map(|flow| flow.client().id());
    if ids().any(|id| id == url) {
        return Ok(DescribedClient {
            id: url.to_owned(),
            uses_document: true,
        });
    }
    if let Some(other) = ids().find(|id| id.starts_with("https://") || id.starts_with("http://")) {
        return Err(ConfigError::Setting {
            setting: "client id",
            value: format!("{other} (the metadata document is at {url})"),
            reason: "a client id that is a URL must be that of the metadata document",
        });
    }
    Ok(DescribedClient {
        id: ids().next().unwrap_or_default().to_owned(),
        uses_document: false,
    })
}

fn registrations(settings: &Settings, client_id: &str) -> Vec<Registration> {
    let flows = settings.flows();
    let flows = flows.filter(|flow| flow.client().id() == client_id);
    flows.map(Flow::registration).collect()
}

/// Adds the members of one more provider. Lists and scopes are united; a requirement holds if each provider has it, since
/// the other servers would enforce it too.
fn merge(members: &mut Map<String, Value>, added: Map<String, Value>) -> Result<(), ConfigError> {
    let is_first = !members.contains_key("redirect_uris");
    if !is_first {
        members.retain(|name, value| *value != json!(true) || added.contains_key(name));
    }
    for (name, value) in added {
        match (members.get_mut(&name), value) {
            (Some(Value::Array(all)), Value::Array(more)) => {
                let new = more.into_iter().filter(|one| !all.contains(one));
                let new: Vec<Value> = new.collect();
                all.extend(new);
            }
            (Some(Value::String(all)), Value::String(more)) if name == "scope" => {
                for scope in more.split(' ') {
                    if !all.split(' ').any(|one| one == scope) {
                        all.push(' ');
                        all.push_str(scope);
                    }
                }
            }
            (Some(one), value) if *one == value => {}
            (Some(one), value) => {
                return Err(ConfigError::Setting {
                    setting: "client metadata",
                    value: format!("{name}: {one} and {value}"),
                    reason: "providers with one client id must have the same value: use another client for one of them",
                });
            }
            (None, Value::Bool(true)) if !is_first => {}
            (None, value) => {
                members.insert(name, value);
            }
        }
    }
    Ok(())
}

/// Adds the members that the application has set. They are not those of a provider, so they are not merged.
fn add_application_members(
    members: &mut Map<String, Value>,
    metadata: &ClientMetadata,
) -> Result<(), ConfigError> {
    for (name, value) in &metadata.members {
        match members.get(name) {
            Some(one) if one != value => {
                return Err(ConfigError::Setting {
                    setting: "member of the client metadata",
                    value: format!("{name}: {value}"),
                    reason: "the client authenticates by another method: remove the member, or use `Client::mutual_tls`",
                });
            }
            _ => members.insert(name.clone(), value.clone()),
        };
    }
    Ok(())
}

fn key_set(
    registrations: &[Registration],
    metadata: &ClientMetadata,
) -> Result<Vec<PublishedKey>, ConfigError> {
    let invalid = |reason| ConfigError::Secret {
        setting: "key set of the client",
        reason,
    };
    let mut keys = Vec::new();
    for registration in registrations {
        let assertion_key = match &registration.assertion_key {
            AssertionPublicKey::Known(jwk) => Some(jwk),
            AssertionPublicKey::None | AssertionPublicKey::Unknown { .. } => None,
        };
        for jwk in assertion_key.into_iter().chain(&registration.request_key) {
            PublishedKey::read(jwk).map_err(invalid)?.add_to(&mut keys);
        }
    }
    for key in &metadata.keys {
        key.clone().add_to(&mut keys);
    }
    for registration in registrations {
        if let AssertionPublicKey::Unknown { key_id } = &registration.assertion_key
            && !metadata
                .keys
                .iter()
                .any(|key| key_id.is_none() || key.key_id() == key_id.as_deref())
        {
            return Err(invalid(
                "the public key of the remote signer is missing: return it in `RemoteSigner::public_jwk`, or add it with \
                 `ClientMetadata::add_key`",
            ));
        }
    }
    // OpenID Connect Core §10.1: with several keys, each signature names one by its `kid`.
    let is_ambiguous = |(at, key): (usize, &PublishedKey)| {
        key.key_id().is_none()
            || keys[..at]
                .iter()
                .any(|other| other.key_id() == key.key_id())
    };
    if keys.len() > 1 && keys.iter().enumerate().any(is_ambiguous) {
        return Err(invalid(
            "with several keys, each needs a key id (`kid`) of its own: see `SigningKey::with_key_id`",
        ));
    }
    Ok(keys)
}

impl Settings {
    /// Checks that the document can be served.
    pub(in crate::login) fn check_client_metadata(&self) -> Result<(), ConfigError> {
        match &self.client_metadata {
            Some(metadata) => client_metadata_json(self, metadata).map(drop),
            None => Ok(()),
        }
    }

    /// Returns the flows of all providers.
    fn flows(&self) -> impl Iterator<Item = &Flow> {
        let providers = self.manager.providers().all();
        providers.map(|provider| &*provider.flow)
    }

    /// Returns the URL of a route.
    fn url_of(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }
}
