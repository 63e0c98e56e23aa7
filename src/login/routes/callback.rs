//! `callback`: handles the authorization response (RFC 6749 §4.1.2).
//!
//! No request is sent anywhere before the state has led to a transaction cookie of this browser.
//! The checks are ordered accordingly.

use std::future::ready;
use std::sync::Arc;

use http::request::Parts;
use http::{HeaderValue, Method, StatusCode};

use crate::flow::{FlowError, FlowErrorKind, Transaction};
use crate::login::cookies::{Jar, LOGOUT, SESSION_NAMES};
use crate::login::navigation;
use crate::login::redemptions::{self, SignedIn};
use crate::login::refusal::{INTERNAL_ERROR, LoginRefusal, USED};
use crate::login::response::{self, LayerResponse};
use crate::login::session_cookie::seal_session;
use crate::login::settings::Settings;
use crate::login::transactions::{self, TransactionLookup};
use crate::login::{SameSite, events, pages};
use crate::protocol::authorization_response::AuthorizationResponse;
use crate::record::SessionRef;
use crate::session::{
    EndReason, LoadedSession, PresentedSession, PresentedSessions, SignInError, SignOut,
};
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
    let jar = Jar::read(headers, &settings.cipher.names);
    let now = |started_at| settings.now_for(started_at);
    let lookup = transactions::find(&settings.cipher, &jar, authorization.state(), now);
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
            let manager = Arc::clone(&settings.manager);
            let cipher = settings.cipher.clone();
            let redeem = move |permit| async move {
                let seal = |new: &_| seal_session(&cipher, new);
                let (session, cookies) = manager.sign_in(grant, ready(Some(permit)), seal).await?;
                let record = session.record();
                let client_id = manager.flow().client().id();
                events::login_succeeded(record.id(), record.issuer(), client_id);
                Ok((session, cookies))
            };
            let clock = settings.flow().clock();
            settings.redemptions.once(&state, clock, redeem).await
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
        Ok(signed_in) => match end_previous_session(settings, jar, &signed_in.0, replaces).await {
            Ok(()) => sign_in(settings, jar, signed_in, &target)
                .unwrap_or_else(|refusal| reject(&refusal)),
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
    (session, sealed): &SignedIn,
    target: &str,
) -> Result<LayerResponse, LoginRefusal> {
    // A cached result must not restore a session that has ended since.
    if settings.manager.is_denied(session.record()) {
        return Err(USED);
    }
    let mut cookies = settings.session_cookies(session, sealed);
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
            cookies.values.extend(settings.clear(name));
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
    let cookie: Option<HeaderValue> = settings.clear(name);
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

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::crypto::CookieKey;
    use crate::crypto::seal::Purpose;
    use crate::issuer::{AuthorizationServer, Client};
    use crate::login::LoginLayer;
    use crate::login::cookies::CookieNames;
    use crate::protocol::{CodeVerifier, Metadata, Nonce, State};

    const ISSUER: &str = "https://id.example.com";
    const CALLBACK: &str = "https://shop.example.com/auth/callback";

    /// Returns the redirect of a failed silent login, which needs no token request.
    async fn redirect_after_callback(return_to: &str) -> String {
        let metadata = Metadata::new(ISSUER)
            .with_authorization_endpoint("https://id.example.com/authorize")
            .with_token_endpoint("https://id.example.com/token")
            .with_jwks_uri("https://id.example.com/keys");
        let server = AuthorizationServer::new(ISSUER)
            .unwrap()
            .with_metadata(metadata)
            .unwrap();
        let key = CookieKey::generate().unwrap();
        let layer = LoginLayer::new(&server, Client::public("shop"), CALLBACK, key).unwrap();
        let settings = layer.settings();
        let transaction = Transaction {
            state: State::new("a-state-of-some-length"),
            nonce: Nonce::new("n"),
            verifier: CodeVerifier::new("v".repeat(43)),
            issuer: ISSUER.to_owned(),
            redirect_uri: CALLBACK.to_owned(),
            return_to: return_to.to_owned(),
            started_at: settings.now(),
            by_person: true,
            silent: true,
            max_age: None,
            acr_values: None,
            replaces: None,
        };
        let name = CookieNames::transaction(&transaction.state);
        let cipher = &settings.cipher;
        let value = cipher
            .seal(Purpose::Transaction, &name, &transaction.to_bytes())
            .unwrap();
        let (parts, ()) =
            Request::get("/auth/callback?error=login_required&state=a-state-of-some-length")
                .header("cookie", format!("{}={value}", cipher.names.full(&name)))
                .body(())
                .unwrap()
                .into_parts();
        let response = handle(settings, &parts).await;
        response.headers()["location"].to_str().unwrap().to_owned()
    }

    /// A return target that an earlier configuration accepted is checked with the current one.
    #[tokio::test]
    async fn an_encrypted_return_target_is_checked_again() {
        for (encrypted, expected) in [
            ("/notes?x=1", "/notes?x=1"),
            ("//evil.example", "/"),
            ("https://evil.example/", "/"),
            ("/auth/login", "/"),
            ("/a\r\nset-cookie: b=c", "/"),
            ("", "/"),
        ] {
            assert_eq!(
                redirect_after_callback(encrypted).await,
                expected,
                "{encrypted:?}"
            );
        }
    }
}
