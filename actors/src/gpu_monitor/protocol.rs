//! What a `GpuMonitor` hears and says.

use serde::{Deserialize, Serialize};

/// What may happen to a monitor.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// The machine was looked at.
    Seen {
        /// The number of the look.
        look: u64,
        /// What was seen.
        reading: Reading,
    },
}

/// What a monitor wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Look at the machine, and answer with `Seen`.
    Look {
        /// The number of the look.
        look: u64,
    },
    /// The keeper of engines is to know what the machine is free for. Said on change, and again and again.
    Tell(Use),
}

/// What a machine's sensors say. What a machine has no sensor for does not stand in anybody's way; what a sensor
/// that is there does not say counts as the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Its graphics cards, the worst of them.
    pub gpu: Gpu,
    /// Thousandths of all its processors that other programs than troop take; none where it cannot be told.
    pub cpu_permille: Option<u32>,
    /// What feeds it; none where it cannot be told.
    pub power: Option<Power>,
    /// Minutes since midnight where it stands; none where it cannot be told.
    pub minute: Option<u16>,
}

/// A graphics card, or the worst of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gpu {
    /// There is none, or no driver that would say.
    Absent,
    /// There is one that does not answer this once.
    Unknown,
    /// It has fallen off the bus.
    Lost,
    /// It is well.
    Seen {
        /// Hundredths of its time that other programs than troop take.
        percent: u32,
        /// How hot it is, and where it slows itself down, where it says both.
        heat: Option<Heat>,
    },
}

/// A temperature beside its limit, in degrees Celsius.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heat {
    /// What it is.
    pub celsius: u32,
    /// What it may come to.
    pub limit: u32,
}

/// What feeds a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Power {
    /// The mains, with or without a battery beside it.
    Mains,
    /// Its battery.
    Battery {
        /// Hundredths that are left, where it says so.
        percent: Option<u8>,
    },
}

/// What a machine is free for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Nobody else wants it.
    Idle,
    /// It is to be left alone.
    Wanted(Reason),
}

/// Why a machine is to be left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Reason {
    /// Another program uses its graphics card.
    #[error("another program uses the GPU")]
    Gpu,
    /// Other programs use its processors.
    #[error("other programs use the processors")]
    Cpu,
    /// It runs on its battery.
    #[error("on battery")]
    Battery,
    /// Its owner lends it at other hours.
    #[error("outside the hours of --serve-hours")]
    Hours,
    /// It cannot be told whether anybody wants it.
    #[error("its sensors do not answer")]
    Unknown,
    /// Its graphics card is about to slow itself down.
    #[error("the GPU is too hot")]
    Hot,
    /// Its graphics card has fallen off the bus.
    #[error("the GPU is lost; a restart of the machine may bring it back")]
    Lost,
}
