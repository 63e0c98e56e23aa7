//! The compact binary encoding of encrypted cookie contents: a schema number, then the fields in order.
//!
//! Decoding is total. Another schema, a missing byte or a surplus byte yields `None`, so that after an upgrade
//! or a downgrade users sign in again instead of seeing an error.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::identifiers::{EntryId, SessionId};
use super::session::{ProviderSession, ResourceToken, SessionRecord, SessionTokens, SubjectSource};
use crate::crypto::ProofKey;
use crate::protocol::claims::RegisteredClaims;
use crate::protocol::json::parse_object;
use crate::protocol::{AccessToken, AuthorizationDetails, Claims, IdToken, RefreshToken, ScopeSet};

/// Records with another schema cannot be decoded.
const SCHEMA: u8 = 5;

impl SessionRecord {
    pub(crate) fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let tokens = self.tokens();
        let details = &tokens.authorization_details;
        let details = (!details.is_empty()).then(|| details.to_json());
        Writer::new(SCHEMA)
            .raw(self.id.as_bytes())
            .raw(self.entry.as_bytes())
            .raw(&[self.subject_source.to_byte()])
            .unsigned(self.generation)
            .number(self.created_at)
            .number(self.last_seen)
            .number(self.ends_by)
            .text(self.claims.as_json())
            .optional(tokens.resource.as_deref())
            .text(&tokens.scopes.to_string())
            .text(tokens.access_token.expose())
            .number(tokens.access_token_since)
            .number(tokens.access_token_expires_at)
            .optional(tokens.refresh_token.as_ref().map(RefreshToken::expose))
            .optional_number(tokens.refresh_token_expires_at)
            .optional(tokens.id_token.as_ref().map(IdToken::expose))
            .optional_array(tokens.proof_key.as_ref().map(ProofKey::scalar))
            .optional(details.as_deref())
            .resource_tokens(&tokens.resource_tokens)
            .optional(self.app_data.as_deref())
            .unsigned(self.app_data_generation)
            .finish()
    }

    /// Decodes a record. Returns `None` if the schema differs or the bytes are not a record of a user.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes, SCHEMA)?;
        let (id, entry) = (
            reader.array().map(SessionId::new)?,
            reader.array().map(EntryId::new)?,
        );
        let [source] = reader.array()?;
        let (subject_source, generation) = (SubjectSource::from_byte(source)?, reader.unsigned()?);
        let (created_at, last_seen) = (reader.number()?, reader.number()?);
        let ends_by = reader.number()?;
        let (claims, provider) = parse_claims(reader.text()?)?;
        let record = Self {
            id,
            entry,
            subject_source,
            created_at,
            last_seen,
            ends_by,
            claims,
            provider,
            generation,
            tokens: SessionTokens {
                resource: reader.optional()?.map(Arc::from),
                scopes: ScopeSet::from_wire(reader.text()?),
                access_token: AccessToken::new(reader.text()?),
                access_token_since: reader.number()?,
                access_token_expires_at: reader.number()?,
                refresh_token: reader.optional()?.map(RefreshToken::new),
                refresh_token_expires_at: reader.optional_number()?,
                id_token: reader.optional()?.map(IdToken::new),
                proof_key: match reader.optional_array()? {
                    Some(scalar) => Some(ProofKey::from_scalar(scalar)?),
                    None => None,
                },
                authorization_details: match reader.optional()? {
                    Some(details) => AuthorizationDetails::from_json(details)?,
                    None => AuthorizationDetails::default(),
                },
                resource_tokens: reader.resource_tokens()?,
            },
            app_data: reader.optional()?.map(str::to_owned),
            app_data_generation: reader.unsigned()?,
        };
        reader.finish()?;
        Some(record)
    }
}

/// Parses the claims of a session. Issuer and subject are required.
fn parse_claims(text: &str) -> Option<(Claims, ProviderSession)> {
    let text: Arc<str> = text.into();
    let object = parse_object(text.as_bytes()).ok()?;
    let registered = RegisteredClaims::read_within(&text, &object).ok()?;
    let provider = ProviderSession::read(|name| object.member(name));
    (registered.issuer.is_some() && registered.subject.is_some())
        .then(|| (Claims::new(Arc::clone(&text), registered), provider))
}

/// Encodes fields into a buffer that is zeroized on drop.
pub(crate) struct Writer(Zeroizing<Vec<u8>>);

impl Writer {
    pub(crate) fn new(schema: u8) -> Self {
        // Reallocation leaves a copy behind that is not zeroized, so the capacity suffices for most records.
        let mut buffer = Vec::with_capacity(4096);
        buffer.push(schema);
        Self(Zeroizing::new(buffer))
    }

    pub(crate) fn flag(self, value: bool) -> Self {
        self.raw(&[u8::from(value)])
    }

    pub(crate) fn number(self, value: i64) -> Self {
        self.raw(&value.to_be_bytes())
    }

    pub(crate) fn unsigned(self, value: u64) -> Self {
        self.raw(&value.to_be_bytes())
    }

    pub(crate) fn text(self, value: &str) -> Self {
        self.bytes(value.as_bytes())
    }

    /// Encodes bytes after their length.
    pub(crate) fn bytes(self, value: &[u8]) -> Self {
        // A value of more than 4 GiB would yield a record that cannot be decoded; none is that long.
        let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
        self.raw(&length.to_be_bytes()).raw(value)
    }

    pub(crate) fn optional(self, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.flag(true).text(value),
            None => self.flag(false),
        }
    }

    pub(crate) fn optional_number(self, value: Option<i64>) -> Self {
        match value {
            Some(value) => self.flag(true).number(value),
            None => self.flag(false),
        }
    }

    pub(crate) fn optional_array<const N: usize>(self, value: Option<&[u8; N]>) -> Self {
        match value {
            Some(value) => self.flag(true).raw(value),
            None => self.flag(false),
        }
    }

    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(crate) fn finish(self) -> Zeroizing<Vec<u8>> {
        self.0
    }
}

impl Writer {
    /// Encodes each token after a set flag, and an unset flag at the end.
    fn resource_tokens(self, tokens: &[ResourceToken]) -> Self {
        let all = tokens.iter().fold(self, |writer, one| {
            writer
                .flag(true)
                .text(&one.resource)
                .text(one.access_token.expose())
                .number(one.since)
                .number(one.expires_at)
                .text(&one.scopes.to_string())
        });
        all.flag(false)
    }
}

/// Decodes the output of [`Writer`].
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Returns `None` if the schema differs.
    pub(crate) fn new(bytes: &'a [u8], schema: u8) -> Option<Self> {
        let (first, rest) = bytes.split_first()?;
        (*first == schema).then_some(Self(rest))
    }

    pub(crate) fn flag(&mut self) -> Option<bool> {
        match self.array::<1>()? {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }

    pub(crate) fn number(&mut self) -> Option<i64> {
        self.array().map(i64::from_be_bytes)
    }

    pub(crate) fn unsigned(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    pub(crate) fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(u32::from_be_bytes(self.array()?)).ok()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    /// Decodes an optional text. The outer `None` means that decoding failed, the inner `None` an absent value.
    pub(crate) fn optional(&mut self) -> Option<Option<&'a str>> {
        match self.flag()? {
            true => self.text().map(Some),
            false => Some(None),
        }
    }

    pub(crate) fn optional_number(&mut self) -> Option<Option<i64>> {
        match self.flag()? {
            true => self.number().map(Some),
            false => Some(None),
        }
    }

    pub(crate) fn optional_array<const N: usize>(&mut self) -> Option<Option<[u8; N]>> {
        match self.flag()? {
            true => self.array().map(Some),
            false => Some(None),
        }
    }

    fn resource_tokens(&mut self) -> Option<Vec<ResourceToken>> {
        let mut tokens = Vec::new();
        while self.flag()? {
            tokens.push(ResourceToken {
                resource: self.text()?.to_owned(),
                access_token: AccessToken::new(self.text()?),
                since: self.number()?,
                expires_at: self.number()?,
                scopes: ScopeSet::from_wire(self.text()?),
            });
        }
        Some(tokens)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*bytes)
    }

    /// Finishes decoding. Returns `None` if there are bytes left.
    pub(crate) fn finish(self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::record_of;

    #[test]
    fn truncated_extended_and_newer_records_are_rejected() {
        let bytes = record_of("alice", 1).to_bytes();
        for length in 0..bytes.len() {
            assert!(
                SessionRecord::from_bytes(&bytes[..length]).is_none(),
                "{length}"
            );
        }
        let mut longer = bytes.to_vec();
        longer.push(0);
        assert!(SessionRecord::from_bytes(&longer).is_none());
        let mut newer = bytes.to_vec();
        newer[0] += 1;
        assert!(SessionRecord::from_bytes(&newer).is_none());
    }

    #[test]
    fn a_record_without_an_issuer_or_a_subject_is_rejected() {
        for text in [
            r#"{"iss":"i"}"#,
            r#"{"sub":"s"}"#,
            r#"{"iss":"i","sub":1}"#,
            "[]",
            "",
        ] {
            assert!(parse_claims(text).is_none(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn decode_and_encode_are_inverse(
            id in any::<[u8; 32]>(), generation in any::<u64>(), now in any::<i32>(),
            seen in any::<i32>(), token in any::<String>(), refresh in any::<Option<String>>(),
            until in any::<Option<i64>>(), data in any::<Option<String>>(), keep in any::<bool>(),
            proof_key in any::<Option<[u8; 32]>>(),
            resources in prop::collection::vec((any::<String>(), any::<i64>()), 0..3),
        ) {
            let record = record_of("alice", now.into());
            let tokens = SessionTokens {
                resource: resources.first().map(|(text, _)| text.as_str().into()),
                access_token: AccessToken::new(token),
                access_token_since: seen.into(),
                refresh_token: refresh.map(RefreshToken::new),
                refresh_token_expires_at: until,
                proof_key: proof_key.and_then(ProofKey::from_scalar),
                authorization_details: match keep {
                    true => AuthorizationDetails::from_json(r#"[{"type":"a","n":[1]}]"#).unwrap(),
                    false => AuthorizationDetails::default(),
                },
                resource_tokens: resources.into_iter().map(|(text, at)| ResourceToken {
                    resource: text.clone(),
                    access_token: AccessToken::new(text),
                    since: at,
                    expires_at: now.into(),
                    scopes: ScopeSet::from_wire("a b"),
                }).collect(),
                ..record.tokens().clone()
            };
            let record = record.with_tokens(tokens, generation).with_id(SessionId::new(id));
            let record = record.with_app_data(data).touched(seen.into());
            let record = if keep { record } else { record.without_id_token() };
            let again = SessionRecord::from_bytes(&record.to_bytes()).unwrap();
            prop_assert_eq!(&*again.to_bytes(), &*record.to_bytes());
            prop_assert_eq!(again.claims().as_json(), record.claims().as_json());
            let (tokens, expected) = (again.tokens(), record.tokens());
            prop_assert_eq!(&tokens.resource, &expected.resource);
            prop_assert_eq!(&tokens.scopes, &expected.scopes);
            prop_assert_eq!(&tokens.access_token, &expected.access_token);
            prop_assert_eq!(tokens.access_token_since, expected.access_token_since);
            prop_assert_eq!(&tokens.id_token, &expected.id_token);
            prop_assert_eq!(&tokens.refresh_token, &expected.refresh_token);
            prop_assert_eq!(&tokens.proof_key, &expected.proof_key);
            prop_assert_eq!(&tokens.authorization_details, &expected.authorization_details);
            let texts = |all: &[ResourceToken]| -> Vec<_> {
                all.iter().map(|one| (one.resource.clone(), one.access_token.clone())).collect()
            };
            prop_assert_eq!(texts(&tokens.resource_tokens), texts(&expected.resource_tokens));
            prop_assert_eq!(again.last_seen(), record.last_seen());
            prop_assert_eq!((again.id(), again.sid()), (record.id(), Some("s1")));
            let providers = [&again, &record].map(|one| (one.entry(), one.subject_source()));
            prop_assert_eq!(providers[0], providers[1]);
            prop_assert_eq!(again.app_data(), record.app_data());
        }

        #[test]
        fn decoding_is_total(mut bytes in any::<Vec<u8>>()) {
            let _ = SessionRecord::from_bytes(&bytes);
            bytes.insert(0, SCHEMA);
            let _ = SessionRecord::from_bytes(&bytes);
        }
    }
}
