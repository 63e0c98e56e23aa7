//! What was looked up, how long it is believed, and how much of it is kept.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::PATIENCE;
use crate::issuer::{Flight, Seat};
use crate::token::jwt::JwtVerifier;

/// How long a verifier is used before its issuer is looked up again.
const LIFETIME: Duration = Duration::from_secs(600);

/// How long one is used at most, while looking it up again fails.
const OUTAGE_LIMIT: Duration = Duration::from_secs(3600);

/// How long it is believed that there is none.
const NOBODY: Duration = Duration::from_secs(60);

/// Those who ask share one failure for this time.
const RETRY: Duration = Duration::from_millis(250);

/// And for this time, where there is a verifier to go on with.
const RETRY_BEHIND: Duration = Duration::from_secs(5);

/// A lookup that has not ended by then never will: it panicked, or its runtime is gone.
const LOST: Duration = Duration::from_secs(30);

const MAX_KNOWN: usize = 1000;
/// Beside those that are known.
const MAX_ASKED: usize = 256;

/// What came of a lookup.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Found(JwtVerifier),
    /// There is no such issuer.
    Nobody,
    Failed,
}

/// What whoever asks has to do.
pub(super) enum Turn {
    Known(Answer),
    Wait {
        seat: Seat<Answer>,
        /// A verifier that it is time to look up again, for where that fails.
        fallback: Option<JwtVerifier>,
    },
    /// As many lookups are under way as there may be.
    Full,
}

/// Two maps, so that issuers which strangers make up push out none that was found.
#[derive(Debug, Default)]
pub(super) struct Memory {
    known: HashMap<Box<str>, Known>,
    asked: HashMap<Box<str>, Asked>,
}

#[derive(Debug)]
struct Known {
    verifier: JwtVerifier,
    found_at: Duration,
    used_at: Duration,
}

#[derive(Debug)]
struct Asked {
    flight: Arc<Flight<Answer>>,
    at: Duration,
    /// What came of it, other than a verifier.
    answer: Option<Answer>,
}

impl Memory {
    /// What can be said without asking.
    pub(super) fn recall(&mut self, issuer: &str, now: Duration) -> Option<Answer> {
        if let Some(known) = self.known.get_mut(issuer) {
            known.used_at = now;
            if now.saturating_sub(known.found_at) < LIFETIME {
                return Some(Answer::Found(known.verifier.clone()));
            }
        }
        let asked = self.asked.get(issuer)?;
        let since = now.saturating_sub(asked.at);
        match (&asked.answer, self.fallback(issuer, now)) {
            (Some(Answer::Nobody), _) if since < NOBODY => Some(Answer::Nobody),
            (Some(Answer::Failed), None) if since < RETRY => Some(Answer::Failed),
            // Nobody has to wait for what failed or hangs while there is a verifier to go on with.
            (Some(Answer::Failed), Some(verifier)) if since < RETRY_BEHIND => {
                Some(Answer::Found(verifier))
            }
            (None, Some(verifier)) if (PATIENCE..LOST).contains(&since) => {
                Some(Answer::Found(verifier))
            }
            _ => None,
        }
    }

    /// What can be said now, or a seat in the one lookup of this issuer.
    pub(super) fn turn<F>(&mut self, issuer: &str, now: Duration, start: impl FnOnce() -> F) -> Turn
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        // It may have been found since the request was first looked at.
        if let Some(answer) = self.recall(issuer, now) {
            return Turn::Known(answer);
        }
        let fallback = self.fallback(issuer, now);
        // Issuers that strangers make up keep none that is known from being looked up again.
        if fallback.is_none() && !self.asked.contains_key(issuer) && !self.make_room(now) {
            return Turn::Full;
        }
        let asked = self.asked.entry(issuer.into()).or_insert_with(|| Asked {
            flight: Arc::default(),
            at: now,
            answer: None,
        });
        let flight = Arc::clone(&asked.flight);
        let seat = flight.join_or(|| {
            (asked.at, asked.answer) = (now, None);
            Some(start())
        });
        match seat {
            Some(seat) => Turn::Wait { seat, fallback },
            None => Turn::Full,
        }
    }

    /// Takes down what came of a lookup.
    pub(super) fn keep(&mut self, issuer: &str, answer: Answer, now: Duration) {
        match answer {
            Answer::Found(verifier) => {
                self.asked.remove(issuer);
                if self.known.len() >= MAX_KNOWN && !self.known.contains_key(issuer) {
                    let oldest = self.known.iter().min_by_key(|(_, known)| known.used_at);
                    if let Some(oldest) = oldest.map(|(issuer, _)| issuer.clone()) {
                        self.known.remove(&oldest);
                    }
                }
                let known = Known {
                    verifier,
                    found_at: now,
                    used_at: now,
                };
                self.known.insert(issuer.into(), known);
            }
            answer => {
                if matches!(answer, Answer::Nobody) {
                    self.known.remove(issuer);
                }
                if let Some(asked) = self.asked.get_mut(issuer) {
                    (asked.at, asked.answer) = (now, Some(answer));
                }
            }
        }
    }

    fn fallback(&self, issuer: &str, now: Duration) -> Option<JwtVerifier> {
        let known = self.known.get(issuer)?;
        let age = now.saturating_sub(known.found_at);
        (age < LIFETIME + OUTAGE_LIMIT).then(|| known.verifier.clone())
    }

    /// Whether one more may be asked for, after what is known of another was forgotten.
    fn make_room(&mut self, now: Duration) -> bool {
        if self.asked.len() < MAX_ASKED {
            return true;
        }
        // No request waits longer than that for a lookup, so one that hangs makes way: it goes on, and a
        // verifier that it finds is kept.
        let over =
            |asked: &Asked| asked.answer.is_some() || now.saturating_sub(asked.at) >= PATIENCE;
        let oldest = self
            .asked
            .iter()
            .filter(|(_, asked)| over(asked))
            .min_by_key(|(_, asked)| asked.at)
            .map(|(issuer, _)| issuer.clone());
        oldest.is_some_and(|issuer| self.asked.remove(&issuer).is_some())
    }
}
