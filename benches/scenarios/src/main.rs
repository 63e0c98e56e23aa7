//! Targets that are checked by counting and waiting, against a test server on a socket. Each run checks one
//! target and prints a line of JSON for each part of it.

mod api;
mod fixture;
mod introspection;
mod keys;
mod memory;
mod session;

use serde_json::json;
use tokio::runtime::Builder;

/// The result of a target or of a part of it.
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
            ["cache-memory" | "P7"] => memory::cache().await,
            ["key-rotation" | "P8"] => keys::rotation().await,
            ["unknown-key-ids" | "P9"] => keys::flood().await,
            ["key-endpoint-outage" | "P10"] => keys::outage().await,
            ["outage-at-start" | "P11"] => keys::down_at_start().await,
            ["unsupported-keys" | "P12"] => keys::unsupported_keys().await,
            ["introspection" | "P13"] => introspection::cache().await,
            ["session-overhead" | "P14"] => session::overhead().await,
            ["login-memory" | "P15"] => session::abandoned_logins().await,
            _ => panic!("usage: fixture FOLDER ISSUER, or the name of a target"),
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
