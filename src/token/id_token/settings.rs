//! The settings for ID tokens, which logout tokens and signed userinfo responses share.

use std::time::Duration;

use crate::ConfigError;
use crate::crypto::{ALL_ALGORITHMS, Algorithm, keep_fapi2_algorithms};
use crate::issuer::{AuthorizationServer, FetchBudget};
use crate::protocol::claims::RegisteredClaims;
use crate::token::error::{VerifyError, VerifyErrorKind};
use crate::token::expected_issuer::ExpectedIssuer;
use crate::token::explanation::Explanation;
use crate::token::fapi2::check_leeway;
use crate::token::jws::{self, Rules, Signed};

/// The allowed clock skew, in seconds.
const DEFAULT_LEEWAY: i64 = 30;
const MAX_LEEWAY: Duration = Duration::from_secs(300);

/// How the tokens that an authorization server issues to a client are verified.
#[derive(Clone, Debug)]
pub(crate) struct IdTokenSettings {
    /// `None` for those that the metadata lists, or all if it lists none.
    algorithms: Option<Vec<Algorithm>>,
    /// Values of `aud` that are permitted beside the client.
    trusted_audiences: Vec<String>,
    /// In seconds.
    pub(crate) leeway: i64,
    /// Whether the FAPI 2.0 Security Profile applies, which permits fewer algorithms.
    fapi2: bool,
    issuer: ExpectedIssuer,
}

impl Default for IdTokenSettings {
    fn default() -> Self {
        Self {
            algorithms: None,
            trusted_audiences: Vec::new(),
            leeway: DEFAULT_LEEWAY,
            fapi2: false,
            issuer: ExpectedIssuer::default(),
        }
    }
}

impl IdTokenSettings {
    pub(crate) fn with_algorithms(
        mut self,
        algorithms: Vec<Algorithm>,
    ) -> Result<Self, ConfigError> {
        if algorithms.is_empty() {
            return Err(ConfigError::Setting {
                setting: "ID token algorithms",
                value: "[]".to_owned(),
                reason: "at least one is required",
            });
        }
        self.algorithms = Some(algorithms);
        Ok(self)
    }

    pub(crate) fn with_trusted_audiences(
        mut self,
        audiences: Vec<String>,
    ) -> Result<Self, ConfigError> {
        if audiences.iter().any(|one| one.trim().is_empty()) {
            return Err(ConfigError::Setting {
                setting: "trusted audiences",
                value: format!("{audiences:?}"),
                reason: "an audience must not be empty",
            });
        }
        self.trusted_audiences = audiences;
        Ok(self)
    }

    pub(crate) fn with_leeway(mut self, leeway: Duration) -> Result<Self, ConfigError> {
        let (allowed, reason) = (Duration::ZERO..=MAX_LEEWAY, "it must be at most 5 minutes");
        self.leeway = ConfigError::check_duration("leeway", leeway, allowed, reason)?;
        Ok(self)
    }

    /// Sets which issuers the tokens may have.
    pub(crate) fn with_issuer(self, issuer: ExpectedIssuer) -> Self {
        Self { issuer, ..self }
    }

    pub(crate) fn issuer(&self) -> &ExpectedIssuer {
        &self.issuer
    }

    /// Applies the FAPI 2.0 Security Profile to these settings and to those that are set later.
    pub(crate) fn restrict_to_fapi2(&mut self) {
        self.fapi2 = true;
    }

    /// Checks the settings that the profile restricts (§5.3.3.1, §5.4.1).
    pub(crate) fn check_fapi2(&self) -> Result<(), ConfigError> {
        if self.permitted().is_empty() {
            return Err(ConfigError::Setting {
                setting: "ID token algorithms",
                value: format!("{:?}", self.algorithms),
                reason: "the FAPI 2.0 Security Profile permits PS256, ES256 and EdDSA",
            });
        }
        check_leeway(self.leeway)
    }

    /// Returns the algorithms that are permitted if the metadata lists them.
    pub(crate) fn permitted(&self) -> Vec<Algorithm> {
        let all = self.algorithms.as_deref().unwrap_or(ALL_ALGORITHMS);
        let mut all = all.to_vec();
        if self.fapi2 {
            keep_fapi2_algorithms(&mut all);
        }
        all
    }

    /// Returns whether `aud` may have this value beside the client.
    pub(crate) fn trusts(&self, audience: &str) -> bool {
        self.trusted_audiences.iter().any(|one| one == audience)
    }

    /// Verifies an ID token or a logout token with `rules`, whose algorithms and leeway are replaced by those of these
    /// settings: by default the algorithms that the metadata lists for ID tokens.
    pub(crate) async fn verify(
        &self,
        server: &AuthorizationServer,
        compact: &str,
        rules: Rules,
    ) -> Result<Signed, VerifyError> {
        // Only what the authorization server sent may cause a fetch: any caller can send a logout token.
        let is_received = rules.fetch_budget == FetchBudget::BackChannel;
        let is_for_us = |_: &_| is_received;
        let signed = self.verify_with_permitted(server, compact, rules, is_for_us);
        let signed = signed.await?;
        // The keys were found with the metadata, so it is cached by now if there is one.
        if self.algorithms.is_none() && !server.may_sign_id_tokens_with(signed.algorithm) {
            return Err(VerifyErrorKind::Algorithm.into());
        }
        Ok(signed)
    }

    /// Verifies a token with any algorithm that these settings permit: the metadata lists those of signed userinfo and
    /// authorization responses separately (OpenID Connect Discovery §3, JARM §4). `is_for_us` is that of [`jws::verify`].
    pub(crate) async fn verify_with_permitted(
        &self,
        server: &AuthorizationServer,
        compact: &str,
        mut rules: Rules,
        is_for_us: impl FnOnce(&RegisteredClaims) -> bool,
    ) -> Result<Signed, VerifyError> {
        rules.algorithms = self.permitted();
        rules.leeway = self.leeway;
        rules.issuer = self.issuer.clone();
        let signed = jws::verify(server, compact, &rules, is_for_us).await?;
        let iss = signed.registered.issuer.clone();
        let iss = iss.as_deref().unwrap_or_default();
        self.issuer.check_key(iss, signed.key.issuer())?;
        match self.issuer.canonical(server.issuer(), iss) {
            Some(issuer) if issuer != iss => signed.with_issuer(issuer),
            _ => Ok(signed),
        }
    }

    /// Explains which algorithm a token has instead of which; both have names of this crate.
    pub(crate) fn explain_algorithm(&self, sent: Option<Algorithm>) -> Explanation {
        let found = sent.map_or("that is not supported", Algorithm::name);
        let expected = match &self.algorithms {
            Some(_) => {
                let permitted = self.permitted();
                let names: Vec<_> = permitted.iter().map(|one| one.name()).collect();
                format!("alg {}", names.join(", "))
            }
            None if self.fapi2 => {
                "PS256, ES256 or EdDSA, as id_token_signing_alg_values_supported lists it"
                    .to_owned()
            }
            None => "an asymmetric algorithm of id_token_signing_alg_values_supported".to_owned(),
        };
        let setting = "LoginLayer::with_id_token_algorithms, or the registration of the client";
        Explanation::new(format!("alg {found}"), expected, setting)
    }
}
