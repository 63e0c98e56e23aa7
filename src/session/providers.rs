//! The providers of a layer: where its users sign in.

use std::sync::Arc;

use crate::flow::Flow;
use crate::record::{EntryId, SessionRecord};

/// A provider of a layer.
#[derive(Clone, Debug)]
pub(crate) struct ProviderEntry {
    pub(crate) name: Arc<str>,
    pub(crate) display_name: Arc<str>,
    /// Whether the server accepts redirect URIs below the registered one.
    pub(crate) accepts_uris_below: bool,
    pub(crate) flow: Arc<Flow>,
}

impl ProviderEntry {
    /// Returns whether the authorization server of one could replay the assertions of the client of the other.
    pub(crate) fn may_replay_assertions_of(&self, other: &Self) -> bool {
        let (flow, other) = (&self.flow, &other.flow);
        flow.server().issuer() != other.server().issuer()
            && (flow.client()).may_send_endpoint_audience_beside(other.client())
    }

    /// Returns whether one of them is without ID tokens and has an issuer whose ID tokens the other one accepts: a user would
    /// be the same with two kinds of evidence.
    pub(crate) fn shares_users_by_other_evidence(&self, other: &Self) -> bool {
        let (source, signed) = match (self.has_identity_source(), other.has_identity_source()) {
            (true, false) => (self, other),
            (false, true) => (other, self),
            _ => return false,
        };
        let issuer = source.flow.server().issuer();
        let (server, accepted) = (signed.flow.server(), signed.flow.id_tokens().issuer());
        server.issuer() == issuer || accepted.canonical(server.issuer(), issuer).is_some()
    }

    fn has_identity_source(&self) -> bool {
        self.flow.has_identity_source()
    }
}

/// The providers of a layer, at least one. The identity of the layer is that of the first one.
#[derive(Clone, Debug)]
pub(crate) struct Providers {
    first: ProviderEntry,
    further: Vec<ProviderEntry>,
}

impl Providers {
    pub(crate) fn new(first: ProviderEntry) -> Self {
        Self {
            first,
            further: Vec::new(),
        }
    }

    pub(crate) fn first(&self) -> &ProviderEntry {
        &self.first
    }

    pub(crate) fn first_mut(&mut self) -> &mut ProviderEntry {
        &mut self.first
    }

    pub(crate) fn add(&mut self, entry: ProviderEntry) {
        self.further.push(entry);
    }

    /// Returns all, the first one first.
    pub(crate) fn all(&self) -> impl Iterator<Item = &ProviderEntry> {
        std::iter::once(&self.first).chain(&self.further)
    }

    pub(crate) fn all_mut(&mut self) -> impl Iterator<Item = &mut ProviderEntry> {
        std::iter::once(&mut self.first).chain(&mut self.further)
    }

    pub(crate) fn are_several(&self) -> bool {
        !self.further.is_empty()
    }

    pub(crate) fn get(&self, index: usize) -> Option<&ProviderEntry> {
        self.all().nth(index)
    }

    pub(crate) fn named(&self, name: &str) -> Option<&ProviderEntry> {
        self.all().find(|entry| *entry.name == *name)
    }

    /// Returns the provider that the user of this session signed in at. `None` if it is no longer one of this layer.
    pub(crate) fn of(&self, record: &SessionRecord) -> Option<&ProviderEntry> {
        let entry = self.with_id(record.entry())?;
        // A tenant may have been removed from the list since.
        let is_of_provider = entry.flow.issuer_of(record.issuer()) == Some(record.issuer());
        is_of_provider.then_some(entry)
    }

    fn with_id(&self, id: EntryId) -> Option<&ProviderEntry> {
        self.all().find(|entry| entry.flow.entry() == id)
    }
}
