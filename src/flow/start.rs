//! The start of a login: the authorization URL and the transaction.

use std::fmt;

use url::Url;

use super::error::{FlowError, FlowErrorKind};
use super::settings::Flow;
use super::token_endpoint::well_formed;
use super::transaction::{Destination, LoginSecret, StateDigest, Transaction};
use crate::clock::unix_seconds;
use crate::crypto::{base64url, digest};
use crate::protocol::authorization_request::AuthorizationRequest;
use crate::protocol::metadata::PROTECTION_OF_LOGINS;
use crate::protocol::pkce::CodeChallenge;
use crate::protocol::{CodeVerifier, Metadata, State};
use crate::record::SessionRef;
use crate::token::id_token::AcrValues;

/// Maximum length of a parameter that a request may set, in bytes.
const MAX_PARAMETER: usize = 512;

/// The parameters of a login that the request which starts it may set.
#[derive(Clone, Debug, Default)]
pub(crate) struct StartRequest {
    pub(crate) by_person: bool,
    pub(crate) login_hint: Option<String>,
    pub(crate) prompt: Option<String>,
    pub(crate) ui_locales: Option<String>,
    pub(crate) acr_values: Option<String>,
    pub(crate) max_age: Option<u32>,
    /// The session that the browser has at the start.
    pub(crate) replaces: Option<SessionRef>,
}

/// A started login.
pub(crate) struct StartedLogin {
    /// The URL to redirect the browser to. It contains `state` and `nonce`.
    pub(crate) location: String,
    pub(crate) transaction: Transaction,
}

/// Omits the location, which contains secrets.
impl fmt::Debug for StartedLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StartedLogin")
            .field("transaction", &self.transaction)
            .finish_non_exhaustive()
    }
}

impl Flow {
    /// Returns an error unless a login could be started now.
    pub(crate) async fn ready(&self) -> Result<(), FlowError> {
        let metadata = self.server.metadata().await?;
        well_formed(&metadata, &PROTECTION_OF_LOGINS)?;
        check_pkce(&metadata)?;
        authorization_endpoint(&metadata)?;
        self.token_endpoint(&metadata).map(|_| ())
    }

    /// Starts a login with this `state`, and a new `nonce` and code verifier of 256 bits each.
    pub(crate) async fn start(
        &self,
        state: &State,
        request: StartRequest,
    ) -> Result<StartedLogin, FlowError> {
        let metadata = self.server.metadata().await?;
        well_formed(&metadata, &PROTECTION_OF_LOGINS)?;
        check_pkce(&metadata)?;
        let endpoint = authorization_endpoint(&metadata)?;
        // Before the user signs in there.
        self.token_endpoint(&metadata)?;
        request.check(&metadata)?;
        let request = self.with_requirements(request)?;
        let acr_values = request.acr_values()?;

        let transaction = Transaction {
            state: StateDigest::of(state),
            secret: LoginSecret::new(self.random().bytes()?),
            destination: Destination::new(self.server.issuer(), &self.redirect_uri),
            started_at: unix_seconds(&**self.clock()),
            by_person: request.by_person,
            silent: request.prompt.as_deref() == Some("none"),
            max_age: request.max_age,
            acr_values,
            replaces: request.replaces,
        };
        let max_age = request.max_age.map(|seconds| seconds.to_string());
        let mut additional: Vec<(&str, &str)> = [
            ("login_hint", &request.login_hint),
            ("prompt", &request.prompt),
            ("ui_locales", &request.ui_locales),
            ("acr_values", &request.acr_values),
            ("max_age", &max_age),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value.as_deref()?)))
        .collect();
        additional.extend(
            self.parameters
                .iter()
                .filter(|(name, _)| name != "prompt")
                .map(|(name, value)| (&**name, &**value)),
        );

        let location = AuthorizationRequest {
            client_id: self.client.id(),
            redirect_uri: &self.redirect_uri,
            scope: &self.scopes.to_string(),
            state,
            nonce: &transaction.secret.nonce(),
            code_challenge: &challenge(&transaction.secret.verifier())?,
            additional: &additional,
        }
        .url(&endpoint);
        Ok(StartedLogin {
            location,
            transaction,
        })
    }

    /// Combines the parameters of a login with the configured ones. Every site can link to the login route, so a
    /// link can raise the requirements of a login and never lower them.
    fn with_requirements(&self, mut request: StartRequest) -> Result<StartRequest, FlowError> {
        request.max_age = match (request.max_age, self.max_age) {
            (Some(requested), Some(configured)) => Some(requested.min(configured)),
            (requested, configured) => requested.or(configured),
        };
        request.acr_values = match (request.acr_values, self.acr_values.as_deref()) {
            (Some(requested), Some(configured)) => {
                let is_configured = |one: &&str| configured.split(' ').any(|other| other == *one);
                let both: Vec<&str> = requested.split(' ').filter(is_configured).collect();
                if both.is_empty() {
                    return Err(FlowError::request(
                        "acr_values_unsupported",
                        "`acr_values` has no value that every login of this application requests",
                    ));
                }
                Some(both.join(" "))
            }
            (requested, configured) => requested.or_else(|| configured.map(str::to_owned)),
        };
        let configured = self.parameters.iter().find(|(name, _)| name == "prompt");
        let configured = configured.map_or("", |(_, value)| value);
        let requires_login = configured.split(' ').any(|one| one == "login");
        request.prompt = match request.prompt {
            Some(none) if none == "none" && requires_login => {
                return Err(FlowError::request(
                    "prompt_unsupported",
                    "`prompt` is `none`, and every login of this application requests `login`",
                ));
            }
            // A silent login shows nothing that could be configured.
            Some(none) if none == "none" => Some(none),
            requested => {
                let requested = requested.unwrap_or_default();
                let mut values: Vec<&str> = Vec::new();
                for value in requested.split(' ').chain(configured.split(' ')) {
                    if !value.is_empty() && !values.contains(&value) {
                        values.push(value);
                    }
                }
                (!values.is_empty()).then(|| values.join(" "))
            }
        };
        Ok(request)
    }
}

impl StartRequest {
    fn check(&self, metadata: &Metadata) -> Result<(), FlowError> {
        let texts = [
            &self.login_hint,
            &self.prompt,
            &self.ui_locales,
            &self.acr_values,
        ];
        for text in texts.into_iter().flatten() {
            if text.is_empty() || text.len() > MAX_PARAMETER || text.chars().any(char::is_control) {
                return Err(FlowError::request(
                    "parameter_malformed",
                    "a parameter of the login is empty, too long or has a control character",
                ));
            }
        }
        match &self.prompt {
            Some(prompt) => check_prompt(prompt, metadata.prompt_values_supported()),
            None => Ok(()),
        }
    }

    /// Returns the `acr_values` as the transaction keeps them.
    fn acr_values(&self) -> Result<Option<AcrValues>, FlowError> {
        let Some(acr_values) = &self.acr_values else {
            return Ok(None);
        };
        AcrValues::parse(acr_values).map(Some).ok_or_else(|| {
            FlowError::request("parameter_malformed", "`acr_values` has more than 8 values")
        })
    }
}

/// Rejects a server that lists PKCE methods without `S256`, since it would not check the challenge (RFC 9700
/// §2.1.1). A server that lists no methods receives the challenge; `state` and `nonce` protect the login as well.
fn check_pkce(metadata: &Metadata) -> Result<(), FlowError> {
    match metadata.code_challenge_methods_supported() {
        Some(methods) if !methods.iter().any(|method| method == "S256") => Err(FlowError::new(
            FlowErrorKind::Configuration,
            "pkce_unsupported",
            "the authorization server does not support the code challenge method S256",
        )),
        _ => Ok(()),
    }
}

fn authorization_endpoint(metadata: &Metadata) -> Result<Url, FlowError> {
    metadata
        .authorization_endpoint()
        .and_then(|endpoint| Url::parse(endpoint).ok())
        .ok_or_else(|| {
            FlowError::new(
                FlowErrorKind::Configuration,
                "no_authorization_endpoint",
                metadata.why_unusable("authorization_endpoint"),
            )
        })
}

/// Checks that the server supports all values of `prompt` and that `none` is the only value (OpenID Connect Core
/// §3.1.2.1). A server that lists no values supports those of the specification.
fn check_prompt(prompt: &str, supported: Option<&[String]>) -> Result<(), FlowError> {
    let is_supported = |value: &str| match supported {
        Some(supported) => supported.iter().any(|other| other == value),
        None => ["none", "login", "consent", "select_account"].contains(&value),
    };
    let values: Vec<&str> = prompt.split(' ').collect();
    let is_mixed = values.contains(&"none") && values.len() > 1;
    if is_mixed || !values.iter().all(|value| is_supported(value)) {
        return Err(FlowError::request(
            "prompt_unsupported",
            "`prompt` has a value that the authorization server does not support",
        ));
    }
    Ok(())
}

/// Computes the code challenge with the method `S256` (RFC 7636 §4.2).
fn challenge(verifier: &CodeVerifier) -> Result<CodeChallenge, FlowError> {
    let digest = digest::sha256(verifier.expose().as_bytes());
    CodeChallenge::parse(&base64url::encode(&digest)).map_err(|error| {
        // Unreachable: the encoding of a digest of 32 bytes is always valid.
        FlowError::new(FlowErrorKind::Internal, "code_challenge", error.to_string())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_challenge_of_rfc_7636_appendix_b_is_computed() {
        let verifier = CodeVerifier::new("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
        let challenge = challenge(&verifier).unwrap();
        assert_eq!(
            challenge.as_str(),
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        );
    }

    #[test]
    fn only_prompts_that_the_server_supports_are_accepted() {
        let listed = ["none".to_owned(), "create".to_owned()];
        for (prompt, unlisted, with_list) in [
            ("none", true, true),
            ("login", true, false),
            ("login consent", true, false),
            ("create", false, true),
            ("none login", false, false),
            ("none none", false, false),
            ("none create", false, false),
            ("Login", false, false),
            ("login  consent", false, false),
            ("", false, false),
        ] {
            assert_eq!(check_prompt(prompt, None).is_ok(), unlisted, "{prompt:?}");
            assert_eq!(
                check_prompt(prompt, Some(&listed)).is_ok(),
                with_list,
                "{prompt:?}"
            );
        }
    }
}
