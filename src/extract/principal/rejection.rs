//! Finding the principal of a request, and what is answered when there is none.

use std::any::type_name;

use bytes::Bytes;
use http::header::WWW_AUTHENTICATE;
use http::{Extensions, HeaderMap, Method, Response, StatusCode, Uri};

use super::Principal;
use crate::bearer::{AuthState, ChallengeHints, Refusal, WireFormat, refuse};
use crate::login::{LoginContext, misconfigured};
use crate::telemetry::may_log;
use crate::token::VerifiedToken;

/// Why there is no [`Principal`].
///
/// As a response:
///
/// * nobody, and a person goes to a page: 303 to the login route, and back afterwards;
/// * nobody, and anything else: 401 with the challenge of the `BearerLayer`, beside it that of the
///   `LoginLayer` and the login's address in a problem document (and `HX-Redirect` for htmx), since the
///   script of a page may ask as well; gRPC callers get code 16;
/// * a layer is missing, or the `BearerLayer` has other claims than `C`: 500 that says so.
#[derive(Debug)]
pub struct PrincipalRejection(Box<Response<Bytes>>);

impl PrincipalRejection {
    /// The response, with whatever body type a service has.
    pub fn into_http<B: From<Bytes>>(self) -> Response<B> {
        self.0.map(B::from)
    }

    fn misconfigured(message: &'static str) -> Self {
        Self(Box::new(misconfigured(message)))
    }
}

/// A request whose principal is asked for.
pub(super) struct Asked<'a> {
    pub(super) extensions: &'a Extensions,
    pub(super) method: &'a Method,
    pub(super) uri: &'a Uri,
    pub(super) headers: &'a HeaderMap,
}

impl Asked<'_> {
    pub(super) fn principal<C: Send + Sync + 'static>(
        self,
    ) -> Result<Principal<C>, PrincipalRejection> {
        let (found, judged, mark) = look(self.extensions)?;
        found.ok_or_else(|| self.nobody(judged, mark))
    }

    fn nobody(&self, judged: &AuthState, mark: &LoginContext) -> PrincipalRejection {
        let page = mark.login_required(self.method, self.headers);
        if page.status() != StatusCode::UNAUTHORIZED {
            return PrincipalRejection(Box::new(page));
        }
        let refusal = Refusal::NoCredentials;
        let protection = &judged.protection;
        protection.tell(&refusal, self.method, self.uri);
        let speech = WireFormat::of(self.method, self.headers);
        let demand = ChallengeHints::default();
        let mut answer: Response<Bytes> = refuse(refusal, protection, None, demand, speech);
        if speech == WireFormat::Http {
            let (parts, body) = page.into_parts();
            for (name, value) in &parts.headers {
                // RFC 9110 §11.6.1: a challenge for each way in; the first is the program's.
                if *name == WWW_AUTHENTICATE {
                    answer.headers_mut().append(name, value.clone());
                } else {
                    // `H19`: the body is a page of the login layer, and comes with its policy.
                    answer.headers_mut().insert(name, value.clone());
                }
            }
            *answer.body_mut() = body;
        }
        PrincipalRejection(Box::new(answer))
    }
}

pub(super) type Found<'a, C> = (Option<Principal<C>>, &'a AuthState, &'a LoginContext);

/// `H64`: the access token first, and the session only where none was shown. One that is bad does not
/// get here.
pub(super) fn look<C: Send + Sync + 'static>(
    extensions: &Extensions,
) -> Result<Found<'_, C>, PrincipalRejection> {
    let Some(mark) = extensions.get::<LoginContext>() else {
        return Err(PrincipalRejection::misconfigured(NO_LOGIN_LAYER));
    };
    let Some(judged) = extensions.get::<AuthState>() else {
        return Err(PrincipalRejection::misconfigured(NO_BEARER_LAYER));
    };
    mark.note_session_dependence();
    let found = match (&judged.token_info, extensions.get::<VerifiedToken<C>>()) {
        (Some(_), Some(token)) => Some(Principal::Token(token.clone())),
        (Some(_), None) => {
            if may_log("other_claims", type_name::<C>()) {
                tracing::error!(
                    name: "other_claims",
                    target: "tower_oauth::bearer",
                    wanted = type_name::<C>(),
                    OTHER_TYPE
                );
            }
            return Err(PrincipalRejection::misconfigured(OTHER_TYPE));
        }
        (None, _) => extensions.get().cloned().map(Principal::Session),
    };
    Ok((found, judged, mark))
}

const NO_LOGIN_LAYER: &str = "a handler asks for Principal, but no LoginLayer is around it";
const NO_BEARER_LAYER: &str = "a handler asks for Principal, but no BearerLayer is around it";
const OTHER_TYPE: &str = "a handler asks for Principal with other claims than its BearerLayer has";
