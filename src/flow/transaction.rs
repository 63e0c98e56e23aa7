//! One login on its way: what must be known again when the browser comes back.

use std::time::Duration;

use zeroize::Zeroizing;

use super::encoding::{Reader, Writer};
use super::session_id::SessionId;
use super::session_ref::{SessionRef, UserDigest};
use crate::protocol::pkce::parse_verifier;
use crate::protocol::{CodeVerifier, Nonce, State};

const SCHEMA: u8 = 3;

/// How far the clocks of two replicas may be apart, in seconds.
pub(super) const CLOCK_ERROR: i64 = 60;

/// What binds an authorization response to the request it answers and to the browser that sent it
/// (RFC 9700 §4.4.2, §4.7.1). Sealed by whoever keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Transaction {
    pub(crate) state: State,
    pub(crate) nonce: Nonce,
    pub(crate) verifier: CodeVerifier,
    /// The issuer the browser was sent to.
    pub(crate) issuer: String,
    pub(crate) redirect_uri: String,
    /// Where the person wanted to go; checked again before it is used.
    pub(crate) return_to: String,
    /// Seconds since 1970.
    pub(crate) started_at: i64,
    /// Whether a person started it, as far as the browser says.
    pub(crate) by_person: bool,
    /// `prompt=none`: an answer that wants interaction is a no, not a failure.
    pub(crate) silent: bool,
    pub(crate) max_age: Option<u32>,
    pub(crate) acr_values: Option<String>,
    /// The session that the browser had at the start, where its cookie may not come back with it.
    pub(crate) replaces: Option<SessionRef>,
}

impl Transaction {
    /// How long a person may take to sign in.
    pub(crate) const LIFETIME: Duration = Duration::from_secs(600);

    /// Whether it is too old, or from a future that no clock's error explains.
    pub(crate) fn expired(&self, now: i64) -> bool {
        let lifetime = i64::try_from(Self::LIFETIME.as_secs()).unwrap_or(0);
        let age = now.saturating_sub(self.started_at);
        age >= lifetime || age < -CLOCK_ERROR
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

    /// `None` for another schema and for anything that is no transaction.
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
    fn a_transaction_lives_ten_minutes_and_does_not_come_from_the_future() {
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
    fn a_cut_a_longer_and_a_newer_record_are_nothing() {
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
        fn parse_and_print_are_inverse(
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
        fn any_bytes_are_a_transaction_or_nothing(mut bytes in any::<Vec<u8>>()) {
            let _ = Transaction::from_bytes(&bytes);
            bytes.insert(0, SCHEMA);
            let _ = Transaction::from_bytes(&bytes);
        }
    }
}
