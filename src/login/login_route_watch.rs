//! Detects that browsers are redirected to a login route whose requests never reach the layer.
//!
//! The layer sees neither the request nor its 404 response then, so it compares what it sees. Only
//! its routes set its cookies; a request for one of them, or with one of its cookies, shows that they
//! are reachable, at this process or another, and ends the detection. Without any, a warning is due
//! after three browsers, or three attempts of one, were redirected over at least ten seconds.
//! Requests without fetch metadata are not counted: programs need not follow a redirect.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::sync::Mutex;

/// What a process has seen of the login route of a layer.
#[derive(Debug, Default)]
pub(super) struct LoginRouteWatch {
    /// Nothing is left to detect.
    is_done: AtomicBool,
    redirects: Mutex<Redirects>,
}

#[derive(Debug, Default)]
struct Redirects {
    first: Option<Duration>,
    count: u32,
}

impl LoginRouteWatch {
    pub(super) fn is_done(&self) -> bool {
        self.is_done.load(Ordering::Relaxed)
    }

    /// Records a request that shows that the routes are reachable.
    pub(super) fn note_reachable(&self) {
        if !self.is_done() {
            self.is_done.store(true, Ordering::Relaxed);
        }
    }

    /// Records a redirect to the login route, at a monotonic time. Returns whether a warning is due,
    /// which is once.
    pub(super) fn note_redirect(&self, now: Duration) -> bool {
        if self.is_done() {
            return false;
        }
        let mut redirects = self.redirects.lock();
        redirects.count = redirects.count.saturating_add(1);
        let first = *redirects.first.get_or_insert(now);
        let is_due = redirects.count >= MIN_REDIRECTS && now.saturating_sub(first) >= MIN_TIME;
        is_due && !self.is_done.swap(true, Ordering::Relaxed)
    }
}

const MIN_REDIRECTS: u32 = 3;

/// Long enough for a browser to follow the first redirect.
const MIN_TIME: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_due_once_if_nothing_shows_that_the_routes_are_reachable() {
        for (name, seconds, reachable_before, expected) in [
            ("nothing arrives", &[0, 5, 10, 20][..], None, Some(2)),
            ("restored tabs", &[0, 0, 0, 0, 1, 10], None, Some(5)),
            ("two attempts", &[0, 60], None, None),
            ("a login arrives", &[0, 5, 10, 20], Some(2), None),
        ] {
            let watch = LoginRouteWatch::default();
            for (at, seconds) in seconds.iter().enumerate() {
                if reachable_before == Some(at) {
                    watch.note_reachable();
                }
                let is_due = watch.note_redirect(Duration::from_secs(1000 + *seconds));
                assert_eq!(is_due, expected == Some(at), "{name} {at}");
            }
        }
    }
}
