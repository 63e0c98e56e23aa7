//! The first step: a URL for the browser, and the transaction it must come back with.

use std::fmt;

use super::error::{FlowError, FlowErrorKind};
use super::session_ref::SessionRef;
use super::settings::{Flow, authorization_endpoint, check_pkce};
use super::transaction::Transaction;
use crate::clock::unix_seconds;
use crate::crypto::{base64url, digest};
use crate::protocol::authorization_request::AuthorizationRequest;
use crate::protocol::pkce::CodeChallenge;
use crate::protocol::{CodeVerifier, Metadata, Nonce};

/// Nothing that a request may add is longer.
const MAX_PARAMETER: usize = 512;

/// What a request may say about the login it wants (`L5`).
#[derive(Clone, Debug, Default)]
pub(crate) struct StartRequest {
    pub(crate) return_to: String,
    pub(crate) by_person: bool,
    pub(crate) login_hint: Option<String>,
    pub(crate) prompt: Option<String>,
    pub(crate) ui_locales: Option<String>,
    pub(crate) acr_values: Option<String>,
    pub(crate) max_age: Option<u32>,
    /// The session the browser has now.
    pub(crate) replaces: Option<SessionRef>,
}

/// A login that was started.
pub(crate) struct Started {
    /// Where the browser goes. It holds the state and the nonce.
    pub(crate) location: String,
    pub(crate) transaction: Transaction,
}

/// Without the location, which holds secrets.
impl fmt::Debug for Started {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Started")
            .field("transaction", &self.transaction)
            .finish_non_exhaustive()
    }
}

impl Flow {
    /// Starts a login. State, nonce and verifier are fresh, 256 bits each (`L1`).
    pub(crate) async fn start(&self, request: StartRequest) -> Result<Started, FlowError> {
        let metadata = self.server.metadata().await?;
        check_pkce(&metadata)?;
        let endpoint = authorization_endpoint(&metadata)?;
        request.check(&metadata)?;

        let transaction = Transaction {
            state: self.new_state()?,
            nonce: Nonce::new(self.new_word()?),
            verifier: CodeVerifier::new(self.new_word()?),
            issuer: self.server.issuer().to_owned(),
            redirect_uri: self.redirect_uri.clone(),
            return_to: request.return_to.clone(),
            started_at: unix_seconds(&**self.clock()),
            by_person: request.by_person,
            silent: request.prompt.as_deref() == Some("none"),
            max_age: request.max_age,
            acr_values: request.acr_values.clone(),
            replaces: request.replaces,
        };
        let max_age = request.max_age.map(|seconds| seconds.to_string());
        let prompt = self.prompt(request.prompt.as_deref());
        let mut further: Vec<(&str, &str)> = [
            ("login_hint", &request.login_hint),
            ("prompt", &prompt),
            ("ui_locales", &request.ui_locales),
            ("acr_values", &request.acr_values),
            ("max_age", &max_age),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value.as_deref()?)))
        .collect();
        further.extend(
            self.parameters
                .iter()
                .filter(|(name, _)| name != "prompt")
                .map(|(name, value)| (&**name, &**value)),
        );

        let location = AuthorizationRequest {
            client_id: self.client.id(),
            redirect_uri: &self.redirect_uri,
            scope: &self.scopes.to_string(),
            state: &transaction.state,
            nonce: &transaction.nonce,
            code_challenge: &challenge(&transaction.verifier)?,
            further: &further,
        }
        .url(&endpoint);
        Ok(Started {
            location,
            transaction,
        })
    }

    /// What this login asks the person, and what every login does, unless it is a silent one.
    fn prompt(&self, own: Option<&str>) -> Option<String> {
        let mut parameters = self.parameters.iter();
        let always = parameters.find(|(name, _)| name == "prompt");
        Some(match (own, always) {
            (None, always) => always?.1.clone(),
            (Some(own), Some((_, always)))
                if own != "none" && !own.split(' ').any(|word| word == always) =>
            {
                format!("{own} {always}")
            }
            (Some(own), _) => own.to_owned(),
        })
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
                    "a parameter of the login is empty, too long or holds a control character",
                ));
            }
        }
        match &self.prompt {
            Some(prompt) => check_prompt(prompt, metadata.prompt_values_supported()),
            None => Ok(()),
        }
    }
}

/// OpenID Connect Core §3.1.2.1 (`L6`): values the server knows, and `none` by itself. A server that
/// lists none knows those of the specification.
fn check_prompt(prompt: &str, supported: Option<&[String]>) -> Result<(), FlowError> {
    let known = |value: &str| match supported {
        Some(supported) => supported.iter().any(|other| other == value),
        None => ["none", "login", "consent", "select_account"].contains(&value),
    };
    let values: Vec<&str> = prompt.split(' ').collect();
    if !values.iter().all(|value| known(value)) || (values.contains(&"none") && values.len() > 1) {
        return Err(FlowError::request(
            "prompt_unsupported",
            "`prompt` has a value that the authorization server does not support",
        ));
    }
    Ok(())
}

/// RFC 7636 §4.2, `S256`.
fn challenge(verifier: &CodeVerifier) -> Result<CodeChallenge, FlowError> {
    let digest = digest::sha256(verifier.expose().as_bytes());
    CodeChallenge::parse(&base64url::encode(&digest)).map_err(|error| {
        // A digest of 32 bytes always has the shape.
        FlowError::new(FlowErrorKind::Internal, "code_challenge", error.to_string())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_challenge_is_the_one_of_the_appendix() {
        let verifier = CodeVerifier::new("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
        let challenge = challenge(&verifier).unwrap();
        assert_eq!(
            challenge.as_str(),
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        );
    }

    #[test]
    fn prompts_are_those_the_server_knows() {
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
