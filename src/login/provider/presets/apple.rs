//! Apple.

use std::sync::Arc;

use serde_json::json;

use super::Provider;
use crate::config_error::ConfigError;
use crate::crypto::{Algorithm, SigningKey, UnsignedJws};
use crate::flow::{Flow, ResponseMode};
use crate::issuer::{Client, CredentialSource};
use crate::protocol::ClientSecret;
use crate::sync::Mutex;

const ISSUER: &str = "https://appleid.apple.com";

/// How long a secret is valid, in seconds. Apple accepts up to six months
/// (<https://developer.apple.com/documentation/accountorganizationaldatasharing/creating-a-client-secret>).
const LIFETIME: i64 = 24 * 60 * 60;

/// A secret is renewed when this much of its lifetime is left, in seconds.
const RENEWED_BEFORE: i64 = 12 * 60 * 60;

impl Provider {
    /// Creates the provider "Sign in with Apple", named `apple`, from a Services ID, the Team ID, and a key for Sign in
    /// with Apple: the downloaded `.p8` file with its Key ID.
    ///
    /// Requests `openid name email`. Apple has no client secret of its own: the layer signs one with the key, valid for a
    /// day, and renews it half a day before its end.
    ///
    /// - **The response is a form** that a page of Apple posts, since Apple requires it for name and e-mail address. Users
    ///   return with one more redirect; nothing is to be configured.
    /// - **E-mail address**: the one in the ID token, often of Apple's relay (`is_private_email`).
    /// - **The name** of the user comes once, at their first consent, and is not signed: the browser could have changed it.
    ///   [`NewLogin::unverified_user`](crate::session::NewLogin::unverified_user) returns it, for display only.
    /// - **Refresh tokens** are not kept: Apple limits their use to once a day, and its access tokens are for no API. A
    ///   session has no access token after an hour, and lasts as long as others.
    /// - **Logout**: Apple has no logout endpoint, so users are signed out here only. The access token is revoked.
    ///
    /// ```
    /// use tower_oauth::{Provider, SigningKey};
    ///
    /// # fn apple(p8: &str) -> Result<Provider, tower_oauth::ConfigError> {
    /// let key = SigningKey::from_pem(p8)?.with_key_id("ABC123DEFG");
    /// let apple = Provider::apple("com.example.shop", "TEAM123456", key)?;
    /// # Ok(apple)
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] if the key is not one for ES256 or has no key ID.
    pub fn apple(
        services_id: impl Into<String>,
        team_id: impl Into<String>,
        key: SigningKey,
    ) -> Result<Self, ConfigError> {
        let invalid = |value: &str, reason| ConfigError::Setting {
            setting: "key for Sign in with Apple",
            value: value.to_owned(),
            reason,
        };
        if key.algorithm() != Algorithm::Es256 {
            let reason = "it must be a P-256 key, which signs with ES256";
            return Err(invalid(key.algorithm().name(), reason));
        }
        if key.key_id().is_none_or(str::is_empty) {
            let reason = "its Key ID is missing: see `SigningKey::with_key_id`";
            return Err(invalid("", reason));
        }
        let services_id = services_id.into();
        let secret = AppleSecret {
            services_id: services_id.clone(),
            team_id: team_id.into(),
            key,
            current: Mutex::default(),
        };
        let secret = Arc::new(secret);
        let source = CredentialSource::from_time(move |now| secret.at(now));
        let client = Client::confidential_post(services_id, source);
        let apple = Self::discovered("apple", "Apple", ISSUER, client)?;
        let apple = apple.with_scopes("openid name email")?;
        let apple = apple.with_response_mode(ResponseMode::FormPost);
        Ok(apple.map_flow(Flow::without_refresh_tokens))
    }
}

/// Signs client secrets: JWTs without a type.
struct AppleSecret {
    services_id: String,
    team_id: String,
    key: SigningKey,
    current: Mutex<Option<SignedSecret>>,
}

struct SignedSecret {
    issued_at: i64,
    expires_at: i64,
    text: ClientSecret,
}

impl AppleSecret {
    /// Returns the secret for this time, in seconds since the Unix epoch. `None` if it cannot be signed, for lack of
    /// randomness.
    fn at(&self, now: i64) -> Option<ClientSecret> {
        let mut current = self.current.lock();
        // A clock that was set back makes a secret that is not valid yet.
        let is_usable =
            |one: &&SignedSecret| one.issued_at <= now && now < one.expires_at - RENEWED_BEFORE;
        if let Some(usable) = current.as_ref().filter(is_usable) {
            return Some(usable.text.clone());
        }
        let expires_at = now.saturating_add(LIFETIME);
        let header = json!({ "alg": self.key.algorithm().name(), "kid": self.key.key_id() });
        let claims = json!({
            "iss": self.team_id, "sub": self.services_id, "aud": ISSUER, "iat": now, "exp": expires_at,
        });
        let unsigned = UnsignedJws::new(&header.to_string(), &claims.to_string());
        let text = self.key.sign_jws(unsigned)?;
        let text = ClientSecret::from(text);
        *current = Some(SignedSecret {
            issued_at: now,
            expires_at,
            text: text.clone(),
        });
        Some(text)
    }
}
