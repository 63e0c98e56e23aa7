//! The main loop of each program: it reads a command, executes it, prints one line and waits.
//!
//! The programs take turns on one processor: only one runs at a time.

use std::future::Future;
use std::io::{BufRead as _, Write as _, stdin, stdout};
use std::time::Instant;

use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

use crate::{Fixture, Subject, alloc};

/// `PROGRAM ALGORITHM` waits for commands; `PROGRAM ALGORITHM NAME` serves that router on a socket.
pub fn run<F: Future<Output = Vec<Subject>>>(build: impl FnOnce(Fixture) -> F) {
    let mut arguments = std::env::args().skip(1);
    let fixture = Fixture::load(&arguments.next().expect("an algorithm"));
    match arguments.next() {
        None => {
            // Background tasks of the peers run on another thread.
            let runtime = Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build();
            let runtime = runtime.expect("a runtime");
            let subjects = runtime.block_on(build(fixture));
            execute_commands(&runtime, &subjects);
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

fn execute_commands(runtime: &Runtime, subjects: &[Subject]) {
    print_line(
        &subjects
            .iter()
            .map(|subject| subject.name.as_str())
            .collect::<Vec<_>>()
            .join("\t"),
    );
    for line in stdin().lock().lines() {
        let line = line.expect("a line");
        let mut words = line.split('\t');
        let (command, name, times) = (words.next(), words.next(), words.next());
        let subject = subjects.iter().find(|one| Some(one.name.as_str()) == name);
        let subject = subject.expect("a name from the list");
        let times: usize = times
            .and_then(|times| times.parse().ok())
            .expect("a number");
        match command {
            Some("time") => print_line(&time(runtime, subject, times).to_string()),
            Some("count") => {
                alloc::begin();
                (subject.work)(runtime, times);
                print_line(&alloc::end().allocations.to_string());
            }
            _ => panic!("unknown command"),
        }
    }
}

/// Returns nanoseconds for `times` runs: the median of several parts, so that an interruption by another
/// process affects one part only.
fn time(runtime: &Runtime, subject: &Subject, times: usize) -> u128 {
    const PARTS: usize = 9;
    let part = times.div_ceil(PARTS);
    let mut durations = [0; PARTS];
    for duration in &mut durations {
        let start = Instant::now();
        (subject.work)(runtime, part);
        *duration = start.elapsed().as_nanos();
    }
    durations.sort_unstable();
    let (times, part) = (times as u128, part as u128);
    durations[PARTS / 2] * times / part
}

async fn serve(subjects: Vec<Subject>, name: &str) {
    let mut subjects = subjects.into_iter();
    let router = subjects
        .find(|subject| subject.name == name)
        .and_then(|subject| subject.router);
    let router = router.expect("a router of that name");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
    print_line(&listener.local_addr().expect("an address").to_string());
    axum::serve(listener, router).await.expect("to serve");
}

fn print_line(line: &str) {
    println!("{line}");
    stdout().flush().expect("a reader");
}
