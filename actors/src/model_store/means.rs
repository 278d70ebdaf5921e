//! What a pull may use of the world outside, and how patient it is with it.

use std::num::NonZeroU64;

/// All that a pull needs beside its source; whoever pulls decides it, and a pull decides nothing of it.
#[derive(Clone, Debug)]
pub struct Means {
    /// The time, in seconds since the Unix epoch.
    pub now_seconds: u64,
    /// Where pauses between attempts get their chance from.
    pub seed: u64,
    /// The network is not to be touched.
    pub offline: bool,
    /// Addresses without TLS are good elsewhere than on this machine too.
    pub insecure: bool,
    /// Where `hf:` sources are asked for.
    pub hub: String,
    /// What the hub knows us by.
    pub hub_token: Option<Token>,
    /// Bytes a second, at most.
    pub rate_max: Option<NonZeroU64>,
    /// How patient it is.
    pub patience: Patience,
}

impl Means {
    /// The usual ones.
    pub fn new(now_seconds: u64, seed: u64) -> Means {
        Means {
            now_seconds,
            seed,
            offline: false,
            insecure: false,
            hub: HUB.to_owned(),
            hub_token: None,
            rate_max: None,
            patience: Patience::default(),
        }
    }
}

/// A secret that goes to one origin and into no message.
#[derive(Clone)]
pub struct Token(pub String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

/// How long and how often a server is asked before it is given up.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// How long it may be silent.
    pub silence_ms_max: u64,
    /// How often in a row it may fail without another byte having come.
    pub failures_max: u32,
    /// How often in a row nobody may answer while nobody ever has.
    pub unreached_max: u32,
    /// How often it is asked in all, however much comes each time.
    pub attempts_max: u32,
    /// The first pause; each further one is twice as long.
    pub pause_ms: u64,
    /// The longest pause of our own choice.
    pub pause_ms_max: u64,
    /// The longest pause that a server may ask for.
    pub asked_pause_ms_max: u64,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            // A server that is silent for half a minute has lost us.
            silence_ms_max: 30_000,
            // With the pauses below: about two minutes without a byte.
            failures_max: 8,
            // A name that does not exist, or a cable that is not in, is said within a few seconds.
            unreached_max: 3,
            attempts_max: 1000,
            pause_ms: 500,
            pause_ms_max: 30_000,
            asked_pause_ms_max: 300_000,
        }
    }
}

/// The public hub, where nobody says otherwise.
const HUB: &str = "https://huggingface.co";
