//! The state of a login between the authorization request and the callback.

use std::fmt;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::clock::{MAX_CLOCK_SKEW, seconds_after};
use crate::crypto::binding::join;
use crate::crypto::{ProofKey, base64url, hmac_sha256, sha256_start};
use crate::protocol::{CodeVerifier, Nonce, State};
use crate::record::{Reader, SessionId, SessionRef, UserDigest, Writer};
use crate::token::id_token::{AcrValues, ClaimRequirements};

const SCHEMA: u8 = 6;

/// Binds an authorization response to its authorization request and to the browser that sent the request
/// (RFC 9700 §4.4.2, §4.7.1). Encrypted before it is stored in a cookie.
///
/// Short and of limited length: a browser has several logins in progress, and proxies limit the size of its cookies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Transaction {
    pub(crate) state: StateDigest,
    pub(crate) secret: LoginSecret,
    pub(crate) destination: Destination,
    /// In seconds since the Unix epoch.
    pub(crate) started_at: i64,
    /// Whether a user action started the login, according to the `Sec-Fetch-*` fields.
    pub(crate) by_person: bool,
    pub(crate) purpose: LoginPurpose,
    /// Whether the request had `prompt=none`: an error that requires interaction is not a failure then.
    pub(crate) silent: bool,
    pub(crate) max_age: Option<u32>,
    pub(crate) acr_values: Option<AcrValues>,
    /// What was requested for this login only.
    pub(crate) claims: ClaimRequirements,
    /// The page that requires another authentication, if the user returns to another one.
    pub(crate) page: Option<PageDigest>,
    /// The session that the browser had at the start, since its cookie may be missing at the callback.
    pub(crate) replaces: Option<SessionRef>,
}

/// What a login is for, which decides who may complete it and what a failure means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum LoginPurpose {
    #[default]
    SignIn,
    /// The user of the session that the login replaces authenticates again. Another user cannot complete it.
    StepUp,
    /// A silent login for a page that is open to all: after a failure the user sees the page anonymously.
    Optional,
}

impl LoginPurpose {
    pub(crate) fn to_byte(self) -> u8 {
        match self {
            Self::SignIn => 0,
            Self::StepUp => 1,
            Self::Optional => 2,
        }
    }

    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        [Self::SignIn, Self::StepUp, Self::Optional]
            .into_iter()
            .find(|purpose| purpose.to_byte() == byte)
    }
}

/// The first 16 bytes of SHA-256 over a `state`, which identify its login.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct StateDigest([u8; 16]);

/// The first 4 bytes of SHA-256 over the path and query of a page. Two pages with the same digest would share the limit on
/// their redirects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PageDigest([u8; 4]);

/// A digest of the authorization server and the redirect URI of a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Destination([u8; 16]);

/// The secret of a login, from which its nonce, its code verifier and its DPoP key are derived.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct LoginSecret(Zeroizing<[u8; 32]>);

impl StateDigest {
    pub(crate) fn of(state: &State) -> Self {
        Self(sha256_start(state.expose().as_bytes()))
    }

    pub(crate) fn to_text(self) -> String {
        base64url::encode(&self.0)
    }
}

impl PageDigest {
    pub(crate) fn of(page: &str) -> Self {
        let page = page.split('#').next().unwrap_or_default();
        Self(sha256_start(page.as_bytes()))
    }

    pub(crate) fn from_bytes(bytes: [u8; 4]) -> Self {
        Self(bytes)
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 4] {
        &self.0
    }

    pub(crate) fn to_text(self) -> String {
        base64url::encode(&self.0)
    }
}

impl Destination {
    pub(crate) fn new(issuer: &str, redirect_uri: &str) -> Self {
        Self(sha256_start(&join(&[
            issuer.as_bytes(),
            redirect_uri.as_bytes(),
        ])))
    }
}

impl LoginSecret {
    pub(crate) fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    pub(crate) fn nonce(&self) -> Nonce {
        Nonce::new(self.derive(b"nonce"))
    }

    /// Returns the code verifier, of 256 bits (RFC 7636 §4.1).
    pub(crate) fn verifier(&self) -> CodeVerifier {
        CodeVerifier::new(self.derive(b"code_verifier"))
    }

    /// Returns the key of the login for DPoP. It is derived so that it exists before the authorization request and takes
    /// no space in the transaction.
    pub(super) fn proof_key(&self) -> Option<ProofKey> {
        ProofKey::derive(&self.0, b"dpop_key")
    }

    fn derive(&self, label: &[u8]) -> String {
        base64url::encode(&Zeroizing::new(hmac_sha256(&*self.0, label)))
    }
}

impl fmt::Debug for LoginSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LoginSecret(..)")
    }
}

impl Transaction {
    /// Returns whether more than `limit` has passed since the start, or the start is further in the future than
    /// clock skew explains.
    pub(crate) fn expired(&self, now: i64, limit: Duration) -> bool {
        has_expired(self.started_at, now, limit)
    }

    /// Returns the only user who can complete the login, if there is one.
    pub(crate) fn required_user(&self) -> Option<UserDigest> {
        let replaces = self.replaces.as_ref();
        let replaces = replaces.filter(|_| self.purpose == LoginPurpose::StepUp);
        replaces.map(|session| session.user)
    }

    /// Returns which of the longer parts there are, in one byte: the cookie is short.
    fn parts(&self) -> u8 {
        let acr_values = u8::from(self.acr_values.is_some()) * ACR_VALUES;
        let claims = u8::from(!self.claims.is_empty()) * CLAIMS;
        acr_values | claims | (u8::from(self.page.is_some()) * PAGE)
    }

    pub(crate) fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let writer = Writer::new(SCHEMA)
            .raw(&self.state.0)
            .raw(&*self.secret.0)
            .raw(&self.destination.0)
            .number(self.started_at)
            .flag(self.by_person)
            .raw(&[self.purpose.to_byte()])
            .flag(self.silent)
            .optional_number(self.max_age.map(i64::from))
            .raw(&[self.parts()]);
        let writer = match &self.acr_values {
            None => writer,
            Some(values) => writer.bytes(&values.to_bytes()),
        };
        let writer = match self.claims.is_empty() {
            true => writer,
            false => writer.bytes(&self.claims.to_bytes()),
        };
        let writer = match &self.page {
            None => writer,
            Some(page) => writer.raw(page.as_bytes()),
        };
        let writer = writer.flag(self.replaces.is_some());
        match &self.replaces {
            None => writer,
            Some(session) => writer
                .raw(session.id.as_bytes())
                .raw(session.user.as_bytes())
                .number(session.created_at),
        }
        .finish()
    }

    /// Decodes a transaction. Returns `None` if the schema differs or the bytes are malformed.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes, SCHEMA)?;
        let parts;
        let transaction = Self {
            state: StateDigest(reader.array()?),
            secret: LoginSecret::new(reader.array()?),
            destination: Destination(reader.array()?),
            started_at: reader.number()?,
            by_person: reader.flag()?,
            purpose: {
                let [purpose] = reader.array()?;
                LoginPurpose::from_byte(purpose)?
            },
            silent: reader.flag()?,
            max_age: match reader.optional_number()? {
                Some(seconds) => Some(u32::try_from(seconds).ok()?),
                None => None,
            },
            acr_values: {
                [parts] = reader.array()?;
                match parts & ACR_VALUES {
                    0 => None,
                    _ => Some(AcrValues::from_bytes(reader.bytes()?)?),
                }
            },
            claims: match parts & CLAIMS {
                0 => ClaimRequirements::default(),
                _ => ClaimRequirements::from_bytes(reader.bytes()?)?,
            },
            page: match parts & PAGE {
                0 => None,
                _ => Some(PageDigest::from_bytes(reader.array()?)),
            },
            replaces: match reader.flag()? {
                true => Some(SessionRef {
                    id: SessionId::new(reader.array()?),
                    user: UserDigest::from_bytes(reader.array()?),
                    created_at: reader.number()?,
                }),
                false => None,
            },
        };
        reader.finish()?;
        (parts <= ACR_VALUES | CLAIMS | PAGE).then_some(transaction)
    }
}

/// Bits of the byte that says which of the longer parts follow.
const ACR_VALUES: u8 = 1;
const CLAIMS: u8 = 2;
const PAGE: u8 = 4;

/// Returns whether what started at `started_at` has taken longer than `limit`. The start may be that of a replica whose
/// clock is ahead.
pub(crate) fn has_expired(started_at: i64, now: i64, limit: Duration) -> bool {
    now >= seconds_after(started_at, limit) || started_at > seconds_after(now, MAX_CLOCK_SKEW)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::requested_claims::RequestedClaims;

    fn session(id: [u8; 32]) -> SessionRef {
        SessionRef {
            id: SessionId::new(id),
            user: UserDigest::new("https://id.example.com", "alice"),
            created_at: 999_000,
        }
    }

    fn claims(subject: &str) -> ClaimRequirements {
        let claims = serde_json::json!({"id_token": {"sub": {"value": subject}}});
        ClaimRequirements::of(&RequestedClaims::parse(claims).unwrap())
    }

    fn transaction() -> Transaction {
        Transaction {
            state: StateDigest::of(&State::new("s".repeat(43))),
            secret: LoginSecret::new([5; 32]),
            destination: Destination::new(
                "https://id.example.com",
                "https://shop.example.com/auth/callback",
            ),
            started_at: 1_000_000,
            by_person: true,
            purpose: LoginPurpose::StepUp,
            silent: false,
            max_age: Some(0),
            acr_values: AcrValues::parse("gold silver"),
            claims: claims("alice"),
            page: Some(PageDigest::of("/pay")),
            replaces: Some(session([7; 32])),
        }
    }

    #[test]
    fn a_transaction_expires_at_the_limit_and_is_rejected_if_it_is_in_the_future() {
        for (age, expired) in [
            (0, false),
            (599, false),
            (600, true),
            (-60, false),
            (-61, true),
            (i64::MAX, true),
        ] {
            let now = transaction().started_at.saturating_add(age);
            let limit = Duration::from_secs(600);
            assert_eq!(transaction().expired(now, limit), expired, "{age}");
        }
    }

    #[test]
    fn nonce_and_verifier_differ_between_each_other_and_between_logins() {
        let texts = |byte| {
            let secret = LoginSecret::new([byte; 32]);
            let (nonce, verifier) = (secret.nonce(), secret.verifier());
            [nonce.expose().to_owned(), verifier.expose().to_owned()]
        };
        let mut all = [texts(1), texts(2)].concat();
        assert!(all.iter().all(|text| text.len() == 43));
        assert_eq!(texts(1), texts(1));
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 4);
    }

    #[test]
    fn truncated_extended_and_newer_encodings_are_rejected() {
        let bytes = transaction().to_bytes();
        assert_eq!(Transaction::from_bytes(&bytes), Some(transaction()));
        for length in 0..bytes.len() {
            assert_eq!(Transaction::from_bytes(&bytes[..length]), None, "{length}");
        }
        let mut longer = bytes.to_vec();
        longer.push(0);
        assert_eq!(Transaction::from_bytes(&longer), None);
        let mut newer = bytes.to_vec();
        newer[0] += 1;
        assert_eq!(Transaction::from_bytes(&newer), None);
    }

    proptest! {
        #[test]
        fn decode_and_encode_are_inverse(
            state in any::<String>(), secret in any::<[u8; 32]>(), at in any::<i64>(),
            flags in any::<(bool, bool)>(), max_age in any::<Option<u32>>(),
            acr_values in any::<Option<String>>(), subject in "[a-z]{0,40}", replaces in any::<Option<[u8; 32]>>(),
        ) {
            let transaction = Transaction {
                state: StateDigest::of(&State::new(state)),
                secret: LoginSecret::new(secret),
                started_at: at, by_person: flags.0, silent: flags.1, max_age,
                acr_values: acr_values.and_then(|values| AcrValues::parse(&values)),
                claims: claims(&subject),
                replaces: replaces.map(session),
                ..transaction()
            };
            prop_assert_eq!(Transaction::from_bytes(&transaction.to_bytes()), Some(transaction));
        }

        #[test]
        fn decoding_is_total(mut bytes in any::<Vec<u8>>()) {
            let _ = Transaction::from_bytes(&bytes);
            bytes.insert(0, SCHEMA);
            let _ = Transaction::from_bytes(&bytes);
        }
    }
}
