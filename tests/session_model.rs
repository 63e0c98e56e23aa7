//! Sessions against a simple model: logins, requests, refreshes, sign-outs, expiry, crashes, slow and lost
//! answers and stores that fail, in an order drawn from a seed, over two nodes.
//!
//! What must always be true:
//! 1. A session that has ended never answers, whatever comes late.
//! 2. One that lives is not lost, except by the model's word.
//! 3. A refresh token is sent by one at a time, and again only after an unclear end, when whoever sent it
//!    before cannot have the turn any more.
//! 4. An access token that a handler gets is good, and never older than what was given out before.
//! 5. Nothing hangs.
//!
//! A run that fails prints its seed and its steps, with those left out that do not matter.
//! `SESSION_MODEL_SEED=n` tells that run again, `SESSION_MODEL_RUNS=n` tries so many (from that seed on).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    missing_docs,
    missing_debug_implementations,
    unreachable_pub
)]

#[path = "session_model/gates.rs"]
mod gates;
#[path = "session_model/known.rs"]
mod known;
#[path = "session_model/node.rs"]
mod node;
#[path = "session_model/provider.rs"]
mod provider;
#[path = "session_model/steps.rs"]
mod steps;
#[path = "session_model/unreliable.rs"]
mod unreliable;
#[path = "session_model/world.rs"]
mod world;

use std::time::Instant;

use node::Mode;
use provider::Rules;
use steps::{Dice, Step, steps};
use unreliable::Lie;
use world::{Setting, World};

const RUNS: u64 = 800;

#[test]
fn sessions_in_a_store_are_what_the_model_says() {
    explore(Mode::Store, RUNS);
}

#[test]
fn sessions_in_cookies_with_a_shared_memory_are_what_the_model_says() {
    explore(Mode::CookieWithMemory, RUNS);
}

#[test]
fn sessions_in_cookies_alone_are_what_the_model_says() {
    explore(Mode::Cookie, RUNS);
}

/// The model bites: without compare-and-swap, or without turns, it finds somebody who is wronged.
#[test]
fn a_store_that_ignores_what_is_expected_is_found_out() {
    find_out(Lie::IgnoresExpect);
}

#[test]
fn a_store_that_gives_every_node_the_turn_is_found_out() {
    find_out(Lie::GrantsEveryTurn);
}

#[test]
fn a_store_that_does_not_keep_what_has_ended_is_found_out() {
    find_out(Lie::ForgetsEndings);
}

fn find_out(lie: Lie) {
    for mode in [Mode::Store, Mode::CookieWithMemory] {
        let found = (0..RUNS).find_map(|seed| {
            let (setting, steps) = draw(mode, seed);
            let setting = Setting {
                lie: Some(lie),
                ..setting
            };
            let (violation, _) = World::new(setting, false).run(&steps).err()?;
            Some(format!("seed {seed}: {violation}"))
        });
        println!("{mode:?}, {lie:?}: {}", found.expect("nobody noticed"));
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
            let told = tell(setting, steps);
            panic!("{mode:?}, SESSION_MODEL_SEED={seed}: {violation}\n{setting:?}\n{told}");
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
        lie: None,
    };
    (setting, steps(&mut dice))
}

/// The story of a run that fails, without the steps that it fails without.
fn tell(setting: Setting, mut steps: Vec<Step>) -> String {
    let fails = |steps: &[Step]| World::new(setting, true).run(steps).err();
    let mut told = fails(&steps);
    let mut index = steps.len();
    while index > 0 {
        index -= 1;
        let mut fewer = steps.clone();
        fewer.remove(index);
        if let Some(again) = fails(&fewer) {
            (told, steps) = (Some(again), fewer);
            index = index.min(steps.len());
        }
    }
    match told {
        Some((violation, trace)) => format!("{violation}\n{}", trace.unwrap_or_default()),
        None => "it does not fail again: chance has a part in it".to_owned(),
    }
}
