//! Request parameters of the query or a form body (RFC 6749 §3.1, §3.2).

use bytes::Bytes;
use http::{Method, Request};

use crate::protocol::media_type::{FORM, has_media_type};

#[derive(Clone, Debug, Default)]
pub(super) struct RequestParameters(Vec<(String, String)>);

impl RequestParameters {
    /// Parses the query of a GET or the form body of a POST; `None` for other requests.
    pub(super) fn of_request(request: &Request<Bytes>) -> Option<Self> {
        match *request.method() {
            Method::GET => Some(Self::of_query(request)),
            Method::POST => Self::of_form(request),
            _ => None,
        }
    }

    pub(super) fn of_query(request: &Request<Bytes>) -> Self {
        Self::parse(request.uri().query().unwrap_or_default().as_bytes())
    }

    /// Parses the body if its media type is `application/x-www-form-urlencoded`.
    pub(super) fn of_form(request: &Request<Bytes>) -> Option<Self> {
        has_media_type(request.headers(), FORM).then(|| Self::parse(request.body()))
    }

    pub(super) fn of_pairs(pairs: Vec<(String, String)>) -> Self {
        Self(pairs)
    }

    /// Returns the names, in order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    fn parse(text: &[u8]) -> Self {
        Self(url::form_urlencoded::parse(text).into_owned().collect())
    }

    /// Returns the value. A parameter without a value counts as omitted (RFC 6749 §3.1).
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find_map(|(key, value)| (key == name).then_some(value.as_str()))
            .filter(|value| !value.is_empty())
    }

    /// Returns all values of a parameter that may be repeated.
    pub(super) fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        let named = self.0.iter().filter(move |(key, _)| key == name);
        named.map(|(_, value)| value.as_str())
    }

    pub(super) fn is_repeated(&self, name: &str) -> bool {
        self.0.iter().filter(|(key, _)| key == name).count() > 1
    }

    /// Returns whether a parameter is repeated that must not be (RFC 6749 §3.1, §3.2).
    pub(super) fn has_repeated(&self) -> bool {
        // RFC 8707 §2.
        let mut names = self.0.iter().filter(|(name, _)| name != "resource");
        names.any(|(name, _)| self.is_repeated(name))
    }
}
