//! Pending logins, each in an encrypted cookie in one of a few [slots](super::slots).
//!
//! A pending login uses no memory on the server: its state is in the browser only.

use std::time::Duration;

use http::HeaderValue;

use super::cookies::{CookieLifetime, Cookies, MAX_REQUEST_BYTES, MAX_RESPONSE_BYTES, SameSite};
use super::jar::Jar;
use super::login_state::LoginState;
use super::slots::{Slot, return_to_name};
use super::{events, target_cookie};
use crate::crypto::seal::Purpose;
use crate::flow::{LoginPurpose, StateDigest, Transaction};
use crate::random::RandomError;

/// The slot of a new login.
#[derive(Clone, Copy, Debug)]
pub(super) struct ChosenSlot {
    pub(super) slot: Slot,
    /// Whether a pending login is evicted.
    pub(super) evicts: bool,
}

/// What the slot of a login contains.
#[derive(Debug)]
pub(super) enum SlotContents {
    /// The browser sent no cookie for the slot.
    Empty,
    /// The cookie does not open: it is damaged, or its key is not configured.
    Unreadable,
    /// The transaction of this login, and the name of its cookie. It may have expired.
    Found(String, Box<Transaction>),
    /// The transaction of a login that started later.
    OtherLogin,
}

/// Chooses a free slot, or that of a login to evict: first those that were not started by a user,
/// then the oldest by the encrypted time. `has_expired` decides by the time of the start.
///
/// Several requests that start logins at the same time see the same cookies, so the choice among
/// equal slots is random: most of these logins then have a cookie at the end.
pub(super) fn choose_slot(
    cookies: &Cookies,
    jar: &Jar<'_>,
    has_expired: impl Fn(i64) -> bool,
) -> Result<ChosenSlot, RandomError> {
    let newest = |slot: Slot| {
        opened(cookies, jar, slot)
            .map(|transaction| (transaction.by_person, transaction.started_at))
            .filter(|&(_, started_at)| !has_expired(started_at))
            .max()
    };
    let slots: Vec<_> = Slot::all().map(|slot| (newest(slot), slot)).collect();
    let first = slots.iter().map(|(pending, _)| *pending).min().flatten();
    let equal: Vec<Slot> = slots
        .into_iter()
        .filter_map(|(pending, slot)| (pending == first).then_some(slot))
        .collect();
    let [random] = cookies.random().bytes()?;
    let chosen = equal.get(usize::from(random) % equal.len().max(1));
    Ok(ChosenSlot {
        slot: chosen.copied().unwrap_or_default(),
        evicts: first.is_some(),
    })
}

/// Returns the `Set-Cookie` values of a new login, which stay in the browser for an hour after
/// `limit`: a login that took too long is then still known to be one of this browser.
///
/// `location` is the URL that the response redirects to. A long target is left out if the response,
/// or the requests of this browser, could then be too large for a proxy.
pub(super) fn set_cookies(
    cookies: &Cookies,
    jar: &Jar<'_>,
    login: &LoginCookies<'_>,
    limit: Duration,
) -> Result<Vec<HeaderValue>, RandomError> {
    let lifetime = CookieLifetime::Of(limit.saturating_add(GRACE));
    let name = login.slot.name(cookies.login_tag());
    let plain = login.transaction.to_bytes();
    let value = cookies.seal(Purpose::Transaction, &name, &plain)?;
    let mut set: Vec<_> = cookies
        .set(&name, &value, lifetime, SameSite::Lax)
        .into_iter()
        .collect();
    if let Some(target) = login.long_target {
        let name = return_to_name(cookies.login_tag());
        let value = target_cookie::seal(cookies, login.transaction.state, target)?;
        let cookie = cookies.set(&name, &value, lifetime, SameSite::Lax);
        let set_bytes: usize = set.iter().chain(&cookie).map(HeaderValue::len).sum();
        let in_response = login.location.len() + set_bytes;
        let in_request = jar.session_bytes() + MAX_BYTES + cookies.cost(&name, &value);
        if in_response <= MAX_RESPONSE_BYTES && in_request <= MAX_REQUEST_BYTES {
            set.extend(cookie);
        } else {
            events::return_target_dropped(Some(target.len()), None, NO_ROOM);
        }
    }
    Ok(set)
}

/// What the cookies of a new login contain and depend on.
#[derive(Clone, Copy, Debug)]
pub(super) struct LoginCookies<'a> {
    pub(super) slot: Slot,
    pub(super) transaction: &'a Transaction,
    /// A return target that is not in the state.
    pub(super) long_target: Option<&'a str>,
    pub(super) location: &'a str,
}

/// Finds the transaction of a state.
pub(super) fn find(
    cookies: &Cookies,
    jar: &Jar<'_>,
    login: &LoginState,
    state: StateDigest,
) -> SlotContents {
    let mut has_other = false;
    for transaction in opened(cookies, jar, login.slot) {
        if transaction.state == state {
            let name = login.slot.name(cookies.login_tag());
            return SlotContents::Found(name, Box::new(transaction));
        }
        has_other = true;
    }
    match has_other {
        true => SlotContents::OtherLogin,
        false if jar.has(&login.slot.name(cookies.login_tag())) => SlotContents::Unreadable,
        false => SlotContents::Empty,
    }
}

/// Returns whether the browser has the cookie of any login, even one that has expired.
pub(super) fn has_any(cookies: &Cookies, jar: &Jar<'_>) -> bool {
    Slot::all().any(|slot| opened(cookies, jar, slot).next().is_some())
}

/// Returns whether the browser has pending logins, and all of them are silent.
pub(super) fn are_optional(cookies: &Cookies, jar: &Jar<'_>) -> bool {
    let mut pending = Slot::all().flat_map(|slot| opened(cookies, jar, slot));
    pending.next().is_some_and(|first| {
        let is_optional = |one: &Transaction| one.purpose == LoginPurpose::Optional;
        is_optional(&first) && pending.all(|one| is_optional(&one))
    })
}

/// Returns the transactions in a slot: more than one only if an attacker planted a cookie.
fn opened<'a>(
    cookies: &'a Cookies,
    jar: &Jar<'_>,
    slot: Slot,
) -> impl Iterator<Item = Transaction> + use<'a> {
    let name = slot.name(cookies.login_tag());
    let mut found = Vec::new();
    for value in jar.values(&name) {
        let plain = cookies.open(Purpose::Transaction, &name, value);
        found.extend(plain.and_then(|plain| Transaction::from_bytes(&plain)));
    }
    found.into_iter()
}

/// Limit on the size of all login cookies in a request, except that of a long target.
pub(super) const MAX_BYTES: usize = 2 * 1024;

/// How long the cookies of a login outlive it.
const GRACE: Duration = Duration::from_secs(3600);

const NO_ROOM: &str = "with it, the header fields would not fit into the default buffers of proxies (4 KiB in a \
     response, 8 KiB in a request); shorten the path, or keep less in the session cookie";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{Destination, LoginSecret, PageDigest};
    use crate::protocol::State;
    use crate::protocol::requested_claims::RequestedClaims;
    use crate::record::{SessionId, SessionRef, UserDigest};
    use crate::token::id_token::ClaimRequirements;

    /// The limit holds for the longest names and contents.
    #[test]
    fn all_slots_together_stay_within_their_limit() {
        let cookies = Cookies::of_test(&"n".repeat(32), true);
        let claims = serde_json::json!({"id_token": {
            "a": {"essential": true, "values": [1, 2, 3]},
            "b": {"value": 1}, "c": {"value": 1}, "d": {"value": 1},
        }});
        let transaction = Transaction {
            state: StateDigest::of(&State::new("s")),
            secret: LoginSecret::new([1; 32]),
            destination: Destination::new("https://id.example.com", "https://shop.example.com/a/b"),
            started_at: i64::MAX,
            by_person: true,
            purpose: LoginPurpose::StepUp,
            silent: true,
            max_age: Some(u32::MAX),
            // A login has either the most claims or the most `acr_values`; see `StartRequest`.
            acr_values: None,
            claims: ClaimRequirements::of(&RequestedClaims::parse(claims).unwrap()),
            page: Some(PageDigest::of("/pay")),
            replaces: Some(SessionRef {
                id: SessionId::new([1; 32]),
                user: UserDigest::new("https://id.example.com", "alice"),
                created_at: 0,
            }),
        };
        let bytes: usize = Slot::all()
            .map(|slot| {
                let name = slot.name(cookies.login_tag());
                let value = cookies.seal(Purpose::Transaction, &name, &transaction.to_bytes());
                cookies.cost(&name, &value.unwrap())
            })
            .sum();
        assert!(bytes <= MAX_BYTES, "{bytes}");
    }
}
