//! The language of the project: no private vocabulary, no codes that a reader cannot look up, one meaning for each
//! type name, and no log event that the observability page does not list.
//!
//! `CONTRIBUTING.md` has the rules and their reasons.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Words that CONTRIBUTING.md replaces. A space stands for any white space, line breaks and comment marks included.
const REPLACED: &[&str] = &[
    "nobody",
    "somebody",
    "whoever",
    "whomever",
    "no one",
    "someone",
    "anyone",
    "everyone",
    "anybody",
    "everybody",
    "at hand",
    "of one's own",
    "of its own accord",
    "as you like",
    "is no scope",
    "is no url",
    "is no token",
    "is no key",
    "is no answer",
    "who brings",
];

/// What looks like a code and is a name of the field.
const FIELD_NAMES: &[&str] = &["S256", "P256", "P384", "P521", "H2", "C0", "C1"];

/// Names that mean the same in every module that has them.
const USUAL_NAMES: &[&str] = &["Error", "Kind", "Settings"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn files_below(folder: &Path, extensions: &[&str], found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            if !["target", "corpus", "seeds", "artifacts", "node_modules"].contains(&name) {
                files_below(&path, extensions, found);
            }
        } else if extensions
            .iter()
            .any(|one| path.extension().is_some_and(|other| other == *one))
        {
            found.push(path);
        }
    }
    found.sort();
}

/// Sources and papers, as (path from the root, text).
fn texts(folders: &[&str], extensions: &[&str], papers: &[&str]) -> Vec<(String, String)> {
    let mut files: Vec<PathBuf> = papers.iter().map(|paper| root().join(paper)).collect();
    for folder in folders
        .iter()
        .map(|folder| root().join(folder))
        .filter(|folder| folder.is_dir())
    {
        files_below(&folder, extensions, &mut files);
    }
    let name = |path: &Path| {
        path.strip_prefix(root())
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned()
    };
    files
        .iter()
        .map(|path| (name(path), fs::read_to_string(path).unwrap()))
        .collect()
}

/// Text with every run of white space, line breaks and comment marks as one space, in lower case.
fn flowing(text: &str) -> String {
    let lines = text.lines().map(|line| {
        line.trim_start()
            .trim_start_matches(['/', '!', '#', '>', '|', '*'])
    });
    let words: Vec<&str> = lines.flat_map(str::split_whitespace).collect();
    format!(" {} ", words.join(" "))
        .to_lowercase()
        .replace('’', "'")
}

fn contains_word(text: &str, word: &str) -> bool {
    let is_letter = |one: Option<char>| one.is_some_and(|one| one.is_alphanumeric() || one == '_');
    text.match_indices(word).any(|(at, _)| {
        !is_letter(text[..at].chars().next_back())
            && !is_letter(text[at + word.len()..].chars().next())
    })
}

#[test]
fn no_text_uses_a_word_that_the_language_rules_replace() {
    let texts = texts(
        &["src", "docs", "examples", "benches", "fuzz", "tests"],
        &["rs", "md", "svg", "sh", "py", "mjs", "html", "js"],
        &["README.md", "SECURITY.md", "CHANGELOG.md", "Cargo.toml"],
    );
    assert!(texts.len() > 100, "the sources were not found");
    let mut wrong = Vec::new();
    for (path, text) in texts
        .iter()
        .filter(|(path, _)| path != "tests/project/language.rs")
    {
        let text = flowing(text);
        let found = REPLACED.iter().filter(|word| contains_word(&text, word));
        wrong.extend(found.map(|word| format!("{path}: {word:?}")));
    }
    assert!(
        wrong.is_empty(),
        "see CONTRIBUTING.md:\n{}",
        wrong.join("\n")
    );
}

/// The comment of a line of Rust, as far as one line tells.
fn comment_of(line: &str) -> &str {
    let trimmed = line.trim_start();
    match trimmed.strip_prefix("//") {
        Some(comment) => comment,
        None => line.split_once(" // ").map_or("", |(_, comment)| comment),
    }
}

/// One capital letter and one to three digits, standing alone.
fn codes_in(text: &str) -> Vec<&str> {
    text.split(|one: char| !one.is_ascii_alphanumeric() && one != '_' && one != '+')
        .filter(|word| {
            let mut characters = word.chars();
            characters
                .next()
                .is_some_and(|one| one.is_ascii_uppercase())
                && (2..=4).contains(&word.len())
                && characters.all(|one| one.is_ascii_digit())
                && !FIELD_NAMES.contains(word)
        })
        .collect()
}

#[test]
fn comments_and_papers_cite_specifications_and_no_codes() {
    let folders = ["src", "tests", "examples", "benches", "fuzz", "docs"];
    let texts = texts(
        &folders,
        &["rs", "md"],
        &[
            "README.md",
            "SECURITY.md",
            "CHANGELOG.md",
            "CONTRIBUTING.md",
        ],
    );
    let mut wrong = Vec::new();
    for (path, text) in &texts {
        let is_paper = path.ends_with(".md");
        for line in text.lines() {
            let said = if is_paper { line } else { comment_of(line) };
            wrong.extend(
                codes_in(said)
                    .into_iter()
                    .map(|code| format!("{path}: {code} in {line:?}")),
            );
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Code without the tests at its end.
fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod ").next().unwrap()
}

/// The type that a line at the top level of a file defines.
fn defined_type(line: &str) -> Option<&str> {
    let mut rest = line;
    if let Some(public) = rest.strip_prefix("pub") {
        rest = public
            .strip_prefix('(')
            .map_or(public, |scope| scope.split_once(')').unwrap().1)
            .trim_start();
    }
    let keyword = ["struct ", "enum ", "trait ", "type "];
    let name = keyword
        .iter()
        .find_map(|keyword| rest.strip_prefix(keyword))?;
    name.split(|one: char| !one.is_alphanumeric() && one != '_')
        .next()
}

#[test]
fn each_type_name_has_one_meaning() {
    let mut homes: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (path, text) in texts(&["src"], &["rs"], &[]) {
        // The two cryptography backends are each other's stand-in, and test modules have names of their own.
        let stands_in =
            path.contains("/rust_crypto") || path.contains("/tests") || path.contains("fuzzing");
        if stands_in {
            continue;
        }
        for name in without_tests(&text).lines().filter_map(defined_type) {
            homes.entry(name.to_owned()).or_default().push(path.clone());
        }
    }
    assert!(homes.len() > 200, "the types were not found");
    let twice: Vec<String> = homes
        .iter()
        .filter(|(name, homes)| homes.len() > 1 && !USUAL_NAMES.contains(&name.as_str()))
        .map(|(name, homes)| format!("{name}: {}", homes.join(", ")))
        .collect();
    assert!(twice.is_empty(), "{}", twice.join("\n"));
}

/// The names of the log events in code: what follows `name:` in a macro of `tracing`.
fn events_in(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for level in ["error!(", "warn!(", "info!(", "debug!(", "trace!("] {
        for (at, _) in code.match_indices(&format!("tracing::{level}")) {
            let call = &code[at..];
            let name = call
                .split_once('(')
                .unwrap()
                .1
                .trim_start()
                .strip_prefix("name:");
            let name = name.and_then(|name| name.trim_start().strip_prefix('"'));
            let line = call.lines().next().unwrap();
            found.push(name.map_or_else(
                || format!("without a name: {line}"),
                |name| name.split('"').next().unwrap().to_owned(),
            ));
        }
    }
    found
}

#[test]
fn each_log_event_is_listed_on_the_observability_page() {
    let page = fs::read_to_string(root().join("docs/observability.md")).unwrap();
    let mut events = Vec::new();
    for (path, text) in texts(&["src"], &["rs"], &[]) {
        if !path.starts_with("src/testing") {
            let found = events_in(without_tests(&text));
            events.extend(found.into_iter().map(|event| (path.clone(), event)));
        }
    }
    assert!(events.len() > 30, "the events were not found");
    let missing: Vec<String> = events
        .iter()
        .filter(|(_, event)| !page.contains(&format!("| `{event}` |")))
        .map(|(path, event)| format!("{path}: {event}"))
        .collect();
    assert!(
        missing.is_empty(),
        "not on docs/observability.md:\n{}",
        missing.join("\n")
    );
    // Spans have a table of their own below.
    let table = page.split("\n## Spans").next().unwrap();
    let listed = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    let gone: Vec<&str> = listed
        .filter(|(_, rest)| {
            ["error", "warn", "info", "debug", "trace"]
                .iter()
                .any(|level| rest.starts_with(level))
        })
        .map(|(name, _)| name)
        .filter(|name| !events.iter().any(|(_, event)| event == name))
        .collect();
    assert!(gone.is_empty(), "listed and not in the sources: {gone:?}");
}

#[test]
fn lines_of_markdown_end_at_a_hundred_columns() {
    let mut wrong = Vec::new();
    for (path, text) in texts(
        &["docs"],
        &["md"],
        &[
            "README.md",
            "SECURITY.md",
            "CHANGELOG.md",
            "CONTRIBUTING.md",
        ],
    ) {
        let mut is_code = false;
        for (number, line) in text.lines().enumerate() {
            is_code ^= line.starts_with("```");
            let may_be_long =
                is_code || line.starts_with('|') || line.contains("](") || line.starts_with("<img");
            if !may_be_long && line.chars().count() > 100 {
                wrong.push(format!(
                    "{path}:{}: {} columns",
                    number + 1,
                    line.chars().count()
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
