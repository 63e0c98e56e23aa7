//! The active faults of each endpoint.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::super::registry::GrantType;
use super::super::request_log::Endpoint;
use super::super::server::TestServer;
use super::{Fault, Kind};

impl TestServer {
    /// Makes an endpoint fail until [`clear_faults`](Self::clear_faults).
    ///
    /// [`Fault::parameter`] changes the redirect to the client. Set it at [`Endpoint::Authorization`] or
    /// [`Endpoint::EndSession`], even if the sign-in or consent page sends the redirect.
    pub fn fail(&self, endpoint: Endpoint, fault: Fault) {
        self.shared.faults.add(endpoint, fault, None);
    }

    /// Makes the next request to an endpoint fail.
    pub fn fail_once(&self, endpoint: Endpoint, fault: Fault) {
        self.fail_times(endpoint, 1, fault);
    }

    /// Makes the next `times` requests to an endpoint fail.
    pub fn fail_times(&self, endpoint: Endpoint, times: usize, fault: Fault) {
        self.shared.faults.add(endpoint, fault, Some(times));
    }

    /// Removes all faults of an endpoint.
    pub fn clear_faults(&self, endpoint: Endpoint) {
        self.shared.faults.clear(endpoint);
    }
}

/// The active faults and the number of requests that each still applies to.
#[derive(Debug, Default)]
pub(in crate::testing) struct Faults(Mutex<Vec<ActiveFault>>);

#[derive(Debug)]
struct ActiveFault {
    endpoint: Endpoint,
    fault: Fault,
    left: Option<usize>,
}

impl ActiveFault {
    /// Returns whether the fault applies to the response to a client, which another endpoint may send.
    fn alters_redirect(&self) -> bool {
        matches!(
            self.fault.kind,
            Kind::Parameter(..) | Kind::AuthorizationResponse(_)
        )
    }
}

impl Faults {
    pub(in crate::testing) fn add(&self, endpoint: Endpoint, fault: Fault, times: Option<usize>) {
        self.active().push(ActiveFault {
            endpoint,
            fault,
            left: times,
        });
    }

    pub(in crate::testing) fn clear(&self, endpoint: Endpoint) {
        self.active().retain(|active| active.endpoint != endpoint);
    }

    /// Takes the faults that apply to one request.
    pub(in crate::testing) fn take(
        &self,
        endpoint: Endpoint,
        grant: Option<GrantType>,
    ) -> Vec<Kind> {
        self.take_where(|active| {
            let grant_matches = active.fault.grant.is_none() || active.fault.grant == grant;
            active.endpoint == endpoint && grant_matches && !active.alters_redirect()
        })
    }

    /// Takes the faults that apply to a redirect to a client.
    pub(in crate::testing) fn take_parameters(&self, endpoint: Endpoint) -> Vec<Kind> {
        self.take_where(|active| {
            let is_parameter = matches!(active.fault.kind, Kind::Parameter(..));
            active.endpoint == endpoint && is_parameter
        })
    }

    /// Takes the faults that apply to a signed authorization response.
    pub(in crate::testing) fn take_responses(&self, endpoint: Endpoint) -> Vec<Kind> {
        self.take_where(|active| {
            let is_response = matches!(active.fault.kind, Kind::AuthorizationResponse(_));
            active.endpoint == endpoint && is_response
        })
    }

    fn take_where(&self, applies: impl Fn(&ActiveFault) -> bool) -> Vec<Kind> {
        let mut taken = Vec::new();
        self.active().retain_mut(|active| {
            if active.left != Some(0) && applies(active) {
                taken.push(active.fault.kind.clone());
                active.left = active.left.map(|left| left - 1);
            }
            active.left != Some(0)
        });
        taken
    }

    fn active(&self) -> MutexGuard<'_, Vec<ActiveFault>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
