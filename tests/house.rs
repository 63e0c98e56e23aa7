//! The plan of the house, kept: which folder may import which, and that what the papers name exists.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The floor of each room of `src/`; a file imports from floors below its own and from its own room.
const FLOORS: &[(&str, u8)] = &[
    ("clock", 0),
    ("random", 0),
    ("config_error", 0),
    ("telemetry", 0),
    ("protocol", 0),
    ("crypto", 1),
    ("issuer", 2),
    ("store", 2),
    ("token", 3),
    ("bearer", 4),
    ("flow", 4),
    ("session", 5),
    ("login", 6),
    ("extract", 7),
    ("grpc", 7),
    ("relay", 7),
    // Beside the house: may import all, and nothing imports it.
    ("testing", u8::MAX),
    ("fuzzing", u8::MAX),
    // The front door itself.
    ("lib", u8::MAX),
    ("tests", u8::MAX),
];

/// Where the names live that `lib.rs` shows at the crate's root.
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

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn files_under(folder: &Path, extension: &str) -> Vec<PathBuf> {
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

fn room_of(name: &str) -> Option<&str> {
    let home = ROOT_NAMES
        .iter()
        .find(|(root, _)| *root == name)
        .map(|(_, home)| *home);
    home.or_else(|| {
        FLOORS
            .iter()
            .find(|(room, _)| *room == name)
            .map(|(room, _)| *room)
    })
}

fn floor_of(room: &str) -> u8 {
    FLOORS.iter().find(|(name, _)| *name == room).map_or_else(
        || panic!("the room {room} has no floor: add it to FLOORS and to docs/design.md"),
        |(_, floor)| *floor,
    )
}

/// The names that stand right behind `crate::` in code: `use` lines, groups of them, and paths.
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
fn code_of(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    code.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn every_file_imports_only_from_floors_below_its_own() {
    let source = root().join("src");
    let mut wrong = Vec::new();
    let mut seen = 0;
    for file in files_under(&source, "rs") {
        let inside = file.strip_prefix(&source).unwrap();
        let first = inside
            .components()
            .next()
            .unwrap()
            .as_os_str()
            .to_str()
            .unwrap();
        let room = first.trim_end_matches(".rs");
        let floor = floor_of(room);
        for name in imported_names(&code_of(&fs::read_to_string(&file).unwrap())) {
            let Some(target) = room_of(&name) else {
                wrong.push(format!("{}: crate::{name} is in no room", inside.display()));
                continue;
            };
            seen += 1;
            if target != room && (floor_of(target) >= floor || target == "testing") {
                wrong.push(format!("{}: crate::{name}", inside.display()));
            }
        }
    }
    assert!(seen > 50, "the imports were not found");
    assert!(
        wrong.is_empty(),
        "imports that go upward or sideways:\n{}",
        wrong.join("\n")
    );
}

/// `J1` to `J21` and the like, spelled out.
fn names(letter: &str, ranges: &[(u32, u32)], without: &[u32]) -> BTreeSet<String> {
    let width = if letter == "H" { 2 } else { 1 };
    ranges
        .iter()
        .flat_map(|(from, to)| *from..=*to)
        .filter(|number| !without.contains(number))
        .map(|number| format!("{letter}{number:0width$}"))
        .collect()
}

/// Rows of a table: the name in the first cell, the tests in the last.
fn rows(table: &str) -> BTreeMap<String, Vec<String>> {
    let mut rows = BTreeMap::new();
    for line in table.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let name = cells[0].to_owned();
        let is_name = name
            .chars()
            .next()
            .is_some_and(|one| one.is_ascii_uppercase())
            && name[1..].chars().all(|one| one.is_ascii_digit())
            && name.len() > 1;
        if is_name {
            assert_eq!(
                cells.len(),
                3,
                "a row has a name, a line and its tests: {line}"
            );
            assert!(cells[1].len() > 10, "a row says what it is about: {line}");
            let tests = cells[2]
                .split(',')
                .map(|test| test.trim().trim_matches('`').to_owned());
            let before = rows.insert(name.clone(), tests.collect());
            assert!(before.is_none(), "{name} has two rows");
        }
    }
    rows
}

/// `key_set::a_claim` is the function `a_claim` in `tests/key_set.rs`; `src/…​.rs::a_claim` one in that file.
fn exists(test: &str) -> bool {
    let Some((file, function)) = test.rsplit_once("::") else {
        return false;
    };
    let path = if file.starts_with("src/") {
        root().join(file)
    } else {
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
            return attributes.contains("test]")
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

fn check_table(file: &str, expected: &BTreeSet<String>) {
    let table = fs::read_to_string(root().join("docs/conformance").join(file)).unwrap();
    let rows = rows(&table);
    let missing: Vec<_> = expected
        .iter()
        .filter(|name| !rows.contains_key(*name))
        .collect();
    assert!(missing.is_empty(), "{file} has no row for {missing:?}");
    let gone: Vec<_> = rows
        .iter()
        .flat_map(|(name, tests)| tests.iter().map(move |test| (name, test)))
        .filter(|(_, test)| !exists(test))
        .collect();
    assert!(
        gone.is_empty(),
        "{file} names tests that do not exist: {gone:?}"
    );
}

#[test]
fn every_statement_of_the_resource_server_has_a_row_and_its_tests_exist() {
    let rooms = [
        ("J", 21),
        ("A", 20),
        ("C", 15),
        ("P", 6),
        ("D", 28),
        ("M", 8),
        ("I", 15),
        ("X", 9),
        ("V", 162),
    ];
    let expected = rooms
        .into_iter()
        .flat_map(|(letter, last)| names(letter, &[(1, last)], &[]))
        .collect();
    check_table("resource_server.md", &expected);
}

/// Rows of the table of requirements: `| id | what it asks | tests, or: not applicable because … |`.
#[test]
fn every_requirement_of_the_rfcs_has_one_row_with_tests_or_a_reason() {
    let expected = fs::read_to_string(root().join("tests/house/rfc_resource_server.txt")).unwrap();
    let expected: Vec<&str> = expected.lines().collect();
    assert!(expected.len() > 200, "the list of ids is cut off");
    let table = "docs/conformance/rfc_resource_server.md";
    let table = fs::read_to_string(root().join(table)).unwrap();
    let mut ids = Vec::new();
    let mut wrong = Vec::new();
    for line in table.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [id, asks, shown] = cells[..] else {
            wrong.push(format!("not three cells: {line}"));
            continue;
        };
        if id == "id" || id == "---" {
            continue;
        }
        ids.push(id);
        if asks.len() <= 10 {
            wrong.push(format!("{id} does not say what it asks"));
        }
        if let Some(reason) = shown.strip_prefix("not applicable because ") {
            if reason.len() <= 10 || reason.contains('`') && reason.contains("::") {
                wrong.push(format!("{id} gives no reason"));
            }
            continue;
        }
        for test in shown.split(", ") {
            let named = test
                .strip_prefix('`')
                .and_then(|test| test.strip_suffix('`'));
            if !named.is_some_and(exists) {
                wrong.push(format!("{id} names a test that does not exist: {test}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // In the order of the list, so each once.
    assert_eq!(ids, expected);
}

#[test]
fn every_statement_of_the_login_has_a_row_and_its_tests_exist() {
    let ranges = [(1, 8), (10, 16), (18, 26), (28, 67), (73, 77)];
    let mut expected = names("L", &ranges, &[]);
    for case in [
        1, 2, 4, 5, 7, 8, 10, 11, 13, 14, 16, 17, 19, 20, 22, 23, 25, 26, 31, 32, 34, 35, 38, 40,
        37, 41, 43, 44, 46, 47, 49, 50, 52, 53, 55, 56, 58, 59, 61, 62, 64, 65, 76, 77, 79, 80, 82,
        83, 101, 103, 104,
    ] {
        expected.insert(format!("H{case:02}"));
    }
    check_table("login.md", &expected);
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
    for paper in ["README.md", "src/lib.rs"] {
        let text = fs::read_to_string(root().join(paper)).unwrap();
        for feature in &named {
            assert!(
                text.contains(&format!("| `{feature}` |")),
                "{paper} does not list {feature}"
            );
        }
    }
}
