//! `callback`: handles the authorization response (RFC 6749 §4.1.2).
//!
//! No request is sent anywhere before the state has led to a transaction cookie of this browser.
//! The checks are ordered accordingly.

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderValue, Method, StatusCode};

use crate::flow::{FlowError, FlowErrorKind, RedemptionOutcome, SessionRef, Transaction};
use crate::login::chunks;
use crate::login::cookies::SameSite;
use crate::login::jar::{Jar, LOGOUT, SESSION_NAMES};
use crate::login::navigation;
use crate::login::redemptions::{self, SignInError};
use crate::login::refusal::{INTERNAL_ERROR, LoginRefusal, USED};
use crate::login::response::{self, LayerResponse};
use crate::login::settings::Settings;
use crate::login::transactions::{self, TransactionLookup};
use crate::login::{events, pages};
use crate::protocol::authorization_response::AuthorizationResponse;
use crate::session::{EndReason, LoadedSession, PresentedSession, PresentedSessions, SignOut};
use crate::store::StoreError;

pub(super) async fn handle(settings: &Settings, parts: &Parts) -> LayerResponse {
    let mut response = if parts.method == Method::GET {
        handle_callback(settings, parts).await
    } else {
        // The response mode is `query`, so no form is ever posted here.
        response::method_not_allowed("GET")
    };
    response::send_no_referrer(response.headers_mut());
    response
}

async fn handle_callback(settings: &Settings, parts: &Parts) -> LayerResponse {
    let headers = &parts.headers;
    let reject = |refusal: &LoginRefusal| settings.reject(headers, refusal, None);

    // A script, a frame or a prefetch cannot complete a login, and must not use it up.
    if !navigation::is_document_request(headers) || navigation::is_prefetch(headers) {
        return reject(&NOT_A_NAVIGATION);
    }
    let query = parts.uri.query().unwrap_or_default();
    let authorization = match AuthorizationResponse::parse(query) {
        Ok(authorization) => authorization,
        Err(error) => return reject(&LoginRefusal::from(&FlowError::from(error))),
    };
    let jar = Jar::read(headers, &settings.cookies);
    let now = |started_at| settings.manager.now_for(started_at);
    let lookup = transactions::find(&settings.cookies, &jar, authorization.state(), now);
    let (name, transaction) = match lookup {
        TransactionLookup::Found(name, transaction) => (name, *transaction),
        // Without a transaction cookie of this browser there is no session: login CSRF (RFC 6749
        // §10.12).
        TransactionLookup::Missing => {
            return match settings.resolve(&jar).await {
                // The back button after a successful login.
                Ok(cookie) if cookie.session.is_some() => {
                    response::redirect(&settings.default_return_to)
                }
                Ok(_) => reject(&UNKNOWN_LOGIN.because(NO_COOKIE)),
                Err(error) => reject(&LoginRefusal::from(&error)),
            };
        }
        // Expired, or not written by this layer.
        TransactionLookup::Invalid(name) => {
            let mut response = reject(&EXPIRED);
            clear(settings, &mut response, &name);
            return response;
        }
    };
    match finish(settings, parts, &jar, transaction, authorization).await {
        CallbackOutcome::Used(mut response) => {
            // The transaction is used, whatever the result.
            clear(settings, &mut response, &name);
            response
        }
        CallbackOutcome::CanBeRepeated(response) => response,
    }
}

/// The response to a callback with a transaction.
enum CallbackOutcome {
    Used(LayerResponse),
    /// The code was not sent. The browser keeps its transaction, so a reload continues the login.
    CanBeRepeated(LayerResponse),
}

async fn finish(
    settings: &Settings,
    parts: &Parts,
    jar: &Jar<'_>,
    transaction: Transaction,
    authorization: AuthorizationResponse,
) -> CallbackOutcome {
    // Check the target again: the configuration may have changed since it was encrypted.
    let target = settings
        .return_to(&transaction.return_to)
        .unwrap_or(&settings.default_return_to)
        .to_owned();
    let state = transaction.state.clone();
    let replaces = transaction.replaces;
    let outcome = match settings.flow().accept(transaction, authorization).await {
        Ok(grant) => {
            let (manager, claimed) = (Arc::clone(&settings.manager), state.clone());
            let cookies = settings.cookies.clone();
            let redeem = move |permit| async move {
                let Some(claim) = manager.consume_state(&claimed).await? else {
                    return Err(SignInError::Used);
                };
                let tokens = match manager.flow().redeem(&grant).await {
                    Ok(tokens) => tokens,
                    Err(failure) => {
                        // The state of a code that may have been redeemed stays consumed until it
                        // expires.
                        if failure.outcome == RedemptionOutcome::Refused {
                            manager.shorten_consumed_state(claim).await;
                        }
                        return Err(failure.error.into());
                    }
                };
                // The rest needs no permit.
                drop(permit);
                let record = manager.flow().complete(grant, tokens).await?;
                let record = manager.admit(record).await?;
                // A session that does not fit into cookies is not created: it could never be ended.
                if !manager.keeps_sessions_in_store()
                    && let Err(error) = chunks::seal(&cookies, &record)
                {
                    manager.flow().revoke(&record).await;
                    return Err(error.into());
                }
                match manager.begin(record.clone()).await {
                    Ok(session) => {
                        let client_id = manager.flow().client().id();
                        events::login_succeeded(record.id(), record.issuer(), client_id);
                        Ok(session)
                    }
                    // Its tokens will never be used.
                    Err(error) => {
                        manager.flow().revoke(&record).await;
                        Err(error.into())
                    }
                }
            };
            settings.redemptions.once(&state, redeem).await
        }
        // Detected without a token request, so callers can cause it at no cost: do not cache it.
        Err(error) => redemptions::Redemption::Completed(Arc::new(Err(error.into()))),
    };
    let reject = |refusal: &LoginRefusal| settings.reject(&parts.headers, refusal, Some(&target));
    let outcome = match outcome {
        redemptions::Redemption::Completed(outcome) => outcome,
        redemptions::Redemption::AlreadyRedeemed => return CallbackOutcome::Used(reject(&USED)),
        redemptions::Redemption::Aborted => return CallbackOutcome::Used(reject(&ABORTED)),
    };
    CallbackOutcome::Used(match outcome.as_ref() {
        Ok(session) => match end_previous_session(settings, jar, session, replaces).await {
            Ok(()) => {
                sign_in(settings, jar, session, &target).unwrap_or_else(|refusal| reject(&refusal))
            }
            Err(error) => reject(&LoginRefusal::from(&error)),
        },
        Err(error) if error.can_be_repeated() => {
            return CallbackOutcome::CanBeRepeated(reject(&LoginRefusal::from(error)));
        }
        // A silent login without a session at the authorization server is an expected result
        // (OpenID Connect Core §3.1.2.6).
        Err(SignInError::Flow(error)) if error.kind() == FlowErrorKind::NotSignedIn => {
            events::silent_login_failed();
            response::redirect(&target)
        }
        Err(error) => reject(&LoginRefusal::from(error)),
    })
}

/// Ends the previous session of this browser, so that no copy of its cookie stays valid.
async fn end_previous_session(
    settings: &Settings,
    jar: &Jar<'_>,
    session: &LoadedSession,
    replaces: Option<SessionRef>,
) -> Result<(), StoreError> {
    let (manager, id) = (&settings.manager, session.record().id());
    for presented in settings
        .presented_sessions(jar)
        .presented
        .into_iter()
        .flat_map(PresentedSessions::into_iter)
    {
        let is_this = match &presented {
            PresentedSession::Record(record) => record.id() == id,
            PresentedSession::Secret(secret) => manager.name_of(secret) == *id,
        };
        if is_this {
            continue;
        }
        // Also one that has expired: a younger cookie of the same session may be on its way.
        if let SignOut::Failed(error) = manager.sign_out(presented, EndReason::Replaced).await {
            return Err(error);
        }
    }
    if let Some(before) = replaces.filter(|before| before.id != *id) {
        manager.end_unread(&before).await?;
        let (id, reason) = (Some(before.id), EndReason::Replaced);
        manager.notify_ended_unopened(id, None, reason);
    }
    Ok(())
}

fn sign_in(
    settings: &Settings,
    jar: &Jar<'_>,
    session: &LoadedSession,
    target: &str,
) -> Result<LayerResponse, LoginRefusal> {
    // A cached result must not restore a session that has ended since.
    if settings.manager.is_denied(session.record()) {
        return Err(USED);
    }
    let mut cookies = settings.session_cookies(session)?;
    let written = cookies.names;
    // Clear what is not overwritten: older chunks, and planted cookies. A Strict cookie is not sent
    // with this request, so clear its names without seeing them.
    let mut stale: Vec<&str> = jar.session_names().collect();
    if settings.same_site == SameSite::Strict {
        stale.extend(SESSION_NAMES.iter().filter(|&name| !jar.has(name)));
    }
    // The cookie of an unfinished sign-out would not fit beside a large session.
    stale.extend(jar.has(LOGOUT).then_some(LOGOUT));
    for name in stale {
        if !written.iter().any(|new| new == name) {
            cookies.values.extend(settings.cookies.clear(name));
        }
    }
    let mut response = match settings.same_site {
        SameSite::Strict => {
            response::html(StatusCode::OK, pages::signed_in(target), pages::policy())
        }
        SameSite::Lax => response::redirect(target),
    };
    response::add_cookies(response.headers_mut(), cookies.values);
    Ok(response)
}

fn clear(settings: &Settings, response: &mut LayerResponse, name: &str) {
    let cookie: Option<HeaderValue> = settings.cookies.clear(name);
    response::add_cookies(response.headers_mut(), cookie);
}

const NOT_A_NAVIGATION: LoginRefusal = LoginRefusal::new(
    StatusCode::BAD_REQUEST,
    "callback_no_navigation",
    "Sign-in can only be completed by opening this page in a browser tab.",
);
const UNKNOWN_LOGIN: LoginRefusal = LoginRefusal::stale(
    "login_unknown",
    "This sign-in did not start in this browser, or it was already completed or canceled. Please sign in again.",
);
const NO_COOKIE: &str = "the browser sent no cookie for this state; if this is always so, users open the application at another \
                         origin than that of the redirect URI";
const EXPIRED: LoginRefusal = LoginRefusal::stale(
    "login_expired",
    "This sign-in has expired. Please sign in again.",
);
const ABORTED: LoginRefusal = {
    let mut refusal = LoginRefusal::stale("login_lost", INTERNAL_ERROR);
    refusal.status = StatusCode::INTERNAL_SERVER_ERROR;
    refusal
};
