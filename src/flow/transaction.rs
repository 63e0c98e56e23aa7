//! The state of a login between the authorization request and the callback.

use std::time::Duration;

use zeroize::Zeroizing;

use crate::clock::{MAX_CLOCK_SKEW, seconds_after};
use crate::protocol::pkce::parse_verifier;
use crate::protocol::{CodeVerifier, Nonce, State};
use crate::record::{Reader, SessionId, SessionRef, UserDigest, Writer};

const SCHEMA: u8 = 3;

/// Binds an authorization response to its authorization request and to the browser that sent the request
/// (RFC 9700 §4.4.2, §4.7.1). Encrypted before it is stored in a cookie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Transaction {
    pub(crate) state: State,
    pub(crate) nonce: Nonce,
    pub(crate) verifier: CodeVerifier,
    /// The issuer of the authorization server that the browser was redirected to.
    pub(crate) issuer: String,
    pub(crate) redirect_uri: String,
    /// The target after the login. Validated again before it is used.
    pub(crate) return_to: String,
    /// In seconds since the Unix epoch.
    pub(crate) started_at: i64,
    /// Whether a user action started the login, according to the `Sec-Fetch-*` fields.
    pub(crate) by_person: bool,
    /// Whether the request had `prompt=none`: an error that requires interaction is not a failure then.
    pub(crate) silent: bool,
    pub(crate) max_age: Option<u32>,
    pub(crate) acr_values: Option<String>,
    /// The session that the browser had at the start, since its cookie may be missing at the callback.
    pub(crate) replaces: Option<SessionRef>,
}

impl Transaction {
    /// Maximum time between the authorization request and the callback.
    pub(crate) const LIFETIME: Duration = Duration::from_secs(600);

    /// Returns whether the transaction is too old, or further in the future than clock skew explains.
    pub(crate) fn expired(&self, now: i64) -> bool {
        now >= seconds_after(self.started_at, Self::LIFETIME)
            || self.started_at > seconds_after(now, MAX_CLOCK_SKEW)
    }

    pub(crate) fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let writer = Writer::new(SCHEMA)
            .text(self.state.expose())
            .text(self.nonce.expose())
            .text(self.verifier.expose())
            .text(&self.issuer)
            .text(&self.redirect_uri)
            .text(&self.return_to)
            .number(self.started_at)
            .flag(self.by_person)
            .flag(self.silent)
            .number(self.max_age.map_or(-1, i64::from))
            .optional(self.acr_values.as_deref())
            .flag(self.replaces.is_some());
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
        let transaction = Self {
            state: State::new(reader.text()?),
            nonce: Nonce::new(reader.text()?),
            verifier: parse_verifier(reader.text()?).ok()?,
            issuer: reader.text()?.to_owned(),
            redirect_uri: reader.text()?.to_owned(),
            return_to: reader.text()?.to_owned(),
            started_at: reader.number()?,
            by_person: reader.flag()?,
            silent: reader.flag()?,
            max_age: match reader.number()? {
                -1 => None,
                seconds => Some(u32::try_from(seconds).ok()?),
            },
            acr_values: reader.optional()?.map(str::to_owned),
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
        Some(transaction)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn session(id: [u8; 32]) -> SessionRef {
        SessionRef {
            id: SessionId::new(id),
            user: UserDigest::new("https://id.example.com", "alice"),
            created_at: 999_000,
        }
    }

    fn transaction() -> Transaction {
        Transaction {
            state: State::new("s".repeat(43)),
            nonce: Nonce::new("n".repeat(43)),
            verifier: CodeVerifier::new("v".repeat(43)),
            issuer: "https://id.example.com".into(),
            redirect_uri: "https://shop.example.com/auth/callback".into(),
            return_to: "/account".into(),
            started_at: 1_000_000,
            by_person: true,
            silent: false,
            max_age: Some(0),
            acr_values: Some("gold silver".into()),
            replaces: Some(session([7; 32])),
        }
    }

    #[test]
    fn a_transaction_expires_after_ten_minutes_and_is_rejected_if_it_is_in_the_future() {
        for (age, expired) in [
            (0, false),
            (599, false),
            (600, true),
            (-60, false),
            (-61, true),
            (i64::MAX, true),
        ] {
            let now = transaction().started_at.saturating_add(age);
            assert_eq!(transaction().expired(now), expired, "{age}");
        }
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
            return_to in any::<String>(), at in any::<i64>(), flags in any::<(bool, bool)>(),
            max_age in any::<Option<u32>>(), acr_values in any::<Option<String>>(),
            replaces in any::<Option<[u8; 32]>>(),
        ) {
            let transaction = Transaction {
                return_to, started_at: at, by_person: flags.0, silent: flags.1, max_age, acr_values,
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
