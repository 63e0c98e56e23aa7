//! What was granted: codes, refresh tokens and access tokens, each tied to the grant it came from, so
//! that a replay takes the whole grant down (RFC 9700 §2.1.1, §4.14.2).

mod revocation;

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use super::respond::random_text;
use super::sessions::SignIn;
use crate::crypto::{base64url, digest};
use crate::protocol::ScopeSet;

/// How long a code is good; RFC 6749 §4.1.2 recommends ten minutes at most.
const CODE_LIFETIME: Duration = Duration::from_secs(60);

/// One consent of one person to one client, or what a client got for itself.
#[derive(Clone, Debug)]
pub(super) struct Grant {
    pub(super) client_id: String,
    /// `None` where a client acts for itself.
    pub(super) sign_in: Option<SignIn>,
    pub(super) scopes: ScopeSet,
    pub(super) nonce: Option<String>,
}

pub(super) type GrantId = usize;

/// The presented code or refresh token is no good, for whatever reason (`invalid_grant`).
#[derive(Debug)]
pub(super) struct Refused;

#[derive(Debug, Default)]
pub(super) struct Grants {
    /// `None` once revoked.
    grants: Vec<Option<Grant>>,
    codes: HashMap<String, Code>,
    refresh_tokens: HashMap<String, RefreshToken>,
    access_tokens: HashMap<String, AccessToken>,
    /// ID tokens that were issued, to know them again as a hint: client and sign-in.
    id_tokens: HashMap<String, (String, SignIn)>,
}

#[derive(Debug)]
struct Code {
    grant: GrantId,
    redirect_uri: String,
    challenge: String,
    expires_at: Duration,
    used: bool,
}

#[derive(Clone, Copy, Debug)]
struct RefreshToken {
    grant: GrantId,
    used: bool,
    expires_at: Option<Duration>,
}

#[derive(Debug)]
struct AccessToken {
    grant: GrantId,
    scopes: ScopeSet,
    expires_at: Duration,
    revoked: bool,
}

impl Grants {
    pub(super) fn add(&mut self, grant: Grant) -> GrantId {
        self.grants.push(Some(grant));
        self.grants.len() - 1
    }

    pub(super) fn grant(&self, id: GrantId) -> Option<&Grant> {
        self.grants.get(id)?.as_ref()
    }

    fn revoke(&mut self, id: GrantId) {
        if let Some(grant) = self.grants.get_mut(id) {
            *grant = None;
        }
    }

    pub(super) fn issue_code(
        &mut self,
        grant: Grant,
        redirect_uri: &str,
        challenge: &str,
        now: Duration,
    ) -> String {
        let code = Code {
            grant: self.add(grant),
            redirect_uri: redirect_uri.to_owned(),
            challenge: challenge.to_owned(),
            expires_at: now.saturating_add(CODE_LIFETIME),
            used: false,
        };
        let name = random_text();
        self.codes.insert(name.clone(), code);
        name
    }

    /// Takes a code in: once, from the client it was issued to, with the redirect URI of the
    /// authorization request (RFC 6749 §4.1.3) and the verifier of its challenge (RFC 7636 §4.6).
    pub(super) fn redeem_code(
        &mut self,
        code: &str,
        client_id: &str,
        redirect_uri: &str,
        verifier: &str,
        now: Duration,
    ) -> Result<GrantId, Refused> {
        let code = self.codes.get_mut(code).ok_or(Refused)?;
        let id = code.grant;
        if code.used {
            // RFC 6749 §4.1.2: one of the two who presented it stole it.
            self.revoke(id);
            return Err(Refused);
        }
        let grant = self
            .grants
            .get(id)
            .and_then(Option::as_ref)
            .ok_or(Refused)?;
        if grant.client_id != client_id {
            return Err(Refused);
        }
        // Used up even where the rest is wrong, so that verifiers cannot be tried one by one.
        code.used = true;
        let good = code.expires_at > now
            && code.redirect_uri == redirect_uri
            && is_verifier(verifier)
            && base64url::encode(&digest::sha256(verifier.as_bytes())) == code.challenge;
        good.then_some(id).ok_or(Refused)
    }

    pub(super) fn issue_refresh_token(
        &mut self,
        grant: GrantId,
        expires_at: Option<Duration>,
    ) -> String {
        let name = random_text();
        let token = RefreshToken {
            grant,
            used: false,
            expires_at,
        };
        self.refresh_tokens.insert(name.clone(), token);
        name
    }

    /// Looks at a refresh token without using it up. Presented a second time, it revokes its grant
    /// (RFC 9700 §4.14.2).
    pub(super) fn check_refresh_token(
        &mut self,
        token: &str,
        client_id: &str,
        now: Duration,
    ) -> Result<GrantId, Refused> {
        let token = *self.refresh_tokens.get(token).ok_or(Refused)?;
        let id = token.grant;
        if self.grant(id).ok_or(Refused)?.client_id != client_id {
            return Err(Refused);
        }
        if token.used {
            self.revoke(id);
            return Err(Refused);
        }
        token.is_timely(now).then_some(id).ok_or(Refused)
    }

    pub(super) fn use_up_refresh_token(&mut self, token: &str) {
        if let Some(token) = self.refresh_tokens.get_mut(token) {
            token.used = true;
        }
    }

    pub(super) fn add_access_token(
        &mut self,
        token: &str,
        grant: GrantId,
        scopes: ScopeSet,
        expires_at: Duration,
    ) {
        self.access_tokens.insert(
            token.to_owned(),
            AccessToken {
                grant,
                scopes,
                expires_at,
                revoked: false,
            },
        );
    }

    /// The grant and the scopes of an access token that was issued here and is still good.
    pub(super) fn access_token(&self, token: &str, now: Duration) -> Option<(&Grant, &ScopeSet)> {
        let token = self
            .access_tokens
            .get(token)
            .filter(|token| token.expires_at > now && !token.revoked)?;
        Some((self.grant(token.grant)?, &token.scopes))
    }

    /// Whether an access token was issued here, and it or its grant was revoked since.
    pub(super) fn is_revoked(&self, token: &str) -> bool {
        self.access_tokens
            .get(token)
            .is_some_and(|token| token.revoked || self.grant(token.grant).is_none())
    }

    pub(super) fn add_id_token(&mut self, token: &str, client_id: &str, sign_in: &SignIn) {
        self.id_tokens
            .insert(token.to_owned(), (client_id.to_owned(), sign_in.clone()));
    }

    /// The clients that got an ID token of this sign-in.
    pub(super) fn clients_of(&self, sign_in: &SignIn) -> Vec<String> {
        let told = self.id_tokens.values().filter(|(_, of)| of == sign_in);
        let clients: BTreeSet<String> = told.map(|(client_id, _)| client_id.clone()).collect();
        clients.into_iter().collect()
    }

    /// The client and the sign-in of an ID token that was issued here, expired or not
    /// (RP-Initiated Logout §2).
    pub(super) fn id_token(&self, token: &str) -> Option<&(String, SignIn)> {
        self.id_tokens.get(token)
    }
}

impl RefreshToken {
    fn is_timely(&self, now: Duration) -> bool {
        self.expires_at.is_none_or(|expires_at| expires_at > now)
    }
}

/// RFC 7636 §4.1: 43 to 128 unreserved characters.
fn is_verifier(text: &str) -> bool {
    (43..=128).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
}
