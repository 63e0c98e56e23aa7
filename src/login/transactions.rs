//! Pending logins, each in an encrypted transaction cookie.
//!
//! A pending login uses no memory on the server: its state is in the browser only.

use http::HeaderValue;

use super::cookies::{Cookies, SameSite};
use super::jar::{Jar, TRANSACTION, TRANSACTION_ID};
use crate::crypto::base64url;
use crate::crypto::digest::sha256;
use crate::crypto::seal::Purpose;
use crate::flow::Transaction;
use crate::protocol::State;
use crate::random::RandomError;

/// A pending login of this browser.
#[derive(Debug)]
struct PendingLogin<'a> {
    name: &'a str,
    cost: usize,
    by_person: bool,
    started_at: i64,
}

/// The result of looking up the transaction of a callback.
#[derive(Debug)]
pub(super) enum TransactionLookup {
    /// The browser has no cookie for the state.
    Missing,
    /// The cookie does not open or has expired. Clear the cookie of this name.
    Invalid(String),
    Found(String, Box<Transaction>),
}

/// Finds the transaction of a callback. `now` returns the time to compare a timestamp with.
pub(super) fn find(
    cookies: &Cookies,
    jar: &Jar<'_>,
    state: &State,
    now: impl Fn(i64) -> i64,
) -> TransactionLookup {
    let name = suffix(state);
    let values = jar.values(&name);
    if values.is_empty() {
        return TransactionLookup::Missing;
    }
    // Planted values do not open.
    let mut opened = values
        .into_iter()
        .filter_map(|value| open(cookies, &name, value, &now));
    match opened.find(|transaction| transaction.state == *state) {
        Some(transaction) => TransactionLookup::Found(name, Box::new(transaction)),
        None => TransactionLookup::Invalid(name),
    }
}

/// Returns the `Set-Cookie` values of a new login: its own cookie, and those that clear others.
/// Invalid and expired cookies are cleared first, then logins that were not started by a user, then
/// the oldest by the encrypted time.
pub(super) fn add(
    cookies: &Cookies,
    jar: &Jar<'_>,
    transaction: &Transaction,
    now: impl Fn(i64) -> i64,
) -> Result<AddedLogin, RandomError> {
    let name = suffix(&transaction.state);
    let value = cookies.seal(Purpose::Transaction, &name, &transaction.to_bytes())?;

    let mut invalid = Vec::new();
    let mut pending = Vec::new();
    for (name, value) in jar.transactions() {
        match value.and_then(|value| Some((value, open(cookies, name, value, &now)?))) {
            Some((value, transaction)) => pending.push(PendingLogin {
                name,
                cost: cookies.cost(name, value),
                by_person: transaction.by_person,
                started_at: transaction.started_at,
            }),
            None => invalid.push(name),
        }
    }
    pending.sort_by_key(|login| (login.by_person, login.started_at));
    let mut bytes =
        cookies.cost(&name, &value) + pending.iter().map(|login| login.cost).sum::<usize>();
    let mut evicted = 0;
    while pending.len() - evicted >= MAX_PENDING || (bytes > MAX_BYTES && evicted < pending.len()) {
        bytes -= pending[evicted].cost;
        evicted += 1;
    }

    let removed = pending[..evicted]
        .iter()
        .map(|login| login.name)
        .chain(invalid);
    let new = cookies.set(&name, &value, Transaction::LIFETIME, SameSite::Lax);
    let mut remaining =
        MAX_SET_COOKIE_BYTES.saturating_sub(new.as_ref().map_or(0, HeaderValue::len));
    let cleared = removed
        .filter_map(|name| cookies.clear(name))
        .take_while(|cookie| {
            let rest = remaining.checked_sub(cookie.len());
            remaining = rest.unwrap_or_default();
            rest.is_some()
        });
    Ok(AddedLogin {
        set_cookies: new.into_iter().chain(cleared).collect(),
        evicted,
    })
}

/// The cookies of a new login.
#[derive(Debug)]
pub(super) struct AddedLogin {
    pub(super) set_cookies: Vec<HeaderValue>,
    /// The number of pending logins that were evicted.
    pub(super) evicted: usize,
}

/// Returns the name of the transaction cookie of a login, without prefix. It is a digest of the
/// state, so that it does not reveal the state.
pub(super) fn suffix(state: &State) -> String {
    let digest = base64url::encode(&sha256(state.expose().as_bytes()));
    format!("{TRANSACTION}{}", &digest[..TRANSACTION_ID])
}

fn open(
    cookies: &Cookies,
    name: &str,
    value: &str,
    now: impl Fn(i64) -> i64,
) -> Option<Transaction> {
    let plain = cookies.open(Purpose::Transaction, name, value)?;
    let transaction = Transaction::from_bytes(&plain)?;
    (!transaction.expired(now(transaction.started_at))).then_some(transaction)
}

/// Limit on pending logins per browser, including the new one.
const MAX_PENDING: usize = 5;

/// Limit on their size in a request.
const MAX_BYTES: usize = 3 * 1024 - 64;

/// Limit on the `Set-Cookie` fields of a response, so that it stays below the 4 KiB header buffers
/// of proxies. Remaining cookies are cleared with the next login.
const MAX_SET_COOKIE_BYTES: usize = 4 * 1024 - 64;
