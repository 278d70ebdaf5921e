//! What is asked of a hub of model repositories, what its answers mean, and which file is meant.
//!
//! ```text
//! /api/models/ORG/REPO/revision/REVISION   ─> {"sha": commit}
//! /api/models/ORG/REPO/tree/COMMIT         ─> [{"path", "size", "lfs": {"oid": sha256, "size"}}, …]
//! /ORG/REPO/resolve/COMMIT/FILE            ─> the file, mostly by a redirect to elsewhere
//! ```
//!
//! The commit is asked for first and used from then on, so that the list and the file belong together.

use super::source::{Pick, Repository};
use serde::Deserialize;

/// A file of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) path: String,
    pub(super) size: u64,
    /// The hash of its content; small files of a repository have none.
    pub(super) sha256: Option<String>,
}

/// Below the hub's address: who says which commit a revision is.
pub(super) fn revision_path(repository: &Repository) -> String {
    let revision = repository.revision.as_deref().unwrap_or("main");
    let revision = quoted(revision).replace('/', "%2F");
    format!("api/models/{}/revision/{revision}", repository.name)
}

/// Below the hub's address: who lists the files.
pub(super) fn tree_path(repository: &Repository, commit: &str) -> String {
    format!(
        "api/models/{}/tree/{commit}?recursive=true",
        repository.name
    )
}

/// Below the hub's address: the file.
pub(super) fn file_path(repository: &Repository, commit: &str, path: &str) -> String {
    format!("{}/resolve/{commit}/{}", repository.name, quoted(path))
}

/// The commit in an answer.
pub(super) fn commit(text: &[u8]) -> Result<String, String> {
    #[derive(Deserialize)]
    struct Revision {
        sha: String,
    }
    let revision: Revision = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let good = revision.sha.len() == 40 && revision.sha.bytes().all(|b| b.is_ascii_hexdigit());
    match good {
        true => Ok(revision.sha),
        false => Err("sha is not 40 hex digits".to_owned()),
    }
}

/// The model files in an answer; what else lies in the repository is passed over.
pub(super) fn entries(text: &[u8]) -> Result<Vec<Entry>, String> {
    #[derive(Deserialize)]
    struct Line {
        path: String,
        #[serde(default)]
        size: u64,
        lfs: Option<Large>,
    }
    #[derive(Deserialize)]
    struct Large {
        oid: String,
        size: u64,
    }
    let lines: Vec<Line> = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let models = lines
        .into_iter()
        .filter(|line| line.path.ends_with(".gguf"));
    models
        .map(|line| {
            let (size, sha256) = match line.lfs {
                Some(large) => (large.size, Some(large.oid.to_ascii_lowercase())),
                None => (line.size, None),
            };
            let good = |hex: &String| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit());
            if sha256.as_ref().is_some_and(|hex| !good(hex)) {
                return Err(format!("lfs.oid of {} is not 64 hex digits", line.path));
            }
            Ok(Entry {
                path: line.path,
                size,
                sha256,
            })
        })
        .collect()
}

/// The file that is meant, or what there is instead. Beside it, what belongs to it and is not fetched.
pub(super) fn choose<'a>(entries: &'a [Entry], pick: &Pick) -> Result<&'a Entry, String> {
    let mut models: Vec<&Entry> = entries
        .iter()
        .filter(|entry| !beside(&entry.path))
        .collect();
    // Among several that fit, the plainest name.
    models.sort_by_key(|entry| (entry.path.len(), &entry.path));
    let there = || match models.len() {
        0 => "no .gguf is in it".to_owned(),
        _ => {
            let names = models.iter().take(NAMES_MAX).map(|entry| &entry.path[..]);
            format!("there are {}", names.collect::<Vec<_>>().join(", "))
        }
    };
    let with = |name: &str| {
        models
            .iter()
            .find(|entry| quantized(&entry.path, name, false))
    };
    let found = match pick {
        Pick::File(path) => models.iter().find(|entry| entry.path == *path),
        Pick::Quantization(name) => with(name),
        Pick::Usual => USUAL
            .iter()
            .find_map(|(name, open)| {
                let fits = |entry: &&&Entry| quantized(&entry.path, name, *open);
                models.iter().find(fits)
            })
            .or(models.first().filter(|_| models.len() == 1)),
    };
    let found = found.ok_or_else(|| match pick {
        Pick::File(path) => format!("{path} is not in it; {}", there()),
        Pick::Quantization(name) => format!("{name} is not in it; {}", there()),
        Pick::Usual => format!("none of the usual quantizations is in it; {}", there()),
    })?;
    match shards(&found.path) {
        Some(count) if count > 1 => Err(format!(
            "{} is one of {count} shards; only models in one file can be read",
            found.path
        )),
        _ => Ok(found),
    }
}

/// Whether a file goes with a model and is none by itself, as the part that sees pictures.
pub(super) fn beside(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    name.to_ascii_lowercase().contains("mmproj") || name.starts_with("imatrix")
}

/// Whether the name of a file says that quantization, or with `open` one that begins so.
fn quantized(path: &str, name: &str, open: bool) -> bool {
    let (path, name) = (path.to_ascii_uppercase(), name.to_ascii_uppercase());
    path.match_indices(&name).any(|(at, _)| {
        let joined = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let before = path[..at].chars().next_back();
        let after = path[at + name.len()..].chars().next();
        !before.is_some_and(joined) && (open || !after.is_some_and(joined))
    })
}

/// Of how many shards a file is one: `x-00001-of-00003.gguf`.
fn shards(path: &str) -> Option<u32> {
    let (rest, count) = path.strip_suffix(".gguf")?.rsplit_once("-of-")?;
    let index = rest.rsplit('-').next()?;
    let number = |text: &str| (text.len() == 5).then(|| text.parse::<u32>().ok())?;
    number(index)?;
    number(count)
}

/// A path as an address has it.
fn quoted(path: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-/~".contains(&b);
    let quote = |b: u8| match plain(b) {
        true => char::from(b).to_string(),
        false => format!("%{b:02X}"),
    };
    path.bytes().map(quote).collect()
}

/// What is taken where nobody says which: good for its size first.
const USUAL: &[(&str, bool)] = &[
    ("Q4_K_M", false),
    ("Q4_", true),
    ("Q5_K_M", false),
    ("Q8_0", false),
    ("F16", false),
];
/// File names in a message, at most.
const NAMES_MAX: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str) -> Entry {
        Entry {
            path: path.to_owned(),
            size: 1,
            sha256: None,
        }
    }

    #[test]
    fn the_usual_file_is_found_in_this_order_and_never_one_that_only_goes_beside() {
        let quantization = |name: &str| Pick::Quantization(name.to_owned());
        let cases: &[(&[&str], Pick, Result<&str, &str>)] = &[
            (
                &["m-Q8_0.gguf", "m-Q4_0.gguf", "m-Q4_K_M.gguf"],
                Pick::Usual,
                Ok("m-Q4_K_M.gguf"),
            ),
            (
                &["m-UD-Q4_K_M.gguf", "m-Q4_K_M.gguf"],
                Pick::Usual,
                Ok("m-Q4_K_M.gguf"),
            ),
            (
                &["m-Q8_0.gguf", "m-Q4_0.gguf"],
                Pick::Usual,
                Ok("m-Q4_0.gguf"),
            ),
            (
                &["m-Q8_0.gguf", "m-Q5_K_M.gguf"],
                Pick::Usual,
                Ok("m-Q5_K_M.gguf"),
            ),
            (
                &["m.f16.gguf", "m.q8_0.gguf"],
                Pick::Usual,
                Ok("m.q8_0.gguf"),
            ),
            (
                &["m-F16.gguf", "m-BF16.gguf"],
                Pick::Usual,
                Ok("m-F16.gguf"),
            ),
            (&["mmproj-F16.gguf", "m.gguf"], Pick::Usual, Ok("m.gguf")),
            (&["a.gguf", "b.gguf"], Pick::Usual, Err("usual")),
            (&["mmproj-m-Q4_K_M.gguf"], Pick::Usual, Err("no .gguf")),
            (&[], Pick::Usual, Err("no .gguf")),
            (
                &["m-IQ4_XS.gguf", "m-Q6_K.gguf"],
                quantization("q6_k"),
                Ok("m-Q6_K.gguf"),
            ),
            (
                &["m-IQ4_XS.gguf"],
                quantization("Q4_XS"),
                Err("there are m-IQ4_XS.gguf"),
            ),
            (
                &["m-Q4_K_M.gguf"],
                quantization("Q4_K"),
                Err("Q4_K is not in it"),
            ),
            (
                &["m-Q4_0-00001-of-00003.gguf"],
                Pick::Usual,
                Err("one of 3 shards"),
            ),
            (
                &["m-Q4_0-00001-of-00001.gguf"],
                Pick::Usual,
                Ok("m-Q4_0-00001-of-00001.gguf"),
            ),
            (
                &["a/m.gguf", "m.gguf"],
                Pick::File("a/m.gguf".to_owned()),
                Ok("a/m.gguf"),
            ),
            (
                &["m.gguf"],
                Pick::File("n.gguf".to_owned()),
                Err("n.gguf is not in it"),
            ),
        ];
        for (paths, pick, expected) in cases {
            let entries: Vec<Entry> = paths.iter().map(|path| entry(path)).collect();
            match (choose(&entries, pick), expected) {
                (Ok(found), Ok(path)) => assert_eq!(found.path, *path),
                (Err(message), Err(part)) => assert!(message.contains(part), "{message}"),
                (found, _) => panic!("{paths:?}: {found:?}"),
            }
        }
    }

    #[test]
    fn answers_are_read_strictly_where_it_matters() {
        assert_eq!(
            commit(format!("{{\"sha\":\"{}\"}}", "a".repeat(40)).as_bytes()),
            Ok("a".repeat(40))
        );
        for text in ["", "{}", "{\"sha\":\"../x\"}", "{\"sha\":1}", "<html>"] {
            assert!(commit(text.as_bytes()).is_err(), "{text}");
        }
        let good = format!(
            "[{{\"type\":\"file\",\"path\":\"a.gguf\",\"size\":9,\"oid\":\"x\",\
             \"lfs\":{{\"oid\":\"{}\",\"size\":8,\"pointerSize\":1}}}},\
             {{\"type\":\"file\",\"path\":\"README.md\",\"size\":9}},\
             {{\"type\":\"directory\",\"path\":\"d\"}}]",
            "B".repeat(64)
        );
        let expected = Entry {
            path: "a.gguf".to_owned(),
            size: 8,
            sha256: Some("b".repeat(64)),
        };
        assert_eq!(entries(good.as_bytes()), Ok(vec![expected]));
        let bad = "[{\"path\":\"a.gguf\",\"lfs\":{\"oid\":\"../x\",\"size\":8}}]";
        assert!(entries(bad.as_bytes()).is_err());
    }

    #[test]
    fn a_path_cannot_leave_its_place_in_an_address() {
        let repository: Repository = Repository {
            name: "o/r".to_owned(),
            pick: Pick::Usual,
            revision: Some("refs/pr/1".to_owned()),
        };
        assert_eq!(
            revision_path(&repository),
            "api/models/o/r/revision/refs%2Fpr%2F1"
        );
        assert_eq!(
            file_path(&repository, "c", "a b?#.gguf"),
            "o/r/resolve/c/a%20b%3F%23.gguf"
        );
    }
}
