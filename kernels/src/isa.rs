//! Which instruction set a computation uses: chosen once, here, and passed down.
//!
//! Every operation has a reference in plain Rust and may have faster paths. All of them return the same
//! bits, so the choice is a matter of speed alone; a test overrides it to compare them.

use thiserror::Error;

/// An instruction set that the operations of this crate have a path for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isa {
    /// Plain Rust: the definition in code. Works everywhere, and is slow.
    Reference,
    /// x86-64 with AVX2, FMA and F16C.
    Avx2,
    /// The same with AVX-VNNI, which multiplies integers in one step: client processors from Alder Lake on, and Zen 5.
    AvxVnni,
    /// x86-64 with AVX-512 F, BW, DQ, VL and VNNI.
    Avx512,
}

impl Isa {
    /// The fastest instruction set of this machine.
    pub fn detect() -> Self {
        *Self::available().last().unwrap_or(&Self::Reference)
    }

    /// The one of this name, or the fastest of this machine where none is named.
    pub fn named(name: Option<&str>) -> Result<Self, NoSuchIsa> {
        let Some(name) = name else {
            return Ok(Self::detect());
        };
        let isa = Self::ALL.into_iter().find(|isa| isa.name() == name);
        let isa = isa.ok_or_else(|| NoSuchIsa::Unknown(name.to_owned()))?;
        match isa.is_available() {
            true => Ok(isa),
            false => Err(NoSuchIsa::Unavailable(isa)),
        }
    }

    /// All instruction sets that have a path, slowest first.
    pub const ALL: [Self; 4] = [Self::Reference, Self::Avx2, Self::AvxVnni, Self::Avx512];

    /// All instruction sets of this machine, slowest first.
    pub fn available() -> Vec<Self> {
        Self::ALL
            .into_iter()
            .filter(|isa| isa.is_available())
            .collect()
    }

    /// Its name, as configuration and logs write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reference => "reference",
            Self::Avx2 => "avx2",
            Self::AvxVnni => "avxvnni",
            Self::Avx512 => "avx512",
        }
    }

    /// Whether this machine has it. Every path that needs an instruction set asserts this where a
    /// model is loaded, so that no other place has to ask again.
    #[cfg(target_arch = "x86_64")]
    pub fn is_available(self) -> bool {
        let avx2 = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        match self {
            Self::Reference => true,
            Self::Avx2 => avx2,
            Self::AvxVnni => avx2 && is_x86_feature_detected!("avxvnni"),
            Self::Avx512 => {
                avx2 && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512vnni")
            }
        }
    }

    /// Whether this machine has it.
    #[cfg(not(target_arch = "x86_64"))]
    pub fn is_available(self) -> bool {
        self == Self::Reference
    }
}

/// Why no instruction set was chosen.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NoSuchIsa {
    /// No path is named so.
    #[error("no instruction set is named {0:?}: there are {all}", all = names(&Isa::ALL))]
    Unknown(String),
    /// There is a path, and this machine cannot take it.
    #[error("this machine does not have {name}: it has {has}", name = .0.name(), has = names(&Isa::available()))]
    Unavailable(Isa),
}

fn names(isas: &[Isa]) -> String {
    let names: Vec<&str> = isas.iter().map(|isa| isa.name()).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_chooses_what_the_machine_has_and_is_refused_otherwise() {
        assert_eq!(Isa::named(None), Ok(Isa::detect()));
        for isa in Isa::ALL {
            let expected = match isa.is_available() {
                true => Ok(isa),
                false => Err(NoSuchIsa::Unavailable(isa)),
            };
            assert_eq!(Isa::named(Some(isa.name())), expected);
        }
        let refused = Isa::named(Some("sse9")).expect_err("nothing is named so");
        assert_eq!(
            refused.to_string(),
            "no instruction set is named \"sse9\": there are reference, avx2, avxvnni, avx512"
        );
    }
}
