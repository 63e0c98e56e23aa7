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
            Some("time") => {
                let start = Instant::now();
                (subject.work)(runtime, times);
                say(&start.elapsed().as_nanos().to_string());
            }
            Some("count") => {
                say(&alloc::count(|| (subject.work)(runtime, times)).to_string());
            }
            _ => panic!("unknown order"),
        }
    }
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
