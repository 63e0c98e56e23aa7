//! What the request that starts a login may ask for, combined with what every login of the application asks for.

use std::fmt;

use super::error::FlowError;
use super::settings::Flow;
use super::transaction::{LoginPurpose, PageDigest};
use crate::protocol::authorization_request::AuthorizationRequest;
use crate::protocol::requested_claims::RequestedClaims;
use crate::protocol::sanitize::{listed, log_safe};
use crate::protocol::{AuthorizationDetails, Metadata};
use crate::record::SessionRef;
use crate::token::id_token::{AcrValues, ClaimRequirements};

/// Maximum length of a parameter that a request may set, in bytes.
const MAX_PARAMETER: usize = 512;

/// Limit on what the ID token of one login is checked for, in bytes.
const MAX_CHECKED: usize = 68;

/// The parameters of a login that the request which starts it may set.
#[derive(Clone, Default)]
pub(crate) struct StartRequest {
    pub(crate) by_person: bool,
    pub(crate) purpose: LoginPurpose,
    /// Whether the application itself chose the parameters, as a sealed request shows, and not a link.
    pub(crate) by_application: bool,
    /// The page that requires another authentication.
    pub(crate) page: Option<PageDigest>,
    pub(crate) login_hint: Option<String>,
    pub(crate) prompt: Option<String>,
    pub(crate) ui_locales: Option<String>,
    pub(crate) acr_values: Option<String>,
    pub(crate) max_age: Option<u32>,
    /// In addition to those of every login.
    pub(crate) authorization_details: Option<AuthorizationDetails>,
    /// In addition to those of every login.
    pub(crate) requested_claims: Option<RequestedClaims>,
    /// The session that the browser has at the start.
    pub(crate) replaces: Option<SessionRef>,
}

/// Omits the hint, which often is an e-mail address, and what is requested.
impl fmt::Debug for StartRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StartRequest")
            .field("purpose", &self.purpose)
            .field("by_application", &self.by_application)
            .field("prompt", &self.prompt)
            .field("acr_values", &self.acr_values)
            .field("max_age", &self.max_age)
            .finish_non_exhaustive()
    }
}

impl Flow {
    /// Combines the parameters of a login with the configured ones. Every site can link to the login route, so a
    /// link can raise the requirements of a login and never lower them. Those that the application chose for this
    /// login take the place of the configured ones.
    pub(super) fn with_requirements(
        &self,
        mut request: StartRequest,
    ) -> Result<StartRequest, FlowError> {
        if request.by_application {
            request.max_age = request.max_age.or(self.max_age);
            request.acr_values = request.acr_values.or_else(|| self.acr_values.clone());
            let configured = self.configured_prompt();
            request.prompt = request.prompt.or_else(|| configured.map(str::to_owned));
            return Ok(request);
        }
        request.max_age = self.max_age_of(request.max_age);
        request.acr_values = self
            .acr_values_of(request.acr_values)
            .map_err(|configured| {
                let configured = log_safe(configured);
                FlowError::request(
                    "acr_values_unsupported",
                    format!("`acr_values` has none of {configured}, which every login of this application requests"),
                )
            })?;
        let configured = self.configured_prompt().unwrap_or_default();
        request.prompt = match request.prompt {
            Some(none) if none == "none" && self.prompts_for_login() => {
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

    /// Returns the `max_age` that meets both the requested one and that of every login.
    pub(crate) fn max_age_of(&self, requested: Option<u32>) -> Option<u32> {
        let ages = requested.into_iter().chain(self.max_age);
        ages.min()
    }

    /// Returns the `acr_values` that meet both the requested ones and those of every login. If there are none, the error
    /// is those of every login.
    pub(crate) fn acr_values_of(&self, requested: Option<String>) -> Result<Option<String>, &str> {
        let Some(configured) = self.acr_values.as_deref() else {
            return Ok(requested);
        };
        let Some(requested) = requested else {
            return Ok(Some(configured.to_owned()));
        };
        let is_configured = |one: &&str| configured.split(' ').any(|other| other == *one);
        let both: Vec<&str> = requested.split(' ').filter(is_configured).collect();
        match both.is_empty() {
            true => Err(configured),
            false => Ok(Some(both.join(" "))),
        }
    }
}

impl StartRequest {
    /// Returns whether a link chose parameters, which the authorization server may reject.
    pub(super) fn is_of_a_link(&self) -> bool {
        let has_texts = self.texts().iter().any(|(_, text)| text.is_some());
        !self.by_application && (has_texts || self.max_age.is_some())
    }

    /// Returns the names and values of the parameters that are texts.
    fn texts(&self) -> [(&'static str, Option<&str>); 4] {
        [
            ("login_hint", self.login_hint.as_deref()),
            ("prompt", self.prompt.as_deref()),
            ("ui_locales", self.ui_locales.as_deref()),
            ("acr_values", self.acr_values.as_deref()),
        ]
    }

    pub(super) fn check(&self, metadata: &Metadata) -> Result<(), FlowError> {
        for (name, text) in self.texts() {
            let Some(text) = text else { continue };
            if text.is_empty() || text.len() > MAX_PARAMETER || text.chars().any(char::is_control) {
                return Err(FlowError::request(
                    "parameter_malformed",
                    format!(
                        "`{name}` has {} bytes, expected 1 to {MAX_PARAMETER} without control characters",
                        text.len()
                    ),
                ));
            }
        }
        match &self.prompt {
            Some(prompt) => check_prompt(prompt, metadata.prompt_values_supported()),
            None => Ok(()),
        }
    }

    /// Returns the `acr_values` as the transaction keeps them.
    pub(super) fn acr_values(&self) -> Result<Option<AcrValues>, FlowError> {
        let Some(acr_values) = &self.acr_values else {
            return Ok(None);
        };
        AcrValues::parse(acr_values).map(Some).ok_or_else(|| {
            FlowError::request("parameter_malformed", "`acr_values` has more than 8 values")
        })
    }

    /// Returns what the ID token of this login is checked for, beside what is requested by every login.
    /// Both lists are in a short cookie.
    pub(super) fn claim_requirements(
        &self,
        acr_values: Option<&AcrValues>,
    ) -> Result<ClaimRequirements, FlowError> {
        let Some(claims) = &self.requested_claims else {
            return Ok(ClaimRequirements::default());
        };
        let requirements = ClaimRequirements::of(claims);
        let acr_bytes = acr_values.map_or(0, |values| values.to_bytes().len());
        if acr_bytes + requirements.to_bytes().len() > MAX_CHECKED {
            return Err(FlowError::settings(
                "login_checks_too_many",
                "a login has more values of `acr_values` and `claims` than can be checked together",
            ));
        }
        Ok(requirements)
    }

    /// Adds the parameters to the authorization request.
    pub(super) fn add_to(&self, authorization: &mut AuthorizationRequest) {
        let max_age = self.max_age.map(|seconds| seconds.to_string());
        let max_age = ("max_age", max_age.as_deref());
        for (name, value) in self.texts().into_iter().chain([max_age]) {
            if let Some(value) = value {
                authorization.add(name, value);
            }
        }
    }
}

/// Checks that the server supports all values of `prompt` and that `none` is the only value (OpenID Connect Core
/// §3.1.2.1). A server that lists no values supports those of the specification.
fn check_prompt(prompt: &str, supported: Option<&[String]>) -> Result<(), FlowError> {
    let supported: Vec<&str> = match supported {
        Some(supported) => supported.iter().map(String::as_str).collect(),
        None => vec!["none", "login", "consent", "select_account"],
    };
    let values: Vec<&str> = prompt.split(' ').collect();
    let is_mixed = values.contains(&"none") && values.len() > 1;
    if is_mixed || !values.iter().all(|value| supported.contains(value)) {
        return Err(FlowError::request(
            "prompt_unsupported",
            format!(
                "`prompt` is {}, expected `none` alone, or other values, out of those that the authorization server supports: {}",
                log_safe(prompt),
                listed(supported)
            ),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

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
