//! `callback`: handles the authorization response (RFC 6749 §4.1.2).
//!
//! Except for the keys that verify a signed response, no request is sent anywhere before the state has led to a
//! transaction cookie of this browser. The checks are ordered accordingly.

use std::borrow::Cow;
use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};
use http_body::Body;

use crate::flow::{FlowErrorKind, LoginPurpose, Transaction};
use crate::login::cookies::{MAX_REQUEST_BYTES, SameSite};
use crate::login::jar::{Jar, LOGOUT, NO_SILENT_LOGIN, SESSION_NAMES, SIGNED_IN};
use crate::login::navigation::{is_document_request, is_prefetch};
use crate::login::redemptions::{PermitRequest, Redemption, SignedIn};
use crate::login::refusal::{INTERNAL_ERROR, LoginRefusal, USED};
use crate::login::response::{self, LayerResponse};
use crate::login::returning_login::ReturningLogin;
use crate::login::routes::form_post;
use crate::login::settings::Settings;
use crate::login::slots::return_to_name;
use crate::login::{chunks, events, pages, transactions};
use crate::protocol::State;
use crate::protocol::authorization_response::AuthorizationResponse;
use crate::record::SessionRef;
use crate::session::{EndReason, ProviderEntry, SignInError, SignOut};
use crate::store::StoreError;

pub(super) async fn handle<B: Body>(
    settings: &Settings,
    provider: &ProviderEntry,
    parts: &Parts,
    body: B,
) -> LayerResponse {
    let is_form = provider.flow.response_mode().is_form();
    let mut response = match parts.method {
        // In the other response modes no form is ever posted here.
        Method::POST if !is_form => response::method_not_allowed("GET"),
        Method::GET | Method::POST if !is_a_page(&parts.headers) => {
            settings.reject_login(&parts.headers, &NOT_A_NAVIGATION, None)
        }
        Method::GET => handle_callback(settings, provider, parts).await,
        Method::POST => {
            let received = form_post::receive(settings, provider, parts, body).await;
            received.unwrap_or_else(|refusal| settings.reject_login(&parts.headers, &refusal, None))
        }
        _ if is_form => response::method_not_allowed("GET, POST"),
        _ => response::method_not_allowed("GET"),
    };
    response::close_after_rejected_form(&mut response, parts);
    response::send_no_referrer(response.headers_mut());
    response
}

/// Returns whether the response is shown as a page. A script, a frame or a prefetch cannot complete a login, and must not
/// use it up.
fn is_a_page(headers: &HeaderMap) -> bool {
    is_document_request(headers) && !is_prefetch(headers)
}

/// Reads the response in the mode that was requested. Which login it belongs to is not known yet.
async fn read_response(
    settings: &Settings,
    provider: &ProviderEntry,
    parts: &Parts,
    jar: &Jar<'_>,
) -> Result<AuthorizationResponse, UnreadResponse> {
    let query = parts.uri.query().unwrap_or_default();
    let flow = &provider.flow;
    let mode = flow.response_mode();
    // Without a login in this browser the response is of no use, so it may not use up the fetches of others.
    let has_login = mode.is_signed() && transactions::has_any(&settings.cookies, jar);
    let parameters = match mode.is_form() {
        true => form_post::open(settings, provider, query).map(Cow::Owned),
        false => Ok(Cow::Borrowed(query)),
    };
    let parameters = parameters.map_err(|refusal| UnreadResponse {
        refusal,
        state: None,
    })?;
    let response = flow.read_response(&parameters, has_login).await;
    response.map_err(|error| UnreadResponse {
        refusal: LoginRefusal::from(&error),
        state: flow.unverified_state(&parameters),
    })
}

/// A response that was not accepted.
struct UnreadResponse {
    refusal: LoginRefusal,
    /// Not verified.
    state: Option<State>,
}

/// Returns the response if no login can be looked up. The login keeps its cookie.
///
/// A silent login continues without one. Its state was encrypted by this layer, so the sender of the response chooses only
/// among the pages that silent logins of this application started at.
fn reject_unread(
    settings: &Settings,
    headers: &HeaderMap,
    jar: &Jar<'_>,
    unread: &UnreadResponse,
) -> LayerResponse {
    let refusal = &unread.refusal;
    let login = unread.state.as_ref();
    let login = login.map(|state| ReturningLogin::read(settings, jar, state));
    if let Some(login) = login.filter(|login| login.continues_anonymously(jar)) {
        return settings.continue_anonymously(refusal, Some(login.target(settings)));
    }
    if unread.state.is_none() && transactions::are_optional(&settings.cookies, jar) {
        return settings.continue_anonymously(refusal, None);
    }
    settings.reject_login(headers, refusal, None)
}

async fn handle_callback(
    settings: &Settings,
    provider: &ProviderEntry,
    parts: &Parts,
) -> LayerResponse {
    let headers = &parts.headers;
    let jar = Jar::read(headers, &settings.cookies);
    let authorization = match read_response(settings, provider, parts, &jar).await {
        Ok(authorization) => authorization,
        Err(unread) => return reject_unread(settings, headers, &jar, &unread),
    };
    let login = ReturningLogin::read(settings, &jar, authorization.state());
    let target = login.target(settings).to_owned();
    let reject = |refusal: &LoginRefusal| settings.reject_login(headers, refusal, Some(&target));
    let continues_anonymously = login.continues_anonymously(&jar);
    let mut response = match login.transaction {
        Ok(transaction) => {
            let is_optional = transaction.purpose == LoginPurpose::Optional;
            match complete(
                settings,
                provider,
                headers,
                &jar,
                *transaction,
                authorization,
                &target,
            )
            .await
            {
                Ok(response) => response,
                Err(
                    CallbackRejection::Used(refusal) | CallbackRejection::CanBeRepeated(refusal),
                ) if is_optional => settings.continue_anonymously(&refusal, Some(&target)),
                Err(CallbackRejection::Used(refusal)) => reject(&refusal),
                Err(CallbackRejection::CanBeRepeated(refusal)) => return reject(&refusal),
            }
        }
        // Too late, replaced by another login, or canceled by a sign-out.
        Err(refusal) if continues_anonymously => {
            settings.continue_anonymously(&refusal, Some(&target))
        }
        // Without a transaction cookie of this browser there is no session: login CSRF (RFC 6749
        // §10.12).
        Err(refusal) if login.is_absent => match settings.session(headers, false).await {
            // The back button after a successful login.
            Ok(cookie) if cookie.session.is_some() => response::redirect(match login.is_late {
                true => settings.default_return_to(),
                false => &target,
            }),
            Ok(_) => reject(&refusal),
            Err(error) => reject(&LoginRefusal::from(&error)),
        },
        Err(refusal) => reject(&refusal),
    };
    // The transaction is used, whatever the result.
    let cleared = login
        .cookies
        .iter()
        .filter_map(|name| settings.cookies.clear(name));
    response::add_cookies(response.headers_mut(), cleared);
    // The next attempt begins anew.
    if response.status().as_u16() >= 400 && jar.has(SIGNED_IN) {
        response::add_cookies(response.headers_mut(), settings.cookies.clear(SIGNED_IN));
    }
    response
}

/// Why a callback with a transaction is rejected.
enum CallbackRejection {
    Used(LoginRefusal),
    /// The code was not sent. The browser keeps its transaction, so a reload continues the login.
    CanBeRepeated(LoginRefusal),
}

/// Completes the login of a transaction.
async fn complete(
    settings: &Settings,
    provider: &ProviderEntry,
    headers: &HeaderMap,
    jar: &Jar<'_>,
    mut transaction: Transaction,
    authorization: AuthorizationResponse,
    target: &str,
) -> Result<LayerResponse, CallbackRejection> {
    let checked = settings.check();
    checked.map_err(|error| CallbackRejection::CanBeRepeated(LoginRefusal::from(&error)))?;
    let replaces = transaction.replaces;
    if transaction.purpose == LoginPurpose::StepUp {
        settings.bind_step_up(headers, &mut transaction).await;
    }
    let has_stepped_up = transaction.purpose == LoginPurpose::StepUp;
    let page = transaction.page;
    let redemption = match provider.flow.accept(transaction, authorization).await {
        Ok(grant) => {
            let checked = settings
                .check_sign_in_loop(jar, headers, replaces.as_ref())
                .await;
            checked.map_err(CallbackRejection::Used)?;
            let previous = settings.previous_session(headers).await;
            let previous = previous.map_err(CallbackRejection::CanBeRepeated)?;
            let (manager, cookies) = (Arc::clone(&settings.manager), settings.cookies.clone());
            let provider = provider.clone();
            let (state, lifetime) = (grant.state(), settings.flow().login_time_limit());
            let sign_in = |permit: PermitRequest| async move {
                let seal = |new: &_| chunks::seal(&cookies, new);
                let signed_in = manager.sign_in(&provider, grant, previous, permit.wait(), seal);
                let signed_in = signed_in.await?;
                let (record, client_id) = (signed_in.0.record(), provider.flow.client().id());
                events::login_succeeded(record.id(), &provider.name, record.issuer(), client_id);
                Ok(signed_in)
            };
            settings.redemptions.once(state, lifetime, sign_in).await
        }
        // Detected without a token request, so callers can cause it at no cost: do not cache it.
        Err(error) => Redemption::Completed(Arc::new(Err(error.into()))),
    };
    let result = match redemption {
        Redemption::Completed(result) => result,
        Redemption::AlreadyRedeemed => return Err(CallbackRejection::Used(USED)),
        Redemption::Aborted => return Err(CallbackRejection::Used(ABORTED)),
    };
    match result.as_ref() {
        Ok(signed_in) => {
            let ended = end_previous_session(settings, jar, signed_in, replaces).await;
            ended.map_err(|error| CallbackRejection::Used(LoginRefusal::from(&error)))?;
            // A cached result must not restore a session that has ended since.
            if settings.manager.is_denied(signed_in.0.record()) {
                return Err(CallbackRejection::Used(USED));
            }
            let mut response = sign_in(settings, jar, signed_in, target);
            let mark = has_stepped_up.then(|| settings.mark_step_up(target, page));
            response::add_cookies(response.headers_mut(), mark.flatten());
            Ok(response)
        }
        // A silent login without a session at the authorization server is an expected result
        // (OpenID Connect Core §3.1.2.6).
        Err(SignInError::Flow(error)) if error.kind() == FlowErrorKind::NotSignedIn => {
            events::silent_login_failed();
            Ok(response::redirect(target))
        }
        Err(error) if error.can_be_repeated() => {
            Err(CallbackRejection::CanBeRepeated(error.into()))
        }
        Err(error) => Err(CallbackRejection::Used(error.into())),
    }
}

/// Ends the previous session of this browser, so that no copy of its cookie stays valid.
async fn end_previous_session(
    settings: &Settings,
    jar: &Jar<'_>,
    (session, _): &SignedIn,
    replaces: Option<SessionRef>,
) -> Result<(), StoreError> {
    let (manager, id) = (&settings.manager, session.record().id());
    for presented in settings.presented_sessions(jar).presented {
        if manager.id_of(&presented) == *id {
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

/// Returns the response that sets the cookies of a new session.
fn sign_in(
    settings: &Settings,
    jar: &Jar<'_>,
    (session, sealed): &SignedIn,
    target: &str,
) -> LayerResponse {
    // Clear what is not overwritten: older chunks, and planted cookies. A Strict cookie is not sent
    // with this request, so clear its names without seeing them.
    let mut others: Vec<&str> = jar.session_names().collect();
    if settings.same_site == SameSite::Strict {
        others.extend(SESSION_NAMES.iter().filter(|&name| !jar.has(name)));
    }
    // The cookie of an unfinished sign-out would not fit beside a large session.
    others.extend(jar.has(LOGOUT).then_some(LOGOUT));
    // The user has chosen to be signed in.
    others.extend(jar.has(NO_SILENT_LOGIN).then_some(NO_SILENT_LOGIN));
    // Nor the long return target of another login, which then returns to the default.
    let return_to = return_to_name(settings.cookies.login_tag());
    let session_bytes = sealed
        .iter()
        .map(|(name, value)| settings.cookies.cost(name, value));
    let rest = session_bytes.sum::<usize>() + transactions::MAX_BYTES;
    let is_too_long =
        |value: &&str| rest + settings.cookies.cost(&return_to, value) > MAX_REQUEST_BYTES;
    if jar.values(&return_to).iter().any(is_too_long) {
        others.push(&return_to);
    }
    let others = others.into_iter().map(str::to_owned);
    let mut response = match settings.same_site {
        SameSite::Strict => {
            response::html(StatusCode::OK, pages::signed_in(target), pages::policy())
        }
        SameSite::Lax => response::redirect(target),
    };
    let cookies = settings.session_cookies(session, sealed, others);
    response::add_cookies(response.headers_mut(), cookies);
    response::add_cookies(response.headers_mut(), settings.mark_sign_in());
    response
}

const NOT_A_NAVIGATION: LoginRefusal = LoginRefusal::new(
    StatusCode::BAD_REQUEST,
    "callback_no_navigation",
    "Sign-in can only be completed by opening this page in a browser tab.",
);
const ABORTED: LoginRefusal = LoginRefusal::stale("login_lost", INTERNAL_ERROR)
    .with_status(StatusCode::INTERNAL_SERVER_ERROR);

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::header::{COOKIE, LOCATION};
    use http::{Request, Response};

    use super::*;
    use crate::crypto::CookieKey;
    use crate::crypto::seal::Purpose;
    use crate::flow::{Destination, LoginPurpose, LoginSecret, StateDigest};
    use crate::issuer::{AuthorizationServer, Client};
    use crate::login::LoginLayer;
    use crate::login::login_state::{LoginState, StateTarget};
    use crate::login::slots::Slot;

    const ISSUER: &str = "https://id.example.com";
    const REDIRECT_URI: &str = "https://shop.example.com/auth/callback";

    /// A release with a weaker check may have encrypted these.
    #[tokio::test]
    async fn an_encrypted_return_target_is_checked_again_before_the_redirect() {
        for (target, expected) in [
            ("/notes?x=1#y", "/notes?x=1#y"),
            ("//evil.example", "/"),
            ("/\\evil.example", "/"),
            ("/%2f/evil.example", "/"),
            ("https://evil.example/", "/"),
            ("javascript:alert(1)", "/"),
            ("/a\r\nSet-Cookie: x=y", "/"),
            ("/auth/login", "/"),
            ("", "/"),
        ] {
            let layer = layer();
            // A failed silent login and a denied one: neither needs a token request.
            let silent = callback(&layer, target, "login_required").await;
            assert_eq!(silent.status(), StatusCode::SEE_OTHER, "{target:?}");
            assert_eq!(silent.headers()[LOCATION], expected, "{target:?}");

            let denied = callback(&layer, target, "access_denied").await;
            assert_eq!(denied.status(), StatusCode::FORBIDDEN, "{target:?}");
            let body: serde_json::Value = serde_json::from_slice(denied.body()).unwrap();
            let login_url = layer.settings.login_url(Some(expected));
            assert_eq!(body["login_url"], login_url, "{target:?}");
        }
    }

    fn layer() -> LoginLayer {
        let server = AuthorizationServer::new(ISSUER).unwrap();
        let key = CookieKey::from_bytes(&[7; 32]).unwrap();
        LoginLayer::new(&server, Client::public("shop"), REDIRECT_URI, key).unwrap()
    }

    async fn callback(layer: &LoginLayer, target: &str, error: &str) -> Response<Bytes> {
        let settings = &layer.settings;
        let cookies = &settings.cookies;
        let login = LoginState {
            slot: Slot::default(),
            started_at: settings.manager.time().wall(),
            target: StateTarget::new(Some(target)),
            is_optional: false,
        };
        let state = login.seal(cookies).unwrap();
        let transaction = Transaction {
            state: StateDigest::of(&state),
            secret: LoginSecret::new([1; 32]),
            destination: Destination::new(ISSUER, REDIRECT_URI),
            started_at: login.started_at,
            by_person: true,
            purpose: LoginPurpose::SignIn,
            replaces: None,
            silent: true,
            max_age: None,
            acr_values: None,
            claims: Default::default(),
            page: None,
        };
        let name = login.slot.name(cookies.login_tag());
        let sealed = cookies.seal(Purpose::Transaction, &name, &transaction.to_bytes());
        let cookie = format!("{}={}", cookies.name(&name), sealed.unwrap());
        let state = state.expose();
        let uri = format!("/auth/callback?error={error}&state={state}&iss={ISSUER}");
        let request = Request::get(uri).header(COOKIE, cookie).body(()).unwrap();
        handle(
            settings,
            settings.manager.providers().first(),
            &request.into_parts().0,
            http_body_util::Empty::<Bytes>::new(),
        )
        .await
    }
}
