//! Which faults are active where, and for how long.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::super::record::Endpoint;
use super::super::registry::Grant;
use super::super::server::TestServer;
use super::{Fault, Kind};

impl TestServer {
    /// Makes an endpoint fail until it is [mended](Self::mend).
    ///
    /// [`Fault::parameter`] changes the redirect back to the client: set it at
    /// [`Endpoint::Authorization`] or [`Endpoint::EndSession`], whichever page the redirect comes from.
    pub fn fail(&self, endpoint: Endpoint, fault: Fault) {
        self.shared.faults.add(endpoint, fault, None);
    }

    /// Makes the next request to an endpoint fail.
    pub fn fail_once(&self, endpoint: Endpoint, fault: Fault) {
        self.fail_times(endpoint, 1, fault);
    }

    /// Makes the next so many requests to an endpoint fail.
    pub fn fail_times(&self, endpoint: Endpoint, times: usize, fault: Fault) {
        self.shared.faults.add(endpoint, fault, Some(times));
    }

    /// Ends all faults of an endpoint.
    pub fn mend(&self, endpoint: Endpoint) {
        self.shared.faults.clear(endpoint);
    }
}

/// The faults that are active, and for how many requests more.
#[derive(Debug, Default)]
pub(in crate::testing) struct Faults(Mutex<Vec<Active>>);

#[derive(Debug)]
struct Active {
    endpoint: Endpoint,
    fault: Fault,
    left: Option<usize>,
}

impl Active {
    fn is_of_redirect(&self) -> bool {
        matches!(self.fault.kind, Kind::Parameter(..))
    }
}

impl Faults {
    pub(in crate::testing) fn add(&self, endpoint: Endpoint, fault: Fault, times: Option<usize>) {
        self.active().push(Active {
            endpoint,
            fault,
            left: times,
        });
    }

    pub(in crate::testing) fn clear(&self, endpoint: Endpoint) {
        self.active().retain(|active| active.endpoint != endpoint);
    }

    /// The faults that one request meets; those that are used up are gone.
    pub(in crate::testing) fn take(&self, endpoint: Endpoint, grant: Option<Grant>) -> Vec<Kind> {
        self.take_where(|active| {
            let for_it = active.fault.grant.is_none() || active.fault.grant == grant;
            active.endpoint == endpoint && for_it && !active.is_of_redirect()
        })
    }

    /// The faults that a redirect to a client meets, from whichever page it comes.
    pub(in crate::testing) fn take_parameters(&self, endpoint: Endpoint) -> Vec<Kind> {
        self.take_where(|active| active.endpoint == endpoint && active.is_of_redirect())
    }

    fn take_where(&self, meets: impl Fn(&Active) -> bool) -> Vec<Kind> {
        let mut met = Vec::new();
        self.active().retain_mut(|active| {
            if active.left != Some(0) && meets(active) {
                met.push(active.fault.kind.clone());
                active.left = active.left.map(|left| left - 1);
            }
            active.left != Some(0)
        });
        met
    }

    fn active(&self) -> MutexGuard<'_, Vec<Active>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
