//! What is shown by counts and by waiting, each over a real socket to a server that counts: one program,
//! one target a call, a line of JSON for each part of it.

mod api;
mod fixture;
mod introspection;
mod keys;
mod memory;
mod session;

use serde_json::json;
use tokio::runtime::Builder;

/// What came of a target, or of a part of it: in words, and whether it was met.
pub struct Finding {
    what: &'static str,
    measured: String,
    met: bool,
}

impl Finding {
    pub fn new(what: &'static str, measured: String, met: bool) -> Self {
        Self {
            what,
            measured,
            met,
        }
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let ["fixture", folder, issuer] = arguments[..] {
        return fixture::write(folder.as_ref(), issuer);
    }
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let findings = runtime.expect("a runtime").block_on(async {
        match arguments[..] {
            ["P7"] => memory::remembered().await,
            ["P8"] => keys::rotation().await,
            ["P9"] => keys::flood().await,
            ["P10"] => keys::outage().await,
            ["P11"] => keys::down_at_start().await,
            ["P12"] => keys::odd_key_sets().await,
            ["P13"] => introspection::remembered().await,
            ["P14"] => session::opened().await,
            ["P15"] => session::abandoned().await,
            _ => panic!("one of: fixture FOLDER ISSUER, P7 to P15"),
        }
    });
    for Finding {
        what,
        measured,
        met,
    } in findings
    {
        println!(
            "{}",
            json!({ "what": what, "measured": measured, "met": met })
        );
    }
}
