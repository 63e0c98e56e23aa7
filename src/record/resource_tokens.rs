//! The access tokens of a session for further resources (RFC 8707), beside the one of the session itself.

use super::session::{ResourceToken, SessionRecord, SessionTokens};

/// When an access token was received, and when it expires.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TokenTimes {
    pub(crate) since: i64,
    pub(crate) expires_at: i64,
}

impl SessionTokens {
    /// Returns the access token for a further resource, which may have expired.
    pub(crate) fn resource_token(&self, resource: &str) -> Option<&ResourceToken> {
        self.resource_tokens
            .iter()
            .find(|one| one.resource == resource)
    }

    /// Replaces the access token for a further resource.
    pub(crate) fn set_resource_token(&mut self, token: ResourceToken) {
        self.resource_tokens
            .retain(|one| one.resource != token.resource);
        self.resource_tokens.push(token);
    }

    /// Returns the times of the access token for this resource, or of that of the session; `None` if there is none.
    pub(crate) fn times(&self, resource: Option<&str>) -> Option<TokenTimes> {
        match resource {
            None => Some(TokenTimes {
                since: self.access_token_since,
                expires_at: self.access_token_expires_at,
            }),
            Some(resource) => self.resource_token(resource).map(|one| TokenTimes {
                since: one.since,
                expires_at: one.expires_at,
            }),
        }
    }
}

impl SessionRecord {
    /// Returns the record without the tokens for further resources, to make it smaller.
    pub(crate) fn without_resource_tokens(mut self) -> Self {
        self.tokens.resource_tokens.clear();
        self
    }

    /// Returns this record, which was saved without the tokens for further resources because it was too large, with those
    /// of `other`. `None` if `other` is not the same state of the session, or has none either.
    pub(crate) fn completed_by(&self, other: &Self) -> Option<Self> {
        self.lacks_tokens_of(other).then(|| {
            let mut completed = self.clone();
            completed
                .tokens
                .resource_tokens
                .clone_from(&other.tokens.resource_tokens);
            completed
        })
    }

    /// Returns whether `other` is the same state of the session, and only `other` has the tokens for further resources.
    pub(crate) fn lacks_tokens_of(&self, other: &Self) -> bool {
        let is_same = self.id == other.id && self.generation == other.generation;
        is_same && !self.has_resource_tokens() && other.has_resource_tokens()
    }

    pub(crate) fn has_resource_tokens(&self) -> bool {
        !self.tokens.resource_tokens.is_empty()
    }
}
