//! Token revocation (RFC 7009 §2.1) and the tokens that are still valid.

use std::time::Duration;

use super::Grants;

impl Grants {
    /// Revokes an access token, or the whole grant of a refresh token. Returns whether the token was
    /// valid and issued to this client.
    pub(in crate::testing) fn revoke_token(
        &mut self,
        token: &str,
        client_id: Option<&str>,
    ) -> bool {
        let refresh_token = self.refresh_tokens.get(token).map(|issued| issued.grant);
        let access_token = self.access_tokens.get(token);
        let access_token = access_token.filter(|issued| !issued.revoked);
        let id = refresh_token.or_else(|| access_token.map(|issued| issued.grant));
        let Some((id, grant)) = id.and_then(|id| Some((id, self.grant(id)?))) else {
            return false;
        };
        // RFC 7009 §2.1: a token can be revoked only by the client that it was issued to.
        if client_id.is_some_and(|client_id| grant.client_id != client_id) {
            return false;
        }
        if refresh_token.is_some() {
            self.revoke(id);
        } else if let Some(issued) = self.access_tokens.get_mut(token) {
            issued.revoked = true;
        }
        true
    }

    /// Returns the valid refresh tokens of a subject.
    pub(in crate::testing) fn refresh_tokens_of(
        &self,
        subject: &str,
        now: Duration,
    ) -> Vec<String> {
        let valid = self
            .refresh_tokens
            .iter()
            .filter(|(_, token)| !token.used && token.is_unexpired(now))
            .filter(|(_, token)| self.is_of(token.grant, subject));
        valid.map(|(token, _)| token.clone()).collect()
    }

    /// Returns the valid access tokens of a subject.
    pub(in crate::testing) fn access_tokens_of(&self, subject: &str, now: Duration) -> Vec<String> {
        let valid = self
            .access_tokens
            .iter()
            .filter(|(_, token)| !token.revoked && token.expires_at > now)
            .filter(|(_, token)| self.is_of(token.grant, subject));
        valid.map(|(token, _)| token.clone()).collect()
    }

    fn is_of(&self, id: usize, subject: &str) -> bool {
        let sign_in = self.grant(id).and_then(|grant| grant.sign_in.as_ref());
        sign_in.is_some_and(|sign_in| sign_in.subject == subject)
    }
}
