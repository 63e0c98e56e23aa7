//! The response to a request without a principal.

use bytes::Bytes;
use http::header::WWW_AUTHENTICATE;
use http::{Response, StatusCode};

use crate::bearer::{Refusal, RequestHead, WireFormat, refuse};
use crate::login::{LoginContext, misconfigured};

/// The rejection of the [`Principal`](super::Principal) extractor.
///
/// | request | response |
/// | --- | --- |
/// | anonymous, a navigation of a browser | 303 to the login, which returns to the page |
/// | anonymous, anything else | 401 with the challenges of `BearerLayer` and `LoginLayer`, and the URL of the login in a problem document (and `HX-Redirect` for htmx) for scripts of pages; gRPC callers get code 16 |
/// | a layer is missing, or `BearerLayer` has other claims than `C` | 500 with a message |
#[derive(Debug)]
pub struct PrincipalRejection(Box<Response<Bytes>>);

impl PrincipalRejection {
    /// Converts the rejection to a response.
    pub fn into_http<B: From<Bytes>>(self) -> Response<B> {
        self.0.map(B::from)
    }

    pub(super) fn into_boxed(self) -> Box<Response<Bytes>> {
        self.0
    }

    pub(super) fn misconfigured(message: &'static str) -> Self {
        Self(Box::new(misconfigured(message)))
    }

    /// Rejects an anonymous request, with the responses of both layers merged.
    pub(super) fn anonymous(request: RequestHead<'_>, login: &LoginContext) -> Self {
        let RequestHead {
            method, headers, ..
        } = request;
        let page = login.login_required(method, headers);
        if page.status() != StatusCode::UNAUTHORIZED {
            return Self(Box::new(page));
        }
        let mut response = refuse(Refusal::NoCredentials, request).map(|()| Bytes::new());
        if WireFormat::of(method, headers) == WireFormat::Http {
            let (parts, body) = page.into_parts();
            for (name, value) in &parts.headers {
                // RFC 9110 §11.6.1: one challenge for each accepted scheme; that of `BearerLayer` is first.
                if *name == WWW_AUTHENTICATE {
                    response.headers_mut().append(name, value.clone());
                } else {
                    // The body is a page of the login layer, so its security headers are needed too.
                    response.headers_mut().insert(name, value.clone());
                }
            }
            *response.body_mut() = body;
        }
        Self(Box::new(response))
    }
}
