//! The module levels of `docs/design.md`, and the tests that the conformance pages refer to.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The level of each module of `src/`; a file imports only from lower levels and from its own module.
pub(crate) const LEVELS: &[(&str, u8)] = &[
    ("sync", 0),
    ("clock", 0),
    ("random", 0),
    ("config_error", 0),
    ("expiring_map", 0),
    ("response_future", 0),
    ("verification", 0),
    ("protocol", 0),
    ("tls", 0),
    ("telemetry", 1),
    ("request_permits", 1),
    ("single_flight", 1),
    ("crypto", 1),
    ("issuer", 2),
    ("store", 2),
    ("token", 3),
    ("record", 3),
    ("bearer", 4),
    ("flow", 4),
    ("session", 5),
    ("login", 6),
    ("extract", 7),
    ("grpc", 7),
    ("relay", 7),
    ("settings", 7),
    // These may import every module, and no module imports them.
    ("testing", u8::MAX),
    ("fuzzing", u8::MAX),
    // The crate root.
    ("lib", u8::MAX),
    ("tests", u8::MAX),
];

/// The modules of the names that `lib.rs` re-exports.
const ROOT_NAMES: &[(&str, &str)] = &[
    ("ConfigError", "config_error"),
    ("Algorithm", "crypto"),
    ("CookieKey", "crypto"),
    ("SigningKey", "crypto"),
    ("Claims", "protocol"),
    ("AuthorizationServer", "issuer"),
    ("Client", "issuer"),
    ("JwtVerifier", "token"),
    ("VerifiedToken", "token"),
    ("Dpop", "token"),
    ("BearerLayer", "bearer"),
    ("ScopeLayer", "bearer"),
    ("Session", "session"),
    ("LoginLayer", "login"),
];

pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn files_under(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_under(&path, extension));
        } else if path.extension().is_some_and(|one| one == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

pub(crate) fn module_of(name: &str) -> Option<&str> {
    let home = ROOT_NAMES
        .iter()
        .find(|(root, _)| *root == name)
        .map(|(_, home)| *home);
    home.or_else(|| {
        LEVELS
            .iter()
            .find(|(module, _)| *module == name)
            .map(|(module, _)| *module)
    })
}

fn level_of(module: &str) -> u8 {
    LEVELS.iter().find(|(name, _)| *name == module).map_or_else(
        || panic!("the module {module} has no level: add it to LEVELS and to docs/design.md"),
        |(_, level)| *level,
    )
}

/// The names directly after `crate::` in code: in `use` lines, groups and paths.
fn imported_names(code: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = code;
    while let Some(at) = rest.find("crate::") {
        rest = &rest[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 1;
            let mut name = String::new();
            for character in group.chars() {
                match character {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    ',' if depth == 1 => names.push(std::mem::take(&mut name)),
                    _ if depth == 1 => name.push(character),
                    _ => {}
                }
                if depth == 0 {
                    break;
                }
            }
            names.push(name);
        } else {
            names.push(rest.to_owned());
        }
    }
    names
        .into_iter()
        .map(|name| {
            let name = name.trim_start();
            name.chars()
                .take_while(|one| one.is_alphanumeric() || *one == '_')
                .collect::<String>()
        })
        .filter(|name| !name.is_empty())
        .collect()
}

/// Code without comments, and without the tests at its end.
pub(crate) fn code_of(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    code.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn each_file_imports_only_from_lower_levels() {
    let source = root().join("src");
    let mut wrong = Vec::new();
    let mut seen = 0;
    for file in files_under(&source, "rs") {
        let inside = file.strip_prefix(&source).unwrap();
        // Tests may use the test server.
        if inside.ends_with("tests.rs") {
            continue;
        }
        let first = inside
            .components()
            .next()
            .unwrap()
            .as_os_str()
            .to_str()
            .unwrap();
        let module = first.trim_end_matches(".rs");
        let level = level_of(module);
        for name in imported_names(&code_of(&fs::read_to_string(&file).unwrap())) {
            let Some(target) = module_of(&name) else {
                wrong.push(format!(
                    "{}: crate::{name} is in no module",
                    inside.display()
                ));
                continue;
            };
            seen += 1;
            if target != module && (level_of(target) >= level || target == "testing") {
                wrong.push(format!("{}: crate::{name}", inside.display()));
            }
        }
    }
    assert!(seen > 50, "the imports were not found");
    assert!(
        wrong.is_empty(),
        "imports from the same or a higher level:\n{}",
        wrong.join("\n")
    );
}

/// `bearer::key_set::a_claim` is the function `a_claim` in `tests/bearer/key_set.rs`; `src/…​.rs::a_claim` is one in that
/// file.
fn exists(test: &str) -> bool {
    let Some((file, function)) = test.rsplit_once("::") else {
        return false;
    };
    let path = if file.starts_with("src/") {
        root().join(file)
    } else {
        let file = file.replace("::", "/");
        root().join("tests").join(format!("{file}.rs"))
    };
    let Ok(text) = fs::read_to_string(path) else {
        return false;
    };
    let mut before = "";
    let mut attributes = String::new();
    for line in text.lines() {
        let line = line.trim();
        let is_function = [format!("fn {function}("), format!("async fn {function}(")]
            .iter()
            .any(|start| line.starts_with(start.as_str()));
        if is_function {
            return is_in_session_modes(&text, function)
                || attributes.contains("test]")
                || attributes.contains("test(")
                || before == "proptest! {";
        }
        if line.starts_with("#[") {
            attributes.push_str(line);
        } else {
            attributes.clear();
        }
        before = line;
    }
    false
}

/// `session_modes! { all: [a_claim], … }` runs a function once for each mode.
fn is_in_session_modes(text: &str, function: &str) -> bool {
    let names = text.split("session_modes! {").nth(1).unwrap_or_default();
    let names = names.split('}').next().unwrap_or_default();
    let is_part = |one: char| one.is_alphanumeric() || one == '_';
    names
        .split(|one| !is_part(one))
        .any(|name| name == function)
}

/// The conformance pages and their numbers of rows, so that no row is lost unnoticed.
const CONFORMANCE: &[(&str, usize)] = &[
    ("certification.md", 90),
    ("client.md", 590),
    ("resource_server.md", 371),
];

/// `RFC 6749 §4.1.2-a` or `refresh-single-flight`.
fn is_conformance_id(id: &str) -> bool {
    let is_slug =
        |one: char| one.is_ascii_lowercase() || one.is_ascii_digit() || matches!(one, '-' | '_');
    id.contains(" §") || id.len() > 3 && id.chars().all(is_slug)
}

/// Returns the faults of the last cell of a row: `` `test`, `test` `` or `not applicable because …`.
fn faults_of(shown_by: &str) -> Vec<String> {
    if let Some(reason) = shown_by.strip_prefix("not applicable because ") {
        let is_reason = reason.len() > 10 && !reason.contains("::");
        return if is_reason {
            Vec::new()
        } else {
            vec!["gives no reason".to_owned()]
        };
    }
    let named = |test: &str| test.strip_prefix('`')?.strip_suffix('`').map(str::to_owned);
    shown_by
        .split(", ")
        .filter(|test| !named(test).is_some_and(|test| exists(&test)))
        .map(|test| format!("names a test that does not exist: {test}"))
        .collect()
}

/// Rows of the tables: `| id | requirement | shown by |`.
#[test]
fn each_requirement_has_one_row_with_existing_tests_or_a_reason() {
    for (page, rows) in CONFORMANCE {
        let text = fs::read_to_string(root().join("docs/conformance").join(page)).unwrap();
        let mut ids = BTreeSet::new();
        let mut wrong = Vec::new();
        for line in text.lines().filter(|line| line.starts_with('|')) {
            let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
            let [id, requirement, shown_by] = cells[..] else {
                wrong.push(format!("not three cells: {line}"));
                continue;
            };
            if id == "id" || id == "---" {
                continue;
            }
            if !is_conformance_id(id) {
                wrong.push(format!("{id} is neither a section nor a slug"));
            }
            if !ids.insert(id) {
                wrong.push(format!("{id} has two rows"));
            }
            if requirement.len() <= 10 || !requirement.ends_with('.') {
                wrong.push(format!("{id} does not state a requirement"));
            }
            if cells.iter().any(|cell| cell.chars().count() > 400) {
                wrong.push(format!("{id} has a cell of more than 400 characters"));
            }
            wrong.extend(
                faults_of(shown_by)
                    .iter()
                    .map(|fault| format!("{id} {fault}")),
            );
        }
        assert!(wrong.is_empty(), "{page}:\n{}", wrong.join("\n"));
        assert_eq!(ids.len(), *rows, "rows of {page} were added or lost");
    }
}

#[test]
fn the_feature_table_has_every_feature_of_the_manifest() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let features = manifest.split("[features]").nth(1).unwrap();
    let features = features.split("\n[").next().unwrap();
    let named: Vec<&str> = features
        .lines()
        .filter_map(|line| line.split_once(" = ").map(|(name, _)| name.trim()))
        .filter(|name| !name.starts_with('#') && *name != "default")
        .collect();
    assert!(named.len() >= 5);
    for page in ["README.md", "src/lib.rs"] {
        let text = fs::read_to_string(root().join(page)).unwrap();
        for feature in &named {
            assert!(
                text.contains(&format!("| `{feature}` |")),
                "{page} does not list {feature}"
            );
        }
    }
}
