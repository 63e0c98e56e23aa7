//! Resolves the principal of a request, and creates the response if there is none.

use std::any::type_name;

use bytes::Bytes;
use http::header::WWW_AUTHENTICATE;
use http::{Extensions, HeaderMap, Method, Response, StatusCode, Uri};

use super::Principal;
use crate::bearer::{AuthState, ChallengeHints, Refusal, WireFormat, refuse};
use crate::login::{LoginContext, misconfigured};
use crate::telemetry::may_log;
use crate::token::VerifiedToken;

/// The rejection of the [`Principal`] extractor.
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

    fn misconfigured(message: &'static str) -> Self {
        Self(Box::new(misconfigured(message)))
    }
}

/// The parts of a request that determine its principal, or the response without one.
pub(super) struct PrincipalRequest<'a> {
    pub(super) extensions: &'a Extensions,
    pub(super) method: &'a Method,
    pub(super) uri: &'a Uri,
    pub(super) headers: &'a HeaderMap,
}

impl PrincipalRequest<'_> {
    pub(super) fn principal<C: Send + Sync + 'static>(
        self,
    ) -> Result<Principal<C>, PrincipalRejection> {
        let ResolvedPrincipal {
            principal,
            auth,
            login,
        } = resolve(self.extensions)?;
        principal.ok_or_else(|| self.reject_anonymous(auth, login))
    }

    fn reject_anonymous(&self, auth: &AuthState, login: &LoginContext) -> PrincipalRejection {
        let page = login.login_required(self.method, self.headers);
        if page.status() != StatusCode::UNAUTHORIZED {
            return PrincipalRejection(Box::new(page));
        }
        let refusal = Refusal::NoCredentials;
        let challenge = &auth.challenge;
        challenge.report(&refusal, self.method, self.uri);
        let wire_format = WireFormat::of(self.method, self.headers);
        let hints = ChallengeHints::default();
        let mut response: Response<Bytes> = refuse(refusal, challenge, None, hints, wire_format);
        if wire_format == WireFormat::Http {
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
        PrincipalRejection(Box::new(response))
    }
}

/// The principal of a request, and the state that both layers inserted.
pub(super) struct ResolvedPrincipal<'a, C> {
    pub(super) principal: Option<Principal<C>>,
    auth: &'a AuthState,
    login: &'a LoginContext,
}

/// The access token takes precedence over the session. A request with an invalid token was already rejected by
/// `BearerLayer`.
pub(super) fn resolve<C: Send + Sync + 'static>(
    extensions: &Extensions,
) -> Result<ResolvedPrincipal<'_, C>, PrincipalRejection> {
    let Some(login) = extensions.get::<LoginContext>() else {
        return Err(PrincipalRejection::misconfigured(NO_LOGIN_LAYER));
    };
    let Some(auth) = extensions.get::<AuthState>() else {
        return Err(PrincipalRejection::misconfigured(NO_BEARER_LAYER));
    };
    login.note_session_dependence();
    let principal = match (&auth.token_info, extensions.get::<VerifiedToken<C>>()) {
        (Some(_), Some(token)) => Some(Principal::Token(token.clone())),
        (Some(_), None) => {
            if may_log("claims_type_mismatch", type_name::<C>()) {
                tracing::error!(
                    name: "claims_type_mismatch",
                    target: "tower_oauth::bearer",
                    expected = type_name::<C>(),
                    OTHER_TYPE
                );
            }
            return Err(PrincipalRejection::misconfigured(OTHER_TYPE));
        }
        (None, _) => extensions.get().cloned().map(Principal::Session),
    };
    Ok(ResolvedPrincipal {
        principal,
        auth,
        login,
    })
}

const NO_LOGIN_LAYER: &str = "the Principal extractor requires an outer LoginLayer";
const NO_BEARER_LAYER: &str = "the Principal extractor requires an outer BearerLayer";
const OTHER_TYPE: &str = "the Principal extractor and its BearerLayer have different claims types";
