//! A session in cookies: one cookie, or numbered chunks if one is too small.
//!
//! The chunk count is part of the encrypted record, so a missing, foreign or swapped chunk does not
//! open.

use std::fmt;

use zeroize::Zeroizing;

use super::cookies::{Cookies, MAX_RESPONSE_BYTES};
use super::events;
use super::jar::{SESSION, SESSION_NAMES};
use crate::crypto::seal::{Purpose, sealed_len};
use crate::record::SessionRecord;
use crate::session::{LoadedSession, MAX_COOKIE_BYTES, SealSessionError};

/// The cookies of a session: suffixes and values, which are credentials.
pub(super) struct SealedCookies(Vec<(String, String)>);

/// Returns the cookies of a session: its secret, or the encrypted session. If the response could be too large with
/// them, the tokens for further resources are left out, which can be requested again, and if that does not suffice
/// also the raw ID token, which is only the hint of a sign-out.
pub(super) fn seal(
    cookies: &Cookies,
    loaded: &LoadedSession,
) -> Result<SealedCookies, SealSessionError> {
    if let Some(secret) = loaded.secret() {
        let value = secret.to_text().to_string();
        return Ok(SealedCookies(vec![(SESSION.to_owned(), value)]));
    }
    let record = loaded.record();
    let mut bytes = record.to_bytes();
    if cost(cookies, &bytes) > MAX_OPTIONAL && record.has_resource_tokens() {
        let shorter = SessionRecord::clone(record).without_resource_tokens();
        bytes = shorter.to_bytes();
    }
    if cost(cookies, &bytes) > MAX_OPTIONAL && record.tokens().id_token.is_some() {
        let shorter = SessionRecord::clone(record).without_resource_tokens();
        bytes = shorter.without_id_token().to_bytes();
    }
    seal_record(cookies, &bytes, cost(cookies, &bytes))
}

/// Returns the size of the cookies of a record in a request.
fn cost(cookies: &Cookies, record: &[u8]) -> usize {
    let length = sealed_len(1 + record.len());
    let names = names(length.div_ceil(CHUNK_BYTES));
    let names = names.iter().map(|name| cookies.cost(name, ""));
    length + names.sum::<usize>()
}

fn seal_record(
    cookies: &Cookies,
    record: &[u8],
    cost: usize,
) -> Result<SealedCookies, SealSessionError> {
    let length = sealed_len(1 + record.len());
    let count = length.div_ceil(CHUNK_BYTES);
    let names = names(count);
    let (Ok(count_byte), true) = (u8::try_from(count), cost <= MAX_COOKIE_BYTES) else {
        return Err(SealSessionError::TooLarge {
            bytes: cost,
            limit: MAX_COOKIE_BYTES,
        });
    };
    let mut plain = Zeroizing::new(Vec::with_capacity(1 + record.len()));
    plain.push(count_byte);
    plain.extend_from_slice(record);
    let sealed = cookies.seal(Purpose::Session, SESSION, &plain)?;
    if cost > LARGE_SESSION && cookies.large_session_warning.is_first() {
        events::session_is_large(cost, MAX_COOKIE_BYTES);
    }
    let mut rest = sealed.as_str();
    let cookies = names.into_iter().map(|name| {
        let (value, after) = rest.split_at(rest.len().min(CHUNK_BYTES));
        rest = after;
        (name, value.to_owned())
    });
    Ok(SealedCookies(cookies.collect()))
}

impl SealedCookies {
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(suffix, value)| (&**suffix, &**value))
    }
}

/// Shows no value.
impl fmt::Debug for SealedCookies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealedCookies(..)")
    }
}

/// Returns the names of `count` cookies of a session, without prefix.
fn names(count: usize) -> Vec<String> {
    match count {
        1 => vec![SESSION.to_owned()],
        _ => (0..count)
            .map(|number| format!("{SESSION}.{number}"))
            .collect(),
    }
}

/// Opens a session that was stored in `count` cookies.
pub(super) fn open_chunks(cookies: &Cookies, text: &str, count: usize) -> Option<SessionRecord> {
    let plain = cookies.open(Purpose::Session, SESSION, text)?;
    let (&stored_count, record) = plain.split_first()?;
    if usize::from(stored_count) != count {
        return None;
    }
    SessionRecord::from_bytes(record)
}

/// Limit on the cookies of a session with the tokens that it can do without: with attributes, and with fields that
/// clear other cookies, they fit into the response of a callback.
const MAX_OPTIONAL: usize = MAX_RESPONSE_BYTES - 512;

/// From this size on, the sessions of users with more roles may not fit.
const LARGE_SESSION: usize = 3 * 1024;

/// A value of this length fits, with name and attributes, into 4093 bytes, the smallest limit among
/// browsers.
const CHUNK_BYTES: usize = 3800;

const _: () = assert!(MAX_COOKIE_BYTES.div_ceil(CHUNK_BYTES) + 1 == SESSION_NAMES.len());

/// The number of chunks that a request may present; more than `MAX_COOKIE_BYTES` can need.
pub(super) const MAX_CHUNKS: usize = 8;

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::*;
    use crate::login::jar::Jar;

    /// A serialized session; the chunk count and the schema version come first.
    fn plain(count: u8, schema: u8) -> Vec<u8> {
        let mut bytes = vec![count, schema];
        bytes.extend([9; 32]);
        bytes.extend([8; 8]); // the provider
        bytes.push(0); // an ID token
        bytes.extend(0_u64.to_be_bytes());
        for time in [1_800_000_000_i64, 1_800_000_000, 1_800_028_800] {
            bytes.extend(time.to_be_bytes());
        }
        let add = |bytes: &mut Vec<u8>, text: &str| {
            bytes.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
            bytes.extend(text.as_bytes());
        };
        add(
            &mut bytes,
            r#"{"iss":"https://id.example.com","sub":"alice"}"#,
        );
        bytes.push(0); // no resource
        add(&mut bytes, "openid");
        add(&mut bytes, "token");
        bytes.extend(1_800_000_000_i64.to_be_bytes());
        bytes.extend(1_800_000_300_i64.to_be_bytes());
        bytes.extend([0; 7]);
        bytes.extend(0_u64.to_be_bytes());
        bytes
    }

    fn open_plain(plain: &[u8]) -> Option<SessionRecord> {
        let cookies = Cookies::of_test("shop", false);
        let sealed = cookies.seal(Purpose::Session, SESSION, plain).unwrap();
        let mut headers = HeaderMap::new();
        let field = format!("shop-session={sealed}");
        headers.insert("cookie", HeaderValue::try_from(field).unwrap());
        let jar = Jar::read(&headers, &cookies);
        jar.one(SESSION)
            .and_then(|text| open_chunks(&cookies, text, 1))
    }

    /// Correctly encrypted, but not a session of this version.
    #[test]
    fn a_sealed_record_of_another_version_or_chunk_count_is_no_session() {
        assert!(open_plain(&plain(1, 5)).is_some());
        for (name, plain) in [
            ("a newer schema", plain(1, 6)),
            ("the newest", plain(1, 255)),
            ("an older one", plain(1, 4)),
            ("of two chunks", plain(2, 5)),
            ("of no chunk", plain(0, 5)),
            ("of 255", plain(255, 5)),
            ("more behind it", [plain(1, 5), vec![0]].concat()),
            ("nothing", Vec::new()),
            ("a number alone", vec![1]),
            (
                "JSON",
                br#"{"iss":"https://id.example.com","sub":"alice"}"#.to_vec(),
            ),
            ("zeros", vec![0; 500]),
            ("ones", vec![1; 500]),
            (
                "lengths beyond the end",
                [vec![1, 3], vec![255; 200]].concat(),
            ),
        ] {
            assert!(open_plain(&plain).is_none(), "{name}");
        }
        let whole = plain(1, 5);
        for end in 0..whole.len() {
            assert!(open_plain(&whole[..end]).is_none(), "{end}");
        }
    }
}
