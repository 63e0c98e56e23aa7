//! No circles inside a module of the crate: files that import each other, directly or through others.
//!
//! A path to a re-export counts as an import of the file that defines the item, and a re-export as no import.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::house::{LEVELS, code_of, files_under, module_of, root};

type ModulePath = Vec<String>;

/// The files of one module of the crate, by module path.
struct Files(BTreeMap<ModulePath, SourceFile>);

struct SourceFile {
    name: String,
    /// Paths that the file names, with whether they are re-exported.
    paths: Vec<UsedPath>,
}

struct UsedPath {
    path: ModulePath,
    name: String,
    is_exported: bool,
}

/// Returns the paths of a `use` tree, with the names under which they are known.
fn expand(tree: &str) -> Vec<(ModulePath, String)> {
    let tree = tree.trim();
    let Some(open) = tree.find('{') else {
        let (path, alias) = match tree.split_once(" as ") {
            Some((path, alias)) => (path.trim(), Some(alias.trim())),
            None => (tree, None),
        };
        let path: ModulePath = path
            .split("::")
            .map(|part| part.trim().to_owned())
            .filter(|part| part != "self" || path.starts_with("self"))
            .collect();
        let name = alias.map_or_else(|| path.last().cloned().unwrap_or_default(), str::to_owned);
        return vec![(path, name)];
    };
    let prefix = tree[..open].trim();
    let inner = &tree[open + 1..tree.rfind('}').unwrap()];
    let (mut depth, mut start, mut parts) = (0, 0, Vec::new());
    for (at, character) in inner.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&inner[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&inner[start..]);
    parts
        .into_iter()
        .filter(|part| !part.trim().is_empty())
        .flat_map(|part| {
            let part = part.trim();
            match part == "self" {
                true => expand(prefix.trim_end_matches("::")),
                false => expand(&format!("{prefix}{part}")),
            }
        })
        .collect()
}

/// Returns the paths that a file names: in `use` lines, and in code if they begin with `super`, `crate` or a child.
fn used_paths(code: &str, children: &BTreeSet<String>) -> Vec<UsedPath> {
    let mut paths = Vec::new();
    let mut rest = String::new();
    let mut pending: Option<String> = None;
    for line in code.lines() {
        let trimmed = line.trim();
        let begins = pending.is_none()
            && (trimmed.starts_with("use ")
                || trimmed.starts_with("pub")
                    && trimmed.contains(" use ")
                    && !trimmed.contains('='));
        if begins {
            pending = Some(String::new());
        }
        let Some(statement) = &mut pending else {
            rest.push_str(line);
            rest.push('\n');
            continue;
        };
        statement.push_str(trimmed);
        statement.push(' ');
        if trimmed.ends_with(';') {
            let statement = pending.take().unwrap();
            let is_exported = statement.starts_with("pub");
            let tree = statement
                .split_once("use ")
                .unwrap()
                .1
                .trim()
                .trim_end_matches(';');
            paths.extend(expand(tree).into_iter().map(|(path, name)| UsedPath {
                path,
                name,
                is_exported,
            }));
        }
    }
    let is_part = |one: char| one.is_alphanumeric() || one == '_' || one == ':';
    for word in rest.split(|one: char| !is_part(one)) {
        let path: ModulePath = word.split("::").map(str::to_owned).collect();
        let first = path[0].as_str();
        if path.len() > 1
            && (["super", "crate", "self"].contains(&first) || children.contains(first))
        {
            paths.push(UsedPath {
                path,
                name: String::new(),
                is_exported: false,
            });
        }
    }
    paths
}

impl Files {
    fn read(folder: &Path, room: &str) -> Self {
        let mut texts = BTreeMap::new();
        for file in files_under(folder, "rs") {
            let inside = file.strip_prefix(folder).unwrap().to_str().unwrap();
            if inside
                .split('/')
                .any(|part| part.trim_end_matches(".rs") == "tests")
            {
                continue;
            }
            let mut path = vec![room.to_owned()];
            path.extend(inside.trim_end_matches(".rs").split('/').map(str::to_owned));
            path.retain(|part| part != "mod");
            let text = code_of(&fs::read_to_string(&file).unwrap());
            texts.insert(path, (inside.to_owned(), text));
        }
        let modules: BTreeSet<ModulePath> = texts.keys().cloned().collect();
        let files = texts.into_iter().map(|(path, (name, text))| {
            let children = modules
                .iter()
                .filter(|module| module.len() == path.len() + 1 && module.starts_with(&path))
                .map(|module| module.last().unwrap().clone())
                .collect();
            let paths = used_paths(&text, &children);
            (path, SourceFile { name, paths })
        });
        Self(files.collect())
    }

    /// Returns the module in which the item at the end of a path is defined.
    fn home(&self, from: &[String], path: &[String]) -> Option<ModulePath> {
        let mut module = from.to_vec();
        let mut rest = path;
        match path.first()?.as_str() {
            "crate" => {
                let room = module_of(path.get(1)?)?;
                if room != from[0] {
                    return None;
                }
                module = vec![room.to_owned()];
                // A name that the crate root re-exports is also a name of its module.
                rest = &path[if path[1] == room { 2 } else { 1 }..];
            }
            "super" => {}
            "self" => rest = &path[1..],
            first if !self.0.contains_key(&child(&module, first)) => return None,
            _ => {}
        }
        for (at, part) in rest.iter().enumerate() {
            if part == "super" {
                module.pop();
                continue;
            }
            let inner = child(&module, part);
            if self.0.contains_key(&inner) {
                module = inner;
                continue;
            }
            let exported = self.0.get(&module)?.paths.iter();
            let mut exported = exported.filter(|used| used.is_exported && used.name == *part);
            return match exported.next() {
                Some(used) => {
                    let mut path = used.path.clone();
                    path.extend_from_slice(&rest[at + 1..]);
                    self.home(&module, &path)
                }
                None => Some(module),
            };
        }
        Some(module)
    }

    fn imports(&self) -> BTreeMap<&ModulePath, BTreeSet<ModulePath>> {
        let imports = self.0.iter().map(|(module, file)| {
            let private = file.paths.iter().filter(|used| !used.is_exported);
            let homes = private.filter_map(|used| self.home(module, &used.path));
            let homes = homes.filter(|home| home != module && self.0.contains_key(home));
            (module, homes.collect())
        });
        imports.collect()
    }

    /// Returns the groups of files each of which imports all others of its group, directly or through others.
    fn circles(&self) -> Vec<String> {
        let imports = self.imports();
        let reached = |from: &ModulePath| {
            let (mut seen, mut open) = (BTreeSet::new(), vec![from.clone()]);
            while let Some(module) = open.pop() {
                for next in &imports[&module] {
                    if seen.insert(next.clone()) {
                        open.push(next.clone());
                    }
                }
            }
            seen
        };
        let reached: BTreeMap<&ModulePath, BTreeSet<ModulePath>> = self
            .0
            .keys()
            .map(|module| (module, reached(module)))
            .collect();
        let (mut done, mut circles) = (BTreeSet::new(), Vec::new());
        for module in self.0.keys() {
            let circle = reached[module]
                .iter()
                .filter(|other| reached[other].contains(module));
            let circle: BTreeSet<_> = circle.collect();
            if !circle.contains(module) || done.contains(module) {
                continue;
            }
            done.extend(circle.iter().map(|one| (*one).clone()));
            let lines = circle.iter().map(|one| {
                let inside = imports[*one].iter().filter(|other| circle.contains(other));
                let inside: Vec<_> = inside.map(|other| self.0[other].name.as_str()).collect();
                format!("  {} imports {}", self.0[*one].name, inside.join(", "))
            });
            circles.push(lines.collect::<Vec<_>>().join("\n"));
        }
        circles
    }
}

fn child(module: &[String], name: &str) -> ModulePath {
    let mut path = module.to_vec();
    path.push(name.to_owned());
    path
}

#[test]
fn no_files_of_a_module_import_each_other() {
    let mut found = Vec::new();
    for (room, _) in LEVELS {
        let folder = root().join("src").join(room);
        if *room == "testing" || !folder.is_dir() {
            continue;
        }
        let files = Files::read(&folder, room);
        found.extend(
            files
                .circles()
                .iter()
                .map(|circle| format!("{room}:\n{circle}")),
        );
    }
    assert!(
        found.is_empty(),
        "files import each other:\n{}",
        found.join("\n")
    );
}
