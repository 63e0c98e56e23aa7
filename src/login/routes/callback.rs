//! `callback`: the browser comes back with a code or an error.
//!
//! The order of the checks is that of `L11`; until the state has led to a cookie of this very browser,
//! nothing is sent anywhere.

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderValue, Method, StatusCode};

use crate::flow::{FlowError, FlowErrorKind, RedemptionOutcome, SessionRef, Transaction};
use crate::login::chunks;
use crate::login::cookies::{Jar, LOGOUT, SESSION_NAMES};
use crate::login::navigation;
use crate::login::redemptions::{self, SignInError};
use crate::login::refusal::{Refusal, USED};
use crate::login::response::{self, Answer};
use crate::login::settings::Settings;
use crate::login::transactions::{self, Lookup};
use crate::login::{SameSite, events, pages};
use crate::protocol::authorization_response::AuthorizationResponse;
use crate::session::{EndReason, LoadedSession, PresentedSession, PresentedSessions, SignOut};
use crate::store::StoreError;

pub(super) async fn answer(settings: &Settings, parts: &Parts) -> Answer {
    let mut answer = if parts.method == Method::GET {
        come_back(settings, parts).await
    } else {
        // `H26`: the answer comes in a query, so nothing is ever posted here.
        response::method_not_allowed("GET")
    };
    response::send_no_referrer(answer.headers_mut());
    answer
}

async fn come_back(settings: &Settings, parts: &Parts) -> Answer {
    let headers = &parts.headers;
    let refuse = |refusal: &Refusal| settings.refuse(headers, refusal, None);

    // `H31`, `H32`: a script, a frame or a prefetch does not bring anybody back, and uses nothing up.
    if !navigation::goes_to_a_document(headers) || navigation::is_prefetch(headers) {
        return refuse(&NO_NAVIGATION);
    }
    let query = parts.uri.query().unwrap_or_default();
    let response = match AuthorizationResponse::parse(query) {
        Ok(response) => response,
        Err(error) => return refuse(&Refusal::from(&FlowError::from(error))),
    };
    let jar = Jar::read(headers, &settings.sealer.names);
    let now = |started_at| settings.now_for(started_at);
    let lookup = transactions::find(&settings.sealer, &jar, response.state(), now);
    let (name, transaction) = match lookup {
        Lookup::Found(name, transaction) => (name, *transaction),
        // `L61`: without this browser's own cookie there is no session, whatever the query says.
        Lookup::Nothing => {
            return match settings.visit(&jar).await {
                // `L14`: back button after a login that went well.
                Ok(visit) if visit.session.is_some() => {
                    response::redirect(&settings.default_return_to)
                }
                Ok(_) => refuse(&UNKNOWN.because(NO_COOKIE)),
                Err(error) => refuse(&Refusal::from(&error)),
            };
        }
        // `H08`, `H10`, `H11`: too old or not ours.
        Lookup::Spoiled(name) => {
            let mut answer = refuse(&STALE);
            clear(settings, &mut answer, &name);
            return answer;
        }
    };
    match finish(settings, parts, &jar, transaction, response).await {
        Finished::Used(mut answer) => {
            // `L13`: used, however it went.
            clear(settings, &mut answer, &name);
            answer
        }
        Finished::CanBeRepeated(answer) => answer,
    }
}

/// What a callback came to whose transaction was found.
enum Finished {
    Used(Answer),
    /// Nothing was sent: the browser keeps its transaction, and a reload continues the login.
    CanBeRepeated(Answer),
}

async fn finish(
    settings: &Settings,
    parts: &Parts,
    jar: &Jar<'_>,
    transaction: Transaction,
    response: AuthorizationResponse,
) -> Finished {
    // `H46`: what was acceptable when it was sealed may not be now.
    let target = settings
        .return_to(&transaction.return_to)
        .unwrap_or(&settings.default_return_to)
        .to_owned();
    let state = transaction.state.clone();
    let replaces = transaction.replaces;
    let outcome = match settings.flow().accept(transaction, response).await {
        Ok(grant) => {
            let (keeper, claimed) = (Arc::clone(&settings.keeper), state.clone());
            let sealer = settings.sealer.clone();
            let redeem = move |permit| async move {
                let Some(claim) = keeper.consume_state(&claimed).await? else {
                    return Err(SignInError::Used);
                };
                let tokens = match keeper.flow().redeem(&grant).await {
                    Ok(tokens) => tokens,
                    Err(none) => {
                        // The claim of a code that may have been redeemed stays to the end.
                        if none.outcome == RedemptionOutcome::Refused {
                            keeper.shorten_consumed_state(claim).await;
                        }
                        return Err(none.error.into());
                    }
                };
                // What follows waits for no stranger's code.
                drop(permit);
                let record = keeper.flow().complete(grant, tokens).await?;
                let record = keeper.admit(record).await?;
                // What no cookie holds is not begun: nobody could ever end it.
                if !keeper.keeps_sessions_in_store()
                    && let Err(error) = chunks::seal(&sealer, &record)
                {
                    keeper.flow().revoke(&record).await;
                    return Err(error.into());
                }
                match keeper.begin(record.clone()).await {
                    Ok(session) => {
                        events::succeeded();
                        Ok(session)
                    }
                    // Nobody will ever use its tokens.
                    Err(error) => {
                        keeper.flow().revoke(&record).await;
                        Err(error.into())
                    }
                }
            };
            let clock = settings.flow().clock();
            settings.callbacks.once(&state, clock, redeem).await
        }
        // Found out without a token request, and so as often as somebody likes: nothing is kept of it.
        Err(error) => redemptions::Answer::Outcome(Arc::new(Err(error.into()))),
    };
    let refuse = |refusal: &Refusal| settings.refuse(&parts.headers, refusal, Some(&target));
    let outcome = match outcome {
        redemptions::Answer::Outcome(outcome) => outcome,
        redemptions::Answer::Used => return Finished::Used(refuse(&USED)),
        redemptions::Answer::Lost => return Finished::Used(refuse(&LOST)),
    };
    Finished::Used(match outcome.as_ref() {
        Ok(session) => match end_before(settings, jar, session, replaces).await {
            Ok(()) => {
                sign_in(settings, jar, session, &target).unwrap_or_else(|refusal| refuse(&refusal))
            }
            Err(error) => refuse(&Refusal::from(&error)),
        },
        Err(error) if error.can_be_repeated() => {
            return Finished::CanBeRepeated(refuse(&Refusal::from(error)));
        }
        // `L16`: a silent login that found nobody is an answer, not a failure.
        Err(SignInError::Flow(error)) if error.kind() == FlowErrorKind::NotSignedIn => {
            events::not_signed_in();
            response::redirect(&target)
        }
        Err(error) => refuse(&Refusal::from(error)),
    })
}

/// `L20`, `H34`: the session that was here before ends, whoever's it was.
async fn end_before(
    settings: &Settings,
    jar: &Jar<'_>,
    session: &LoadedSession,
    replaces: Option<SessionRef>,
) -> Result<(), StoreError> {
    let (keeper, id) = (&settings.keeper, session.record().id());
    for shown in settings
        .found(jar)
        .presented
        .into_iter()
        .flat_map(PresentedSessions::into_iter)
    {
        let is_this = match &shown {
            PresentedSession::Record(record) => record.id() == id,
            PresentedSession::Secret(ticket) => keeper.name_of(ticket) == *id,
        };
        if is_this {
            continue;
        }
        // Also one that is too old: a younger one of the same session may be on its way (`L47`).
        if let SignOut::Failed(error) = keeper.sign_out(shown, EndReason::Replaced).await {
            return Err(error);
        }
    }
    if let Some(before) = replaces.filter(|before| before.id != *id) {
        keeper.end_unread(&before).await?;
        let (id, reason) = (Some(before.id), EndReason::Replaced);
        keeper.notify_ended_unopened(id, None, reason);
    }
    Ok(())
}

fn sign_in(
    settings: &Settings,
    jar: &Jar<'_>,
    session: &LoadedSession,
    target: &str,
) -> Result<Answer, Refusal> {
    // A result that is asked for again must not revive a session that was ended since (`L47`).
    if settings.keeper.is_denied(session.record()) {
        return Err(USED);
    }
    let mut cookies = settings.session_cookies(session)?;
    let written = cookies.names;
    // What is not overwritten goes: older chunks, and whatever somebody planted (`H35`). A Strict
    // cookie is not sent along from elsewhere, so what cannot be seen goes too.
    let mut stale: Vec<&str> = jar.session_names().collect();
    if settings.same_site == SameSite::Strict {
        stale.extend(SESSION_NAMES.iter().filter(|&name| !jar.has(name)));
    }
    // What an unfinished sign-out left would be too much beside a large session.
    stale.extend(jar.has(LOGOUT).then_some(LOGOUT));
    for name in stale {
        if !written.iter().any(|new| new == name) {
            cookies.values.extend(settings.clear(name));
        }
    }
    let mut answer = match settings.same_site {
        SameSite::Strict => response::html(StatusCode::OK, pages::landing(target), pages::policy()),
        SameSite::Lax => response::redirect(target),
    };
    response::add_cookies(answer.headers_mut(), cookies.values);
    Ok(answer)
}

fn clear(settings: &Settings, answer: &mut Answer, name: &str) {
    let cookie: Option<HeaderValue> = settings.clear(name);
    response::add_cookies(answer.headers_mut(), cookie);
}

const NO_NAVIGATION: Refusal = Refusal::new(
    StatusCode::BAD_REQUEST,
    "callback_no_navigation",
    "A sign-in is completed by going to this page.",
);
const UNKNOWN: Refusal = Refusal::stale(
    "login_unknown",
    "This sign-in did not begin in this browser, or it was completed or given up already.",
);
const NO_COOKIE: &str = "the browser sent no cookie for this state; if that is always so, people come by \
                         another origin than that of the redirect URI";
const STALE: Refusal = Refusal::stale("login_expired", "This sign-in has expired.");
const LOST: Refusal = {
    let mut refusal = Refusal::stale("login_lost", "Something went wrong here.");
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

    /// A silent login that found nobody, so that no token request is needed to see the redirect.
    async fn return_from(return_to: &str) -> String {
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
        let sealer = &settings.sealer;
        let value = sealer
            .seal(Purpose::Transaction, &name, &transaction.to_bytes())
            .unwrap();
        let (parts, ()) =
            Request::get("/auth/callback?error=login_required&state=a-state-of-some-length")
                .header("cookie", format!("{}={value}", sealer.names.full(&name)))
                .body(())
                .unwrap()
                .into_parts();
        let answer = answer(settings, &parts).await;
        answer.headers()["location"].to_str().unwrap().to_owned()
    }

    /// `H46`: what a configuration of yesterday let into the seal is checked with that of today.
    #[tokio::test]
    async fn a_sealed_return_target_is_checked_again() {
        for (sealed, expected) in [
            ("/notes?x=1", "/notes?x=1"),
            ("//evil.example", "/"),
            ("https://evil.example/", "/"),
            ("/auth/login", "/"),
            ("/a\r\nset-cookie: b=c", "/"),
            ("", "/"),
        ] {
            assert_eq!(return_from(sealed).await, expected, "{sealed:?}");
        }
    }
}
