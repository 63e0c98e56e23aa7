//! Several servers that share the keys, by slots.
//!
//! The client for clusters that comes with `redis` sends a command again when its answer was lost. Here a
//! command is sent again only where the server has said that it did not carry it out.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::{Cmd, Value};

use super::address::Address;
use super::failure::Failure;
use super::node::{Node, Options};
use crate::clock::{Clock as _, SystemClock};

/// How many servers are asked for one verb.
const HOPS: usize = 5;

/// Between two looks at a slot that moves, and at least between two at who has which.
const PAUSE: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(super) struct Cluster {
    seeds: Vec<Address>,
    options: Arc<Options>,
    state: Mutex<State>,
    /// Held by who asks for the map.
    learning: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    nodes: HashMap<Address, Arc<Node>>,
    map: Vec<Range>,
    learned_at: Option<Duration>,
    /// Of whom something was heard that the map does not show. Slots of others do not wait for a newer one.
    doubted: HashSet<Address>,
}

/// Slots that follow each other, and who has them.
#[derive(Debug)]
struct Range {
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
            learning: tokio::sync::Mutex::default(),
        }
    }

    pub(super) async fn ask(&self, slot: u16, command: &Cmd) -> Result<Value, Failure> {
        let mut redirect = None;
        let mut hops = 0;
        while hops < HOPS {
            hops += 1;
            let (node, ahead) = match redirect.take() {
                Some(redirect) => redirect,
                None => (self.owner(slot).await?, false),
            };
            let answer = match ahead {
                true => node.ask_ahead(command).await,
                false => node.ask(command).await,
            };
            match answer {
                Err(Failure::Moved(host, port)) => {
                    self.doubt(&node);
                    redirect = Some((self.node(node.address.redirected(host, port)), false));
                }
                Err(Failure::Ask(host, port)) => {
                    redirect = Some((self.node(node.address.redirected(host, port)), true));
                }
                // Whoever asked sets a limit to how often.
                Err(Failure::TryAgain) => {
                    hops = 0;
                    SystemClock.sleep(PAUSE).await;
                }
                Err(failure @ Failure::NoConnection(_)) => {
                    // Whoever has the slot may not be who had it: worth another look, if that is news.
                    self.doubt(&node);
                    if Arc::ptr_eq(&node, &self.owner(slot).await?) {
                        return Err(failure);
                    }
                }
                Err(failure) => {
                    if failure.ends_connection() {
                        self.doubt(&node);
                    }
                    return Err(failure);
                }
                Ok(value) => return Ok(value),
            }
        }
        Err(Failure::Lost)
    }

    async fn owner(&self, slot: u16) -> Result<Arc<Node>, Failure> {
        if let Some(owner) = self.known_owner(slot) {
            return Ok(owner);
        }
        let _turn = self.learning.lock().await;
        // Another may have learned it meanwhile.
        if self.known_owner(slot).is_none() {
            self.learn().await?;
        }
        self.known_owner(slot).ok_or(Failure::Lost)
    }

    fn known_owner(&self, slot: u16) -> Option<Arc<Node>> {
        let owner = {
            let state = self.state();
            let mut ranges = state.map.iter();
            let range = ranges.find(|range| (range.first..=range.last).contains(&slot))?;
            let age = state
                .learned_at
                .map(|at| SystemClock.monotonic().saturating_sub(at));
            if state.doubted.contains(&range.owner) && age.is_none_or(|age| age >= PAUSE) {
                return None;
            }
            range.owner.clone()
        };
        Some(self.node(owner))
    }

    fn doubt(&self, node: &Node) {
        self.state().doubted.insert(node.address.clone());
    }

    /// Asks one server after another who has which slots.
    async fn learn(&self) -> Result<(), Failure> {
        let mut known = self.seeds.clone();
        {
            let state = self.state();
            known.extend(state.nodes.keys().cloned());
            // Last those who may keep everybody waiting.
            known.sort_by_key(|address| state.doubted.contains(address));
        }
        let mut command = redis::cmd("CLUSTER");
        command.arg("SLOTS");
        let mut failure = Failure::Lost;
        for address in known {
            match self.node(address.clone()).ask(&command).await {
                Ok(value) => match map(&value, &address) {
                    Some(map) => {
                        self.take(map);
                        return Ok(());
                    }
                    None => failure = Failure::Unreadable,
                },
                Err(error) => failure = error,
            }
        }
        Err(failure.before_asking())
    }

    fn take(&self, map: Vec<Range>) {
        let mut state = self.state();
        let seeds = &self.seeds;
        state.nodes.retain(|address, _| {
            seeds.contains(address) || map.iter().any(|range| range.owner == *address)
        });
        state.map = map;
        state.learned_at = Some(SystemClock.monotonic());
        state.doubted.clear();
    }

    fn node(&self, address: Address) -> Arc<Node> {
        let options = &self.options;
        let mut state = self.state();
        let node = state.nodes.entry(address).or_insert_with_key(|address| {
            Arc::new(Node::new(address.clone(), Arc::clone(options)))
        });
        Arc::clone(node)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads the answer to `CLUSTER SLOTS`: first slot, last slot, owner, replicas. A cluster that has not
/// found together yet gives some, or none.
fn map(answer: &Value, asked: &Address) -> Option<Vec<Range>> {
    let Value::Array(ranges) = answer else {
        return None;
    };
    ranges
        .iter()
        .map(|range| self::range(range, asked))
        .collect()
}

fn range(value: &Value, asked: &Address) -> Option<Range> {
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
        // Whoever was asked does not know its own name.
        Value::Nil => String::new(),
        Value::BulkString(host) if host == b"?" => return None,
        Value::BulkString(host) => String::from_utf8(host.clone()).ok()?,
        _ => return None,
    };
    Some(Range {
        first: u16::try_from(*first).ok()?,
        last: u16::try_from(*last).ok()?,
        owner: asked.redirected(host, u16::try_from(*port).ok()?),
    })
}
