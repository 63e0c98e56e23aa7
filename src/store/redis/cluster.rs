//! A Redis Cluster: several nodes that share the keys by hash slots.
//!
//! The cluster client of the crate `redis` retries a command whose response was lost. This client retries a command
//! only if the server reported that it was not executed.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, Value};

use super::address::Address;
use super::error::CommandError;
use super::node::{Node, Options};
use crate::clock::{Clock as _, SystemClock};
use crate::sync::Mutex;

/// Maximum number of nodes that a command is sent to.
const MAX_REDIRECTS: usize = 5;

/// Interval between retries for a migrating slot, and minimum interval between refreshes of the slot map.
const RETRY_INTERVAL: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(super) struct Cluster {
    seeds: Vec<Address>,
    options: Arc<Options>,
    state: Mutex<ClusterState>,
    /// Locked while the slot map is refreshed, so that concurrent commands share one request.
    refreshing: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct ClusterState {
    nodes: HashMap<Address, Arc<Node>>,
    slot_map: Vec<SlotRange>,
    refreshed_at: Option<Duration>,
    /// Nodes whose entries in the slot map are outdated. Commands for slots of other nodes do not wait for a
    /// refresh.
    stale: HashSet<Address>,
}

/// Consecutive slots of one node.
#[derive(Debug)]
struct SlotRange {
    first: u16,
    last: u16,
    owner: Address,
}

impl Cluster {
    pub(super) fn new(seeds: Vec<Address>, options: Arc<Options>) -> Self {
        Self {
            seeds,
            options,
            state: Mutex::default(),
            refreshing: tokio::sync::Mutex::default(),
        }
    }

    pub(super) async fn send(&self, slot: u16, command: &Cmd) -> Result<Value, CommandError> {
        let mut redirect = None;
        let mut attempts = 0;
        while attempts < MAX_REDIRECTS {
            attempts += 1;
            let (node, asking) = match redirect.take() {
                Some(redirect) => redirect,
                None => (self.owner(slot).await?, false),
            };
            let result = match asking {
                true => node.send_asking(command).await,
                false => node.send(command).await,
            };
            match result {
                Err(CommandError::Moved(host, port)) => {
                    self.mark_stale(&node);
                    redirect = Some((self.node(node.address.redirected(host, port)), false));
                }
                Err(CommandError::Ask(host, port)) => {
                    redirect = Some((self.node(node.address.redirected(host, port)), true));
                }
                // Bounded by the timeout of the operation.
                Err(CommandError::TryAgain) => {
                    attempts = 0;
                    SystemClock.sleep(RETRY_INTERVAL).await;
                }
                Err(error @ CommandError::NoConnection { .. }) => {
                    // A replica may have taken over: retry if the slot has another owner now.
                    self.mark_stale(&node);
                    if Arc::ptr_eq(&node, &self.owner(slot).await?) {
                        return Err(error);
                    }
                }
                Err(error) => {
                    if error.ends_connection() {
                        self.mark_stale(&node);
                    }
                    return Err(error);
                }
                Ok(value) => return Ok(value),
            }
        }
        Err(CommandError::NoOwner)
    }

    async fn owner(&self, slot: u16) -> Result<Arc<Node>, CommandError> {
        if let Some(owner) = self.cached_owner(slot) {
            return Ok(owner);
        }
        let _guard = self.refreshing.lock().await;
        // Another task may have refreshed the slot map meanwhile.
        if self.cached_owner(slot).is_none() {
            self.refresh_slot_map().await?;
        }
        self.cached_owner(slot).ok_or(CommandError::NoOwner)
    }

    fn cached_owner(&self, slot: u16) -> Option<Arc<Node>> {
        let owner = {
            let state = self.state.lock();
            let mut ranges = state.slot_map.iter();
            let range = ranges.find(|range| (range.first..=range.last).contains(&slot))?;
            let age = state
                .refreshed_at
                .map(|at| SystemClock.monotonic().saturating_sub(at));
            if state.stale.contains(&range.owner) && age.is_none_or(|age| age >= RETRY_INTERVAL) {
                return None;
            }
            range.owner.clone()
        };
        Some(self.node(owner))
    }

    fn mark_stale(&self, node: &Node) {
        self.state.lock().stale.insert(node.address.clone());
    }

    /// Requests the slot map from one node after another until one responds.
    async fn refresh_slot_map(&self) -> Result<(), CommandError> {
        let mut addresses = self.seeds.clone();
        {
            let state = self.state.lock();
            addresses.extend(state.nodes.keys().cloned());
            // Nodes that may not respond come last, since all commands wait for the result.
            addresses.sort_by_key(|address| state.stale.contains(address));
        }
        let mut command = redis::cmd("CLUSTER");
        command.arg("SLOTS");
        let mut last_error = CommandError::NoOwner;
        for address in addresses {
            match self.node(address.clone()).send(&command).await {
                Ok(value) => match slot_map(&value, &address) {
                    Some(slot_map) => {
                        self.replace_slot_map(slot_map);
                        return Ok(());
                    }
                    None => last_error = CommandError::Unreadable,
                },
                Err(error) => last_error = error,
            }
        }
        Err(last_error.before_sending())
    }

    fn replace_slot_map(&self, slot_map: Vec<SlotRange>) {
        let mut state = self.state.lock();
        let seeds = &self.seeds;
        state.nodes.retain(|address, _| {
            seeds.contains(address) || slot_map.iter().any(|range| range.owner == *address)
        });
        state.slot_map = slot_map;
        state.refreshed_at = Some(SystemClock.monotonic());
        state.stale.clear();
    }

    fn node(&self, address: Address) -> Arc<Node> {
        let options = &self.options;
        let mut state = self.state.lock();
        let node = state.nodes.entry(address).or_insert_with_key(|address| {
            Arc::new(Node::new(address.clone(), Arc::clone(options)))
        });
        Arc::clone(node)
    }
}

/// Parses the response to `CLUSTER SLOTS`: first slot, last slot, owner and replicas of each range. The response of
/// a cluster that is still forming is incomplete or empty.
fn slot_map(response: &Value, sender: &Address) -> Option<Vec<SlotRange>> {
    let Value::Array(ranges) = response else {
        return None;
    };
    ranges
        .iter()
        .map(|range| slot_range(range, sender))
        .collect()
}

fn slot_range(value: &Value, sender: &Address) -> Option<SlotRange> {
    let Value::Array(parts) = value else {
        return None;
    };
    let [Value::Int(first), Value::Int(last), Value::Array(owner), ..] = &parts[..] else {
        return None;
    };
    let [host, Value::Int(port), ..] = &owner[..] else {
        return None;
    };
    let host = match host {
        // The node does not know its own host name.
        Value::Nil => String::new(),
        Value::BulkString(host) if host == b"?" => return None,
        Value::BulkString(host) => String::from_utf8(host.clone()).ok()?,
        _ => return None,
    };
    Some(SlotRange {
        first: u16::try_from(*first).ok()?,
        last: u16::try_from(*last).ok()?,
        owner: sender.redirected(host, u16::try_from(*port).ok()?),
    })
}
