//! The media type of a message (RFC 9110 §8.3).

use http::HeaderMap;
use http::header::CONTENT_TYPE;

/// The media type of URL-encoded forms.
pub(crate) const FORM: &str = "application/x-www-form-urlencoded";

/// Returns whether a message has this media type, ignoring case and parameters. A message with several `Content-Type`
/// fields has none: which of them counts is a matter of the reader.
pub(crate) fn has_media_type(headers: &HeaderMap, expected: &str) -> bool {
    let mut fields = headers.get_all(CONTENT_TYPE).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else {
        return false;
    };
    let essence = field.to_str().unwrap_or_default().split(';').next();
    essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case(expected))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn case_and_parameters_are_ignored_and_of_several_fields_none_counts() {
        let cases: &[(&[&[u8]], bool)] = &[
            (&[b"application/json"], true),
            (&[b"Application/JSON; charset=utf-8"], true),
            (&[b" application/json ;x"], true),
            (&[], false),
            (&[b""], false),
            (&[b"application/jsonp"], false),
            (&[b"text/plain; application/json"], false),
            (&[b"application/json, text/plain"], false),
            (&[b"application/json\xff"], false),
            (&[b"application/json", b"application/json"], false),
            (&[b"text/plain", b"application/json"], false),
        ];
        for (fields, expected) in cases {
            let mut headers = HeaderMap::new();
            for field in *fields {
                headers.append(CONTENT_TYPE, HeaderValue::from_bytes(field).unwrap());
            }
            let found = has_media_type(&headers, "application/json");
            assert_eq!(found, *expected, "{fields:?}");
        }
    }
}
