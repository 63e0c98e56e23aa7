//! Every entry of `docs/troubleshooting.md`, provoked: what the log says at the default level, and what the caller sees.
//!
//! Each mistake happens in a process of its own, because the limits on log events belong to the process.
//! `UPDATE_GOLDEN=1 cargo test --test project troubleshooting` rewrites the recorded blocks of the page.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::{env, fs};

use super::house::root;
use super::mistakes;
use crate::support::logs::Logs;
use crate::support::shop::Answer;

const CHILD: &str = "TOWER_OAUTH_MISTAKE";
const BEGIN: &str = "-- recorded --\n";
const END: &str = "-- end --\n";

/// What an operator and a caller see.
#[derive(Clone, Default)]
pub(crate) struct Record {
    lines: Arc<Mutex<String>>,
    log: Logs,
}

impl Record {
    /// Records a response under a name.
    pub(crate) fn response(&self, answer: &Answer) {
        let mut line = format!("response: {}", answer.status.as_u16());
        for name in ["location", "www-authenticate", "retry-after"] {
            if let Some(value) = answer.headers.get(name) {
                let value = value.to_str().unwrap();
                let value = value.split('?').next().unwrap();
                write!(line, " {name}: {value}").unwrap();
            }
        }
        let text = answer.text();
        if let Some(json) = serde_json::from_str::<serde_json::Value>(&text)
            .ok()
            .filter(|json| json["title"].is_string())
        {
            write!(line, " {} {}", json["error"], json["title"]).unwrap();
        } else if answer.header("content-type").starts_with("text/html") {
            write!(line, " page: {}", sentence(&text)).unwrap();
        } else if !text.is_empty() {
            write!(line, " body: {text}").unwrap();
        }
        self.text(&line);
    }

    /// Records another thing that is seen.
    pub(crate) fn text(&self, line: &str) {
        self.take_log();
        let mut lines = self.lines.lock().unwrap();
        lines.push_str(line);
        lines.push('\n');
    }

    /// Records what was logged since the last line, at the default level.
    fn take_log(&self) {
        let log = self.log.take();
        let shown = log.lines().filter(|line| {
            let level = line.trim_start();
            ["INFO", "WARN", "ERROR"]
                .iter()
                .any(|one| level.starts_with(one))
        });
        let mut lines = self.lines.lock().unwrap();
        for line in shown {
            writeln!(lines, "log: {}", line.trim_start()).unwrap();
        }
    }
}

/// The first paragraph of a page, and its line with the code.
fn sentence(page: &str) -> String {
    let paragraph = page.split("<p>").nth(1).unwrap_or(page);
    let paragraph = paragraph.split("</p>").next().unwrap();
    let code = page.split(" · ").nth(1).unwrap_or("-");
    format!("{} ({code})", paragraph.trim())
}

/// Replaces values that differ in each run.
fn normalized(text: &str) -> String {
    let mut lines = String::new();
    for line in text.lines() {
        let words = line.split(' ').map(|word| match word.split_once('=') {
            Some((name @ ("correlation_id" | "session"), _)) => format!("{name}=…"),
            _ => without_port(word),
        });
        lines.push_str(words.collect::<Vec<_>>().join(" ").trim());
        lines.push('\n');
    }
    lines
}

/// Replaces the port of a loopback address.
fn without_port(word: &str) -> String {
    let Some((before, after)) = word.split_once("127.0.0.1:") else {
        return word.to_owned();
    };
    let rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
    format!("{before}127.0.0.1:…{rest}")
}

/// Runs one mistake in a process of its own.
fn provoke(title: &str) -> String {
    let output = Command::new(env::current_exe().unwrap())
        .args([
            "--exact",
            "troubleshooting::each_entry_is_what_the_mistake_causes",
            "--nocapture",
        ])
        .env(CHILD, title)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{title}: {text}");
    let recorded = text.split(BEGIN).nth(1).unwrap();
    normalized(recorded.split(END).next().unwrap())
}

fn provoke_here(title: &str) {
    let record = Record::default();
    let _recording = record.log.record();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (_, mistake) = mistakes::all()
        .into_iter()
        .find(|(name, _)| *name == title)
        .unwrap();
    runtime.block_on(mistake(record.clone()));
    record.take_log();
    print!("{BEGIN}{}{END}", record.lines.lock().unwrap());
}

/// The page as its recorded blocks, by the heading they follow.
fn blocks(page: &str) -> BTreeMap<&str, &str> {
    let entries = page.split("\n### ").skip(1);
    let block = entries.filter_map(|entry| {
        let (title, rest) = entry.split_once('\n')?;
        let (before, block) = rest.split_once("```text\n")?;
        assert!(before.trim().is_empty(), "{title}: the block comes first");
        Some((title, block.split("```").next()?))
    });
    block.collect()
}

#[test]
fn each_entry_is_what_the_mistake_causes() {
    if let Ok(title) = env::var(CHILD) {
        return provoke_here(&title);
    }
    let path = root().join("docs/troubleshooting.md");
    let mut page = fs::read_to_string(&path).unwrap();
    let update = env::var_os("UPDATE_GOLDEN").is_some();
    let mut titles = Vec::new();
    for (title, _) in mistakes::all() {
        let found = provoke(title);
        let expected = blocks(&page).get(title).map(|block| (*block).to_owned());
        let expected = expected.unwrap_or_else(|| panic!("no entry {title:?}; recorded: {found}"));
        if update {
            let old = format!("### {title}\n\n```text\n{expected}```");
            let new = format!("### {title}\n\n```text\n{found}```");
            assert!(page.contains(&old), "{title}");
            page = page.replace(&old, &new);
        } else {
            assert_eq!(found, expected, "{title}");
        }
        titles.push(title);
    }
    if update {
        fs::write(&path, &page).unwrap();
    }
    let described: Vec<&str> = blocks(&page).into_keys().collect();
    titles.sort_unstable();
    assert_eq!(described, titles, "entries of the page, and mistakes");
}
