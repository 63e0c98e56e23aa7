//! Sessions against a simple model: logins, requests, refreshes, sign-outs, expiry, crashes, slow and lost
//! responses and failing stores, in an order drawn from a seed, on two nodes.
//!
//! Invariants:
//! 1. A session that has ended is never accepted again, whatever response arrives late.
//! 2. A live session is not lost unless the model says so.
//! 3. A refresh token is sent by one process at a time, and again only after an unknown outcome, when the
//!    previous sender cannot hold the lease any more.
//! 4. An access token that a handler receives is valid and never older than one received before.
//! 5. Nothing hangs.
//!
//! A failed run prints its seed and its steps, without those that do not matter. `SESSION_MODEL_SEED=n`
//! repeats that run, `SESSION_MODEL_RUNS=n` tries that many (from that seed on).

mod gates;
mod known;
mod node;
mod provider;
mod steps;
mod unreliable;
mod world;

use crate::support::modes::Mode;
use std::time::Instant;

use provider::Rules;
use steps::{Dice, Step, steps};
use unreliable::ContractViolation;
use world::{Setting, World};

const RUNS: u64 = 800;

#[test]
fn sessions_in_a_store_match_the_model() {
    explore(Mode::Store, RUNS);
}

#[test]
fn sessions_in_cookies_with_a_shared_store_match_the_model() {
    explore(Mode::Shared, RUNS);
}

#[test]
fn sessions_in_cookies_alone_match_the_model() {
    explore(Mode::Cookie, RUNS);
}

/// The model detects faults: without compare-and-swap or without leases, runs fail.
#[test]
fn a_store_without_compare_and_swap_is_detected() {
    detect(ContractViolation::IgnoresExpect);
}

#[test]
fn a_store_that_grants_every_lease_is_detected() {
    detect(ContractViolation::GrantsEveryLease);
}

#[test]
fn a_store_that_forgets_ended_sessions_is_detected() {
    detect(ContractViolation::ForgetsEnds);
}

fn detect(contract_violation: ContractViolation) {
    for mode in [Mode::Store, Mode::Shared] {
        let found = (0..RUNS).find_map(|seed| {
            let (setting, steps) = draw(mode, seed);
            let setting = Setting {
                contract_violation: Some(contract_violation),
                ..setting
            };
            let (violation, _) = World::new(setting, false).run(&steps).err()?;
            Some(format!("seed {seed}: {violation}"))
        });
        println!(
            "{mode:?}, {contract_violation:?}: {}",
            found.expect("no run failed")
        );
    }
}

fn explore(mode: Mode, runs: u64) {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().unwrap());
    let first = number("SESSION_MODEL_SEED");
    let many =
        number("SESSION_MODEL_RUNS").unwrap_or_else(|| if first.is_some() { 1 } else { runs });
    let first = first.unwrap_or(0);
    let seeds = first..first + many;
    let (count, start) = (seeds.end - seeds.start, Instant::now());
    for seed in seeds {
        let (setting, steps) = draw(mode, seed);
        if let Err((violation, _)) = World::new(setting, false).run(&steps) {
            let to_json = send_logout_token(setting, steps);
            panic!("{mode:?}, SESSION_MODEL_SEED={seed}: {violation}\n{setting:?}\n{to_json}");
        }
    }
    println!(
        "{mode:?}: {count} runs in {:.1} s",
        start.elapsed().as_secs_f64()
    );
}

fn draw(mode: Mode, seed: u64) -> (Setting, Vec<Step>) {
    let mut dice = Dice::new(seed);
    let rules = Rules {
        rotates: dice.below(4) != 0,
        detects_reuse: dice.below(2) == 0,
        leases: mode != Mode::Cookie,
    };
    let setting = Setting {
        mode,
        rules,
        contract_violation: None,
    };
    (setting, steps(&mut dice))
}

/// Describes a failed run, without the steps that the failure does not require.
fn send_logout_token(setting: Setting, mut steps: Vec<Step>) -> String {
    let fails = |steps: &[Step]| World::new(setting, true).run(steps).err();
    let mut to_json = fails(&steps);
    let mut index = steps.len();
    while index > 0 {
        index -= 1;
        let mut fewer = steps.clone();
        fewer.remove(index);
        if let Some(again) = fails(&fewer) {
            (to_json, steps) = (Some(again), fewer);
            index = index.min(steps.len());
        }
    }
    match to_json {
        Some((violation, trace)) => format!("{violation}\n{}", trace.unwrap_or_default()),
        None => "it does not fail again: chance has a part in it".to_owned(),
    }
}
