//! `logout`: here first, then at the authorization server, then back (`L62`).
//!
//! A POST with same-origin evidence signs out, and so does a link of our own pages. Anything else gets
//! a page that asks. The authorization server sends the browser back with a state that a sealed cookie
//! knows (`L65`).

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use http_body::Body;
use subtle::ConstantTimeEq as _;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::clock::within;
use crate::crypto::seal::Purpose;
use crate::flow::{EndSession, SessionRecord};
use crate::login::cookies::{Jar, LOGOUT};
use crate::login::navigation::{self, SEC_FETCH_SITE, Sent};
use crate::login::refusal::Refusal;
use crate::login::response::{self, Answer};
use crate::login::settings::Settings;
use crate::login::transactions::MAX_RETURN_TO;
use crate::login::{SameSite, body, events, pages};
use crate::protocol::form;
use crate::session::{EndReason, PresentedSession, PresentedSessions, SessionManager, SignOut};
use crate::store::StoreError;

pub(super) async fn answer<B: Body>(settings: &Settings, parts: &Parts, body: B) -> Answer {
    let pairs = form::parse(parts.uri.query().unwrap_or_default()).unwrap_or_default();
    if parts.method == Method::POST {
        // `L59`, `H101`: whoever sent it must be us. Nothing is cleared either: a foreign form brings
        // no Lax cookie along, and would otherwise sign out by the answer.
        if !settings.evidence().is_shown_by(&parts.headers) {
            return settings.refuse_foreign(&parts.headers);
        }
        let leaving = match AwaitingRefresh::begin(settings, parts).await {
            Ok(leaving) => leaving,
            Err(error) => return settings.refuse(&parts.headers, &Refusal::from(&error), None),
        };
        let mut pairs = pairs;
        let body = pin!(body);
        let form = body::read_form(&parts.headers, body);
        // The form may be sent as slowly as somebody likes: what is not there in time was not said.
        if let Some(Some(more)) = within(&**settings.flow().clock(), FORM_PATIENCE, form).await {
            pairs.extend(more);
        }
        return leaving.go_to(target(settings, &pairs)).await;
    }
    if parts.method != Method::GET {
        return response::method_not_allowed("GET, POST");
    }
    if let Some(answer) = come_back(settings, &parts.uri, &parts.headers) {
        return answer;
    }
    let target = target(settings, &pairs);
    // `L60`: a link on our own page. Not its prefetch, and not an image that somebody put there.
    let own_link = navigation::one(&parts.headers, &SEC_FETCH_SITE) == Sent::One("same-origin")
        && navigation::goes_to_a_document(&parts.headers)
        && !navigation::has_foreign_origin(&parts.headers, &settings.origin)
        && !navigation::is_prefetch(&parts.headers);
    if own_link {
        return match AwaitingRefresh::begin(settings, parts).await {
            Ok(leaving) => leaving.go_to(target).await,
            Err(error) => settings.refuse(&parts.headers, &Refusal::from(&error), None),
        };
    }
    let jar = Jar::read(&parts.headers, &settings.sealer.names);
    // A Lax cookie comes along with every navigation, so without one nobody is signed in.
    if settings.same_site == SameSite::Lax {
        match settings.visit(&jar).await {
            // With a broken cookie the page asks: the POST that follows says what came of it.
            Ok(visit) if visit.session.is_none() && !settings.found(&jar).is_broken => {
                return response::redirect(target);
            }
            Ok(_) => {}
            Err(error) => return settings.refuse(&parts.headers, &Refusal::from(&error), None),
        }
    }
    let action = format!(
        "{}?return_to={}",
        settings.routes.logout,
        form::encode_component(target)
    );
    response::html(
        StatusCode::OK,
        pages::ask_to_sign_out(&action),
        pages::policy(),
    )
}

/// A sign-out: every session that the cookies open is over, and nothing that is waited for can keep it.
struct AwaitingRefresh<'a> {
    settings: &'a Settings,
    headers: &'a HeaderMap,
    jar: Jar<'a>,
    left: Vec<Left>,
    /// A cookie was part of no session.
    is_broken: bool,
    /// The store did not accept the end of a session.
    is_pending: bool,
}

/// A session that is over, and the revocation of its tokens, which goes on though nobody waits for it.
struct Left {
    record: Option<Arc<SessionRecord>>,
    revocation: JoinHandle<()>,
}

impl Left {
    /// In a task of its own: a connection that is closed in between leaves nothing half done (`L62`).
    async fn leave(
        keeper: &Arc<SessionManager>,
        shown: PresentedSession,
    ) -> (SignOut, JoinHandle<()>) {
        let (tell, told) = oneshot::channel();
        let keeper = Arc::clone(keeper);
        let revocation = tokio::spawn(async move {
            let outcome = keeper.sign_out(shown, EndReason::SignedOut).await;
            let record = match &outcome {
                SignOut::Ended(record) => Some(Arc::clone(record)),
                SignOut::EndedLocally(record) => record.clone(),
                SignOut::AlreadyEnded | SignOut::Failed(_) => None,
            };
            // Nobody may be listening any more.
            let _ = tell.send(outcome);
            if let Some(record) = record {
                keeper.flow().revoke(&record).await;
            }
        });
        let lost = |_| {
            SignOut::Failed(StoreError::unavailable(
                "the task that ends a session is gone",
            ))
        };
        (told.await.unwrap_or_else(lost), revocation)
    }
}

impl<'a> AwaitingRefresh<'a> {
    async fn begin(settings: &'a Settings, parts: &'a Parts) -> Result<Self, StoreError> {
        let jar = Jar::read(&parts.headers, &settings.sealer.names);
        let found = settings.found(&jar);
        let mut leaving = Self {
            settings,
            headers: &parts.headers,
            jar,
            left: Vec::new(),
            is_broken: found.is_broken,
            is_pending: false,
        };
        let shown = found
            .presented
            .into_iter()
            .flat_map(PresentedSessions::into_iter);
        let mut failure = None;
        // One that fails keeps no other.
        for shown in shown {
            let (outcome, revocation) = Left::leave(&settings.keeper, shown).await;
            let record = match outcome {
                SignOut::Ended(record) => Some(record),
                SignOut::EndedLocally(record) => {
                    leaving.is_pending = true;
                    record
                }
                SignOut::AlreadyEnded => continue,
                SignOut::Failed(error) => {
                    failure = Some(error);
                    continue;
                }
            };
            leaving.left.push(Left { record, revocation });
        }
        match failure {
            Some(error) => Err(error),
            None => Ok(leaving),
        }
    }

    async fn go_to(self, target: &str) -> Answer {
        let settings = self.settings;
        let mut location = None;
        let mut cookies = Vec::new();
        let ended = self.left.len();
        let mut records = self.left.iter().filter_map(|left| left.record.as_ref());
        if let Some(record) = records.next()
            && let Some((end, cookie)) = at_the_server(settings, record, target).await
        {
            location = Some(end);
            cookies.extend(cookie);
        }
        for left in self.left {
            // All began at the same time and take two seconds at most; how each went is in the log.
            let _ = left.revocation.await;
        }
        events::signed_out(location.is_some());
        // `L64`: everything of ours, except what was just set.
        let keeps_state = !cookies.is_empty();
        let names = self.jar.names();
        for name in names.filter(|&name| !(keeps_state && name == LOGOUT)) {
            cookies.extend(settings.clear(name));
        }
        let mut answer = if self.is_pending {
            // A script can read this response, and no script gets a token.
            let on = location
                .as_ref()
                .map_or(target, |end| &end.url_without_hint);
            settings.refuse_and_link(self.headers, &ENDED_HERE, on)
        } else if self.is_broken && ended == 0 {
            settings.refuse(self.headers, &UNREADABLE, None)
        } else {
            match location {
                Some(end) => response::redirect_to_server(&end.url),
                None => response::redirect(target),
            }
        };
        response::add_cookies(answer.headers_mut(), cookies);
        if settings.clears_site_data {
            response::clear_site_data(answer.headers_mut());
        }
        answer
    }
}

/// Where the session at the authorization server is ended, and the cookie that knows the way back.
async fn at_the_server(
    settings: &Settings,
    record: &SessionRecord,
    target: &str,
) -> Option<(EndSession, Option<HeaderValue>)> {
    let state = settings.flow().new_state().ok()?;
    let end = settings.flow().end_session(record, &state).await?;
    let kept = format!("{} {} {target}", state.expose(), settings.now());
    let sealed = settings
        .sealer
        .seal(Purpose::Logout, LOGOUT, kept.as_bytes())
        .ok()?;
    let names = &settings.sealer.names;
    let cookie = names.set(names.logout(), &sealed, LIFETIME, SameSite::Lax);
    let cookie = cookie.filter(|_| end.returns_state);
    Some((end, cookie))
}

/// The way back from the authorization server, if this is one: a state that this browser's cookie has.
pub(in crate::login) fn come_back(
    settings: &Settings,
    uri: &Uri,
    headers: &HeaderMap,
) -> Option<Answer> {
    let pairs = form::parse(uri.query()?).ok()?;
    let mut states = pairs.iter().filter(|(name, _)| name == "state");
    let (Some((_, state)), None) = (states.next(), states.next()) else {
        return None;
    };
    let jar = Jar::read(headers, &settings.sealer.names);
    let sealed = jar.one(LOGOUT)?;
    let plain = settings.sealer.open(Purpose::Logout, LOGOUT, sealed)?;
    let mut words = std::str::from_utf8(&plain).ok()?.splitn(3, ' ');
    let (kept, at, target) = (words.next()?, words.next()?, words.next()?);
    let age = settings.now().saturating_sub(at.parse().ok()?);
    let in_time = u64::try_from(age).is_ok_and(|age| age < LIFETIME.as_secs());
    let same: bool = kept.as_bytes().ct_eq(state.as_bytes()).into();
    if !(same && in_time) {
        return None;
    }
    let target = settings
        .return_to(target)
        .unwrap_or(&settings.default_return_to);
    let mut answer = response::redirect(target);
    response::add_cookies(answer.headers_mut(), settings.clear(LOGOUT));
    Some(answer)
}

fn target<'a>(settings: &'a Settings, pairs: &'a [(String, String)]) -> &'a str {
    settings
        .one_return_to(pairs)
        .filter(|target| target.len() <= MAX_RETURN_TO)
        .unwrap_or(&settings.default_return_to)
}

/// How long the form of a sign-out may take to arrive.
const FORM_PATIENCE: Duration = Duration::from_secs(5);

/// How long a person may take to confirm at the authorization server.
const LIFETIME: Duration = Duration::from_secs(600);

const ENDED_HERE: Refusal = Refusal::new(
    StatusCode::SERVICE_UNAVAILABLE,
    "signed_out_here",
    "You are signed out in this browser. The sign-out could not be stored yet: other servers of this application may \
     accept a copy of your session for some time. Storing is tried again.",
);
const UNREADABLE: Refusal = Refusal::new(
    StatusCode::BAD_REQUEST,
    pages::NOT_SIGNED_OUT,
    "The session cookie of this browser could not be read, so no session was ended. The cookie was removed. If you \
     were signed in, sign in and sign out again to end your sessions.",
);
