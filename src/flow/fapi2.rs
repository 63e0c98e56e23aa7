//! The FAPI 2.0 Security Profile and Message Signing for clients: settings that they exclude, and what they require of the
//! metadata.

use std::borrow::Cow;

use super::error::{FlowError, FlowErrorKind};
use super::request_settings::{PushedRequests, ResponseMode};
use super::settings::{Fapi2, Flow};
use super::token_endpoint::well_formed;
use crate::config_error::ConfigError;
use crate::crypto::{Algorithm, FAPI2_ALGORITHMS, SigningKey};
use crate::protocol::Metadata;
use crate::protocol::endpoint::{PUSHED_REQUEST_ENDPOINT, ServerEndpoint};
use crate::protocol::metadata::{
    CERTIFICATE_BOUND_TOKENS, CHALLENGE_METHODS, DPOP_ALGORITHMS, ID_TOKEN_ALGORITHMS,
    ISS_PARAMETER, RESPONSE_ALGORITHMS,
};
use crate::protocol::sanitize::listed;

fn invalid(value: &str, reason: &'static str) -> ConfigError {
    ConfigError::Setting {
        setting: "FAPI 2.0 Security Profile",
        value: value.to_owned(),
        reason,
    }
}

const PERMITTED: &str = "PS256, ES256 or EdDSA";

impl<R> Flow<R> {
    /// Applies the Security Profile. Access tokens are bound to a DPoP key unless the client has a certificate.
    pub(crate) fn with_fapi2_security_profile(mut self) -> Result<Self, ConfigError> {
        if self.fapi2 == Fapi2::Off {
            self.fapi2 = Fapi2::Security;
        }
        self = self.with_id_tokens(|mut id_tokens| {
            id_tokens.restrict_to_fapi2();
            Ok(id_tokens)
        })?;
        if !self.client.has_certificate() {
            self = self.with_dpop();
        }
        if self.requests.pushed == PushedRequests::WhenAvailable {
            self.requests.pushed = PushedRequests::Required;
        }
        self.check_fapi2_settings()?;
        Ok(self)
    }

    /// Applies Message Signing too: requests are signed with `key`, and responses are signed.
    pub(crate) fn with_fapi2_message_signing(
        mut self,
        key: SigningKey,
    ) -> Result<Self, ConfigError> {
        self.fapi2 = Fapi2::MessageSigning;
        let mode = match self.response_mode() {
            ResponseMode::Query => ResponseMode::Jwt,
            ResponseMode::FormPost => ResponseMode::FormPostJwt,
            signed => signed,
        };
        self.with_signed_requests(key)
            .with_response_mode(mode)
            .with_fapi2_security_profile()
    }

    pub(crate) fn is_fapi2(&self) -> bool {
        self.fapi2 != Fapi2::Off
    }

    /// Checks the settings, which may have changed since the profile was applied.
    pub(crate) fn check_fapi2_settings(&self) -> Result<(), ConfigError> {
        if !self.is_fapi2() {
            return Ok(());
        }
        if self.has_identity_source() {
            return Err(invalid(
                "no ID tokens",
                "users must be identified by an ID token",
            ));
        }
        self.server.check_fapi2()?;
        self.client.check_fapi2()?;
        self.id_tokens().check_fapi2()?;
        let invalid = |value: &str, reason| Err(invalid(value, reason));
        if let Some(custom) = &self.end_session {
            let endpoint = custom.endpoint.as_str();
            return invalid(
                endpoint,
                "endpoints must be discovered: remove `LoginLayer::with_end_session_endpoint`",
            );
        }
        if self.requests.pushed != PushedRequests::Required {
            let pushed = format!("{:?}", self.requests.pushed);
            return invalid(
                &pushed,
                "requests must be pushed: remove `LoginLayer::with_pushed_requests`",
            );
        }
        if let Some(key) = &self.requests.key
            && !FAPI2_ALGORITHMS.contains(&key.algorithm())
        {
            let reason = "the key of `LoginLayer::with_signed_requests` must sign with PS256, ES256 or EdDSA: see \
                          `SigningKey::with_algorithm`";
            return invalid(key.algorithm().name(), reason);
        }
        if self.fapi2 == Fapi2::MessageSigning && !self.response_mode().is_signed() {
            let reason = "responses must be signed: set `LoginLayer::with_response_mode` to `Jwt` or `FormPostJwt`, or \
                          remove it";
            return invalid(self.response_mode().name().unwrap_or("query"), reason);
        }
        Ok(())
    }
}

impl Flow {
    /// Checks the settings and the redirect URI.
    pub(crate) fn check_fapi2(&self) -> Result<(), ConfigError> {
        if self.is_fapi2() && self.redirect_uri().scheme() != "https" {
            let reason = "the redirect URI must be https";
            return Err(invalid(self.redirect.as_str(), reason));
        }
        self.check_fapi2_settings()
    }

    /// Checks settings and metadata before a login.
    pub(super) fn check_fapi2_login(&self, metadata: &Metadata) -> Result<(), FlowError> {
        if !self.is_fapi2() {
            return Ok(());
        }
        self.check_fapi2()
            .map_err(|error| FlowError::excluded_by_fapi2(error.to_string()))?;
        for member in self.fapi2_members(metadata) {
            well_formed(metadata, &[member.name])?;
            if !member.is_met {
                return Err(member.error());
            }
        }
        Ok(())
    }

    /// What the profiles require of the metadata (§5.3.2.1, §5.3.2.2, §5.3.3.1; Message Signing §5.4, §5.5).
    fn fapi2_members<'m>(&self, metadata: &'m Metadata) -> Vec<RequiredMember<'m>> {
        let list = |name, values: Option<&'m [String]>, is_met: bool, expected| RequiredMember {
            name,
            found: Found::List(values),
            expected,
            is_met,
        };
        let flag = |name, value: bool| RequiredMember {
            name,
            found: Found::Flag(value),
            expected: "true",
            is_met: value,
        };
        let has = |values: Option<&[String]>, permits: &dyn Fn(&str) -> bool| {
            values.is_some_and(|values| values.iter().any(|value| permits(value)))
        };
        let algorithms = self.id_tokens().permitted();
        let accepts_algorithm =
            |name: &str| Algorithm::from_name(name).is_some_and(|one| algorithms.contains(&one));
        let methods = metadata.code_challenge_methods_supported();
        let id_tokens = metadata.id_token_signing_alg_values_supported();
        let authentication = metadata.auth_methods(ServerEndpoint::Token);
        let permitted = self.client.fapi2_methods();
        let mut all = vec![
            RequiredMember {
                name: "jwks_uri",
                found: Found::Endpoint(metadata.jwks_uri()),
                expected: "an https URL",
                is_met: metadata.jwks_uri().is_some(),
            },
            RequiredMember {
                name: PUSHED_REQUEST_ENDPOINT,
                found: Found::Endpoint(metadata.pushed_authorization_request_endpoint()),
                expected: "an https URL",
                is_met: metadata.pushed_authorization_request_endpoint().is_some(),
            },
            list(
                CHALLENGE_METHODS,
                methods,
                has(methods, &|one| one == "S256"),
                "S256",
            ),
            list(
                ID_TOKEN_ALGORITHMS,
                id_tokens,
                has(id_tokens, &accepts_algorithm),
                PERMITTED,
            ),
            list(
                ServerEndpoint::Token.auth_methods_name(),
                authentication,
                has(authentication, &|one| permitted.contains(&one)),
                permitted[0],
            ),
        ];
        if self.response_mode().is_signed() {
            // Optional: RS256 is only the default of registrations.
            let listed = metadata.response_algorithms();
            let is_met = listed.is_none() || has(listed, &accepts_algorithm);
            all.push(list(RESPONSE_ALGORITHMS, listed, is_met, PERMITTED));
        } else {
            let has_iss = metadata.authorization_response_iss_parameter_supported();
            all.push(flag(ISS_PARAMETER, has_iss));
        }
        if self.dpop {
            let listed = metadata.dpop_signing_alg_values_supported();
            let is_met = has(listed, &|one| one == Algorithm::Es256.name());
            all.push(list(DPOP_ALGORITHMS, listed, is_met, "ES256"));
        } else {
            let is_bound = metadata.binds_tokens_to_certificates();
            all.push(flag(CERTIFICATE_BOUND_TOKENS, is_bound));
        }
        all
    }
}

impl FlowError {
    /// A setting contradicts the profile.
    pub(crate) fn excluded_by_fapi2(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(FlowErrorKind::Configuration, "fapi2_settings", reason)
    }
}

/// What a member of the metadata must be.
struct RequiredMember<'m> {
    name: &'static str,
    found: Found<'m>,
    expected: &'static str,
    is_met: bool,
}

enum Found<'m> {
    Endpoint(Option<&'m str>),
    List(Option<&'m [String]>),
    Flag(bool),
}

impl RequiredMember<'_> {
    fn error(&self) -> FlowError {
        let found = match &self.found {
            Found::Endpoint(None) | Found::List(None) => "missing".to_owned(),
            Found::Endpoint(Some(url)) => listed([*url]),
            Found::List(Some(values)) => listed(values.iter().map(String::as_str)),
            Found::Flag(value) => value.to_string(),
        };
        let (name, expected) = (self.name, self.expected);
        FlowError::new(
            FlowErrorKind::Configuration,
            "fapi2_metadata",
            format!(
                "{name} of the metadata is {found}, and the FAPI 2.0 Security Profile requires {expected}"
            ),
        )
    }
}
