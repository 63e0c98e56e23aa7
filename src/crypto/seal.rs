//! Authenticated encryption of cookies and stored records: XChaCha20-Poly1305 with a random 192-bit nonce.
//!
//! A sealed text is the base64url of format (1 byte), key id (4), nonce (24), ciphertext and tag. Its context is
//! associated data, so that a text can be opened only in the context that it was sealed for: a cookie cannot be replayed
//! under another name, for another purpose or at another layer.

use std::borrow::Cow;

use chacha20poly1305::aead::AeadInOut as _;
use chacha20poly1305::{KeyInit as _, Tag, XChaCha20Poly1305, XNonce};
use zeroize::{Zeroize as _, Zeroizing};

use super::base64url;
use super::binding::{self, Binding};
use super::cookie_key::{CookieKey, SealingKey};
use super::digest::sha256;
use crate::random::{Random, RandomError};

/// The purpose of a sealed text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A session in a cookie.
    Session,
    /// A login in progress.
    Transaction,
    /// The `state` of a login.
    State,
    /// The parameters of a login that the application asks for.
    LoginRequest,
    /// The cookie with a long return target of a login.
    ReturnTarget,
    /// An authorization response that was posted as a form.
    FormPost,
    /// A logout in progress.
    Logout,
    /// A session in a store.
    Stored,
    /// The newest record of a session in a cookie, in a store.
    Successor,
}

/// The context of a sealed text, which is needed to open it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SealContext<'a> {
    pub(crate) purpose: Purpose,
    /// The name of the cookie, or of the session.
    pub(crate) name: &'a str,
    /// The login layer.
    pub(crate) binding: Binding,
    /// For a record in a store: the secret of the session cookie, which is needed besides the key. The store contains
    /// neither, so an attacker who can read the store cannot open its records.
    pub(crate) session_secret: Option<&'a [u8; 32]>,
}

impl CookieKey {
    /// Encrypts `plain` and returns it as text.
    pub(crate) fn seal(
        &self,
        random: &Random,
        context: SealContext<'_>,
        plain: &[u8],
    ) -> Result<String, RandomError> {
        Ok(base64url::encode(&self.seal_bytes(random, context, plain)?))
    }

    pub(crate) fn seal_bytes(
        &self,
        random: &Random,
        context: SealContext<'_>,
        plain: &[u8],
    ) -> Result<Vec<u8>, RandomError> {
        let Some(key) = self.ring().first() else {
            return Err(RandomError);
        };
        let nonce: [u8; NONCE] = random.bytes()?;
        let mut sealed = Vec::with_capacity(OVERHEAD + plain.len());
        sealed.push(FORMAT);
        sealed.extend_from_slice(&key.id);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(plain);
        let tag = key.cipher(context).encrypt_inout_detached(
            &XNonce::from(nonce),
            &associated_data(context, key.id),
            (&mut sealed[HEAD..]).into(),
        );
        let Ok(tag) = tag else {
            // Fails only beyond 256 GiB. The plaintext must not be returned in any case.
            sealed.zeroize();
            return Err(RandomError);
        };
        sealed.extend_from_slice(&tag);
        Ok(sealed)
    }

    /// Decrypts a text. The reason of a failure is not returned, so that it cannot be used as an oracle.
    pub(crate) fn open(&self, context: SealContext<'_>, text: &str) -> Option<Zeroizing<Vec<u8>>> {
        self.open_bytes(context, base64url::decode(text)?)
    }

    pub(crate) fn open_bytes(
        &self,
        context: SealContext<'_>,
        sealed: Vec<u8>,
    ) -> Option<Zeroizing<Vec<u8>>> {
        let mut sealed = Zeroizing::new(sealed);
        let body_end = sealed.len().checked_sub(TAG)?;
        if body_end < HEAD || sealed[0] != FORMAT {
            return None;
        }
        let id: [u8; 4] = sealed[1..5].try_into().ok()?;
        let nonce: [u8; NONCE] = sealed[5..HEAD].try_into().ok()?;
        let tag: [u8; TAG] = sealed[body_end..].try_into().ok()?;
        let data = associated_data(context, id);
        // Two keys have the same id with a probability of 2^-32. The tag decides which of them is the right one.
        let is_opened = self.ring().iter().filter(|key| key.id == id).any(|key| {
            key.cipher(context)
                .decrypt_inout_detached(
                    &XNonce::from(nonce),
                    &data,
                    (&mut sealed[HEAD..body_end]).into(),
                    &Tag::from(tag),
                )
                .is_ok()
        });
        if !is_opened {
            return None;
        }
        sealed.truncate(body_end);
        sealed.drain(..HEAD);
        Some(sealed)
    }
}

impl CookieKey {
    /// Returns whether this process has the format and the key of `sealed`. If not, a failure to open it does not mean
    /// that `sealed` is invalid: a replica with a newer key ring or release may be able to open it.
    pub(crate) fn names_own_key(&self, sealed: &[u8]) -> bool {
        let id = sealed.get(1..5);
        sealed.first() == Some(&FORMAT) && self.ring().iter().any(|key| id == Some(&key.id[..]))
    }
}

impl SealingKey {
    /// Returns the cipher for a context: that of the key, or one that is derived from key and session secret.
    fn cipher(&self, context: SealContext<'_>) -> Cow<'_, XChaCha20Poly1305> {
        let Some(session_secret) = context.session_secret else {
            return Cow::Borrowed(&self.cipher);
        };
        let mut input = Zeroizing::new(Vec::with_capacity(SESSION_SECRET_LABEL.len() + 64));
        input.extend_from_slice(SESSION_SECRET_LABEL);
        input.extend_from_slice(&*self.root);
        input.extend_from_slice(session_secret);
        let mut key = Zeroizing::new([0; 32]);
        key.copy_from_slice(&Zeroizing::new(sha256(&input)));
        Cow::Owned(XChaCha20Poly1305::new((&*key).into()))
    }

    #[cfg(test)]
    pub(super) fn id(&self) -> [u8; 4] {
        self.id
    }
}

/// Returns the length of the sealed text of `plain` bytes. The number of cookie chunks is part of the plaintext, so the
/// length must be known before sealing.
pub(crate) const fn sealed_len(plain: usize) -> usize {
    ((OVERHEAD + plain) * 4).div_ceil(3)
}

/// Returns the encoding of a context, which is unique for each context.
fn associated_data(context: SealContext<'_>, key_id: [u8; 4]) -> Vec<u8> {
    let purpose: &[u8] = match context.purpose {
        Purpose::Session => b"session",
        Purpose::Transaction => b"transaction",
        Purpose::State => b"state",
        Purpose::LoginRequest => b"login request",
        Purpose::ReturnTarget => b"return target",
        Purpose::FormPost => b"form post",
        Purpose::Logout => b"logout",
        Purpose::Stored => b"stored",
        Purpose::Successor => b"successor",
    };
    binding::join(&[
        &[FORMAT],
        &key_id,
        purpose,
        context.name.as_bytes(),
        context.binding.as_bytes(),
    ])
}

/// The version of the format, which is also part of the associated data.
const FORMAT: u8 = 1;
const SESSION_SECRET_LABEL: &[u8] = b"tower-oauth ticket key 1\0";
const NONCE: usize = 24;
const TAG: usize = 16;
const HEAD: usize = 1 + 4 + NONCE;
const OVERHEAD: usize = HEAD + TAG;

#[cfg(test)]
mod tests {
    use super::*;

    const CONTEXT: SealContext<'_> = SealContext {
        purpose: Purpose::Session,
        name: "shop-session",
        binding: Binding::of_test(1),
        session_secret: None,
    };

    fn key(byte: u8) -> CookieKey {
        CookieKey::from_bytes(&[byte; 32]).unwrap()
    }

    #[test]
    fn a_sealed_text_opens_in_its_own_context_only() {
        let sealed = key(1).seal(&Random::system(), CONTEXT, b"hello").unwrap();
        assert_eq!(key(1).open(CONTEXT, &sealed).unwrap().as_slice(), b"hello");
        assert_eq!(sealed.len(), sealed_len(5));
        for (name, context) in [
            (
                "another name",
                SealContext {
                    name: "shop-tx-1",
                    ..CONTEXT
                },
            ),
            (
                "another purpose",
                SealContext {
                    purpose: Purpose::Transaction,
                    ..CONTEXT
                },
            ),
            (
                "another binding",
                SealContext {
                    binding: Binding::of_test(2),
                    ..CONTEXT
                },
            ),
            (
                "a session secret",
                SealContext {
                    session_secret: Some(&[0; 32]),
                    ..CONTEXT
                },
            ),
        ] {
            assert!(key(1).open(context, &sealed).is_none(), "{name}");
        }
    }

    /// An attacker with only the key, or only the session cookie, cannot open a stored record.
    #[test]
    fn a_stored_record_opens_only_with_both_key_and_session_secret() {
        let random = Random::system();
        let with = |session_secret| SealContext {
            session_secret,
            ..CONTEXT
        };
        let sealed = key(1)
            .seal(&random, with(Some(&[5; 32])), b"hello")
            .unwrap();
        let opens = |key: CookieKey, secret| key.open(with(secret), &sealed).is_some();
        assert!(opens(key(1), Some(&[5; 32])));
        assert!(opens(key(2).add_previous(key(1)), Some(&[5; 32])));
        assert!(!opens(key(1), Some(&[6; 32])));
        assert!(!opens(key(2), Some(&[5; 32])));
        assert!(!opens(key(1), None));
    }

    #[test]
    fn a_changed_or_shortened_text_does_not_open() {
        let sealed = key(1).seal(&Random::system(), CONTEXT, b"hello").unwrap();
        for end in 0..sealed.len() {
            assert!(key(1).open(CONTEXT, &sealed[..end]).is_none(), "{end}");
        }
        for at in 0..sealed.len() {
            let mut changed = sealed.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(key(1).open(CONTEXT, &changed).is_none(), "{at}");
        }
        assert!(key(1).open(CONTEXT, &format!("{sealed}A")).is_none());
        assert!(key(1).open(CONTEXT, "\u{fc}").is_none());
    }

    #[test]
    fn the_first_key_of_a_ring_seals_and_all_keys_open() {
        let old = key(1).seal(&Random::system(), CONTEXT, b"old").unwrap();
        let ring = key(2).add_previous(key(1));
        assert_eq!(ring.open(CONTEXT, &old).unwrap().as_slice(), b"old");
        let new = ring.seal(&Random::system(), CONTEXT, b"new").unwrap();
        assert!(key(2).open(CONTEXT, &new).is_some());
        assert!(key(1).open(CONTEXT, &new).is_none());
        assert!(key(2).open(CONTEXT, &old).is_none());
    }

    /// Each seal uses a new random nonce: reuse would break the confidentiality of XChaCha20.
    #[test]
    fn nonces_are_unique() {
        const SEALS: usize = 1 << 13;
        const MANY: usize = 1 << 20;
        let (key, random) = (key(1), Random::system());
        let mut nonces = std::collections::HashSet::with_capacity(MANY);
        for _ in 0..SEALS {
            let sealed = base64url::decode(&key.seal(&random, CONTEXT, b"").unwrap()).unwrap();
            nonces.insert(<[u8; NONCE]>::try_from(&sealed[5..HEAD]).unwrap());
        }
        nonces.extend((SEALS..MANY).map(|_| random.bytes::<NONCE>().unwrap()));
        assert_eq!(nonces.len(), MANY);
    }

    /// The key id is part of the associated data: replacing it does not make another key open the text.
    #[test]
    fn a_text_opens_only_with_the_key_that_it_identifies() {
        let sealed = key(1).seal(&Random::system(), CONTEXT, b"hello").unwrap();
        let mut renamed = base64url::decode(&sealed).unwrap();
        renamed[1..5].copy_from_slice(&key(2).ring()[0].id());
        let renamed = base64url::encode(&renamed);
        let same_key_other_id = CookieKey::of_ring(vec![SealingKey {
            id: key(2).ring()[0].id(),
            ..key(1).ring()[0].clone()
        }]);
        for ring in [
            key(1),
            key(2),
            key(1).add_previous(key(2)),
            same_key_other_id,
        ] {
            assert!(ring.open(CONTEXT, &renamed).is_none());
        }
        // Two keys with the same id: each opens its own texts.
        let same_id = CookieKey::of_ring(vec![SealingKey {
            id: key(1).ring()[0].id(),
            ..key(2).ring()[0].clone()
        }]);
        let ring = same_id.add_previous(key(1));
        assert_eq!(ring.open(CONTEXT, &sealed).unwrap().as_slice(), b"hello");
        let other = ring.seal(&Random::system(), CONTEXT, b"other").unwrap();
        assert_eq!(ring.open(CONTEXT, &other).unwrap().as_slice(), b"other");
        assert!(key(1).open(CONTEXT, &other).is_none());
    }
}
