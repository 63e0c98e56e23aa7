//! Who a user is, as a source says.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::protocol::Claims;
use crate::protocol::claims::RegisteredClaims;
use crate::protocol::json::parse_object_text;

/// The user of an access token, as an [`IdentitySource`](super::IdentitySource) found it.
#[derive(Clone, Debug)]
pub struct Identity {
    subject: String,
    claims: Map<String, Value>,
}

/// Claims that describe an authentication or a token. They are not taken from a source, which cannot know them.
const OMITTED: [&str; 17] = [
    "iss",
    "sub",
    "aud",
    "exp",
    "nbf",
    "iat",
    "jti",
    "nonce",
    "azp",
    "at_hash",
    "c_hash",
    "s_hash",
    "auth_time",
    "acr",
    "amr",
    "sid",
    "session_expiry",
];

impl Identity {
    /// Creates an identity. `subject` must be what the provider never gives to another user: its number, and not a user
    /// name or an e-mail address, which can be changed and taken by others.
    ///
    /// At most 255 ASCII characters, as in an ID token (OpenID Connect Core §2). A login with another subject fails.
    pub fn new(subject: impl Into<String>) -> Self {
        Self {
            subject: subject.into(),
            claims: Map::new(),
        }
    }

    /// Adds a claim about the user, with the names of OpenID Connect Core §5.1 where one fits: `name`,
    /// `preferred_username`, `picture`, `email` with `email_verified`. `null` adds nothing.
    ///
    /// Claims that describe an authentication or a token, such as `sub`, `sid` and `acr`, are omitted.
    #[must_use]
    pub fn with_claim(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        let (name, value) = (name.into(), value.into());
        if !value.is_null() && !OMITTED.contains(&&*name) {
            self.claims.insert(name, value);
        }
        self
    }

    /// Returns the subject.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Returns the claims, without `sub`.
    pub fn claims(&self) -> &Map<String, Value> {
        &self.claims
    }

    pub(in crate::flow) fn has_valid_subject(&self) -> bool {
        let subject = &self.subject;
        (1..=255).contains(&subject.len()) && subject.is_ascii() && !subject.contains('\0')
    }

    /// Returns the claims of a session, which are never signed.
    pub(in crate::flow) fn session_claims(mut self, issuer: &str, now: i64) -> Option<Claims> {
        self.claims.insert("iss".to_owned(), issuer.into());
        self.claims.insert("sub".to_owned(), self.subject.into());
        self.claims.insert("iat".to_owned(), now.into());
        let text = Arc::<str>::from(Value::Object(self.claims).to_string());
        let payload = parse_object_text(&text).ok()?;
        let registered = RegisteredClaims::read_within(&text, &payload).ok()?;
        Some(Claims::new(Arc::clone(&text), registered))
    }
}
