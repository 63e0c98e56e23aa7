//! A login that the application asks for, sealed in the URL of the login route.
//!
//! Every site can link to that route, so what a link must not set is encrypted with the cookie key, bound to the layer
//! and valid for a few minutes.

use std::time::Duration;

use super::cookies::Cookies;
use super::login_request::LoginRequest;
use crate::crypto::seal::Purpose;
use crate::flow::{LoginPurpose, PageDigest, has_expired};
use crate::random::RandomError;
use crate::record::{Reader, SessionId, Writer};

/// The parameters of a login and what it is for. The return target is a parameter of the URL: it is not secret, and
/// it is checked in every case. That of a silent login is sealed, since the login route may link to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SealedRequest {
    pub(super) request: LoginRequest,
    pub(super) purpose: LoginPurpose,
    /// The session that the browser must have for the parameters to apply: that of the user who authenticates again, or
    /// for whom the application requests more access.
    pub(super) session: Option<SessionId>,
    /// The page that requires another authentication.
    pub(super) page: Option<PageDigest>,
}

/// A sealed request of this layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OpenedRequest {
    pub(super) request: SealedRequest,
    /// When it was sealed, if that is too long ago, in seconds since the Unix epoch.
    pub(super) expired: Option<i64>,
}

impl SealedRequest {
    /// Returns the value of the parameter. `now` is in seconds since the Unix epoch.
    pub(super) fn seal(&self, cookies: &Cookies, now: i64) -> Result<String, RandomError> {
        let Self {
            request,
            purpose,
            session,
            page,
        } = self;
        let writer = Writer::new(SCHEMA)
            .number(now)
            .raw(&[purpose.to_byte()])
            .optional_array(session.as_ref().map(SessionId::as_bytes))
            .optional_array(page.as_ref().map(PageDigest::as_bytes))
            .optional_number(request.max_age.map(i64::from));
        let return_to = request.return_to.as_deref();
        let texts = request.texts().into_iter().chain([return_to]);
        let plain = texts.fold(writer, Writer::optional).finish();
        cookies.seal(Purpose::LoginRequest, NAME, &plain)
    }

    /// Returns `None` for a request that this layer did not seal, or with a key that is not configured. `wall_for` returns
    /// the time to compare a timestamp with, in seconds since the Unix epoch.
    pub(super) fn open(
        cookies: &Cookies,
        sealed: &str,
        wall_for: impl FnOnce(i64) -> i64,
    ) -> Option<OpenedRequest> {
        let plain = cookies.open(Purpose::LoginRequest, NAME, sealed)?;
        let (sealed_at, request) = Self::decode(&plain)?;
        let is_expired = has_expired(sealed_at, wall_for(sealed_at), LIFETIME);
        Some(OpenedRequest {
            request,
            expired: is_expired.then_some(sealed_at),
        })
    }

    fn decode(plain: &[u8]) -> Option<(i64, Self)> {
        let mut reader = Reader::new(plain, SCHEMA)?;
        let sealed_at = reader.number()?;
        let [purpose] = reader.array()?;
        let purpose = LoginPurpose::from_byte(purpose)?;
        let session = reader.optional_array()?.map(SessionId::new);
        let page = reader.optional_array()?.map(PageDigest::from_bytes);
        let max_age = match reader.optional_number()? {
            Some(seconds) => Some(u32::try_from(seconds).ok()?),
            None => None,
        };
        let mut text = || reader.optional().map(|text| text.map(str::to_owned));
        let request = LoginRequest {
            login_hint: text()?,
            prompt: text()?,
            ui_locales: text()?,
            acr_values: text()?,
            claims: text()?,
            authorization_details: text()?,
            return_to: text()?,
            max_age,
        };
        reader.finish()?;
        let sealed = Self {
            request,
            purpose,
            session,
            page,
        };
        Some((sealed_at, sealed))
    }
}

const SCHEMA: u8 = 1;
const NAME: &str = "login request";

/// How long a sealed request can start a login. A user may read a message of the page before following its link.
pub(super) const LIFETIME: Duration = Duration::from_secs(600);

/// Limit on the length of the parameter.
pub(super) const MAX_SEALED: usize = 2900;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::return_to::MAX_RETURN_TO;

    const NOW: i64 = 1_800_000_000;

    fn request() -> SealedRequest {
        SealedRequest {
            request: LoginRequest {
                login_hint: Some("alice".to_owned()),
                acr_values: Some("gold silver".to_owned()),
                max_age: Some(0),
                claims: Some("{}".to_owned()),
                return_to: Some("/notes".to_owned()),
                ..LoginRequest::default()
            },
            purpose: LoginPurpose::StepUp,
            session: Some(SessionId::new([7; 32])),
            page: Some(PageDigest::of("/pay")),
        }
    }

    #[test]
    fn a_request_opens_unchanged_for_ten_minutes_and_at_its_own_layer_only() {
        let (cookies, other) = (
            Cookies::of_test("shop", true),
            Cookies::of_test("desk", true),
        );
        let sealed = request().seal(&cookies, NOW).unwrap();
        assert!(!sealed.contains("alice"));
        for (name, age, expired) in [
            ("now", 0, None),
            ("nearly expired", 599, None),
            ("expired", 600, Some(NOW)),
            ("a clock that is behind", -60, None),
            ("the future", -61, Some(NOW)),
        ] {
            let request = request();
            assert_eq!(
                SealedRequest::open(&cookies, &sealed, |_| NOW + age),
                Some(OpenedRequest { request, expired }),
                "{name}"
            );
        }
        for (name, cookies, text) in [
            ("another layer", &other, &*sealed),
            ("a part", &cookies, &sealed[1..]),
            ("nothing", &cookies, ""),
        ] {
            assert_eq!(SealedRequest::open(cookies, text, |_| NOW), None, "{name}");
        }
        // A value that was sealed for another purpose, such as a state or a cookie.
        for purpose in [Purpose::State, Purpose::Transaction, Purpose::Session] {
            let plain = Writer::new(SCHEMA).number(NOW).finish();
            let sealed = cookies.seal(purpose, NAME, &plain).unwrap();
            assert_eq!(
                SealedRequest::open(&cookies, &sealed, |_| NOW),
                None,
                "{purpose:?}"
            );
        }
    }

    #[test]
    fn the_largest_request_fits_into_a_url() {
        for largest in [
            LoginRequest {
                claims: Some("c".repeat(1024)),
                authorization_details: Some("d".repeat(896)),
                ..LoginRequest::default()
            },
            LoginRequest {
                prompt: Some("none".to_owned()),
                return_to: Some("/".repeat(MAX_RETURN_TO)),
                ..LoginRequest::default()
            },
        ] {
            let largest = SealedRequest {
                request: largest,
                ..request()
            };
            let sealed = largest.seal(&Cookies::of_test("shop", true), NOW).unwrap();
            assert!(sealed.len() <= MAX_SEALED, "{}", sealed.len());
        }
    }
}
