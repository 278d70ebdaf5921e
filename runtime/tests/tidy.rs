//! Reads the tree and keeps its rules: which crate may see which, what a core may touch, how long a file
//! may be, and that every file says what it is and is reached from somewhere.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Lines of a file, at most. A file tells one story; one that needs longer stands here with its reason.
const LINES_MAX: usize = 450;
const LONG: &[(&str, &str)] = &[];

/// Folders whose code is pure, and the leaf files in them that are not, with the reason.
const PURE: &[&str] = &["actors/src"];
const LEAVES: &[(&str, &str)] = &[
    (
        "actors/src/shell.rs",
        "the seat of every actor: clock, letters and timers pass here",
    ),
    (
        "actors/src/planted.rs",
        "the faults that tests plant: they stall and panic",
    ),
    ("actors/src/store.rs", "the writer threads of redb files"),
];

/// What no core may name.
const IMPURE: &[&str] = &[
    "tokio::",
    "ractor::",
    "std::time::",
    "std::fs",
    "std::net",
    "std::thread",
    "std::env",
    "HashMap",
    "HashSet",
    "getrandom",
    "tracing::",
    "println!",
    "static mut",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate is in a workspace")
        .into()
}

fn rust_files(folder: &Path, into: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            rust_files(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

/// Every Rust file as (path from the root, text), in order.
fn tree() -> Vec<(String, String)> {
    let root = root();
    let mut paths = Vec::new();
    for part in ["runtime", "gateway", "actors", "kernels", "sim"] {
        rust_files(&root.join(part), &mut paths);
    }
    paths.sort();
    assert!(paths.len() > 50, "the tree was not found");
    paths
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).expect("a source file can be read");
            let name = path.strip_prefix(&root).expect("below the root").to_str();
            (name.expect("names are UTF-8").to_owned(), text)
        })
        .collect()
}

fn report(rule: &str, faults: Vec<String>) {
    assert!(faults.is_empty(), "{rule}:\n  {}", faults.join("\n  "));
}

#[test]
fn crates_see_each_other_in_one_direction() {
    let allowed: &[(&str, &[&str])] = &[
        ("kernels", &[]),
        ("actors", &["troop-kernels"]),
        ("gateway", &["troop-actors"]),
        ("sim", &["troop-actors"]),
        (
            "runtime",
            &["troop-actors", "troop-gateway", "troop-kernels"],
        ),
    ];
    let mut faults = Vec::new();
    for (part, may) in allowed {
        let manifest =
            fs::read_to_string(root().join(part).join("Cargo.toml")).expect("a manifest");
        let own = manifest
            .split("[dev-dependencies]")
            .next()
            .unwrap_or_default();
        for line in own.lines().filter(|line| line.starts_with("troop-")) {
            let name = line.split(['.', ' ', '=']).next().unwrap_or_default();
            if !may.contains(&name) {
                faults.push(format!("{part} depends on {name}"));
            }
        }
    }
    report("crates see each other only downwards", faults);
}

#[test]
fn every_file_opens_with_what_it_is() {
    let faults = tree()
        .into_iter()
        .filter(|(_, text)| !text.starts_with("//! "));
    report(
        "a file opens with `//! `",
        faults.map(|(name, _)| name).collect(),
    );
}

#[test]
fn no_file_tells_more_than_one_story() {
    let mut faults = Vec::new();
    for (name, text) in tree() {
        let lines = text.lines().count();
        let excused = LONG.iter().any(|(long, _)| *long == name);
        if lines > LINES_MAX && !excused {
            faults.push(format!(
                "{name} has {lines} lines, {LINES_MAX} are the limit"
            ));
        }
        if excused && lines <= LINES_MAX {
            faults.push(format!("{name} needs no excuse any more"));
        }
    }
    report("files are short", faults);
}

#[test]
fn cores_touch_nothing_outside() {
    let mut faults = Vec::new();
    for (name, text) in tree() {
        // What lies in the folder of an actor is its core. Beside the folder is its shell; every other file at
        // the top holds words that cores share.
        let in_core = PURE.iter().any(|folder| {
            let shell = name
                .strip_suffix(".rs")
                .is_some_and(|stem| root().join(stem).join("protocol.rs").exists());
            name.starts_with(&format!("{folder}/")) && !shell
        });
        let leaf = LEAVES.iter().any(|(leaf, _)| *leaf == name)
            || text.lines().any(|line| line.starts_with("//! A leaf:"))
            || name.ends_with("/tests.rs");
        if !in_core || leaf {
            continue;
        }
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for (number, line) in code.lines().enumerate() {
            let comment = line.trim_start().starts_with("//");
            if let Some(word) = IMPURE.iter().find(|word| !comment && line.contains(**word)) {
                faults.push(format!("{name}:{} names {word}", number + 1));
            }
        }
    }
    report(
        "a core names no clock, task, file, dice or hash order",
        faults,
    );
}

#[test]
fn every_file_is_reached_from_another() {
    let tree = tree();
    let mut named = BTreeSet::new();
    for (_, text) in &tree {
        for line in text.lines().map(str::trim) {
            let line = line
                .strip_prefix("pub ")
                .or(line.strip_prefix("pub(crate) "))
                .unwrap_or(line);
            if let Some(module) = line
                .strip_prefix("mod ")
                .and_then(|rest| rest.strip_suffix(';'))
            {
                named.insert(module.to_owned());
            }
        }
    }
    let mut faults = Vec::new();
    for (name, _) in &tree {
        let path = Path::new(name);
        let stem = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .unwrap_or_default();
        let parent = path
            .parent()
            .and_then(|parent| parent.file_name()?.to_str());
        let root = matches!(stem, "lib" | "main" | "build")
            || matches!(
                parent,
                Some("tests" | "examples" | "benches" | "bin" | "support")
            );
        if stem == "mod" {
            faults.push(format!(
                "{name}: x.rs says what, x/ says how; there is no mod.rs"
            ));
        } else if !root && !named.contains(stem) {
            faults.push(format!("{name} is named by no `mod`"));
        }
    }
    report("there are no dead files", faults);
}

#[test]
fn decisions_are_numbered_without_gaps() {
    let folder = root().join("runtime/docs/decisions");
    let mut names: Vec<String> = fs::read_dir(folder)
        .expect("there are decision records")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    names.sort();
    let wrong = names.iter().enumerate().filter(|(index, name)| {
        !name.starts_with(&format!("{:04}-", index + 1)) || !name.ends_with(".md")
    });
    report(
        "decision records are NNNN-title.md",
        wrong.map(|(_, name)| name.clone()).collect(),
    );
}
