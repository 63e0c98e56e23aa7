//! Grants with their codes, refresh tokens and access tokens. Replay of a code or a refresh token
//! revokes the whole grant (RFC 9700 §2.1.1, §4.14.2).

mod revocation;

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use super::browser_sessions::SignIn;
use super::granted_access::GrantedAccess;
use super::respond::random_text;
use crate::crypto::{base64url, digest};
use crate::protocol::ScopeSet;

/// The lifetime of a code; RFC 6749 §4.1.2 recommends ten minutes at most.
const CODE_LIFETIME: Duration = Duration::from_secs(60);

/// The authorization that a user gave to a client, or that a client got with its own credentials.
#[derive(Clone, Debug)]
pub(super) struct IssuedGrant {
    pub(super) client_id: String,
    /// `None` for the client credentials grant.
    pub(super) sign_in: Option<SignIn>,
    pub(super) scopes: ScopeSet,
    pub(super) nonce: Option<String>,
    /// The thumbprint that the code is bound to (RFC 9449 §10).
    pub(super) dpop_jkt: Option<String>,
    /// The thumbprint that refresh tokens are bound to.
    pub(super) bound_key: Option<String>,
    pub(super) access: GrantedAccess,
}

pub(super) type GrantId = usize;

/// The code or refresh token is not valid (`invalid_grant`).
#[derive(Debug)]
pub(super) struct InvalidGrant;

#[derive(Debug, Default)]
pub(super) struct Grants {
    /// `None` once revoked.
    grants: Vec<Option<IssuedGrant>>,
    codes: HashMap<String, Code>,
    refresh_tokens: HashMap<String, RefreshToken>,
    access_tokens: HashMap<String, AccessToken>,
    /// Issued ID tokens with client and sign-in, to recognize them in `id_token_hint`.
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
    /// The thumbprint of the key that the token is bound to.
    thumbprint: Option<String>,
}

impl Grants {
    pub(super) fn add(&mut self, grant: IssuedGrant) -> GrantId {
        self.grants.push(Some(grant));
        self.grants.len() - 1
    }

    pub(super) fn grant(&self, id: GrantId) -> Option<&IssuedGrant> {
        self.grants.get(id)?.as_ref()
    }

    fn revoke(&mut self, id: GrantId) {
        if let Some(grant) = self.grants.get_mut(id) {
            *grant = None;
        }
    }

    pub(super) fn issue_code(
        &mut self,
        grant: IssuedGrant,
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
        let value = random_text();
        self.codes.insert(value.clone(), code);
        value
    }

    /// Redeems a code: once, for the client it was issued to, with the redirect URI of the
    /// authorization request (RFC 6749 §4.1.3) and the verifier of its challenge (RFC 7636 §4.6).
    pub(super) fn redeem_code(
        &mut self,
        code: &str,
        client_id: &str,
        redirect_uri: &str,
        verifier: &str,
        now: Duration,
    ) -> Result<GrantId, InvalidGrant> {
        let code = self.codes.get_mut(code).ok_or(InvalidGrant)?;
        let id = code.grant;
        if code.used {
            // RFC 6749 §4.1.2: a code that is presented twice may have been stolen.
            self.revoke(id);
            return Err(InvalidGrant);
        }
        let grant = self
            .grants
            .get(id)
            .and_then(Option::as_ref)
            .ok_or(InvalidGrant)?;
        if grant.client_id != client_id {
            return Err(InvalidGrant);
        }
        // Consumed even if the other checks fail, so that verifiers cannot be guessed.
        code.used = true;
        let valid = code.expires_at > now
            && code.redirect_uri == redirect_uri
            && is_verifier(verifier)
            && base64url::encode(&digest::sha256(verifier.as_bytes())) == code.challenge;
        valid.then_some(id).ok_or(InvalidGrant)
    }

    pub(super) fn issue_refresh_token(
        &mut self,
        grant: GrantId,
        expires_at: Option<Duration>,
    ) -> String {
        let value = random_text();
        let token = RefreshToken {
            grant,
            used: false,
            expires_at,
        };
        self.refresh_tokens.insert(value.clone(), token);
        value
    }

    /// Validates a refresh token without consuming it. Reuse of a consumed token revokes its grant
    /// (RFC 9700 §4.14.2).
    pub(super) fn check_refresh_token(
        &mut self,
        token: &str,
        client_id: &str,
        now: Duration,
    ) -> Result<GrantId, InvalidGrant> {
        let token = *self.refresh_tokens.get(token).ok_or(InvalidGrant)?;
        let id = token.grant;
        if self.grant(id).ok_or(InvalidGrant)?.client_id != client_id {
            return Err(InvalidGrant);
        }
        if token.used {
            self.revoke(id);
            return Err(InvalidGrant);
        }
        token.is_unexpired(now).then_some(id).ok_or(InvalidGrant)
    }

    pub(super) fn consume_refresh_token(&mut self, token: &str) {
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
                thumbprint: None,
            },
        );
    }

    /// Binds the refresh tokens of a grant to a key.
    pub(super) fn bind(&mut self, id: GrantId, thumbprint: Option<&str>) {
        if let Some(Some(grant)) = self.grants.get_mut(id) {
            grant.bound_key = thumbprint.map(str::to_owned);
        }
    }

    /// Binds an access token to a key.
    pub(super) fn bind_access_token(&mut self, token: &str, thumbprint: Option<&str>) {
        if let Some(token) = self.access_tokens.get_mut(token) {
            token.thumbprint = thumbprint.map(str::to_owned);
        }
    }

    /// Returns the thumbprint of the key that an access token is bound to.
    pub(super) fn thumbprint_of(&self, token: &str) -> Option<&str> {
        self.access_tokens.get(token)?.thumbprint.as_deref()
    }

    /// Returns the grant and the scopes of an access token if this server issued it and it is valid.
    pub(super) fn access_token(
        &self,
        token: &str,
        now: Duration,
    ) -> Option<(&IssuedGrant, &ScopeSet)> {
        let token = self
            .access_tokens
            .get(token)
            .filter(|token| token.expires_at > now && !token.revoked)?;
        Some((self.grant(token.grant)?, &token.scopes))
    }

    /// Returns whether an access token of this server, or its grant, was revoked.
    pub(super) fn is_revoked(&self, token: &str) -> bool {
        self.access_tokens
            .get(token)
            .is_some_and(|token| token.revoked || self.grant(token.grant).is_none())
    }

    pub(super) fn add_id_token(&mut self, token: &str, client_id: &str, sign_in: &SignIn) {
        self.id_tokens
            .insert(token.to_owned(), (client_id.to_owned(), sign_in.clone()));
    }

    /// Returns the clients that have an ID token of this sign-in.
    pub(super) fn clients_of(&self, sign_in: &SignIn) -> Vec<String> {
        let issued = self.id_tokens.values().filter(|(_, of)| of == sign_in);
        let clients: BTreeSet<String> = issued.map(|(client_id, _)| client_id.clone()).collect();
        clients.into_iter().collect()
    }

    /// Returns the client and the sign-in of an ID token of this server, expired or not
    /// (RP-Initiated Logout §2).
    pub(super) fn id_token(&self, token: &str) -> Option<&(String, SignIn)> {
        self.id_tokens.get(token)
    }
}

impl RefreshToken {
    fn is_unexpired(&self, now: Duration) -> bool {
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
