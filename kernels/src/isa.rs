//! Which instruction set a computation uses: chosen once, here, and passed down.
//!
//! Every operation has a reference in plain Rust and may have faster paths. All of them return the same
//! bits, so the choice is a matter of speed alone; a test overrides it to compare them.

/// An instruction set that the operations of this crate have a path for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isa {
    /// Plain Rust: the definition in code. Works everywhere, and is slow.
    Reference,
    /// x86-64 with AVX2, FMA and F16C.
    Avx2,
    /// x86-64 with AVX-512 F, BW, DQ, VL and VNNI.
    Avx512,
}

impl Isa {
    /// The fastest instruction set of this machine.
    pub fn detect() -> Self {
        *Self::available().last().unwrap_or(&Self::Reference)
    }

    /// All instruction sets that have a path, slowest first.
    pub const ALL: [Self; 3] = [Self::Reference, Self::Avx2, Self::Avx512];

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
