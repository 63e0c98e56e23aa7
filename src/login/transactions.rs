//! The logins on their way, each in a sealed cookie of its own (`L2`, `L3`).
//!
//! A started login costs this process no memory: all of it is in the browser.

use http::HeaderValue;

use super::SameSite;
use super::cookie_cipher::CookieCipher;
use super::cookies::{CookieNames, Jar};
use crate::crypto::seal::Purpose;
use crate::flow::Transaction;
use crate::protocol::State;
use crate::random::RandomError;

/// A login of this browser that has not come back yet.
#[derive(Debug)]
struct Pending<'a> {
    name: &'a str,
    cost: usize,
    by_person: bool,
    started_at: i64,
}

/// What a callback's state leads to.
#[derive(Debug)]
pub(super) enum Lookup {
    /// This browser has no cookie for it.
    Nothing,
    /// It has one that does not open or is too old. The name is to be cleared.
    Spoiled(String),
    Found(String, Box<Transaction>),
}

/// Looks for the login of a callback. `now` is the time at which something of a given second is to be judged.
pub(super) fn find(
    sealer: &CookieCipher,
    jar: &Jar<'_>,
    state: &State,
    now: impl Fn(i64) -> i64,
) -> Lookup {
    let name = CookieNames::transaction(state);
    let values = jar.values(&sealer.names, &name);
    if values.is_empty() {
        return Lookup::Nothing;
    }
    // A value that was planted beside it does not open.
    let mut opened = values
        .into_iter()
        .filter_map(|value| open(sealer, &name, value, &now));
    match opened.find(|transaction| transaction.state == *state) {
        Some(transaction) => Lookup::Found(name, Box::new(transaction)),
        None => Lookup::Spoiled(name),
    }
}

/// The `Set-Cookie` values of a new login: its own, and those that make room for it. What nobody
/// started by hand goes first, then the oldest by the time inside the seal; what does not open or is
/// too old goes anyway.
pub(super) fn admit(
    sealer: &CookieCipher,
    jar: &Jar<'_>,
    transaction: &Transaction,
    now: impl Fn(i64) -> i64,
) -> Result<Admitted, RandomError> {
    let name = CookieNames::transaction(&transaction.state);
    let value = sealer.seal(Purpose::Transaction, &name, &transaction.to_bytes())?;
    let names = &sealer.names;

    let mut dead = Vec::new();
    let mut alive = Vec::new();
    for (name, value) in jar.transactions() {
        match value.and_then(|value| Some((value, open(sealer, name, value, &now)?))) {
            Some((value, transaction)) => alive.push(Pending {
                name,
                cost: CookieNames::cost(&names.full(name), value),
                by_person: transaction.by_person,
                started_at: transaction.started_at,
            }),
            None => dead.push(name),
        }
    }
    alive.sort_by_key(|pending| (pending.by_person, pending.started_at));
    let mut bytes = CookieNames::cost(&names.full(&name), &value)
        + alive.iter().map(|pending| pending.cost).sum::<usize>();
    let mut evicted = 0;
    while alive.len() - evicted >= MAX_ALIVE || (bytes > MAX_BYTES && evicted < alive.len()) {
        bytes -= alive[evicted].cost;
        evicted += 1;
    }

    let gone = alive[..evicted]
        .iter()
        .map(|pending| pending.name)
        .chain(dead);
    let new = names.set(
        &names.full(&name),
        &value,
        Transaction::LIFETIME,
        SameSite::Lax,
    );
    let mut room = MAX_ANSWER.saturating_sub(new.as_ref().map_or(0, HeaderValue::len));
    let cleared = gone
        .filter_map(|name| names.clear(&names.full(name)))
        .take_while(|cookie| {
            let left = room.checked_sub(cookie.len());
            room = left.unwrap_or_default();
            left.is_some()
        });
    Ok(Admitted {
        cookies: new.into_iter().chain(cleared).collect(),
        evicted,
    })
}

/// A new login among those on their way.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) cookies: Vec<HeaderValue>,
    /// How many live ones had to go for it.
    pub(super) evicted: usize,
}

fn open(
    sealer: &CookieCipher,
    name: &str,
    value: &str,
    now: impl Fn(i64) -> i64,
) -> Option<Transaction> {
    let plain = sealer.open(Purpose::Transaction, name, value)?;
    let transaction = Transaction::from_bytes(&plain)?;
    (!transaction.expired(now(transaction.started_at))).then_some(transaction)
}

/// Logins of one browser on their way at once, the new one counted.
const MAX_ALIVE: usize = 5;

/// All of them together, as a request carries them.
const MAX_BYTES: usize = 3 * 1024 - 64;

/// `L3`: what is cleared with a new login stays, together with it, below 4 KiB. The rest waits for the
/// next one.
const MAX_ANSWER: usize = 4 * 1024 - 64;

/// A return target that is kept for later; a longer one becomes the default.
pub(super) const MAX_RETURN_TO: usize = 512;
