//! The FAPI 2.0 Security Profile for resource servers.

use std::sync::Arc;

use super::layer::BearerLayer;
use super::settings::Settings;
use crate::ConfigError;

impl<C> BearerLayer<C> {
    /// Accepts access tokens only as the [FAPI 2.0 Security Profile] of the OpenID Foundation requires, §5.3.4 and §5.4:
    ///
    /// - Each token is bound to a key or a certificate ([`with_dpop`](Self::with_dpop), [`with_mtls`](Self::with_mtls), or
    ///   both), and the request proves possession. With one of them, `required` is implied.
    /// - Tokens are in the `Authorization` header: not in a form ([`FormTokenLayer`](crate::bearer::FormTokenLayer)), a
    ///   cookie or another field ([`add_token_source`](Self::add_token_source)).
    /// - JWTs, proofs and signed introspection responses have the algorithm PS256, ES256 or EdDSA. Of a list that was
    ///   configured, the others are removed.
    /// - `iat` and `nbf` are at most 60 seconds in the future.
    /// - The token names this API in `aud`.
    /// - Metadata and keys of the authorization server are discovered, over https.
    ///
    /// Settings before and after this call are checked alike. If one of them contradicts the profile,
    /// [`check`](Self::check) returns an error, and the layer rejects every request with 500.
    ///
    /// ```
    /// use tower_oauth::token::Dpop;
    /// use tower_oauth::{AuthorizationServer, BearerLayer};
    ///
    /// let server = AuthorizationServer::new("https://id.example.com")?;
    /// let layer = BearerLayer::jwt(&server, "https://api.example.com")?
    ///     .with_fapi2_security_profile()?
    ///     .with_dpop(Dpop::new("https://api.example.com")?);
    /// assert!(layer.check().is_ok());
    /// # Ok::<(), tower_oauth::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] if the verifier cannot comply: its audience is not checked, none of its algorithms is
    /// permitted, its leeway is longer than a minute, or its authorization server or introspection endpoint is configured
    /// by hand or not https. If [`IssuerLookup`](crate::token::IssuerLookup) returns such a verifier later, the lookup
    /// fails.
    ///
    /// # Not checked
    ///
    /// Scopes and other permissions, TLS of this server, and revocation before the token expires: use introspection, or
    /// access tokens with a short lifetime.
    ///
    /// [FAPI 2.0 Security Profile]: https://openid.net/specs/fapi-security-profile-2_0-final.html
    pub fn with_fapi2_security_profile(mut self) -> Result<Self, ConfigError> {
        let verifier = self.settings().verifier.clone().restricted_to_fapi2()?;
        self.change(|settings| {
            settings.verifier = verifier;
            settings.fapi2 = true;
        });
        Ok(self)
    }
}

impl Settings {
    /// Makes the settings as strict as the profile, which may have been chosen before them.
    pub(super) fn apply_fapi2(&mut self) {
        if !self.fapi2 {
            return;
        }
        self.bindings.required = true;
        let is_required = self.bindings.requires_dpop();
        if let Some(dpop) = &mut self.bindings.dpop {
            dpop.restrict_to_fapi2();
            let algorithms = dpop.algorithms();
            Arc::make_mut(&mut self.challenge).offer_dpop(algorithms, is_required);
        }
    }

    pub(super) fn find_fapi2_contradiction(&self) -> Option<&'static str> {
        if !self.fapi2 {
            return None;
        }
        if self.bindings.dpop.is_none() && self.bindings.mtls.is_none() {
            return Some(
                "access tokens must be bound to a key or a certificate: call `BearerLayer::with_dpop` or \
                 `BearerLayer::with_mtls`",
            );
        }
        let dpop = self.bindings.dpop.as_ref();
        if dpop.is_some_and(|dpop| dpop.algorithms().is_empty()) {
            return Some(
                "proofs must be signed with PS256, ES256 or EdDSA: change `Dpop::with_algorithms`",
            );
        }
        if !self.token_sources.is_empty() {
            return Some(
                "tokens must be in the `Authorization` header: remove `BearerLayer::add_token_source`",
            );
        }
        None
    }
}
