//! RP-Initiated Logout: the redirect to the authorization server after a sign-out, and the one back.
//!
//! The URL of the logout request has the ID token. A navigation is redirected to it; a script, which
//! can read its response, gets the URL of a continuation instead, which redirects once. An encrypted
//! cookie has what both redirects need, so that any replica can handle them.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use subtle::ConstantTimeEq as _;

use crate::crypto::seal::Purpose;
use crate::flow::{EndSession, has_expired};
use crate::login::cookies::{CookieLifetime, SameSite};
use crate::login::form;
use crate::login::jar::{Jar, LOGOUT};
use crate::login::navigation;
use crate::login::refusal::LoginRefusal;
use crate::login::response::{self, LayerResponse};
use crate::login::settings::Settings;
use crate::protocol::form::parse;
use crate::record::SessionRecord;

/// The logout request.
pub(super) struct EndSessionRedirect {
    pub(super) end: EndSession,
    /// The URL for a script: without the ID token, or of the continuation.
    pub(super) url_for_script: String,
    /// The cookie for the redirect back.
    pub(super) cookie: Option<HeaderValue>,
}

/// The contents of the cookie. No part has a space.
struct PendingReturn<'a> {
    /// The state that the authorization server returns, or `-` if it returns none.
    state: &'a str,
    started_at: i64,
    /// The id of the continuation and the URL that it redirects to, or `-` for both.
    continuation: (&'a str, &'a str),
    target: &'a str,
}

impl<'a> PendingReturn<'a> {
    fn open(plain: &'a [u8], now: i64) -> Option<Self> {
        let mut parts = std::str::from_utf8(plain).ok()?.splitn(5, ' ');
        let mut next = || parts.next();
        let pending = Self {
            state: next()?,
            started_at: next()?.parse().ok()?,
            continuation: (next()?, next()?),
            target: next()?,
        };
        let is_late = has_expired(pending.started_at, now, RETURN_TTL);
        (!is_late).then_some(pending)
    }

    fn seal(&self, settings: &Settings) -> Option<String> {
        let (id, url) = self.continuation;
        let plain = format!(
            "{} {} {id} {url} {}",
            self.state, self.started_at, self.target
        );
        let cookies = &settings.cookies;
        let sealed = cookies.seal(Purpose::Logout, LOGOUT, plain.as_bytes());
        sealed.ok()
    }

    /// Returns the `Set-Cookie` value, or `None` if a browser would not keep it.
    fn cookie(&self, settings: &Settings) -> Option<HeaderValue> {
        let cookies = &settings.cookies;
        let sealed = self.seal(settings)?;
        let fits = cookies.cost(LOGOUT, &sealed) <= MAX_COOKIE;
        fits.then(|| {
            cookies.set(
                LOGOUT,
                &sealed,
                CookieLifetime::Of(RETURN_TTL),
                SameSite::Lax,
            )
        })?
    }
}

/// Creates the logout request, if the authorization server has a logout endpoint.
pub(super) async fn begin(
    settings: &Settings,
    record: &SessionRecord,
    target: &str,
    is_script: bool,
) -> Option<EndSessionRedirect> {
    let flow = settings.manager.flow_of(record)?;
    let (state, id) = (flow.new_state().ok()?, flow.new_state().ok()?);
    let end = flow.end_session(record, &state).await?;
    let pending = PendingReturn {
        state: if end.returns_state {
            state.expose()
        } else {
            NOTHING
        },
        started_at: settings.manager.time().wall(),
        continuation: (NOTHING, NOTHING),
        target,
    };
    if is_script && end.url != end.url_without_hint {
        let continued = PendingReturn {
            continuation: (id.expose(), &end.url),
            ..pending
        };
        if let Some(cookie) = continued.cookie(settings) {
            let path = &settings.paths.logout;
            return Some(EndSessionRedirect {
                url_for_script: format!("{path}?{CONTINUE}={}", id.expose()),
                end,
                cookie: Some(cookie),
            });
        }
    }
    let cookie = match end.returns_state {
        true => pending.cookie(settings),
        false => None,
    };
    Some(EndSessionRedirect {
        url_for_script: end.url_without_hint.clone(),
        end,
        cookie,
    })
}

/// Handles the continuation of a sign-out by a script: redirects to the authorization server, once.
/// Only a navigation may follow it, since a script could read where a request of its own ends.
pub(super) fn continue_to_server(
    settings: &Settings,
    uri: &Uri,
    headers: &HeaderMap,
) -> Option<LayerResponse> {
    let pairs = parse(uri.query()?).ok()?;
    let id = form::single(&pairs, CONTINUE)?;
    if !navigation::wants_html(headers)
        || !navigation::is_document_request(headers)
        || navigation::has_cross_origin(headers, &settings.origin)
        || navigation::is_prefetch(headers)
    {
        return Some(settings.reject(headers, &NOT_A_NAVIGATION, None));
    }
    let redirect = with_cookie(settings, headers, |pending| {
        let (expected, url) = pending.continuation;
        if !is_equal(expected, id) {
            return None;
        }
        let mut response = response::redirect_to_server(url);
        let rest = PendingReturn {
            continuation: (NOTHING, NOTHING),
            ..pending
        };
        let cookie = match rest.state {
            NOTHING => settings.cookies.clear(LOGOUT),
            _ => rest.cookie(settings),
        };
        response::add_cookies(response.headers_mut(), cookie);
        Some(response)
    });
    // Followed before, or too late: the session has ended in any case.
    Some(redirect.unwrap_or_else(|| response::redirect(settings.default_return_to())))
}

/// Handles the redirect back from the authorization server, if the state matches the cookie of this
/// browser.
pub(in crate::login) fn return_from_server(
    settings: &Settings,
    uri: &Uri,
    headers: &HeaderMap,
) -> Option<LayerResponse> {
    let pairs = parse(uri.query()?).ok()?;
    let state = form::single(&pairs, "state")?;
    with_cookie(settings, headers, |pending| {
        if !is_equal(pending.state, state) {
            return None;
        }
        let target = settings.return_to(pending.target);
        let target = target.unwrap_or_else(|| settings.default_return_to());
        let mut response = response::redirect(target);
        response::add_cookies(response.headers_mut(), settings.cookies.clear(LOGOUT));
        Some(response)
    })
}

fn with_cookie(
    settings: &Settings,
    headers: &HeaderMap,
    respond: impl FnOnce(PendingReturn<'_>) -> Option<LayerResponse>,
) -> Option<LayerResponse> {
    let jar = Jar::read(headers, &settings.cookies);
    let sealed = jar.one(LOGOUT)?;
    let plain = settings.cookies.open(Purpose::Logout, LOGOUT, sealed)?;
    respond(PendingReturn::open(&plain, settings.manager.time().wall())?)
}

/// Nothing is never equal.
fn is_equal(expected: &str, value: &str) -> bool {
    let is_equal: bool = expected.as_bytes().ct_eq(value.as_bytes()).into();
    is_equal && expected != NOTHING
}

const NOTHING: &str = "-";
const CONTINUE: &str = "continue";

/// Browsers keep cookies of up to 4096 bytes, and many proxies accept 4 KiB of response header fields.
const MAX_COOKIE: usize = 3400;

/// How long the user may take to confirm at the authorization server.
const RETURN_TTL: Duration = Duration::from_secs(600);

const NOT_A_NAVIGATION: LoginRefusal = LoginRefusal::new(
    StatusCode::BAD_REQUEST,
    "logout_no_navigation",
    "You are signed out here. To sign out at the sign-in service too, open this page in a browser tab.",
);
