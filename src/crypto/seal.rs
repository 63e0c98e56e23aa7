//! Sealing of what a browser keeps for us: XChaCha20-Poly1305 under a fresh 192-bit random nonce.
//!
//! A sealed text is base64url of: format (1 byte), key id (4), nonce (24), ciphertext and tag. What it
//! was sealed as is associated data, so a text opens only in the place it was made for (`L40`, `H55`).

use std::borrow::Cow;

use chacha20poly1305::aead::AeadInOut as _;
use chacha20poly1305::{KeyInit as _, Tag, XChaCha20Poly1305, XNonce};
use zeroize::{Zeroize as _, Zeroizing};

use super::binding::{self, Binding};
use super::digest::sha256;
use super::{CookieKey, base64url};
use crate::random::{Random, RandomError};

/// One key of a ring, with the id that names it in what it sealed.
#[derive(Clone)]
pub(crate) struct SealingKey {
    id: [u8; 4],
    cipher: XChaCha20Poly1305,
    /// What the keys of single tickets are made from.
    root: Zeroizing<[u8; 32]>,
}

/// What a sealed text is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A session in its cookie.
    Session,
    Transaction,
    Logout,
    /// A session in a store.
    Stored,
    /// What a cookie's session has become since, in a store.
    Successor,
}

/// Where a sealed text belongs: it opens nowhere else.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SealContext<'a> {
    pub(crate) purpose: Purpose,
    /// The name of its cookie, or of its session.
    pub(crate) name: &'a str,
    /// The login layer that it belongs to.
    pub(crate) binding: Binding,
    /// The secret that opens it beside the key, where it is kept in a store: whoever reads the store has
    /// none, and whoever has one does not have the key.
    pub(crate) ticket: Option<&'a [u8; 32]>,
}

impl CookieKey {
    /// Sealed, as text.
    pub(crate) fn seal(
        &self,
        random: &Random,
        place: SealContext<'_>,
        plain: &[u8],
    ) -> Result<String, RandomError> {
        Ok(base64url::encode(&self.seal_bytes(random, place, plain)?))
    }

    pub(crate) fn seal_bytes(
        &self,
        random: &Random,
        place: SealContext<'_>,
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
        let tag = key.cipher(place).encrypt_inout_detached(
            &XNonce::from(nonce),
            &associated_data(place, key.id),
            (&mut sealed[HEAD..]).into(),
        );
        let Ok(tag) = tag else {
            // Only beyond 256 GiB; the plain text must not leave in any case.
            sealed.zeroize();
            return Err(RandomError);
        };
        sealed.extend_from_slice(&tag);
        Ok(sealed)
    }

    /// The plain text, or nothing: why it does not open is nobody's business (`H56`).
    pub(crate) fn open(&self, place: SealContext<'_>, text: &str) -> Option<Zeroizing<Vec<u8>>> {
        self.open_bytes(place, base64url::decode(text)?)
    }

    pub(crate) fn open_bytes(
        &self,
        place: SealContext<'_>,
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
        let data = associated_data(place, id);
        // Two keys with one id are a chance of 2^-32: the first that verifies is the right one.
        let opened = self.ring().iter().filter(|key| key.id == id).any(|key| {
            key.cipher(place)
                .decrypt_inout_detached(
                    &XNonce::from(nonce),
                    &data,
                    (&mut sealed[HEAD..body_end]).into(),
                    &Tag::from(tag),
                )
                .is_ok()
        });
        if !opened {
            return None;
        }
        sealed.truncate(body_end);
        sealed.drain(..HEAD);
        Some(sealed)
    }
}

impl CookieKey {
    /// Returns whether `sealed` names a format and a key that this process has. If not, failing to open it says
    /// nothing about `sealed`: a replica with a newer key ring or release may open it.
    pub(crate) fn names_own_key(&self, sealed: &[u8]) -> bool {
        let id = sealed.get(1..5);
        sealed.first() == Some(&FORMAT) && self.ring().iter().any(|key| id == Some(&key.id[..]))
    }
}

impl SealingKey {
    pub(super) fn new(id: [u8; 4], key: &[u8; 32], root: Zeroizing<[u8; 32]>) -> Self {
        Self {
            id,
            cipher: XChaCha20Poly1305::new(key.into()),
            root,
        }
    }

    /// The cipher of this place: that of the key, or one that needs the ticket too.
    fn cipher(&self, place: SealContext<'_>) -> Cow<'_, XChaCha20Poly1305> {
        let Some(ticket) = place.ticket else {
            return Cow::Borrowed(&self.cipher);
        };
        let mut input = Zeroizing::new(Vec::with_capacity(TICKET_KEY.len() + 64));
        input.extend_from_slice(TICKET_KEY);
        input.extend_from_slice(&*self.root);
        input.extend_from_slice(ticket);
        let mut key = Zeroizing::new([0; 32]);
        key.copy_from_slice(&Zeroizing::new(sha256(&input)));
        Cow::Owned(XChaCha20Poly1305::new((&*key).into()))
    }

    #[cfg(test)]
    pub(super) fn id(&self) -> [u8; 4] {
        self.id
    }
}

/// How long a text is once `plain` bytes are sealed: known before, so that chunks can be counted
/// inside the seal.
pub(crate) const fn sealed_len(plain: usize) -> usize {
    ((OVERHEAD + plain) * 4).div_ceil(3)
}

/// Returns the encoding of a place, which no other place has.
fn associated_data(place: SealContext<'_>, key_id: [u8; 4]) -> Vec<u8> {
    let purpose: &[u8] = match place.purpose {
        Purpose::Session => b"session",
        Purpose::Transaction => b"transaction",
        Purpose::Logout => b"logout",
        Purpose::Stored => b"stored",
        Purpose::Successor => b"successor",
    };
    binding::join(&[
        &[FORMAT],
        &key_id,
        purpose,
        place.name.as_bytes(),
        place.binding.as_bytes(),
    ])
}

/// The format of a sealed text and of what is bound to it: part of the associated data too.
const FORMAT: u8 = 1;
const TICKET_KEY: &[u8] = b"tower-oauth ticket key 1\0";
const NONCE: usize = 24;
const TAG: usize = 16;
const HEAD: usize = 1 + 4 + NONCE;
const OVERHEAD: usize = HEAD + TAG;

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: SealContext<'_> = SealContext {
        purpose: Purpose::Session,
        name: "shop-session",
        binding: Binding::of_test(1),
        ticket: None,
    };

    fn key(byte: u8) -> CookieKey {
        CookieKey::from_bytes(&[byte; 32]).unwrap()
    }

    #[test]
    fn what_is_sealed_opens_in_its_own_place_only() {
        let sealed = key(1).seal(&Random::system(), PLACE, b"hello").unwrap();
        assert_eq!(key(1).open(PLACE, &sealed).unwrap().as_slice(), b"hello");
        assert_eq!(sealed.len(), sealed_len(5));
        for (what, place) in [
            (
                "another name",
                SealContext {
                    name: "shop-tx-1",
                    ..PLACE
                },
            ),
            (
                "another purpose",
                SealContext {
                    purpose: Purpose::Transaction,
                    ..PLACE
                },
            ),
            (
                "another binding",
                SealContext {
                    binding: Binding::of_test(2),
                    ..PLACE
                },
            ),
            (
                "with a ticket",
                SealContext {
                    ticket: Some(&[0; 32]),
                    ..PLACE
                },
            ),
        ] {
            assert!(key(1).open(place, &sealed).is_none(), "{what}");
        }
    }

    /// `L37`: neither the key alone nor the ticket alone opens what a store keeps.
    #[test]
    fn what_was_sealed_with_a_ticket_needs_the_key_and_that_ticket() {
        let random = Random::system();
        let with = |ticket| SealContext { ticket, ..PLACE };
        let sealed = key(1)
            .seal(&random, with(Some(&[5; 32])), b"hello")
            .unwrap();
        let opens = |key: CookieKey, ticket| key.open(with(ticket), &sealed).is_some();
        assert!(opens(key(1), Some(&[5; 32])));
        assert!(opens(key(2).add_previous(key(1)), Some(&[5; 32])));
        assert!(!opens(key(1), Some(&[6; 32])));
        assert!(!opens(key(2), Some(&[5; 32])));
        assert!(!opens(key(1), None));
    }

    #[test]
    fn a_changed_or_shortened_text_does_not_open() {
        let sealed = key(1).seal(&Random::system(), PLACE, b"hello").unwrap();
        for end in 0..sealed.len() {
            assert!(key(1).open(PLACE, &sealed[..end]).is_none(), "{end}");
        }
        for at in 0..sealed.len() {
            let mut changed = sealed.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(key(1).open(PLACE, &changed).is_none(), "{at}");
        }
        assert!(key(1).open(PLACE, &format!("{sealed}A")).is_none());
        assert!(key(1).open(PLACE, "\u{fc}").is_none());
    }

    #[test]
    fn the_first_key_of_a_ring_seals_and_every_one_opens() {
        let old = key(1).seal(&Random::system(), PLACE, b"old").unwrap();
        let ring = key(2).add_previous(key(1));
        assert_eq!(ring.open(PLACE, &old).unwrap().as_slice(), b"old");
        let new = ring.seal(&Random::system(), PLACE, b"new").unwrap();
        assert!(key(2).open(PLACE, &new).is_some());
        assert!(key(1).open(PLACE, &new).is_none());
        assert!(key(2).open(PLACE, &old).is_none());
    }

    /// `H55`: every seal draws a nonce of its own, and of a million that are drawn no two are equal.
    #[test]
    fn no_two_seals_share_a_nonce() {
        const SEALS: usize = 1 << 13;
        const MANY: usize = 1 << 20;
        let (key, random) = (key(1), Random::system());
        let mut nonces = std::collections::HashSet::with_capacity(MANY);
        for _ in 0..SEALS {
            let sealed = base64url::decode(&key.seal(&random, PLACE, b"").unwrap()).unwrap();
            nonces.insert(<[u8; NONCE]>::try_from(&sealed[5..HEAD]).unwrap());
        }
        nonces.extend((SEALS..MANY).map(|_| random.bytes::<NONCE>().unwrap()));
        assert_eq!(nonces.len(), MANY);
    }

    /// `H55`: what one key sealed says so, and says so inside the seal: another key's id is not enough.
    #[test]
    fn a_text_opens_under_the_key_it_names_and_under_no_other() {
        let sealed = key(1).seal(&Random::system(), PLACE, b"hello").unwrap();
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
            assert!(ring.open(PLACE, &renamed).is_none());
        }
        // Two keys of one id, as chance might make them: each opens its own.
        let twin = CookieKey::of_ring(vec![SealingKey {
            id: key(1).ring()[0].id(),
            ..key(2).ring()[0].clone()
        }]);
        let ring = twin.add_previous(key(1));
        assert_eq!(ring.open(PLACE, &sealed).unwrap().as_slice(), b"hello");
        let twins = ring.seal(&Random::system(), PLACE, b"twin").unwrap();
        assert_eq!(ring.open(PLACE, &twins).unwrap().as_slice(), b"twin");
        assert!(key(1).open(PLACE, &twins).is_none());
    }
}
