//! The loop of every program: it does what one line of its input asks, answers with one line, and waits.
//!
//! So the programs take turns on one processor: nobody runs while another is measured.

use std::future::Future;
use std::io::{BufRead as _, Write as _, stdin, stdout};
use std::time::Instant;

use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

use crate::{Fixture, Subject, alloc};

/// `PROGRAM ALGORITHM` waits for orders; `PROGRAM ALGORITHM NAME` puts that router behind a socket.
pub fn run<F: Future<Output = Vec<Subject>>>(build: impl FnOnce(Fixture) -> F) {
    let mut arguments = std::env::args().skip(1);
    let fixture = Fixture::load(&arguments.next().expect("an algorithm"));
    match arguments.next() {
        None => {
            // The tasks of the peers run on a thread of their own.
            let runtime = Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build();
            let runtime = runtime.expect("a runtime");
            let subjects = runtime.block_on(build(fixture));
            obey(&runtime, &subjects);
        }
        Some(name) => {
            let runtime = Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            let subjects = runtime.block_on(build(fixture));
            runtime.block_on(serve(subjects, &name));
        }
    }
}

fn obey(runtime: &Runtime, subjects: &[Subject]) {
    say(&subjects
        .iter()
        .map(|one| one.name.as_str())
        .collect::<Vec<_>>()
        .join("\t"));
    for line in stdin().lock().lines() {
        let line = line.expect("a line");
        let mut words = line.split('\t');
        let (order, name, times) = (words.next(), words.next(), words.next());
        let subject = subjects.iter().find(|one| Some(one.name.as_str()) == name);
        let subject = subject.expect("a name from the list");
        let times: usize = times
            .and_then(|times| times.parse().ok())
            .expect("a number");
        match order {
            Some("time") => say(&time(runtime, subject, times).to_string()),
            Some("count") => {
                alloc::begin();
                (subject.work)(runtime, times);
                say(&alloc::end().allocations.to_string());
            }
            _ => panic!("unknown order"),
        }
    }
}

/// Nanoseconds for so many times: the median of a few parts, so that being interrupted by another process
/// spoils a part and not the whole.
fn time(runtime: &Runtime, subject: &Subject, times: usize) -> u128 {
    const PARTS: usize = 9;
    let part = times.div_ceil(PARTS);
    let mut took = [0; PARTS];
    for took in &mut took {
        let start = Instant::now();
        (subject.work)(runtime, part);
        *took = start.elapsed().as_nanos();
    }
    took.sort_unstable();
    let (times, part) = (times as u128, part as u128);
    took[PARTS / 2] * times / part
}

async fn serve(subjects: Vec<Subject>, name: &str) {
    let mut subjects = subjects.into_iter();
    let router = subjects
        .find(|one| one.name == name)
        .and_then(|one| one.router);
    let router = router.expect("a router of that name");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
    say(&listener.local_addr().expect("an address").to_string());
    axum::serve(listener, router).await.expect("to serve");
}

fn say(line: &str) {
    println!("{line}");
    stdout().flush().expect("someone who listens");
}
