//! What ends before its time, and what is left (RFC 7009 §2.1).

use std::time::Duration;

use super::Grants;

impl Grants {
    /// Ends an access token, or the whole grant of a refresh token; whether there was something to end
    /// that belongs to this client.
    pub(in crate::testing) fn revoke_token(
        &mut self,
        token: &str,
        client_id: Option<&str>,
    ) -> bool {
        let refresh_token = self.refresh_tokens.get(token).map(|known| known.grant);
        let access_token = self.access_tokens.get(token);
        let access_token = access_token.filter(|known| !known.revoked);
        let id = refresh_token.or_else(|| access_token.map(|known| known.grant));
        let Some((id, grant)) = id.and_then(|id| Some((id, self.grant(id)?))) else {
            return false;
        };
        // RFC 7009 §2.1: only the client that it was issued to.
        if client_id.is_some_and(|client_id| grant.client_id != client_id) {
            return false;
        }
        if refresh_token.is_some() {
            self.revoke(id);
        } else if let Some(known) = self.access_tokens.get_mut(token) {
            known.revoked = true;
        }
        true
    }

    /// The refresh tokens of a person that a client could use now.
    pub(in crate::testing) fn refresh_tokens_of(
        &self,
        subject: &str,
        now: Duration,
    ) -> Vec<String> {
        let alive = self
            .refresh_tokens
            .iter()
            .filter(|(_, token)| !token.used && token.is_timely(now))
            .filter(|(_, token)| self.is_of(token.grant, subject));
        alive.map(|(name, _)| name.clone()).collect()
    }

    /// The access tokens of a person that are still good.
    pub(in crate::testing) fn access_tokens_of(&self, subject: &str, now: Duration) -> Vec<String> {
        let alive = self
            .access_tokens
            .iter()
            .filter(|(_, token)| !token.revoked && token.expires_at > now)
            .filter(|(_, token)| self.is_of(token.grant, subject));
        alive.map(|(name, _)| name.clone()).collect()
    }

    fn is_of(&self, id: usize, subject: &str) -> bool {
        let sign_in = self.grant(id).and_then(|grant| grant.sign_in.as_ref());
        sign_in.is_some_and(|sign_in| sign_in.subject == subject)
    }
}
